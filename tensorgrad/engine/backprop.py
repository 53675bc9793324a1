"""Backpropagation. `Sweep` is the algorithm, on one screen; what follows it prepares and finishes.

The chain rule says that a node's cotangent (the derivative of the output by that node) is the sum,
over the nodes that used it, of what their rules return. So walk the graph from the output back,
each node after all of its users: its cotangent is then complete, and is handed on to its operands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from operator import attrgetter
from typing import Any

import numpy as np
from numpy import float64, ndarray

from tensorgrad.engine.arrays import innermost, is_numpy, is_outline, kind_of, met, shares_memory
from tensorgrad.engine.care import CARE, Unsure, finite
from tensorgrad.engine.node import (
    NO_PARAMS,
    Array,
    Handle,
    Node,
    data_of,
    hold,
    leaf,
    recorded,
    recorder,
    within,
)
from tensorgrad.engine.repair import repair
from tensorgrad.engine.rules import Reading, Rule, Together


class Sweep:
    """One walk back from `outputs`, the nodes that the cotangents start at.

    With `wrt` it ends at these nodes, and nothing is computed that does not lead to them.
    `create_graph`: whether the rules are recorded; `careful`: whether cotangents are `Careful`.
    """

    def __init__(
        self,
        outputs: Collection[Node],
        wrt: Collection[Node] | None = None,
        create_graph: bool = False,
        careful: bool = False,
    ) -> None:
        self.outputs, self.careful, self.observers = outputs, careful, observers.get()
        asked = tuple(o for o in self.observers if o.reads) if self.observers else ()
        self.readings = (RECORDED,) * create_graph + (CARE,) * careful + asked
        self.order, self.wanted = paths(outputs, wrt)
        self.cotangents: dict[Node, Array] = {}
        self.sums: set[Node] = set()  # whose cotangent is a sum: nobody else's array

    def run(self, seeds: Mapping[Node, Array]) -> dict[Node, Array]:
        """The cotangents of the leaves, or of `wrt`; also of nodes that retain theirs."""
        self.cotangents.update(seeds)
        hand_on = observed(self) if self.observers else self.hand_on
        for node in reversed(self.order):
            if node.op is not None:
                hand_on(node)
        return self.cotangents

    def hand_on(self, node: Node) -> None:
        """The chain rule at a node: each operand receives what its rule makes of the cotangent."""
        cotangents, wanted, op = self.cotangents, self.wanted, node.op
        inputs, params = node.inputs, node.params
        assert op is not None
        g = cotangents[node] if node.retains_grad else cotangents.pop(node)
        rules, args = op.rules, (g, node.data) + inputs  # noqa: RUF005 - half the time of unpacking
        if node.readings or self.readings:
            rules, args = read(node, args, self, node.readings + self.readings)
        elif op.adds is not None and node.operands[0] in self.sums and not isinstance(g, Handle):
            op.adds(cotangents[node.operands[0]], g, **params)
            return
        i = -1
        for x in node.operands:
            i += 1  # zip or enumerate would cost a third of the loop on scalars
            if x not in wanted:
                continue
            data = inputs[i]
            c = rules[i](*args, **params) if params else rules[i](*args)
            kind = type(c)  # of a number it says all; arrays are compared in full
            if kind is not type(data) or (
                kind is not float64 and (c.shape != data.shape or c.dtype != data.dtype)
            ):
                c = repair(c, node, i)
            if x not in cotangents:
                cotangents[x] = c
            elif x in self.sums and (type(c) is ndarray or in_order(c)):
                cotangents[x] += c
            else:
                cotangents[x] = c = cotangents[x] + c
                if type(c) is ndarray or (kind is not float64 and in_order(c)):
                    self.sums.add(x)
                elif self.sums:
                    self.sums.discard(x)  # a Value joined the arrays


def in_order(c: Array) -> bool:
    """Whether an array that is written down is added to others as NumPy's are, to the last bit."""
    return bool(met and kind_of(c).in_order() and c.shape)


