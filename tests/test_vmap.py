"""tg.vmap: what is written for one example, done for all. (Each primitive: test_primitives.py.)"""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.engine.batching import Batched, one_by_one, running
from tensorgrad.engine.primitive import registry

ROWS = np.arange(12.0).reshape(4, 3) / 5
W = np.random.default_rng(0).normal(size=(3, 2))


def loop(f: Any, *xs: Any) -> Any:
    return np.stack([f(*row) for row in zip(*xs)])


def close(found: Any, expected: Any) -> None:
    assert np.shape(found) == np.shape(expected)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


FUNCTIONS: dict[str, Any] = {
    "elementwise": lambda x: np.sin(x) * x**2 / (1 + x),
    "reduction": lambda x: x.sum() * x - x.mean(),
    "axis counted from the front": lambda x: np.sum(np.outer(x, x), axis=0),
    "matrix products": lambda x: np.tanh(x @ W) @ W.T,
    "vector products": lambda x: x @ x,
    "einsum": lambda x: np.einsum("i,ij,i->j", x, W, x),
    "index": lambda x: x[1:] * x[0],
    "index with an array": lambda x: x[np.array([0, 0, 2])],
    "index with a comparison's result": lambda x: np.where(x > 1, x, -x),
    "index that differs by example": lambda x: x[np.argmax(-x)] + x[np.argsort(-x)[0]],
    "assignment": lambda x: assigned(x),
    "mask operators": lambda x: np.where((x > 0.5) & ~(x > 1.5) | (x == 0), x, 0),
    "reshape": lambda x: np.reshape(x, (3, 1)) + np.reshape(x, (1, -1)),
    "transpose": lambda x: np.outer(x, x).T[0],
    "concatenate": lambda x: np.concatenate([x, x[::-1]]),
    "stack": lambda x: np.stack([x, 2 * x], axis=-1),
    "softmax": lambda x: nn.functional.softmax(x),
    "max": lambda x: np.max(x) - np.min(x, keepdims=True),
    "cumsum": lambda x: np.cumsum(x),
    "sorted": lambda x: np.sort(-x),
    "linear algebra": lambda x: np.linalg.solve(np.outer(x, x) + np.eye(3), x),
    "constants only": lambda x: np.ones(2),
    "length and iteration": lambda x: sum(float(i) * x[i] for i in range(len(x))) + sum(x),
    "shape": lambda x: x * x.shape[0] * x.ndim * np.size(x),
    "astype": lambda x: (x > 1).astype(float) * x if isinstance(x, tg.Value) else (x > 1) * x,
}


def assigned(x: Any) -> Any:
    x = x.copy()
    x[0] = x[1] * x[2]
    return x


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_vmap_agrees_with_the_loop(name: str) -> None:
    f = FUNCTIONS[name]
    close(tg.vmap(f)(ROWS), loop(f, ROWS))
    total = lambda x: np.sum(f(x))
    close(tg.vmap(tg.grad(total))(ROWS), loop(tg.grad(total), ROWS))
    close(
        tg.grad(lambda r: np.sum(tg.vmap(f)(r) ** 2))(ROWS),
        tg.grad(lambda r: np.sum(np.stack([f(x) for x in r]) ** 2))(ROWS),
    )


@pytest.mark.parametrize("transform", [tg.hessian, tg.jacobian, tg.elementwise_grad])
def test_transforms_inside_and_outside(transform: Any) -> None:
    f = lambda x: np.sum(np.sin(x) * x**2) * x[0]
    close(tg.vmap(transform(f))(ROWS), loop(transform(f), ROWS))
    close(
        tg.vmap(tg.jacobian(f, mode="forward"))(ROWS),
        loop(tg.jacobian(f, mode="forward"), ROWS),
    )
    tangent = lambda x, t: tg.jvp(f, (x,), (t,))[1]
    close(tg.vmap(tangent)(ROWS, 2 * ROWS), loop(tangent, ROWS, 2 * ROWS))
    close(
        tg.jacobian(lambda r: tg.vmap(f)(r))(ROWS),
        tg.jacobian(lambda r: np.stack([f(x) for x in r]))(ROWS),
    )


