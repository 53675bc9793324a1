"""tensorgrad: automatic differentiation of NumPy code, one hand-derived rule per operation.

Read `engine/`, `value.py` and one file of `ops/`: that is all there is to it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tensorgrad.engine.domain import Domain
from tensorgrad.engine.primitive import implements, primitive
from tensorgrad.engine.rules import Each
from tensorgrad.value import Value, no_grad

if TYPE_CHECKING:
    from tensorgrad import data, io, nn, optim, scipy, testing, viz
    from tensorgrad.graph.debug import debug
    from tensorgrad.graph.lint import lint
    from tensorgrad.train import Step, fit
    from tensorgrad.transforms.custom import checkpoint, custom_vjp
    from tensorgrad.transforms.derivatives import (
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
    from tensorgrad.transforms.vmap import vmap

__version__ = "0.1.0"
__all__ = [
    "Domain",
    "Each",
    "Step",
    "Value",
    "checkpoint",
    "custom_vjp",
    "data",
    "debug",
    "elementwise_grad",
    "fit",
    "grad",
    "hessian",
    "hvp",
    "implements",
    "io",
    "jacobian",
    "jvp",
    "lint",
    "nn",
    "no_grad",
    "optim",
    "primitive",
    "scipy",
    "stop_gradient",
    "testing",
    "value_and_grad",
    "viz",
    "vjp",
    "vmap",
]

_ROOMS = ("data", "io", "nn", "optim", "scipy", "testing", "viz")
_TRANSFORMS = (
    *("elementwise_grad", "grad", "hessian", "hvp", "jacobian", "jvp", "stop_gradient"),
    *("value_and_grad", "vjp"),
)
_HOMES = {
    "Step": "tensorgrad.train",
    "checkpoint": "tensorgrad.transforms.custom",
    "custom_vjp": "tensorgrad.transforms.custom",
    "debug": "tensorgrad.graph.debug",
    "fit": "tensorgrad.train",
    "lint": "tensorgrad.graph.lint",
    "vmap": "tensorgrad.transforms.vmap",
    **dict.fromkeys(_TRANSFORMS, "tensorgrad.transforms.derivatives"),
}


def __dir__() -> list[str]:
    return [*globals(), *_ROOMS, *_HOMES]


def __getattr__(name: str) -> Any:
    """Rooms that not every program enters are loaded when they are."""
    if name in _ROOMS:
        return importlib.import_module(f"tensorgrad.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'tensorgrad' has no attribute {name!r}")
