"""Whole training steps on arrays without numbers, which write down what NumPy is asked to do.

What they write, run on other numbers, gives the same bits as the step itself: nothing that the
engine, a forward, a rule or an update decides is frozen. It is the seam of a compiler.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorgrad import Value, optim
from tensorgrad.engine.arrays import Kind, kinds, met
from tensorgrad.engine.primitive import registry
from tensorgrad.nn import functional as F
from tensorgrad.optim import adam, adamw, sgd
from tensorgrad.testing.primitives import cases, checkable, has_rule

pytestmark = pytest.mark.usefixtures("traced_arrays")

Program = list[Any]
"""What is to be done, in order: (function, args, kwargs), and None where an input is read."""

ABOUT = {np.shape, np.ndim, np.size, np.result_type, np.iscomplexobj, np.isrealobj, np.can_cast}
BY_NUMBERS = {np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.compress, np.extract}


class Traced:
    """An array of a shape and dtype, without numbers. `at`: which line of `program` makes it."""

    def __init__(self, program: Program, shape: Any, dtype: Any, line: Any = None) -> None:
        self.program, self.at = program, len(program)
        self.shape, self.dtype = shape, np.dtype(dtype)
        program.append(line)

    ndim = property(lambda self: len(self.shape))
    size = property(lambda self: math.prod(self.shape))
    T = property(lambda self: np.transpose(self))

    def __len__(self) -> int:
        return self.shape[0]

    def numbers(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("a traced array has no numbers yet: choose with np.where instead of if")

    __array__ = __bool__ = __float__ = __int__ = __index__ = __complex__ = item = tolist = numbers

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if not all(isinstance(x, KNOWN) or method == "at" for x in args):
            return NotImplemented
        if method == "at":
            return self.become(write(self.program, added_at, (ufunc, *args), kwargs))
        function = ufunc if method == "__call__" else getattr(ufunc, method)
        return write(self.program, function, args, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not all(issubclass(t, KNOWN) for t in types):
            return NotImplemented
        return write(self.program, function, args, kwargs)

    def become(self, other: Traced) -> None:
        self.at = other.at

    __hash__ = object.__hash__

    def __getitem__(self, index: Any) -> Any:
        return write(self.program, operator.getitem, (self, index), {})

    def __setitem__(self, index: Any, x: Any) -> None:
        self.become(write(self.program, with_items, (self, index, x), {}))

    def astype(self, dtype: Any, **how: Any) -> Traced:
        return write(self.program, converted, (self, dtype), how)

    def reshape(self, *shape: Any) -> Traced:
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not callable(getattr(np.ndarray, name, None)):
            raise AttributeError(name)
        return lambda *args, **kwargs: getattr(np, name)(self, *args, **kwargs)


KNOWN = Traced, np.ndarray, np.generic, int, float, complex


def defined(function: Any, turned: bool) -> Callable[..., Any]:
    def method(self: Traced, *other: Any) -> Any:
        if not all(isinstance(x, KNOWN) for x in other):
            return NotImplemented
        return write(self.program, function, (*other, self) if turned else (self, *other), {})

    return method


for name in vars(np.lib.mixins.NDArrayOperatorsMixin):  # Python's operators, and their likes
    straight, turned = (getattr(operator, n, None) for n in (name, name.replace("__r", "__", 1)))
    if callable(straight or turned) and (name == "__invert__" or not name.startswith("__i")):
        setattr(Traced, name, defined(straight or turned, turned=straight is None))


class Line:
    """What a line of the program makes: a traced array is another after it is written into."""

    def __init__(self, x: Any) -> None:
        self.at = x.at


class Drawing(np.random.Generator):
    """A generator that is an input."""

    def __init__(self, program: Program) -> None:
        super().__init__(np.random.PCG64(0))
        self.program, self.at = program, len(program)
        program.append(None)

    def random(self, shape: Any, **how: Any) -> Any:
        return write(self.program, np.random.Generator.random, (self, shape), how)


def with_items(x: Any, index: Any, value: Any) -> Any:
    x = np.array(x)
    x[index] = value
    return x


def added_at(ufunc: np.ufunc, x: Any, index: Any, value: Any) -> Any:
    x = np.array(x)
    ufunc.at(x, index, value)
    return x


def converted(x: Any, dtype: Any, **how: Any) -> Any:
    return np.asarray(x).astype(dtype, **how)[()]


def each(f: Callable[[Any], Any], x: Any) -> Any:
    """`x` with `f` of every such array in it."""
    if isinstance(x, (Traced, Drawing, Line)):
        return f(x)
    if isinstance(x, slice):
        return slice(each(f, x.start), each(f, x.stop), each(f, x.step))
    if type(x) is dict:
        return {key: each(f, part) for key, part in x.items()}
    return type(x)(each(f, part) for part in x) if type(x) in (list, tuple) else x


def stand_in(x: Any) -> Any:
    """An array of that shape: 0 is an index of everything, and no matrix is singular."""
    if isinstance(x, Drawing):
        return np.random.default_rng(0)
    if x.dtype.kind in "iu":
        return np.zeros(x.shape, x.dtype)[()]
    numbers = np.full(x.shape, 0.5) + (np.eye(*x.shape[-2:]) if x.ndim > 1 else 0)
    return numbers.astype(x.dtype)[()]


def write(program: Program, function: Any, args: Any, kwargs: Any) -> Any:
    """One more line; what it makes has the shape that it makes of other numbers."""
    masks = [i for i in args[1:2] if isinstance(i, Traced) and i.dtype == bool]
    if function in BY_NUMBERS or (function in (operator.getitem, with_items) and masks):
        raise TypeError(f"{function.__name__}: a shape by numbers, and a traced array has none yet")
    with np.errstate(all="ignore"):
        result = function(*each(stand_in, args), **each(stand_in, kwargs))
    if function in ABOUT:
        return result
    line = function, each(Line, args), each(Line, kwargs)
    if not isinstance(result, tuple):
        return Traced(program, np.shape(result), np.asarray(result).dtype, line)
    whole = Traced(program, (), object, line)
    parts = [(operator.getitem, (Line(whole), i), {}) for i in range(len(result))]
    made = [Traced(program, r.shape, r.dtype, part) for r, part in zip(result, parts)]
    return type(result)(*made) if hasattr(result, "_fields") else tuple(made)


def replay(program: Program, inputs: Sequence[Any]) -> list[Any]:
    """What each line makes of these inputs."""
    given, made = iter(inputs), []
    for line in program:
        if line is None:
            made.append(next(given))
        else:
            function, args, kwargs = each(lambda x: made[x.at], line)
            made.append(function(*args, **kwargs))
    return made


# Steps: functions of arrays to arrays, which run on any kind.


@pytest.fixture
def traced_arrays() -> Iterator[None]:
    kinds[Traced] = Kind(numbers=False)
    yield
    del kinds[Traced]
    met.discard(Traced)


def traced(step: Callable[..., Any], inputs: Sequence[Any]) -> tuple[Program, list[Any]]:
    """The program of a step, and what it returned."""
    program: Program = []
    given = [
        Drawing(program)
        if isinstance(x, np.random.Generator)
        else Traced(program, x.shape, x.dtype)
        for x in inputs
    ]
    return program, step(*given)


def assert_same_bits(step: Callable[..., Any], *draws: Callable[[], list[Any]]) -> list[Any]:
    """Traced once, the step is the same on all these inputs; and what each x > y of it found."""
    program, outs = traced(step, draws[0]())
    runs = []
    for draw in draws:
        with np.errstate(all="ignore"):
            made, wanted = replay(program, draw()), step(*draw())
        assert len(outs) == len(wanted) > 0
        for out, expected in zip(outs, wanted):
            found = made[out.at] if isinstance(out, Traced) else out
            assert type(found) is type(expected)
            found, expected = np.asarray(found), np.asarray(expected)
            assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
            assert found.tobytes() == expected.tobytes()
        runs.append(made)
    return [made for made, line in zip(zip(*runs), program) if line and line[0] is operator.gt]


def draws(*shapes: Any, seed: int = 0, sign: float = 1.0) -> Callable[[], list[Any]]:
    def draw() -> list[Any]:
        rng = np.random.default_rng(seed)
        return [(sign * rng.normal(size=shape))[()] for shape in shapes]

    return draw


def updated(rule: Any, loss: Value, parameters: list[Value], states: Any, **settings: Any) -> Any:
    """The loss, and what the update makes of each parameter and its state."""
    loss.backward()
    results = [loss.data]
    for p, state in zip(parameters, states):
        new, state = rule(p.data, p.grad, state, **settings)
        results += [new, *state]
    return results


def perceptron(classes: bool) -> Callable[..., Any]:
    def step(x: Any, y: Any, w1: Any, b1: Any, w2: Any, b2: Any, t: Any, *moments: Any) -> Any:
        p = [*map(Value, (w1, b1, w2, b2))]
        z = F.linear(F.relu(F.linear(x, *p[:2])), *p[2:])
        loss = F.cross_entropy(z, y) if classes else F.cross_entropy(z, F.softmax(y))
        states = [(m, v * v, t) for m, v in zip(moments[::2], moments[1::2])]
        return updated(adam, loss, p, states, weight_decay=0.1)

    return step


LAYERS = [(4, 3), (4,), (2, 4), (2,)]
MOMENTS = [shape for shape in LAYERS for _ in range(2)]


def test_a_perceptron_with_adam() -> None:
    shapes = [(5, 3), (5, 2), *LAYERS]

    def draw(sign: float, t: float) -> Callable[[], list[Any]]:
        first, moments = draws(*shapes, sign=sign), draws(*MOMENTS, seed=1)
        return lambda: [np.abs(first()[0]), *first()[1:], np.float64(t), *moments()]

    compared = assert_same_bits(perceptron(classes=False), draw(1, 1.0), draw(-1, 7.0))
    assert any(np.all(a != b) for a, b in compared)


def test_a_perceptron_with_class_numbers() -> None:
    def draw(sign: float, y: list[int]) -> Callable[[], list[Any]]:
        first, moments = draws((5, 3), *LAYERS, sign=sign), draws(*MOMENTS, seed=1)
        return lambda: [abs(first()[0]), np.array(y), *first()[1:], np.float64(3), *moments()]

    assert_same_bits(perceptron(classes=True), draw(1, [0, 1, 1, 0, 1]), draw(-1, [1, 0, 0, 1, 0]))


def test_attention() -> None:
    def step(x: Any, wq: Any, wk: Any, wv: Any) -> Any:
        p = [*map(Value, (wq, wk, wv))]
        q, k, v = (x @ w for w in p)
        causal = np.where(np.tri(4, dtype=bool), 0.0, -np.inf)
        scores = q @ np.swapaxes(k, -1, -2) / 2.0 + causal
        out = F.softmax(scores) @ v
        return updated(adamw, ((out - x) ** 2).mean(), p, [(), (), ()])

    shapes = [(2, 4, 3), (3, 3), (3, 3), (3, 3)]
    assert_same_bits(step, draws(*shapes), draws(*shapes, seed=1))


def test_a_step_of_an_lstm() -> None:
    def step(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any) -> Any:
        p = [*map(Value, (w, u, b))]
        for t in range(3):
            gates = x[:, t] @ p[0].T + h @ p[1].T + p[2]
            i, f, o, g = (gates[:, 2 * k : 2 * k + 2] for k in range(4))
            c = F.sigmoid(f) * c + F.sigmoid(i) * np.tanh(g)
            h = F.sigmoid(o) * np.tanh(c)
        return updated(sgd, (h * h).sum(), p, [(), (), ()], lr=0.1)

    shapes = [(5, 3, 4), (5, 2), (5, 2), (8, 4), (8, 2), (8,)]
    assert_same_bits(step, draws(*shapes), draws(*shapes, seed=1))


def test_dropout_draws_anew_from_the_generator_it_is_given() -> None:
    def step(rng: Any, x: Any, w: Any) -> Any:
        v = Value(w)
        kept = rng.random((5, 4)) < 0.5
        hidden = np.where(kept, np.tanh(x @ v.T), 0) / 0.5
        return updated(sgd, (hidden**2).sum(), [v], [()], momentum=0.9)

    def draw(seed: int) -> Callable[[], list[Any]]:
        return lambda: [np.random.default_rng(seed), *draws((5, 3), (4, 3))()]

    assert_same_bits(step, draw(0), draw(1))


@pytest.mark.parametrize("kind", [kind for kind in vars(optim).values() if hasattr(kind, "rule")])
def test_a_step_of_every_update_rule(kind: Any) -> None:
    """Its counts are inputs too: after one step and after many, it is one program."""
    rule = kind.rule

    def step(p: Any, g: Any, *state: Any) -> Any:
        p, state = rule(p, g, state)
        return [p, *state]

    def draw(seed: int, count: int) -> Callable[[], list[Any]]:
        p, g, h = draws((2, 3), (2, 3), (2, 3), seed=seed)()
        _, state = rule(p, h, ())
        counts = [count if type(x) is int else x for x in state]
        return lambda: [p, g, *(x if np.ndim(x) else np.float64(x) for x in counts)]

    assert_same_bits(step, draw(0, 1), draw(1, 50))


def test_a_layer_of_dropout_and_a_layer_norm_are_traced() -> None:
    def step(rng: Any, x: Any, w: Any) -> Any:
        v = Value(w)
        hidden = F.dropout(F.layer_norm(x @ v.T, 4), 0.3, rng=rng)
        return updated(sgd, (hidden**3).sum(), [v], [()], momentum=0.9)

    def draw(seed: int) -> Callable[[], list[Any]]:
        return lambda: [np.random.default_rng(seed), *draws((5, 3), (4, 3))()]

    assert_same_bits(step, draw(0), draw(1))


def test_what_nobody_asks_for_adds_0_in_a_program_too() -> None:
    """It was traced with no number at hand: the infinite slopes come when it runs."""

    def step(x: Any, w: Any) -> Any:
        v, u = Value(x), Value(w)
        (np.where(v > 0, np.sqrt(v), v * v) @ u).sum().backward()
        return [v.grad, u.grad]

    x = np.array([[0.0, 4.0], [-1.0, 0.0]])
    assert_same_bits(step, lambda: [x, np.ones((2, 1))], lambda: [-x, np.ones((2, 1))])
    with np.errstate(divide="ignore", invalid="ignore"):
        assert all(np.isfinite(g).all() for g in step(x, np.ones((2, 1))))


def test_functions_that_save_time_where_numbers_allow_it() -> None:
    def step(x: Any) -> Any:
        v = Value(x)
        y = v.prod(axis=0) + np.sort(v, axis=0)[0] + v.max(axis=0) * v.var(axis=0)
        (y * np.cumprod(v, axis=1)).sum().backward()
        return [v.grad]

    x = np.array([[1.0, 2.0, -3.0], [2.0, 0.5, 1.0]])
    assert_same_bits(step, lambda: [np.where(x > 0.5, x, 0)], lambda: [-x * (x < 2)])


def test_checks_of_ranges_pass_what_has_no_numbers() -> None:
    y = np.array([0, 3])
    with pytest.raises(ValueError, match="classes"):
        F.cross_entropy(Value(np.ones((2, 2))), y)
    program, _ = traced(lambda z, y: [F.cross_entropy(Value(z), y).data], [np.ones((2, 2)), y])
    with pytest.raises(IndexError):
        replay(program, [np.ones((2, 2)), y])


ON_NUMBERS = {"spherical_in", "spherical_jn", "spherical_kn", "spherical_yn", "solve_sylvester"}
ON_NUMBERS |= {"solve_triangular", "coshm", "cosm", "expm", "logm", "sinhm", "sinm", "sqrtm"}
ON_NUMBERS |= {"tanhm", "tanm", "solve_banded"}
"""SciPy makes NumPy's arrays of what these are given."""
TRACED = [name for name in sorted(registry) if checkable(registry[name])]


