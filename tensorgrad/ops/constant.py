"""NumPy functions without a gradient by nature: they answer with booleans, indices, shapes or new
arrays. On a Value they compute with its data and return plain arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tensorgrad.node import Handle
from tensorgrad.primitive import implementations


def data_of(x: Any) -> Any:
    """The array behind a Value, also inside the lists and tuples of an argument."""
    if isinstance(x, Handle):
        return x.node.data
    return type(x)(map(data_of, x)) if type(x) in (list, tuple) else x


def on_data(function: Callable[..., Any]) -> Callable[..., Any]:
    def compute(*args: Any, **params: Any) -> Any:
        return function(*map(data_of, args), **{k: data_of(v) for k, v in params.items()})

    return compute


COMPARISONS = (
    *(np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal),
    *(np.logical_and, np.logical_or, np.logical_not, np.logical_xor),
    *(np.isfinite, np.isinf, np.isnan, np.signbit),
    *(np.all, np.any, np.allclose, np.isclose, np.array_equal, np.array_equiv),
)
INDICES = (np.argmax, np.argmin, np.argsort, np.argwhere, np.nonzero, np.flatnonzero)
COUNTS = (np.count_nonzero, np.searchsorted, np.shape, np.ndim, np.size)
TYPES = (np.iscomplexobj, np.isrealobj, np.result_type, np.can_cast, np.may_share_memory)
TEXT = (np.array_repr, np.array_str, np.array2string, np.save, np.savetxt)
NEW = (np.zeros_like, np.ones_like, np.empty_like)

for function in (*COMPARISONS, *INDICES, *COUNTS, *TYPES, *TEXT, *NEW):
    implementations[function] = on_data(function)
