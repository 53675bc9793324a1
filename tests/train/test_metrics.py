"""Metrics equal their formulas, counted out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorgrad import Value
from tensorgrad.train import (
    accuracy,
    calibrate,
    calibration_error,
    confusion_matrix,
    f1,
    mean_absolute_error,
    perplexity,
    r2,
    top_k_accuracy,
)

RNG = np.random.default_rng(0)
N, C = 40, 5
SCORES = RNG.normal(size=(N, C)).round(1)  # ties
RIGHT = RNG.integers(0, C - 1, N)  # the last class is never right
TAKEN = SCORES.argmax(axis=1)


def f1_of(c: int) -> float:
    hits = sum(1 for t, r in zip(TAKEN, RIGHT) if t == r == c)
    precision = hits / max(sum(c == TAKEN), 1)
    recall = hits / max(sum(c == RIGHT), 1)
    return 2 * precision * recall / (precision + recall) if hits else 0.0


def test_a_confusion_matrix_counts_right_classes_by_row_and_answers_by_column() -> None:
    expected = np.zeros((C, C), int)
    for t, r in zip(TAKEN, RIGHT):
        expected[r, t] += 1
    for answers, targets in ((SCORES, RIGHT), (SCORES, np.eye(C)[RIGHT]), (Value(SCORES), RIGHT)):
        np.testing.assert_array_equal(confusion_matrix(answers, targets), expected)
    np.testing.assert_array_equal(confusion_matrix(TAKEN, RIGHT), expected)


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    each = [f1_of(c) for c in range(C)]
    np.testing.assert_allclose(f1(SCORES, RIGHT, average=None), each)
    assert f1(SCORES, RIGHT) == pytest.approx(np.mean(each))
    shares = [np.mean(c == RIGHT) for c in range(C)]
    assert f1(SCORES, RIGHT, average="weighted") == pytest.approx(np.dot(each, shares))
    assert f1(SCORES, RIGHT, average="micro") == pytest.approx(accuracy(SCORES, RIGHT))


def test_a_class_that_is_met_nowhere_does_not_count_in_the_macro_average() -> None:
    taken, right = np.array([0, 0, 3]), np.array([0, 1, 3])
    np.testing.assert_allclose(f1(taken, right, average=None), [2 / 3, 0, 0, 1])
    assert f1(taken, right) == pytest.approx((2 / 3 + 0 + 1) / 3)


def test_f1_of_two_classes_may_be_that_of_the_second() -> None:
    taken, right = np.array([1, 1, 0, 0]), np.array([1, 0, 1, 1])
    assert f1(taken, right, average="binary") == pytest.approx(2 / 5)
    assert f1(np.array([0]), np.array([0]), average="binary") == 0.0


@pytest.mark.parametrize("k", [1, 2, C])
def test_top_k_accuracy_looks_among_the_k_largest(k: int) -> None:
    scores = RNG.normal(size=(N, C))
    hits = [r in sorted(range(C), key=lambda c: row[c])[-k:] for row, r in zip(scores, RIGHT)]
    assert top_k_accuracy(scores, RIGHT, k) == pytest.approx(np.mean(hits))
    assert k > 1 or top_k_accuracy(scores, RIGHT, k) == accuracy(scores, RIGHT)


def test_perplexity_is_the_inverse_geometric_mean_of_the_right_ones_probability() -> None:
    logits, right = RNG.normal(size=(4, C, 3)) * 5, RNG.integers(0, C, (4, 3))
    p = [
        np.exp(logits[n, right[n, t], t]) / sum(np.exp(logits[n, :, t]))
        for n in range(4)
        for t in range(3)
    ]
    assert perplexity(logits, right) == pytest.approx(np.prod(p) ** (-1 / 12))
    assert perplexity(logits + 1e4, right) == pytest.approx(np.prod(p) ** (-1 / 12))


def test_r2_is_the_share_of_the_variance_that_is_explained() -> None:
    y = RNG.normal(size=(9, 2))
    z = y + RNG.normal(size=(9, 2))
    expected = [
        1 - sum((y[i, j] - z[i, j]) ** 2 for i in range(9)) / (9 * np.var(y[:, j]))
        for j in range(2)
    ]
    assert r2(z, y) == pytest.approx(np.mean(expected))
    assert mean_absolute_error(z, y) == pytest.approx(np.mean([abs(x) for x in (z - y).ravel()]))
    constant = np.ones(3)
    assert (r2(constant, constant), r2(constant + 1, constant)) == (1.0, 0.0)


def test_calibration_undoes_a_confidence_that_was_made_too_high_or_too_low() -> None:
    logits = RNG.normal(size=(4000, C)) * 3
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right = (p.cumsum(axis=1) < RNG.uniform(size=(4000, 1))).sum(axis=1)  # drawn by p
    assert calibrate(logits, right) == pytest.approx(1, abs=0.05)
    for factor in (0.2, 7.0):
        assert calibrate(factor * logits, right) == pytest.approx(factor * calibrate(logits, right))
        assert calibrate(factor * logits + 1e3, np.eye(C)[right]) == pytest.approx(
            calibrate(factor * logits, right)
        )
    assert calibration_error(p, right) < 0.03
    sharp = np.exp(3 * logits) / np.exp(3 * logits).sum(axis=1, keepdims=True)
    assert calibration_error(sharp, right) > 0.1


def test_calibration_error_is_the_gap_between_confidence_and_accuracy_bin_by_bin() -> None:
    p = RNG.dirichlet(np.ones(C), N)
    hits = p.argmax(axis=1) == RIGHT
    expected = 0.0
    for low in np.arange(4) / 4:
        part = (p.max(axis=1) >= low) & (p.max(axis=1) < low + 0.25)
        if part.any():
            expected += abs(hits[part].mean() - p.max(axis=1)[part].mean()) * part.mean()
    assert calibration_error(p, RIGHT, bins=4) == pytest.approx(expected)
    assert calibration_error(np.eye(C)[RIGHT], RIGHT) == 0


def test_two_classes_may_be_told_by_truth_values() -> None:
    logits, right = np.array([[5.0, 0.0]] * 4), np.array([0, 0, 0, 1])
    for f in (calibrate, perplexity):
        assert f(logits, right.astype(bool)) == f(logits, right)


HALF = np.full((4, C), 0.5)
WRONG: list[tuple[Any, tuple[Any, ...], str]] = [
    (calibration_error, (HALF, [0, 1, 2, C]), "each of one of the classes"),
    (calibration_error, (HALF, [0, 1, 2, np.nan]), "each of one of the classes"),
    (calibration_error, (HALF[:0], []), "needs examples"),
    (calibrate, (HALF[:0], np.zeros(0, int)), "needs logits"),
    (calibrate, (HALF * 1j, [0, 1, 2, 3]), "finite and real"),
    (calibrate, (HALF * np.nan, [0, 1, 2, 3]), "finite and real"),
    (top_k_accuracy, (SCORES, RIGHT, C + 1), "k=6, of 5 classes"),
    (top_k_accuracy, (SCORES, RIGHT, 0), "k=0"),
    (top_k_accuracy, (SCORES[:, 0], RIGHT), "compares answers"),
    (confusion_matrix, (SCORES, RIGHT + 3), "from 0 to 4"),
    (confusion_matrix, (SCORES, RIGHT - 1), "from 0 to 4"),
    (confusion_matrix, (TAKEN - 1, RIGHT), "whole numbers"),
    (confusion_matrix, (SCORES[:, 0], RIGHT), "whole numbers"),
    (f1, (SCORES, RIGHT, "binary"), "is for two classes, there are 5"),
    (f1, (SCORES, RIGHT, "median"), "average='median'"),
    (perplexity, (SCORES[None], RIGHT), "answers .n, classes"),
    (perplexity, (SCORES, RIGHT + 3), "from 0 to 4"),
    (calibration_error, (SCORES, RIGHT), "needs probabilities"),
    (calibration_error, (SCORES[:, 0], RIGHT), "compares answers"),
    (calibrate, (SCORES, RIGHT + 3), "from 0 to 4"),
    (calibrate, (SCORES * np.nan, RIGHT), "finite"),
    (calibrate, (np.eye(C)[RIGHT], RIGHT), "all is right"),
    (calibrate, (-np.eye(C)[RIGHT], RIGHT), "all is chance"),
    (r2, (SCORES, SCORES[:, :1]), "equal shapes"),
    (mean_absolute_error, (SCORES[:0], SCORES[:0]), "equal shapes"),
]


@pytest.mark.parametrize(("metric", "given", "message"), WRONG)
def test_what_cannot_be_compared_is_an_error(metric: Any, given: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metric(*given)
