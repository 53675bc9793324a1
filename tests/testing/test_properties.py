"""Properties: what is drawn, how a failure is shrunk and kept, what the summary counts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad.testing import GradientError, Subject, check_rule, property_gradcheck
from tensorgrad.testing import strategies as sts

Array = Any


def doubled(g: Array, x: Array) -> tuple[Array]:
    return (2 * g * np.cos(x),)


def test_a_right_gradient_passes_at_as_many_points_as_are_asked_for() -> None:
    report = property_gradcheck(np.tanh, sts.arrays(), examples=15)
    assert report.run().points <= 15
    assert report.run().compared["entries"] > 15


def test_arguments_without_a_strategy_broadcast() -> None:
    shapes = set()

    @property_gradcheck(examples=30)
    def hypotenuse(x: Array, y: Array) -> Array:
        shapes.add((np.shape(x), np.shape(y)))
        return np.hypot(x, y + 5)

    hypotenuse()
    assert any(x != y for x, y in shapes)
    assert all(np.broadcast_shapes(x, y) is not None for x, y in shapes)


def test_a_failure_is_shrunk_and_shows_a_test_that_fails_again() -> None:
    wrong = property_gradcheck(np.sin, sts.arrays(), vjp=doubled, examples=50)
    with pytest.raises(GradientError) as caught:
        wrong()
    (failure,) = caught.value.failures
    assert (failure.kind, failure.diagnosis) == (
        "wrong value",
        "equals the true gradient times 2",
    )
    (note,) = [n for n in caught.value.__notes__ if "def test_" in n]
    assert "np.array(0.5)" in note  # no axes, and the simplest number
    lines = note[note.index("def test_") :]
    scope: dict[str, Any] = {"np": np, "sin": wrong}
    exec(lines, scope)
    with pytest.raises(GradientError, match="times 2"):
        scope["test_sin_again"]()


def test_keyword_only_arguments_are_drawn_and_not_differentiated() -> None:
    seen = set()

    @property_gradcheck(x=sts.arrays((2, 3)), axis=st.sampled_from([0, 1, None]), examples=20)
    def total(x: Array, *, axis: int | None) -> Array:
        seen.add(axis)
        return np.sum(x * x, axis=axis)

    total()
    assert seen == {0, 1, None}


def test_a_hand_written_gradient_gets_the_params_too() -> None:
    def vjp(g: Array, x: Array, *, n: int) -> tuple[Array]:
        return (g * n * x ** (n - 1),)

    def power(x: Array, *, n: int) -> Array:
        return x**n

    property_gradcheck(x=sts.arrays(3), n=st.integers(1, 4), vjp=vjp, examples=20)(power)()


def test_points_at_kinks_are_drawn_anew_and_counted() -> None:
    at_0 = st.sampled_from([0.0, 1.5])
    report = property_gradcheck(np.abs, at_0, examples=10).run()
    assert report.points >= 1
    assert report.rejected["whole point"] >= 1


@pytest.mark.nightly  # Hypothesis tries for five seconds
def test_a_property_that_rejects_everything_fails() -> None:
    with pytest.raises(GradientError, match="every drawn point was rejected"):
        property_gradcheck(np.abs, st.just(0.0), examples=10)()


def test_arguments_that_do_not_exist_or_lack_a_strategy_are_named() -> None:
    def f(x: Array, *, axis: int) -> Array:
        return np.sum(x, axis=axis)

    with pytest.raises(TypeError, match="has the arguments x, axis, not y"):
        property_gradcheck(f, y=sts.arrays(), axis=st.just(0))
    with pytest.raises(TypeError, match="pass a strategy for axis"):
        property_gradcheck(f)


def test_a_subject_of_another_library_is_adapted() -> None:
    cube = Subject(lambda x: x**3, lambda g, x: (3 * g * x**2,), name="cube")
    report = property_gradcheck(adapter=lambda f: cube, examples=10)(cube.f).run()
    assert report.name == "cube"
    assert not report.compared["second order"]


@pytest.mark.usefixtures("own_primitives")
def test_a_wrong_rule_is_found_from_the_declaration_alone() -> None:
    wrong = tg.primitive(lambda x: x / (1 + x), lambda g, out, x: g / (1 + x), name="wrong")
    with pytest.raises(GradientError, match="wrong value"):
        check_rule(wrong)


@pytest.mark.usefixtures("own_primitives")
def test_a_rule_that_cannot_be_differentiated_is_wrong_in_second_order() -> None:
    def rule(g: Array, out: Array, x: Array) -> Array:
        return g * 3 * (x.detach() if isinstance(x, tg.Value) else x) ** 2  # loses the graph

    wrong = tg.primitive(lambda x: x**3, rule, name="cubed")
    with pytest.raises(GradientError, match="wrong in second order"):
        check_rule(wrong)


TESTS = """
import numpy as np
from tensorgrad.testing import property_gradcheck, strategies as sts

test_tanh = property_gradcheck(np.tanh, sts.arrays())
test_wrong = property_gradcheck(np.sin, sts.arrays(), vjp=lambda g, x: (g,))

def test_fixture(gradcheck):
    gradcheck(np.hypot, 3.0, 4.0)
    gradcheck(np.sin, np.ones(2), vjp=lambda g, x: (g * np.cos(x),))
"""


def test_a_method_is_refused() -> None:
    with pytest.raises(TypeError, match="is a method"):
        property_gradcheck(lambda self, x: x)


@pytest.mark.parametrize("workers", [[], pytest.param(["-n", "2"], marks=pytest.mark.nightly)])
def test_the_plugin_counts_what_was_checked(tmp_path: Path, workers: list[str]) -> None:
    if workers:
        pytest.importorskip("xdist")
    (tmp_path / "test_mine.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command += ["-W", "error"]
    command += ["-p", "tensorgrad.testing.plugin", "--gradcheck-profile", "quick", *workers]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    assert "def test_sin_again():" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("gradcheck:")]
    names, points, *_ = (int(word) for word in line.split() if word.isdigit())
    assert names == 3  # tanh, sin, hypot
    assert 20 <= points <= 45
