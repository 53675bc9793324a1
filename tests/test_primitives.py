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

from tensorgrad import Value
from tensorgrad.domain import Shape
from tensorgrad.primitive import Primitive, registry
from tests.numerical import STEP, Array, central_differences, complex_step, largest

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
            out = op(*operands, **params)
            g = rng.standard_normal(np.shape(out)).astype(out.dtype)[()]
            note(f"{op.name}{shapes} {params} {[d.__name__ for d in dtypes]}")
            return Case(operands, params, g, rng)
    assume(False)
    raise AssertionError


def gradients(op: Primitive, case: Case, operands: list[Array], g: Array) -> list[Array]:
    """The engine's gradient of sum(g · op(operands)) by each operand."""
    values = [Value(x) for x in operands]
    op(*values, **case.params).backward(g)
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
    forward = lambda *xs: float(np.sum(case.g * op.forward(*xs, **case.params), dtype=float))
    for i, d in enumerate(gradients(op, case, case.operands, case.g)):
        x = case.operands[i]
        assert (d.shape, d.dtype) == (x.shape, x.dtype)
        expected, error = central_differences(one_at_a_time(forward, exact, i), exact[i])
        scale = 1 + largest(expected, case.g)
        assert_close(d, expected, 10 * error + (1e-5 if case.single else 1e-9) * scale)
        if op.domain.complex:
            step = lambda *xs: np.sum(case.g * op.forward(*xs, **case.params))
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
    op(*operands, **case.params).backward(g, create_graph=True)
    total = sum(np.sum(w * v.grad) for w, v in zip(weights, operands, strict=True))
    for value in values:
        value.grad = None
    if isinstance(total, Value) and total.requires_grad:
        total.backward()
    exact = [*case.exact, np.asarray(case.g, np.float64)[()]]
    for i, value in enumerate(values):
        expected, error = central_differences(one_at_a_time(projection, exact, i), exact[i])
        d = np.zeros(value.shape) if value.grad is None else value.grad
        assert d.shape == value.shape
        floor = 1e-4 if case.single else 1e-8
        scale = 1 + largest(expected, projection(*exact), case.g, *weights)
        assert_close(d, expected, 10 * error + floor * scale)
