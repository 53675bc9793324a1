"""What a report looks like, and what may be done with one."""

from __future__ import annotations

import copy
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest

from tensorgrad.testing import Choice, Failure, GradientError, Report, check_grads, check_vjp


def error(**more: Any) -> GradientError:
    x = np.array([[0.0], [2.0]])
    with pytest.raises(GradientError) as caught:
        check_vjp(lambda x: x**2, lambda g, x: (3 * g * x,), x, **more)
    return caught.value


def test_a_failure_is_told_in_full() -> None:
    lines = str(error()).splitlines()
    assert lines[0].startswith("<lambda>: wrong; compared 4 entries; worst error / bar ")
    assert lines[1:3] == ["wrong value", "  gradient by x, entry [1, 0], of output entry [1, 0]"]
    assert lines[3].split() == ["found", "6"]
    assert lines[4].split()[:3] == ["expected", "4", "±"]
    assert float(lines[4].split()[3]) < 1e-9
    assert lines[5] == "  diagnosis: equals the true gradient times 3/2"
    assert lines[6] == "at x = array([[0.], [2.]])"


def test_what_is_true_of_a_pass() -> None:
    report = check_vjp(lambda x: x**2, lambda g, x: (2 * g * x,), np.array([1.0, 2.0]))
    assert report.compared == {"entries": 4}
    assert report.failures == report.choices == []
    assert 0 <= report.worst <= 1
    assert str(report).startswith("<lambda>: right; compared 4 entries; worst error / bar 0")


def test_three_choices_are_shown_and_all_are_counted() -> None:
    report = check_grads(np.abs, np.array([0.0] * 5 + [1.0]), order=1)
    assert len(report.choices) == report.rejected["kink"] == 5
    assert "rejected: 5 (kink)" in str(report)
    told = "by x[0] the slope is -1 on the left, 1 on the right; the gradient says 0"
    assert told in str(report)
    assert str(report).count("the gradient says") == 3


def test_it_is_an_assertion_error_with_its_failures() -> None:
    wrong = error()
    assert isinstance(wrong, AssertionError)
    (failure,) = wrong.failures
    assert wrong.failures is wrong.report.failures
    assert (failure.kind, failure.argument, failure.index) == ("wrong value", "x", (1, 0))


@pytest.mark.parametrize("copied", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
def test_it_travels_between_processes(copied: Any) -> None:
    wrong = error()
    again = copied(wrong)
    assert type(again) is GradientError
    assert str(again) == str(wrong)
    assert again.failures == wrong.failures


def test_large_arguments_are_not_printed() -> None:
    with pytest.raises(GradientError, match=r"at x = <ndarray of shape \(30, 2\)>$"):
        check_vjp(np.sin, lambda g, x: (g,), np.ones((30, 2)))


def test_reports_add_up() -> None:
    total = Report("all")
    for worst in (0.5, 0.25):
        one = Report(compared=Counter(entries=3), rejected=Counter(kink=1), worst=worst)
        one.choices.append(Choice("x", (0,), -1.0, 1.0, 0.0))
        one.failures.append(Failure("wrong value"))
        total.add(one)
    assert total.compared == {"entries": 6}
    assert total.rejected == {"kink": 2}
    assert (len(total.choices), len(total.failures), total.worst) == (2, 2, 0.5)
