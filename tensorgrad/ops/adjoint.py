"""Transposes of stacked matrices, and rules as the literature derives them.

Papers pair a cotangent with a change by df = Re tr(Ȳᴴ dY); the engine's are free of conj,
df = Re tr(gᵀ dY). So Ȳ = conj(g), and `conjugated` turns a rule of theirs into one of ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.node import Array
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
