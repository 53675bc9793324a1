"""Random expressions over the registry, and their Python source: one lambda to paste into a test.

A graph is grown operation by operation, and each is first tried: on the arguments and on some
points around them. Where an operand lies outside of the primitive's domain, a scaled tanh brings it
inside; where a kink is near, or a shape does not fit, the operation is left out. So what is drawn
is smooth around its arguments, and difference quotients tell its derivative.
"""

from __future__ import annotations

import inspect
import itertools
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import numpy as np
from hypothesis import strategies as st

import tensorgrad.value  # noqa: F401  (declares the primitives)
from tensorgrad.engine.arguments import defaults
from tensorgrad.engine.domain import REAL, Shape
from tensorgrad.engine.primitive import Primitive, registry
from tensorgrad.engine.rules import Each, Refused
from tensorgrad.testing.properties import as_source
from tensorgrad.testing.strategies.arrays import entries

Array = Any
Arguments = tuple[Array, ...]

LARGEST = 30.0  # of any entry on the way
MOST_ENTRIES = 64
MARGIN = 2.0**-6
"""How far the points around lie away in every entry, and kinks at least in value."""
POINTS = 5

COMMON = (
    *("add", "multiply", "subtract", "divide", "negative", "tanh", "sin", "exp", "log", "sqrt"),
    *("square", "sigmoid", "relu", "sum", "mean", "max", "matmul", "transpose", "getitem"),
)
"""Half of the operations are of these, in this order: the first is what graphs shrink to."""


class Expression:
    """A function of arrays or Values. Its repr, `source`, is the Python code that it runs.

    The code knows two names, `np` and `registry` (of `tensorgrad.engine.primitive`).

    >>> f = Expression("lambda x: (t1 := np.tanh(x)) * t1")
    >>> f(np.array([0.0, 1.0])).round(6)
    array([0.      , 0.580026])
    >>> from tensorgrad import Value
    >>> f(Value(1.0))
    Value(0.58..., op=multiply)
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._function = eval(source, {"np": np, "registry": registry})

    def __call__(self, *args: Array) -> Any:
        return self._function(*args)

    def __repr__(self) -> str:
        return self.source


class Term(NamedTuple):
    """A node of the graph: an argument or a number (`text`), or an operation; with its value at
    the arguments, and at the points around them."""

    values: list[Array]
    text: str = ""
    op: Primitive | None = None
    operands: tuple[Term, ...] = ()
    params: Mapping[str, Any] = {}

    @property
    def shape(self) -> Shape:
        return np.shape(self.values[0])


def applied(op: Primitive, *operands: Term, **params: Any) -> Term:
    """`op` of terms."""
    make: Callable[..., Any] = op.domain.make or (lambda *xs: xs)
    values = [op.forward(*make(*xs), **params) for xs in zip(*(t.values for t in operands))]
    return Term(values, op=op, operands=operands, params=params)


def constant(a: float) -> Term:
    """A number in the code."""
    return Term([a] * (1 + POINTS), repr(a))


def drawn_unasked(op: Primitive) -> bool:
    """Whether expressions contain it by default: not what SciPy brings, once it is loaded."""
    rules = [op.rules.rule] if isinstance(op.rules, Each) else op.rules
    return not any("scipy" in rule.__module__ or isinstance(rule, Refused) for rule in rules)


def inside(t: Term, low: float, high: float) -> Term:
    """`t`, or what tanh makes of it, between `low` and `high`."""
    if all(np.all((low <= x) & (x <= high)) for x in t.values):
        return t
    t, half, middle = applied(registry["tanh"], t), (high - low) / 2, (low + high) / 2
    t = applied(registry["multiply"], constant(half), t) if half != 1 else t
    return applied(registry["add"], constant(middle), t) if middle else t


def fits(op: Primitive, shapes: list[Shape]) -> bool:
    """Whether operands of these shapes are in the domain, as far as its signature tells."""
    if op.domain.signature is None:
        return op.domain.broadcast or len(set(shapes)) == 1
    sizes: dict[str, int] = {}
    for i, (term, shape) in enumerate(zip(re.findall(r"\(([^)]*)\)", op.domain.signature), shapes)):
        letters = [letter for letter in term.split(",") if letter]
        if len(shape) < len(letters):
            letters = [letter for letter in letters if not letter.endswith("?")]
        before = len(shape) - len(letters)
        if before < 0 or (before and i and not op.domain.broadcast):
            return False
        if any(sizes.setdefault(c, n) != n for c, n in zip(letters, shape[before:])):
            return False
    return True


def tame(t: Term, like: np.dtype[Any]) -> bool:
    """Whether all values are real, finite, not large, few, and of the arguments' dtype."""
    return all(
        np.result_type(x) == like
        and 0 < np.size(x) <= MOST_ENTRIES
        and np.all(np.abs(x) <= LARGEST)
        for x in t.values
    )


def smooth(op: Primitive, operands: tuple[Term, ...]) -> bool:
    """Whether no kink of `op` is near."""
    if op.domain.kink is None:
        return True
    kinks: list[Array] = [1.0 * op.domain.kink(*xs) for xs in zip(*(t.values for t in operands))]
    return all(
        np.all(np.abs(k) > MARGIN) and np.array_equal(np.sign(k), np.sign(kinks[0])) for k in kinks
    )


