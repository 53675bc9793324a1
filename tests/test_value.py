"""A Value has the manners of an array: operators, indexing, methods, NumPy's functions."""

from __future__ import annotations

import copy
import inspect
import math
import operator
import pickle
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.engine.node import data_of
from tests.numerical import assert_gradient

OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "+": lambda x, y: x + y,
    "-": lambda x, y: x - y,
    "*": lambda x, y: x * y,
    "/": lambda x, y: x / y,
    "**": lambda x, y: x**y,
}
PARTNERS = {
    "a Python float": 2.5,
    "a Python int": 2,
    "a bool": True,
    "a NumPy scalar": np.float64(1.5),
    "a float32": np.float32(1.5),
    "an integer": np.int64(3),
    "an array": np.array([[1.0], [2.0]]),
    "integers": np.array([1, 2, 3]),
    "a constant Value": Value([1.5, 2.5, 0.5], requires_grad=False),
}


# Operators.


@pytest.mark.parametrize("partner", sorted(PARTNERS))
@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_an_operator_takes_anything_on_either_side(operator: str, partner: str) -> None:
    f, other = OPERATORS[operator], PARTNERS[partner]
    plain = other.data if isinstance(other, Value) else other
    x = np.array([0.5, 1.5, 2.0])
    for g in (lambda x, y: f(x, y), lambda x, y: f(y, x)):
        for data in (x, x[0], x.astype(np.float32)):
            found, expected = g(Value(data), other), g(data, plain)
            assert type(found) is Value
            assert (found.shape, found.dtype) == (np.shape(expected), expected.dtype)
            np.testing.assert_array_equal(found.data, expected)
        if (operator, partner) != ("**", "a float32"):  # ln of a float32 has its rounding
            assert_gradient(lambda x, g=g: g(x, other), x, order=2)


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_an_operator_between_values(operator: str) -> None:
    f = OPERATORS[operator]
    rng = np.random.default_rng(0)
    for shapes in (((), ()), ((3,), (2, 1)), ((2, 0), ())):
        assert_gradient(f, *(rng.uniform(0.5, 2, s) for s in shapes), order=2)


def test_matrix_products_on_either_side() -> None:
    a, b = np.arange(6.0).reshape(2, 3), np.arange(3.0)
    assert (Value(a) @ b).data.tolist() == (a @ Value(b)).data.tolist() == (a @ b).tolist()
    assert_gradient(lambda a, b: a @ b, a, b, order=2)


def test_signs() -> None:
    x = Value([-1.0, 2.0])
    assert ((-x).data.tolist(), (+x).data.tolist(), abs(x).data.tolist()) == (
        [1, -2],
        [-1, 2],
        [1, 2],
    )
    (-x + abs(x) * 3 + (+x) * 5).sum().backward()
    assert x.grad.tolist() == [1, 7]


def test_an_augmented_assignment_makes_a_new_value() -> None:
    x = y = Value(3.0)
    y += 1
    y *= x
    assert (x.item(), y.item()) == (3, 12)
    y.backward()
    assert x.grad == 7  # d(x² + x)/dx = 2x + 1


def test_comparisons_give_plain_booleans() -> None:
    x, y = Value([1.0, 2.0, 3.0]), Value(2.0)
    for found, expected in (
        (x < y, [True, False, False]),
        (x <= 2, [True, True, False]),
        (x > np.full(3, 2), [False, False, True]),
        (np.float64(2) <= x, [False, True, True]),
        (x == y, [False, True, False]),
        (x != [1, 2, 4], [False, False, True]),
        (np.less(x, y), [True, False, False]),
        (np.logical_and(x > 1, y), [False, True, True]),
        (np.isnan(x), [False] * 3),
    ):
        assert type(found) is np.ndarray
        assert found.dtype == bool
        assert found.tolist() == expected
    assert bool(y == 2)
    assert isinstance(y < 3, (bool, np.bool))


def test_truth_is_numpys() -> None:
    assert Value(2.0)
    assert not Value(0.0)
    with pytest.raises(ValueError, match="ambiguous"):
        bool(Value([1.0, 2.0]))


def test_a_value_is_hashable_by_identity() -> None:
    x, y = Value(1.0), Value(1.0)
    assert len({x, y, x}) == 2


# Indexing, iteration, conversion.

DATA = np.arange(24.0).reshape(2, 3, 4) / 7
INDICES: dict[str, Any] = {
    "an integer": 1,
    "a NumPy integer": np.int64(-1),
    "integers": (1, 2, 3),
    "a slice": slice(0, 1),
    "steps": (slice(None), slice(None, None, -2), slice(1, None)),
    "an ellipsis": (..., 0),
    "only an ellipsis": ...,
    "a new axis": (None, 1, ..., None),
    "nothing": (),
    "a list": [1, 0, 1],
    "an array": np.array([[0, 1], [1, 1]]),
    "arrays that broadcast": (np.array([[0], [1]]), np.array([0, 2])),
    "arrays apart": ([0, 1], slice(None), [3, 3]),
    "an array and an integer": (1, [0, 0, 2]),
    "a mask": DATA > 1.2,
    "a mask of an axis": np.array([False, True]),
    "a mask and a slice": (slice(None), np.array([True, False, True]), slice(1, 3)),
    "none": [],
    "True": True,
    "an empty slice": slice(0, 0),
}


