"""tensorgrad: automatic differentiation of NumPy code, one hand-derived rule per operation.

Read `engine/`, `value.py` and one file of `ops/`: that is all there is to it.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

try:
    from tensorgrad.engine.domain import Domain
    from tensorgrad.engine.node import Handle
    from tensorgrad.engine.primitive import homes, implements, primitive
    from tensorgrad.engine.rules import Each
    from tensorgrad.ops.join import array
    from tensorgrad.value import Value, no_grad
    from tensorgrad.views import View
except KeyboardInterrupt:
    if sys.argv[0] == "-m" or re.search(r"\btensorgrad(\.exe)?$", sys.argv[0]):
        sys.exit(130)  # the command line, interrupted before it has begun
    raise

if TYPE_CHECKING:
    from tensorgrad import amp, data, interop, io, nn, optim, parallel, scipy, testing, train, viz
    from tensorgrad.compiler import compile
    from tensorgrad.graph.debug import debug
    from tensorgrad.graph.lint import lint
    from tensorgrad.random import manual_seed
    from tensorgrad.train.fit import fit
    from tensorgrad.train.step import Step
    from tensorgrad.transforms.custom import checkpoint, custom_vjp
    from tensorgrad.transforms.derivatives import (
        compute,
        elementwise_grad,
        grad,
        hessian,
        hvp,
        jacobian,
        jvp,
        stop_gradient,
        value_and_grad,
        vjp,
    )
    from tensorgrad.transforms.scan import scan
    from tensorgrad.transforms.vmap import vmap

Handle.part = View.of_part

__version__ = "0.1.0"
__all__ = [
    "Domain",
    "Each",
    "Step",
    "Value",
    "amp",
    "array",
    "checkpoint",
    "compile",
    "compute",
    "custom_vjp",
    "data",
    "debug",
    "elementwise_grad",
    "fit",
    "grad",
    "hessian",
    "hvp",
    "implements",
    "interop",
    "io",
    "jacobian",
    "jvp",
    "lint",
    "manual_seed",
    "nn",
    "no_grad",
    "optim",
    "parallel",
    "primitive",
    "scan",
    "scipy",
    "stop_gradient",
    "testing",
    "train",
    "value_and_grad",
    "viz",
    "vjp",
    "vmap",
]

HOMES = (
    *("transforms.derivatives", "transforms.custom", "transforms.vmap", "transforms.scan"),
    *("random", "graph.debug", "compiler", "train", "graph.lint"),
)
"""Where the functions are that `__getattr__` finds, the lightest modules first."""

INSTEAD = {
    **dict.fromkeys(
        ["tensor", "Tensor", "as_tensor", "from_numpy"],
        "tg.Value(x), or plain arrays, which every layer takes",
    ),
    "autocast": "tg.amp.autocast(model, dtype)",
    "GradScaler": "tg.amp.GradScaler()",
    "distributed": "tg.parallel",
    "bfloat16": "'bfloat16', as in model.to('bfloat16')",
    "inference_mode": "tg.no_grad()",
    **{
        name: f"tg.nn.functional.{name}"
        for name in ("relu", "sigmoid", "softmax", "log_softmax", "tanh", "dropout")
    },
    **{name: f"np.{name}" for name in ("zeros", "ones", "arange", "exp", "sum", "where", "stack")},
    "numpy": "import numpy as np, whose functions take Values",
    **{name: f"tg.io.{name}" for name in ("save", "load")},
    "cat": "np.concatenate",
    **dict.fromkeys(["randn", "randn_like"], "rng.normal(size=shape), of a NumPy generator rng"),
    **dict.fromkeys(["rand", "rand_like"], "rng.random(shape), of a NumPy generator rng"),
    **dict.fromkeys(["device", "cuda"], "x.to('cupy') or x.to('numpy'), of a Value or Module"),
    "autograd": "tg.grad(f)(x), or v.backward()",
    "func": "tg.grad, tg.vmap, tg.nn.functional_call, ...",
    "utils": "tg.data for data sets and loaders",
    **dict.fromkeys(["float32", "float64", "int64"], "np.float32, np.float64, ..."),
    "long": "np.int64",
}
"""What to write for names of PyTorch's and autograd's that are not here."""

homes["scipy.special"] = "tensorgrad.scipy.special"


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    """What not every program uses is loaded when it is: a room, or a function out of one."""
    if name not in __all__:
        way = f": write {INSTEAD[name]}" if name in INSTEAD else ""
        raise AttributeError(f"module 'tensorgrad' has no attribute {name!r}{way}")
    if find_spec(room := f"tensorgrad.{name}"):
        return import_module(room)
    homes = (import_module(f"tensorgrad.{home}") for home in HOMES)
    globals()[name] = found = next(getattr(home, name) for home in homes if hasattr(home, name))
    return found
