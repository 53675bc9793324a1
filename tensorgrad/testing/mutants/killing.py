"""Whether the tests of a primitive notice a mutant: `check_rule`, and tests that are written out.

A few examples kill nearly all mutants; the rest gets the full number. The tests that are written
out, such as those of choices at ties, are in the repository: without it some mutants survive.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, core, settings

from tensorgrad.engine.primitive import Primitive, registry
from tensorgrad.testing import check_rule
from tensorgrad.testing.mutants import Mutant

QUICK = 20  # examples


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
    if not find_spec("tests"):
        return
    if op.name == "divide":
        policies = import_module("tests.test_policies")
        beside = policies.test_an_entry_beside_a_masked_one_keeps_its_gradient
        yield from (partial(beside, name) for name in ("1 / x", "x / x"))
    if not op.choice:
        return
    choices = import_module("tests.test_choices")
    if op.name in choices.ROWS:
        yield partial(choices.test_the_choice_is_what_it_is_said_to_be, op.name)
    else:  # one of SciPy's, which have a table of their own
        test = import_module("tests.test_scipy").test_slopes_at_corners_and_edges
        (rows,) = (mark.args[1] for mark in test.pytestmark if mark.name == "parametrize")
        yield from (partial(test, *row) for row in rows)
