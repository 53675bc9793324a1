"""How many mutants are killed, family by family; a family is a module of `tensorgrad/ops` or SciPy.

One process takes all mutants of a primitive, as many processes as there are jobs.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from typing import NamedTuple

from tensorgrad.engine.primitive import Primitive, registry
from tensorgrad.engine.rules import Each
from tensorgrad.testing.mutants import Mutant, mutants_of
from tensorgrad.testing.mutants.equivalents import REASONS
from tensorgrad.testing.mutants.killing import examples_of, false_alarms, killer
from tensorgrad.testing.mutants.source import innermost

KILLED, EQUIVALENT, SURVIVED = "killed", "equivalent", "survived"


class Verdict(NamedTuple):
    """What became of a mutant of a primitive of `family`."""

    family: str
    mutant: str
    fate: str


def load() -> None:
    """All primitives of the package, those for SciPy where it is installed."""
    importlib.import_module("tensorgrad")
    if find_spec("scipy"):
        for name in ("special", "linalg"):
            importlib.import_module(f"tensorgrad.scipy.{name}")


def judge(name: str, examples: int, seed: int | None) -> list[Verdict]:
    """The verdicts on all mutants of a primitive."""
    load()
    op = registry[name]
    with examples_of(seed):
        killers = {m: killer(m, examples) for m in mutants_of(op)}
        wrong = false_alarms(op, {*killers.values()} - {""}, examples)
    if wrong:
        return [Verdict(family(op), f"{name}: its own rules fail {wrong[0]}", SURVIVED)]
    return [Verdict(family(op), str(m), fate(m, by)) for m, by in killers.items()]


def fate(mutant: Mutant, killer: str) -> str:
    return KILLED if killer else EQUIVALENT if str(mutant) in REASONS else SURVIVED


def judge_all(
    names: Iterable[str], jobs: int, examples: int, seed: int | None
) -> Iterator[list[Verdict]]:
    """The verdicts on each primitive, in the order of `names`."""
    with ProcessPoolExecutor(jobs) as pool:
        futures = [pool.submit(judge, name, examples, seed) for name in names]
        yield from (future.result() for future in futures)


def family(op: Primitive) -> str:
    """The module that declares `op`: where its formulas stand, or else where its name does."""
    rules = [op.rules.rule] if isinstance(op.rules, Each) else op.rules
    modules = [innermost(rule).__module__ for rule in rules]
    for name, module in [*sys.modules.items()]:
        modules += [name for x in vars(module).values() if x is op]
    homes = ("tensorgrad.ops.", "tensorgrad.scipy.")
    own = (m for m in modules if m.startswith(homes) and not m.endswith(".declare"))
    return next(own, modules[0]).removeprefix("tensorgrad.")


def table(verdicts: Iterable[Verdict]) -> list[tuple[str, ...]]:
    """One row for each family, and one for all: what was counted, and the score."""
    rows: dict[str, dict[str, int]] = {}
    for v in verdicts:
        for group in (v.family, "all"):
            counts = rows.setdefault(group, dict.fromkeys((KILLED, EQUIVALENT, SURVIVED), 0))
            counts[v.fate] += 1
    names = sorted(rows, key=lambda name: (name == "all", name))
    return [("family", "mutants", *rows["all"], "score")] + [
        (name, str(sum(rows[name].values())), *map(str, rows[name].values()), score(rows[name]))
        for name in names
    ]


def score(counts: dict[str, int]) -> str:
    """The share that was killed of those that are not equivalent, rounded down."""
    alive, dead = counts[SURVIVED], counts[KILLED]
    return f"{1000 * dead // (alive + dead) / 10:g} %" if alive else "100 %"
