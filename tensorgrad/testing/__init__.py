"""Gradients that a person can trust: checks for any function that claims to have one.

`check_grads` for functions of Values, `check_vjp` for a gradient written by hand, `check` for any
`Subject`. Read `check.py`, then `differences.py`, where the error bars come from.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tensorgrad.extras import missing
from tensorgrad.testing.adapters import from_autograd, from_jax, from_torch
from tensorgrad.testing.check import check, check_grads, check_vjp
from tensorgrad.testing.report import Choice, Failure, GradientError, Report
from tensorgrad.testing.subject import Subject, from_values

if TYPE_CHECKING:
    from tensorgrad.testing import strategies
    from tensorgrad.testing.grading import grade
    from tensorgrad.testing.primitives import check_rule
    from tensorgrad.testing.properties import property_gradcheck

__all__ = [
    "Choice",
    "Failure",
    "GradientError",
    "Report",
    "Subject",
    "check",
    "check_grads",
    "check_rule",
    "check_vjp",
    "from_autograd",
    "from_jax",
    "from_torch",
    "from_values",
    "grade",
    "property_gradcheck",
    "strategies",
]

HOMES = {"check_rule": "primitives", "property_gradcheck": "properties", "grade": "grading"}


def __getattr__(name: str) -> Any:
    """What needs Hypothesis is loaded when it is used."""
    if name not in __all__:
        raise AttributeError(f"module 'tensorgrad.testing' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"tensorgrad.testing.{HOMES.get(name, name)}")
    except ImportError as error:
        raise missing(f"testing.{name}: {error}", "testing") from error
    return module if name == "strategies" else getattr(module, name)