@pytest.mark.parametrize("index", sorted(INDICES))
def test_every_form_of_index_reads_as_in_numpy(index: str) -> None:
    i = INDICES[index] if index != "none" else np.array([], int)
    found = Value(DATA)[i]
    np.testing.assert_array_equal(found.data, DATA[i])
    assert found.shape == DATA[i].shape
    assert_gradient(lambda x: x[i] * x[i], DATA, order=2)


def test_an_entry_that_is_read_twice_gets_both_cotangents() -> None:
    x = Value([1.0, 2.0])
    x[[0, 0, 1]].backward([1.0, 10.0, 100.0])
    assert x.grad.tolist() == [11, 100]


def test_a_value_indexes() -> None:
    x, i = Value([1.0, 2.0, 3.0]), Value(np.array([2, 0]), requires_grad=False)
    assert x[i].data.tolist() == [3, 1]
    assert x[x > 1].data.tolist() == [2, 3]


def test_iteration_and_length() -> None:
    x = Value([[1.0, 2.0], [3.0, 4.0]])
    assert len(x) == 2
    rows = list(x)
    assert [row.data.tolist() for row in rows] == [[1, 2], [3, 4]]
    (a, b), _ = x
    (a * b + sum(rows)[1]).backward()
    assert x.grad.tolist() == [[2, 1 + 1], [0, 1]]
    with pytest.raises(TypeError):
        len(Value(1.0))
    with pytest.raises(TypeError):
        iter(Value(1.0)).__next__()


def test_numbers() -> None:
    x = Value(2.75)
    assert (float(x), int(x), x.item(), x.tolist()) == (2.75, 2, 2.75, 2.75)
    assert isinstance(x.item(), float)
    assert (Value([[5.0]]).item(), Value([1.0, 2.0]).item(1)) == (5, 2)
    assert f"{x:.1f} {x}" == "2.8 Value(2.75)"
    assert math.sqrt(x * 0 + 4) == 2
    with pytest.raises(TypeError):
        float(Value([1.0, 2.0]))


def test_repr_shows_data_shape_and_operation() -> None:
    x = Value([1.0, 2.0], name="x")
    assert repr(x) == "Value([1., 2.], shape=(2,), dtype=float64, name='x')"
    assert repr(x * 2) == "Value([2., 4.], shape=(2,), dtype=float64, op=multiply)"
    assert repr(Value(2.0)) == "Value(2.0)"
    assert repr(np.tanh(Value(np.float32(0)))) == "Value(0.0, dtype=float32, op=tanh)"
    assert repr(Value(np.zeros((2, 0)))) == "Value([], shape=(2, 0), dtype=float64)"
    assert len(repr(Value(np.zeros((500, 500))))) < 1000


def test_attributes() -> None:
    x = Value(np.zeros((2, 3), np.float32))
    assert (x.shape, x.ndim, x.size, x.dtype, x.T.shape) == ((2, 3), 2, 6, np.float32, (3, 2))
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)


def test_a_value_copies_its_data() -> None:
    array = np.ones(2)
    x = Value(array)
    array[0] = 5
    assert x.data.tolist() == [1, 1]


# Methods and NumPy's functions.

METHODS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sum": (lambda x: x.sum(), np.sum),
    "sum axis": (lambda x: x.sum(1, keepdims=True), lambda x: np.sum(x, 1, keepdims=True)),
    "mean": (lambda x: x.mean(axis=(0, 1)), lambda x: np.mean(x, axis=(0, 1))),
    "prod": (lambda x: x.prod(axis=0), lambda x: np.prod(x, axis=0)),
    "max": (lambda x: x.max(axis=-1), lambda x: np.max(x, axis=-1)),
    "min": (lambda x: x.min(), np.min),
    "var": (lambda x: x.var(axis=0, ddof=1), lambda x: np.var(x, axis=0, ddof=1)),
    "std": (lambda x: x.std(), np.std),
    "cumsum": (lambda x: x.cumsum(0), lambda x: np.cumsum(x, 0)),
    "reshape": (lambda x: x.reshape(3, -1), lambda x: np.reshape(x, (3, -1))),
    "reshape tuple": (lambda x: x.reshape((6,)), lambda x: np.reshape(x, 6)),
    "ravel": (lambda x: x.ravel(), np.ravel),
    "flatten": (lambda x: x.flatten(), np.ravel),
    "transpose": (lambda x: x.transpose(), np.transpose),
    "transpose axes": (lambda x: x.transpose(1, 0), lambda x: np.transpose(x, (1, 0))),
    "transpose tuple": (lambda x: x.transpose((1, 0)), lambda x: np.transpose(x, (1, 0))),
    "T": (lambda x: x.T, np.transpose),
    "swapaxes": (lambda x: x.swapaxes(0, 1), lambda x: np.swapaxes(x, 0, 1)),
    "squeeze": (lambda x: x[None].squeeze(0), lambda x: np.squeeze(x[None])),
    "repeat": (lambda x: x.repeat(2, 1), lambda x: np.repeat(x, 2, axis=1)),
    "take": (lambda x: x.take([2, 0], axis=1), lambda x: np.take(x, [2, 0], axis=1)),
    "clip": (lambda x: x.clip(-0.5, 0.5), lambda x: np.clip(x, -0.5, 0.5)),
    "dot": (lambda x: x.dot(x.T), lambda x: np.dot(x, x.T)),
    "trace": (lambda x: x.trace(1), lambda x: np.trace(x, 1)),
    "diagonal": (lambda x: x.diagonal(), np.diagonal),
    "copy": (lambda x: x.copy(), np.copy),
    "astype": (lambda x: x.astype("float32"), lambda x: x * np.float32(1)),
}


