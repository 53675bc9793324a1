"""See the chain rule: graphs, formulas, explanations, a stepper, pictures of training.

`steps` replays a computation and its gradient; everything else shows what it finds.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorgrad.viz import figures
    from tensorgrad.viz.events import Event, steps
    from tensorgrad.viz.formula import Formula, rule_of

__all__ = ["Event", "Formula", "figures", "rule_of", "steps"]
_HOMES = {"Event": "events", "Formula": "formula", "rule_of": "formula", "steps": "events"}


def __getattr__(name: str) -> Any:
    """Each view is loaded when it is used."""
    if name == "figures":
        return importlib.import_module("tensorgrad.viz.figures")
    if name in _HOMES:
        return getattr(importlib.import_module(f"tensorgrad.viz.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tensorgrad.viz' has no attribute {name!r}")
