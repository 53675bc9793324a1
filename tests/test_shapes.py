"""Shapes, order, joining, splitting, padding, sets: everything that moves entries about.

Most of it is linear: each result entry is an operand's entry, or a constant. So NumPy's own result
on the numbers of the entries would tell the gradient; here central differences do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.engine.primitive import registry
from tests.numerical import assert_gradient

Array = Any
NUMPY = np.lib.NumpyVersion(np.__version__)

CALLS: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    "reshape F": (lambda a: np.reshape(a, (3, 2), order="F"), [(2, 3)]),
    "reshape f, -1": (lambda a: np.reshape(a, (-1, 2), order="f"), [(2, 3)]),
    "reshape to a number": (lambda a: np.reshape(a, ()), [(1, 1)]),
    "reshape copy": (lambda a: np.reshape(a, (3, 2), copy=True), [(2, 3)]),
    "reshape no copy": (lambda a: np.reshape(a, shape=6, order="A", copy=False), [(2, 3)]),
    "reshape A of a column": (lambda a: np.reshape(a, (2, 2), order="A"), [(4, 1)]),
    "ravel F": (lambda a: np.ravel(a, order="F"), [(2, 3, 2)]),
    "ravel of a number": (np.ravel, [()]),
    "transpose, negative axes": (lambda a: np.transpose(a, (-1, 0, -2)), [(2, 3, 4)]),
    "permute_dims": (lambda a: np.permute_dims(a, [1, 2, 0]), [(2, 3, 4)]),
    "matrix_transpose": (np.matrix_transpose, [(2, 3, 4)]),
    "rollaxis": (lambda a: np.rollaxis(a, 2), [(2, 3, 4)]),
    "rollaxis to": (lambda a: np.rollaxis(a, -3, start=2), [(2, 3, 4)]),
    "rollaxis to the end": (lambda a: np.rollaxis(a, 0, 3), [(2, 3, 4)]),
    "rollaxis, negative start": (lambda a: np.rollaxis(a, 2, -2), [(2, 3, 4)]),
    "squeeze two": (lambda a: np.squeeze(a, (0, -1)), [(1, 3, 1)]),
    "expand_dims, three": (lambda a: np.expand_dims(a, (0, 2, -1)), [(2, 3)]),
    "atleast_1d": (np.atleast_1d, [()]),
    "atleast_2d": (np.atleast_2d, [(), (3,), (2, 1), (1, 2, 1)]),
    "atleast_3d": (np.atleast_3d, [(), (3,), (3, 2), (1, 2, 1)]),
    "atleast_3d of one": (np.atleast_3d, [(3, 2)]),
    "fliplr": (np.fliplr, [(2, 3)]),
    "flipud": (np.flipud, [(3,)]),
    "rot90": (np.rot90, [(2, 3)]),
    "rot90 twice": (lambda a: np.rot90(a, 2, (2, 0)), [(2, 3, 4)]),
    "rot90 back": (lambda a: np.rot90(a, -1, (0, -1)), [(2, 3, 4)]),
    "rot90 four times": (lambda a: np.rot90(a, k=4), [(2, 3)]),
    "roll by an array": (lambda a: np.roll(a, np.array([1, 1]), (0, -1)), [(2, 3)]),
    "roll twice one axis": (lambda a: np.roll(a, (1, 1), 0), [(5,)]),
    "roll without axis": (lambda a: np.roll(a, (1, 3)), [(2, 3)]),
    "broadcast_to, subok": (lambda a: np.broadcast_to(a, (2, 3), subok=True), [(3,)]),
    "broadcast_arrays": (np.broadcast_arrays, [(3,), (2, 1), ()]),
    "broadcast_arrays, mixed": (lambda a: np.broadcast_arrays(a, [[1.0], [2.0]])[0], [(3,)]),
    "meshgrid": (np.meshgrid, [(2,), (3,), (2,)]),
    "meshgrid of one": (np.meshgrid, [(3,)]),
    "meshgrid of numbers": (np.meshgrid, [(), (2,)]),
    "meshgrid ij": (lambda *a: np.meshgrid(*a, indexing="ij"), [(2,), (3,), (1,)]),
    "meshgrid sparse": (lambda *a: np.meshgrid(*a, sparse=True), [(2,), (3,)]),
    "resize": (lambda a: np.resize(a, (2, 4)), [(2, 3)]),
    "resize smaller": (lambda a: np.resize(a, 4), [(2, 3)]),
    "tile by an array": (lambda a: np.tile(a, np.array([2, 1, 2])), [(2, 2)]),
    "tile by none": (lambda a: np.tile(a, ()), [(2, 2)]),
    "repeat each": (lambda a: np.repeat(a, np.array([2, 0, 1]), axis=-1), [(2, 3)]),
    "repeat each, flattened": (lambda a: np.repeat(a, [1, 2, 0, 1]), [(2, 2)]),
    "concatenate one": (lambda a: np.concatenate(a), [(2, 3)]),
    "concatenate, casting": (lambda *a: np.concatenate(a, 0, casting="no"), [(2,), (3,)]),
    "concatenate, dtype": (lambda *a: np.real(np.concatenate(a, dtype="c16")), [(2,), (3,)]),
    "stack layers": (lambda a: np.stack(a, axis=-1), [(2, 3)]),
    "stack, dtype": (lambda *a: np.stack(a, 1, dtype=np.longdouble) * 1.0, [(2,), (2,)]),
    "append": (np.append, [(2, 2), (3,)]),
    "append a number": (lambda a: np.append(a, 1.0), [(2,)]),
    "append to a list": (lambda a: np.append([1.0, 2.0], a), [(2,)]),
    "append rows": (lambda *a: np.append(*a, axis=0), [(2, 2), (1, 2)]),
    "hstack": (lambda *a: np.hstack(a), [(), (3,)]),
    "hstack of matrices": (lambda *a: np.hstack(a, casting="safe"), [(2, 3), (2, 1)]),
    "vstack": (lambda *a: np.vstack(a, casting="safe"), [(3,), (2, 3), (1, 3)]),
    "vstack of rows": (np.vstack, [(2, 3)]),
    "dstack": (lambda *a: np.dstack(a), [(3,), (1, 3), (1, 3, 2)]),
    "column_stack": (lambda *a: np.column_stack(a), [(3,), (3, 2)]),
    "column_stack of numbers": (lambda *a: np.column_stack(a), [(), ()]),
    "block": (
        lambda a, b, c: np.block([[a, np.zeros((2, 2))], [b, c]]),
        [(2, 1), (1,), (1, 2)],
    ),
    "block of one row": (lambda a, b: np.block([a, b, 3.0]), [(2,), ()]),
    "block deep": (lambda a, b: np.block([[[a], [b]]]), [(2,), (1, 2)]),
    "block of nothing but itself": (np.block, [(2, 3)]),
    "split by an array": (lambda a: np.split(a, np.array([1, 3])), [(5, 2)]),
    "array_split, uneven": (lambda a: np.array_split(a, 4), [(6,)]),
    "hsplit": (lambda a: np.hsplit(a, [1]), [(2, 3)]),
    "hsplit of a vector": (lambda a: np.hsplit(a, 2), [(4,)]),
    "vsplit": (lambda a: np.vsplit(a, 2), [(4, 1)]),
    "dsplit": (lambda a: np.dsplit(a, (1, 2)), [(1, 2, 3)]),
    "unstack": (lambda a: np.unstack(a, axis=-1), [(2, 3)]),
    "insert": (lambda a, v: np.insert(a, 1, v), [(3,), ()]),
    "insert many at one": (lambda a, v: np.insert(a, 1, v), [(2, 2), (3,)]),
    "insert at several": (lambda a, v: np.insert(a, [0, 2, 2], v), [(3,), (3,)]),
    "insert one at several": (lambda a, v: np.insert(a, [-1, 0], v, axis=1), [(2, 2), ()]),
    "insert a row": (lambda a, v: np.insert(a, 1, v, axis=0), [(2, 3), (3,)]),
    "insert a column": (lambda a, v: np.insert(a, 1, v, axis=1), [(2, 3), (2,)]),
    "insert columns": (lambda a, v: np.insert(a, [1], v, axis=1), [(2, 3), (2, 1)]),
    "insert at a slice": (lambda a, v: np.insert(a, slice(0, 2), v), [(3,), (2,)]),
    "insert by a mask": (
        lambda a, v: np.insert(a, np.array([True, False, True]), v),
        [(3,), (2,)],
    ),
    "insert into a list": (lambda v: np.insert([1.0, 2.0], 1, v), [()]),
    "delete": (lambda a: np.delete(a, 1), [(2, 2)]),
    "delete several": (lambda a: np.delete(a, [0, -1, 0], axis=1), [(2, 4)]),
    "delete a slice": (lambda a: np.delete(a, slice(None, None, 2), 0), [(3, 2)]),
    "delete by a mask": (lambda a: np.delete(a, np.array([True, False]), 0), [(2, 2)]),
    "compress": (lambda a: np.compress([True, False, True], a), [(2, 2)]),
    "compress along": (lambda a: np.compress([0, 1], a, axis=-1), [(2, 3)]),
    "extract": (lambda a: np.extract([[True, False], [True, True]], a), [(2, 2)]),
    "extract by its values": (lambda a: np.extract(a > 0, a), [(3, 2)]),
    "tril": (np.tril, [(3, 3)]),
    "tril of a stack": (lambda a: np.tril(a, -1), [(2, 3, 2)]),
    "triu": (lambda a: np.triu(a, k=1), [(2, 3)]),
    "triu of a vector": (np.triu, [(3,)]),
    "diagflat": (lambda a: np.diagflat(a, -1), [(2, 2)]),
    "unique": (np.unique, [(2, 3)]),
    "unique and more": (lambda a: np.unique(a, True, True, return_counts=True), [(4,)]),
    "unique rows": (lambda a: np.unique(a, axis=0), [(3, 2)]),
    "unique columns": (lambda a: np.unique(a, axis=-1, return_inverse=True), [(3, 2)]),
    "unique_all": (np.unique_all, [(4,)]),
    "unique_counts": (np.unique_counts, [(4,)]),
    "unique_inverse": (np.unique_inverse, [(2, 2)]),
    "union1d": (np.union1d, [(3,), (2, 2)]),
    "intersect1d": (lambda a: np.intersect1d(a, a[1:]), [(4,)]),
    "intersect1d, indices": (
        lambda a: np.intersect1d(a, a[::-1], assume_unique=True, return_indices=True),
        [(4,)],
    ),
    "setdiff1d": (lambda a: np.setdiff1d(a, a[:2]), [(4,)]),
    "setdiff1d, unsorted": (lambda a: np.setdiff1d(a, a[:2], assume_unique=True), [(4,)]),
    "setxor1d": (lambda a, b: np.setxor1d(np.append(a, b), np.append(b, b)), [(3,), (2,)]),
    "setxor1d, unique": (lambda a: np.setxor1d(a[1:], a[:3], True), [(4,)]),
    "windows": (lambda a: np.lib.stride_tricks.sliding_window_view(a, (2, 2)), [(3, 4)]),
    "windows, an axis twice": (
        lambda a: np.lib.stride_tricks.sliding_window_view(a, (2, 2), axis=(0, 0)),
        [(4, 2)],
    ),
    "astype": (lambda a: np.astype(a, np.longdouble, copy=False), [(2,)]),
}
PADS: dict[str, tuple[Any, dict[str, Any]]] = {
    "linear_ramp": (((1, 2), (0, 3)), {}),
    "linear_ramp to": (2, {"end_values": 3}),
    "linear_ramp to two": (((2, 1), (1, 0)), {"end_values": ((1, 2), (3, -4))}),
    "maximum": ((1, 2), {}),
    "maximum of two": (2, {"stat_length": 2}),
    "minimum of": (((1, 0), (0, 3)), {"stat_length": ((1, 2), (9, 3))}),
    "mean": (1, {}),
    "mean of": (((1, 2), (3, 4)), {"stat_length": (1, 2)}),
    "median": (2, {}),
    "median of": (2, {"stat_length": ((2, 1), (2, 3))}),
    "reflect": (2, {"reflect_type": "even"}),
    "reflect far": (((7, 5), (9, 0)), {}),
    "reflect odd": (((1, 2), (0, 1)), {"reflect_type": "odd"}),
    "reflect odd, far": (((7, 6), (9, 4)), {"reflect_type": "odd"}),
    "symmetric odd": (((3, 1), (0, 2)), {"reflect_type": "odd"}),
    "symmetric odd, far": (((7, 8), (10, 9)), {"reflect_type": "odd"}),
    "symmetric far": (7, {}),
    "wrap far": ((5, 9), {}),
    "edge": (((0, 0), (3, 1)), {}),
    "constant": ([[1], [2]], {"constant_values": [[1], [2]]}),
    "constant by axis": ((1, 2), {"constant_values": ((1, 2), (3, 4))}),
}
CALLS |= {
    f"pad {name}": (lambda a, n=name: np.pad(a, PADS[n][0], n.split()[0], **PADS[n][1]), [(3, 2)])
    for name in PADS
}
CALLS |= {
    f"pad {mode} {kind} of one": (
        lambda a, m=mode, k=kind: np.pad(a, (2, 3), m, reflect_type=k),
        [(1, 2)],
    )
    for mode in ("reflect", "symmetric")
    for kind in ("even", "odd")
}
CALLS |= {
    "pad a number": (lambda a: np.pad(a, 3, mode="mean"), [()]),
    "pad a number with a constant": (lambda a: np.pad(a, 3), [()]),
    "pad what is empty": (lambda a: np.pad(a, ((0, 0), (2, 1)), "edge"), [(0, 2)]),
    "pad to what is empty": (lambda a: np.pad(a, (2, 1), constant_values=3), [(0,)]),
}
SINCE = {
    "2.1.0": ["reshape copy", "reshape no copy", "unstack", "astype"],
    "2.2.0": ["insert by a mask"],
}
for version, names in SINCE.items():
    for name in names if version > NUMPY else ():
        del CALLS[name]


def parts(results: Any) -> list[Any]:
    return list(results) if isinstance(results, (tuple, list)) else [results]


def differentiable(results: Any) -> Array:
    """All results in one, without indices and counts."""
    return np.concatenate([x for x in parts(results) if x.dtype.kind in "fc"], axis=None)


def spread_out(*shapes: tuple[int, ...]) -> list[Array]:
    """Arrays without ties."""
    rng, sizes = np.random.default_rng(0), [int(np.prod(shape)) for shape in shapes]
    entries = np.split(rng.permutation(np.linspace(-2, 2, sum(sizes))), np.cumsum(sizes)[:-1])
    return [x.reshape(shape)[()] for x, shape in zip(entries, shapes, strict=True)]


@pytest.mark.parametrize("call", CALLS)
def test_everything_moves_where_numpy_moves_it_and_the_gradient_back(call: str) -> None:
    f, shapes = CALLS[call]
    xs = spread_out(*shapes)
    expected, found = f(*xs), f(*map(Value, xs))
    assert type(found) is type(expected) or isinstance(found, Value)
    for a, b in zip(parts(expected), parts(found), strict=True):
        assert (b.shape, b.dtype) == (np.shape(a), a.dtype)
        np.testing.assert_allclose(getattr(b, "data", b), a, rtol=1e-14, atol=1e-14)
    assert_gradient(lambda *xs: differentiable(f(*xs)), *xs, order=2)


@pytest.mark.parametrize("call", CALLS)
def test_dtypes_are_numpys_and_gradients_have_their_operands(call: str) -> None:
    f, shapes = CALLS[call]
    xs = [np.float32(x) for x in spread_out(*shapes)]
    vs = [Value(x) for x in xs]
    expected, found = parts(f(*xs)), parts(f(*vs))
    assert [x.dtype for x in found] == [x.dtype for x in expected]
    y = differentiable(found)
    y.backward(np.ones(y.shape))
    assert all(v.grad is None or v.grad.dtype == np.float32 for v in vs)


NOT_LINEAR = ("maximum", "minimum", "median", "unique", "1d", "dtype", "astype", "a list", "by its")
LINEAR = [call for call in CALLS if not any(word in call for word in NOT_LINEAR)]


@pytest.mark.parametrize("call", LINEAR)
def test_the_transpose_of_a_real_matrix_acts_on_real_and_imaginary_parts(call: str) -> None:
    f, shapes = CALLS[call]
    rng, xs = np.random.default_rng(0), spread_out(*shapes)

    def transposed(xs: list[Array], g: Array) -> list[Array]:
        vs = [Value(x) for x in xs]
        differentiable(f(*vs)).backward(g)
        return [v.grad for v in vs]

    size = differentiable(f(*xs)).size
    g, h = rng.normal(size=(2, size))
    zs = [x + 1j * x[..., ::-1] if np.ndim(x) else x * (1 + 2j) for x in xs]
    np.testing.assert_allclose(differentiable(f(*map(Value, zs))).data, differentiable(f(*zs)))
    for c, a, b in zip(transposed(zs, g + 1j * h), transposed(xs, g), transposed(xs, h)):
        np.testing.assert_allclose(c, a + 1j * b, rtol=1e-13, atol=1e-13)


LAYOUTS = {
    "C": np.arange(24.0).reshape(2, 3, 4),
    "F": np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    "neither": np.arange(24.0).reshape(2, 3, 4).transpose(1, 0, 2),
    "a column": np.arange(3.0)[:, None],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", "CFAKa")
def test_order_asks_how_the_entries_lie_in_memory(layout: str, order: Any) -> None:
    x, rng = LAYOUTS[layout], np.random.default_rng(0)
    calls = [lambda x: np.ravel(x, order)]
    if order != "K":  # which reshape does not know
        calls += [lambda x: np.reshape(x, (x.shape[-1], 1, -1), order=order)]
    for f in calls:
        v, g = Value(x), rng.normal(size=f(x).shape)
        y = f(v)
        np.testing.assert_array_equal(y.data, f(x))
        y.backward(g)
        by_entry = g.ravel()[np.argsort(f(x), axis=None)]  # the entries are 0, 1, 2, ...
        np.testing.assert_array_equal(v.grad, by_entry[x.astype(int)])


# Where entries meet: ties, zeros, sets.


def gradient(f: Any, *xs: Any) -> list[Any]:
    """By each operand, that of a sum with the weights 1, 10, 100, ..."""
    vs = [Value(np.array(x, float)) for x in xs]
    y = f(*vs)
    y.backward(10.0 ** np.arange(y.size).reshape(y.shape))
    return [None if v.grad is None else v.grad.tolist() for v in vs]


def test_of_equal_entries_the_first_is_read() -> None:
    assert gradient(np.unique, [3, 1, 3, 2, 1]) == [[100, 1, 0, 10, 0]]
    assert gradient(lambda x: np.unique_values(x), [2, 2]) == [[1, 0]]
    assert gradient(lambda x: np.unique(x, axis=0), [[1, 2], [0, 0], [1, 2]])[0][2] == [0, 0]
    assert gradient(np.union1d, [3, 1], [5, 1, 2]) == [[100, 1], [1000, 0, 10]]
    assert gradient(np.intersect1d, [3, 1, 2], [2, 3, 5]) == [[10, 0, 1], None]
    assert gradient(np.setdiff1d, [3, 1, 2, 1], [2]) == [[10, 1, 0, 0], None]
    assert gradient(np.setxor1d, [3, 1, 2], [2, 3, 5]) == [[0, 1, 0], [0, 0, 10]]


TRIMS: dict[str, Any] = {
    "both ends": ([0, 0, 1, 0, 2, 0], {}),
    "front": ([0, 0, 1, 0, 2, 0], {"trim": "f"}),
    "back": ([0, 0, 1, 0, 2, 0], {"trim": "B"}),
    "nothing": ([1, 2], {}),
    "everything": ([0, 0], {}),
    "everything, from the front": ([0, 0], {"trim": "f"}),
    "what is empty": ([], {}),
    "all axes": ([[0, 0, 0], [0, 2, 0], [0, 3, 4]], {}),
    "one axis": ([[0, 0, 0], [0, 2, 0], [0, 3, 4]], {"axis": -1}),
}


@pytest.mark.parametrize("trim", TRIMS)
def test_zeros_that_are_trimmed_get_no_gradient(trim: str) -> None:
    data, options = TRIMS[trim]
    x = np.array(data, float)
    if NUMPY < "2.2.0" and (x.ndim > 1 or options.get("trim") == "B"):
        pytest.skip("NumPy trims vectors only")
    v = Value(x)
    y = np.trim_zeros(v, **options)
    np.testing.assert_array_equal(y.data, np.trim_zeros(x, **options))
    if y.size:
        y.backward(np.ones(y.shape))
        y.data[...] = 7  # a view
        np.testing.assert_array_equal(v.grad, v.data == 7)


# Padding with Values.


CONSTANTS: dict[str, Any] = {
    "one": (lambda c, d: {"constant_values": c * d}),
    "of each end": (lambda c, d: {"constant_values": (c, d)}),
    "of each axis and end": (lambda c, d: {"constant_values": ((c, 1), (d, c))}),
    "of ramps": (lambda c, d: {"mode": "linear_ramp", "end_values": ((c, d), (0, c))}),
}


@pytest.mark.parametrize("constants", CONSTANTS)
def test_the_constants_of_pad_are_differentiated(constants: str) -> None:
    def pad(a: Array, c: Array, d: Array) -> Array:
        return np.pad(a, ((1, 2), (0, 3)), **CONSTANTS[constants](c, d))

    xs = np.arange(6.0).reshape(2, 3), 1.5, 2.5
    np.testing.assert_allclose(pad(*map(Value, xs)).data, pad(*xs), rtol=1e-15)
    assert_gradient(pad, *xs, order=2)


def test_pad_by_a_dict_of_axes() -> None:
    x = Value(np.ones((2, 3, 1)))
    widths = [(2, 2), (0, 0), (1, 0)]
    for mode in ("constant", "edge", "mean"):
        by_axis = np.pad(x, {-1: (1, 0), 0: 2}, mode)
        np.testing.assert_array_equal(by_axis.data, np.pad(x.data, widths, mode))


def test_pad_with_anything_keeps_the_rest() -> None:
    x = Value([1.0, 2.0])
    y = np.pad(x, (1, 2), mode="empty")
    y.backward([1, 10, 100, 1, 1])
    assert (y.shape, y.data[1:3].tolist(), x.grad.tolist()) == ((5,), [1, 2], [10, 100])


def test_statistics_of_integers_are_rounded() -> None:
    x = Value(np.array([1, 2]), requires_grad=False)
    assert np.pad(x, 1, "mean").tolist() == np.pad(x.data, 1, "mean").tolist()


# What carries no gradient, and what is refused.


def test_a_result_without_a_gradient_is_a_constant() -> None:
    x = Value([1.5, 2.5])
    for y in (
        np.concatenate([x, x], dtype=int, casting="unsafe"),
        np.full_like(x, x.sum(), dtype=int),
        *([np.astype(x, int)] if hasattr(np, "astype") else []),
    ):
        assert (y.dtype.kind, y.requires_grad) == ("i", False)


def test_full_like_takes_another_shape_and_dtype() -> None:
    x, c = Value([1.0, 2.0]), Value(3.0)
    y = np.full_like(x, c, np.float32, shape=(2, 3))
    y.sum().backward()
    assert (y.shape, y.dtype, c.grad) == ((2, 3), np.float32, 6)
    assert np.full_like(x, 7).tolist() == [7, 7]
    assert np.zeros_like(x, shape=3).tolist() == [0, 0, 0]


def test_results_have_the_dtype_of_the_first_array() -> None:
    x, v = Value(np.float32([1, 2])), Value(3.0)
    y = np.insert(x, 1, v)
    y.sum().backward()
    assert (y.data.tolist(), y.dtype, v.grad.dtype) == ([1, 3, 2], np.float32, np.float64)
    nothing = np.resize(x[:0], (2, 1))
    assert (nothing.tolist(), nothing.dtype) == ([[0], [0]], np.float32)


REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "concatenate out": (lambda v: np.concatenate([v], out=np.ones(2)), TypeError, "'out'"),
    "concatenate casting": (
        lambda v: np.concatenate([v, v], dtype=np.float32, casting="safe"),
        TypeError,
        "cannot cast float64 to float32 by the rule casting='safe'",
    ),
    "concatenate, no casting": (
        lambda v: np.concatenate([v, np.ones(1, np.float32)], casting="no"),
        TypeError,
        "cannot cast float32 to float64",
    ),
    "stack shapes": (lambda v: np.stack([v, v[:1]]), ValueError, r"stack\(float64\[2\]"),
    "block depths": (lambda v: np.block([[v], v]), ValueError, "different depths"),
    "block nothing": (lambda v: np.block([[v], []]), ValueError, "empty"),
    "block tuples": (lambda v: np.block([[v], (v,)]), TypeError, "not tuples"),
    "hsplit": (lambda v: np.hsplit(v[0], 1), ValueError, "fewer than 1 axes"),
    "vsplit": (lambda v: np.vsplit(v, 2), ValueError, r"\(2,\) has fewer than 2 axes"),
    "dsplit": (lambda v: np.dsplit(v, 2), ValueError, "fewer than 3 axes"),
    "rot90": (lambda v: np.rot90(v[None], 1, (0, 0)), ValueError, "must be different"),
    "rollaxis": (lambda v: np.rollaxis(v, 0, 3), np.exceptions.AxisError, "start"),
    "meshgrid": (lambda v: np.meshgrid(v, indexing="yx"), ValueError, "'xy' or 'ij'"),
    "reshape": (lambda v: np.reshape(v, (2, 2)), ValueError, "cannot reshape"),
    "insert a fraction": (
        lambda v: np.insert([1, 2], 0, v),
        TypeError,
        "a value of float64 would be cut off in an integer array",
    ),
    "pad mode": (lambda v: np.pad(v, 1, "mirror"), ValueError, "no mode 'mirror'"),
    "pad option": (lambda v: np.pad(v, 1, "edge", stat_length=1), ValueError, "stat_length"),
    "pad function": (lambda v: np.pad(v, 1, lambda *a: None), TypeError, "function as mode"),
    "pad width": (lambda v: np.pad(v, 1.5), TypeError, "integers"),
    "pad less": (lambda v: np.pad(v, (-1, 0)), ValueError, "0 or more"),
    "pad empty": (lambda v: np.pad(v[:0], 1, "mean"), ValueError, "axis 0, which is empty"),
    "pad of nothing": (lambda v: np.pad(v, 1, "maximum", stat_length=0), ValueError, "zero-size"),
    "trim_zeros": (lambda v: np.trim_zeros(v, "x"), ValueError, "'fb'"),
    "windows": (
        lambda v: np.lib.stride_tricks.sliding_window_view(v, 2, writeable=True),
        TypeError,
        "'writeable'",
    ),
    "np.array": (lambda v: np.array([v, v]), TypeError, "to make arrays of Values"),
    "np.pad": (lambda v: np.pad(np.ones(2), 1, constant_values=v[0]), TypeError, "gradient"),
}


if NUMPY >= "2.1.0":
    REFUSED["reshape without a copy"] = (
        lambda v: np.reshape(np.stack([v, v]), 4, order="F", copy=False),
        ValueError,
        "creating a copy",
    )


@pytest.mark.parametrize("call", REFUSED)
def test_what_cannot_be_done_says_why(call: str) -> None:
    f, kind, message = REFUSED[call]
    with pytest.raises(kind, match=message):
        f(Value([1.0, 2.0]))


def test_truth_values_among_indices_are_0_and_1_as_numpy_takes_them() -> None:
    for indices in (True, [True, False, True], np.array([[False, True]])):
        np.testing.assert_array_equal(
            tg.grad(lambda x, i=indices: np.sum(np.take(x, i, axis=0) * [3.0, 5.0]))(np.eye(2)),
            tg.grad(lambda x, i=indices: np.sum(np.take(x, np.add(i, 0), axis=0) * [3.0, 5.0]))(
                np.eye(2)
            ),
        )


def test_an_argument_of_indices_takes_no_value_that_requires_grad() -> None:
    x = Value([1.0, 0.0])
    for call in (np.repeat, np.delete, np.tile, lambda a, b: np.insert(a, b, 1.0)):
        with pytest.raises(TypeError, match="where only data may"):
            call(Value(np.ones(3)), x)


def test_a_number_is_repeated_and_taken_along_an_axis_as_by_numpy() -> None:
    for f in (
        lambda x: np.repeat(x, 3, axis=0),
        lambda x: np.repeat(x, [3], axis=-1),
        lambda x: np.take(x, [0, 0, -1], axis=0),
    ):
        np.testing.assert_array_equal(f(Value(2.0)).data, f(np.float64(2.0)))
        assert tg.grad(lambda x, f=f: np.sum(f(x)))(2.0) == 3


@pytest.mark.parametrize("join", [np.concatenate, np.stack])
def test_what_was_joined_is_cut_up_once_for_all_operands(join: Any, monkeypatch: Any) -> None:
    asked, rules = [], registry[join.__name__].rules
    rule = rules.rule
    monkeypatch.setattr(rules, "rule", lambda *a, **k: asked.append(1) or rule(*a, **k))
    xs = [Value([float(i)]) for i in range(500)]
    (join(xs) * np.arange(500).reshape(join([np.ones(1)] * 500).shape)).sum().backward()
    assert [x.grad.item() for x in xs] == list(range(500))
    assert len(asked) == 1


# Arrays made of Values.

NESTED: dict[str, Callable[[Any], Any]] = {
    "a list": lambda x: [x[0], 1.0, x[1]],
    "a tuple": lambda x: (x[0] * x[1], 2),
    "rows": lambda x: [[x[0], 1.0], [2.0, x[1] ** 2]],
    "arrays in lists": lambda x: [[x, np.ones(3)], [x * 2, x]],
    "lists beside arrays": lambda x: [x, [1.0, 2.0, 3.0], (x[2], x[1], 0)],
    "a number": lambda x: x[0] * 2,
    "an array": lambda x: x * 2,
    "booleans and integers": lambda x: [True, x[0], np.int32(3)],
    "deep": lambda x: [[[[x[0]]]], [[[x[1]]]]],
}


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("dtype", [None, np.float32, complex])
def test_an_array_of_values_is_the_array_of_their_numbers(name: str, dtype: Any) -> None:
    make, x = NESTED[name], np.array([0.5, 1.5, 2.0])
    v = Value(x)
    expected = np.array(make(x), dtype)
    for made in (tg.array(make(v), dtype), np.array(make(v), dtype, like=v)):
        assert isinstance(made, Value)
        assert (made.shape, made.dtype) == (expected.shape, expected.dtype)
        np.testing.assert_array_equal(made.data, expected)
    assert np.array(make(v), ndmin=5, like=v).shape == np.array(make(x), ndmin=5).shape
    if dtype is None:
        assert_gradient(lambda x: tg.array(make(x)), x, order=2)
        per_example = tg.vmap(lambda x: tg.array(make(x)))(np.stack([x, 2 * x]))
        np.testing.assert_array_equal(per_example[1], np.array(make(2 * x)))


def test_an_array_of_values_is_one_operation_for_each_list() -> None:
    v, w = Value(1.0), Value(2.0)
    rows = tg.array([[v, 0.0], [w, v]]).operands
    assert [[x.node for x in row.operands if isinstance(x, Value)] for row in rows] == [
        [v.node],
        [w.node, v.node],
    ]


def test_an_array_of_numbers_is_numpys_own() -> None:
    made = tg.array([[1, 2], [3, 4]])
    assert (type(made), made.dtype) == (np.ndarray, np.array([1]).dtype)
    own = np.ones(3)
    assert tg.array(own) is not own
    assert tg.array([]).shape == (0,)
    with pytest.raises(ValueError, match="same shape"):
        tg.array([[Value(1.0)], [Value(1.0), 2.0]])


@pytest.mark.parametrize("maker", [np.zeros, np.ones, np.empty, np.eye, np.identity, np.tri])
def test_a_new_array_like_a_value_is_filled_with_values(maker: Any) -> None:
    def filled(x: Any) -> Any:
        out = maker(3, like=x)
        for i in range(3):
            out[i] = x[i] ** 2
        return np.sum(out)

    x = np.arange(1.0, 4.0)
    made = maker(3, dtype=np.float32, like=Value(x))
    assert (made.shape, made.dtype) == (maker(3).shape, np.float32)
    assert not made.requires_grad
    n = 3 ** (made.ndim - 1)
    np.testing.assert_array_equal(tg.grad(filled)(x), 2 * x * n)
    np.testing.assert_array_equal(tg.vmap(tg.grad(filled))(x[None]), 2 * x[None] * n)


def test_full_is_filled_with_a_value() -> None:
    x = Value(2.0)
    for made in (np.full(3, x, like=x), np.full((2, 3), x, np.float32, like=x)):
        made.sum().backward()
    assert x.grad == 9
    assert tg.grad(lambda x: np.sum(np.full_like(np.ones(3) * x, x)))(2.0) == 3
    row = np.array([1.0, 2.0])
    assert_gradient(lambda x: np.full((3, 2), x, like=x), row, order=1)


@pytest.mark.parametrize(
    "call",
    [
        lambda v: np.array([v, 1.0]),
        lambda v: np.array([[v, v], [v, v]]),
        lambda v: np.asarray([v]),
        lambda v: np.full(3, v),
        lambda v: np.stack([[v, v], [v, v]]),
        lambda v: np.concatenate([[v], [v]]),
        lambda v: np.sum([v, v]),
        lambda v: np.mean([v, v]),
        lambda v: np.exp([v, v]),
        lambda v: np.dot([v, v], [1.0, 2.0]),
        lambda v: np.ones(2) * [v, v],
        lambda v: Value([v, v]),
        lambda v: Value(np.ones(2)) * [v, v],
    ],
)
def test_what_cannot_make_an_array_of_values_names_who_can(call: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"tg\.array"):
        call(Value(2.0))
    with pytest.raises(TypeError, match=r"tg\.array"):
        tg.grad(lambda v: np.sum(call(v)))(2.0)


def test_full_like_of_an_array_says_what_to_write() -> None:
    with pytest.raises(TypeError, match=r"np\.full\(shape, v, like=v\)"):
        np.full_like(np.zeros(3), Value(2.0))
