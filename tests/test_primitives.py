"""Every registered primitive, checked from its declaration alone; and functions made of them."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.engine.domain import Shape
from tensorgrad.engine.primitive import registry
from tensorgrad.ops.nn.cost import cross_entropy
from tensorgrad.testing import check_rule
from tensorgrad.testing.primitives import cases, has_rule
from tests.numerical import Array, assert_gradient

few = settings().max_examples // 3  # of those that take long


@pytest.mark.hypothesis
@pytest.mark.parametrize("name", sorted(registry))
def test_every_rule_is_the_derivative(name: str) -> None:
    """To second order, in reverse and forward mode, of real, complex and mixed operands."""
    check_rule(registry[name], few)


@pytest.mark.parametrize("name", sorted(registry))
@settings(max_examples=settings().max_examples // 2)
@given(data=st.data())
def test_vmap_is_a_loop(name: str, data: st.DataObject) -> None:
    """Of the forward and of every rule, over any of the operands."""
    op = registry[name]
    case = data.draw(cases(op))
    out = case.run(*case.operands)
    cotangent = case.rng.standard_normal(np.shape(out)).astype(out.dtype)
    single = any(x.dtype == np.float32 for x in case.operands)
    n = data.draw(st.sampled_from([2, 1, 3]))
    mapped = [data.draw(st.booleans()) for _ in case.operands]
    mapped[data.draw(st.integers(0, len(mapped) - 1))] = True
    shift = case.rng.permutation
    rows = [
        np.stack([np.reshape(shift(np.ravel(x)), x.shape) for _ in range(n)]) if m else x
        for x, m in zip(case.operands, mapped)
    ]
    g = np.stack([cotangent * (i + 1) for i in range(n)])

    def both(g: Array, *xs: Array) -> Array:
        value, pullback = tg.vjp(lambda *xs: case.run(*xs), *xs)
        return value, pullback(g)

    examples = [both(g[i], *(x[i] if m else x for x, m in zip(rows, mapped))) for i in range(n)]
    axes = (0, *(0 if m else None for m in mapped))
    value, pulled = tg.vmap(both, in_axes=axes)(g, *rows)
    close = {"rtol": 1e-4 if single else 1e-10, "atol": 1e-5 if single else 1e-12}
    np.testing.assert_allclose(value, np.stack([v for v, _ in examples]), **close)
    assert value.dtype == out.dtype
    for i, d in enumerate(pulled):
        np.testing.assert_allclose(d, np.stack([ds[i] for _, ds in examples]), **close)


SEVERAL = [
    name
    for name, op in sorted(registry.items())
    if op.arity and sum(has_rule(op, i) for i in range(op.arity)) > 1
]


@pytest.mark.parametrize("name", SEVERAL)
@settings(max_examples=few)
@given(data=st.data(), whole=st.booleans())
def test_mixed_second_derivatives_do_not_depend_on_the_order(
    name: str, data: st.DataObject, whole: bool
) -> None:
    """At ordinary points, and where the last operand, an exponent say, is an integer or 0."""
    case = data.draw(cases(registry[name]))
    xs = [x.astype(float) if x.dtype.kind == "f" else x for x in case.operands]
    xs[-1] = np.round(xs[-1]) if whole else xs[-1]
    with np.errstate(all="ignore"):
        weights = case.rng.standard_normal(np.shape(case.run(*xs)))
    directions = [case.rng.standard_normal(np.shape(x)) for x in xs]
    total = lambda *xs: np.sum(weights * case.run(*xs))

    def mixed(first: int, then: int) -> Any:
        along = lambda *xs: np.sum(directions[first] * tg.grad(total, argnums=first)(*xs))
        return np.sum(directions[then] * tg.grad(along, argnums=then)(*xs))

    with np.errstate(all="ignore"):
        for i, j in itertools.combinations(case.free, 2):
            np.testing.assert_allclose(mixed(i, j), mixed(j, i), rtol=1e-6, atol=1e-6)


def test_every_primitive_of_the_package_is_drawn_from_its_domain() -> None:
    """A `params=` that yields nothing would make the tests above pass without a single call."""
    for op in registry.values():
        shapes = [(2, 3), (3,), (2, 1), (2,), (1,), (), (1, 2)]
        operands = [[shape] * (op.arity or 2) for shape in shapes]
        if cores := re.findall(r"\(([^()]*)\)", op.domain.signature or ""):
            operands = [[(2,) * len(core.split(",")) for core in cores], *operands]
        found = any(list(op.domain.params(*shapes)) for shapes in operands)
        assert found, f"{op.name}: no params fit any operand"
    assert len(registry) >= 85


# Functions that are made of primitives. Each is called on arrays (that is NumPy) and on Values.

CALLS: dict[str, tuple[Any, list[Shape]]] = {
    "tensordot 0": (lambda x, y: np.tensordot(x, y, 0), [(2,), (3,)]),
    "tensordot 1": (lambda x, y: np.tensordot(x, y, 1), [(2, 3), (3, 2)]),
    "tensordot 2": (lambda x, y: np.tensordot(x, y), [(2, 3, 1), (3, 1, 2)]),
    "tensordot pairs": (
        lambda x, y: np.tensordot(x, y, ([0, -1], [1, 0])),
        [(2, 1, 3), (3, 2, 2)],
    ),
    "tensordot one pair": (lambda x, y: np.tensordot(x, y, (0, -1)), [(2, 3), (3, 2)]),
    "tensordot empty": (lambda x, y: np.tensordot(x, y, 1), [(2, 0), (0, 3)]),
    "dot numbers": (np.dot, [(), (2,)]),
    "dot vectors": (np.dot, [(3,), (3,)]),
    "dot matrices": (np.dot, [(2, 3), (3, 2)]),
    "dot matrix vector": (np.dot, [(2, 3), (3,)]),
    "dot stacks": (np.dot, [(2, 3), (2, 3, 1)]),
    "dot method": (lambda x, y: x.dot(y), [(2, 3), (3,)]),
    "inner numbers": (np.inner, [(), (2,)]),
    "inner vectors": (np.inner, [(3,), (3,)]),
    "inner matrices": (np.inner, [(2, 3), (1, 2, 3)]),
    "outer": (np.outer, [(2,), (3,)]),
    "outer of matrices": (np.outer, [(2, 2), (1, 3)]),
    "outer of a number": (np.outer, [(), (3,)]),
    "vdot": (np.vdot, [(2, 3), (2, 3)]),
    "diag of a vector": (np.diag, [(3,)]),
    "diag above": (lambda v: np.diag(v, 1), [(2,)]),
    "diag below": (lambda v: np.diag(v, k=-2), [(2,)]),
    "diag of a matrix": (lambda v: np.diag(v, -1), [(3, 2)]),
    "diagonal": (np.diagonal, [(2, 3)]),
    "diagonal offset": (lambda a: np.diagonal(a, -1), [(3, 2)]),
    "diagonal far off": (lambda a: np.diagonal(a, 5), [(3, 2)]),
    "diagonal of a stack": (lambda a: np.diagonal(a, 1, 2, 0), [(2, 1, 3)]),
    "diagonal method": (lambda a: a.diagonal(1, axis1=1, axis2=2), [(2, 3, 3)]),
    "trace": (np.trace, [(3, 3)]),
    "trace of a stack": (lambda a: np.trace(a, offset=-1, axis1=1, axis2=2), [(2, 3, 2)]),
    "trace method": (lambda a: a.trace(1), [(2, 3)]),
    "split": (lambda a: np.split(a, 2)[1], [(4, 2)]),
    "split at": (lambda a: np.stack(np.split(a, [1, 2], axis=1)[:2]), [(2, 4)]),
    "split rejoined": (lambda a: np.concatenate(np.split(a, [1, 4])[::-1]), [(5,)]),
    "array_split": (lambda a: np.concatenate(np.array_split(a, 3, -1)[::-1], -1), [(2, 4)]),
    "array_split negative": (lambda a: np.array_split(a, [-1])[0], [(3,)]),
    "tile": (lambda a: np.tile(a, 3), [(2,)]),
    "tile of a number": (lambda a: np.tile(a, (2, 1)), [()]),
    "tile of a matrix": (lambda a: np.tile(a, (2, 1, 3)), [(1, 2)]),
    "tile, few reps": (lambda a: np.tile(a, 2), [(2, 2)]),
    "tile, none": (lambda a: np.tile(a, (0, 1)), [(2, 2)]),
    "repeat": (lambda a: np.repeat(a, 2), [(2, 2)]),
    "repeat along": (lambda a: np.repeat(a, 3, axis=-1), [(2, 2)]),
    "repeat each": (lambda a: np.repeat(a, [0, 2], 0), [(2, 2)]),
    "repeat of a number along its axis": (lambda a: np.repeat(a, 2, axis=0), [()]),
    "compress of a number along its axis": (lambda a: np.compress([True], a, axis=-1), [()]),
    "repeat method": (lambda a: a.repeat(2, axis=0), [(2, 1)]),
    "pad": (lambda a: np.pad(a, 1), [(2, 1)]),
    "pad with a number": (lambda a: np.pad(a, (1, 2), constant_values=4), [(2, 1)]),
    "pad with two": (lambda a: np.pad(a, (1, 2), constant_values=(4, 5)), [(2,)]),
    "pad by axis": (lambda a: np.pad(a, ((1, 0), (0, 2)), "constant"), [(2, 1)]),
    "pad with edge": (lambda a: np.pad(a, ((1, 0), (0, 2)), mode="edge"), [(2, 3)]),
    "pad with reflection": (lambda a: np.pad(a, 2, "reflect"), [(3, 3)]),
    "pad symmetric": (lambda a: np.pad(a, (2, 1), "symmetric"), [(2, 3)]),
    "pad wrap": (lambda a: np.pad(a, (1, 2), "wrap"), [(2, 3)]),
    "clip": (lambda a: np.clip(a, -0.5, 0.5), [(5,)]),
    "clip by name": (lambda a: np.clip(a, a_min=-0.5, a_max=None), [(5,)]),
    "clip below": (lambda a: np.clip(a, None, 0.5), [(5,)]),
    "clip, new names": (lambda a: np.clip(a, min=-0.5, max=0.5), [(5,)]),
    "clip method": (lambda a: a.clip(max=0.5), [(5,)]),
    "clip between Values": (np.clip, [(5,), (), (5,)]),
    "add.reduce": (np.add.reduce, [(2, 3)]),
    "add.reduce over all": (lambda a: np.add.reduce(a, axis=None), [(2, 3)]),
    "add.reduce keepdims": (lambda a: np.add.reduce(a, axis=1, keepdims=True), [(2, 3)]),
    "multiply.reduce": (np.multiply.reduce, [(3, 2)]),
    "maximum.reduce": (np.maximum.reduce, [(3, 2)]),
    "minimum.reduce": (lambda a: np.minimum.reduce(a, axis=-1), [(3, 2)]),
    "add.accumulate": (np.add.accumulate, [(3, 2)]),
    "roll two axes": (lambda a: np.roll(a, (1, -1), axis=(0, 1)), [(2, 3)]),
    "roll one shift, two axes": (lambda a: np.roll(a, 1, axis=(0, 1)), [(2, 3)]),
    "flip two axes": (lambda a: np.flip(a, (0, 1)), [(2, 3)]),
    "moveaxis of two": (lambda a: np.moveaxis(a, (0, 1), (-1, 0)), [(2, 1, 3)]),
    "concatenate": (lambda x, y: np.concatenate([x, y], axis=1), [(2, 1), (2, 3)]),
    "concatenate flat": (lambda x, y: np.concatenate((x, y), axis=None), [(2, 1), (3,)]),
    "concatenate with arrays": (lambda x: np.concatenate([np.ones(2), x, [3.0]]), [(3,)]),
    "stack with itself": (lambda x: np.stack([x, x, np.ones(2)], axis=-1), [(2,)]),
    "take": (lambda a: np.take(a, [[0, -1], [1, 1]], axis=1), [(2, 3)]),
    "take_along_axis": (
        lambda a: np.take_along_axis(a, np.array([[0, 0], [2, 1]]), 1),
        [(2, 3)],
    ),
    "sum of positional axis": (lambda a: np.sum(a, 1), [(2, 3)]),
    "sum of tuple of axes": (lambda a: np.sum(a, axis=(0, -1), keepdims=True), [(2, 3, 2)]),
    "where": (lambda x, y: np.where(np.arange(3) > 0, x, y), [(3,), (2, 1)]),
    "power of a number": (lambda x: np.power(2.0, x), [(3,)]),
    "integer power": (lambda x: np.power(x, 3), [(3,)]),
    "reshape": (lambda a: np.reshape(a, (3, -1)), [(2, 3)]),
    "reshape method": (lambda a: a.reshape(3, 2).T.swapaxes(0, 1), [(2, 3)]),
    "transpose": (lambda a: a.transpose(2, 0, 1), [(2, 3, 1)]),
    "var with ddof": (lambda a: np.var(a, axis=0, ddof=1), [(3, 2)]),
    "cumsum": (lambda a: np.cumsum(a, axis=-1), [(2, 3)]),
}
if np.lib.NumpyVersion(np.__version__) < "2.1.0":
    del CALLS["clip, new names"]  # NumPy itself does not know them yet

EINSUMS = {
    "ij,jk->ik": [(2, 3), (3, 2)],
    " ij , jk ": [(2, 3), (3, 2)],  # the result implied
    "ij,jk->": [(2, 3), (3, 2)],
    "kj,ik": [(2, 3), (3, 2)],  # the implied result is sorted
    "ba": [(2, 3)],
    "ij->j": [(2, 3)],
    "ij": [(2, 3)],
    "i,i": [(3,), (3,)],
    "i,j->ij": [(3,), (2,)],
    "i,->i": [(3,), ()],
    "ii": [(3, 3)],
    "ii->i": [(3, 3)],
    "iij->j": [(2, 2, 3)],
    "iii->i": [(2, 2, 2)],
    "iji->j": [(2, 3, 2)],
    "ii,ij->j": [(2, 2), (2, 3)],
    "ij,ij": [(1, 3), (2, 3)],  # a 1 broadcasts
    "ij,jk,kl->il": [(2, 3), (3, 2), (2, 1)],
    "ij,ij,ij->i": [(2, 3), (2, 3), (2, 3)],
    "i,k->k": [(2,), (3,)],  # i is summed away
    "...": [(2, 3)],
    "...i->...": [(2, 3)],
    "i...->...i": [(2, 3)],
    "...i,i": [(2, 3), (3,)],
    "...ij,...jk": [(2, 1, 2), (2, 2)],
    "...ij,...jk->ik...": [(1, 2, 1), (3, 1, 2)],
    "...,...": [(2, 3), (3,)],
    "...ii->...i": [(2, 3, 3)],
    "Az,zA->A": [(2, 3), (3, 2)],
    "ij,jk->ki": [(0, 2), (2, 3)],
}
CALLS |= {
    f"einsum {s}": (lambda *xs, s=s: np.einsum(s, *xs), shapes) for s, shapes in EINSUMS.items()
}
CALLS |= {
    "einsum by axes": (lambda x, y: np.einsum(x, [0, 1], y, [1, 2], [2, 0]), [(2, 3), (3, 2)]),
    "einsum by axes, implied": (lambda x, y: np.einsum(x, [2, 1], y, [1, 0]), [(2, 3), (3, 2)]),
    "einsum by axes, ...": (
        lambda x, y: np.einsum(x, [Ellipsis, 0], y, [0, 1], [1, Ellipsis]),
        [(1, 2, 3), (3, 2)],
    ),
    "einsum by axes, trace": (lambda x: np.einsum(x, [4, 4]), [(3, 3)]),
    "einsum, axes past z": (lambda x: np.einsum(x, [26, 25]), [(2, 3)]),
    "einsum, optimize": (lambda x: np.einsum("ij,ij,kj", x, x, x, optimize=True), [(2, 2)]),
    "einsum with an array": (lambda x: np.einsum("ij,j", np.eye(3), x), [(3,)]),
}


@pytest.mark.parametrize("call", sorted(CALLS))
def test_functions_made_of_primitives_agree_with_numpy(call: str) -> None:
    f, shapes = CALLS[call]
    rng = np.random.default_rng(len(call))
    xs = [rng.uniform(-2, 2, shape) for shape in shapes]
    expected, found = f(*xs), f(*map(Value, xs))
    assert isinstance(found, Value)
    assert (found.shape, found.dtype) == (np.shape(expected), expected.dtype)
    np.testing.assert_allclose(found.data, expected, rtol=1e-13, atol=1e-13)
    assert_gradient(f, *xs, order=2)


def test_the_operands_of_a_join_may_differ_in_length() -> None:
    x, y = Value(np.ones((1, 2))), Value(np.ones((3, 2)))
    (np.concatenate([x, y]) * [[1.0], [2.0], [3.0], [4.0]]).sum().backward()
    assert x.grad.tolist() == [[1, 1]]
    assert y.grad.tolist() == [[2, 2], [3, 3], [4, 4]]


def test_cross_entropy_of_class_numbers_is_that_of_rows_with_a_single_one() -> None:
    z, classes = np.random.default_rng(0).normal(size=(4, 3)), np.array([0, 2, 1, 2])
    np.testing.assert_allclose(cross_entropy(z, classes), cross_entropy(z, np.eye(3)[classes]))
    assert_gradient(lambda z: cross_entropy(z, classes), z, order=2)
    assert_gradient(lambda z: cross_entropy(z, 2), z[0], order=2)
    images = np.random.default_rng(0).normal(size=(2, 3, 2, 1))  # PyTorch's (n, classes, ...)
    labels = np.array([[[0], [1]], [[2], [2]]])
    assert_gradient(lambda z: cross_entropy(z, labels), images, order=2)


def test_astype_returns_the_cotangent_in_its_operands_dtype() -> None:
    x = Value(np.float32([1, 2]))
    (x.astype(np.float64) * 2).sum().backward()
    assert x.grad.dtype == np.float32
