"""The engine's side: the teacher's forward pass at some inputs, its graph and its gradients."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tensorgrad.engine.backprop import cotangents, topological_order
from tensorgrad.engine.node import Node, record, recorded
from tensorgrad.ops.former import recall
from tensorgrad.testing.point import shown_type
from tensorgrad.testing.report import described
from tensorgrad.testing.subject import Function, name_of
from tensorgrad.value import Value

Array = Any
Arrays = dict[str, Array]


class Lesson:
    """The reference at some inputs: its graph, the named nodes, and the true gradients by them.

    `names`: of all quantities, inputs too, in the order in which a backward pass completes their
    gradients. `asked`: those that the reference named.
    """

    def __init__(self, reference: Function, inputs: Arrays) -> None:
        values = {name: variable(x) for name, x in inputs.items()}
        try:
            with quietly():
                result = recorded(reference, *values.values())
        except Exception as error:
            error.add_note(f"in {name_of(reference)} at {described([*inputs], [*inputs.values()])}")
            raise
        match result:
            case (Value(shape=(), requires_grad=True) as loss, dict() as named):
                pass
            case _:
                raise TypeError(
                    f"{name_of(reference)} must return the loss, one number that depends on its "
                    f"inputs, and a dict of Values, as in `return loss, {{'z': z}}`; not {result!r}"
                )
        for name, x in named.items():
            if not isinstance(x, Value):
                raise TypeError(f"{name!r} is {shown_type(x)}, not a Value: it has no gradient")
        self.asked = list(named)
        nodes = {**values, **named}
        self.nodes = {name: x.node for name, x in nodes.items() if isinstance(x, Value)}
        self.loss = loss.node
        self.order = topological_order([loss.node])
        recall(self.order)
        first_use: dict[Node, int] = {}
        for node in self.order:
            for x in node.operands:
                if x is not None:
                    first_use.setdefault(x, node.serial)
        first_use[loss.node] = loss.node.serial + 1

        def place(name: str) -> tuple[int, bool, int]:
            """Of one operation's operands, those at which the pass ends come first."""
            node = self.nodes[name]
            return -first_use.get(node, -1), node.op is not None, -node.serial

        self.names = sorted(self.nodes, key=place)
        for node in self.nodes.values():
            node.retains_grad = True
        with quietly():
            true = cotangents({loss.node: np.ones_like(loss.node.data)})
        self.true = {n: true.get(x, np.zeros_like(x.data)) for n, x in self.nodes.items()}
        self.finite = all(np.isfinite(x).all() for x in (self.loss.data, *self.true.values()))

    def following(
        self,
        own: Mapping[str, Array],
        replaced: tuple[str, Array] | None = None,
        without: tuple[Node, Node] | None = None,
    ) -> Arrays:
        """The gradients as they follow from `own`, those of a student, nearer to the loss.

        `replaced`: a quantity, and what the backward pass takes it to be. `without`: a node and one
        of its users, whose contribution is forgotten.
        """
        a, instead = (None, None) if replaced is None else (self.nodes[replaced[0]], replaced[1])
        gradients: dict[Node, Array] = {self.loss: np.ones_like(self.loss.data)}
        result = {}
        for node in reversed(self.order):
            g = gradients.get(node, np.zeros_like(node.data))
            for name, named in self.nodes.items():
                if named is node:
                    result[name] = g
                    g = own.get(name, g)
            if node.op is None:
                continue
            wrt = {x for x in node.operands if x is not None and x.requires_grad}
            if a is not None:
                inputs = (instead if x is a else y for x, y in zip(node.operands, node.inputs))
                data = instead if node is a else node.data
                node = record(node.op, node.operands, tuple(inputs), node.params, data)
            for x, c in cotangents({node: g}, wrt=wrt).items():
                if x in wrt and (x, node) != without:
                    gradients[x] = gradients[x] + c if x in gradients else c
        return {name: result.get(name, g) for name, g in self.true.items()}


def variable(x: Any) -> Any:
    """A float or an array of floats as a Value; anything else as it is."""
    kind = getattr(x, "dtype", np.dtype(type(x) if isinstance(x, float) else object)).kind
    return Value(x.copy() if isinstance(x, np.ndarray) else x) if kind == "f" else copy.deepcopy(x)


@contextmanager
def quietly() -> Iterator[None]:
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield


def largest(x: Array) -> float:
    return float(np.max(np.abs(x), initial=0))