@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_method_is_the_numpy_function(method: str) -> None:
    by_method, by_function = METHODS[method]
    data = np.random.default_rng(0).normal(size=(2, 3))
    results = []
    for f in (by_method, by_function):
        x = Value(data)
        y = f(x)
        y.backward(np.ones(y.shape))
        results.append((y.data, x.grad))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6 if method == "astype" else 0)
    np.testing.assert_allclose(results[0][0], by_function(data), rtol=1e-6)


def test_methods_that_networks_use() -> None:
    x = np.array([-1.0, 0.5])
    for name, expected in (
        ("exp", np.exp(x)),
        ("tanh", np.tanh(x)),
        ("sigmoid", 1 / (1 + np.exp(-x))),
        ("relu", [0, 0.5]),
    ):
        np.testing.assert_allclose(getattr(Value(x), name)().data, expected, rtol=1e-15)
        assert_gradient(
            lambda x, name=name: (
                getattr(Value.of(x.node), name)()
                if isinstance(x, Value)
                else getattr(Value(x), name)().data
            ),
            x,
            order=2,
        )
    assert Value(np.e).log().item() == 1


def test_both_protocols_reach_the_rules() -> None:
    x = Value([0.5, 2.0])
    assert np.exp(x).op.name == "exp"  # __array_ufunc__
    assert np.sum(x).op.name == "sum"  # __array_function__
    assert (np.float64(2) * x).op.name == (np.ones(2) * x).op.name == "multiply"
    assert np.add(np.ones(2), x).op.name == "add"
    assert np.add.reduce(x).op.name == "sum"


def test_functions_without_a_gradient_by_nature_answer_with_plain_arrays() -> None:
    x = Value([3.0, 1.0, 2.0])
    for found, expected in (
        (np.argmax(x), 0),
        (x.argmin(), 1),
        (np.argsort(x), [1, 2, 0]),
        (x.argsort(), [1, 2, 0]),
        (np.isfinite(x), [True] * 3),
        (x.all(), True),
        (x.any(), True),
        (np.allclose(x, [3, 1, 2]), True),
        (np.nonzero(x)[0], [0, 1, 2]),
    ):
        assert not isinstance(found, Value)
        np.testing.assert_array_equal(found, expected)
    assert np.asarray(x.detach()).tolist() == [3, 1, 2]


# Copies.


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))]
)
def test_a_leaf_is_copied_with_all_it_holds(twin: Any) -> None:
    x = Value(np.array([1.0, 2.0], np.float32), name="w")
    (x * x).sum().backward()
    y = twin(x)
    assert (y.data.tolist(), y.dtype, y.name, y.requires_grad) == ([1, 2], np.float32, "w", True)
    assert y.grad.tolist() == [2, 4]
    y.data[0] = 9
    assert x.data.tolist() == [1, 2]
    assert twin((x * 2).detach()).data.tolist() == [2, 4]


@pytest.mark.parametrize("twin", [copy.deepcopy, lambda v: copy.deepcopy([v])[0]])
def test_a_result_is_copied_with_its_gradient_or_not_at_all(twin: Any) -> None:
    x = Value([1.0, 2.0])
    y = x * 2
    z = twin(y)
    assert z is not y
    assert not np.shares_memory(z.data, y.data)
    z.sum().backward()
    assert x.grad.tolist() == [2, 2]
    for lost in (copy.copy, pickle.dumps):
        with pytest.raises(TypeError, match=r"only leaves can be copied or pickled.* multiply"):
            lost(y)


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy])
def test_a_copys_gradient_is_its_own(twin: Any) -> None:
    x = Value([1.0])
    (x * 2).sum().backward()
    y = twin(x)
    y.grad += 1
    assert x.grad.tolist() == [2]


# Constants.


def test_a_name_is_only_a_name() -> None:
    x = Value(1.0, name="x")
    assert (x.name, (x * 2).name) == ("x", None)
    x.name = "y"
    assert x.name == "y"


def test_no_gradient_flows_through_detach_and_stop_gradient() -> None:
    x = Value(3.0)
    (x * x.detach() + tg.stop_gradient(x) * 2).backward()
    assert x.grad == 3
    assert tg.stop_gradient(5.0) == 5


def test_no_grad_is_a_context_and_a_decorator() -> None:
    @tg.no_grad()
    def f(x: Value) -> Value:
        return x * x

    x = Value(2.0)
    assert not f(x).requires_grad
    assert (x * x).requires_grad
    with tg.no_grad():
        with tg.no_grad():
            pass
        assert not (x * x).requires_grad
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        1 / 0  # noqa: B018
    assert (x * x).requires_grad


