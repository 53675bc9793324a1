"""Losses against their closed forms, and what they refuse."""

from __future__ import annotations

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
