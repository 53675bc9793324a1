"""Order statistics, averages, covariances, sums by bin, differences, integrals and convolutions,
with every argument of NumPy's. Each call is made on arrays, which is NumPy, and on Values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tensorgrad import Value
from tensorgrad.ops.statistics import STEPS, STRAIGHT
from tests.numerical import assert_gradient
from tests.test_reductions import apart, assert_same, slopes

x23, x34, x5, x234 = apart((2, 3)), apart((3, 4)), apart((5,)), apart((2, 3, 4))
Call = tuple[Callable[..., Any], list[Any]]

# Order statistics.

ORDER: dict[str, Call] = {
    "median": (np.median, [x5]),
    "median of an even number": (np.median, [x34]),
    "median of a number": (np.median, [2.0]),
    "median along": (lambda x: np.median(x, axis=1, keepdims=True), [x34]),
    "median over two axes": (lambda x: np.median(x, (0, -1), None, True, True), [x234]),
    "median, infinite": (lambda x: np.median(np.concatenate([x, [np.inf]])), [x34[0]]),
    "quantile": (lambda x: np.quantile(x, 0.3), [x5]),
    "quantile at an entry": (lambda x: np.quantile(x, 0.5), [x5]),
    "quantiles": (lambda x: np.quantile(x, [0, 0.2, 1], axis=1), [x34]),
    "quantiles by two axes": (
        lambda x: np.quantile(x, [[0.1, 0.2]], (0, 2), keepdims=True),
        [x234],
    ),
    "percentile": (lambda x: np.percentile(x, 35, axis=-1), [x34]),
    "percentiles": (lambda x: np.percentile(x, q=[35, 80], axis=0, keepdims=True), [x34]),
    "quantile over nothing": (lambda x: np.quantile(x, 0.3, axis=()), [x23]),
    "weighted": (
        lambda x: np.quantile(
            x, [0.05, 0.3, 1], axis=0, method="inverted_cdf", weights=[0.0, 0.1, 0.9]
        ),
        [x34],
    ),
    "weighted each": (
        lambda x: np.percentile(
            x, 50, axis=1, method="inverted_cdf", weights=np.arange(6.0).reshape(2, 3)
        ),
        [x23],
    ),
    "nanquantile by two axes": (lambda x: np.nanquantile(x, [0.4], (0, 2)), [x234]),
    "nanmedian": (lambda x: np.nanmedian(x, axis=1, keepdims=True), [x34]),
}


@pytest.mark.parametrize("call", ORDER)
def test_order_statistics(call: str) -> None:
    f, xs = ORDER[call]
    assert_same(f, *xs)


@pytest.mark.parametrize("method", [*STRAIGHT, *STEPS])
@pytest.mark.parametrize(
    "f", [np.quantile, pytest.param(np.nanquantile, marks=pytest.mark.nightly)]
)
def test_every_method_of_a_quantile_and_its_slope_by_q(f: Any, method: str) -> None:
    q = np.array([0.0, 0.07, 0.18, 0.43, 0.5, 0.78, 0.96, 1])
    for n in (1, 4, 5):
        assert_same(lambda x: f(x, q, axis=0, method=method), apart((n, 2)))
        if method in STRAIGHT:
            at = (q[1:-1] + 0.003).reshape(2, 3)  # between the entries
            assert_gradient(lambda x, q: f(x, q, axis=0, method=method), apart((n, 2)), at, order=2)


def test_quantiles_keep_numpys_dtypes() -> None:
    x = np.float32([1, 2, 4, 8])
    for q in (0.3, 1, np.float32(0.3), np.array([0.3]), [0, 1]):
        for method in ("linear", "lower"):
            for f in (np.quantile, np.percentile, np.nanquantile):
                assert f(Value(x), q, method=method).dtype == f(x, q, method=method).dtype
    assert np.median(Value(x)).dtype == np.float32
    whole = Value(np.arange(5), requires_grad=False)
    for f in (np.median, lambda x: np.quantile(x, 0.3), lambda x: np.percentile(x, 30)):
        assert f(whole).data == f(whole.data)


def test_an_entry_without_weight_is_no_quantile() -> None:
    """Not even of q = 0. (NumPy before 2.3 answers otherwise here.)"""
    f = lambda x, w: np.quantile(x, [0, 1], weights=w, method="inverted_cdf")
    assert f(Value([3.0, 1.0, 2.0]), [1.0, 0.0, 1.0]).data.tolist() == [2, 3]
    assert slopes(lambda x: f(x, Value([1.0, 0.0, 1.0])), [3.0, 1.0, 2.0]) == [[1, 0, 1]]
    with pytest.raises(ValueError, match="all zero"):
        f(Value([3.0, 1.0, 2.0]), np.zeros(3))


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_weighted_quantiles_of_nan_alone_are_nan() -> None:
    x = np.array([[1.0, np.nan, 2.0], [np.nan] * 3])
    f = lambda x: np.nanquantile(x, 0.6, axis=1, weights=np.ones((2, 3)), method="inverted_cdf")
    v = Value(x)
    y = f(v)
    np.testing.assert_array_equal(y.data, [2, np.nan])
    y.backward(np.ones(2))
    assert v.grad.tolist() == [[0, 0, 1], [0, 0, 0]]


def test_a_nan_makes_its_slice_nan() -> None:
    x = np.array([[1.0, np.nan, 2.0], [3.0, 5.0, 4.0]])
    for f in (np.median, lambda x, axis: np.quantile(x, 0.4, axis=axis)):
        v = Value(x)
        y = f(v, axis=1)
        np.testing.assert_array_equal(y.data, f(x, axis=1))
        y.backward(np.ones(2))
        assert np.all(np.isfinite(v.grad[1]))
        assert v.grad[1].sum() == pytest.approx(1)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.filterwarnings("ignore:invalid value")
def test_of_nothing_there_is_no_median() -> None:
    assert np.isnan(np.median(Value(np.zeros(0))).data)
    assert np.isnan(np.nanquantile(Value(np.zeros(0)), 0.3).data)
    assert np.median(Value(np.zeros((0, 3))), axis=1).shape == (0,)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.quantile(x, 1.2),
        lambda x: np.percentile(x, [20, -1]),
        lambda x: np.quantile(x, 0.5, method="best"),
        lambda x: np.quantile(x, 0.5, weights=np.ones(5)),
        lambda x: np.quantile(x, 0.5, weights=-np.ones(5), method="inverted_cdf"),
        lambda x: np.average(x[:, None], 0, weights=np.ones(4)),
        lambda x: np.median(x, axis=1),
        lambda x: np.diff(x, -1),
        lambda x: np.diff(x[0]),
        lambda x: np.gradient(x, np.ones(3)),
        lambda x: np.gradient(x, edge_order=3),
        lambda x: np.gradient(x[:2], edge_order=2),
        lambda x: np.convolve(x, x[:0]),
        lambda x: np.convolve(x[:, None], x),
        lambda x: np.correlate(x, x, "best"),
        lambda x: np.correlate(x[0], x),
        lambda x: np.cov(x, ddof=0.5),
        lambda x: np.cov(x, aweights=[1, 1, 1, 1, -1]),
        lambda x: np.cov(x[None, None]),
        lambda x: np.histogram([1, 2], weights=x),
        lambda x: np.bincount([1, 2], x),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_what_numpy_refuses_is_refused(call: Any) -> None:
    for x in (x5, Value(x5)):
        with pytest.raises((ValueError, IndexError)):
            call(x)


@pytest.mark.parametrize(
    "call",
    [
        lambda x: np.quantile(x + 1j, 0.5),
        lambda x: np.average(x, weights=np.ones(4)),
        lambda x: np.gradient(x, 1.0, 2.0),
        lambda x: np.cov(x, fweights=[1, 1, 1, 1, 1.5]),
        lambda x: np.bincount([0, 1, 1, 0, 1], x + 1j),
        lambda x: np.ediff1d(x, to_end=1j),
    ],
)
def test_a_wrong_type_is_a_type_error(call: Any) -> None:
    for x in (x5, Value(x5)):
        with pytest.raises(TypeError):
            call(x)


# Averages and covariances.

AVERAGES: dict[str, Call] = {
    "average": (np.average, [x23]),
    "average along": (lambda x: np.average(x, 0, keepdims=True), [x23]),
    "weighted": (lambda x, w: np.average(x, weights=w * w), [x23, x23[::-1]]),
    "weighted along": (lambda x, w: np.average(x, axis=1, weights=w * w), [x23, x23[0]]),
    "weights of two axes": (
        lambda x, w: np.average(x, axis=(2, 0), weights=w, keepdims=True),
        [x234, apart((4, 2)) ** 2],
    ),
    "weights of integers": (lambda w: np.average(np.arange(5), weights=w), [x5 + 9]),
    "the sum of weights": (lambda w: np.average(x23, 1, weights=w, returned=True)[1], [x23[0] + 4]),
    "the number": (lambda x: x[0, 0] * np.average(x, 1, returned=True)[1], [x23]),
    "cov": (np.cov, [x34]),
    "cov of one": (np.cov, [x5]),
    "cov of two": (lambda x, y: np.cov(x, y, bias=True), [x5, x34[0, :1] + x5 * x5]),
    "cov of columns": (lambda x, y: np.cov(x, y, rowvar=False), [x34, x34[:, :2] ** 2]),
    "cov with ddof": (lambda x: np.cov(x, ddof=2), [x34]),
    "cov with counts": (lambda x: np.cov(x, fweights=[1, 3, 0, 2]), [x34]),
    "cov with weights": (lambda x, w: np.cov(x, aweights=w), [x34, x34[0] ** 2]),
    "cov with both": (
        lambda x, w: np.cov(x, fweights=[1, 3, 0, 2], aweights=w, ddof=0),
        [x34, x34[0] ** 2],
    ),
    "cov of weights alone": (lambda w: np.cov(x34, aweights=w * w), [x34[1]]),
    "corrcoef": (np.corrcoef, [x34]),
    "corrcoef of two": (np.corrcoef, [x5, x5 * x5]),
    "corrcoef of columns": (lambda x: np.corrcoef(x, rowvar=False), [x34 * x34]),
    "corrcoef of one": (np.corrcoef, [x5]),
}
TUPLES = np.lib.NumpyVersion(np.__version__) >= "2.1.0"
if not TUPLES:
    del AVERAGES["weights of two axes"]


@pytest.mark.parametrize("call", AVERAGES)
def test_averages_and_covariances(call: str) -> None:
    f, xs = AVERAGES[call]
    assert_same(f, *xs)


def test_weights_that_sum_to_0_have_no_average() -> None:
    for x in (x5, Value(x5)):
        with pytest.raises(ZeroDivisionError):
            np.average(x, weights=np.zeros(5))


@pytest.mark.filterwarnings("ignore:(invalid value|divide by zero)")
def test_a_covariance_without_freedom_warns() -> None:
    for x in (x23[:, :1], Value(x23[:, :1])):
        with pytest.warns(RuntimeWarning, match="Degrees of freedom"):
            y = np.cov(x)
        assert np.isnan(y.data).all()


# Sums by bin.

POINTS = np.array([0.2, 1.0, 0.7, 0.2, -3.0, 2.0])
BINS: dict[str, Callable[..., Any]] = {
    "bincount": lambda w: np.bincount([1, 0, 1, 4, 4, 4], w),
    "bincount, more": lambda w: np.bincount(np.array([0, 2, 2, 1, 1, 1]), weights=w, minlength=6),
    "histogram": lambda w: np.histogram(POINTS, weights=w)[0],
    "histogram, bins": lambda w: np.histogram(POINTS, [0, 0.2, 1, 2], weights=w)[0],
    "histogram, range": lambda w: np.histogram(POINTS, 3, range=(0, 1), weights=w)[0],
    "histogram, density": lambda w: np.histogram(POINTS, 4, density=True, weights=w + 9)[0],
    "histogram2d": lambda w: np.histogram2d(POINTS, POINTS**2, 3, weights=w)[0],
    "histogram2d, density": lambda w: np.histogram2d(
        POINTS, -POINTS, [2, 3], [(-1, 2), (-2, 0)], density=True, weights=w + 9
    )[0],
    "histogramdd": lambda w: np.histogramdd(np.stack([POINTS] * 3, 1), (2, 3, 2), weights=w)[0],
    "histogramdd of a list": lambda w: np.histogramdd([POINTS, POINTS], weights=w)[0],
}


@pytest.mark.parametrize("call", BINS)
def test_a_histogram_is_linear_in_its_weights(call: str) -> None:
    assert_same(BINS[call], apart((6,)))
    w = apart((6,)).astype(np.float32)
    assert BINS[call](Value(w)).dtype == BINS[call](w).dtype


def test_counts_are_constant() -> None:
    x = Value(POINTS)
    for f in (
        np.histogram,
        lambda x: np.histogram2d(x, x),
        lambda x: np.histogramdd([x, x]),
        lambda x: np.histogram(POINTS, np.sort(x)),
    ):
        found, *edges = f(x)
        assert isinstance(found, np.ndarray)
        assert found.tolist() == f(POINTS)[0].tolist()
    weighted, edges = np.histogram(x, 3, weights=Value(POINTS))
    assert weighted.data.tolist() == np.histogram(POINTS, 3, weights=POINTS)[0].tolist()
    assert edges.tolist() == np.histogram(POINTS, 3)[1].tolist()


# Differences and integrals.

COORDINATES = np.cumsum([0.0, 0.5, 0.25, 1.0, 0.75])
SIGNALS: dict[str, Call] = {
    "diff": (np.diff, [x34]),
    "diff twice": (lambda x: np.diff(x, n=2, axis=0), [x34]),
    "diff not at all": (lambda x: np.diff(x * 1, 0), [x34]),
    "diff from": (lambda x, a: np.diff(x, prepend=a, append=0), [x23, 0.5]),
    "diff from columns": (lambda x, a: np.diff(x, 1, -1, a), [x23, x23[:, :2] + 1]),
    "diff of an array": (lambda a: np.diff(x23, axis=0, append=a), [x23]),
    "ediff1d": (np.ediff1d, [x23]),
    "ediff1d with ends": (lambda x, a: np.ediff1d(x, to_end=[1, 2], to_begin=a), [x23, x5]),
    "ediff1d of an array": (lambda a: np.ediff1d([1.0, 2.0], a), [x5]),
    "gradient": (np.gradient, [x5]),
    "gradient of a pair": (np.gradient, [x5[:2]]),
    "gradient, spaced": (lambda x, h: np.gradient(x, h), [x5, 0.5]),
    "gradient at": (lambda x, h: np.gradient(x, h), [x5, COORDINATES]),
    "gradient of a pair at": (lambda x, h: np.gradient(x, h), [x5[:2], COORDINATES[:2]]),
    "gradient, edges": (lambda x, h: np.gradient(x, h, edge_order=2), [x5, 0.5]),
    "gradient at, edges": (lambda x, h: np.gradient(x, h, edge_order=2), [x5, COORDINATES]),
    "gradient, even": (lambda x: np.gradient(x, np.arange(5), edge_order=2), [x5]),
    "gradient by all": (lambda x: np.stack(np.gradient(x)), [x23]),
    "gradient by some": (
        lambda x, h, k: np.stack(np.gradient(x, h, k, axis=(-1, 0), edge_order=1)),
        [x234, np.sort(x34[0]), 2.0],
    ),
    "gradient by one": (lambda x: np.gradient(x, 0.5, axis=1), [x23]),
    "trapezoid": (np.trapezoid, [x34]),
    "trapezoid, spaced": (lambda y, h: np.trapezoid(y, dx=h, axis=0), [x34, 0.5]),
    "trapezoid at": (lambda y, x: np.trapezoid(y, x, axis=1), [x234, x34[:, 0]]),
    "trapezoid at all": (lambda y, x: np.trapezoid(y, x, axis=0), [x34, x34 * x34]),
    "trapezoid of an array": (lambda x: np.trapezoid(x34, x), [x34[0]]),
}


@pytest.mark.parametrize("call", SIGNALS)
def test_differences_and_integrals(call: str) -> None:
    f, xs = SIGNALS[call]
    assert_same(f, *xs)


def test_differences_and_integrals_keep_numpys_dtypes() -> None:
    x = x34.astype(np.float32)
    for f in (
        lambda x: np.gradient(x, axis=0),
        lambda x: np.gradient(x, 0.5, axis=0),
        lambda x: np.gradient(x, [1.0, 2.0, 4.0], axis=0),
        lambda x: np.diff(x, prepend=0),
        np.trapezoid,
        lambda x: np.convolve(x[0], [1, 2]),
        np.cov,
        lambda x: np.corrcoef(x, dtype=np.float32),
        lambda x: np.average(x, axis=0, weights=[1, 2, 3]),
        lambda x: np.average(x, axis=0, weights=x[:, 0]),
    ):
        v = Value(x)
        y = f(v)
        assert y.dtype == f(x).dtype
        np.sum(y).backward()
        assert v.grad.dtype == np.float32


def test_the_slopes_of_a_parabola_are_exact() -> None:
    """With parabolas at the ends too, np.gradient differentiates at² + bt + c exactly."""
    f = lambda a: np.gradient(a[0] * COORDINATES**2 + a[1] * COORDINATES, COORDINATES, edge_order=2)
    np.testing.assert_allclose(f(Value([3.0, 2.0])).data, 6 * COORDINATES + 2)
    assert_gradient(f, [3.0, 2.0], order=2)


def test_differences_of_integers_and_booleans_are_numpys() -> None:
    whole = Value(np.array([3, 1, 4]), requires_grad=False)
    assert np.diff(whole).data.tolist() == [-2, 3]
    assert np.gradient(whole).data.tolist() == np.gradient(whole.data).tolist()
    assert np.diff(Value(np.array([True, True, False]), requires_grad=False)).tolist() == [0, 1]


# Convolutions.


@pytest.mark.parametrize("mode", ["full", "same", "valid", 0, 1, 2])
@pytest.mark.parametrize("f", [np.convolve, np.correlate])
def test_convolutions_of_any_two_lengths(f: Any, mode: Any) -> None:
    for n, m in [(4, 4), (5, 2), (5, 3), (2, 4), (3, 4), (1, 3), (1, 1)]:
        assert_same(lambda x, y: f(x, y, mode), apart((n,)), apart((m,)))
        assert_same(lambda x: f(apart((n,)), x, mode=mode), apart((m,)))  # noqa: B023


def test_a_convolution_with_a_number() -> None:
    assert_same(np.convolve, 2.0, x5)
    assert_same(np.convolve, x5, 2.0)
