"""`lint`: read the graph of a loss and name what will not learn, before an evening is spent on it.

Each check is a function from a `Graph` to findings, in the list below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import elsewhere, is_lazy
from tensorgrad.engine.node import Node
from tensorgrad.graph.border import here
from tensorgrad.graph.lint.costs import activation_twice, all_pairs
from tensorgrad.graph.lint.graph import SEVERITIES, Finding, Findings, Graph, run
from tensorgrad.graph.lint.numbers import choices_in_force, nan_hazards
from tensorgrad.graph.lint.paths import (
    detached,
    flat_on_the_way,
    growing,
    no_gradient,
    no_graph,
    two_versions,
)
from tensorgrad.graph.lint.units import dead_relus, saturated
from tensorgrad.value import Value

__all__ = ["Finding", "Findings", "lint"]

CHECKS: tuple[Callable[[Graph], Iterator[Finding]], ...] = (
    no_graph,
    nan_hazards,
    activation_twice,
    all_pairs,
    no_gradient,
    flat_on_the_way,
    dead_relus,
    saturated,
    two_versions,
    detached,
    choices_in_force,
)


def lint(loss: Any, params: Any = ()) -> Findings:
    """Name what is wrong with a loss, each with the line it was written in and how to mend it.

    `loss`: a function without arguments that computes one step's loss, or the loss, a Value with
    one element. A function tells more: the source lines, what was cut off the graph, and whether
    it grows. It is called twice; a third time where that tells whether the graph grows; once with
    other numbers in all parameters without a gradient; and if these change it, in halves of them,
    halves of those, ..., fewer than twice for each. (Of arrays on a GPU the graph alone is looked
    at, and the function called once.) Its side effects happen each time. `params`:
    what should learn: a Module, a mapping of names to Values, or Values.

    No `.grad` changes, nor any data. TypeError for a loss that is no Value and params that are
    none, ValueError for a loss of several elements.

    >>> import numpy as np
    >>> from tensorgrad import nn
    >>> model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.Softmax())
    >>> x, y = np.eye(3), np.array([0, 1, 0])
    >>> def loss():
    ...     return nn.functional.cross_entropy(model(x), y)
    >>> print(lint(loss, model))
    warning: activation twice
        cross_entropy applies softmax itself, and is given what softmax made
        in <doctest ...>, line 2: return nn.functional.cross_entropy(model(x), y)
        mend: give cross_entropy the weighted sums of the last layer as they are
    """
    names = named(params)
    if isinstance(loss, Value):
        with here(loss.node):
            return report(Graph(scalar(loss.node), names, {}))
    if not callable(loss):
        raise TypeError(
            f"lint takes the loss, a Value, or a function that computes it, not {loss!r:.60}"
        )
    node, lines = run(loss)
    scalar(node)
    if elsewhere(node.data):
        with here(node):
            return report(Graph(node, names, lines))
    again, later = run(loss)
    steady = np.array_equal(node.data, again.data, equal_nan=True)
    graph = Graph(node, names, lines, loss, steady)
    return report(graph, growing(graph, later, again))


def scalar(loss: Node) -> Node:
    """The loss, if it is one number, which is there."""
    if is_lazy(loss.data):
        raise TypeError(
            "lint looks at numbers, which chunked data have not yet: pass it the loss of a few "
            "rows, such as X[:100].compute()"
        )
    if loss.data.size != 1:
        raise ValueError(
            f"lint: the loss has shape {loss.data.shape}; reduce it to one number, such as its mean"
        )
    return loss


def report(graph: Graph, more: Iterable[Finding] = ()) -> Findings:
    """What all checks find, the worst first."""
    found = [finding for check in CHECKS for finding in check(graph)]
    return Findings(sorted([*found, *more], key=lambda f: SEVERITIES.index(f.severity)))


def named(params: Any) -> dict[Node, str]:
    """The nodes of the parameters, and what to call them."""
    if hasattr(params, "named_parameters"):
        pairs = list(params.named_parameters())
    elif isinstance(params, Mapping):
        pairs = list(params.items())
    else:
        try:
            values = [params] if isinstance(params, Value) else list(params)
        except TypeError:
            raise TypeError(
                "lint: params takes a Module, a mapping of names to Values, or Values, not "
                f"{params!r:.60}"
            ) from None
        pairs = [(getattr(p, "name", None) or f"parameter {i}", p) for i, p in enumerate(values)]
    for name, p in pairs:
        if not isinstance(p, Value):
            raise TypeError(f"lint: {name} in params is no Value but {p!r:.60}")
    return {p.node: str(name) for name, p in pairs}
