"""Every wrong gradient of the zoo is found and called by its name; no right one is accused.

Here with a few seeds; `python benchmarks/gradient_checking.py rates` tries a thousand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.testing import GradientError, Subject, check, check_grads, check_vjp
from tests.bug_zoo.bugs import BUGS
from tests.bug_zoo.cases import Bug, Difficult
from tests.bug_zoo.difficult import DIFFICULT

SEEDS = range(2)


def named(case: Bug | Difficult) -> str:
    return case.name


@pytest.mark.parametrize("bug", BUGS, ids=named)
def test_a_wrong_gradient_is_found_and_named(bug: Bug) -> None:
    for seed in SEEDS:
        args = bug.draw(np.random.default_rng(seed))
        with pytest.raises(GradientError) as caught:
            check_vjp(bug.f, bug.vjp, *args, argnums=bug.argnums, rng=seed)
        assert bug.is_told_by(caught.value), caught.value


@pytest.mark.parametrize("right", DIFFICULT, ids=named)
def test_a_right_gradient_is_not_accused(right: Difficult) -> None:
    for seed in SEEDS:
        args = right.draw(np.random.default_rng(seed))
        check_vjp(right.f, right.vjp, *args, argnums=right.argnums, rng=seed)


def test_the_zoo_has_at_least_forty_of_each_kind_each_with_a_name_of_its_own() -> None:
    for cases in (BUGS, DIFFICULT):
        assert len({case.name for case in cases}) == len(cases) >= 40


def product_vjp(g: Any, x: Any, y: Any) -> tuple[Any, Any]:
    return g * y, g * x


FORWARD: dict[str, Callable[..., Any]] = {
    "sign": lambda ts, x, y: ts[0] * y - ts[1] * x,
    "the second argument forgotten": lambda ts, x, y: ts[0] * y,
    "10 % too large": lambda ts, x, y: 1.1 * (ts[0] * y + ts[1] * x),
    "size of the tangent": lambda ts, x, y: np.abs(ts[0]) * y + np.abs(ts[1]) * x,
}


@pytest.mark.parametrize("n", [3, 10_000])
@pytest.mark.parametrize("jvp", FORWARD.values(), ids=FORWARD)
def test_a_wrong_derivative_of_forward_mode_is_found(jvp: Callable[..., Any], n: int) -> None:
    x, y = np.random.default_rng(n).normal(size=(2, n))
    with pytest.raises(GradientError, match="wrong in forward mode"):
        check(Subject(np.multiply, product_vjp, jvp), x, y)


SECOND: dict[str, Callable[..., Any]] = {
    "the argument taken for a constant": lambda g, out, x: g * np.cos(tg.stop_gradient(x)),
    "the cotangent taken for a constant": lambda g, out, x: tg.stop_gradient(g) * np.cos(x),
}


@pytest.mark.parametrize("rule", SECOND.values(), ids=SECOND)
@pytest.mark.usefixtures("own_primitives")
def test_a_derivative_that_is_wrong_from_the_second_order_on_is_found(
    rule: Callable[..., Any],
) -> None:
    """It is right to the first."""
    sine = tg.primitive(lambda x: np.sin(x), rule, name="zoo_sine")
    f = lambda x: np.sum(sine(sine(x)))
    x = np.array([0.5, -1.0, 2.0])
    check_grads(f, x, order=1, modes=("rev",))
    with pytest.raises(GradientError, match="wrong in second order"):
        check_grads(f, x, order=2, modes=("rev",))
