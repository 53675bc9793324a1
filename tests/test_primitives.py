"""Every registered primitive, checked from its declaration alone.

Operands are drawn from its `domain`: shapes, broadcast partners, float dtypes, params. The engine's
gradient meets central differences (first and second order) and, where the forward is analytic, the
complex step.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, note
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.domain import Shape
from tensorgrad.ops.neural import cross_entropy
from tensorgrad.primitive import Primitive, registry
from tests.numerical import (
    STEP,
    Array,
    assert_gradient,
    central_differences,
    complex_step,
    largest,
)

MARGIN = 4 * STEP  # how far operands stay from a kink: no difference quotient reaches across it
SIDES = st.sampled_from([2, 1, 3, 0])


class Case(NamedTuple):
    """A call of a primitive, and a cotangent of its result."""

    operands: list[Array]
    params: dict[str, Any]
    g: Array
    rng: np.random.Generator

    @property
    def exact(self) -> list[Array]:
        """The operands in float64."""
        return [x.astype(np.float64) for x in self.operands]

    @property
    def single(self) -> bool:
        """Whether anything is computed in float32."""
        return any(x.dtype == np.float32 for x in self.operands)


def partner(draw: st.DrawFn, shape: Shape) -> Shape:
    """A shape that broadcasts to `shape`: without its first axes, with some of size 1."""
    kept = shape[draw(st.integers(0, len(shape))) :]
    return tuple(1 if draw(st.booleans()) else n for n in kept)


def signature_shapes(draw: st.DrawFn, op: Primitive) -> list[Shape]:
    """Shapes for a gufunc signature: core axes by letter, before them axes that broadcast."""
    terms = re.findall(r"\(([^)]*)\)", op.domain.signature or "")
    sizes: dict[str, int] = {}
    batch = tuple(draw(st.lists(SIDES, max_size=1)))
    shapes: list[Shape] = []
    for i, term in enumerate(terms):
        letters = [letter for letter in term.split(",") if letter]
        if any(letter.endswith("?") for letter in letters) and draw(st.booleans()):
            letters = [letter for letter in letters if not letter.endswith("?")]
            before: Shape = ()
        elif op.domain.broadcast:
            before = partner(draw, batch)
        else:
            before = () if i else batch
        for letter in letters:
            sizes.setdefault(letter, draw(SIDES))
        shapes.append((*before, *(sizes[letter] for letter in letters)))
    return shapes


@st.composite
def operand_shapes(draw: st.DrawFn, op: Primitive) -> list[Shape]:
    if op.domain.signature:
        return signature_shapes(draw, op)
    count = op.arity or draw(st.integers(1, 3))
    # broadcast partners multiply the number of entries: two axes are enough there
    shape = tuple(draw(st.lists(SIDES, max_size=3 if count == 1 else 2)))
    if not op.domain.broadcast:
        return [shape] * count
    whole = draw(st.integers(0, count - 1))  # somebody has the full shape
    return [shape if i == whole else partner(draw, shape) for i in range(count)]


@st.composite
def cases(draw: st.DrawFn, op: Primitive) -> Case:
    shapes = draw(operand_shapes(op))
    choices = list(op.domain.params(*shapes))
    assume(choices)
    params = dict(draw(st.sampled_from(choices)))
    dtypes = [draw(st.sampled_from([np.float64, np.float32])) for _ in shapes]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(50):
        operands = [
            rng.uniform(*op.domain.of(i), shape).astype(dtype)[()]
            for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
        ]
        kink = op.domain.kink and op.domain.kink(*(x.astype(np.float64) for x in operands))
        if kink is None or np.all(np.abs(kink) > MARGIN):
            out = op(*made(op, operands), **params)
            g = rng.standard_normal(np.shape(out)).astype(out.dtype)[()]
            if np.iscomplexobj(out):  # the real part of g · out has both parts in it
                g = g + 1j * rng.standard_normal(np.shape(out)).astype(g.real.dtype)
            note(f"{op.name}{shapes} {params} {[d.__name__ for d in dtypes]}")
            return Case(operands, params, g, rng)
    assume(False)
    raise AssertionError


def made(op: Primitive, xs: Any) -> Any:
    """Operands that fit together, of freely drawn ones."""
    return op.domain.make(*xs) if op.domain.make else xs


def run(op: Primitive, case: Case, xs: Any) -> Any:
    """`op` of drawn operands, arrays or Values."""
    return op(*made(op, xs), **case.params)


def forward(op: Primitive, case: Case, xs: Any) -> Any:
    """NumPy's answer."""
    return op.forward(*made(op, xs), **case.params)


