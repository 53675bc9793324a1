"""Functions of networks, with PyTorch's names and defaults. They take Values or plain arrays.

Each stands in the file of its family, with the Module that follows from it. What takes PyTorch's
`dim` and `keepdim` takes NumPy's `axis` and `keepdims` too; `inplace` has no effect, an operation
makes a new Value.

What a family keeps to itself begins with an underscore.
"""

from inspect import isfunction

from tensorgrad.engine.primitive import Primitive
from tensorgrad.engine.words import in_both_words as _in_both_words
from tensorgrad.nn.activation import *  # noqa: F403
from tensorgrad.nn.attention import *  # noqa: F403
from tensorgrad.nn.conv import *  # noqa: F403
from tensorgrad.nn.dropout import *  # noqa: F403
from tensorgrad.nn.embedding import *  # noqa: F403
from tensorgrad.nn.linear import *  # noqa: F403
from tensorgrad.nn.loss import *  # noqa: F403
from tensorgrad.nn.module import only as _only
from tensorgrad.nn.normalization import *  # noqa: F403
from tensorgrad.nn.pooling import *  # noqa: F403
from tensorgrad.nn.resampling import *  # noqa: F403
from tensorgrad.nn.shape import *  # noqa: F403

_NEITHER = ("tensorgrad.nn.module", "tensorgrad.nn.init")


def _public(x: object) -> bool:
    return isinstance(x, Primitive) or (
        isfunction(x) and x.__module__.startswith("tensorgrad.nn.") and x.__module__ not in _NEITHER
    )


__all__ = _only(globals(), _public)

globals().update({name: _in_both_words(globals()[name]) for name in __all__})
