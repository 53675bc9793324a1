"""`explain` a gradient in words and formulas, and `zoom` into one entry of it."""

from tensorgrad.viz.explain.explain import explain
from tensorgrad.viz.explain.zoom import zoom

__all__ = ["explain", "zoom"]
