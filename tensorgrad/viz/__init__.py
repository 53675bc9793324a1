"""See the chain rule: graphs, formulas, explanations, a stepper, pictures of training.

`steps` replays a computation and its gradient; everything else shows what it finds. Needs the extra
`viz`, but for the text.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorgrad.viz import figures
    from tensorgrad.viz.drawing import graph
    from tensorgrad.viz.events import Event, steps
    from tensorgrad.viz.explaining import explain
    from tensorgrad.viz.formula import Formula, rule_of
    from tensorgrad.viz.layout import Picture
    from tensorgrad.viz.reporting import report
    from tensorgrad.viz.stepping import stepper
    from tensorgrad.viz.zooming import zoom

__all__ = [
    "Event",
    "Formula",
    "Picture",
    "explain",
    "figures",
    "graph",
    "report",
    "rule_of",
    "stepper",
    "steps",
    "zoom",
]
_HOMES = {
    "Event": "events",
    "Formula": "formula",
    "Picture": "layout",
    "explain": "explaining",
    "graph": "drawing",
    "report": "reporting",
    "rule_of": "formula",
    "stepper": "stepping",
    "steps": "events",
    "zoom": "zooming",
}


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """Each view is loaded when it is used."""
    if name == "figures":
        return importlib.import_module("tensorgrad.viz.figures")
    if name in _HOMES:
        return getattr(importlib.import_module(f"tensorgrad.viz.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tensorgrad.viz' has no attribute {name!r}")
