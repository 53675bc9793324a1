"""A check of kinks: where calculus names no derivative, and a stated choice decides."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorgrad.engine.batching import elementwise
from tensorgrad.graph.kinks import decided
from tensorgrad.graph.lint.findings import Finding
from tensorgrad.graph.lint.graph import Graph


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
