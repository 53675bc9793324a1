"""See the chain rule: graphs, formulas, explanations, a stepper, pictures of training.

`steps` replays a computation and its gradient; everything else shows what it finds. Needs the extra
`viz`, but for the text.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tensorgrad.formula.formula import Formula, rule_of
from tensorgrad.graph.replay import Event, steps
from tensorgrad.viz.explain import explain, zoom
from tensorgrad.viz.graph import Picture, graph
from tensorgrad.viz.report import report
from tensorgrad.viz.stepper import stepper

if TYPE_CHECKING:
    from tensorgrad.viz import figures

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


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """What needs matplotlib is loaded when it is used."""
    if name == "figures":
        return importlib.import_module("tensorgrad.viz.figures")
    raise AttributeError(f"module 'tensorgrad.viz' has no attribute {name!r}")
