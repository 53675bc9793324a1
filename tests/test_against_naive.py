"""The engine against a deliberately naive one, naive.py: random programs, and everything compared.

A state machine grows a pool of pairs: a Value, and an array of naive Numbers that should be the
same. Each rule is something that a user does, done to both. naive.py knows calculus only; what the
engine promises about names, constants and `.grad` stands here, in `Pair` and in the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.views import View
from tests.naive import Number, derivatives

Array = Any
Function = Callable[..., Any]

# What is computed. NumPy does most of it with Values and with Numbers alike.


def relu(x: Array) -> Array:
    return x.relu() if isinstance(x, Value) else np.frompyfunc(Number.relu, 1, 1)(x)


def maximum(x: Array, y: Array) -> Array:
    if isinstance(x, Value):
        return np.maximum(x, y)
    return np.frompyfunc(Number.maximum, 2, 1)(x, y)


def plus_equals(x: Array, y: Array) -> Array:
    """`x += y` in place, of a copy; as in NumPy, y has to fit into x."""
    if np.broadcast_shapes(np.shape(x), np.shape(y)) != np.shape(x):
        raise ValueError
    x = x.copy()
    x += y
    return x


def chosen(x: Array, y: Array) -> Array:
    return np.where([True, False, True], x, y)


def product_of_rows(x: Array, y: Array) -> Array:
    return x @ np.transpose(y)


def replacing(old: Array, new: Array) -> Array:
    return new


def replacing_by_mean(old: Array, new: Array) -> Array:
    return np.mean(new)


def copied(v: Value) -> Value:
    return Value(v.data, requires_grad=False)


def every_other(shape: tuple[int, ...]) -> Array:
    return np.arange(np.prod(shape, dtype=int)).reshape(shape) % 2 == 0


UNARY: list[Function] = [np.negative, np.exp, np.sin, np.tanh, np.square, np.log, np.sqrt, np.abs]
UNARY += [relu, lambda x: x**3, lambda x: 2.0**x, lambda x: 0.5 - x, lambda x: 1 / (1 + x * x)]
UNARY += [lambda x: np.array([1.0, 0.0, -2.0]) * x]
UNARY += [np.sum, np.cumsum, lambda x: x.sum(0), lambda x: np.mean(x, -1, keepdims=True)]
UNARY += [np.prod, lambda x: np.prod(x, axis=0), np.cumprod, lambda x: np.cumprod(x, axis=-1)]
UNARY += [np.ravel, np.transpose, np.flip, np.squeeze, lambda x: x.copy(), lambda x: x[None]]
UNARY += [lambda x: x.reshape(-1, 1), lambda x: np.repeat(x, 2)]
UNARY += [lambda x: np.broadcast_to(x, (2, *x.shape)), lambda x: x[every_other(x.shape)]]
BINARY: list[Function] = [np.add, np.subtract, np.multiply, np.divide, np.power, maximum, chosen]
BINARY += [plus_equals, np.matmul, product_of_rows]
JOINS: list[Function] = [np.stack, np.concatenate, lambda xs: np.stack(xs, axis=-1)]
CUTS = [Value.detach, tg.stop_gradient, copied]
INDICES: list[Any] = [..., (), 0, -1, None, slice(1, None), slice(None, None, -2), (..., 1)]
INDICES += [(0, None, -1), [0, 0], [1, 0, 1], [[0, 1], [1, 0]], (..., [1, -1])]
INDICES += [([0, 1, 0], [1, 0, 1])]
HOW = [replacing, replacing_by_mean, np.add, np.multiply]

# Where rounding could tell the two apart, nothing is compared: near poles, kinks and overflow.

DOMAINS: dict[Function, Function] = {
    np.log: lambda x: x > 0.1,
    np.sqrt: lambda x: x > 0.1,
    np.power: lambda x, y: x > 0.1,
    np.divide: lambda x, y: np.abs(y) > 0.1,
}
KINKS: dict[Function, Function] = {np.abs: np.positive, relu: np.positive, maximum: np.subtract}
LARGEST, LARGEST_DERIVATIVE, SIZES = 100.0, 1e4, range(1, 13)
REFUSALS = (ValueError, IndexError, TypeError)


def moderate(f: Function, found: list[Array], expected: list[Array]) -> bool:
    """Whether `f` is smooth here, or at its kink exactly, on both sides."""
    kink, inside = KINKS.get(f), DOMAINS.get(f)
    same_side = kink is None or np.array_equal(np.sign(kink(*found)), np.sign(kink(*expected)))
    return same_side and (inside is None or bool(np.all(inside(*expected))))


def numbers(entries: Array) -> Array:
    """A new Number for each entry: a constant for a float, a copy with a history for a Number."""
    new = np.frompyfunc(lambda x: +x if isinstance(x, Number) else Number(x), 1, 1)
    return np.asarray(new(entries), dtype=object)


def own(value: Value) -> Value:
    """A copy of a view, which would change with what it is a view of."""
    return value.copy() if isinstance(value, View) else value


def floats(twin: Array) -> Array:
    return np.array([n.x for n in twin.flat]).reshape(twin.shape)


def gradient(twin: Array, found: dict[Number, Number]) -> Array:
    """What `derivatives` found, for each entry; 0 where nothing depends on it."""
    entries = [found.get(n, Number(0)) for n in twin.flat]
    return np.array(entries, dtype=object).reshape(twin.shape)


def steepest(found: dict[Number, Number]) -> float:
    return max(abs(g.x) for g in found.values())


def indices(twin: Array) -> list[Any]:
    """Those of INDICES that select something."""
    found = [every_other(twin.shape)]
    for index in INDICES:
        with suppress(IndexError):
            found += [index] if np.size(twin[index]) else []
    return found


def assigned(twin: Array, index: Any, entries: Array) -> Array:
    """A copy of `twin` with `entries` at `index`, written one after the other."""
    places = np.arange(twin.size).reshape(twin.shape)[index]
    entries = np.broadcast_to(entries, np.shape(places))
    written = twin.copy()
    for place, entry in zip(np.ravel(places), np.ravel(entries), strict=True):
        written.flat[place] = entry
    return written


def same(found: Array, expected: Array) -> bool:
    """One shape, and the same entries but for rounding."""
    if found is None or np.shape(found) != np.shape(expected):
        return False
    return bool(np.all(np.abs(found - expected) <= 1e-9 * (1 + np.abs(expected))))


@dataclass(eq=False)
class Pair:
    """A Value and its twin, and what the engine should say of it."""

    value: Value
    twin: Array
    sources: frozenset[object] = frozenset()  # the nodes that a sweep from here passes
    node: object = field(default_factory=object)  # its own, of many; `v[i] = x` brings a new one
    keeps_grad: bool = False  # a leaf, or asked to retain it
    fresh: bool = False  # a leaf that nobody has read: nobody else has its array
    grad: Array = None

    def renamed(self, twin: Array, *operands: Pair) -> Pair:
        """Now the name of a new result, which requires grad if one of its operands does."""
        sources = frozenset().union(*(p.sources for p in operands))
        self.twin, self.node = twin, object()
        self.sources = sources | {self.node} if sources else sources
        self.fresh, self.grad = False, None  # whoever keeps its gradient keeps it after a write
        return self

    def cut(self) -> Pair:
        """Now a constant."""
        self.twin, self.sources = numbers(floats(self.twin)), frozenset()
        return self

    def check(self) -> None:
        assert same(self.value.data, floats(self.twin))
        assert self.value.requires_grad == bool(self.sources)
        if self.grad is None:
            assert self.value.grad is None
        else:
            assert same(self.value.grad, self.grad)


halves = st.lists(st.integers(-4, 4).map(lambda n: n / 2), min_size=1, max_size=6)  # exact; ties
chains = st.lists(st.sampled_from(UNARY), min_size=1, max_size=3)
shapes = st.sampled_from([(2, 3), (3,), (2, 1), ()])
mostly = st.sampled_from([True] * 9 + [False])


class EngineAgainstNaive(RuleBasedStateMachine):
    """Programs of leaves, operations, assignments and sweeps."""

    leaves, others = Bundle("leaves"), Bundle("others")
    pairs = others | leaves

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Pair] = []

    def keep(self, pair: Pair) -> Pair:
        self.all.append(pair)
        return pair

    def computed(self, f: Function, *operands: Pair, recorded: bool = True) -> Any:
        """The pair of `f` of the Values and of the twins, or none: both must raise then."""
        for p in operands:
            p.fresh = False
        values, twins = [p.value for p in operands], [p.twin for p in operands]
        with nullcontext() if recorded else tg.no_grad():
            try:
                if not moderate(f, [v.data for v in values], [*map(floats, twins)]):
                    return multiple()
                twin = numbers(f(*twins))
            except REFUSALS:
                with pytest.raises(REFUSALS):
                    f(*values)
                return multiple()
            if twin.size not in SIZES or np.any(np.abs(floats(twin)) > LARGEST):
                return multiple()
            result = Pair(own(f(*values)), twin)
        return multiple(self.keep(result.renamed(twin, *operands) if recorded else result.cut()))

    # Leaves and results.

    @initialize(target=leaves, entries=halves)
    def first_leaves(self, entries: Any) -> Any:
        return multiple(self.leaf((2, 3), entries), self.leaf((3,), entries))

    @initialize(target=others, f=st.sampled_from(BINARY), fs=chains, entries=halves)
    def first_results(self, f: Function, fs: list[Function], entries: Any) -> Any:
        p, q, r = (self.leaf(shape, entries) for shape in ((2, 3), (3,), (3,)))
        return multiple(
            *self.computed(np.add, q, r), *self.computed(f, p, r), *self.of_one(fs, p, True)
        )

    @rule(target=leaves, shape=shapes, entries=halves)
    def leaf(self, shape: Any, entries: Any) -> Pair:
        data = np.resize(entries, shape)
        p = Pair(Value(data), numbers(data), keeps_grad=True, fresh=True)
        p.sources = frozenset({p.node})
        return self.keep(p)

    @rule(target=others, fs=chains, p=pairs, recorded=mostly)
    def of_one(self, fs: list[Function], p: Pair, recorded: bool) -> Any:
        """A chain of functions, and all its links."""
        links = [p]
        for f in fs:
            links += self.computed(f, links[-1], recorded=recorded)
        return multiple(*links[1:])

    @rule(target=others, f=st.sampled_from(BINARY), p=pairs, q=pairs, recorded=mostly)
    def of_two(self, f: Function, p: Pair, q: Pair, recorded: bool) -> Any:
        return self.computed(f, p, q, recorded=recorded)

    @rule(target=others, f=st.sampled_from(JOINS), ps=st.lists(pairs, min_size=1, max_size=3))
    def joined(self, f: Function, ps: list[Pair]) -> Any:
        return self.computed(lambda *xs: f(xs), *ps)

    @rule(target=others, p=pairs, data=st.data())
    def read(self, p: Pair, data: Any) -> Any:
        index = data.draw(st.sampled_from(indices(p.twin)))
        return self.computed(lambda x: x[index], p)

    @rule(target=others, cut=st.sampled_from(CUTS), p=pairs)
    def cut_off(self, cut: Function, p: Pair) -> Pair:
        p.fresh = False
        return self.keep(Pair(cut(p.value), p.twin, fresh=cut is copied).cut())

    # Assignment.

    @rule(p=others, q=pairs, how=st.sampled_from(HOW), data=st.data(), recorded=mostly)
    def assign(self, p: Pair, q: Pair, how: Function, data: Any, recorded: bool) -> None:
        """`v[i] = x` gives the name `v` to a new array; who has read the old one still has it."""
        index = data.draw(st.sampled_from(indices(p.twin)))
        if p.value.requires_grad and not recorded:
            with tg.no_grad(), pytest.raises(ValueError, match="would lose its gradient"):
                p.value[index] = 1.0
            return
        try:
            written = assigned(p.twin, index, how(p.twin[index], q.twin))
        except ValueError:
            return  # shapes that do not fit
        if np.any(np.abs(floats(written)) > LARGEST):
            return
        q.fresh = False
        with nullcontext() if recorded else tg.no_grad():
            p.value[index] = how(p.value[index], q.value)
        p.renamed(numbers(written), p, q)
        if not recorded:
            p.cut()

    @rule(p=leaves, q=pairs, data=st.data())
    def update(self, p: Pair, q: Pair, data: Any) -> None:
        """A leaf that requires grad is assigned to under `no_grad()` only, and stays a leaf."""
        index = data.draw(st.sampled_from(indices(p.twin)))
        with pytest.raises(ValueError, match="would hide the leaf"):
            p.value[index] = 1.0
        if p.fresh:
            with tg.no_grad():
                p.value[index] = np.mean(q.value)
            p.twin = numbers(floats(assigned(p.twin, index, np.mean(q.twin))))

    # Sweeps.

    @rule(p=pairs)
    def retain_grad(self, p: Pair) -> None:
        p.value.retain_grad()
        p.keeps_grad = True

    @rule()
    def zero_grad(self) -> None:
        for p in self.all:
            p.grad = p.value.grad = None

    @rule(p=pairs, entries=st.none() | halves)
    def backward(self, p: Pair, entries: Any) -> None:
        """Every leaf that `p` was made of gets its derivative added, and nobody else."""
        seed = None if entries is None else np.resize(entries, p.twin.shape)
        if not p.sources or (seed is None and p.twin.size > 1):
            with pytest.raises(ValueError, match="pass a seed" if p.sources else "without a graph"):
                p.value.backward(seed)
            return
        found = derivatives(np.sum(p.twin * (1.0 if seed is None else seed)))
        if steepest(found) > LARGEST_DERIVATIVE:
            return
        p.value.backward(seed)
        arrived = [q for q in self.all if q.keeps_grad and q.node in p.sources]
        for q in arrived:
            q.grad = floats(gradient(q.twin, found)) + (0 if q.grad is None else q.grad)
        arrays = [seed, *(q.value.grad for q in arrived)]
        assert not any(np.may_share_memory(a, b) for a, b in combinations(arrays, 2))

    @rule()
    def backward_from_everything_twice(self) -> None:
        """From a weighted sum of what nobody has read; the second sweep adds exactly the same."""
        read = set[object]().union(*(p.sources - {p.node} for p in self.all))
        unread = [p for p in self.all if p.node not in read]

        def total(xs: list[Array]) -> Array:
            weights = (np.cos(np.arange(k, k + x.size)).reshape(x.shape) for k, x in enumerate(xs))
            return sum(np.sum(x * w) for x, w in zip(xs, weights, strict=True))

        twin = numbers(total([p.twin for p in unread]))
        result = Pair(total([p.value for p in unread]), twin).renamed(twin, *unread)
        self.zero_grad()
        self.backward(result, None)
        once = [q.value.grad for q in self.all]
        self.backward(result, None)
        for q, g in zip(self.all, once, strict=True):
            assert g is None or np.array_equal(q.value.grad, 2 * g)

    @rule(p=others, entries=halves)
    def second_order(self, p: Pair, entries: Any) -> None:
        """The derivatives of Σ (dp/dx)², over the leaves x, by the leaves. Here None is 0 too."""
        seed = np.resize(entries, p.twin.shape)
        leaves = [q for q in self.all if q.value.op is None and q.node in p.sources]
        found = derivatives(np.sum(p.twin * seed))
        slopes = [gradient(q.twin, found) for q in leaves]
        again = derivatives(sum((np.sum(g * g) for g in slopes), Number(0)))
        if not leaves or steepest(again) > LARGEST_DERIVATIVE:
            return
        self.zero_grad()
        p.value.backward(seed, create_graph=True)
        assert all(same(q.value.grad, floats(g)) for q, g in zip(leaves, slopes, strict=True))
        total = sum(np.sum(q.value.grad**2) for q in leaves)
        self.zero_grad()
        if total.requires_grad:
            total.backward()
        for q in leaves:
            grad = np.zeros(q.twin.shape) if q.value.grad is None else q.value.grad
            assert same(grad, floats(gradient(q.twin, again)))
        self.zero_grad()

    @invariant()
    def nothing_differs(self) -> None:
        for p in self.all:
            p.check()


TestEngineAgainstNaive = EngineAgainstNaive.TestCase