def test_no_grad_holds_for_its_own_thread_only() -> None:
    x, inside, done = Value(2.0), threading.Event(), threading.Event()
    recorded = []

    def other() -> None:
        inside.wait(5)
        recorded.append((x * x).requires_grad)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with tg.no_grad():
        inside.set()
        done.wait(5)
        recorded.append((x * x).requires_grad)
    thread.join()
    assert recorded == [True, False]


def test_data_is_replaced_by_data_of_the_same_shape() -> None:
    x = Value(np.ones(2, np.float32))
    x.data = [3, 4]
    assert (x.data.tolist(), x.dtype) == ([3, 4], np.float32)
    x.data -= 0.5
    assert x.data.tolist() == [2.5, 3.5]
    with pytest.raises(ValueError, match=r"\(3,\).*\(2,\)"):
        x.data = np.ones(3)


def test_a_grad_may_be_set() -> None:
    x = Value(np.ones((2, 2), np.float32))
    x.grad = 0
    assert (x.grad.tolist(), x.grad.dtype) == ([[0, 0], [0, 0]], np.float32)
    x.grad = None
    assert x.grad is None


# Higher orders.


def derivatives(f: Callable[[Value], Value], x: float, n: int) -> list[float]:
    """f(x), f'(x), f''(x), ... by repeated create_graph."""
    v = Value(x)
    results, y = [], f(v)
    for _ in range(n):
        results.append(y.item())
        y.backward(create_graph=True)
        y, v.grad = v.grad, None
    return [*results, y.item()]


@pytest.mark.parametrize(
    ("f", "x", "expected"),
    [
        (np.exp, 0.5, [math.exp(0.5)] * 4),
        (np.sin, 0.3, [math.sin(0.3), math.cos(0.3), -math.sin(0.3), -math.cos(0.3)]),
        (lambda x: x**4, 2.0, [16, 32, 48, 48]),
        (lambda x: x * x * x, 2.0, [8, 12, 12, 6]),
        (lambda x: 1 / x, 2.0, [1 / 2, -1 / 4, 2 / 8, -6 / 16]),
        (np.log, 2.0, [math.log(2), 1 / 2, -1 / 4, 2 / 8]),
        (np.sqrt, 4.0, [2, 1 / 4, -1 / 32, 3 / 256]),
        (lambda x: x.sigmoid(), 0.0, [1 / 2, 1 / 4, 0, -1 / 8]),
        (np.tanh, 0.0, [0, 1, 0, -2]),
        (lambda x: np.exp(-x * x / 2), 0.0, [1, 0, -1, 0]),
        (lambda x: 2.0**x, 1.0, [2 * math.log(2) ** k for k in range(4)]),
        (np.arctan, 1.0, [math.pi / 4, 1 / 2, -1 / 2, 1 / 2]),
    ],
)
def test_derivatives_up_to_the_third(f: Any, x: float, expected: list[float]) -> None:
    assert derivatives(f, x, 3) == pytest.approx(expected, rel=1e-13, abs=1e-15)


def test_the_hessian_of_a_quadratic_form_is_its_matrix() -> None:
    """∇(½ xᵀAx) = ½(A + Aᵀ)x, and one more derivative leaves ½(A + Aᵀ)."""
    A, x = np.random.default_rng(0).normal(size=(3, 3)), Value([1.0, 2.0, 3.0])
    (x @ A @ x / 2).backward(create_graph=True)
    g, x.grad = x.grad, None
    np.testing.assert_allclose(g.data, (A + A.T) @ x.data / 2)
    for i in range(3):
        x.grad = None
        g[i].backward()
        np.testing.assert_allclose(x.grad, (A + A.T)[i] / 2, rtol=1e-14)


def test_with_create_graph_every_gradient_is_a_value() -> None:
    x, y = Value([1.0, -2.0]), Value([3.0, 4.0])
    (np.sign(x) + y * 2).sum().backward(create_graph=True)
    assert isinstance(x.grad, Value)
    assert isinstance(y.grad, Value)


def test_a_gradient_penalty_reaches_the_parameters() -> None:
    """L = |∂(w x²)/∂x|² = 4w²x², so dL/dw = 8wx²."""
    w, x = Value(3.0), Value(2.0)
    (w * x * x).backward(create_graph=True)
    penalty = x.grad**2
    w.grad = x.grad = None
    penalty.backward()
    assert (w.grad, x.grad) == (8 * 3 * 4, 8 * 9 * 2)


# A deliberately naive engine: forward mode, one number with all its partial derivatives.


class Dual(NamedTuple):
    """A value, and its derivative by each leaf."""

    value: float
    slopes: tuple[float, ...]

    def through(self, value: float, *terms: tuple[Dual, float]) -> Dual:
        """The chain rule: Σ ∂f/∂u · du."""
        slopes = [sum(d * u.slopes[i] for u, d in terms) for i in range(len(self.slopes))]
        return Dual(value, tuple(slopes))


