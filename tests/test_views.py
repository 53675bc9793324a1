"""Writes: a Value that is written into, through any name, is what NumPy's array would be; and what
was computed before has still the numbers that it was computed from.

NumPy is the reference for the numbers: the same program runs on arrays. For the gradient it runs on
complex arrays, with a tiny imaginary step along a direction (complex step: Squire and Trapp 1998).
"""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import Value

VIEWS: dict[str, Callable[[Any], Any]] = {
    "x[0]": lambda x: x[0],
    "x[..., -1]": lambda x: x[..., -1:],
    "x[::-1]": lambda x: x[::-1],
    "x[None]": lambda x: x[None],
    "x.T": lambda x: x.T,
    "reshape(-1)": lambda x: x.reshape(-1),
    "reshape F": lambda x: np.reshape(x, (-1, 1), order="F"),
    "ravel": np.ravel,
    "ravel F": lambda x: np.ravel(x, "F"),
    "swapaxes": lambda x: x.swapaxes(0, -1),
    "moveaxis": lambda x: np.moveaxis(x, 0, -1),
    "flip": np.flip,
    "expand_dims": lambda x: np.expand_dims(x, -1),
    "squeeze": np.squeeze,
    "atleast_2d": np.atleast_2d,
    "split": lambda x: np.array_split(x, 2)[0],
    "a row of it": lambda x: next(iter(x)),
    "rot90": lambda x: np.rot90(x) if x.ndim > 1 else x,
    "einsum": lambda x: np.einsum("ij->ji", x) if x.ndim == 2 else x,
    "a diagonal": lambda x: np.einsum("ii->i", x[:2, :2]) if x.shape == (2, 3) else x,
    "a copy": lambda x: x.copy(),
    "a copy, flat": lambda x: x.flatten(),
    "a copy of x.T, flat": lambda x: x.T.copy().ravel(),
    "a new array": lambda x: x * x,
    "a read": lambda x: x[[0, 0]],
}


def into(x: Any, y: Any) -> None:
    x[0] = y


def halved(x: Any, y: Any) -> None:
    x /= 2


def plus(x: Any, y: Any) -> None:
    x += y


def scaled(x: Any, y: Any) -> None:
    x[..., :1] *= y


def powers(x: Any, y: Any) -> None:
    x **= 2


def minus_row(x: Any, y: Any) -> None:
    x[-1] -= x[0] * y


def masked(x: Any, y: Any) -> None:
    x[np.arange(len(x)) % 2 == 0] = y


def filled(x: Any, y: Any) -> None:
    np.copyto(x, y)


WRITES = (into, halved, plus, scaled, powers, minus_row, masked, filled)
X = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
D = np.array([[1.0, -2.0, 0.5], [-1.0, 1.5, 2.0]])
steps = st.lists(
    st.tuples(
        st.sampled_from([*VIEWS, *WRITES]),
        st.integers(0, 100),
        st.sampled_from([None, 0.5, -1.5]),
        st.integers(0, 100),
    ),
    max_size=8,
)


def program(x: Any, steps: Any) -> list[Any]:
    """All names at the end, of views, copies and what was computed on the way."""
    names = [x * 1.0]
    for what, at, number, other in steps:
        name = names[at % len(names)]
        if callable(what):
            y = names[other % len(names)]
            if number is not None:
                y = number
            elif y.size != 1:
                y = y.sum()
            what(name, y)
        elif name.ndim and name.shape[0]:
            made = VIEWS[what](name)
            names += [made] if made.ndim else []
    return names


def weighted(names: list[Any]) -> Any:
    """A number that depends on every entry of every name in another way."""
    return sum(
        np.sum(x * np.cos(np.arange(x.size) + i).reshape(x.shape)) for i, x in enumerate(names)
    )


