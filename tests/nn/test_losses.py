"""Losses against their closed forms, and what they refuse."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.nn import functional as F
from tensorgrad.ops.nn import activation, cost, softmax
from tests.numerical import assert_gradient

rng = np.random.default_rng(0)
z = rng.normal(size=(4, 3))
a, y = rng.uniform(0.1, 0.9, (4, 3)), rng.uniform(0.1, 0.9, (4, 3))
classes = np.array([2, 0, 1, 1])
probabilities = rng.dirichlet(np.ones(3), size=4)
log_p = z - np.log(np.exp(z).sum(1, keepdims=True))

ENTRY_BY_ENTRY = [
    (F.mse_loss, nn.MSELoss, a, y, (a - y) ** 2),
    (F.binary_cross_entropy, nn.BCELoss, a, y, -(y * np.log(a) + (1 - y) * np.log(1 - a))),
    (
        *(F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss, z, y),
        np.log(1 + np.exp(-z)) + (1 - y) * z,
    ),
    (F.cross_entropy, nn.CrossEntropyLoss, z, classes, -log_p[range(4), classes]),
    (F.cross_entropy, nn.CrossEntropyLoss, z, probabilities, -(probabilities * log_p).sum(1)),
    (F.nll_loss, None, log_p, classes, -log_p[range(4), classes]),
]
each_loss = pytest.mark.parametrize(
    ("loss", "module", "answers", "targets", "each"), ENTRY_BY_ENTRY
)


@each_loss
def test_a_loss_is_its_closed_form_reduced_as_asked(
    loss: Any, module: Any, answers: Any, targets: Any, each: Any
) -> None:
    reduced = {"none": each, "sum": each.sum(), "mean": each.mean()}
    for reduction, expected in reduced.items():
        np.testing.assert_allclose(
            loss(answers, targets, reduction=reduction), expected, rtol=1e-12
        )
        np.testing.assert_allclose(
            loss(Value(answers), targets, reduction=reduction).data, expected, 1e-12
        )
        if module is not None:
            np.testing.assert_allclose(
                module(reduction=reduction)(answers, targets), expected, rtol=1e-12
            )
    np.testing.assert_allclose(loss(answers, targets), each.mean(), rtol=1e-12)


@each_loss
def test_the_gradient_of_a_loss(
    loss: Any, module: Any, answers: Any, targets: Any, each: Any
) -> None:
    assert_gradient(lambda answers: loss(answers, targets), answers, order=2)


def test_quadratic_cost_is_half_the_squared_distance_averaged_over_the_examples() -> None:
    expected = sum(0.5 * np.linalg.norm(a_i - y_i) ** 2 for a_i, y_i in zip(a, y, strict=True)) / 4
    np.testing.assert_allclose(F.quadratic(a, y), expected, rtol=1e-12)
    np.testing.assert_allclose(nn.QuadraticLoss()(Value(a), y).data, expected, rtol=1e-12)
    np.testing.assert_allclose(F.quadratic(a[0], y[0]), 0.5 * np.sum((a[0] - y[0]) ** 2), 1e-12)


def test_the_class_axis_of_cross_entropy_is_the_second_as_in_pytorch() -> None:
    images = rng.normal(size=(2, 3, 4, 5))  # (n, classes, height, width)
    labels = rng.integers(0, 3, size=(2, 4, 5))
    by_pixel = F.cross_entropy(images, labels, reduction="none")
    assert by_pixel.shape == (2, 4, 5)
    rows = images.transpose(0, 2, 3, 1).reshape(-1, 3)
    np.testing.assert_allclose(
        by_pixel.ravel(), F.cross_entropy(rows, labels.ravel(), reduction="none"), rtol=1e-12
    )
    assert_gradient(lambda images: F.cross_entropy(images, labels), images, order=1)


@pytest.mark.parametrize("right", [0, 1, 2])
def test_one_example_needs_no_batch(right: int) -> None:
    for target in (right, np.array(right), np.eye(3)[right]):
        np.testing.assert_allclose(F.cross_entropy(z[0], target), -log_p[0, right], rtol=1e-12)


def test_class_numbers_are_probabilities_with_a_single_one() -> None:
    ours, theirs = Value(z), Value(z)
    F.cross_entropy(ours, classes).backward()
    F.cross_entropy(theirs, np.eye(3)[classes]).backward()
    np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-12)


def test_losses_stay_finite_where_probabilities_round_to_zero() -> None:
    far = np.array([[1000.0, 0.0], [-1000.0, 0.0]])
    np.testing.assert_allclose(F.cross_entropy(far, [1, 1], reduction="none"), [1000, 0])
    np.testing.assert_allclose(
        F.binary_cross_entropy_with_logits(far, 1 - (far > 0) * 1.0, reduction="none")[:, 0],
        [1000, 1000],
    )
    surprised = Value([0.0, 1.0])
    loss = F.binary_cross_entropy(surprised, np.array([1.0, 0.0]), reduction="sum")
    loss.backward()
    assert loss.data == 200  # no answer costs more than 100, as in PyTorch
    assert np.isfinite(surprised.grad).all()


N, COLUMN = np.ones(4), np.ones((4, 1))


@pytest.mark.parametrize(
    "loss", [F.mse_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.quadratic]
)
@pytest.mark.parametrize(("answers", "targets"), [(N, COLUMN), (COLUMN, N), (N, N[:1])])
def test_a_column_against_a_row_is_an_error_not_a_table(
    loss: Any, answers: Any, targets: Any
) -> None:
    with pytest.raises(ValueError, match=r"answers have shape \(4,.*targets \("):
        loss(Value(0.5 * answers), targets)


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("wrong", [[0, 1, 2, 3], [0, 1, 2, -1]])
def test_a_class_that_does_not_exist_is_an_error(loss: Any, wrong: list[int]) -> None:
    with pytest.raises(ValueError, match=r"classes -?\d..\d, but there are 3"):
        loss(Value(log_p), np.array(wrong))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (classes[:, None], r"logits of shape \(4, 3\) and class numbers of shape \(4, 1\)"),
        (classes[:3], r"class numbers of shape \(3,\)"),
        (np.eye(3, dtype=int)[classes], r"write probabilities as floats, y.astype\(float\)"),
        (np.eye(3, dtype=bool)[classes], r"write probabilities as floats, y.astype\(float\)"),
        (classes.astype(float)[:, None], r"answers have shape \(4, 3\), the targets \(4, 1\)"),
    ],
)
def test_targets_of_another_shape_are_an_error(targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        F.cross_entropy(Value(z), targets)


two = z[:, :2]
LABELS = [
    (F.cross_entropy, nn.CrossEntropyLoss, two),
    (F.nll_loss, nn.NLLLoss, two),
    (F.mse_loss, nn.MSELoss, z[:, 0]),
    (F.quadratic, nn.QuadraticLoss, z[:, :1]),
    (F.binary_cross_entropy, nn.BCELoss, a[:, 0]),
    (F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss, z[:, 0]),
]
each_labelled = pytest.mark.parametrize(("loss", "module", "answers"), LABELS)


@each_labelled
@pytest.mark.parametrize("labels", [[True] * 4, [False] * 4, [True, False, False, True]])
def test_labels_of_a_comparison_count_as_0_and_1(
    loss: Any, module: Any, answers: Any, labels: list[bool]
) -> None:
    compared = np.reshape(labels, answers.shape if loss is F.quadratic else 4)
    counted = compared.astype(int)
    for function in (loss, module()):
        expected, by_counted = tg.value_and_grad(function)(answers, counted)
        found, by_compared = tg.value_and_grad(function)(answers, compared)
        assert found == expected == function(answers, compared)
        np.testing.assert_array_equal(by_compared, by_counted)


@each_labelled
def test_labels_that_are_names_are_refused_with_words(loss: Any, module: Any, answers: Any) -> None:
    names = np.reshape(list("abba"), answers.shape if loss is F.quadratic else 4)
    for labels in (names, names.astype(object)):
        with pytest.raises(TypeError, match=r"np.unique\(labels, return_inverse=True\)"):
            loss(Value(answers), labels)


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
@pytest.mark.parametrize("dtype", [float, np.float32, complex])
def test_class_numbers_that_are_no_integers_are_refused_with_words(loss: Any, dtype: Any) -> None:
    with pytest.raises(
        TypeError, match=r"class numbers are integers, not .*: write y.astype\(int\)"
    ):
        loss(Value(z), classes.astype(dtype))


@pytest.mark.parametrize("loss", [F.cross_entropy, F.nll_loss])
def test_class_numbers_of_one_example_and_of_places(loss: Any) -> None:
    """(classes) and a number, (n, classes, ...) and (n, ...), as in PyTorch; else an error."""
    np.testing.assert_allclose(loss(Value(log_p[0]), classes[0]).data, -log_p[0, classes[0]])
    places = np.stack([log_p, log_p[::-1]], axis=-1)
    expected = -np.stack([log_p[range(4), classes], log_p[::-1][range(4), classes]], axis=-1)
    both = np.stack([classes, classes], axis=-1)
    np.testing.assert_allclose(
        loss(Value(places), both, reduction="none").data, expected, rtol=1e-12
    )
    assert_gradient(lambda z: loss(z, both), places)
    for z, y in ((log_p, classes[:3]), (log_p, classes[:, None]), (log_p[0], classes[:1])):
        with pytest.raises(ValueError, match=r"of shape \(.*class numbers of shape \("):
            loss(Value(z), y)


def test_an_unknown_reduction_is_named() -> None:
    with pytest.raises(ValueError, match="reduction='average'; there are 'mean', 'sum' and 'none'"):
        F.mse_loss(a, y, "average")


def test_a_probability_outside_of_0_and_1_is_an_error() -> None:
    with pytest.raises(ValueError, match="with_logits"):
        nn.functional.binary_cross_entropy(np.array([1.5]), np.array([1.0]))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint8, np.int64])
def test_logits_that_are_integers_count_as_float64(dtype: Any) -> None:
    """As in SciPy; unsigned ones do not wrap around."""
    z, y = np.array([[0, 1, 0], [1, 1, 0]], dtype), np.array([0, 2])
    for f in (
        softmax.softmax,
        softmax.log_softmax,
        softmax.logsumexp,
        activation.sigmoid,
        lambda z: F.cross_entropy(z, y),
        lambda z: cost.quadratic(z, np.full(z.shape, 3)),
        lambda z: F.mse_loss(z, np.full(z.shape, 20).astype(dtype)),
        lambda z: F.binary_cross_entropy_with_logits(z, np.full(z.shape, 0.5)),
    ):
        for given in (z, Value(z, requires_grad=False)):
            found = f(given)
            np.testing.assert_array_equal(getattr(found, "data", found), f(z.astype(float)))
        batched = tg.vmap(f)(np.stack([z, z]))
        np.testing.assert_allclose(batched, np.stack([f(z), f(z)]), rtol=1e-12)


def test_float16_costs_inside_vmap_end_where_those_of_single_examples_do() -> None:
    a, y = np.float16([[300.0, 1.0], [0.0, 2.0]]), np.float16([[0.0, 1.0], [1.0, 2.0]])
    np.testing.assert_array_equal(tg.vmap(F.quadratic)(a, y), np.float16([45000.0, 0.5]))


def test_a_stranger_with_dtypes_of_its_own_is_asked_for_numbers() -> None:
    class Column:
        dtype, shape, ndim = "Float64", (3,), 1

        def __len__(self) -> int:
            return 3

        def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
            return np.ones(3)

    assert F.mse_loss(Value(np.zeros(3)), Column()).data == 1


# Weights, classes that do not count, smoothed labels: PyTorch's definitions, example by example.

per_class = np.array([0.5, 1.0, 2.0])


def by_hand(
    z: Any, y: Any, weight: Any = None, ignore: Any = None, smoothing: float = 0.0
) -> tuple[Any, Any]:
    """The loss of each row, and what it counts in a mean."""
    w = np.ones(z.shape[1]) if weight is None else weight
    losses, counts = [], []
    for row, right in zip(z, y, strict=True):
        log_p = row - np.log(np.exp(row).sum())
        if right == ignore:
            losses.append(0.0)
            counts.append(0.0)
            continue
        smooth = sum(-w[k] * log_p[k] for k in range(len(row))) / len(row)
        losses.append((1 - smoothing) * -w[right] * log_p[right] + smoothing * smooth)
        counts.append(w[right])
    return np.array(losses), np.array(counts)


SETTINGS: list[dict[str, Any]] = [
    {"weight": per_class},
    {"ignore_index": 1},
    {"label_smoothing": 0.3},
    {"weight": per_class, "ignore_index": 2, "label_smoothing": 0.1},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_cross_entropy_with_weights_ignored_and_smoothed_labels(settings: dict[str, Any]) -> None:
    each, counts = by_hand(
        *(z, classes, settings.get("weight"), settings.get("ignore_index")),
        settings.get("label_smoothing", 0.0),
    )
    expected = {"none": each, "sum": each.sum(), "mean": each.sum() / counts.sum()}
    for reduction, loss in expected.items():
        found = F.cross_entropy(z, classes, reduction=reduction, **settings)
        np.testing.assert_allclose(found, loss, rtol=1e-12)
        module = nn.CrossEntropyLoss(reduction=reduction, **settings)
        np.testing.assert_allclose(module(Value(z), classes).data, loss, rtol=1e-12)
        if "label_smoothing" not in settings:
            found = F.nll_loss(log_p, classes, reduction=reduction, **settings)
            np.testing.assert_allclose(found, loss, rtol=1e-12)
    assert_gradient(lambda z: F.cross_entropy(z, classes, **settings), z, order=2)
    single = F.cross_entropy(Value(z.astype(np.float32)), classes, **settings)
    assert single.dtype == np.float32
    places = np.stack([z, z[::-1]], axis=-1)
    labels = np.stack([classes, classes[::-1]], axis=-1)
    found = F.cross_entropy(places, labels, reduction="none", **settings)
    np.testing.assert_allclose(found, np.stack([each, each[::-1]], axis=-1), rtol=1e-12)
    examples = tg.vmap(lambda z, y: F.cross_entropy(z, y, reduction="sum", **settings))
    np.testing.assert_allclose(examples(z, classes), each, rtol=1e-12)


def test_minus_100_does_not_count_unless_told_otherwise() -> None:
    y = np.array([2, -100, 1, -100])
    for loss, answers in ((F.cross_entropy, z), (F.nll_loss, log_p)):
        expected = -(log_p[0, 2] + log_p[2, 1]) / 2
        np.testing.assert_allclose(loss(answers, y), expected, rtol=1e-12)
        gradient = tg.grad(lambda z, loss=loss: loss(z, y))(answers)
        assert not gradient[[1, 3]].any()
        with pytest.raises(ValueError, match=r"classes -100\.\.\d, but there are 3"):
            loss(Value(answers), y, ignore_index=0)
        with pytest.raises(ValueError, match="no target counts"):
            loss(Value(answers), np.full(4, -100))
        assert loss(answers, np.full(4, -100), reduction="sum") == 0
    broken = np.where(np.arange(4)[:, None] == 1, np.nan, z)  # and is not looked at
    assert np.isfinite(F.cross_entropy(broken, y))


def test_probabilities_are_weighted_and_smoothed_too() -> None:
    smoothed = 0.8 * probabilities + 0.2 / 3
    each = -(per_class * smoothed * log_p).sum(1)
    settings: dict[str, Any] = {"weight": per_class, "label_smoothing": 0.2}
    found = F.cross_entropy(z, probabilities, reduction="none", **settings)
    np.testing.assert_allclose(found, each, rtol=1e-12)
    np.testing.assert_allclose(F.cross_entropy(z, probabilities, **settings), each.mean())
    places = np.moveaxis(np.stack([z, z]), -1, 1)
    targets = np.moveaxis(np.stack([probabilities, probabilities]), -1, 1)
    found = F.cross_entropy(places, targets, reduction="none", **settings)
    np.testing.assert_allclose(found, np.stack([each, each]), rtol=1e-12)
    assert_gradient(
        lambda z, q, w: F.cross_entropy(z, q, w, label_smoothing=0.2), z, probabilities, per_class
    )


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: F.cross_entropy(z, classes, "sum"), TypeError, "write reduction='sum'"),
        (lambda: F.cross_entropy(z, classes, np.ones(4)), ValueError, "there are 3 classes"),
        (lambda: F.cross_entropy(z, classes, label_smoothing=2), ValueError, "label_smoothing=2"),
        (lambda: F.cross_entropy(z[:0], classes[:0]), ValueError, "batch is empty"),
        (lambda: F.mse_loss(z[:0], z[:0]), ValueError, "batch is empty"),
        (lambda: F.l1_loss(z, z, "averag"), ValueError, "reduction='averag'"),
        (lambda: F.huber_loss(z, z, delta=0), ValueError, "delta=0"),
        (lambda: F.smooth_l1_loss(z, z, beta=-1), ValueError, "beta=-1"),
        (lambda: F.mse_loss(z, z, weight=np.ones(3)), ValueError, r"weight of shape \(3,\)"),
        (lambda: F.soft_margin_loss(z, z[0]), ValueError, "the targets"),
        (lambda: F.hinge_embedding_loss(z, z > 0), ValueError, r"write 2 \* y - 1"),
        (lambda: F.multi_margin_loss(z, classes, p=3), ValueError, "p=3"),
        (lambda: F.multi_margin_loss(z, classes[:3]), ValueError, "class numbers of shape"),
        (lambda: F.multilabel_margin_loss(z, np.full((4, 3), 3)), ValueError, "there are 3"),
        (lambda: F.triplet_margin_loss(z, z, z, margin=0), ValueError, "margin=0"),
        (lambda: F.gaussian_nll_loss(z, z, -np.ones((4, 3))), ValueError, "negative"),
        (lambda: F.gaussian_nll_loss(z, z, np.ones(3)), ValueError, r"var of shape \(3,\)"),
        (
            lambda: F.cosine_embedding_loss(z, z, np.ones(3)),
            *(ValueError, r"targets of shape \(3,\)"),
        ),
        (
            lambda: F.cross_entropy(np.zeros((2, 5, 7)), np.zeros((2, 5), int)),
            *(ValueError, r"logits.reshape\(-1, 7\) and targets.reshape\(-1\), or np.moveaxis"),
        ),
        (
            lambda: F.cross_entropy(np.zeros((2, 5, 7)), np.full((2, 5), 6)),
            *(ValueError, r"logits.reshape\(-1, 7\) and targets.reshape\(-1\), or np.moveaxis"),
        ),
    ],
)
def test_mistakes_are_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_class_numbers_of_8_bits_among_300_classes(dtype: Any) -> None:
    wide, y = rng.normal(size=(2, 300)), np.array([1, 100])
    assert F.cross_entropy(wide, y.astype(dtype)) == F.cross_entropy(wide, y)


# The others, written out.


def loop(f: Any, *xs: Any) -> Any:
    """f of each entry."""
    return np.vectorize(f)(*xs)


b = rng.normal(size=(4, 3))
signs = np.where(rng.random((4, 3)) < 0.5, 1, -1)
counts = rng.integers(0, 5, (4, 3))
labels = rng.integers(0, 2, (4, 3))
several = np.array([[2, 0, -1], [1, -1, 0], [-1, 2, 1], [0, 1, 2]])
sigmoid = lambda v: 1 / (1 + math.exp(-v))


def multilabel(row: Any, named: Any) -> float:
    right = list(named[: [*named, -1].index(-1)])
    wrong = [i for i in range(3) if i not in right]
    return sum(max(0, 1 - (row[j] - row[i])) for j in right for i in wrong) / 3


def stirling(y: float) -> float:
    return y * math.log(y) - y + math.log(2 * math.pi * y) / 2 if y > 1 else 0.0


def margin(row: Any, right: int, p: int, w: Any) -> float:
    return sum(w[right] * max(0, 1 - row[right] + row[i]) ** p for i in range(3) if i != right) / 3


def length(v: Any, p: float = 2) -> float:
    return float((np.abs(v + 1e-6) ** p).sum() ** (1 / p))


OTHERS: list[tuple[Any, tuple[Any, ...], Any]] = [
    (nn.L1Loss, (z, b), np.abs(z - b)),
    (
        partial(nn.HuberLoss, delta=0.7),
        (z, b),
        loop(lambda d: d * d / 2 if abs(d) < 0.7 else 0.7 * (abs(d) - 0.35), z - b),
    ),
    (
        partial(nn.SmoothL1Loss, beta=0.7),
        (z, b),
        loop(lambda d: d * d / 1.4 if abs(d) < 0.7 else abs(d) - 0.35, z - b),
    ),
    (partial(nn.SmoothL1Loss, beta=0), (z, b), np.abs(z - b)),
    (nn.KLDivLoss, (np.log(a), y), y * (np.log(y) - np.log(a))),
    (partial(nn.KLDivLoss, log_target=True), (np.log(a), np.log(y)), y * np.log(y / a)),
    (nn.PoissonNLLLoss, (z, counts), np.exp(z) - counts * z),
    (
        partial(nn.PoissonNLLLoss, log_input=False, full=True),
        (a, counts),
        a - counts * np.log(a + 1e-8) + loop(stirling, counts),
    ),
    (nn.GaussianNLLLoss, (z, b, a), (np.log(a) + (z - b) ** 2 / a) / 2),
    (
        partial(nn.GaussianNLLLoss, full=True, eps=0.5),
        (z, b, a[:, 0]),
        (np.log(np.maximum(a[:, :1], 0.5)) + (z - b) ** 2 / np.maximum(a[:, :1], 0.5)) / 2
        + math.log(2 * math.pi) / 2,
    ),
    (
        partial(nn.BCEWithLogitsLoss, pos_weight=per_class, weight=a),
        (z, y),
        loop(
            lambda w, p, z, y: (
                -w * (p * y * math.log(sigmoid(z)) + (1 - y) * math.log(sigmoid(-z)))
            ),
            *(a, np.broadcast_to(per_class, (4, 3)), z, y),
        ),
    ),
    (partial(nn.BCELoss, weight=b), (a, y), -b * (y * np.log(a) + (1 - y) * np.log(1 - a))),
    (
        partial(nn.HingeEmbeddingLoss, margin=0.5),
        (z, signs),
        loop(lambda x, y: x if y == 1 else max(0, 0.5 - x), z, signs),
    ),
    (
        partial(nn.MarginRankingLoss, margin=0.5),
        (z, b, signs),
        loop(lambda x1, x2, y: max(0, -y * (x1 - x2) + 0.5), z, b, signs),
    ),
    (nn.SoftMarginLoss, (z, signs), np.log(1 + np.exp(-signs * z))),
    (
        nn.MultiMarginLoss,
        (z, classes),
        np.array([margin(row, k, 1, np.ones(3)) for row, k in zip(z, classes, strict=True)]),
    ),
    (
        partial(nn.MultiMarginLoss, p=2, weight=per_class),
        (z, classes),
        np.array([margin(row, k, 2, per_class) for row, k in zip(z, classes, strict=True)]),
    ),
    (
        nn.MultiLabelMarginLoss,
        (z, several),
        np.array([multilabel(row, named) for row, named in zip(z, several, strict=True)]),
    ),
    (
        partial(nn.MultiLabelSoftMarginLoss, weight=per_class),
        (z, labels),
        (per_class * (np.log(1 + np.exp(-z)) + (1 - labels) * z)).mean(1),
    ),
    (
        partial(nn.CosineEmbeddingLoss, margin=0.1),
        (z, b, np.array([1, -1, -1, 1])),
        np.array(
            [
                1 - c if sign == 1 else max(0, c - 0.1)
                for c, sign in zip(
                    (z * b).sum(1) / np.sqrt((z * z).sum(1) * (b * b).sum(1)),
                    (1, -1, -1, 1),
                    strict=True,
                )
            ]
        ),
    ),
    (
        partial(nn.TripletMarginLoss, p=3, swap=True),
        (z, b, a),
        np.array(
            [
                max(0, 1 + length(u - v, 3) - min(length(u - w, 3), length(v - w, 3)))
                for u, v, w in zip(z, b, a, strict=True)
            ]
        ),
    ),
    (
        partial(
            nn.TripletMarginWithDistanceLoss,
            distance_function=lambda u, v: np.sum(np.abs(u - v), axis=-1),
        ),
        (z, b, a),
        np.maximum(0, 1 + np.abs(z - b).sum(1) - np.abs(z - a).sum(1)),
    ),
]


@pytest.mark.parametrize(("kind", "args", "each"), OTHERS, ids=range(len(OTHERS)))
def test_a_loss_is_its_formula_written_out(kind: Any, args: Any, each: Any) -> None:
    assert np.any(each != 0)
    for reduction, expected in (("none", each), ("sum", each.sum()), ("mean", each.mean())):
        loss = kind(reduction=reduction)
        np.testing.assert_allclose(loss(*args), expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(loss(Value(args[0]), *args[1:]).data, expected, 1e-9, 1e-12)
    assert_gradient(lambda x: kind()(x, *args[1:]), args[0], order=2)
    single = [x.astype(np.float32) if x.dtype == float else x for x in args]
    assert kind()(Value(single[0]), *single[1:]).dtype == np.float32


def test_the_mean_of_weighted_squares_is_one_by_the_weights() -> None:
    for loss, each in ((F.mse_loss, (z - b) ** 2), (F.l1_loss, np.abs(z - b))):
        np.testing.assert_allclose(loss(z, b, weight=a), (a * each).sum() / a.sum())
        np.testing.assert_allclose(loss(z, b, "sum", a), (a * each).sum())
    by_hand = F.huber_loss(z, b, "none")
    np.testing.assert_allclose(F.huber_loss(z, b, weight=a), (a * by_hand).mean())


def test_the_divergence_of_a_batch_is_divided_by_its_size() -> None:
    p, q = rng.dirichlet(np.ones(3), 4), rng.dirichlet(np.ones(3), 4)
    expected = (q * np.log(q / p)).sum(1).mean()
    np.testing.assert_allclose(F.kl_div(np.log(p), q, "batchmean"), expected, rtol=1e-12)
    sure = np.eye(3)[[0, 2]]  # 0 ln 0 = 0
    by_sure = tg.grad(lambda q: F.kl_div(np.log(p[:2]), q, "sum"))(sure)
    assert np.isfinite(by_sure).all()
    np.testing.assert_allclose(
        F.kl_div(np.log(p[:2]), sure, "sum"), -np.log(p[[0, 1], [0, 2]]).sum()
    )


def test_nielsens_cross_entropy_is_summed_over_outputs_and_averaged_over_examples() -> None:
    each = np.log(1 + np.exp(-z)) + (1 - y) * z
    np.testing.assert_allclose(F.sigmoid_cross_entropy(z, y), each.sum(1).mean(), rtol=1e-12)
    np.testing.assert_allclose(nn.SigmoidCrossEntropyLoss()(Value(z[0]), y[0]).data, each[0].sum())
    v = Value(z)
    F.sigmoid_cross_entropy(v, y).backward()
    np.testing.assert_allclose(v.grad, (1 / (1 + np.exp(-z)) - y) / 4, rtol=1e-12)  # a - y


def test_a_linear_layer_and_its_cross_entropy_as_one() -> None:
    layer = nn.LinearCrossEntropyLoss(3, 5, bias=True, dtype=np.float64, rng=0)
    logits = z @ layer.linear.weight.data.T + layer.linear.bias.data
    np.testing.assert_allclose(layer(z, classes).data, F.cross_entropy(logits, classes))
    weight = rng.normal(size=(5, 2, 3))  # a class axis, and one more
    found = F.linear_cross_entropy(z, weight, np.stack([classes, classes], 1))
    logits = np.einsum("nf,kdf->nkd", z, weight)
    np.testing.assert_allclose(found, F.cross_entropy(logits, np.stack([classes, classes], 1)))


def ctc_by_all_paths(log_p: Any, labels: list[int], blank: int = 0) -> float:
    """-ln Σ p(path) over every path that is read as the labels: repeats as one, blanks left out."""
    times, n = log_p.shape
    total = 0.0
    for path in itertools.product(range(n), repeat=times):
        read = [k for k, _ in itertools.groupby(path) if k != blank]
        if read == labels:
            total += math.exp(sum(log_p[t, k] for t, k in enumerate(path)))
    return -math.log(total) if total else math.inf


def test_ctc_is_the_sum_over_all_paths_that_are_read_as_the_labels() -> None:
    scores = rng.normal(size=(5, 4, 3))
    log_p = F.log_softmax(scores)
    targets, lengths, times = [[1, 2], [1, 1], [2, 0], [0, 0]], [2, 2, 1, 0], [5, 5, 3, 4]
    each = [
        ctc_by_all_paths(log_p[:t, i], targets[i][:n])
        for i, (t, n) in enumerate(zip(times, lengths, strict=True))
    ]
    args = np.array(targets), np.array(times), lengths
    np.testing.assert_allclose(F.ctc_loss(log_p, *args, reduction="none"), each, rtol=1e-12)
    np.testing.assert_allclose(F.ctc_loss(log_p, *args, reduction="sum"), sum(each), rtol=1e-12)
    mean = np.mean(np.array(each) / [2, 2, 1, 1])
    np.testing.assert_allclose(nn.CTCLoss()(Value(log_p), *args).data, mean, rtol=1e-12)
    in_a_row = np.array([1, 2, 1, 1, 2])
    np.testing.assert_allclose(F.ctc_loss(log_p, in_a_row, *args[1:]), mean, rtol=1e-12)
    alone = F.ctc_loss(log_p[:, 0], np.array([1, 2]), 5, 2)
    np.testing.assert_allclose(alone, each[0] / 2, rtol=1e-12)
    assert_gradient(lambda x: F.ctc_loss(F.log_softmax(x), *args), scores, order=2)
    swapped = log_p[..., [1, 0, 2]]  # another blank
    other = np.array([[0, 2], [0, 0], [2, 0], [0, 0]])
    np.testing.assert_allclose(
        F.ctc_loss(swapped, other, *args[1:], blank=1, reduction="none"), each, rtol=1e-12
    )


def test_labels_without_enough_time_cost_infinity_or_nothing() -> None:
    log_p = Value(F.log_softmax(rng.normal(size=(2, 2, 3))))
    args = np.array([[1, 1], [1, 2]]), [2, 2], [2, 2]  # 1 1 wants a blank between
    assert np.isinf(F.ctc_loss(log_p.data, *args, reduction="none")).tolist() == [True, False]
    F.ctc_loss(log_p, *args, reduction="sum", zero_infinity=True).backward()
    assert not log_p.grad[:, 0].any()
    np.testing.assert_allclose(log_p.grad[:, 1].sum(), -2)  # a state at each time


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (([[1, 3]], [4], [2]), r"labels 1\.\.3, blank 0: there are 3 classes"),
        (([[1, 2]], [9], [2]), "input_lengths"),
        (([[1, 2]], [4], [3]), "target_lengths"),
        (([[1, 2]], [4, 4], [2, 2]), "1 examples"),
    ],
)
def test_sequences_that_do_not_fit_are_named(args: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        F.ctc_loss(np.zeros((4, 1, 3)), np.array(args[0]), *args[1:])


@pytest.mark.parametrize(
    "loss",
    [
        nn.CrossEntropyLoss(per_class, ignore_index=1, label_smoothing=0.1),
        nn.BCEWithLogitsLoss(pos_weight=per_class),
        nn.TripletMarginLoss(swap=True),
        nn.CTCLoss(zero_infinity=True),
        nn.LinearCrossEntropyLoss(3, 2, rng=0),
    ],
    ids=str,
)
def test_losses_are_copied_pickled_and_saved(loss: Any, tmp_path: Any) -> None:
    for twin in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert repr(twin) == repr(loss)
        assert twin.state_dict().keys() == loss.state_dict().keys()
    tg.io.save(loss, tmp_path / "loss.safetensors")
    loaded = tg.io.load(tmp_path / "loss.safetensors")
    for name, x in loss.state_dict().items():
        np.testing.assert_array_equal(loaded.state_dict()[name], x)


def test_an_adaptive_softmax_is_one_softmax_within_another() -> None:
    model = nn.AdaptiveLogSoftmaxWithLoss(8, 12, [3, 6], 2.0, True, dtype=np.float64, rng=0)
    x, y = rng.normal(size=(7, 8)), np.array([0, 2, 3, 5, 6, 11, 1])
    head = F.log_softmax(x @ model.head.weight.data.T + model.head.bias.data)
    every = [head[:, :3]]
    for i, (first, second) in enumerate(model.tail):
        assert first.weight.shape == (4 >> i, 8)
        within = F.log_softmax(x @ first.weight.data.T @ second.weight.data.T)
        every.append(head[:, 3 + i, None] + within)
    expected = np.concatenate(every, axis=1)
    np.testing.assert_allclose(model.log_prob(x).data, expected, rtol=1e-12)
    np.testing.assert_allclose(np.exp(expected).sum(1), 1)
    np.testing.assert_array_equal(model.predict(x), expected.argmax(1))
    output, loss = model(Value(x), y)
    np.testing.assert_allclose(output.data, expected[range(7), y], rtol=1e-12)
    np.testing.assert_allclose(loss.data, -output.data.mean())
    np.testing.assert_allclose(model(x[3], 5).output.data, output.data[3])
    assert_gradient(lambda x: model(x, y).loss, x, order=2)
    by_sub = tg.grad(lambda model: model(x, y).loss)(model)
    whole = tg.grad(lambda model: F.nll_loss(model.log_prob(x), y))(model)
    for p, q in zip(by_sub.parameters(), whole.parameters(), strict=True):
        np.testing.assert_allclose(p.data, q.data, atol=1e-12)
    assert "tail.1.0.weight" in model.state_dict()
    for cutoffs in ([], [3, 3], [0, 2], [12], [5, 3]):
        with pytest.raises(ValueError, match="cutoffs="):
            nn.AdaptiveLogSoftmaxWithLoss(8, 12, cutoffs)
    with pytest.raises(ValueError, match=r"classes 3\.\.12, but there are 12"):
        model(x[:2], np.array([3, 12]))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(
    "loss",
    [
        *(F.mse_loss, F.l1_loss, F.huber_loss, F.smooth_l1_loss, F.quadratic, F.kl_div),
        *(F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.sigmoid_cross_entropy),
        *(F.poisson_nll_loss, F.soft_margin_loss, F.hinge_embedding_loss),
        *(F.multilabel_soft_margin_loss, lambda a, y: F.gaussian_nll_loss(a, y, a)),
        lambda a, y: F.margin_ranking_loss(a, a, y),
    ],
)
def test_integer_targets_leave_a_loss_the_dtype_of_the_answers(loss: Any, dtype: Any) -> None:
    ones = np.ones((4, 3), int)
    answers = a.astype(dtype)
    assert loss(answers, ones).dtype == loss(Value(answers), ones).dtype == dtype
    np.testing.assert_allclose(loss(answers, ones), loss(answers, ones.astype(dtype)))


@pytest.mark.parametrize(
    "loss",
    [
        F.hinge_embedding_loss,
        lambda a, y: F.margin_ranking_loss(a, a, y),
    ],
)
def test_answers_and_targets_of_different_shapes_are_refused(loss: Any) -> None:
    with pytest.raises(ValueError, match=r"shape \(4, 1\), the targets \(4,\)"):
        loss(np.ones((4, 1)), np.ones(4))
