"""Networks: Modules, layers, losses and initialisers, on the engine.

Read `module.py`, then any family: a file holds the functions of its family and their Modules.
"""

from tensorgrad.nn import functional as functional
from tensorgrad.nn import init as init
from tensorgrad.nn import utils as utils
from tensorgrad.nn.activation import *  # noqa: F403
from tensorgrad.nn.adaptive import *  # noqa: F403
from tensorgrad.nn.attention import *  # noqa: F403
from tensorgrad.nn.container import *  # noqa: F403
from tensorgrad.nn.conv import *  # noqa: F403
from tensorgrad.nn.dropout import *  # noqa: F403
from tensorgrad.nn.embedding import *  # noqa: F403
from tensorgrad.nn.linear import *  # noqa: F403
from tensorgrad.nn.loss import *  # noqa: F403
from tensorgrad.nn.module import Module as Module
from tensorgrad.nn.module import functional_call as functional_call
from tensorgrad.nn.module import only as _only
from tensorgrad.nn.normalization import *  # noqa: F403
from tensorgrad.nn.pooling import *  # noqa: F403
from tensorgrad.nn.recurrent import *  # noqa: F403
from tensorgrad.nn.resampling import *  # noqa: F403
from tensorgrad.nn.scalar import *  # noqa: F403
from tensorgrad.nn.shape import *  # noqa: F403
from tensorgrad.nn.summary import summary as summary
from tensorgrad.nn.transformer import *  # noqa: F403


def _public(x: object) -> bool:
    return x in (functional, init, utils, functional_call, summary, Module) or (
        isinstance(x, type) and issubclass(x, Module) and x.__module__ != Module.__module__
    )


__all__ = _only(globals(), _public)

from tensorgrad.value import Value as Parameter  # noqa: E402

__all__ += ["Parameter"]