@pytest.mark.parametrize("name", TRACED)
@settings(max_examples=3)
@given(data=st.data())
def test_every_primitive_and_its_rules_look_at_no_numbers(name: str, data: st.DataObject) -> None:
    op = registry[name]
    case = data.draw(cases(op))

    def step(*xs: Any) -> list[Any]:
        values = [Value(x, has_rule(op, i)) for i, x in enumerate(xs)]
        out = case.run(*values)
        out.backward(np.ones_like(out.data))
        return [out.data, *(v.grad for v in values)]

    if name in ON_NUMBERS:
        with pytest.raises(TypeError, match=name):
            traced(step, case.operands)
        return
    program, outs = traced(step, case.operands)
    with np.errstate(all="ignore"):
        made, wanted = replay(program, case.operands), step(*case.operands)
    single = any(x.dtype == np.float32 for x in case.operands)
    close = {"rtol": 1e-4, "atol": 1e-5} if single else {"rtol": 1e-9, "atol": 1e-10}
    for out, expected in zip(outs, wanted):
        if expected is not None:  # LAPACK's last digits depend on how its operands lie in memory
            np.testing.assert_allclose(made[out.at], expected, **close)


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda v: v[v > 0], "getitem"),
        (lambda v: np.unique(v), "unique"),
        (lambda v: np.nonzero(v), "nonzero"),
        (lambda v: v.relu() if v[0] > 0 else v, "np.where instead of if"),
        (lambda v: np.extract(v > 0, v), "nonzero"),
        (lambda v: float(v[0]), "no numbers"),
        (lambda v: v.item(), "no numbers"),
    ],
)
def test_what_cannot_be_traced_says_so(f: Callable[..., Any], name: str) -> None:
    with pytest.raises(TypeError, match=name):
        traced(lambda x: f(Value(x)), [np.ones(3)])


def test_a_traced_value_shows_itself() -> None:
    traced(lambda x: repr(Value(x)), [np.ones(3)])
