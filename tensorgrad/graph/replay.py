"""The events of a sweep: backpropagation in slow motion, which all explanations read.

Forward: each node with its formula and value. Then backward, from the output: for each node, its
cotangent complete by then, and each of its operands: the rule, the local derivative, what that
contributes, the sum so far. In forward mode the derivatives by one input travel with the values.
Nothing is changed: no `.grad` is touched, nothing recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np

from tensorgrad.engine.arrays import elsewhere
from tensorgrad.engine.backprop import contribution, still_holds
from tensorgrad.engine.batching import Batched
from tensorgrad.engine.node import Array, Node
from tensorgrad.formula.formula import Formula, forward_of, letters, ones_of, rule_at
from tensorgrad.formula.writing import LATEX, TEXT, Writer
from tensorgrad.graph.local import (
    choice_in_force,
    depending,
    entrywise,
    linear,
    local_derivative,
    tangent,
)
from tensorgrad.graph.names import DIRECTION, Called, Names, name_the_rest, names_of, pairs
from tensorgrad.ops.former import recall
from tensorgrad.value import Value

Kind = Literal["leaf", "forward", "seed", "edge"]
Mode = Literal["rev", "fwd"]
UNASKED = "what nobody asks for adds 0"
LONGEST = 1000  # characters of a formula; those of many steps of an LSTM have 15,000


@dataclass(frozen=True, eq=False)
class Event:
    """One event of a replay.

    `kind`: "leaf" and "forward" while values are computed; "seed" where the derivatives start, then
    an "edge" for each operand of each node, parallel ones too. `node`: the one that is computed,
    or whose rule runs; `value` its data. Of an edge: `operand` is the number of the operand and
    `source` its node; `g` what arrives: in reverse mode the derivative of the output by `node`, in
    forward mode that of `source` by the input; `local` the derivative of `node` by `source`, where
    it has one for each entry, else None; `contribution` what is added, to the derivative by
    `source` in reverse mode, of `node` in forward mode; `total` that sum so far. `choice`: the
    stated choice of the operation, where its operands are at a kink; or of the engine, for entries
    that are singular and left out.
    """

    kind: Kind
    node: Node
    names: Called
    end: Node
    mode: Mode = "rev"
    operand: int | None = None
    source: Node | None = None
    g: Array | None = None
    local: Array | None = None
    contribution: Array | None = None
    total: Array | None = None
    choice: str | None = None

    @property
    def name(self) -> str:
        """What `node` is called."""
        return self.names[self.node]

    @property
    def value(self) -> Array:
        """The data of `node`."""
        return self.node.data

    @property
    def target(self) -> Node:
        """The node whose derivative gets a seed or a contribution."""
        return self.source if self.source and self.mode == "rev" else self.node

    @property
    def formula(self) -> Formula | None:
        """How the value is computed; of an edge, the rule, with `g` and `out`."""
        if self.kind == "forward":
            return forward_of(self.node)
        if self.operand is None:
            return None
        if self.mode == "fwd" and not entrywise(self.node):
            known = self.g is not None and linear(self.node, self.operand, self.g)
            return forward_of(self.node, self.operand) if known else None
        try:
            like = self.value if self.mode == "fwd" else self.node.inputs[self.operand]
            return rule_at(self.node, self.operand, self.g, like)
        except Exception:  # a rule that is no formula: it fills an array, say
            return None

    @property
    def is_product(self) -> bool:
        """Whether what an edge adds is what arrives times the local derivative, entry by entry: so
        it is but for matrices, real functions of complex numbers, and 0 times infinity."""
        if self.local is None or self.g is None or self.contribution is None:
            return False
        with np.errstate(all="ignore"):
            return np.allclose(self.g * self.local, self.contribution, equal_nan=True)

    def moving(self, node: Node, write: Writer = TEXT) -> str:
        """The derivative that travels, at `node`: ∂output/∂node, or ∂node/∂input.

        Of an array that of the sum of its entries, Σ; by an array that along a direction, D_u.
        """
        name, end = self.names[node], self.names[self.end]
        if self.mode == "rev":
            return write.derivative(end, name, of_sum=bool(np.ndim(self.end.data)))
        if np.ndim(self.end.data):
            return write.along(self.names[DIRECTION], name)
        return write.derivative(name, end)

    def words(self, numbers: bool, write: Writer) -> dict[str, str]:
        """What the letters of the formula stand for: names, or numbers."""
        node, op = self.node, self.node.op
        assert op is not None
        words = dict(zip(letters(op, len(node.inputs)), self.operands(numbers, write)))
        words["out"] = write.number(self.value) if numbers else write.name(self.name)
        if self.g is not None:
            arrives = self.source if self.mode == "fwd" else node
            assert arrives is not None
            words["g"] = write.number(self.g) if numbers else self.moving(arrives, write)
        return words

    def operands(self, numbers: bool = False, write: Writer = TEXT) -> list[str]:
        """The operands of `node`: names, and numbers of what has none; or all `numbers`."""
        names = [
            (n and self.names.get(n)) or self.names.get(id(x))
            for n, x in zip(self.node.operands, self.node.inputs)
        ]
        return [
            write.number(x) if name is None or numbers else write.name(name)
            for name, x in zip(names, self.node.inputs)
        ]

    def sides(self, write: Writer = TEXT) -> list[str]:
        """The sides of the equation that it is: what, the formula, with numbers in, the number."""
        if self.kind == "leaf":
            return [write.name(self.name), write.number(self.value)]
        if self.kind == "seed":
            ones = [write.formula(Formula(ones_of(self.value)), {}, False)]
            along = [write.name(self.names[DIRECTION])] if self.mode == "fwd" else []
            more = along + ones if np.ndim(self.value) else []
            return [self.moving(self.node, write), *more, write.number(self.g)]
        formula, scalar = self.formula, not any(map(np.ndim, (self.value, *self.node.inputs)))
        long = formula is not None and len(formula.text()) > LONGEST
        sides = (
            [
                write.formula(formula, self.words(numbers, write), scalar)
                for numbers in (False, True)[: 1 + (scalar and self.choice != UNASKED)]
            ]
            if formula and not long
            else [write.dots] * long
        )
        if self.kind == "forward":
            sides = [write.name(self.name), *sides, write.number(self.value)]
        else:
            assert self.source is not None
            arrives = self.node if self.mode == "rev" else self.source
            edge = write.derivative(self.name, self.names[self.source])
            factors = [self.moving(arrives, write), edge]
            is_product = self.is_product and arrives is not self.end
            products = [write.product(factors)] if is_product else []
            sides = [
                self.moving(self.target, write),
                *products,
                *sides,
                write.number(self.contribution),
            ]
        return [side for i, side in enumerate(sides) if i == 0 or side != sides[i - 1]]

    def __str__(self) -> str:
        first, *rest = self.sides()
        sign = f" {'+=' if self.kind == 'edge' else TEXT.sign(first, rest[0])} "
        more = "" if self.total is self.contribution else f"   (so far {TEXT.number(self.total)})"
        chosen = f"   (a choice: {self.choice})" if self.choice else ""
        return first + sign + TEXT.equal(rest) + more + chosen

    def latex(self) -> str:
        """The same as LaTeX."""
        first, *rest = self.sides(LATEX)
        sign = r"\mathrel{+}=" if self.kind == "edge" else LATEX.sign(first, rest[0])
        return f"{first} {sign} {LATEX.equal(rest)}"


def steps(
    value: Value, wrt: Any = None, names: Names = None, mode: Mode = "rev"
) -> Iterator[Event]:
    """Replay how `value` and its gradient come about, event by event.

    `wrt`: a Value, or several, that alone are wanted: only edges on paths from them are walked. By
    default all that require grad; forward mode (`mode="fwd"`) starts at one, which it needs.
    `names`: what to call what has no name of its own, a mapping such as `locals()` or a Module. A
    `value` of several entries is seeded with ones, as for the gradient of its sum; so is `wrt`.

    TypeError and ValueError for what has no graph, and for `wrt` that has no part in it.

    >>> a, b = Value(2.0, name="a"), Value(1.0, name="b")
    >>> for event in steps((a + b) * (b + 1), wrt=b):
    ...     print(event)
    a = 2
    b = 1
    v1 = a + b = 2 + 1 = 3
    v2 = b + 1 = 1 + 1 = 2
    v3 = v1 * v2 = 3 * 2 = 6
    ∂v3/∂v3 = 1
    ∂v3/∂v1 += ∂v3/∂v3 * v2 = 1 * 2 = 2
    ∂v3/∂v2 += ∂v3/∂v3 * v1 = 1 * 3 = 3
    ∂v3/∂b += ∂v3/∂v2 * ∂v2/∂b = ∂v3/∂v2 = 3
    ∂v3/∂b += ∂v3/∂v1 * ∂v1/∂b = ∂v3/∂v1 = 2   (so far 5)
    """
    replay = Replay(value, wrt, names)
    derivatives = replay.derivatives(mode, wrt)
    seed = next(derivatives)
    return chain(replay.values(seed), [seed], derivatives)


class Replay:
    """The nodes that lead to a value, in order, with names; `wanted`: those on paths from wrt."""

    def __init__(self, value: Value, wrt: Any = None, names: Names = None) -> None:
        self.output = replayable(value).node
        self.order = leaves_first(self.output)
        recall(self.order)
        self.names = names_of(self.order, pairs(names))
        name_the_rest(self.order, self.names)
        self.wanted = on_paths(self.order, wrt)
        for node in self.order:
            if type(node.data) is Batched:
                raise TypeError("what a vmap computed is not looked into: explain one example")
            if node.op is not None and node.inputs and all(x is None for x in node.inputs):
                node.op.rules[0](None, node.data)  # it kept nothing: its rule says why
            for x, data in zip(node.operands, node.inputs):
                if x is not None and not still_holds(x, data):
                    raise ValueError(
                        f"{self.names.get(x, x.name)} was given other data since this was "
                        "computed: explain before the update, or compute again"
                    )

    def values(self, seed: Event) -> Iterator[Event]:
        """The events of the forward phase; `seed` is the first of the other."""
        for node in self.order:
            kind: Kind = "leaf" if node.op is None else "forward"
            yield Event(kind, node, self.names, seed.end, seed.mode)

    def derivatives(self, mode: Mode, wrt: Any = None) -> Iterator[Event]:
        """The seed and the edges, from the output back or from one input on."""
        if mode not in ("rev", "fwd"):
            raise ValueError(f"mode={mode!r}: there are 'rev' and 'fwd'")
        if mode == "rev":
            return self.backward()
        if not isinstance(wrt, Value):
            raise ValueError("forward mode differentiates by one input: pass wrt=, a Value")
        return self.forward(wrt.node)

    def backward(self) -> Iterator[Event]:
        """The events of the reverse sweep."""
        end, names = self.output, self.names
        cotangents: dict[Node, Array] = {end: np.ones_like(end.data)[()]}
        yield Event("seed", end, names, end, g=cotangents[end])
        for node in reversed(self.order):
            if node.op is None or node not in cotangents:
                continue
            g = cotangents[node]
            for i, x in enumerate(node.operands):
                if x is None or x not in self.wanted:
                    continue
                c = contribution(node, i, g)
                cotangents[x] = added(cotangents[x], c) if x in cotangents else c
                local = local_derivative(node, i)
                choice = choice_in_force(node, i, g, c) or unasked(local, g)
                yield Event(
                    "edge", node, names, end, "rev", i, x, g, local, c, cotangents[x], choice
                )

    def forward(self, start: Node) -> Iterator[Event]:
        """The events of forward mode."""
        names = self.names
        tangents: dict[Node, Array] = {start: np.ones_like(start.data)[()]}
        yield Event("seed", start, names, start, "fwd", g=tangents[start])
        for node in self.order:
            for i, x in enumerate(node.operands):
                if x is None or x not in tangents or node is start:
                    continue
                g = tangents[x]
                c = tangent(node, i, g)
                tangents[node] = added(tangents[node], c) if node in tangents else c
                local = local_derivative(node, i)
                choice = choice_in_force(node, i) if np.any(g) else unasked(local, g)
                yield Event(
                    "edge", node, names, start, "fwd", i, x, g, local, c, tangents[node], choice
                )


def unasked(local: Array | None, g: Array) -> str | None:
    """What is said where a rule's own answer would be 0/0 or 0 times infinity."""
    left_out = local is not None and np.any((np.asarray(g) == 0) & ~np.isfinite(local))
    return UNASKED if left_out else None


