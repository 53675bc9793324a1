"""Moved to the families of `tensorgrad.nn`; this name answers for one more version."""

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    from tensorgrad import nn

    if name not in nn.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"tensorgrad.nn.layers.{name}: use nn.{name}", FutureWarning, stacklevel=2)
    return getattr(nn, name)
