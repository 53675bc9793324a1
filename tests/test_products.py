"""Products of vectors, matrices and tensors, in every spelling that NumPy has for them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value
from tests.numerical import assert_gradient

Array = Any
Shape = tuple[int, ...]
la = np.linalg

CALLS: dict[str, tuple[Callable[..., Any], list[Shape]]] = {
    "matmul": (np.matmul, [(2, 3), (3, 2)]),
    "matmul of a vector and a matrix": (np.matmul, [(3,), (3, 2)]),
    "matmul of stacks": (np.matmul, [(4, 1, 2, 3), (2, 3, 2)]),
    "matmul of a vector and a stack": (np.matmul, [(3,), (2, 3, 4)]),
    "linalg.matmul": (la.matmul, [(2, 2, 3), (3,)]),
    "dot": (np.dot, [(2, 3), (4, 3, 2)]),
    "inner": (np.inner, [(2, 3), (4, 3)]),
    "outer": (np.outer, [(2, 2), (3,)]),
    "outer, out=None": (lambda x, y: np.outer(x, y, out=None), [(2,), (3,)]),
    "linalg.outer": (la.outer, [(2,), (3,)]),
    "vdot": (np.vdot, [(2, 3), (6,)]),
    "vdot of numbers": (np.vdot, [(), ()]),
    "kron": (np.kron, [(2, 3), (3, 2)]),
    "kron of a vector and a box": (np.kron, [(2,), (2, 1, 3)]),
    "kron of a number": (np.kron, [(2, 2), ()]),
    "tensordot": (lambda x, y: np.tensordot(x, y, ((0, -1), (1, 0))), [(2, 3, 4), (4, 2)]),
    "linalg.tensordot": (lambda x, y: la.tensordot(x, y, axes=1), [(2, 3), (3, 4)]),
    "multi_dot of two": (lambda *xs: la.multi_dot(xs), [(2, 3), (3,)]),
    "multi_dot of three": (lambda *xs: la.multi_dot(list(xs)), [(5, 2), (2, 6), (6, 3)]),
    "multi_dot of vectors too": (
        lambda *xs: la.multi_dot(xs),
        [(5,), (5, 2), (2, 6), (6, 3), (3,)],
    ),
    "multi_dot from a vector": (lambda *xs: la.multi_dot(xs), [(2,), (2, 3), (3, 4), (4, 1)]),
    "vecdot": (np.vecdot, [(2, 1, 3), (4, 3)]),
    "vecdot along an axis": (lambda x, y: np.vecdot(x, y, axis=0), [(3, 2), (3, 1)]),
    "vecdot, kept": (lambda x, y: np.vecdot(x, y, keepdims=True), [(2, 3), (3,)]),
    "vecdot, kept along an axis": (
        lambda x, y: np.vecdot(x, y, axis=-2, keepdims=True),
        [(4, 3, 2), (3, 2)],
    ),
    "linalg.vecdot": (lambda x, y: la.vecdot(x, y, axis=-1), [(2, 3), (3,)]),
    "cross": (np.cross, [(2, 3), (3,)]),
    "cross of stacks": (np.cross, [(4, 1, 3), (2, 3)]),
    "cross along axes": (lambda x, y: np.cross(x, y, 0, 1, 0), [(3, 2), (2, 3)]),
    "cross along an axis": (lambda x, y: np.cross(x, y, axis=1), [(2, 3, 2), (2, 3, 2)]),
    "linalg.cross": (lambda x, y: la.cross(x, y, axis=0), [(3, 2), (3, 2)]),
    "linalg.trace": (lambda x: la.trace(x, offset=-1), [(2, 3, 4)]),
    "linalg.diagonal": (lambda x: la.diagonal(x, offset=1), [(2, 3, 4)]),
    "linalg.matrix_transpose": (la.matrix_transpose, [(2, 3, 4)]),
    "einsum": (lambda x, y: np.einsum("ij,jk->ki", x, y), [(2, 3), (3, 4)]),
    "einsum, implied": (lambda x, y: np.einsum("kj,ik", x, y, optimize="greedy"), [(2, 3), (3, 2)]),
    "einsum along a path": (
        lambda *xs: np.einsum("ij,jk,kl", *xs, optimize=["einsum_path", (1, 2), (0, 1)]),
        [(2, 3), (3, 4), (4, 2)],
    ),
    "einsum of stacks": (
        lambda x, y: np.einsum("...ij,j...->i...", x, y, casting="safe", order="K", dtype=None),
        [(2, 3, 4), (4, 2)],
    ),
    "einsum by axes": (
        lambda x, y: np.einsum(x, [0, ..., 1], y, [1, 2], [2, ...]),
        [(2, 1, 3), (3, 2)],
    ),
    "einsum of a diagonal": (lambda x, y: np.einsum("iij,i->j", x, y), [(2, 2, 3), (2,)]),
    "einsum with a number": (lambda x: np.einsum(",ij->j", 2.0, x), [(2, 3)]),
    "einsum of a number": (lambda x, y: np.einsum(",ij->j", x, y), [(), (2, 3)]),
}
if hasattr(np, "vecmat"):
    CALLS |= {
        "matvec": (np.matvec, [(4, 2, 3), (3,)]),
        "matvec of one matrix": (np.matvec, [(2, 3), (4, 3)]),
        "vecmat": (np.vecmat, [(3,), (4, 3, 2)]),
        "vecmat of one matrix": (np.vecmat, [(4, 3), (3, 2)]),
    }
every_call = pytest.mark.parametrize("call", sorted(CALLS))


def operands(call: str, seed: int = 0) -> list[Array]:
    draw = np.random.default_rng(seed + len(call)).standard_normal
    return [np.asarray(draw(shape))[()] for shape in CALLS[call][1]]


def same(found: Any, expected: Any) -> None:
    assert isinstance(found, Value)
    assert (found.shape, found.dtype) == (np.shape(expected), np.asarray(expected).dtype)
    np.testing.assert_allclose(found.data, expected, rtol=1e-13, atol=1e-13)


@every_call
def test_a_product_agrees_with_numpy_and_difference_quotients(call: str) -> None:
    f, xs = CALLS[call][0], operands(call)
    same(f(*map(Value, xs)), f(*xs))
    assert_gradient(f, *xs, order=2)


@every_call
def test_a_complex_product_agrees_along_both_axes(call: str) -> None:
    """As a function of x and of y, which also tells which operand NumPy conjugates."""
    f, xs, ys = CALLS[call][0], operands(call), operands(call, seed=1)
    zs = [x + 1j * y for x, y in zip(xs, ys, strict=True)]
    same(f(*map(Value, zs)), f(*zs))

    def by_parts(*xys: Array) -> Array:
        out = f(*(x + 1j * y for x, y in zip(xys[::2], xys[1::2], strict=True)))
        return np.stack([np.real(out), np.imag(out)])

    assert_gradient(by_parts, *itertools.chain(*zip(xs, ys, strict=True)), order=2)


@every_call
def test_a_constant_may_stand_for_any_operand(call: str) -> None:
    f, xs = CALLS[call][0], operands(call)
    for i in range(len(xs)):
        mixed = [Value(x) if j == i else x for j, x in enumerate(xs)]
        same(f(*mixed), f(*xs))


@every_call
def test_single_precision_stays_single(call: str) -> None:
    f, xs = CALLS[call][0], [np.float32(x) for x in operands(call)]
    values = [Value(x) for x in xs]
    out = f(*values)
    assert out.dtype == f(*xs).dtype
    out.backward(np.ones(out.shape))
    assert {v.grad.dtype for v in values} == {np.dtype(np.float32)}


@every_call
@pytest.mark.parametrize("mapped", ["all", "first", "last"])
def test_vmap_is_a_loop(call: str, mapped: str) -> None:
    f, xs, others = CALLS[call][0], operands(call), operands(call, seed=1)
    last = len(xs) - 1
    axes = [
        0 if mapped == "all" or i == (0 if mapped == "first" else last) else None
        for i in range(last + 1)
    ]
    stacks = [
        x if a is None else np.stack([x, y, x - y])
        for a, x, y in zip(axes, xs, others, strict=True)
    ]

    def both(*xs: Array) -> Any:
        value, pullback = tg.vjp(f, *xs)
        return value, pullback(np.cos(value))

    value, gradients = tg.vmap(both, in_axes=tuple(axes))(*stacks)
    for i in range(3):
        example = [x if a is None else x[i] for a, x in zip(axes, stacks, strict=True)]
        one, ones = both(*example)
        np.testing.assert_allclose(value[i], one, rtol=1e-12, atol=1e-12)
        for found, expected in zip(gradients, ones, strict=True):
            np.testing.assert_allclose(found[i], expected, rtol=1e-11, atol=1e-12)


def test_a_vmap_of_a_vmap_of_a_product_is_a_product_of_stacks() -> None:
    x, y = operands("cross of stacks")
    x = x[:, 0]
    pairs = tg.vmap(tg.vmap(np.matmul, in_axes=(None, 0)), in_axes=(0, None))(x, y)
    np.testing.assert_allclose(pairs, x @ y.T, rtol=1e-13)


@pytest.mark.skipif(
    np.lib.NumpyVersion(np.__version__) >= "2.5.0", reason="NumPy has none any more"
)
@pytest.mark.filterwarnings("ignore:Arrays of 2-dimensional vectors:DeprecationWarning")
@pytest.mark.parametrize("shapes", [((2, 2), (2,)), ((3,), (4, 2)), ((4, 2), (3,))])
def test_vectors_in_the_plane_have_a_vector_product_too(shapes: tuple[Shape, Shape]) -> None:
    x, y = (np.random.default_rng(3).standard_normal(shape) for shape in shapes)
    same(np.cross(Value(x), Value(y)), np.cross(x, y))
    assert_gradient(np.cross, x, y, order=2)


def test_a_chain_of_matrices_is_multiplied_in_the_cheapest_order() -> None:
    """A row times two large matrices: 2 n² multiplications; from the right it would be n³."""
    chain = [Value(np.ones(shape)) for shape in ((1, 50), (50, 50), (50, 50))]
    first, last = la.multi_dot(chain).operands
    assert first.op is not None
    assert last.op is None


def test_a_trace_may_be_summed_in_another_dtype() -> None:
    v = Value(np.eye(3, dtype=np.float32))
    trace = np.trace(v, dtype=np.float64)
    assert trace.dtype == la.trace(v, dtype=np.float64).dtype == np.float64
    trace.backward()
    assert v.grad.dtype == np.float32
    assert v.grad.tolist() == np.eye(3).tolist()


X = np.ones((2, 3))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda v: np.matmul(v, X, axes=[(0, 1), (0, 1), (0, 1)]), TypeError, "matmul.*'axes'"),
        (lambda v: np.einsum("ij->j", v, dtype=np.float32), TypeError, "einsum.*dtype"),
        (lambda v: np.einsum("ij->j", v, order="F"), TypeError, "einsum.*order"),
        (lambda v: np.einsum("ij->j", v, out=np.ones(3)), TypeError, "einsum.*out="),
        (lambda v: np.dot(v, X.T, out=np.ones((2, 2))), TypeError, "dot: out="),
        (lambda v: np.vecdot(v, X, axes=[0, 0, ()]), TypeError, "axes"),
        (lambda v: np.vecdot(v, np.ones((2, 1))), ValueError, "matmul"),
        (lambda v: la.multi_dot([v]), ValueError, "two arrays"),
        (lambda v: la.multi_dot([v, v.T[None], v]), ValueError, "vectors"),
        (lambda v: la.outer(v, X), ValueError, r"\(2, 3\)"),
        (lambda v: la.cross(v[:, :2], X), ValueError, r"\(2, 2\)"),
        (lambda v: np.cross(v[:, :1], X), ValueError, "2 or 3|3-dimensional"),
        (lambda v: np.tensordot(v, X.T), ValueError, "tensordot"),
    ],
)
def test_what_a_product_does_not_take_is_named(call: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(Value(X))
