"""Mutation testing of the rules: does `check_rule` see every slip that a person could make?

Every rule of every primitive is broken in many ways, one at a time: what it returns (`results.py`)
and its formula in the source (`source.py`, `edits.py`). A mutant that the tests of its primitive
do not notice (`verdict.py`) is a hole in the tests, unless it is the same function in other words:
`equivalents.py` lists those, each with the reason.

    python -m tests.mutants [NAME ...] [--jobs N] [--examples N]

prints how many of them were noticed, by family, and those that were not.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from types import FunctionType
from typing import NamedTuple

from tensorgrad.engine.primitive import Primitive
from tensorgrad.engine.rules import Each, Rule
from tests.mutants.results import mutants_of_result
from tests.mutants.source import mutants_of_source

__all__ = ["Mutant", "mutants_of"]


class Mutant(NamedTuple):
    """A primitive with one rule changed: `op`, a copy that is in no registry.

    `operand`: of which the rule is, None where all operands share one. `before`, `after`: the
    expression that was changed, empty where it is the rule's answer.
    """

    op: Primitive
    operand: int | None
    kind: str
    before: str = ""
    after: str = ""

    def __str__(self) -> str:
        which = "each operand" if self.operand is None else f"operand {self.operand}"
        change = f": {self.before} → {self.after}" if self.before else ""
        return f"{self.op.name}, {which}, {self.kind}{change}"


def mutants_of(op: Primitive) -> Iterator[Mutant]:
    """Every mutant of every rule of `op`."""
    each = isinstance(op.rules, Each)
    rules = [op.rules.rule] if isinstance(op.rules, Each) else op.rules
    for i, rule in enumerate(rules):
        operand = None if each else i
        for kind, mutant in mutants_of_result(op, i):
            yield Mutant(with_rule(op, i, mutant), operand, kind)
        if isinstance(rule, FunctionType):
            for kind, before, after, mutant in mutants_of_source(rule):
                yield Mutant(with_rule(op, i, mutant), operand, kind, before, after)


def with_rule(op: Primitive, i: int, rule: Rule) -> Primitive:
    """A copy of `op` with `rule` for operand `i`."""
    other = copy.copy(op)
    if isinstance(op.rules, Each):
        other.rules = type(op.rules)(rule)
    else:
        other.rules = [rule if k == i else r for k, r in enumerate(op.rules)]
    return other
