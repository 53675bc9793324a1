"""Checks of where gradients go: parameters without one, data cut off, graphs that grow."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from tensorgrad.engine.backprop import topological_order
from tensorgrad.engine.node import Array, Node
from tensorgrad.graph.lint.graph import Finding, Graph, batched, run, several

REACH = "use the Value itself: no .detach(), .data, np.asarray or no_grad() on the way to the loss"
CUT = (
    "carry numbers over from step to step: h.detach() for a state, loss.item() for a running total"
)
KEEP = "if that is meant, keep it out of params or set requires_grad=False"


def no_graph(graph: Graph) -> Iterator[Finding]:
    """A loss without a graph."""
    if not graph.loss.requires_grad:
        yield Finding(
            "no graph",
            "error",
            "the loss is a constant: nothing that requires grad leads to it",
            REACH,
            "the loss",
        )


def no_gradient(graph: Graph) -> Iterator[Finding]:
    """Parameters that no gradient reaches, and why."""
    cut = [(user, set(topological_order([source]))) for source, user in cut_off(graph)]
    users: dict[Node, Node | None] = {}
    for p, name in graph.names.items():
        if p.op is not None:
            if not p.retains_grad:
                yield no_leaf(graph, p, name)
        elif p.requires_grad and p not in graph.cotangents and graph.loss.requires_grad:
            users[p] = next((user for user, behind in cut if p in behind), None)
    moving = set(movers(graph, [p for p, user in users.items() if user is None]))
    causes: dict[tuple[str, str, str, Node | None], list[str]] = defaultdict(list)
    for p, user in users.items():
        matters = p in moving if graph.steady else None
        causes[(*reason(graph, user, matters), user)].append(graph.names[p])
    for (kind, message, mend, user), names in causes.items():
        text = f"{several(names)}: {message}"
        if user is None:
            yield Finding(kind, "warning", text, mend, names[0])
        else:
            yield graph.finding(kind, "warning", user, text, mend)


def no_leaf(graph: Graph, p: Node, name: str) -> Finding:
    assert p.op is not None
    return graph.finding(
        "no gradient",
        "warning",
        p,
        f"{name} is the result of {p.op.name}: backward() leaves the gradient with the leaf behind",
        "make it a leaf: Value(the array), computed before",
    )


def reason(graph: Graph, user: Node | None, matters: bool | None) -> tuple[str, str, str]:
    """Kind, message and mend for a parameter that no gradient reaches.

    `user`: the operation that was given plain data of what it leads to, if there is one.
    `matters`: whether other numbers in it change the loss, if that is known.
    """
    if user is not None:
        return "detached", f"no gradient, as {graph.told(user)} was given plain data", REACH
    if matters:
        message = "other numbers there change the loss, but no gradient comes back: it is detached"
        return "detached", message, REACH
    if matters is False:
        return "no gradient", "no part in the loss: other numbers there leave it as it is", KEEP
    return "no gradient", "nothing in the graph leads from there to the loss", f"{REACH}; {KEEP}"


def movers(graph: Graph, params: list[Node]) -> list[Node]:
    """Which of these parameters change the loss by other numbers; none if it is never the same.

    All are asked together, and only if they do, one half after the other.
    """
    if not params or not graph.steady:
        return []
    if np.array_equal(nudged(graph, params), graph.loss.data, equal_nan=True):
        return []
    if len(params) == 1:
        return params
    half = len(params) // 2
    return movers(graph, params[:half]) + movers(graph, params[half:])


def nudged(graph: Graph, params: list[Node]) -> Array:
    """The loss with other numbers in these parameters."""
    assert graph.again is not None
    rng, before = np.random.default_rng(0), [p.data for p in params]
    try:
        for p in params:  # no two alike, lest they cancel
            p.data = p.data + rng.uniform(0.1, 0.2, p.data.shape).astype(p.data.dtype)
        return run(graph.again)[0].data
    finally:
        for p, data in zip(params, before):
            p.data = data


def cut_off(graph: Graph) -> list[tuple[Node, Node]]:
    """Pairs of a node and an operation that used its data, or a part of it, as a constant."""
    made = [n for n in (*graph.lines, *graph.order) if n.op is not None and not batched(n)]
    arrays = {id(n.data): n for n in made} | {id(owner(p.data)): p for p in graph.names}
    found = []
    for user in graph.operations:
        for x, a in zip(user.operands, user.inputs):
            if (x is None or not x.requires_grad) and isinstance(a, (np.ndarray, np.generic)):
                source = arrays.get(id(a)) or arrays.get(id(owner(a)))
                if source is not None:
                    found.append((source, user))
    return found


def owner(x: Array) -> Array:
    """The array whose memory a view shows."""
    return x if x.base is None else x.base


def detached(graph: Graph) -> Iterator[Finding]:
    """Results used as plain data where what they came from has a gradient by another way."""
    named = set(graph.names)
    for source, user in cut_off(graph):
        behind = named.intersection(topological_order([source]))
        if any(p not in graph.cotangents for p in behind):
            continue  # `no_gradient` tells
        assert user.op is not None
        yield graph.finding(
            "detached",
            "note",
            user,
            f"{user.op.name} takes {graph.told(source)} as plain data: no gradient goes back there",
            f"{REACH}; nothing, if a constant is meant",
        )


def flat_on_the_way(graph: Graph) -> Iterator[Finding]:
    """Parameters whose gradient is 0 because an operation's slope is 0 everywhere, or all are."""
    zero = {p for p in graph.names if p in graph.cotangents and not np.any(graph.cotangents[p])}
    if not zero:
        return
    told: set[Node] = set()
    for node in graph.operations:
        for i, x in enumerate(node.operands):
            if x is None or not x.requires_grad or np.any(graph.cotangents[x]):
                continue
            if not np.any(graph.cotangents[node]) or not flat(graph, node, i):
                continue
            behind = [p for p in topological_order([x]) if p in zero - told]
            if not behind:
                continue
            assert node.op is not None
            told.update(behind)
            yield graph.finding(
                "no gradient",
                "warning",
                node,
                f"{several([graph.names[p] for p in behind])}: a gradient of 0, as the slope of "
                f"{node.op.name} is 0 everywhere",
                f"compute it without {node.op.name}, or pass the gradient straight through: "
                f"x + ({node.op.name}(x) - x).detach()",
            )
    if told or any(p not in zero for p in graph.names if p in graph.cotangents):
        return
    if np.any(graph.loss.data):
        names = [graph.names[p] for p in graph.names if p in zero]
        yield Finding(
            "no gradient",
            "warning",
            f"{several(names)}: a gradient of 0, every one of them",
            "look for dead ReLUs, all weights 0, answers clipped or rounded",
            names[0],
        )


