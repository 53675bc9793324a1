"""Transposes of stacked matrices, and rules as the literature derives them.

Papers pair a cotangent with a change by df = Re tr(Ȳᴴ dY); the engine's are free of conj,
df = Re tr(gᵀ dY). So Ȳ = conj(g), and `conjugated` turns a rule of theirs into one of ours.
`even` completes the rule of a length r = ‖x‖, which chooses r' = 0 at 0, for what is smooth there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import anywhere, is_numpy
from tensorgrad.engine.care import bare
from tensorgrad.engine.node import Array, Handle, hold
from tensorgrad.engine.rules import Rule


def T(x: Array) -> Array:
    """The transposes."""
    return np.swapaxes(x, -1, -2)


def conj(x: Array) -> Array:
    """The complex conjugate; of real numbers no copy."""
    return np.conjugate(x) if x.dtype.kind == "c" else x


def H(x: Array) -> Array:
    """The conjugate transposes."""
    return conj(T(x))


def conjugated(rule: Rule) -> Rule:
    """The rule for cotangents free of conj, of one for Ȳ with df = Re tr(Ȳᴴ dY)."""

    def free_of_conj(g: Array, out: Array, *operands: Array, **params: Any) -> Array:
        return conj(rule(conj(g), out, *operands, **params))

    return free_of_conj


NEAR = 8  # operations between a length and the multiple of it that is its cotangent
MULTIPLES = {"add", "subtract", "negative", "multiply", "divide", "power", "astype"}


def even(rule: Rule, multiple: Rule) -> Rule:
    """The rule of a length r, whose square has a second derivative where r = 0.

    An even function of r has a cotangent g = q r. There r' counts as 0, and so would the slope of
    g r'; but r r' = x, or so, and `multiple` computes q times that, whose slope is right. Only a
    sweep that is recorded knows how g was computed, and has a use for it.
    """

    def complete(g: Array, out: Array, *operands: Array, **params: Any) -> Array:
        c = rule(g, out, *operands, **params)
        recorded = isinstance(out, Handle)
        if not recorded or not anywhere(out == 0):
            return c
        q = quotient(bare(g), out, NEAR)
        return c if q is None else c + multiple(np.where(out == 0, q, 0), out, *operands, **params)

    return complete


def quotient(g: Any, r: Any, near: int) -> Any:
    """g / r, of a `g` that was computed as a multiple of `r`; else None."""
    if not isinstance(g, Handle) or g.node.serial < r.node.serial or not near:
        return None
    if g.node is r.node:
        return 1.0
    name = g.node.op.name if g.node.op else None
    if name not in MULTIPLES:
        return None
    xs: list[Any] = [x if n is None else hold(n) for n, x in zip(g.node.operands, g.node.inputs)]
    x, y = xs[0], xs[-1]
    q = quotient(x, r, near - 1)
    if name == "multiply" and q is None:
        q, y = quotient(y, r, near - 1), x
    if q is None or name == "astype":
        return q
    if name == "negative":
        return -q
    if name == "multiply":
        return q * y
    if name == "divide":
        return q / y
    if name == "power":
        is_number = is_numpy(y) and not np.ndim(y)
        return q * x ** (y - 1) if is_number and y >= 1 else None
    other = quotient(y, r, near - 1)
    if other is None:
        return None
    return q + other if name == "add" else q - other