def gradients(op: Primitive, case: Case, operands: list[Array], g: Array) -> list[Array]:
    """The engine's gradient of sum(g · op(operands)) by each operand."""
    values = [Value(x) for x in operands]
    run(op, case, values).backward(g)
    return [value.grad for value in values]


def one_at_a_time(f: Any, xs: list[Array], i: int) -> Any:
    """`f(*xs)` as a function of `xs[i]`."""
    return lambda x: f(*xs[:i], x, *xs[i + 1 :])


def assert_close(found: Array, expected: Array, limit: Array) -> None:
    wrong = ~(np.abs(found - expected) <= limit)
    assert not wrong.any(), f"found {found}, expected {expected}, within {limit}"


@pytest.mark.parametrize("name", sorted(registry))
@given(data=st.data())
def test_gradient_is_the_limit_of_difference_quotients(name: str, data: st.DataObject) -> None:
    op = registry[name]
    case = data.draw(cases(op))
    exact = case.exact
    total = lambda *xs: float(np.real(np.sum(case.g * forward(op, case, xs), dtype=complex)))
    for i, d in enumerate(gradients(op, case, case.operands, case.g)):
        x = case.operands[i]
        assert (d.shape, d.dtype) == (x.shape, x.dtype)
        expected, error = central_differences(one_at_a_time(total, exact, i), exact[i])
        scale = 1 + largest(expected, case.g)
        assert_close(d, expected, 10 * error + (1e-5 if case.single else 1e-9) * scale)
        if op.domain.complex and not np.iscomplexobj(case.g):
            step = lambda *xs: np.sum(case.g * forward(op, case, xs))
            exactly = complex_step(one_at_a_time(step, exact, i), exact[i])
            assert_close(d, exactly, (1e-5 if case.single else 1e-12) * scale)


@pytest.mark.parametrize("name", sorted(registry))
@given(data=st.data())
def test_gradient_of_the_gradient(name: str, data: st.DataObject) -> None:
    """d/dx and d/dg of <w, dL/dx>; the one by g is forward mode by two reverse sweeps."""
    op = registry[name]
    case = data.draw(cases(op))
    weights = [case.rng.standard_normal(x.shape) for x in case.operands]

    def projection(*xs: Array) -> float:
        *operands, g = xs
        pairs = zip(weights, gradients(op, case, operands, g), strict=True)
        return float(sum(np.sum(w * d) for w, d in pairs))

    values = [Value(x) for x in (*case.operands, case.g)]
    *operands, g = values
    run(op, case, operands).backward(g, create_graph=True)
    total = sum(np.sum(w * v.grad) for w, v in zip(weights, operands, strict=True))
    for value in values:
        value.grad = None
    if isinstance(total, Value) and total.requires_grad:
        total.backward()
    exact = [*case.exact, case.g if np.iscomplexobj(case.g) else np.asarray(case.g, float)[()]]
    for i, value in enumerate(values if case.g.size <= 12 and g.dtype.kind == "f" else operands):
        expected, error = central_differences(one_at_a_time(projection, exact, i), exact[i])
        d = np.zeros(value.shape) if value.grad is None else value.grad
        assert d.shape == value.shape
        floor = 1e-4 if case.single else 1e-8
        scale = 1 + largest(expected, projection(*exact), case.g, *weights)
        assert_close(d, expected, 10 * error + floor * scale)