def test_axes_of_arguments_and_results() -> None:
    f = lambda x, y: x + y
    close(tg.vmap(f, in_axes=(1, None))(ROWS, np.ones(4)), ROWS.T + 1)
    close(tg.vmap(f, in_axes=(-1, 0))(ROWS.T, ROWS), 2 * ROWS)
    close(tg.vmap(f, in_axes=(0, None), out_axes=1)(ROWS, 1.0), ROWS.T + 1)
    close(tg.vmap(f, out_axes=-1)(ROWS, ROWS), 2 * ROWS.T)
    both = tg.vmap(lambda x: (x, {"sum": x.sum()}), out_axes=(1, 0))(ROWS)
    close(both[0], ROWS.T)
    close(both[1]["sum"], ROWS.sum(axis=1))
    close(
        tg.vmap(lambda p: p["a"] * p["b"], in_axes=({"a": 0, "b": None},))(
            {"a": ROWS, "b": np.ones(3)}
        ),
        ROWS,
    )
    close(tg.vmap(lambda x, scale=1.0: x * scale)(ROWS, scale=np.arange(4.0)), ROWS * np.c_[:4])


def test_nested_maps_give_tables() -> None:
    table = tg.vmap(tg.vmap(lambda x, y: x @ y, (0, None)), (None, 0))
    close(table(ROWS, 2 * ROWS), 2 * ROWS @ ROWS.T)
    pairs = tg.vmap(lambda x: tg.vmap(lambda y: x * y)(x))
    close(pairs(ROWS), ROWS[:, None, :] * ROWS[:, :, None])
    close(
        tg.vmap(lambda x: tg.vmap(lambda y: np.sum(x) * y)(W))(ROWS), ROWS.sum(1)[:, None, None] * W
    )


def test_a_value_of_the_outside_gets_the_sum_over_the_examples() -> None:
    w = tg.Value(W)
    tg.vmap(lambda x: np.tanh(x @ w).sum())(ROWS).sum().backward()
    other = tg.Value(W)
    np.tanh(ROWS @ other).sum().backward()
    close(w.grad, other.grad)
    b = tg.Value(2.0)
    tg.vmap(lambda x: b)(ROWS).sum().backward()
    assert b.grad == 4


def test_per_example_gradients_of_a_model() -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh(), nn.Linear(4, 1, rng=1))
    loss = lambda model, x: np.sum(model(x) ** 2)
    grads = tg.vmap(tg.grad(loss), in_axes=(None, 0))(model, ROWS.astype(np.float32))
    each = [tg.grad(loss)(model, x).parameters() for x in ROWS.astype(np.float32)]
    for i, g in enumerate(grads.parameters()):
        np.testing.assert_allclose(g.data, np.stack([e[i].data for e in each]), rtol=1e-4)


def test_an_inner_leaf_belongs_to_each_example() -> None:
    close(tg.vmap(lambda x: tg.grad(lambda y: y * x)(3.0))(ROWS[:, 0]), ROWS[:, 0])
    w = tg.Value(0.5)
    f = lambda w: tg.vmap(lambda x: tg.grad(lambda y: np.sin(y) * x * w)(w))(ROWS[:, 1]).sum()
    g = lambda w: sum(np.cos(w) * x * w for x in ROWS[:, 1])
    close(tg.grad(f)(0.5), tg.grad(g)(0.5))
    close(f(w).data, g(0.5))


def test_ragged_branches_and_numbers_are_refused() -> None:
    for f in (
        lambda x: x if x.sum() > 0 else -x,
        lambda x: float(x[0]) * x,
        lambda x: [1.0, 2.0][int(x[0])],
        lambda x: np.asarray(x),
        lambda x: x.item(),
        lambda x: x.tolist(),
        lambda x: f"{x[0]:.2f}",
    ):
        with pytest.raises(TypeError, match=r"inside vmap|would lose"):
            tg.vmap(f)(ROWS)
    with pytest.raises(ValueError, match="shape"):
        tg.vmap(lambda x: x[x > 1])(ROWS)
    with pytest.raises(TypeError, match="backward"):
        tg.vmap(lambda x: x.sum().backward())(ROWS)


def test_calls_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="different numbers of examples"):
        tg.vmap(lambda x, y: x + y)(ROWS, W)
    with pytest.raises(ValueError, match="no argument is mapped"):
        tg.vmap(lambda x: x, in_axes=None)(ROWS)
    with pytest.raises(ValueError, match="no axis 0"):
        tg.vmap(lambda x, y: x + y)(ROWS, 1.0)
    with pytest.raises(ValueError, match="2 arguments"):
        tg.vmap(lambda x, y: x + y, in_axes=(0,))(ROWS, ROWS)
    with pytest.raises(TypeError, match="an axis is an int"):
        tg.vmap(lambda x: x, in_axes=("a",))(ROWS)


def test_no_examples_and_one() -> None:
    assert tg.vmap(lambda x: np.sin(x) @ W)(np.ones((0, 3))).shape == (0, 2)
    assert tg.vmap(lambda x: np.linalg.inv(np.outer(x, x) + np.eye(3)))(np.ones((0, 3))).shape == (
        (0, 3, 3)
    )
    close(tg.vmap(np.sin)(ROWS[:1]), np.sin(ROWS[:1]))


