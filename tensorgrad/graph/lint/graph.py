"""What all checks read, the graph of a loss with a sweep through it, and what they find.

Nothing stays changed: no `.grad`, no recording, no mark on a node.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np

from tensorgrad.engine.backprop import cotangents, topological_order
from tensorgrad.engine.batching import Batched, elementwise, moving, reduction
from tensorgrad.engine.calls import forgetting_buffers
from tensorgrad.engine.node import Array, Node, record, recorder, within
from tensorgrad.graph.debug import Origin, source_line
from tensorgrad.graph.local import depending
from tensorgrad.ops.former import recall
from tensorgrad.value import Value, ones_like

JOINS = {"concatenate", "stack"}
PRODUCTS = {"multiply", "divide", "power"}
SHOWN = 3  # operands, and names in a list
DEEP = 6  # operations of a path

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
HINT = (
    "For source lines pass a function, tg.lint(lambda: loss(...), params), or record the loss "
    "under tg.debug()."
)


class Finding(NamedTuple):
    """One thing to look at.

    `kind`: which check found it. `severity`: "error" for what cannot learn, "warning" for what is
    most likely a mistake, "note" for what to know. `mend`: what to do about it. `node`: the
    operation with its operands, or the parameter. `line`: where the user wrote it, or None where
    that was not recorded; `path`: the operations from the loss down to the node.
    """

    kind: str
    severity: Severity
    message: str
    mend: str
    node: str
    line: str | None = None
    path: str = ""

    def __str__(self) -> str:
        lines = [f"{self.severity}: {self.kind}", self.message]
        place = self.line or self.path
        lines += [f"in {place}"] if place else []
        return "\n    ".join([*lines, f"mend: {self.mend}"])


class Findings(list[Finding]):
    """A list of findings, the worst first. It prints as a report; empty, as "nothing found"."""

    def __repr__(self) -> str:
        if not self:
            return "nothing found"
        lost = any(finding.path and not finding.line for finding in self)
        return "\n".join([*map(str, self), *([HINT] if lost else [])])


def run(loss: Callable[[], Any]) -> tuple[Node, dict[Node, str]]:
    """What the function returns, and every operation it recorded, with the user's line.

    TypeError if it returns no Value.
    """
    lines: dict[Node, str] = {}

    def note(*operation: Any) -> Node:
        node = record(*operation)
        lines[node] = source_line()
        return node

    with np.errstate(all="ignore"):
        value = forgetting_buffers((), within, recorder, note, loss, (), {})
    if not isinstance(value, Value):
        raise TypeError(
            f"lint: the function returned {value!r:.60}, a {type(value).__name__} without a "
            "graph; return the loss itself, not .item() or .data of it"
        )
    return value.node, lines


class Graph:
    """The nodes that lead to a loss, with their cotangents.

    `names`: what the parameters are called. `lines`: where nodes were recorded, all of them, also
    those that do not lead to the loss. `again`: computes the loss once more. `steady`: whether it
    is the same number then.
    """

    def __init__(
        self,
        loss: Node,
        names: Mapping[Node, str],
        lines: Mapping[Node, str],
        again: Callable[[], Any] | None = None,
        steady: bool = False,
    ) -> None:
        self.loss, self.names, self.lines = loss, names, lines
        self.again, self.steady = again, steady
        self.order = topological_order([loss])
        recall(self.order)
        self.cotangents = swept(loss, self.order, ones_like(loss.data))
        # what a vmap computed is known for all examples together only, and not looked into
        self.nodes = [n for n in self.order if not batched(n) and np.size(n.data)]
        self.operations = [n for n in self.nodes if n.op is not None]
        self.users: dict[Node, list[Node]] = defaultdict(list)
        for node in self.order:
            for x in dict.fromkeys(node.operands):
                if x is not None and x.requires_grad:
                    self.users[x].append(node)

    @cached_property
    def learning(self) -> set[Node]:
        """What depends on a parameter; if none was named, on any leaf."""
        return depending(self.order, self.names or {n for n in self.order if n.op is None})

    @cached_property
    def reach(self) -> dict[Node, Array]:
        """The cotangents of an infinite one of the loss: 0 for what was left out, and not for what
        meets a factor that happens to be 0.
        """
        return swept(self.loss, self.order, np.inf * ones_like(self.loss.data))

    @cached_property
    def scalar(self) -> bool:
        """Whether every weight is a node of its own, as in micrograd."""
        return not any(np.ndim(n.data) for n in self.order if n.op is None and n in self.learning)

    @cached_property
    def cost(self) -> set[Node]:
        """The end of the graph: what is only compared, weighed by constants and summed there."""
        found = {self.loss}
        for node in reversed(self.order):
            users = self.users[node]
            if users and all(user in found and adds_up(user) for user in users):
                found.add(node)
        return found

    def finding(
        self, kind: str, severity: Severity, node: Node, message: str, mend: str
    ) -> Finding:
        """A finding about a node, with its place."""
        line = self.line(node)
        return Finding(kind, severity, message, mend, self.told(node), line, self.path(node))

    def line(self, node: Node) -> str | None:
        """Where it was recorded, a leaf where it was used, if somebody noted that."""
        if node.op is None and self.users[node]:
            node = self.users[node][0]
        origins = (r.line for r in node.readings if isinstance(r, Origin))
        return self.lines.get(node) or next(origins, None)

    def told(self, node: Node, depth: int = 2) -> str:
        """The node as its user may know it: `relu(linear(data (10, 64), 0.weight, 0.bias))`."""
        if node.op is None:
            shape = f"leaf {np.shape(node.data)}"
            return self.names.get(node) or node.name or shape
        if not depth:
            return f"{node.op.name}(…)"
        parts = [
            self.told(x, depth - 1) if x is not None and x.requires_grad else described(a)
            for x, a in zip(node.operands[: SHOWN + 1], node.inputs)
        ]
        more = ["…"] if len(parts) > SHOWN else []
        return f"{node.op.name}({', '.join(parts[:SHOWN] + more)})"

    def path(self, node: Node) -> str:
        """The operations from the loss down to the node, if it is among them."""
        if node not in self.cotangents:
            return ""
        names = [node.op.name if node.op else self.told(node)]
        while node is not self.loss and self.users[node]:
            node = self.users[node][0]
            assert node.op is not None
            names.append(node.op.name)
        if len(names) > DEEP:
            names[DEEP // 2 : 1 - DEEP // 2] = ["…"]
        return " ← ".join(reversed(names))


def swept(loss: Node, order: list[Node], seed: Array) -> dict[Node, Array]:
    """The cotangents of all nodes, by the engine's own sweep: each node is asked to keep its."""
    before = [(node.retains_grad, node.readings) for node in order]
    try:
        for node in order:  # an origin would raise at the first NaN
            rest = tuple(r for r in node.readings if not r.looks)
            node.retains_grad, node.readings = True, rest
        return cotangents({loss: seed})
    finally:
        for node, (retains_grad, readings) in zip(order, before):
            node.retains_grad, node.readings = retains_grad, readings


def adds_up(node: Node) -> bool:
    """Whether an operation compares, moves or sums, without a product of two things that learn."""
    assert node.op is not None
    learning = {x for x in node.operands if x is not None and x.requires_grad}
    if len(learning) > 1 and node.op.name in PRODUCTS:
        return False
    return node.op.batch in (elementwise, reduction, moving) or node.op.name in JOINS


def batched(node: Node) -> bool:
    """Whether it was computed inside a vmap."""
    return any(type(x) is Batched for x in (node.data, *node.inputs))


def described(x: Array) -> str:
    """A number, or the shape of an array."""
    return f"data {np.shape(x)}" if np.ndim(x) else f"{x:.4g}"


def several(names: list[str]) -> str:
    """A list of names, cut short."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