def read(
    node: Node, args: tuple[Array, ...], sweep: Sweep, readings: tuple[Reading, ...]
) -> tuple[list[Rule], tuple[Array, ...]]:
    """The rules of `node` and their arguments, as the readings have it."""
    assert node.op is not None
    for reading in readings:
        args = reading.given(node, args, sweep)
    rules = node.op.rules
    if type(rules) is Together:
        rules, args = rules.asked_once(args, node.params), ()

    def answers(i: int) -> Rule:
        def rule(*args: Array, **params: Any) -> Array:
            c = rules[i](*args, **params)
            for reading in reversed(readings):
                c = reading.answered(node, i, c, sweep)
            return c

        return rule

    return [answers(i) for i in range(len(node.operands))], args


observers: ContextVar[tuple[Reading, ...]] = ContextVar("observers", default=())


@contextmanager
def observing(*readings: Reading) -> Iterator[None]:
    """Put `readings` around every sweep inside the block; `completed` is told them as well.

    A sweep that is made again with care tells everything again: `sweep.careful` says so.
    """
    before = observers.get()
    observers.set(before + readings)
    try:
        yield
    finally:
        observers.set(before)


def observed(sweep: Sweep) -> Callable[[Node], None]:
    """`sweep.hand_on`, which tells the observers of the node, and what is complete by then: the
    leaves (or `wrt`) that no older node uses.
    """
    ends = sweep.wanted.difference(sweep.order).union(x for x in sweep.order if x.op is None)
    first_user: dict[Node, Node] = {}
    for node in sweep.order:
        first_user |= {x: node for x in node.operands if x in ends and x not in first_user}
    last: dict[Node, list[Node]] = {}
    for x, node in first_user.items():
        last.setdefault(node, []).append(x)

    def hand_on(node: Node) -> None:
        for observer in sweep.observers:
            observer.reached(node, sweep.cotangents[node], sweep)
        sweep.hand_on(node)
        for x in last.get(node, ()):
            for observer in sweep.observers:
                observer.completed(x, sweep.cotangents[x], sweep)

    return hand_on


def topological_order(outputs: Iterable[Node], ends: Collection[Node] = ()) -> list[Node]:
    """The nodes that require grad and lead to `outputs`, each after its operands.

    The walk ends at leaves, and before the nodes `ends`.
    """
    return walk(outputs, ends)[0]


def walk(outputs: Iterable[Node], ends: Collection[Node] = ()) -> tuple[list[Node], set[Node]]:
    """That order, and the set of what was met, `ends` too."""
    oldest = min((x.serial for x in ends), default=-1)  # nothing older comes from one of them
    order = list(outputs)
    found = {*order, *ends}
    for node in order:  # the list grows while we walk it
        for x in node.operands:
            if x is not None and x not in found and x.requires_grad and x.serial > oldest:
                found.add(x)
                order.append(x)
    order.sort(key=attrgetter("serial"))  # an operand is older than what uses it
    return order, found


def paths(
    outputs: Iterable[Node], wrt: Collection[Node] | None = None
) -> tuple[list[Node], set[Node]]:
    """The nodes on paths from `wrt` to `outputs`, in order; and these together with `wrt`."""
    if wrt is None:
        return walk(outputs)
    order, found = [], set(wrt)
    for node in topological_order(outputs, wrt):
        if node not in found and not found.isdisjoint(node.operands):
            found.add(node)
            order.append(node)
    return order, found


def cotangents(
    seeds: Mapping[Node, Array], create_graph: bool = False, wrt: Collection[Node] | None = None
) -> dict[Node, Array]:
    """What a sweep from `seeds` finds, each an array of its own; Values where it is recorded.

    It is made with care if made without it is not enough: where a result is not finite, a matrix is
    singular, or a reading asks for it.
    """
    if create_graph:
        return recorded(taking_care, seeds, True, wrt)
    return within(recorder, None, taking_care, (seeds, False, wrt), NO_PARAMS)