def attempt(op: Primitive, operands: tuple[Term, ...], which: int) -> Term | None:
    """`op` of terms brought into its domain, or None where that makes no smooth, tame function.

    `which`: of the calls that the domain has for these shapes.
    """
    shapes = [t.shape for t in operands]
    if not fits(op, shapes):
        return None
    calls = list(op.domain.params(*shapes))
    if not calls:
        return None
    params = calls[which % len(calls)]
    dtype = np.result_type(operands[0].values[0])
    squashed = tuple(inside(t, *op.domain.of(i)) for i, t in enumerate(operands))
    # the interval of most primitives is no more than a proposal
    free = op.domain.interval == REAL.interval
    for xs in [operands, squashed] if free else [squashed]:
        try:
            with np.errstate(all="ignore"):
                t = applied(op, *xs, **params)
                if tame(t, dtype) and smooth(op, xs):
                    return t
        except (ValueError, TypeError, IndexError):  # shapes that only the forward knows to differ
            return None
    return None


def joined(result: Term, other: Term) -> Term:
    """A term that needs both, of the shape that they broadcast to, or else of `result`'s."""
    try:
        np.broadcast_shapes(result.shape, other.shape)
    except ValueError:
        other = applied(registry["sum"], other)
    return applied(registry["add"], result, inside(other, -LARGEST / 3, LARGEST / 3))


def reached(result: Term) -> set[int]:
    """The ids of a term and of all that it needs."""
    found: set[int] = set()
    ahead = [result]
    while ahead:
        t = ahead.pop()
        if id(t) not in found:
            found.add(id(t))
            ahead += t.operands
    return found


def around(arguments: Arguments) -> list[Arguments]:
    """The arguments, and points around them."""
    rng = np.random.default_rng(0)

    def shifted(x: Array) -> Array:
        return (x + rng.choice([-MARGIN, MARGIN], np.shape(x))).astype(x.dtype)

    return [arguments, *(tuple(map(shifted, arguments)) for _ in range(POINTS))]


Step = tuple[Primitive, int]
BACK, CALLS = 8, 64


