"""Reductions with every argument of NumPy's, sorting, running sums and products, and what ufuncs
make of themselves: `reduce`, `accumulate`, `reduceat`, `outer`.

Each call is made on arrays, which is NumPy, and on Values.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.nn import functional as F
from tensorgrad.ops.nn.softmax import logsumexp, softmax
from tests.numerical import assert_gradient

Shape = tuple[int, ...]
LATER = np.lib.NumpyVersion(np.__version__) >= "2.1.0"


def apart(shape: Shape, seed: int = 0) -> Any:
    """Numbers around 0, in no order, far enough from each other for a difference quotient."""
    n = int(np.prod(shape))
    rng = np.random.default_rng(seed)
    return ((rng.permutation(n) - n / 2 + 0.3) * 0.37).reshape(shape)[()]


def assert_same(f: Callable[..., Any], *xs: Any) -> None:
    """`f` of Values is `f` of arrays, in its dtype too, and has the gradient that it should."""
    expected, found = f(*xs), f(*map(Value, xs))
    assert isinstance(found, Value)
    assert (found.shape, found.dtype) == (np.shape(expected), expected.dtype)
    np.testing.assert_allclose(found.data, expected, rtol=1e-13, atol=1e-13)
    assert_gradient(f, *xs, order=2)


def slopes(f: Callable[..., Any], *xs: Any) -> list[Any]:
    """The gradient of the sum of `f` by each operand, as lists."""
    values = [Value(x) for x in xs]
    np.sum(f(*values)).backward()
    return [v.grad.tolist() for v in values]


MASK = np.array([[True, False, True], [True, True, False]])
AXES: list[Any] = [None, 0, -1, (0, 1), (-1, 0), ()]
SUMS = [np.sum, np.prod, np.nansum, np.nanprod]
MEANS = [np.mean, np.nanmean]
SPREADS = [np.var, np.std, np.nanvar, np.nanstd]
EXTREMA = [np.max, np.min, np.amax, np.amin, np.nanmax, np.nanmin]


@pytest.mark.parametrize(
    "f", [*SUMS, *MEANS, *EXTREMA, np.ptp, np.median], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("axis", AXES, ids=str)
def test_a_reduction_over_axes(f: Any, axis: Any) -> None:
    assert_same(lambda x: f(x, axis), apart((2, 3)))
    assert_same(lambda x: f(x, axis=axis, keepdims=True, out=None), apart((2, 3)))


@pytest.mark.parametrize("f", SPREADS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("axis", [None, 0, -1, (0, -1)], ids=str)
def test_a_variance_over_axes(f: Any, axis: Any) -> None:
    assert_same(lambda x: f(x, axis=axis), apart((2, 3)))
    assert_same(lambda x: f(x, axis, None, None, 0.5, True), apart((2, 3)))


@pytest.mark.parametrize("f", SUMS, ids=lambda f: f.__name__)
def test_a_sum_or_product_of_chosen_entries_from_an_initial_value(f: Any) -> None:
    x = apart((2, 3))
    assert_same(lambda x: f(x, where=MASK), x)
    assert_same(lambda x: f(x, axis=0, where=MASK, keepdims=True, initial=2.5), x)
    assert_same(lambda x: f(x, 1, None, None, False, 2.5, MASK[:, :1]), x)
    assert_same(lambda x: f(x, (0, 1), initial=3), x)
    assert f(Value(x), where=~MASK & MASK).data == f(x, where=~MASK & MASK)  # of nothing
    assert_gradient(lambda x, start: f(x, axis=0, initial=start), x, 1.5, order=2)


@pytest.mark.parametrize("f", EXTREMA, ids=lambda f: f.__name__)
@pytest.mark.parametrize("initial", [-0.2, 0.25, -9.0, 9.0])
def test_an_extremum_of_chosen_entries_and_an_initial_value(f: Any, initial: float) -> None:
    x = apart((2, 3))
    assert_same(lambda x: f(x, initial=initial), x)
    assert_same(lambda x: f(x, axis=0, where=MASK, keepdims=True, initial=initial), x)
    assert_same(lambda x: f(x, 1, None, False, initial, MASK[0]), x)
    assert_same(lambda x: f(x, (1, 0), where=MASK, initial=initial), x)
    assert_gradient(lambda x, start: f(x, axis=1, where=MASK, initial=start), x, initial)
    empty = Value(np.zeros((2, 0)))
    assert f(empty, axis=1, initial=initial).data.tolist() == [initial, initial]


@pytest.mark.parametrize("f", [*MEANS, *SPREADS], ids=lambda f: f.__name__)
def test_a_mean_or_variance_of_chosen_entries(f: Any) -> None:
    x = apart((2, 3))
    assert_same(lambda x: f(x, where=MASK), x)
    assert_same(lambda x: f(x, axis=1, keepdims=True, where=MASK), x)
    assert_same(lambda x: f(x, (0, 1), where=MASK[0]), x)


@pytest.mark.parametrize("f", SPREADS, ids=lambda f: f.__name__)
def test_a_variance_around_a_given_mean(f: Any) -> None:
    x = apart((2, 3))
    assert_same(lambda x: f(x, correction=1), x)
    assert_same(lambda x: f(x, axis=1, ddof=0.5, where=MASK), x)
    assert_same(lambda x: f(x, axis=1, mean=np.zeros((2, 1))), x)
    assert_same(lambda x: f(x, 1, mean=np.mean(x, axis=1, keepdims=True), correction=1), x)
    assert_gradient(lambda x, m: f(x, axis=1, mean=m, where=MASK), x, apart((2, 1)), order=2)
    with pytest.raises(ValueError, match=r"ddof and correction|not both"):
        f(Value(x), ddof=1, correction=1)


@pytest.mark.parametrize("f", [*SUMS, *MEANS, *SPREADS, np.cumsum, np.cumprod, np.nancumsum])
def test_a_reduction_in_another_dtype(f: Any) -> None:
    x = apart((2, 3)).astype(np.float32)
    v = Value(x)
    y = f(v, axis=1, dtype=np.float64)
    assert y.dtype == np.float64
    # (NumPy takes the deviations of nanvar in float32 even so)
    np.testing.assert_allclose(y.data, f(x, axis=1, dtype=np.float64), rtol=1e-7)
    y.backward(np.ones(y.shape))
    assert v.grad.dtype == np.float32
    for axis in (None, 1):
        assert f(v, axis=axis).dtype == f(x, axis=axis).dtype == np.float32
        if f not in (np.cumsum, np.cumprod, np.nancumsum):
            assert f(v, axis=axis, where=MASK).dtype == np.float32


@pytest.mark.parametrize("f", [*SUMS, *EXTREMA[:4]], ids=lambda f: f.__name__)
def test_a_reduction_of_integers_keeps_to_integers(f: Any) -> None:
    x = np.array([[3, 1, 2], [4, 6, 5]])
    found = f(Value(x, requires_grad=False), axis=0, where=MASK, initial=2)
    assert found.dtype == x.dtype
    assert found.data.tolist() == f(x, axis=0, where=MASK, initial=2).tolist()


def test_extrema_share_with_an_initial_value_as_with_one_more_entry() -> None:
    assert slopes(lambda x: np.max(x, initial=2.0), [2.0, 1.0, 2.0]) == [[1 / 3, 0, 1 / 3]]
    f = lambda x, start: np.min(x, initial=start, where=[True, True, False])
    assert slopes(f, [2.0, 1.0, 1.0], 1.0) == [[0, 0.5, 0], 0.5]
    assert slopes(np.ptp, [1.0, 1.0]) == [[0, 0]]
    with pytest.raises(ValueError, match="needs an `initial`"):
        np.max(Value([1.0, 2.0]), where=[True, False])


@pytest.mark.parametrize(
    ("f", "call"),
    [(f, {"out": np.zeros(())}) for f in (*SUMS, *MEANS, *SPREADS, *EXTREMA, np.median, np.ptp)]
    + [(np.cumsum, {"out": np.zeros(6)}), (np.quantile, {"q": 0.5, "out": np.zeros(())})],
)
def test_an_array_to_overwrite_is_an_error(f: Any, call: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=r"out= has no gradient|out= and in-place"):
        f(Value(apart((2, 3))), **call)
    if f in SUMS:
        with pytest.raises(TypeError, match="out="):
            f(Value(apart((2, 3))), None, None, np.zeros(()))


def test_a_standard_deviation_of_0_has_gradient_0_also_of_chosen_entries() -> None:
    for f in (lambda x: np.std(x, where=[True, True, False]), np.nanstd):
        x = Value([2.0, 2.0, 2.0])
        f(x).backward(create_graph=True)
        g, x.grad = x.grad, None
        assert g.data.tolist() == [0, 0, 0]
        g.backward(np.ones(3))
        assert x.grad.tolist() == [0, 0, 0]


def test_the_short_way_to_the_gradient_of_a_product_leads_to_the_same() -> None:
    """A zero anywhere makes all rows take the long way."""
    (short,) = slopes(lambda x: np.prod(x, axis=1), [[2.0, 3.0, 4.0]])
    (long,) = slopes(lambda x: np.prod(x, axis=1), [[2.0, 3.0, 4.0], [0.0, 1.0, 5.0]])
    assert short[0] == long[0] == [12, 8, 6]
    assert long[1] == [5, 0, 0]


def test_a_product_that_underflows_gradually_has_an_exact_gradient() -> None:
    x = tg.Value(np.array([1e-200, 1e-123]))
    np.prod(x).backward()
    np.testing.assert_allclose(x.grad, [1e-123, 1e-200], rtol=1e-15)


@pytest.mark.parametrize("f", [np.max, np.min, np.nanmax, np.nanmin])
def test_more_ties_than_float16_counts_share_the_gradient(f: Any) -> None:
    g = tg.grad(lambda x: 1000 * f(x))(np.zeros(70_000, np.float16))
    np.testing.assert_array_equal(g, np.float16(1 / 70))


MANY = 80_000  # more than float16 counts to
HALVES = (np.arange(MANY) % 4 == 3) * 0.5
PAIRS = np.stack([HALVES, 0.5 - HALVES], axis=-1)
FIRST = np.zeros(MANY, int)
OF_MANY: dict[str, tuple[Callable[..., Any], Any]] = {
    "mean": (np.mean, HALVES),
    "average": (np.average, HALVES),
    "var": (np.var, HALVES),
    "std": (lambda x: np.std(x, ddof=1), HALVES),
    "nanvar": (np.nanvar, HALVES),
    "nanstd": (np.nanstd, HALVES),
    "cov": (np.cov, HALVES),
    "norm": (np.linalg.norm, HALVES),
    "logsumexp": (logsumexp, HALVES),
    "softmax": (lambda x: 1e3 * F.softmax(x)[:4].sum(), HALVES),
    "softmax of columns": (lambda x: 1e3 * softmax(x, axis=0)[:4].sum(), PAIRS),
    "log_softmax": (lambda x: F.log_softmax(x)[:4].sum(), HALVES),
    "every log_softmax": (lambda x: F.log_softmax(x).mean(), HALVES),
    "quadratic": (lambda x: F.quadratic(x, np.zeros_like(x)), PAIRS),
    "cross_entropy": (lambda x: F.cross_entropy(x, FIRST), PAIRS),
    "cross_entropy of shares": (lambda x: F.cross_entropy(x, np.full_like(x, 0.5)), PAIRS),
    "cross_entropy of many classes": (lambda x: F.cross_entropy(x, np.array(3)), HALVES),
    "nll_loss": (lambda x: F.nll_loss(x, FIRST), PAIRS),
    "mse_loss": (lambda x: F.mse_loss(x, np.zeros_like(x)), HALVES),
    "binary_cross_entropy": (
        lambda x: F.binary_cross_entropy_with_logits(x, np.zeros_like(x)),
        HALVES,
    ),
}


@pytest.mark.parametrize("name", OF_MANY)
def test_float16_of_more_entries_than_it_counts_to(name: str) -> None:
    """Up to its rounding, value and gradient are those of float64."""
    f, x = OF_MANY[name]
    expected, slope = tg.value_and_grad(f)(x)
    found, half = tg.value_and_grad(f)(x.astype(np.float16))
    assert half.dtype == np.float16
    np.testing.assert_allclose(found, expected, rtol=4e-3)
    np.testing.assert_allclose(half, slope, rtol=0.02, atol=1.5e-7)


def test_many_chosen_entries_of_float16_have_a_variance() -> None:
    """NumPy itself sums them in float16."""
    x, odd = Value(HALVES.astype(np.float16)), np.arange(MANY) % 2 == 1
    np.testing.assert_allclose(np.var(x, where=odd).data, 1 / 16, rtol=1e-3)
    np.testing.assert_allclose(np.std(x, where=odd).data, 1 / 4, rtol=1e-3)


def test_a_mean_of_many_float16_entries_has_a_gradient() -> None:
    for f in (np.mean, lambda x: np.mean(x, where=True), lambda x: np.nanmean(x)):
        x = Value(np.ones(100_000, np.float16))
        f(x).backward(np.float16(1000))
        assert x.grad.dtype == np.float16
        np.testing.assert_allclose(x.grad, 0.01, rtol=1e-3)


# NaN.

NAN = np.array([[1.0, np.nan, 3.0, 0.5], [np.nan, 2.0, -1.0, np.nan]])
WITHOUT = {
    f"{f.__name__} {params}": (f, params)
    for f in (np.nansum, np.nanprod, np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin)
    for params in ({}, {"axis": 1}, {"axis": (0, 1), "keepdims": True})
}
WITHOUT |= {
    f"{f.__name__} {axis}": (f, {"axis": axis})
    for f in (np.nanmedian, np.nancumsum, np.nancumprod)
    for axis in (None, 1)
}
WITHOUT |= {
    f"{f.__name__} {params}": (f, params)
    for f, whole in ((np.nanquantile, 1), (np.nanpercentile, 100))
    for params in (
        {"q": 0.3 * whole, "axis": 1},
        {"q": [0.3 * whole, 0.6 * whole], "keepdims": True, "method": "hazen"},
        {"q": 0.6 * whole, "axis": -1, "method": "inverted_cdf"},
        {"q": 0.6 * whole, "axis": 1, "method": "inverted_cdf", "weights": np.ones((2, 4))},
    )
}


@pytest.mark.parametrize("call", WITHOUT)
def test_nan_entries_are_left_out_and_receive_0(call: str) -> None:
    f, params = WITHOUT[call]
    missing = np.isnan(NAN)
    full = np.where(missing, 7.0, NAN)
    assert_same(lambda x: f(np.where(missing, np.nan, x), **params), full)
    x = Value(NAN)
    f(x, **params).sum().backward(create_graph=True)
    first, x.grad = x.grad, None
    if first.requires_grad:
        np.sum(first * first).backward()
    for g in (first.data, 0 if x.grad is None else x.grad):
        assert np.all(np.isfinite(g))
        assert not np.any(np.where(missing, g, 0))


@pytest.mark.parametrize("f", [f for f, _ in {f: 0 for f, _ in WITHOUT.values()}.items()])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_of_nan_entries_alone_the_result_is_numpys_and_the_gradient_0(f: Any) -> None:
    x = np.array([[1.0, 2.0], [np.nan, np.nan]])
    params = {"q": 0.5} if "q" in f.__name__[3:5] or "percent" in f.__name__ else {}
    v = Value(x)
    y = f(v, axis=1, **params)
    np.testing.assert_array_equal(y.data, f(x, axis=1, **params))
    y.backward(np.ones(y.shape))
    assert v.grad[1].tolist() == [0, 0]
    assert np.all(np.isfinite(v.grad))


@pytest.mark.parametrize(
    "f", [np.nanmean, np.nanvar, np.nanstd, np.nanmax, np.nanmin, np.nanmedian]
)
def test_of_nan_entries_alone_numpy_warns(f: Any) -> None:
    for x in (np.full(3, np.nan), Value(np.full(3, np.nan))):
        with pytest.warns(RuntimeWarning, match=r"All-NaN|Mean of empty|Degrees of freedom"):
            f(x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        f(Value(np.full(3, np.nan))).backward()
    assert len(caught) == 1


# Complex numbers: f(x + iy) is differentiated by x and by y; the gradient is ∂f/∂x - i ∂f/∂y.

COMPLEX: dict[str, Callable[..., Any]] = {
    "sum": lambda z: np.sum(z, axis=0, where=MASK, initial=1j),
    "mean": lambda z: np.mean(z, axis=1),
    "mean of chosen": lambda z: np.mean(z, axis=1, where=MASK),
    "prod": lambda z: np.prod(z, axis=1),
    "prod with a zero": lambda z: np.prod(z * [[0, 1, 1], [0, 0, 1]], axis=1),
    "cumprod": lambda z: np.cumprod(z, axis=1),
    "cumsum": lambda z: np.cumsum(z),
    "var": lambda z: np.var(z, axis=0),
    "std": lambda z: np.std(z, ddof=1),
    "var of chosen": lambda z: np.var(z, where=MASK, axis=1, ddof=0.5),
    "nanstd": lambda z: np.nanstd(z),
    "sort": lambda z: np.sort(z, axis=0),
    "sort_complex": np.sort_complex,
    "average": lambda z: np.average(z, axis=1, weights=z * z + 2),
    "median": lambda z: np.median(z, axis=1),
    "cov": lambda z: np.cov(z),
    "cov with weights": lambda z: np.cov(z, aweights=[1, 2, 3]),
    "corrcoef": lambda z: np.corrcoef(z[:, 0], z[:, 1]),
    "convolve": lambda z: np.convolve(z[0], z[1]),
    "correlate": lambda z: np.correlate(z[0], z[1], "full"),
    "diff": lambda z: np.diff(z, 2),
    "gradient": lambda z: np.gradient(z, axis=1),
    "trapezoid": lambda z: np.trapezoid(z, axis=0),
    "bincount": lambda z: np.histogram([0.1, 0.2, 1], weights=z[0])[0],
    "multiply.outer": lambda z: np.multiply.outer(z[0], z[1]),
    "add.reduceat": lambda z: np.add.reduceat(z, [0, 2], axis=1),
}


@pytest.mark.parametrize("call", COMPLEX)
def test_complex_gradients_are_those_by_both_parts(call: str) -> None:
    f = COMPLEX[call]
    x, y = apart((2, 3), 1), apart((2, 3), 2)
    z = Value(x + 1j * y)
    found, expected = f(z), f(z.data)
    np.testing.assert_allclose(found.data, expected, rtol=1e-12, atol=1e-13)
    assert found.dtype == expected.dtype
    both = lambda w: np.sum(np.real(w) * 1.7) + np.sum(np.imag(w) * 0.6)
    assert_gradient(lambda x, y: both(f(x + 1j * y)), x, y, order=2)
    both(found).backward()
    parts = Value(x), Value(y)
    both(f(parts[0] + 1j * parts[1])).backward()
    np.testing.assert_allclose(z.grad, parts[0].grad - 1j * parts[1].grad, atol=1e-12)


# Sorting.

SORTS: dict[str, Callable[..., Any]] = {
    "sort": np.sort,
    "sort along the first axis": lambda x: np.sort(x, axis=0, kind="stable"),
    "sort flat": lambda x: np.sort(x, axis=None, stable=True),
    "sort by method": lambda x: np.sort(x, -2),
    "partition": lambda x: np.partition(x, 1),
    "partition along": lambda x: np.partition(x, (1, 2), axis=0),
    "partition flat": lambda x: np.partition(x, 5, axis=None, kind="introselect"),
}


@pytest.mark.parametrize("call", SORTS)
def test_sorting_returns_the_cotangent_to_where_an_entry_was(call: str) -> None:
    assert_same(SORTS[call], apart((4, 5)))


def test_entries_that_tie_are_sorted_in_the_order_in_which_they_stand() -> None:
    x, weights = [2.0, 1.0, 2.0, 1.0], [1.0, 2.0, 3.0, 4.0]
    assert slopes(lambda x: np.sort(x) * weights, x) == [[3, 1, 4, 2]]
    assert sorted(slopes(lambda x: np.partition(x, 2) * weights, x)[0]) == weights
    many = np.arange(100.0)
    places = sorted(range(100), key=lambda i: (i % 3, i))  # of 0, 1, 2, 0, 1, 2, ...
    assert slopes(lambda x: np.sort(x) * many, many % 3) == [np.argsort(places).tolist()]
    assert slopes(np.median, [1.0, 1.0, 1.0]) == [[0, 1, 0]]
    assert slopes(np.median, [1.0, 1.0]) == [[0.5, 0.5]]


# Running sums and products.

RUNNING: dict[str, Callable[..., Any]] = {
    "cumsum": lambda x: np.cumsum(x, 1),
    "cumsum flat": np.cumsum,
    "cumprod": lambda x: np.cumprod(x, axis=-2),
    "cumprod flat": np.cumprod,
    "nancumsum": lambda x: np.nancumsum(x, axis=0),
    "nancumprod": lambda x: np.nancumprod(x, axis=1),
    "maximum.accumulate": np.maximum.accumulate,
    "maximum.accumulate of all": lambda x: np.maximum.accumulate(x[:, 0], axis=None),
    "minimum.accumulate": lambda x: np.minimum.accumulate(x, axis=-1),
}
if LATER:
    RUNNING |= {
        "cumulative_sum": lambda x: np.cumulative_sum(x, axis=0),
        "cumulative_sum from 0": lambda x: np.cumulative_sum(x, axis=-1, include_initial=True),
        "cumulative_prod": lambda x: np.cumulative_prod(x, axis=1),
        "cumulative_prod from 1": lambda x: np.cumulative_prod(x[0], include_initial=True),
    }


@pytest.mark.parametrize("call", RUNNING)
def test_running_sums_products_and_records(call: str) -> None:
    assert_same(RUNNING[call], apart((3, 4)))


@pytest.mark.parametrize("at", [[2.0, 0.0, 3.0, 4.0], [0.0, 2.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
def test_a_running_product_with_zeros_is_exact_at_both_orders(at: Any) -> None:
    """p_k = x₁···x_k, so ∂p_k/∂x_i and ∂²p_k/∂x_i∂x_j are products of the others."""
    n, g = len(at), np.arange(1.0, len(at) + 1)

    def others(*left_out: int) -> float:
        kept = lambda k: np.prod([x for i, x in enumerate(at[: k + 1]) if i not in left_out])
        return float(sum(g[k] * kept(k) for k in range(max(left_out), n)))

    x = Value(at)
    np.cumprod(x).backward(g, create_graph=True)
    first, x.grad = x.grad, None
    assert first.data.tolist() == [others(i) for i in range(n)]
    for i in range(n):
        x.grad = None
        first[i].backward()
        assert x.grad.tolist() == [others(i, j) if i != j else 0 for j in range(n)]
    assert_gradient(np.cumprod, at, order=2)
    assert_gradient(np.prod, np.outer(at, at), order=2)


def test_what_follows_an_overflow_does_not_disturb_what_comes_before_it() -> None:
    x = [2.0, 3.0, 1e200, 1e200, 1e200]
    with np.errstate(over="ignore"):
        assert slopes(lambda x: np.cumprod(x)[:2], x) == [[4, 2, 0, 0, 0]]


def test_a_record_that_is_met_again_goes_to_the_latest() -> None:
    assert slopes(np.maximum.accumulate, [1.0, 3.0, 2.0, 3.0, 3.0]) == [[1, 2, 0, 1, 1]]
    assert slopes(np.minimum.accumulate, [1.0, 3.0, 1.0]) == [[2, 0, 1]]


@pytest.mark.skipif(not LATER, reason="NumPy 2.1 brought it")
def test_a_cumulative_sum_of_several_axes_needs_an_axis() -> None:
    for x in (np.ones((2, 2)), Value(np.ones((2, 2)))):
        with pytest.raises(ValueError, match="axis"):
            np.cumulative_sum(x)
    assert_same(np.cumulative_sum, 3.0)


# Methods of ufuncs.

METHODS: dict[str, tuple[Callable[..., Any], list[Shape]]] = {
    "logaddexp.reduce": (np.logaddexp.reduce, [(3, 2)]),
    "logaddexp.reduce, all": (
        lambda x: np.logaddexp.reduce(x, axis=None, keepdims=True, initial=0.5),
        [(3, 2)],
    ),
    "logaddexp.reduce, chosen": (lambda x: np.logaddexp.reduce(x, axis=1, where=MASK), [(2, 3)]),
    "subtract.reduce": (np.subtract.reduce, [(3, 2)]),
    "hypot.reduce": (lambda x: np.hypot.reduce(x, axis=(0, 1), keepdims=True), [(2, 3)]),
    "hypot.reduce, chosen": (lambda x: np.hypot.reduce(x, axis=1, where=MASK), [(2, 3)]),
    "divide.reduce": (lambda x: np.divide.reduce(x, axis=-1), [(2, 3)]),
    "add.reduce": (lambda x: np.add.reduce(x, (0, 1), where=MASK, initial=2), [(2, 3)]),
    "multiply.reduce": (np.multiply.reduce, [(2, 3)]),
    "maximum.reduce": (lambda x: np.maximum.reduce(x, initial=0), [(3, 2)]),
    "multiply.accumulate": (np.multiply.accumulate, [(3, 2)]),
    "subtract.accumulate": (lambda x: np.subtract.accumulate(x, axis=1), [(2, 3)]),
    "logaddexp.accumulate": (lambda x: np.logaddexp.accumulate(x, -1), [(2, 3)]),
    "add.reduceat": (lambda x: np.add.reduceat(x, [0, 3, 1, 1, 4]), [(5, 2)]),
    "multiply.reduceat": (lambda x: np.multiply.reduceat(x, [1, 0, 2], axis=1), [(2, 3)]),
    "maximum.reduceat": (lambda x: np.maximum.reduceat(x, np.array([0, 2])), [(4,)]),
    "subtract.reduceat": (lambda x: np.subtract.reduceat(x, [0, 2]), [(4,)]),
    "subtract.outer": (np.subtract.outer, [(2,), (3, 2)]),
    "multiply.outer": (lambda x, y: np.multiply.outer(x, y), [(2, 1), ()]),
    "maximum.outer": (lambda x: np.maximum.outer([0.01, -0.5], x), [(3,)]),
}


@pytest.mark.parametrize("call", METHODS)
def test_methods_of_ufuncs(call: str) -> None:
    f, shapes = METHODS[call]
    assert_same(f, *(apart(shape, i) for i, shape in enumerate(shapes)))


def test_methods_of_ufuncs_raise_what_numpy_raises() -> None:
    x = Value([1.0, 2.0])
    with pytest.raises(IndexError):
        np.add.reduceat(x, [0, 2])
    with pytest.raises(ValueError, match="initial"):
        np.subtract.reduce(x, where=[True, False])
    with pytest.raises(TypeError):
        np.add.at(x, [0], 1.0)
    assert np.less.outer(x, [1.5]).tolist() == [[True], [False]]


# Functions that are given a function.


def test_apply_along_axis() -> None:
    x = apart((2, 3, 2))
    assert_same(lambda x: np.apply_along_axis(np.sum, 1, x), x)
    assert_same(lambda x: np.apply_along_axis(lambda r, k: np.outer(r, r) * k, 1, x, 2), x)
    assert_same(lambda x: np.apply_along_axis(np.cumprod, -1, x), x)
    assert np.apply_along_axis(np.argmax, 1, Value(x)).tolist() == x.argmax(1).tolist()


def test_apply_over_axes() -> None:
    x = apart((2, 3, 2))
    assert_same(lambda x: np.apply_over_axes(np.prod, x, [0, -1]), x)
    assert_same(lambda x: np.apply_over_axes(np.sum, x, 1), x)
    assert_same(lambda x: np.apply_over_axes(np.cumsum, x, (0, 1)), x)


def test_infinite_entries_share_the_gradient_of_logsumexp() -> None:
    inf = np.inf
    assert slopes(logsumexp, [-inf, -inf]) == [[0.5, 0.5]]
    assert slopes(logsumexp, [0.0, inf]) == [[0, 1]]
    f = lambda x: logsumexp(x, axis=1, keepdims=True)
    assert slopes(f, [[-inf, -inf], [0.0, 0.0], [-inf, 3.0]]) == [[[0.5, 0.5], [0.5, 0.5], [0, 1]]]


def test_a_number_is_reduced_along_axis_0_as_numpy_allows() -> None:
    for axis in (0, -1):
        x = Value(0.0)
        np.prod(x, axis=axis).backward()
        assert x.grad == 1
        x = Value(2.0)
        np.cumprod(x, axis=axis).backward([3.0])
        assert x.grad == 3


@pytest.mark.parametrize("ufunc", [np.add, np.multiply, np.minimum, np.maximum, np.subtract])
def test_to_accumulate_along_no_axis_takes_a_vector_as_in_numpy(ufunc: Any) -> None:
    x = np.array([3.0, 1.0, 2.0])
    assert_gradient(lambda x: ufunc.accumulate(x, axis=None), x)
    np.testing.assert_array_equal(ufunc.accumulate(Value(x), None).data, ufunc.accumulate(x, None))
    for matrix in (np.ones((2, 2)), Value(np.ones((2, 2)))):
        with pytest.raises(ValueError, match="accumulate"):
            ufunc.accumulate(matrix, axis=None)
