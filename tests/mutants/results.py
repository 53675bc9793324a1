"""Mutants of what a rule returns: wrong everywhere, in one entry, or only in special cases.

They are written in functions that take Values: a mutant can be differentiated as its rule can.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import wraps
from typing import NamedTuple

import numpy as np

from tensorgrad.engine.node import Array, data_of
from tensorgrad.engine.primitive import Primitive
from tensorgrad.engine.rules import Each, Refused, Rule

AT_TIES = "wrong only at ties"


class Given(NamedTuple):
    """What a rule was called with, for operand `x`."""

    g: Array
    out: Array
    operands: tuple[Array, ...]
    x: Array


SINGLE = (np.float32, np.complex64)
Change = Callable[[Array, Given], Array]
"""What becomes of a cotangent that a rule returned."""


def mutants_of_result(op: Primitive, i: int) -> Iterator[tuple[str, Rule]]:
    """Of every change of rule `i` of `op`: its kind, and the changed rule."""
    rule = op.rules.rule if isinstance(op.rules, Each) else op.rules[i]
    if isinstance(rule, Refused):
        return
    for kind, change in changes(op):
        if not (kind in PRODUCTS and rule.__name__.startswith("flat")):  # it answers 0
            yield kind, changed(rule, change, None if isinstance(op.rules, Each) else i)
    if not isinstance(op.rules, Each):
        others = [r for r in op.rules if not isinstance(r, Refused) and not same(r, rule)]
        yield from (("gradient of another operand", r) for r in others[:1])


def changes(op: Primitive) -> Iterator[tuple[str, Change]]:
    """The changes that make sense for `op`, and their kinds."""
    yield from {
        "sign flipped": lambda c, given: grown(c, given, -2),
        "factor 2": lambda c, given: grown(c, given, 1),
        "off by 0.1 %": lambda c, given: grown(c, given, 0.001),
        "squared": lambda c, given: c * c,
        "constant gradient": lambda c, given: 0 * c + 1,
        "transposed where square": transposed,
        "wrong in its first entry": lambda c, given: grown(c, given, one_entry(c, given, 0)),
        "wrong in its last entry": lambda c, given: grown(c, given, one_entry(c, given, -1)),
        "wrong only for size-1 axes": only(lambda given: 1 in np.shape(given.x)),
        "wrong only in float32": only(lambda given: getattr(given.x, "dtype", None) in SINGLE),
    }.items()
    if op.domain.broadcast and op.arity != 1:
        yield (
            "wrong only for broadcast operands",
            only(lambda given: np.shape(given.x) != np.shape(given.out)),
        )
    if op.choice:
        yield AT_TIES, lambda c, given: c + 1 if ties(op, given) else c


PRODUCTS = {"sign flipped", "squared", "transposed where square"}
"""Kinds that leave a gradient of 0 as it is."""


def changed(rule: Rule, change: Change, i: int | None) -> Rule:
    """`rule`, of operand `i`, with another answer; `i` is None where it is told which operand."""

    @wraps(rule)
    def mutant(*args: Array, **params: object) -> Array:
        k, (g, out, *operands) = (args[0], args[1:]) if i is None else (i, args)
        return change(rule(*args, **params), Given(g, out, tuple(operands), operands[k]))

    return mutant


def same(one: Rule, other: Rule) -> bool:
    """Whether two rules are the same formula."""
    return one.__code__.co_code == other.__code__.co_code and contents(one) == contents(other)


def contents(rule: Rule) -> tuple[object, ...]:
    """What the formula of `rule` refers to."""
    code, cells = rule.__code__, rule.__closure__ or ()
    return code.co_consts, code.co_names, code.co_varnames, [c.cell_contents for c in cells]


def grown(c: Array, given: Given, by: Array) -> Array:
    """`c` and `by` times as much more; of the plain number 0 that flat functions return, of `g`."""
    return by * given.g if type(c) is float else c * (1 + by)


def only(where: Callable[[Given], bool]) -> Change:
    """0.1 % too much in some calls."""
    return lambda c, given: grown(c, given, 0.001) if where(given) else c


def transposed(c: Array, given: Given) -> Array:
    shape = np.shape(c)
    return np.swapaxes(c, -1, -2) if len(shape) > 1 and shape[-1] == shape[-2] else c


def one_entry(c: Array, given: Given, i: int) -> Array:
    """1 in entry `i` of the gradient, 0 elsewhere."""
    try:
        shape = np.broadcast_shapes(np.shape(c), np.shape(given.x))
    except ValueError:  # the sweep sums the cotangent first
        shape = np.shape(c)
    entries = np.zeros(shape)
    if entries.size:
        entries.flat[i] = 1
    return entries


def ties(op: Primitive, given: Given) -> bool:
    """Whether `op` has a choice: at its kink, or where an entry is whole, or two are equal."""
    xs = [data_of(x) for x in given.operands]
    if op.domain.kink is not None and np.any(np.equal(op.domain.kink(*xs), 0)):
        return True
    entries = np.concatenate([np.ravel(x) for x in xs])
    return bool(np.any(entries == np.rint(entries))) or len(np.unique(entries)) < entries.size
