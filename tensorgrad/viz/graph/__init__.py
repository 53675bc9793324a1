"""`graph`: a drawing of what was computed."""

from tensorgrad.viz.graph.graph import graph
from tensorgrad.viz.graph.layout import Picture

__all__ = ["Picture", "graph"]