STEPS: dict[str, tuple[Callable[..., Any], Callable[[Dual, Dual], Dual]]] = {
    "add": (lambda u, v: u + v, lambda u, v: u.through(u[0] + v[0], (u, 1), (v, 1))),
    "subtract": (lambda u, v: u - v, lambda u, v: u.through(u[0] - v[0], (u, 1), (v, -1))),
    "multiply": (lambda u, v: u * v, lambda u, v: u.through(u[0] * v[0], (u, v[0]), (v, u[0]))),
    "divide": (
        lambda u, v: u / (v * v + 1),
        lambda u, v: u.through(
            u[0] / (v[0] ** 2 + 1),
            (u, 1 / (v[0] ** 2 + 1)),
            (v, -2 * u[0] * v[0] / (v[0] ** 2 + 1) ** 2),
        ),
    ),
    "tanh": (
        lambda u, v: np.tanh(u),
        lambda u, v: u.through(math.tanh(u[0]), (u, 1 - math.tanh(u[0]) ** 2)),
    ),
    "sin": (lambda u, v: np.sin(u), lambda u, v: u.through(math.sin(u[0]), (u, math.cos(u[0])))),
    "square": (lambda u, v: u**2, lambda u, v: u.through(u[0] ** 2, (u, 2 * u[0]))),
    "maximum": (
        lambda u, v: np.maximum(u, v),
        lambda u, v: u.through(
            max(u[0], v[0]),
            (u, (u[0] > v[0]) + (u[0] == v[0]) / 2),
            (v, (v[0] > u[0]) + (u[0] == v[0]) / 2),
        ),
    ),
    "through a vector": (
        lambda u, v: np.stack([u, v, u])[[0, 2]].mean() + np.concatenate([v[None], [1.0]]).sum(),
        lambda u, v: u.through(u[0] + v[0] + 1, (u, 1), (v, 1)),
    ),
}
PLAN = st.lists(
    st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 99), st.integers(0, 99)),
    min_size=1,
    max_size=12,
)


@given(st.lists(st.floats(-2, 2, width=16), min_size=1, max_size=3), PLAN)
def test_any_expression_agrees_with_a_naive_engine(leaves: list[float], plan: Any) -> None:
    values = [Value(x) for x in leaves]
    duals = [
        Dual(x, tuple(float(i == k) for k in range(len(leaves)))) for i, x in enumerate(leaves)
    ]
    mine, theirs = list(values), list(duals)
    for name, i, j in plan:
        i, j = i % len(mine), j % len(mine)  # any two earlier results, the same one too
        engine, naive = STEPS[name]
        mine.append(np.tanh(engine(mine[i], mine[j])))  # tanh keeps the numbers small
        u = naive(theirs[i], theirs[j])
        theirs.append(u.through(math.tanh(u[0]), (u, 1 - math.tanh(u[0]) ** 2)))
    for times in (1, 2):  # a second backward adds the same once more
        mine[-1].backward()
        assert mine[-1].item() == pytest.approx(theirs[-1].value, rel=1e-12, abs=1e-12)
        for value, slope in zip(values, theirs[-1].slopes, strict=True):
            found = 0.0 if value.grad is None else value.grad
            assert found == pytest.approx(times * slope, rel=1e-9, abs=1e-11)


@given(
    st.integers(0, 2**32 - 1),
    st.lists(
        st.tuples(
            st.sampled_from(["write", "add", "row", "twice", "read"]),
            st.integers(0, 2),
            st.integers(0, 2),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_any_order_of_reads_and_writes_agrees_with_numpy(seed: int, plan: Any) -> None:
    """The same program runs in place on an array and by new nodes on a Value."""

    def program(x: Any) -> Any:
        y, total = x * 1.0, 0.0
        for what, i, j in plan:
            if what == "write":
                y[i, j] = np.tanh(y[j, i] * x[i, i])
            elif what == "add":
                y[i] += x[j] * y[i, j]
            elif what == "row":
                y[i] = y[:, j] * 0.5
            elif what == "twice":
                y[[i, i], j] = y[i, :2] * x[j, 1:]
            else:
                total = total + np.sum(y[i] * y[:, j])
        return np.sum(np.sin(y)) + total

    assert_gradient(program, np.random.default_rng(seed).uniform(-1, 1, (3, 3)))


def test_create_graph_refuses_data_that_were_replaced_since() -> None:
    w = Value(3.0)
    y = w * w
    w.data = 10.0
    with pytest.raises(RuntimeError, match=r"operand of shape \(\) got new data"):
        y.backward(create_graph=True)
    y.backward()  # without a graph it differentiates at the point where y was computed
    assert w.grad == 6.0


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x.copy(),
        lambda x: np.where(True, x * 1, 0.0),
        lambda x: x[...],
        lambda x: np.squeeze(np.reshape(x, (1,))),
        lambda x: np.broadcast_to(x, ()),
        lambda x: np.einsum("i,i,i->", np.reshape(x, 1), [1.0], [1.0]),
    ],
)
def test_a_number_is_a_numpy_scalar_and_needs_no_seed(f: Any) -> None:
    x = Value(3.0)
    y = f(x)
    assert type(y.data) is np.float64
    y.backward()
    assert x.grad == 1.0


def test_an_index_array_is_read_when_it_is_given() -> None:
    x, i, j = Value([1.0, 2.0, 3.0]), np.array([0, 1]), [2, 2]
    y = x[i] + x[j] + np.take(x, i) + x.take(j)
    i[:], j[:] = 2, [0, 0]
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, [2, 2, 4])


