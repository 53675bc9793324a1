"""Functions of networks, with PyTorch's names and defaults. They take Values or plain arrays.

Each stands in the file of its family, with the Module that follows from it.
"""

from inspect import isfunction

from tensorgrad.engine.primitive import Primitive
from tensorgrad.nn.activation import *  # noqa: F403
from tensorgrad.nn.linear import *  # noqa: F403
from tensorgrad.nn.loss import *  # noqa: F403
from tensorgrad.nn.module import only as _only

_FAMILIES = tuple(f"tensorgrad.nn.{family}" for family in ("activation", "linear", "loss"))


def _public(x: object) -> bool:
    return isinstance(x, Primitive) or (isfunction(x) and x.__module__ in _FAMILIES)


__all__ = _only(globals(), _public)