@given(steps=steps)
def test_names_show_what_numpys_show_and_the_gradient_follows(steps: Any) -> None:
    expected = program(X, steps)
    if any(np.abs(x).max(initial=0) > 1e3 for x in expected):
        return
    names = program(Value(X), steps)
    for name, array in zip(names, expected, strict=True):
        np.testing.assert_allclose(name.data, array, rtol=1e-12, atol=1e-12)

    def f(x: Any) -> Any:
        return weighted(program(x, steps))

    slope = f(X + 1e-30j * D).imag / 1e-30
    found = tg.grad(f)(X)
    np.testing.assert_allclose(np.sum(found * D), slope, rtol=1e-9, atol=1e-9)
    each = tg.vmap(tg.value_and_grad(f))(np.stack([D, X]))
    np.testing.assert_allclose(each[0], [f(D), f(X)], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(each[1][1], found, rtol=1e-9, atol=1e-9)


SHARES: dict[str, Callable[[Any], Any]] = {
    "flatten": lambda x: x.flatten(),
    "flatten of a row": lambda x: x[0].flatten(),
    "tile": lambda x: np.tile(x, 1),
    "tile of a row": lambda x: np.tile(x[0], (1, 1)),
    "meshgrid": lambda x: np.meshgrid(x[0])[0],
    "meshgrid, columns": lambda x: np.meshgrid(x[0], x[1])[0],
    "meshgrid, sparse": lambda x: np.meshgrid(x[0], x[1], sparse=True)[0],
    "meshgrid, no copy": lambda x: np.meshgrid(x[0], copy=False)[0],
    "block": lambda x: np.block(x),
    "conj": lambda x: x.conj(),
    "np.conj": np.conj,
    "einsum": lambda x: np.einsum("ij->ji", x),
    "einsum, a diagonal": lambda x: np.einsum("ii->i", x[:, :2]),
    "einsum, a sum": lambda x: np.einsum("ij->i", x),
    "x.T.copy": lambda x: x.T.copy(),
    "one entry": lambda x: x[0, 1, ...],
    "one entry, squeezed": lambda x: x[:1, :1].squeeze(),
    "one entry, reshaped": lambda x: x[:1, :1].reshape(()),
    "one entry and back": lambda x: x[0, 1, ...][None],
    "a column of a transposed copy": lambda x: x.T.copy().ravel()[:2],
}


def written_both_ways(name: str, x: Any) -> tuple[Any, Any]:
    """What is seen of a write into an array in what shows it, and the other way round."""
    x = x * 1.0
    made = SHARES[name](x)
    x[...] = 7.0
    after, made = made * 1.0, SHARES[name](x)
    made[...] = 8.0
    made += 1.0
    return after, x


@pytest.mark.parametrize("name", SHARES)
def test_who_shares_memory_in_numpy_shares_numbers(name: str) -> None:
    def both_ways(x: Any) -> tuple[Any, Any]:
        return written_both_ways(name, x)

    expected = both_ways(X)
    for found in (both_ways(Value(X)), tg.vmap(both_ways)(X[None])):
        for a, b in zip(found, expected, strict=True):
            a = a.data if isinstance(a, Value) else a[0]
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "diagonal", [np.diagonal, np.diag, np.linalg.diagonal, lambda x: x.T.diagonal(1)]
)
def test_a_diagonal_shows_what_is_there_now(diagonal: Any) -> None:
    x = Value(X) * 1.0
    seen = diagonal(x)
    x += 1.0
    np.testing.assert_array_equal(seen.data, diagonal(X + 1.0))


def test_a_transposed_copy_lies_in_memory_as_numpys_does() -> None:
    for x in (X, Value(X)):
        copied = x.T.copy()
        copied.reshape(-1)[::2] = 0.0
        assert copied[:, 0].tolist() == [0.0, 0.0, 0.0]


def test_a_name_and_a_retained_gradient_stay_with_what_is_written_into() -> None:
    for write in (lambda x, r: x.__setitem__(1, 5.0), lambda x, r: r.__imul__(2.0)):
        x = Value([1.0, 2.0, 3.0]) * 1.0
        r = x[1:]
        for v, name in ((x, "x"), (r, "r")):
            v.name = name
            v.retain_grad()
        write(x, r)
        np.sum(x * x).backward()
        assert (x.name, r.name) == ("x", "r")
        np.testing.assert_array_equal(x.grad, 2 * x.data)
        np.sum(r * r).backward()
        np.testing.assert_array_equal(r.grad, 2 * r.data)