def test_float32_and_weak_numbers() -> None:
    x = ROWS.astype(np.float32)
    assert tg.vmap(lambda x: 2.0 * x + 1)(x).dtype == np.float32
    assert tg.vmap(lambda x: 2.0 * x.sum() + 1)(x).dtype == np.float32
    assert type(tg.vmap(np.sin)(x)) is np.ndarray


def test_an_own_primitive_without_a_batching_rule_is_looped_over(own_primitives: None) -> None:
    def largest_first(x: Any) -> Any:
        assert np.ndim(x) == 1  # it sees one example
        return x[::-1].copy()

    op = tg.primitive(largest_first, lambda g, out, x: g[::-1], name="backwards")
    close(tg.vmap(op)(ROWS), ROWS[:, ::-1])
    close(tg.vmap(tg.grad(lambda x: op(x)[0] ** 2))(ROWS), loop(lambda x: [0, 0, 2 * x[2]], ROWS))


def test_nothing_is_left_behind() -> None:
    gc.collect()  # what earlier tests left in cycles
    before = sum(type(x) is Batched for x in gc.get_objects())
    tg.vmap(tg.hessian(lambda x: np.sum(np.sin(x) * x)))(ROWS)
    tg.jacobian(np.sin)(ROWS)
    with pytest.raises(ZeroDivisionError):
        tg.vmap(lambda x: x / (1 // 0))(ROWS)
    assert not running
    assert sum(type(x) is Batched for x in gc.get_objects()) == before


def test_a_vmap_elsewhere_changes_no_sweep() -> None:
    leaked = []
    tg.vmap(lambda x: (leaked.append(x), x)[1])(np.ones(3))
    x = tg.Value(2.0)
    y = x * x
    x.data = 5.0
    y.backward()  # differentiates where y was computed
    assert x.grad == 4
    leaked.clear()


def test_answers_without_a_gradient_are_each_examples_own() -> None:
    x = np.arange(24.0).reshape(2, 3, 4) % 7
    for f in (
        lambda a: np.isin(a, a[0]),
        lambda a: np.packbits(a > 2),
        lambda a: np.argmax(a, keepdims=True),
        lambda a: np.argmax(a, 1),
        lambda a: np.argsort(a, 0),
        lambda a: np.all(a > 1, axis=0),
        lambda a: np.count_nonzero(a),
        lambda a: np.isclose(a, 3.0),
        lambda a: np.searchsorted(a[0], 2.0),
    ):
        found = tg.vmap(f)(x)
        np.testing.assert_array_equal(found, loop(f, x))
        assert found.dtype == np.asarray(f(x[0])).dtype
    with pytest.raises(TypeError, match="outside of vmap"):
        tg.vmap(lambda a: np.nonzero(a)[0])(x)


def test_containers_of_axes() -> None:
    from collections import OrderedDict

    tree = OrderedDict(b=np.ones((3, 2)), a=np.ones((2, 3)))
    shapes: list[Any] = []
    f = lambda p: (shapes.append((p["b"].shape, p["a"].shape)), p["b"].sum())[1]
    tg.vmap(f, in_axes=(OrderedDict(b=0, a=1),))(tree)
    assert shapes == [((2,), (2,))]
    with pytest.raises(ValueError, match="out_axes"):
        tg.vmap(lambda x: x, out_axes=(0, 1))(ROWS)
    with pytest.raises(ValueError, match="in_axes"):
        tg.vmap(lambda t: t[0], in_axes=((0, 0),))((ROWS, ROWS, ROWS))
    assert tg.vmap(lambda x: (x, 3), out_axes=(0, None))(ROWS)[1] == 3
    with pytest.raises(ValueError, match="differs"):
        tg.vmap(lambda x: x, out_axes=None)(ROWS)
    assert tg.vmap(lambda x: 3)(ROWS).dtype == np.int64


def test_assignment_of_constants_inside() -> None:
    def f(x: Any) -> Any:
        with tg.no_grad():
            v = x.copy()
            v[0] = x[1]
            w = tg.Value(np.zeros(3), requires_grad=False)
            w[1] = x[2]
        return v + w

    close(tg.vmap(f)(ROWS), loop(lambda x: [x[1], x[1] + x[2], x[2]], ROWS))


def test_arrays_indexed_by_what_differs() -> None:
    table, at = np.eye(3) * 2, np.array([0, 2])
    expected = table[at]
    close(tg.vmap(lambda t, i: t[i], in_axes=(None, 0))(table, at), expected)
    close(tg.vmap(lambda t, i: np.take(t, i, axis=0), in_axes=(None, 0))(table, at), expected)
    with pytest.raises(TypeError, match="must be a Value"):
        tg.vmap(lambda i: table[i])(at)
    f = lambda x, j: np.sum(np.take(x, j, mode="wrap") ** 2)
    found = tg.vmap(tg.grad(f))(np.ones((2, 3)), np.array([[4], [5]]))
    close(found, [[0, 2, 0], [0, 0, 2]])
    assert tg.vmap(lambda x, i: x[i])(np.ones((0, 3)), np.ones(0, int)).shape == (0,)
    with pytest.raises(ValueError, match="no axis 3"):
        tg.vmap(lambda x: x, out_axes=3)(np.ones((2, 3)))


def test_few_operations_are_looped_over() -> None:
    """A forgotten `batch=` shows only in the time it takes: whoever means it says so here."""
    looped = {name for name, op in registry.items() if op.batch is one_by_one and ours(op)}
    assert looped <= {
        *("convolve", "convolve_valid", "interp"),
        *("solve_sylvester", "ctc"),
    }


AFFINE = {
    "one": ((4,), (6, 4), (6,)),
    "rows": ((5, 4), (6, 4), (6,)),
    "no bias": ((4,), (6, 4), ()),
}


@pytest.mark.parametrize("shapes", AFFINE.values(), ids=AFFINE)
@pytest.mark.parametrize("axes", [(0, None, None), (0, 0, None), (None, 0, 0), (0, 0, 0)])
def test_an_affine_map_is_batched_with_any_of_its_operands(shapes: Any, axes: Any) -> None:
    rng = np.random.default_rng(0)
    args = [rng.random(shape if a is None else (3, *shape)) for shape, a in zip(shapes, axes)]

    def f(x: Any, w: Any, b: Any) -> Any:
        return np.sum(np.sin(tg.nn.functional.linear(x, w, b)))

    for g in (f, tg.grad(f, argnums=(0, 1, 2))):
        each = [g(*(x if a is None else x[i] for x, a in zip(args, axes))) for i in range(3)]
        found = tg.vmap(g, in_axes=axes)(*args)
        if g is f:
            close(found, each)
        else:
            for part, expected in zip(found, zip(*each)):
                close(part, np.stack(expected))


@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("shape", [(4,), (5, 4), (2, 4, 3)])
@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_costs_are_batched(reduction: str, shape: Any, axes: Any) -> None:
    rng = np.random.default_rng(0)
    z = rng.random(shape if axes[0] is None else (3, *shape))
    own = shape[:-1] if len(shape) < 3 else (shape[0], *shape[2:])
    for rows, targets in ((own, rng.integers(0, 4, (3, *own))), (shape, rng.random((3, *shape)))):
        y = targets[0] if axes[1] is None else targets

        def cost(z: Any, y: Any) -> Any:
            return np.sum(tg.nn.functional.cross_entropy(z, y, reduction=reduction) ** 2)

        def half(z: Any, y: Any) -> Any:
            return tg.nn.functional.quadratic(z, y)

        for f in (cost, half) if rows == shape else (cost,):
            for g in (f, tg.grad(f)):
                each = [
                    g(z if axes[0] is None else z[i], y if axes[1] is None else y[i])
                    for i in range(3)
                ]
                close(tg.vmap(g, in_axes=axes)(z, y), np.stack(each))


def ours(op: Any) -> bool:
    return all(rule.__module__.startswith("tensorgrad.") for rule in op.formulas)


@pytest.mark.parametrize("inside", [lambda r, x: np.sum(r * x), lambda r, x: r[0] * x[1]])
def test_a_leaf_used_outside_of_a_vmap_too_receives_the_sum_of_all(inside: Any) -> None:
    """What its users outside sent is summed in place; what comes out of a vmap is no array."""
    x = tg.Value(np.ones(3))
    y = tg.vmap(lambda r: inside(r, x))(ROWS)
    (np.sum(y) + np.sum(2 * x) + np.sum(3 * x)).backward()
    slope = sum(tg.grad(lambda x, r=r: inside(r, x))(np.ones(3)) for r in ROWS)
    close(x.grad, slope + 5)


@pytest.mark.parametrize("first", [0, 1])
def test_rows_of_a_jacobian_meet_functions_without_a_slope(first: int) -> None:
    f = lambda x: 2 * x[first:] + np.floor(x)[first:] + np.round(x)[first:]
    close(tg.jacobian(f)(np.ones(3)), 2 * np.eye(3)[first:])