def totals(events: Iterable[Event]) -> dict[Node, Array]:
    """The derivative at each node that one travels to."""
    return {event.target: event.g if event.kind == "seed" else event.total for event in events}


def added(x: Array, y: Array) -> Array:
    """A sum; infinities that cancel are shown, not warned of."""
    with np.errstate(all="ignore"):
        return x + y


def leaves_first(output: Node) -> list[Node]:
    """The nodes that lead to `output`: leaves as they are read, then each after its operands."""
    seen: set[Node] = set()
    leaves: list[Node] = []
    made: list[Node] = []
    stack = [output]
    while stack:  # depth first, without recursion
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            (leaves if node.op is None else made).append(node)
            below = [x for x in node.operands if x is not None and x.requires_grad]
            stack.extend(reversed(below))
    return leaves + sorted(made, key=lambda node: node.serial)


def replayable(value: Any) -> Value:
    """`value`, if there is a graph behind it that can be replayed. TypeError, ValueError if not."""
    if not isinstance(value, Value):
        raise TypeError(f"a Value is explained, not {type(value).__name__}: pass the result itself")
    if not value.requires_grad:
        raise ValueError(
            "this Value has no graph: it was made without Values that require grad, or under "
            "no_grad() or detach()"
        )
    if elsewhere(value.data):
        raise NotImplementedError(
            "what is explained step by step is NumPy's: move the model and the data, .to('numpy')"
        )
    if type(value.data) is Batched:
        raise TypeError("inside vmap a Value stands for all examples at once: explain it outside")
    return value


def on_paths(order: list[Node], wrt: Any) -> set[Node]:
    """The nodes that lead from `wrt` to the end of `order`; all, if that is None."""
    if wrt is None:
        return set(order)
    found: set[Node] = set()
    for value in wrt if isinstance(wrt, (list, tuple)) else [wrt]:
        if not isinstance(value, Value):
            raise TypeError(f"wrt= takes Values, not {type(value).__name__}")
        if value.node not in order:
            raise ValueError(f"{repr(value)[:60]} in wrt= has no part in this result")
        found.add(value.node)
    return depending(order, found)