def test_the_data_of_a_result_cannot_be_replaced() -> None:
    y = np.exp(Value([0.0, 1.0]))
    with pytest.raises(ValueError, match="only a leaf's data"):
        y.data = np.zeros(2)
    a, b = Value([1.0]), Value([2.0])
    b.data = a.data
    a.data -= 1
    assert b.data == [1.0]


def test_full_like_keeps_the_gradient_of_what_it_fills_with() -> None:
    v = Value(2.0)
    np.full_like(Value(np.zeros((2, 3))), v).sum().backward()
    assert v.grad == 6
    with pytest.raises(TypeError, match=r"tg\.array"):
        Value([Value(1.0), 2.0])


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_arrays_that_compute_in_their_own_way_and_what_is_no_number_are_refused() -> None:
    v = Value([3.0, 4.0])
    for other in (np.matrix([[1.0, 2.0]]), np.ma.array([1.0, 2.0], mask=[0, 1])):
        with pytest.raises(TypeError, match="does not compute as"):
            v * other
        with pytest.raises(TypeError, match="does not compute as"):
            Value(other)
    for other in (None, "2", object()):
        with pytest.raises(TypeError, match="add computes with numbers"):
            v + other


def test_a_context_can_be_entered_again_and_refuses_what_runs_later() -> None:
    x, context = Value(1.0), tg.no_grad()
    for _ in range(2):
        with context, context:
            assert not (x * x).requires_grad
        assert (x * x).requires_grad
    with tg.no_grad(), tg.debug():
        assert not (x * x).requires_grad
    with pytest.raises(TypeError, match="use `with` inside"):

        @tg.no_grad()
        def numbers() -> Any:
            yield x * x


def test_membership_compares_data() -> None:
    v = Value([[1.0, 3.0]])
    assert 3.0 in v
    assert 2.0 not in v


# Constants of integers and booleans have NumPy's dtypes.

WHOLE = [np.array([1, 0, 2]).astype(t) for t in (np.bool_, np.int8, np.uint8, np.int64)]
UFUNCS = [f for f in vars(np).values() if isinstance(f, np.ufunc) and not f.signature]
PYTHONS: list[Any] = [2, True, 2.0]
REDUCTIONS = [
    *(np.sum, np.prod, np.mean, np.var, np.std, np.min, np.max, np.ptp, np.median, np.average),
    *(np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanmax, np.nanmin, np.cumsum, np.cumprod),
    *(np.any, np.all, np.argmax, np.argmin, np.sort, np.argsort, np.diff, np.trapezoid, np.unique),
    *(np.round, np.fix, np.angle, np.real, np.imag, np.i0, np.sinc, np.nan_to_num, np.flip),
    *(np.tril, np.triu, np.trace, np.linalg.norm, np.linalg.det, np.linalg.inv, np.linalg.pinv),
    *(np.linalg.svdvals, np.linalg.cond, np.fft.fft, np.cov, np.corrcoef, np.count_nonzero),
    lambda x: np.clip(x, 0, None),
    lambda x: np.clip(x, None, 1),
    lambda x: np.clip(x, np.int64(1), None),
    lambda x: np.clip(x, None, np.array([0.5])),
    lambda x: np.linalg.lstsq(x, x)[0],
    lambda x: np.quantile(x, 0.3),
    lambda x: np.einsum("i...->...", x),
    lambda x: np.logical_xor.accumulate(x),
    lambda x: np.repeat(x, 2),
    lambda x: x.clip(0),
    lambda x: x.round(),
]
PYTHON_OPERATORS = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod),
    *(operator.pow, operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift),
    *(operator.lt, operator.le, operator.eq, operator.ne, operator.matmul, divmod),
]


def assert_numpys_answer(f: Any, *xs: Any) -> None:
    """Values and dtypes; where NumPy refuses, anything."""
    try:
        expected = f(*xs)
    except Exception:
        return
    found = f(*(Value(x, requires_grad=False) if hasattr(x, "dtype") else x for x in xs))
    results = found if isinstance(found, tuple) else (found,)
    for e, r in zip(expected if isinstance(expected, tuple) else (expected,), results, strict=True):
        r = r.data if isinstance(r, Value) else r
        assert np.asarray(r).dtype == np.asarray(e).dtype, (f, xs, r, e)
        np.testing.assert_allclose(r, e, rtol=1e-12, err_msg=f"{f} {xs}")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_constants_of_integers_and_booleans_have_numpys_dtypes() -> None:
    for x in WHOLE:
        for ufunc in UFUNCS:
            if ufunc.nin == 1:
                assert_numpys_answer(ufunc, x)
                assert_numpys_answer(ufunc, x[0])
            for y in WHOLE if ufunc.nin == 2 else ():
                assert_numpys_answer(ufunc, x, y)
        for f in REDUCTIONS:
            assert_numpys_answer(f, x)
            assert_numpys_answer(f, np.outer(x, x)[:2, :2])
        for f in PYTHON_OPERATORS:
            for y in [*WHOLE, x[2], *PYTHONS]:
                if (f, type(y)) != (operator.pow, int) or x.dtype != bool:
                    assert_numpys_answer(f, x, y)
                assert_numpys_answer(f, y, x)


