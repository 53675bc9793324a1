"""Checks of how a cost is put together: an activation applied twice, shapes that make all pairs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorgrad.engine.batching import elementwise, moving
from tensorgrad.engine.node import Array, Node
from tensorgrad.graph.lint.graph import JOINS, Finding, Graph

APPLIES = {
    "cross_entropy": "softmax",
    "log_softmax": "softmax",
    "binary_cross_entropy_with_logits": "sigmoid",
}
SQUASHES = {"softmax", "log_softmax", "sigmoid", "expit"}
SAME = {"alias", "astype", "copy", "positive"}  # the same numbers in another node


def activation_twice(graph: Graph) -> Iterator[Finding]:
    """Softmax or sigmoid before a loss that applies it itself."""
    for node in graph.operations:
        assert node.op is not None
        loss, answers = node.op.name, node.operands[0]
        if loss not in APPLIES or answers is None:
            continue
        made_by = next((name for name in squashed(answers, node)), None)
        if made_by is None and not (loss == "cross_entropy" and probabilities(node.inputs[0])):
            continue
        given = f"what {made_by} made" if made_by else "rows that are 0 or more and sum to 1"
        idle = made_by == "log_softmax"  # softmax(log_softmax(z)) = softmax(z)
        yield graph.finding(
            "activation twice",
            "note" if idle else "warning",
            node,
            f"{loss} applies {APPLIES[loss]} itself, and is given {given}"
            + (": that changes nothing, and costs its time" if idle else ""),
            f"give {loss} the weighted sums of the last layer as they are",
        )


def sources(node: Node | None) -> Iterator[Node]:
    """The operations that made the numbers of a node, behind those that only moved them."""
    found, seen = [node], set()
    for x in found:
        if x is None or x.op is None or x in seen:
            continue
        seen.add(x)
        if x.op.batch is moving or x.op.name in SAME:
            found.append(x.operands[0])
        elif x.op.name in JOINS:
            found += x.operands
        else:
            yield x


def squashed(answers: Node, loss: Node) -> Iterator[str]:
    """The activations that `loss` is given the results of."""
    assert loss.op is not None
    for source in sources(answers):
        assert source.op is not None
        name = source.op.name
        if loss.op.name == "log_softmax":  # by rows and then by columns may well be meant
            axes = {x.params.get("axis", -1) % max(x.data.ndim, 1) for x in (source, loss)}
            if name == "log_softmax" or source is not answers or len(axes) > 1:
                continue
        if name in SQUASHES:
            yield name


def probabilities(z: Array) -> bool:
    """Whether logits (n, classes, ...) are probabilities, by whatever they were computed."""
    z = np.asarray(z)
    classes = 1 if z.ndim > 1 else 0
    if z.ndim == 0 or z.shape[classes] < 2 or not z.size or z.min() < 0:
        return False
    return bool(np.allclose(z.sum(axis=classes), 1, rtol=0, atol=1e-5))


def all_pairs(graph: Graph) -> Iterator[Finding]:
    """(n, 1) against (n,) in a cost: n² differences instead of n."""
    for node in graph.operations:
        n = paired(node)
        if not n or node not in graph.cost or meets_a_table(graph, node):
            continue
        assert node.op is not None
        shapes = " against ".join(str(np.shape(x)) for x in node.inputs)
        yield graph.finding(
            "broadcasting in a loss",
            "warning",
            node,
            f"{node.op.name} of shapes {shapes} broadcasts to {node.data.shape}: every answer "
            "meets every target",
            "give both one shape, such as y[:, None] or model(x)[:, 0]; losses like F.mse_loss "
            "insist on it",
        )


def paired(node: Node) -> int:
    """n, where (n, 1) meets (n,), and what learns there was computed, not made a column; or 0."""
    assert node.op is not None
    if node.op.batch is not elementwise or len(node.inputs) != 2 or node.data.ndim != 2:
        return 0
    n = node.data.shape[0]
    row, column = sorted(zip(node.inputs, node.operands), key=lambda pair: np.ndim(pair[0]))
    if n < 2 or (np.shape(row[0]), np.shape(column[0])) != ((n,), (n, 1)):
        return 0
    learning = [x for _, x in (row, column) if x is not None and x.requires_grad]
    if any(x.op is None for x in learning):  # a weight for each of n features, say
        return 0
    made = column[1].op if column[1] in learning and column[1] is not None else None
    on_purpose = made is not None and made.batch is moving
    return 0 if on_purpose else n


def meets_a_table(graph: Graph, node: Node) -> bool:
    """Whether the n² numbers are compared with n² others: then they were meant."""
    shape, found, seen = node.data.shape, [node], {node}
    for x in found:  # the list grows while we walk it
        for user in graph.users[x]:
            others = [a for y, a in zip(user.operands, user.inputs) if y is not x]
            if any(np.shape(a) == shape for a in others):
                return True
            if user.data.shape == shape and user not in seen:
                found.append(user)
                seen.add(user)
    return False
