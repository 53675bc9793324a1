"""Checks of numbers: NaN and infinities, and what is about to make some."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorgrad.engine.backprop import contribution
from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.dtypes import finfo
from tensorgrad.engine.node import Array, Node
from tensorgrad.graph.debug import blame, first_bad
from tensorgrad.graph.lint.graph import Finding, Graph, Severity
from tensorgrad.graph.local import decided
from tensorgrad.value import ones_like

MEND = {
    **dict.fromkeys(
        ("log", "log2", "log10", "log1p"),
        "keep the operand off 0, np.log(x + 1e-12); for probabilities take F.log_softmax or a loss "
        "that takes logits",
    ),
    **dict.fromkeys(
        ("divide", "reciprocal", "power", "float_power"),
        "keep the divisor off 0, x / (y + 1e-12), or choose with np.where what to divide by",
    ),
    **dict.fromkeys(
        ("exp", "exp2", "expm1", "sinh", "cosh"),
        "subtract the largest entry first, as F.softmax and np.logaddexp do, or F.sigmoid and "
        "F.softplus, which hold at any size",
    ),
    "sqrt": "keep the operand off 0, np.sqrt(x + 1e-12); for lengths take np.linalg.norm",
}
NOTHING_ASKED = "a later slope is 0 there, and 0 times infinity counts as 0"
CHECK = "look at what it is given; tg.debug() stops at the first NaN or infinity"


def nan_hazards(graph: Graph) -> Iterator[Finding]:
    """Where a NaN or an infinity comes from, forward or backward, or soon may."""
    for node in graph.nodes:
        found = held(graph, node) if node.op is None else made(graph, node)
        if found is not None:
            severity, text = found
            mend = CHECK if node.op is None else MEND.get(node.op.name, CHECK)
            yield graph.finding("NaN hazard", severity, node, text, mend)


Told = tuple[Severity, str] | None


def held(graph: Graph, leaf: Node) -> Told:
    """A leaf that holds a NaN or an infinity."""
    bad = first_bad(leaf.data)
    if bad is None:
        return None
    return "error", f"{graph.told(leaf)} holds {leaf.data[bad]} at entry {bad}"


def made(graph: Graph, node: Node) -> Told:
    """An operation that makes one, forward or backward, or is near to it."""
    assert node.op is not None
    g, name = np.asarray(graph.cotangents[node]), node.op.name
    if any(x is not None and first_bad(x.data) is not None for x in node.operands):
        return None  # it was there before
    bad = first_bad(node.data)
    backward = made_backward(graph, node, g)
    if backward and bad is None:
        return "error", backward
    if bad is not None:
        given = blame(node, bad)
        broken = first_bad(graph.loss.data) is not None
        if broken or backward or np.any(g[~np.isfinite(node.data)]):
            return "error", f"{name} {given}"
        if not given.startswith("made"):
            return None  # what it was given, say -inf for a mask, was meant
        meets = np.any(np.asarray(graph.reach[node])[~np.isfinite(node.data)])
        return (
            "note",
            f"{name} {given}; {NOTHING_ASKED if meets else 'masked out, it does no harm'}",
        )
    return steep(graph, node, g)


def made_backward(graph: Graph, node: Node, g: Array) -> str | None:
    """A rule that makes a NaN or an infinity of a finite cotangent."""
    assert node.op is not None
    if first_bad(g) is not None:
        return None
    for i, x in enumerate(node.operands):
        if x is None or not x.requires_grad or first_bad(graph.cotangents[x]) is None:
            continue
        c = contribution(node, i, g[()])
        bad = first_bad(c)
        if bad is not None:
            at = f", where the operand is {x.data[bad]}" if np.shape(c) == np.shape(x.data) else ""
            number = np.asarray(c)[bad]
            return f"the gradient rule of {node.op.name} makes {number} at entry {bad}{at}"
    return None


def steep(graph: Graph, node: Node, g: Array) -> Told:
    """An operation on single entries with a slope whose square overflows, or with an infinite one
    that meets a factor of 0.
    """
    assert node.op is not None
    if node.op.batch is not elementwise:
        return None
    name, dtype = node.op.name, node.data.dtype
    for i, x in enumerate(node.operands):
        if x is None or not x.requires_grad:
            continue
        slope = contribution(node, i, ones_like(node.data))
        steepest = np.max(np.where(g != 0, np.abs(slope), 0), initial=0)
        if steepest > np.sqrt(finfo(dtype).max):
            return "warning", f"{name} has slopes up to {steepest:.1g} here; {dtype} soon overflows"
        bad = first_bad(slope)
        if bad is not None and np.any(~np.isfinite(slope) & (np.asarray(graph.reach[node]) != 0)):
            return "note", f"{name} has an infinite slope at entry {bad}; {NOTHING_ASKED}"
    return None


def choices_in_force(graph: Graph) -> Iterator[Finding]:
    """Operations with a stated choice whose operands are where it counts."""
    for node in graph.operations:
        assert node.op is not None
        g = graph.cotangents[node]
        entries = max(
            (
                decided(node, i, g, graph.cotangents[x])
                for i, x in enumerate(node.operands)
                if x is not None and x.requires_grad
            ),
            default=0,
        )
        if entries:
            # of a row that ties, how many entries move depends on the nudge
            count = f" at {entries} of {np.size(node.data)} entries"
            where = count if node.op.batch is elementwise else ""
            yield graph.finding(
                "policy choice",
                "note",
                node,
                f"{graph.told(node)} is at a corner or a tie{where}; the choice there: "
                f"{node.op.choice}",
                "nothing, if that choice suits you (docs/choices.md); else move the operands apart",
            )