# Everything that an array of NumPy's has.

MEMORY = {  # where the numbers are, and how they travel: of arrays alone
    *("__array_finalize__", "__array_interface__", "__array_priority__", "__array_struct__"),
    *("__array_wrap__", "__class_getitem__", "__copy__", "__deepcopy__", "__setstate__"),
    *("__buffer__", "_set_dtype", "_set_shape", "__delitem__", "__dlpack__", "__dlpack_device__"),
    *("__iand__", "__ior__", "__ixor__", "__ilshift__", "__irshift__"),  # v &= w is v = v & w
}


@pytest.mark.parametrize("name", sorted(set(dir(np.ndarray)) - MEMORY))
def test_an_attribute_of_an_array_is_here_or_says_what_to_write(name: str) -> None:
    v = Value(np.ones((2, 3)))
    if not hasattr(Value, name):
        with pytest.raises(AttributeError, match=rf"{name}.*: write .*v\.|{name}.*: write np\."):
            getattr(v, name)
        return
    method = getattr(np.ndarray, name)
    if name.startswith("__") or not callable(method):
        return
    try:
        theirs = inspect.signature(method).parameters
    except ValueError:  # before NumPy 2.4
        return
    ours = inspect.signature(getattr(Value, name)).parameters
    if any(p.kind is p.VAR_POSITIONAL for p in ours.values()):
        return
    named = [n for n, p in theirs.items() if p.kind is not p.VAR_KEYWORD and n != "self"]
    assert list(ours)[1 : 1 + len(named)] == named
    for n in named:
        assert (theirs[n].kind is theirs[n].KEYWORD_ONLY) == (ours[n].kind is ours[n].KEYWORD_ONLY)
        if theirs[n].default is not theirs[n].empty:
            assert ours[n].default == theirs[n].default


ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "astype": lambda x: x.astype(np.float32, copy=False),
    "astype to itself": lambda x: x.astype(float, "K", "safe", True, copy=False),
    "all": lambda x: x.all(0, keepdims=True, where=[True, False, True]),
    "any": lambda x: x.any(keepdims=True),
    "argmax": lambda x: x.argmax(1, keepdims=True),
    "argmin": lambda x: x.argmin(axis=0, keepdims=True),
    "argsort": lambda x: x.argsort(0, kind="stable"),
    "argpartition": lambda x: x.argpartition(1, axis=0),
    "cumsum": lambda x: x.cumsum(0, np.float32),
    "cumprod": lambda x: x.cumprod(axis=1, dtype=complex),
    "trace": lambda x: x.trace(0, 0, 1, np.float32),
    "copy": lambda x: x.copy(order="F"),
    "take": lambda x: x.take([7, -8], mode="wrap"),
    "sum": lambda x: x.sum(0, np.float32, None, True),
    "mean": lambda x: x.mean(1, dtype=np.float32, keepdims=True),
    "prod": lambda x: x.prod(None, None, None, True),
    "max": lambda x: x.max(0, None, True),
    "min": lambda x: x.min(1, keepdims=True, initial=0.0),
    "var": lambda x: x.var(0, None, None, 1, keepdims=True),
    "std": lambda x: x.std(1, ddof=1),
    "reshape": lambda x: x.reshape(3, 2, order="F"),
    "flatten": lambda x: x.flatten("F"),
    "nbytes": lambda x: (x.nbytes, x.itemsize, x[0].nbytes),
    "flat": lambda x: sum(x.flat),
    "shifts": lambda x: (x > 0).astype(int) << 2,
}


NEEDED: dict[str, list[Any]] = {
    **{name: [1] for name in ("repeat", "argpartition")},
    **{name: [[0, 1]] for name in ("take", "searchsorted", "compress")},
    **{"dot": [np.ones(3)], "put": [[0], 2.0], "astype": [float], "reshape": [(3, 2)]},
}
NOT_IN_PLACE = {"sort", "partition", "resize"}
VARIADIC = {"choose"}  # an array's takes each further argument as one more choice


@pytest.mark.parametrize(
    "name", sorted(set(dir(np.ndarray)) & set(dir(Value)) - NOT_IN_PLACE - VARIADIC)
)
def test_a_method_takes_the_defaults_of_numpys_by_name_and_in_their_order(name: str) -> None:
    try:
        theirs = inspect.signature(getattr(np.ndarray, name)).parameters.values()
    except (AttributeError, TypeError, ValueError):  # none here, no method, or before NumPy 2.4
        return
    further = [p for p in theirs if p.default is not p.empty and p.default is not np._NoValue]
    if name.startswith("__") or not further or not hasattr(Value, name):
        return
    x = np.arange(3.0) if name == "searchsorted" else np.arange(6.0).reshape(2, 3)
    needed = NEEDED.get(name, [])
    named = {p.name: p.default for p in further}
    in_order = [p.default for p in further if p.kind is not p.KEYWORD_ONLY]
    expected = getattr(x.copy(), name)(*needed)
    for args, kwargs in ((needed, named), ([*needed, *in_order], {})):
        found = getattr(Value(x, requires_grad=False), name)(*args, **kwargs)
        np.testing.assert_array_equal(data_of(found), expected)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_a_method_takes_numpys_arguments(name: str) -> None:
    f, x = ARGUMENTS[name], np.random.default_rng(0).normal(size=(2, 3))
    found, expected = f(Value(x)), f(x)
    found = getattr(found, "data", found) if isinstance(found, Value) else found
    np.testing.assert_array_equal(found, expected)
    if hasattr(expected, "dtype"):
        assert found.dtype == expected.dtype