@pytest.mark.parametrize("name", sorted(registry))
@given(data=st.data())
def test_forward_mode_is_the_transpose_of_reverse_mode(name: str, data: st.DataObject) -> None:
    op = registry[name]
    case = data.draw(cases(op))
    f = lambda *xs: run(op, case, xs)
    tangents = [case.rng.standard_normal(x.shape).astype(x.dtype) for x in case.operands]
    _, tangent = tg.jvp(f, tuple(case.operands), tuple(tangents))
    reverse = gradients(op, case, case.operands, case.g)
    assert np.shape(tangent) == np.shape(case.g)
    found = np.real(np.sum(case.g * tangent))
    expected = sum(np.sum(d * t) for d, t in zip(reverse, tangents))
    scale = 1 + largest(case.g) * largest(tangent, *reverse) * case.g.size
    assert_close(found, expected, (1e-4 if case.single else 1e-10) * scale)


@pytest.mark.parametrize("name", sorted(registry))
@given(data=st.data())
def test_vmap_is_a_loop(name: str, data: st.DataObject) -> None:
    """Of the forward and of every rule, over any of the operands."""
    op = registry[name]
    case = data.draw(cases(op))
    n = data.draw(st.sampled_from([2, 1, 3]))
    mapped = [data.draw(st.booleans()) for _ in case.operands]
    mapped[data.draw(st.integers(0, len(mapped) - 1))] = True
    shift = case.rng.permutation
    rows = [
        np.stack([np.reshape(shift(np.ravel(x)), x.shape) for _ in range(n)]) if m else x
        for x, m in zip(case.operands, mapped)
    ]
    g = np.stack([case.g * (i + 1) for i in range(n)])

    def both(g: Array, *xs: Array) -> Array:
        value, pullback = tg.vjp(lambda *xs: run(op, case, xs), *xs)
        return value, pullback(g)

    examples = [both(g[i], *(x[i] if m else x for x, m in zip(rows, mapped))) for i in range(n)]
    axes = (0, *(0 if m else None for m in mapped))
    value, pulled = tg.vmap(both, in_axes=axes)(g, *rows)
    close = {"rtol": 1e-4 if case.single else 1e-10, "atol": 1e-5 if case.single else 1e-12}
    np.testing.assert_allclose(value, np.stack([v for v, _ in examples]), **close)
    assert value.dtype == case.g.dtype
    for i, d in enumerate(pulled):
        np.testing.assert_allclose(d, np.stack([ds[i] for _, ds in examples]), **close)


@pytest.mark.parametrize("name", [n for n in sorted(registry) if registry[n].domain.complex])
@given(data=st.data())
def test_complex_gradient_is_df_dx_minus_i_df_dy(name: str, data: st.DataObject) -> None:
    op = registry[name]
    case = data.draw(cases(op))
    draw = case.rng.uniform
    zs = [x + 1j * draw(-0.5, 0.5, x.shape) for x in case.exact]
    if data.draw(st.booleans()):
        zs[0] = case.exact[0]  # a real operand has a real gradient
    out = run(op, case, zs)
    g = case.rng.standard_normal(out.shape)
    if out.dtype.kind == "c":
        g = g + 1j * draw(-1, 1, out.shape)
    values = [tg.Value(z) for z in zs]
    run(op, case, values).backward(g)
    total = lambda *zs: float(np.real(np.sum(g * forward(op, case, zs))))
    for i, (z, value) in enumerate(zip(zs, values)):
        assert value.grad.dtype == z.dtype
        f = one_at_a_time(total, zs, i)
        expected, error = central_differences(
            lambda x, z=z, f=f: f(x + 1j * np.imag(z)), np.real(z)
        )
        if z.dtype.kind == "c":
            by_y, more = central_differences(lambda y, z=z, f=f: f(z.real + 1j * y), z.imag)
            expected, error = expected - 1j * by_y, error + more
        assert_close(value.grad, expected, 10 * error + 1e-9 * (1 + largest(expected, g)))


def test_every_primitive_of_the_package_is_drawn_from_its_domain() -> None:
    """A `params=` that yields nothing would make the tests above pass without a single call."""
    for op in registry.values():
        shapes = [(2, 3), (3,), (2, 1), (2,), (1,), (), (1, 2)]
        calls = [list(op.domain.params(*[s] * (op.arity or 2))) for s in shapes]
        assert any(calls), f"{op.name}: no params fit any operand"
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