def grown(arguments: Arguments, steps: list[Step]) -> Expression:
    """The expression of `arguments` after these steps.

    A step is a primitive, and a number that tells how far back each operand stands, and which of
    the calls it is. (Hypothesis deletes an element of a list well if it is few drawn numbers.)
    """
    letters = [*"xyzuvw", *(f"x{i}" for i in range(6, len(arguments)))]
    names = letters[: len(arguments)]
    points = around(arguments)
    terms = [Term([xs[i] for xs in points], name) for i, name in enumerate(names)]
    for op, code in steps:
        which, back = code % CALLS, [code // CALLS // BACK**i % BACK for i in range(3)]
        signature = op.domain.signature
        count = op.arity or (signature.count("(") if signature else 1 + which % 3)
        chosen = tuple(terms[-1 - b % len(terms)] for b in back[:count])
        t = attempt(op, chosen, which) or attempt(op, chosen[:1] * count, which)
        if t is not None:
            terms.append(t)
    result = terms[-1]
    for t in reversed(terms):
        if id(t) not in reached(result):
            result = joined(result, t)
    return Expression(source(result, names))


def chosen_primitives(primitives: Iterable[Primitive | str] | None) -> st.SearchStrategy[Primitive]:
    """Of those given; of all, the common ones more often. ValueError for an unknown name."""
    if primitives is None:
        common = [registry[name] for name in COMMON]
        rest = [op for n, op in sorted(registry.items()) if n not in COMMON and drawn_unasked(op)]
        times = len(rest) // len(common)
        return st.sampled_from(common + rest + (times - 1) * common)
    pool = [registry.get(p) if isinstance(p, str) else p for p in primitives]
    if not pool or not all(isinstance(op, Primitive) for op in pool):
        raise ValueError("primitives: pass primitives, or names in the registry")
    return st.sampled_from([op for op in pool if op is not None])


@st.composite
def small_arguments(draw: st.DrawFn) -> Arguments:
    """One to three arrays that broadcast, or square matrices; they shrink to different numbers."""
    count = draw(st.integers(1, 3))
    broadcast = hnp.mutually_broadcastable_shapes(num_shapes=count, max_dims=2, max_side=3)
    shapes = draw(broadcast).input_shapes
    side = draw(st.integers(0, 3))
    if side:
        shapes = ((side, side),) * count
    dtype: np.dtype[Any] = np.dtype(np.float64)
    starts = itertools.accumulate(map(math.prod, shapes), initial=0)
    return tuple(entries(draw, s, dtype, -3.0, 3.0, start) for s, start in zip(shapes, starts))


def expressions(
    arguments: st.SearchStrategy[Arguments] | None = None,
    *,
    primitives: Iterable[Primitive | str] | None = None,
    max_size: int = 6,
) -> st.SearchStrategy[tuple[Expression, Arguments]]:
    """A random function of arrays or Values, and arguments for it.

    It is a graph of up to about `max_size` primitives, with subexpressions that are shared, and it
    needs every argument. Its repr is Python source that runs. At the arguments and around them
    (1/64 in every entry) it is smooth, and no value on the way is larger than about 30.

    `arguments`: a strategy of tuples of float arrays; by default up to three small ones that
    broadcast. `primitives`: which to choose from, your own ones, say; by default the whole
    registry. TypeError if `arguments` is no strategy; ValueError for an unknown primitive.

    >>> from hypothesis import find, given
    >>> find(expressions(), lambda call: True)
    (lambda x: x + x, (array(0.5),))
    >>> find(expressions(primitives=["sum"]), lambda call: len(call[1]) == 2)
    (lambda x, y: np.sum(y) + x, (array(0.5), array(-1.5)))
    >>> import tensorgrad as tg
    >>> from tensorgrad.testing.strategies import arrays
    >>> pair = st.tuples(arrays((2, 3)), arrays((3,)))
    >>> @given(expressions(pair, primitives=["multiply", "tanh", "matmul"]))
    ... def test(call):
    ...     f, (x, y) = call
    ...     assert np.array_equal(f(x, y), f(tg.Value(x), tg.Value(y)).data)
    >>> test()
    """
    if arguments is not None and not isinstance(arguments, st.SearchStrategy):
        raise TypeError("arguments: pass a strategy of tuples, such as st.tuples(arrays(), ...)")
    if max_size < 1:
        raise ValueError(f"max_size={max_size}: pass 1 or more")
    steps = st.lists(
        st.tuples(chosen_primitives(primitives), st.integers(0, CALLS * BACK**3 - 1)),
        min_size=1,
        max_size=max_size,
    )

    @st.composite
    def call(draw: st.DrawFn) -> tuple[Expression, Arguments]:
        plan = draw(steps)  # first, so that fewer arguments do not change it
        xs = draw(small_arguments() if arguments is None else arguments)
        if not isinstance(xs, tuple) or not all(hasattr(x, "dtype") for x in xs):
            raise TypeError(f"arguments drew {xs!r}: let it draw a tuple of arrays")
        return grown(xs, plan), xs

    return call()


# The source of a graph.

SYMBOLS: dict[Callable[..., Any], str] = {
    operator.add: "{} + {}",
    operator.sub: "{} - {}",
    operator.mul: "{} * {}",
    operator.truediv: "{} / {}",
    operator.floordiv: "{} // {}",
    operator.mod: "{} % {}",
    operator.pow: "{} ** {}",
    operator.matmul: "{} @ {}",
    operator.neg: "-{}",
    operator.pos: "+{}",
}


def said(t: Term, op: Primitive) -> list[str]:
    """The params, but for those that have their default."""
    usual = defaults(op.rules.rule if isinstance(op.rules, Each) else op.rules[0])
    needed = {k for k, v in defaults(op.forward).items() if v is inspect.Parameter.empty}

    def default(key: str, value: Any) -> bool:
        same = type(value) is type(usual.get(key)) and bool(value == usual.get(key))
        return same and key not in needed

    return [f"{k}={as_source(v)}" for k, v in t.params.items() if not default(k, v)]


def name_in_numpy(op: Primitive) -> str:
    """`np.tanh` or `np.linalg.inv`; where NumPy does not have it, its place in the registry."""
    name = getattr(op.forward, "__name__", "")
    for module, prefix in ((np, "np"), (np.linalg, "np.linalg")):
        if getattr(module, name, None) is op.forward:
            return f"{prefix}.{name}"
    return f"registry[{op.name!r}]"


def source(result: Term, names: list[str]) -> str:
    """The graph as a lambda. What is needed twice is named where it first stands."""
    uses: dict[int, int] = {}

    def count(t: Term) -> None:
        uses[id(t)] = uses.get(id(t), 0) + 1
        if uses[id(t)] == 1:
            for operand in t.operands:
                count(operand)

    count(result)
    named: dict[int, str] = {}

    def spelled(t: Term, inner: bool = False) -> str:
        if t.op is None:
            return t.text
        if id(t) in named:
            return named[id(t)]
        symbol = SYMBOLS.get(t.op.forward)
        xs = [spelled(x, inner=symbol is not None or t.op.name == "getitem") for x in t.operands]
        if symbol:
            text = symbol.format(*xs)
        elif t.op.name == "getitem":
            index = t.params.get("index", ())
            text = as_source(index)
            text = f"{xs[0]}[{text[1:-1] if isinstance(index, tuple) and index else text}]"
        else:
            name = name_in_numpy(t.op)
            if t.op.domain.make:
                xs = [f"*registry[{t.op.name!r}].domain.make({', '.join(xs)})"]
            xs += said(t, t.op)
            text = f"{name}({', '.join(xs)})"
        if uses[id(t)] > 1:
            named[id(t)] = f"t{len(named) + 1}"
            return f"({named[id(t)]} := {text})"
        return f"({text})" if inner and symbol else text

    return f"lambda {', '.join(names)}: {spelled(result)}"
