"""Pooling, against loops over windows in NumPy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.nn import functional as F
from tests.numerical import assert_gradient

rng = np.random.default_rng(0)


def windows(
    x: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, fill: float
) -> Iterator[tuple[Any, Any]]:
    """Each window of the last axes of x, with its place in the result."""
    n = len(kernel)
    x = np.pad(x, [(0, 0)] * (x.ndim - n) + [(p, p) for p in padding], constant_values=fill)
    counts = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, s, d in zip(x.shape[-n:], kernel, stride, dilation)
    ]
    for at in np.ndindex(*counts):
        entries = [
            x[(..., *(o * s + i * d for o, s, i, d in zip(at, stride, each, dilation)))]
            for each in itertools.product(*map(range, kernel))
        ]
        yield at, np.stack(entries)


CONFIGURATIONS = [
    # shape, kernel, stride, padding, dilation
    ((2, 3, 6), (2,), (2,), (0,), (1,)),
    ((2, 3, 7), (3,), (1,), (1,), (2,)),
    ((1, 1, 1), (1,), (3,), (0,), (1,)),
    ((2, 3, 4, 6), (2, 2), (2, 2), (0, 0), (1, 1)),
    ((2, 3, 5, 7), (3, 2), (2, 3), (1, 1), (1, 1)),
    ((3, 5, 7), (2, 3), (1, 2), (1, 0), (2, 1)),
    ((1, 2, 3, 4, 5), (2, 2, 3), (1, 2, 2), (1, 0, 1), (1, 2, 1)),
]


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation"), CONFIGURATIONS)
def test_max_pooling_takes_the_largest_entry_of_each_window(
    shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any
) -> None:
    x = rng.permutation(np.prod(shape)).reshape(shape).astype(float)
    n = len(kernel)
    pool = getattr(F, f"max_pool{n}d")
    out, places = pool(x, kernel, stride, padding, dilation, return_indices=True)
    for at, entries in windows(x, kernel, stride, padding, dilation, -np.inf):
        np.testing.assert_array_equal(out[(..., *at)], entries.max(axis=0))
    flat = x.reshape(*shape[:-n], -1)
    np.testing.assert_array_equal(
        np.take_along_axis(flat, places.reshape(*shape[:-n], -1), -1), out.reshape(*shape[:-n], -1)
    )
    assert_gradient(lambda x: pool(x, kernel, stride, padding, dilation), x / 7, order=2)


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "dilation"), CONFIGURATIONS)
@pytest.mark.parametrize("include", [True, False])
def test_average_pooling_takes_the_mean_of_each_window(
    shape: Any, kernel: Any, stride: Any, padding: Any, dilation: Any, include: bool
) -> None:
    x, n = rng.normal(size=shape), len(kernel)
    pool = getattr(F, f"avg_pool{n}d")
    out = pool(x, kernel, stride, padding, count_include_pad=include)
    sums = windows(x, kernel, stride, padding, (1,) * n, 0)
    inside = windows(np.ones(shape), kernel, stride, padding, (1,) * n, float(include))
    for (at, entries), (_, counted) in zip(sums, inside, strict=True):
        np.testing.assert_allclose(out[(..., *at)], entries.sum(0) / counted.sum(0), atol=1e-12)
    assert_gradient(lambda x: pool(x, kernel, stride, padding), x, order=2)


def test_both_keep_the_order_in_memory() -> None:
    x = np.zeros((4, 3, 6, 5), np.float32).transpose(3, 1, 0, 2)  # (H, C, W, N) in memory
    for pool in (F.max_pool2d, F.avg_pool2d):
        v = Value(x)
        out = pool(v, 2)
        out.backward(np.ones_like(out.data))
        for made in (out.data, v.grad):
            assert made.transpose(2, 1, 3, 0).flags.c_contiguous
            assert made.dtype == np.float32


def test_a_last_window_may_reach_over_the_end() -> None:
    x = np.arange(5.0)[None]
    np.testing.assert_array_equal(F.max_pool1d(x, 2), [[1, 3]])
    np.testing.assert_array_equal(F.max_pool1d(x, 2, ceil_mode=True), [[1, 3, 4]])
    np.testing.assert_array_equal(F.avg_pool1d(x, 2, ceil_mode=True), [[0.5, 2.5, 4]])
    # but does not begin there
    np.testing.assert_array_equal(F.max_pool1d(x, 1, 3, ceil_mode=True), [[0, 3]])


def test_a_nan_is_the_largest_and_receives_the_gradient() -> None:
    x = Value([[1.0, np.nan, 2.0, 3.0]])
    F.max_pool1d(x, 2).backward(np.ones((1, 2)))
    np.testing.assert_array_equal(x.grad, [[0, 1, 0, 1]])


def test_what_was_added_around_an_array_is_never_the_largest() -> None:
    x = np.full((1, 3), -np.inf)
    out, places = F.max_pool1d(x, 2, padding=1, return_indices=True)
    np.testing.assert_array_equal(out, [[-np.inf, -np.inf]])
    np.testing.assert_array_equal(places, [[0, 1]])


def test_a_divisor_of_choice() -> None:
    np.testing.assert_array_equal(F.avg_pool2d(np.ones((1, 2, 2)), 2, divisor_override=1), [[[4]]])


def test_pooling_inside_vmap_is_a_loop() -> None:
    x = rng.normal(size=(3, 2, 4, 4))
    for pool in (nn.MaxPool2d(2), nn.AvgPool2d(2)):
        np.testing.assert_array_equal(tg.vmap(pool)(x), pool(x))
    places = lambda x: F.max_pool2d(x, 2, return_indices=True)[1]
    np.testing.assert_array_equal(tg.vmap(places)(Value(x)).data, places(x))


def boxes(shape: Any, counts: Any) -> Iterator[tuple[Any, Any]]:
    """The windows of an adaptive pooling, with their places in the result."""
    for at in np.ndindex(*counts):
        yield (
            at,
            tuple(
                slice(i * size // m, math.ceil((i + 1) * size / m))
                for i, size, m in zip(at, shape, counts)
            ),
        )


@pytest.mark.parametrize(
    ("shape", "counts"),
    [((2, 3, 7), (3,)), ((2, 3, 4, 6), (2, 3)), ((3, 5, 7), (2, 9)), ((1, 2, 3, 4, 5), (1, 1, 1))],
)
def test_adaptive_pooling_is_told_how_many_windows(shape: Any, counts: Any) -> None:
    x, n = rng.normal(size=shape), len(counts)
    mean, largest = getattr(F, f"adaptive_avg_pool{n}d"), getattr(F, f"adaptive_max_pool{n}d")
    means, (maxima, places) = mean(x, counts), largest(x, counts, return_indices=True)
    flat = x.reshape(*shape[:-n], -1)
    for at, box in boxes(shape[-n:], counts):
        axes = tuple(range(-n, 0))
        np.testing.assert_allclose(means[(..., *at)], x[(..., *box)].mean(axes), atol=1e-12)
        np.testing.assert_array_equal(maxima[(..., *at)], x[(..., *box)].max(axes))
        chosen = np.take_along_axis(flat, places[(..., *at)][..., None], -1)[..., 0]
        np.testing.assert_array_equal(chosen, maxima[(..., *at)])
    assert_gradient(lambda x: mean(x, counts), x, order=2)
    assert_gradient(lambda x: largest(x, counts), x, order=2)


def test_a_size_of_none_stays() -> None:
    x = rng.normal(size=(2, 3, 4, 5))
    assert nn.AdaptiveAvgPool2d((None, 1))(x).shape == (2, 3, 4, 1)
    assert nn.AdaptiveMaxPool2d((2, None))(x).shape == (2, 3, 2, 5)


def test_pooling_of_powers_lies_between_the_sum_and_the_maximum() -> None:
    x = rng.uniform(0.1, 1, size=(2, 3, 4, 6))
    np.testing.assert_allclose(F.lp_pool2d(x, 1, 2), 4 * F.avg_pool2d(x, 2))
    square = np.sqrt(4 * F.avg_pool2d(x**2, 2))
    np.testing.assert_allclose(nn.LPPool2d(2, 2)(x), square)
    np.testing.assert_allclose(F.lp_pool2d(x, 60, 2), F.max_pool2d(x, 2), rtol=0.03)
    assert_gradient(lambda x: F.lp_pool1d(x[0], 3, 2, stride=1), x)
    assert not tg.grad(lambda x: F.lp_pool1d(x, 2, 2).sum())(np.zeros((1, 4))).any()


@pytest.mark.parametrize("shape", [(2, 3, 6), (2, 3, 4, 6), (3, 4, 6), (1, 2, 4, 2, 6)])
def test_unpooling_puts_the_largest_entries_back(shape: Any) -> None:
    x, n = rng.normal(size=shape), 1 if shape == (2, 3, 6) else 2 if len(shape) < 5 else 3
    pool, unpool = getattr(nn, f"MaxPool{n}d"), getattr(nn, f"MaxUnpool{n}d")
    out, places = pool(2, return_indices=True)(x)
    back = unpool(2)(out, places)
    np.testing.assert_array_equal(back, np.where(np.isin(x, out), x, 0))
    assert_gradient(lambda out: unpool(2)(out, places), out)
    larger = unpool(2)(out, places, output_size=[size + 1 for size in shape])
    assert larger.shape[-n:] == tuple(size + 1 for size in shape[-n:])


def test_windows_in_random_places() -> None:
    x = rng.permutation(2 * 3 * 64).reshape(2, 3, 8, 8).astype(float)
    layer = nn.FractionalMaxPool2d(2, output_ratio=0.5, return_indices=True, rng=0)
    out, places = layer(x)
    assert out.shape == (2, 3, 4, 4)
    flat = x.reshape(2, 3, -1)
    np.testing.assert_array_equal(
        np.take_along_axis(flat, places.reshape(2, 3, -1), -1), out.reshape(2, 3, -1)
    )
    u = np.full((1, 1, 2), 0.7)
    # starts ⌊(i + 0.7) 1.5⌋ - ⌊0.7 1.5⌋ = 0, 1, and at the end 3, of five entries
    starts = np.array([0, 1, 3])
    image = rng.normal(size=(1, 5, 5))
    found = F.fractional_max_pool2d(image, 2, output_size=3, _random_samples=u)
    expected = [[image[0, i : i + 2, j : j + 2].max() for j in starts] for i in starts]
    np.testing.assert_array_equal(found[0], expected)
    assert F.fractional_max_pool3d(np.ones((1, 4, 4, 4)), 2, 2, rng=0).shape == (1, 2, 2, 2)
    tg.manual_seed(0)
    first = F.fractional_max_pool2d(x, 2, 5)
    assert (F.fractional_max_pool2d(x, 2, 5) != first).any()
    tg.manual_seed(0)
    np.testing.assert_array_equal(F.fractional_max_pool2d(x, 2, 5), first)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: F.max_pool2d(np.ones((4, 4)), 2), ValueError, r"max_pool2d of shape \(4, 4\)"),
        (lambda: F.max_pool2d(np.ones((1, 4, 4)), 5), ValueError, "a window of 5 entries does not"),
        (lambda: F.avg_pool1d(np.ones((1, 4)), 2, padding=2), ValueError, "more than half of a"),
        (lambda: F.avg_pool1d(np.ones((1, 4)), 0), ValueError, "kernel_size=0: sizes begin at 1"),
        (lambda: F.avg_pool1d(np.ones((1, 4)), 2, -1), ValueError, "stride=-1"),
        (lambda: F.max_pool2d(np.ones((1, 4, 4)), (2, 2, 2)), TypeError, "or 2 of them"),
        (lambda: F.max_pool2d(np.ones((1, 4, 4)), 2.0), TypeError, "give an integer"),
        (lambda: F.max_pool2d(np.ones((1, 0, 4)), 2), ValueError, "in an axis of 0"),
        (
            lambda: F.avg_pool1d(np.ones((1, 4)), 2, divisor_override=0),
            ValueError,
            "nothing can be divided",
        ),
        (lambda: F.adaptive_avg_pool2d(np.ones((1, 4, 4)), (1, 2, 3)), TypeError, "or 2 of them"),
        (lambda: F.adaptive_max_pool1d(np.ones((1, 0)), 1), ValueError, "of an empty axis"),
        (lambda: F.lp_pool1d(np.ones((1, 4)), 0, 2), ValueError, "must be positive"),
        (lambda: F.max_unpool1d(np.ones((1, 2)), [[0, 9]], 2), ValueError, "indices 0..9 for"),
        (lambda: F.max_unpool1d(np.ones((1, 2)), [[0.0, 1.0]], 2), ValueError, "makes them"),
        (
            lambda: F.max_unpool1d(np.ones((1, 2)), [[0, 1]], 2, output_size=[7]),
            ValueError,
            "is not within a stride",
        ),
        (lambda: F.fractional_max_pool2d(np.ones((1, 4, 4)), 2), ValueError, "give either output"),
        (lambda: F.fractional_max_pool2d(np.ones((1, 4, 4)), 2, 4), ValueError, "do not fit"),
        (
            lambda: F.fractional_max_pool2d(np.ones((1, 4, 4)), 2, output_ratio=2.0),
            ValueError,
            "lies between 0 and 1",
        ),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_one_size_is_for_all_axes_also_in_a_list() -> None:
    x = rng.normal(size=(2, 6, 6))
    np.testing.assert_array_equal(F.max_pool2d(x, [2], []), F.max_pool2d(x, (2, 2)))


def test_layers_are_the_functions() -> None:
    x = rng.normal(size=(2, 3, 6, 6))
    for name, function in (("MaxPool2d", F.max_pool2d), ("AvgPool2d", F.avg_pool2d)):
        layer = getattr(nn, name)(3, stride=2, padding=1, ceil_mode=True)
        expected = function(x, 3, 2, 1, ceil_mode=True)
        np.testing.assert_array_equal(layer(x), expected)


def test_random_windows_of_no_examples() -> None:
    assert F.fractional_max_pool2d(np.zeros((0, 2, 6, 6)), 2, output_size=3).shape == (0, 2, 3, 3)