def test_integers_and_masks_have_an_arrays_manners() -> None:
    n = Value(np.array(2), requires_grad=False)
    assert [10, 20, 30][n] == 30
    assert list(range(n)) == [0, 1]
    assert (n << 3, 8 >> n, 1 << n) == (16, 2, 4)
    assert n.choose([5, 6, 7]) == 7
    for x in (Value(2.0), Value([1.0, 2.0])):
        with pytest.raises(TypeError, match=r"np\.maximum"):
            operator.index(x)


def test_filling_in_place_is_differentiated() -> None:
    def f(x: Any) -> Any:
        y = x * np.ones(4)
        y.fill(3 * x)
        y.put([0, -1], x**2)
        return y.sum()

    assert tg.grad(f)(5.0) == 6 + 4 * 5
    with pytest.raises(TypeError, match=r"np\.resize"):
        Value([1.0]).resize(3)
    with pytest.raises(TypeError, match="safe"):
        Value([1.0]).astype(np.float32, casting="safe")


@pytest.mark.parametrize(
    ("habit", "written"),
    [
        (lambda v: v.std(dim=0), "PyTorch divides by n - 1, NumPy by n: write correction=1"),
        (lambda v: v.sum(dim=0, axis=0), "dim= and axis= are the same: give one"),
        (lambda v: v.view(-1), "write v.reshape"),
        (lambda v: v.permute(1, 0), "write v.transpose"),
        (lambda v: v.unsqueeze(0), "write np.expand_dims"),
        (lambda v: v.numpy(), "write v.data"),
        (lambda v: v.sqrt(), "write np.sqrt(v)"),
        (lambda v: v.abs(), "write np.abs(v)"),
        (lambda v: v.clone(), "write v.copy()"),
        (lambda v: v.clamp(0), "write np.clip(v, low, high)"),
        (lambda v: v._prev, "tg.viz.graph(v)"),
        (lambda v: v.max(v), "np.maximum(a, b)"),
        (lambda v: v.strides, "write v.data.strides"),
        (lambda v: v.tobytes(), "write v.data.tobytes"),
        (lambda v: v.sum(out=np.ones(())), "take the result instead"),
        (lambda v: v.round(1, np.ones((2, 3))), "name the result instead"),
        (lambda v: v.clip(0, 1, np.ones((2, 3))), "take the result instead"),
        (lambda v: v.compress([1], 0, np.ones((1, 3))), "take the result instead"),
    ],
)
def test_habits_of_other_libraries_are_told_what_to_write(habit: Any, written: str) -> None:
    with pytest.raises((AttributeError, TypeError)) as caught:
        habit(Value(np.ones((2, 3))))
    assert written in str(caught.value)


X = np.array([[3.0, 1.0, 2.0], [4.0, 6.0, 5.0]])


@pytest.mark.parametrize(
    ("habit", "expected"),
    [
        (lambda v: v.sum(dim=1), X.sum(1)),
        (lambda v: v.sum(dim=[0, 1], keepdim=True), X.sum(keepdims=True)),
        (lambda v: v.mean(axis=1, keepdim=True), X.mean(1, keepdims=True)),
        (lambda v: v.prod(dim=0), X.prod(0)),
        (lambda v: v.argmax(dim=1), X.argmax(1)),
        (lambda v: v.cumsum(dim=0), X.cumsum(0)),
        (lambda v: (v > 2).any(axis=0), [True, True, True]),
        (lambda v: v.std(unbiased=False), X.std()),
        (lambda v: v.std(dim=1, unbiased=True), X.std(1, ddof=1)),
        (lambda v: v.var(dim=0, correction=0, keepdim=True), X.var(0, keepdims=True)),
        (lambda v: v.max(dim=1).values, X.max(1)),
        (lambda v: v.max(dim=1)[1], X.argmax(1)),
        (lambda v: v.min(dim=0, keepdim=True).indices, X.argmin(0)[None]),
        (lambda v: v.max(axis=1), X.max(1)),
        (lambda v: v.softmax(0), np.exp(X) / np.exp(X).sum(0)),
        (lambda v: v.softmax(dim=1), np.exp(X) / np.exp(X).sum(1, keepdims=True)),
        (lambda v: v.log_softmax(axis=0), X - np.log(np.exp(X).sum(0))),
    ],
)
def test_methods_take_the_words_of_pytorch_for_axes(habit: Any, expected: Any) -> None:
    found = habit(Value(X))
    np.testing.assert_allclose(getattr(found, "data", found), expected, rtol=1e-12)


def test_an_attribute_that_nobody_has() -> None:
    for name in ("nonsense", "view", "to_numpy", "__array_interface__"):
        assert not hasattr(Value(1.0), name)
        assert not hasattr(Value, name)
