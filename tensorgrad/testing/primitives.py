"""A primitive's rules, checked from its declaration alone.

Operands are drawn from its `domain`: shapes, broadcast partners, real and complex dtypes, params.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.primitive import Primitive
from tensorgrad.engine.rules import Refused
from tensorgrad.testing.check import check
from tensorgrad.testing.properties import Tally, examples_of, phases
from tensorgrad.testing.report import Report
from tensorgrad.testing.subject import from_values

Array = Any
Sides = st.SearchStrategy[int]
MARGIN = 2.0**-6  # how far operands stay from a kink
SIDES = st.sampled_from([(2, 1, 3, 0), (2,), (3,), (2, 1)]).map(st.sampled_from)  # square, often


class Case(NamedTuple):
    """A call of a primitive: what it is made from, and a generator for more random numbers."""

    op: Primitive
    operands: list[Array]
    params: dict[str, Any]
    rng: np.random.Generator
    domain: Domain

    def run(self, *xs: Array) -> Array:
        """The call with other operands, arrays or Values."""
        operands = self.domain.make(*xs) if self.domain.make else xs
        return self.op(*operands, **self.params)

    @property
    def free(self) -> list[int]:
        """The operands that there is a rule for."""
        return [i for i in range(len(self.operands)) if has_rule(self.op, i)]

    def check(self, order: int) -> Report:
        """Check the derivatives by these operands."""
        subject = from_values(self.run, str(self), self.free)
        return check(subject, *self.operands, order=order, argnums=self.free, rng=self.rng)

    def __repr__(self) -> str:
        parts = [f"{x.dtype}{list(x.shape)}" for x in self.operands]
        parts += [f"{name}={value}" for name, value in self.params.items()]
        return f"{self.op.name}({', '.join(parts)})"


def has_rule(op: Primitive, i: int) -> bool:
    return op.arity is None or not isinstance(op.formulas[i], Refused)


def checkable(op: Primitive) -> bool:
    """Whether there is a rule to check."""
    return any(has_rule(op, i) for i in range(op.arity or 1))


def partner(draw: st.DrawFn, shape: Shape) -> Shape:
    """A shape that broadcasts to `shape`: without its first axes, with some of size 1."""
    kept = shape[draw(st.integers(0, len(shape))) :]
    return tuple(1 if draw(st.booleans()) else n for n in kept)


def signature_shapes(draw: st.DrawFn, domain: Domain, sides: Sides) -> list[Shape]:
    """Shapes for a gufunc signature: core axes by letter, before them axes that broadcast."""
    terms = re.findall(r"\(([^)]*)\)", domain.signature or "")
    sizes: dict[str, int] = {}
    batch = tuple(draw(st.lists(sides, max_size=1)))
    shapes: list[Shape] = []
    for i, term in enumerate(terms):
        letters = [letter for letter in term.split(",") if letter]
        if any(letter.endswith("?") for letter in letters) and draw(st.booleans()):
            letters = [letter for letter in letters if not letter.endswith("?")]
            before: Shape = ()
        elif domain.broadcast:
            before = partner(draw, batch)
        else:
            before = () if i else batch
        for letter in letters:
            sizes.setdefault(letter, draw(sides))
        shapes.append((*before, *(sizes[letter] for letter in letters)))
    return shapes


@st.composite
def operand_shapes(draw: st.DrawFn, op: Primitive, domain: Domain) -> list[Shape]:
    """Shapes that a primitive's operands may have together."""
    sides = draw(SIDES)
    if domain.signature:
        return signature_shapes(draw, domain, sides)
    count = op.arity or draw(st.integers(1, 3))
    # broadcast partners multiply the number of entries: two axes are enough for them
    shape = tuple(draw(st.lists(sides, max_size=3 if count == 1 or not domain.broadcast else 2)))
    if not domain.broadcast:
        return [shape] * count
    whole = draw(st.integers(0, count - 1))  # somebody has the full shape
    return [shape if i == whole else partner(draw, shape) for i in range(count)]


@st.composite
def cases(draw: st.DrawFn, op: Primitive, complex: bool = False) -> Case:
    """Calls of `op`, away from its kinks; with `complex`, of operands that may be complex."""
    domain = draw(st.sampled_from(domains(op)))
    shapes = draw(operand_shapes(op, domain))
    choices = list(domain.params(*shapes))
    assume(choices)
    params = dict(draw(st.sampled_from(choices)))
    reals: list[Any] = [np.float64, np.float32]
    kinds = [*reals, np.complex128] if complex and domain.complex else reals
    dtypes = [
        draw(st.sampled_from(kinds if has_rule(op, i) else reals)) for i in range(len(shapes))
    ]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    for _ in range(50):
        operands = [
            drawn(rng, domain.of(i), shape, dtype)
            for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
        ]
        kink = domain.kink and domain.kink(*(x.astype(np.float64) for x in operands))
        if kink is None or np.all(np.abs(kink) > MARGIN):
            return Case(op, operands, params, rng, domain)
    reject()


def domains(op: Primitive) -> list[Domain]:
    """The domains that a primitive declares."""
    found = [op.domain]
    while found[-1].also:
        found.append(found[-1].also)
    return [domain._replace(signature=domain.signature or op.signature) for domain in found]


def drawn(rng: np.random.Generator, interval: tuple[float, float], shape: Shape, dtype: Any) -> Any:
    x = rng.uniform(*interval, shape)
    if np.issubdtype(dtype, np.complexfloating):
        x = x + 1j * rng.uniform(-0.5, 0.5, shape)
    return np.asarray(x).astype(dtype)[()]


def check_rule(op: Primitive, examples: int | None = None, order: int = 2) -> Report:
    """Check every rule of `op`, on operands drawn from its `domain`, up to derivatives of `order`.

    Real, complex and mixed dtypes, broadcast operands, each of its params; reverse and forward
    mode. `examples`: how many calls; by default as many as the Hypothesis profile says.
    GradientError shows the smallest failing call.

    >>> from tensorgrad.ops.elementwise import tanh
    >>> check_rule(tanh, examples=20).failures
    []
    """
    tally = Tally(op.name)

    if not isinstance(op, Primitive):
        raise TypeError(f"check_rule: {op!r} is no primitive; of other functions use check_grads")

    @settings(max_examples=examples_of(examples), database=None, deadline=None, phases=phases())
    @given(case=cases(op, complex=True))
    def property(case: Case) -> None:
        tally.count(lambda: case.check(order))

    return tally.run(property)
