"""The declarations: every operation that has a gradient, by family, one rule per operand."""

from tensorgrad.ops import constant, elementwise, index, linalg, neural, reduce, shape

__all__ = ["constant", "elementwise", "index", "linalg", "neural", "reduce", "shape"]