@np.errstate(all="ignore")
def taking_care(
    seeds: Mapping[Node, Array], create_graph: bool, wrt: Collection[Node] | None
) -> dict[Node, Array]:
    """The same with the recorder in force."""
    if met:
        seeds = {node: kind_of(node.data).opened(g, node.data) for node, g in seeds.items()}
    # of arrays without numbers nobody sees what is not finite
    sure = not met or all(kind_of(innermost(node.data)).hopes for node in seeds)
    if sure:
        try:
            found = swept(seeds, create_graph, wrt)
            sure = all(map(finite, found.values()))
        except (Unsure, np.linalg.LinAlgError):
            sure = False
    found = owned(found if sure else swept(seeds, create_graph, wrt, careful=True), seeds)
    if met:
        found = {node: kind_of(node.data).closed(g, node.data) for node, g in found.items()}
    return found


def swept(
    seeds: Mapping[Node, Array],
    create_graph: bool,
    wrt: Collection[Node] | None,
    careful: bool = False,
) -> dict[Node, Array]:
    """What one sweep finds, with care or without: Values where it is recorded or runs inside of a
    `vmap`, otherwise arrays.
    """
    given = as_handle if create_graph else array_or_handle
    sweep = Sweep(seeds, wrt, create_graph, careful)
    found = sweep.run({node: given(g) for node, g in seeds.items()})
    for node, g in found.items():
        if create_graph or not is_numpy(g):
            found[node] = given(g)
    return found


def owned(found: dict[Node, Array], seeds: Mapping[Node, Array]) -> dict[Node, Array]:
    """The cotangents, none of which shares its memory with another array, nor with the caller's."""
    seen = {id(data_of(g)) for g in seeds.values()}
    for node, g in found.items():
        data = g.node.data if isinstance(g, Handle) else g
        if id(data) in seen or shares_memory(data):
            found[node] = g = g.copy()
            data = data_of(g)
        seen.add(id(data))
    return found


def contribution(node: Node, i: int, g: Array) -> Array:
    """What operand `i` of `node` alone receives for the cotangent `g`, asked with care."""
    sweep = Sweep((node,), [x for x in node.operands if x is not None], careful=True)
    readings = (*(r for r in node.readings if not r.looks), *sweep.readings)
    rules, args = read(node, (g, node.data, *node.inputs), sweep, readings)
    with np.errstate(all="ignore"):
        return repair(rules[i](*args, **node.params), node, i)


class Recorded(Reading):
    """The rules are given Values, so that what they compute is recorded: gradients of gradients."""

    def given(self, node: Node, args: tuple[Array, ...], sweep: Sweep) -> tuple[Array, ...]:
        pairs = zip(node.operands, node.inputs)
        inputs = [x if n is None else value_of(n, x) for n, x in pairs]
        return as_handle(args[0]), value_of(node, node.data), *inputs


RECORDED = Recorded()


def value_of(node: Node, data: Array) -> Handle:
    """A handle on `node`. RuntimeError if it no longer holds what it held."""
    if not still_holds(node, data):
        raise RuntimeError(
            f"an operand of shape {np.shape(data)} got new data since: compute the result again"
        )
    return hold(node)


def still_holds(node: Node, data: Array) -> bool:
    """Whether a node has the data that it had. (What it forgot of them it has again.)"""
    if is_outline(node.data):
        node.data = data
    return node.data is data or is_outline(data)


def as_handle(x: Array) -> Handle:
    return x if isinstance(x, Handle) else hold(leaf(x))


def array_or_handle(g: Array) -> Array:
    """The array; a Value where its kind is not computed with alone (inside of a `vmap`)."""
    if is_numpy(g):
        return g
    return data_of(g) if kind_of(data_of(g)).alone else as_handle(g)