# What was computed before a write has the numbers that it was computed from.


def test_readers_keep_the_old_numbers_when_a_leaf_is_written_into_under_no_grad() -> None:
    for write in (
        lambda w: w.__setitem__(0, 100.0),
        lambda w: w.T.__setitem__(0, 100.0),
        lambda w: w.__imul__(100.0),
        lambda w: [row.__iadd__(1.0) for row in w],
        lambda w: np.fill_diagonal(w, 7.0),
    ):
        w = Value([[1.0, 2.0], [3.0, 4.0]])
        y = np.sum(w * w)
        with tg.no_grad():
            write(w)
        assert (w.op, w.requires_grad) == (None, True)
        y.backward()
        assert w.grad.tolist() == [[2, 4], [6, 8]]
        assert w.data.tolist() != [[1, 2], [3, 4]]
        z = np.sum(w * w)
        w.grad = None
        z.backward()
        np.testing.assert_array_equal(w.grad, 2 * w.data)


@pytest.mark.parametrize(
    "write",
    [
        lambda x: x.__iadd__(1.0),
        lambda x: x.__setitem__(0, 1.0),
        lambda x: x.T.__setitem__(0, 1.0),
        lambda x: x[0].__imul__(2.0),
        lambda x: np.ravel(x).__setitem__(0, 1.0),
        lambda x: np.fill_diagonal(x[:, :1], 1.0),
    ],
)
def test_a_leaf_that_requires_grad_is_not_hidden_through_any_name(write: Any) -> None:
    x = Value([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"v = v\.copy\(\).*no_grad"):
        write(x)
    assert (x.op, x.data.tolist()) == (None, [[1, 2]])
    with pytest.raises(ValueError, match=r"v = v\.copy\(\)"):
        tg.grad(lambda x: write(x) or np.sum(x))(np.ones((1, 2)))


def test_a_result_is_not_cut_off_its_graph_under_no_grad() -> None:
    y = Value([1.0, 2.0]) * 2
    for write in (lambda: y.__setitem__(0, 5.0), lambda: y[:1].__iadd__(1.0)):
        with tg.no_grad(), pytest.raises(ValueError, match="multiply under no_grad"):
            write()
    assert y.requires_grad
    assert y.data.tolist() == [2, 4]


def test_in_place_results_have_the_shape_and_dtype_that_there_is() -> None:
    x = Value(np.float32([1, 2]), requires_grad=False)
    x += Value(np.float64([0.5, 0.5]))
    assert (x.dtype, x.data.tolist(), x.requires_grad) == (np.float32, [1.5, 2.5], True)
    with pytest.raises(ValueError, match=r"shape \(3, 2\)"):
        x += np.ones((3, 2))
    n = Value(np.array([1, 2]), requires_grad=False)
    with pytest.raises(TypeError, match="float64 would be cut off in int64"):
        n += 0.5
    assert (x.shape, n.data.tolist()) == ((2,), [1, 2])


def test_numbers_are_rebound_as_numpys_are() -> None:
    a = b = Value(1.0)
    b += 1
    assert (a.item(), b.item()) == (1, 2)


def test_what_numpy_has_read_only_is_read_only() -> None:
    with pytest.raises(ValueError, match="several places"):
        np.broadcast_to(Value([1.0, 2.0]) * 1, (3, 2))[0, 0] = 5.0
    with pytest.raises(TypeError, match="write into that as a whole"):
        (Value([1 + 2j]) * 1).imag[0] = 5.0


def test_flat_is_indexed_and_written_into() -> None:
    def f(x: Any) -> Any:
        y = x.copy()
        y.flat[::4] = 0  # the diagonal
        y.T.flat[1] = y.flat[3] ** 2
        return sum(y.flat)

    x = np.arange(1.0, 10).reshape(3, 3)
    value, gradient = tg.value_and_grad(f)(x)
    assert value == f(x)
    np.testing.assert_array_equal(gradient, [[0, 1, 1], [8, 0, 1], [1, 1, 0]])


def test_a_view_kept_through_many_writes_does_not_recur() -> None:
    x = Value(np.zeros(5000)) * 1
    rest = x
    while len(rest) > 1:
        rest = rest[1:]
    x[-1] = 3.0
    assert rest.tolist() == [3]
    rest += 1
    assert x.data[-1] == 4


# Filling.


def trajectory(rate: Any, n: int, row: Any) -> Any:
    x = np.zeros_like(rate * np.zeros((n, *np.shape(row))))
    x[0] = row
    for i in range(n - 1):
        x[i + 1] = x[i] + 1e-3 * rate * x[i]
    return x


@pytest.mark.parametrize("row", [1.0, np.array([1.0, 2.0])])
def test_filling_item_by_item_takes_linear_memory(row: Any) -> None:
    def bytes_kept(n: int) -> int:
        tracemalloc.start()
        kept = trajectory(Value(1.0), n, row)
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept.requires_grad
        return size

    trajectory(Value(1.0), 3, row)
    assert bytes_kept(1200) < 3 * bytes_kept(600)


def test_what_was_filled_is_right_at_any_order_and_explained_with_its_numbers() -> None:
    def end(rate: Any) -> Any:
        x = trajectory(rate, 4, 1.0)
        early = np.sum(x[:2] * x[:2])  # read before the next write
        x[2] = early * x[2]
        return x[2] * np.sum(x)

    def plain(r: Any) -> Any:
        x = [(1 + 1e-3 * r) ** i for i in range(4)]
        x[2] *= x[0] ** 2 + x[1] ** 2
        return x[2] * sum(x)

    h = 1e-3
    at = [plain(2.0 + k * h) for k in (-1, 0, 1)]
    np.testing.assert_allclose(end(Value(2.0)).item(), at[1], rtol=1e-14)
    np.testing.assert_allclose(tg.grad(end)(2.0), (at[2] - at[0]) / (2 * h), rtol=1e-6)
    second = (at[2] - 2 * at[1] + at[0]) / h**2
    np.testing.assert_allclose(tg.hessian(end)(2.0), second, rtol=1e-4)
    rate = Value(2.0, name="rate")
    y = end(rate)
    assert "nan" not in str(tg.viz.explain(y, rate))
    assert not any(np.isnan(v.data).any() for v in ancestors(y))


def ancestors(value: Value) -> list[Value]:
    found = [value]
    for v in found:
        found += [
            x for x in v.operands if isinstance(x, Value) and x.node not in {f.node for f in found}
        ]
    return found


# Arrays made like a Value can be filled with Values.


@pytest.mark.parametrize("like", [np.zeros_like, np.empty_like, np.ones_like])
def test_an_array_like_a_value_can_be_filled(like: Any) -> None:
    def f(x: Any) -> Any:
        z = like(x)
        z[0], z[1:] = x[1], 2 * x[:-1]
        return np.sum(z * z)

    x = np.array([1.0, 2.0, 3.0])
    expected = 2 * x * [4, 5, 0]
    np.testing.assert_allclose(tg.grad(f)(x), expected)
    np.testing.assert_allclose(np.diag(tg.hessian(f)(x)), [8, 10, 0])
    np.testing.assert_allclose(tg.vmap(tg.grad(f))(np.stack([x, 2 * x])), [expected, 2 * expected])
    np.testing.assert_allclose(tg.vmap(f)(np.stack([x, x])), [f(x), f(x)])
    v = Value(x)
    f(v).backward()
    np.testing.assert_allclose(v.grad, expected)


@pytest.mark.parametrize(
    "transform", [tg.grad, tg.vmap, tg.jacobian, tg.hessian, tg.value_and_grad]
)
def test_a_plain_array_that_a_value_is_written_into_says_what_to_write(transform: Any) -> None:
    def f(x: Any) -> Any:
        z = np.zeros(3)
        z[0] = x[1]
        return np.sum(z)

    with pytest.raises(TypeError, match=r"np\.zeros\(shape, like=value\)"):
        transform(f)(np.ones((3, 3)) if transform is tg.vmap else np.ones(3))


# Nothing is cut off its gradient in silence inside of a transform.


@pytest.mark.parametrize(
    "same", [copy.copy, copy.deepcopy, lambda x: copy.deepcopy([x])[0], lambda x: x.copy()]
)
def test_a_copy_keeps_the_gradient(same: Any) -> None:
    x = np.array([1.0, 2.0])
    found = tg.grad(lambda x: np.sum(same(x) * same(x)))(x)
    np.testing.assert_array_equal(found, 2 * x)


@pytest.mark.parametrize(
    "lost",
    [
        lambda x: pickle.loads(pickle.dumps(x)),
        lambda x: with_data(Value(np.zeros(2)), x),
        lambda x: Value(x),
        lambda x: np.array(x),
        lambda x: np.stack([float(x[0]), x[1]]),
        lambda x: np.array([x[0], x[1]]),
    ],
)
def test_what_cannot_keep_it_raises(lost: Any) -> None:
    with pytest.raises(TypeError, match="would lose its gradient"):
        tg.grad(lambda x: np.sum(lost(x)))(np.array([1.0, 2.0]))


def with_data(p: Value, x: Any) -> Value:
    p.data = x
    return p


def test_a_state_dict_of_what_is_differentiated_raises_and_a_deepcopy_is_differentiated() -> None:
    model, x = tg.nn.Linear(2, 1, rng=0), np.float32([[1, 2]])
    found = tg.grad(lambda m: np.sum(copy.deepcopy(m)(x)))(model)
    np.testing.assert_array_equal(found.weight.data, x)
    with pytest.raises(TypeError, match="'weight' is being differentiated"):
        tg.grad(lambda m: m.state_dict() and np.sum(m(x)))(model)
    tg.grad(lambda x: model.state_dict() and np.sum(model(x)))(x)  # nobody differentiates by it


# Changes through `.data` are the user's business, but who looks back says so.


def test_what_looks_back_at_data_that_were_changed_in_place_says_so() -> None:
    def square(w: Value) -> Any:
        return np.sum(w * w)

    def squared(w: Any) -> Any:
        return np.sum(w * w)

    mine = tg.custom_vjp(squared)
    mine.defvjp(lambda w: (squared(w), w), lambda w, g: (2 * g * w,))
    for f in (square, tg.checkpoint(square), mine):
        w = Value([1.0, 2.0])
        y = f(w)
        w.data -= 0.5
        with pytest.raises(RuntimeError, match="since"):
            y.backward(create_graph=True)


def test_a_checkpoint_that_reads_a_name_that_moved_says_so() -> None:
    w = Value([1.0, 2.0])
    h = w * 2
    y = tg.checkpoint(lambda: np.sum(h * h))()
    z = tg.checkpoint(lambda h: np.sum(h * h))(h)
    h[0] = 5.0
    with pytest.raises(RuntimeError, match="changed since"):
        y.backward()
    z.backward()  # an argument is what it was
    assert w.grad.tolist() == [8, 16]


def test_debug_finds_a_result_that_was_changed_through_its_data_before_it_is_used() -> None:
    with tg.debug():
        y = np.exp(Value([1.0, 2.0]))
        y[:1].data[0] = 100.0
        with pytest.raises(RuntimeError, match=r"result of exp .* before multiply .*np\.exp"):
            y * y


@pytest.mark.parametrize("i", [(..., slice(1)), (0, ...), (slice(1), slice(2)), (..., 2), ...])
@pytest.mark.parametrize(
    "reshaped", [np.ravel, lambda x: x.reshape(-1), lambda x: x.reshape((*x.shape, 1)), np.squeeze]
)
def test_what_is_read_of_a_written_array_is_a_view_where_numpys_is(i: Any, reshaped: Any) -> None:
    def seen(x: Any) -> Any:
        x[0, 0] = 4.0
        made = reshaped(x[i])
        x[...] = 7.0
        return made

    np.testing.assert_array_equal(seen(Value(X) * 1.0).data, seen(X * 1.0))