def flat(graph: Graph, node: Node, i: int) -> bool:
    """Whether a rule answers just 0, and no array: the slope is 0 everywhere."""
    assert node.op is not None
    with np.errstate(all="ignore"):
        c = node.op.pull(i, (graph.cotangents[node], node.data, *node.inputs), node.params)
    return type(c) in (int, float) and c == 0


def two_versions(graph: Graph) -> Iterator[Finding]:
    """A parameter that the graph knows from before an update and from after it."""
    arrays: dict[Node, set[int]] = defaultdict(set)
    users: dict[Node, Node] = {}
    for node in graph.operations:
        for x, a in zip(node.operands, node.inputs):
            if x is not None and x.requires_grad and x.op is None:
                arrays[x].add(id(a))
                users[x] = node
    old = [x for x, versions in arrays.items() if len(versions) > 1]
    if old:
        yield graph.finding(
            "growing graph",
            "warning",
            users[old[0]],
            f"{several([graph.told(x) for x in old])}: in the graph with the data from before an "
            "update and from after it, so it reaches back into an earlier step",
            CUT,
        )


def growing(first: Graph, lines: dict[Node, str], second: Node) -> Iterator[Finding]:
    """A second step whose graph holds the first one, and a third that holds both."""
    order = topological_order([second])
    carried = [
        (x, node)
        for node in order
        for x in node.operands
        if x is not None and x.op is not None and x in first.lines and node in lines
    ]
    if not carried:
        return
    assert first.again is not None
    sizes = [len(first.order), len(order), len(topological_order([run(first.again)[0]]))]
    if not sizes[0] < sizes[1] < sizes[2]:
        return
    source, user = carried[0]
    assert user.op is not None
    graph = Graph(second, first.names, {**first.lines, **lines})
    counts = ", ".join(map(str, sizes))
    yield graph.finding(
        "growing graph",
        "warning",
        user,
        f"{user.op.name} takes {graph.told(source)} of the step before: {counts} nodes in three "
        "steps",
        CUT,
    )
