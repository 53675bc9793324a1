"""What becomes of the mutants: which tests of a primitive notice them, and the score by family.

The tests are `check_rule`, of which a few examples kill nearly all mutants (the rest gets the full
number), and those that are written out, such as those of choices at ties. One process takes all
mutants of a primitive, as many processes as there are jobs. A family is a module of
`tensorgrad/ops` or SciPy.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, Phase, core, settings

from tensorgrad.engine.primitive import Primitive, registry
from tensorgrad.engine.rules import Each
from tensorgrad.testing import check_rule
from tests.mutants import Mutant, mutants_of
from tests.mutants.equivalents import REASONS
from tests.mutants.source import innermost

KILLED, EQUIVALENT, SURVIVED = "killed", "equivalent", "survived"
QUICK = 20  # examples


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


# The tests of a primitive.


@contextmanager
def examples_of(seed: int | None = None) -> Iterator[None]:
    """The same examples each time, or those of `seed`, and no search for simpler ones that fail."""
    profile, forced = settings.get_current_profile_name(), core.global_force_seed
    settings.register_profile(
        "mutants",
        deadline=None,
        database=None,
        derandomize=seed is None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")
    core.global_force_seed = seed  # type: ignore[assignment]
    try:
        yield
    finally:
        settings.load_profile(profile)
        core.global_force_seed = forced


def killer(mutant: Mutant, examples: int) -> str:
    """The first test of its primitive that fails for `mutant`; "" if none does."""
    return next((name for name, test in tests_of(mutant.op, examples).items() if fails(test)), "")


def false_alarms(op: Primitive, names: Iterable[str], examples: int) -> list[str]:
    """The tests among `names` that fail though `op` is no mutant: they do not count."""
    tests = tests_of(op, examples)
    return [name for name in names if fails(tests[name])]


def tests_of(op: Primitive, examples: int) -> dict[str, Callable[[], Any]]:
    """The tests of a primitive by name, the fastest first."""
    tests: dict[str, Callable[[], Any]] = {
        f"{n} examples": partial(check_rule, op, n) for n in (QUICK, examples)
    }
    return {"written out": partial(check_written_out, op), **tests}


def fails(test: Callable[[], Any]) -> bool:
    """Whether `test` raises anything."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            test()
    except Exception:
        return True
    return False


def check_written_out(op: Primitive) -> None:
    """The tests that are written out for `op`, run with its rules in the registry."""
    original = registry[op.name]
    rules = original.rules
    original.rules = op.rules
    try:
        for test in written_out(op):
            test()
    finally:
        original.rules = rules


def written_out(op: Primitive) -> Iterator[Callable[[], None]]:
    """Tests of what drawn operands never meet: choices at ties, entries beside masked-out zeros."""
    if op.name == "divide":
        policies = importlib.import_module("tests.test_policies")
        beside = policies.test_an_entry_beside_a_masked_one_keeps_its_gradient
        yield from (partial(beside, name) for name in ("1 / x", "x / x"))
    if not op.choice:
        return
    choices = importlib.import_module("tests.test_choices")
    if op.name in choices.ROWS:
        yield partial(choices.test_the_choice_is_what_it_is_said_to_be, op.name)
    else:  # one of SciPy's, which have a table of their own
        test = importlib.import_module("tests.test_scipy").test_slopes_at_corners_and_edges
        (rows,) = (mark.args[1] for mark in test.pytestmark if mark.name == "parametrize")
        yield from (partial(test, *row) for row in rows)


# The table.


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
