"""Metrics: how good answers are, as a number to report. Nothing here is differentiated.

Each is a function of (answers, targets), as a loss is; averages, and what an empty class counts,
are scikit-learn's. `fit(..., metric=[accuracy, f1])` measures them on the validation data.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from tensorgrad.engine.arrays import to_numbers
from tensorgrad.engine.node import Array, data_of


def accuracy(answers: Any, targets: Any) -> float:
    """The share of rows whose largest answer is the right class (a number, or a row of 0 and 1).

    `answers`: (n, classes), at least two of them; `targets`: (n,) or (n, classes). ValueError for
    other shapes, such as those of a regression, which has no right class.

    >>> accuracy(np.array([[0.9, 0.1], [0.6, 0.4]]), np.array([0, 1]))
    0.5
    """
    scores, right = scores_of("accuracy", answers, targets)
    return float(np.mean(scores.argmax(axis=-1) == right))


def top_k_accuracy(answers: Any, targets: Any, k: int = 5) -> float:
    """The share of rows where the right class is among the `k` largest answers. Shapes: `accuracy`.

    >>> top_k_accuracy([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]], [1, 2], k=2)
    0.5
    """
    scores, right = scores_of("top_k_accuracy", answers, targets)
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"top_k_accuracy: k={k}, of {scores.shape[1]} classes")
    best = np.argsort(scores, axis=1, kind="stable")[:, : -k - 1 : -1]
    return float(np.mean((best == right[:, None]).any(axis=1)))


def confusion_matrix(answers: Any, targets: Any) -> Array:
    """How often each class (row) was taken for each (column), (classes, classes).

    `answers`: (n, classes), or (n,) class numbers. `targets`: (n,), or (n, classes) of 0 and 1.

    >>> confusion_matrix(np.array([0, 1, 1]), np.array([0, 0, 1]))
    array([[1, 1],
           [0, 1]])
    """
    given, right = read(answers), read(targets)
    if given.ndim == 1 and right.ndim == 1 and given.shape == right.shape and given.size:
        for x in (given, right):
            if x.dtype.kind not in "biu" or x.min() < 0:
                raise ValueError("confusion_matrix counts classes 0, 1, ..., whole numbers")
        taken, n = given, int(max(given.max(), right.max())) + 1
    else:
        scores, right = scores_of("confusion_matrix", answers, targets)
        taken, n = scores.argmax(axis=-1), scores.shape[1]
        check_classes("confusion_matrix", right, n)
    counts = np.bincount(right.astype(np.int64) * n + taken.astype(np.int64), minlength=n * n)
    return counts.reshape(n, n)


def f1(
    answers: Any,
    targets: Any,
    average: Literal["binary", "micro", "macro", "weighted"] | None = "macro",
) -> Any:
    """The harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN). Shapes: confusion_matrix.

    `average`: "macro", the mean over the classes that are right or answered somewhere; "weighted",
    by how often they are right; "micro", of the counts summed over classes; "binary", of class 1;
    None, an array with all classes, 0 for one that is met nowhere.

    >>> f1(np.array([0, 1, 1]), np.array([0, 0, 1]), average=None).round(3)
    array([0.667, 0.667])
    """
    counts = confusion_matrix(answers, targets)
    hits, answered, right = np.diag(counts), counts.sum(axis=0), counts.sum(axis=1)
    each = 2 * hits / np.maximum(answered + right, 1)
    match average:
        case None:
            return each
        case "micro":
            return float(hits.sum() / counts.sum())
        case "macro":
            return float(each[answered + right > 0].mean())
        case "weighted":
            return float(np.average(each, weights=right))
        case "binary" if len(each) <= 2:
            return float(each[1]) if len(each) == 2 else 0.0
        case "binary":
            raise ValueError(f"f1: average='binary' is for two classes, there are {len(each)}")
    raise ValueError(f"f1: average={average!r}, not binary, micro, macro, weighted or None")


def perplexity(answers: Any, targets: Any) -> float:
    """exp of the mean cross-entropy: among how many classes one hesitates.

    `answers`: logits (n, classes, ...), `targets`: class numbers (n, ...), as `cross_entropy` takes
    them.

    >>> round(perplexity(np.zeros((3, 7)), np.array([0, 1, 6])), 6)
    7.0
    """
    logits, right = read(answers), read(targets)
    if logits.ndim < 2 or right.shape != (logits.shape[0], *logits.shape[2:]):
        raise ValueError(
            f"perplexity: answers (n, classes, ...) and classes (n, ...), not {logits.shape} and "
            f"{right.shape}"
        )
    check_classes("perplexity", right, logits.shape[1])
    right = np.expand_dims(right, 1).astype(int)
    largest = logits.max(axis=1, keepdims=True)
    sums = np.exp(logits - largest).sum(axis=1, keepdims=True)
    losses = np.log(sums) - (np.take_along_axis(logits, right, axis=1) - largest)
    return float(np.exp(losses.mean()))


def calibration_error(answers: Any, targets: Any, bins: int = 10) -> float:
    """How far confidence is from accuracy on average: 0 where of the answers given with
    probability 0.8 just 80 % are right. The expected calibration error of C. Guo et al., On
    calibration of modern neural networks (2017), eq. 5.

    `answers`: probabilities (n, classes); `targets`: as of `accuracy`. The rows are told apart by
    their largest probability, in `bins` of equal width. ValueError for other shapes.

    >>> round(calibration_error([[0.9, 0.1], [0.1, 0.9]], [0, 1]), 3)
    0.1
    """
    p, right = scores_of("calibration_error", answers, targets)
    if not len(p) or not np.isin(right, np.arange(p.shape[1])).all():
        raise ValueError("calibration_error: needs examples, each of one of the classes")
    if bins < 1 or not np.all((p >= 0) & (p <= 1)):
        raise ValueError("calibration_error: needs probabilities, 0 to 1, and bins, 1 or more")
    confidence, hit = p.max(axis=1), p.argmax(axis=1) == right
    inside = np.minimum((bins * confidence).astype(int), bins - 1)
    gaps = np.bincount(inside, weights=confidence - hit, minlength=bins)
    return float(np.abs(gaps).sum() / len(p))


def calibrate(logits: Any, targets: Any) -> float:
    """The temperature T for which softmax(logits / T) is most likely right: Guo et al. (2017), 4.2.

    `logits`: (n, classes), of examples that were not trained on; `targets`: (n,) class numbers, or
    (n, classes). Dividing by T changes no answer, only its confidence; T > 1 where it was too high.
    ValueError for other shapes, logits that are not finite, and where no T is best: all answers are
    right, or none is better than chance.

    >>> round(calibrate(np.array([[5.0, 0.0]] * 4), [0, 0, 0, 1]), 3)  # 3 of 4: 5 / T = log 3
    4.551
    """
    z, right = scores_of("calibrate", logits, targets)
    check_classes("calibrate", right, z.shape[1])
    if not len(z) or z.dtype.kind == "c" or not np.isfinite(z).all():
        raise ValueError("calibrate: needs logits, all finite and real")
    z = z - np.take_along_axis(z, right[:, None].astype(int), axis=1).astype(np.float64)

    def slope(scale: float) -> float:
        """Of the mean cross-entropy, convex in scale = 1 / T."""
        p = np.exp(scale * z - (scale * z).max(axis=1, keepdims=True))
        return float(np.mean((p * z).sum(axis=1) / p.sum(axis=1)))

    low, high = -10.0, 10.0  # of log(1 / T)
    if not slope(np.exp(low)) < 0 < slope(np.exp(high)):
        raise ValueError("calibrate: no temperature is best: all is right, or all is chance")
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(np.exp(middle)) < 0 else (low, middle)
    return float(np.exp(-low))


def mean_absolute_error(answers: Any, targets: Any) -> float:
    """The mean of |answer - target|, of equal shapes.

    >>> mean_absolute_error(np.array([1.0, 2.0]), np.array([1.0, 4.0]))
    1.0
    """
    given, right = of_one_shape("mean_absolute_error", answers, targets)
    return float(np.mean(np.abs(given - right)))


def r2(answers: Any, targets: Any) -> float:
    """The share of the targets' variance that is explained, the mean over outputs (columns).

    1 is perfect, 0 as good as the mean of the targets, which is also what constant targets get that
    are missed.

    >>> r2(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]))
    1.0
    """
    given, right = of_one_shape("r2", answers, targets)
    missed = np.sum((given - right) ** 2, axis=0)
    spread = np.sum((right - right.mean(axis=0)) ** 2, axis=0)
    share = np.where(spread > 0, 1 - missed / np.where(spread > 0, spread, 1), missed == 0)
    return float(share.mean())


def read(x: Any) -> Array:
    """The numbers behind a Value, an array of any kind, or a list."""
    return np.asarray(to_numbers(data_of(x)))


def scores_of(what: str, answers: Any, targets: Any) -> tuple[Array, Array]:
    """Answers (n, classes) and the right classes (n,), checked."""
    scores, right = read(answers), read(targets)
    fits = right.shape in (scores.shape[:1], scores.shape)
    if scores.ndim != 2 or scores.shape[1] < 2 or not fits:
        raise ValueError(
            f"{what} compares answers (n, classes) with right classes, not {scores.shape} with "
            f"{right.shape}: pass another metric, or metric=None"
        )
    return scores, right.argmax(axis=-1) if right.ndim > 1 else right


def check_classes(what: str, right: Array, n: int) -> None:
    """ValueError unless all are class numbers, below `n`."""
    if right.dtype.kind not in "biu" or np.any(right < 0) or np.any(right >= n):
        raise ValueError(f"{what}: classes are whole numbers from 0 to {n - 1}, not all here are")


def of_one_shape(what: str, answers: Any, targets: Any) -> tuple[Array, Array]:
    given, right = read(answers), read(targets)
    if given.shape != right.shape or not given.size:
        raise ValueError(f"{what}: needs equal shapes, got {given.shape} and {right.shape}")
    return given, right
