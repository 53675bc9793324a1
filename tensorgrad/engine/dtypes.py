"""What is asked of a dtype: NumPy's own questions do not know bfloat16, which is ml_dtypes'.

To NumPy that is a type of kind "V", void, and no `np.floating`. Its float8 have too few numbers to
compute with: they are for storage, and carry no gradient here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.extras import missing

Dtype = np.dtype[Any]
SHORT = frozenset("eE")


def is_bfloat16(dtype: Dtype) -> bool:
    """Whether it is ml_dtypes' bfloat16: a float32 without its last 16 bits."""
    return str(dtype.char) == "E"  # NumPy has no such letter


def is_short(dtype: Dtype) -> bool:
    """Whether it is float16 or bfloat16, whose sums are computed in float32."""
    return dtype.char in SHORT


def is_floating(dtype: Dtype) -> bool:
    """Whether it is of real numbers that are no integers."""
    return dtype.kind == "f" or is_bfloat16(dtype)


def is_inexact(dtype: Dtype) -> bool:
    """Whether it is of real or complex numbers: it carries a gradient."""
    return dtype.kind in "fc" or is_bfloat16(dtype)


def is_numeric(dtype: Dtype) -> bool:
    """Whether it is of numbers, or of booleans."""
    return dtype.kind in "biufc" or is_bfloat16(dtype)


def dtype_called(name: Any) -> Dtype:
    """`np.dtype`, also of "bfloat16". TypeError for no dtype, ImportError without ml_dtypes."""
    if isinstance(name, str) and name == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            raise missing("bfloat16 needs ml_dtypes", "bfloat16") from None
        name = ml_dtypes.bfloat16
    dtype: Dtype = np.dtype(name)
    return dtype


def finfo(dtype: Any) -> Any:
    """`np.finfo`, also of bfloat16."""
    if not is_bfloat16(np.dtype(dtype)):
        return np.finfo(dtype)
    import ml_dtypes

    return ml_dtypes.finfo(dtype)


def spelt(dtype: Dtype) -> str:
    """How NumPy reads it from text; "bfloat16" where ml_dtypes was imported."""
    return "bfloat16" if is_bfloat16(dtype) else dtype.str
