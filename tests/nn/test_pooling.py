"""Pooling, against loops over windows in NumPy."""

from __future__ import annotations

import itertools
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


def test_a_divisor_of_choice() -> None:
    np.testing.assert_array_equal(F.avg_pool2d(np.ones((1, 2, 2)), 2, divisor_override=1), [[[4]]])


def test_pooling_inside_vmap_is_a_loop() -> None:
    x = rng.normal(size=(3, 2, 4, 4))
    for pool in (nn.MaxPool2d(2), nn.AvgPool2d(2)):
        np.testing.assert_array_equal(tg.vmap(pool)(x), pool(x))
    places = lambda x: F.max_pool2d(x, 2, return_indices=True)[1]
    np.testing.assert_array_equal(tg.vmap(places)(Value(x)).data, places(x))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: F.max_pool2d(np.ones((4, 4)), 2), ValueError, r"max_pool2d of shape \(4, 4\)"),
        (lambda: F.max_pool2d(np.ones((1, 4, 4)), 5), ValueError, "a window of 5 entries does not"),
        (lambda: F.avg_pool1d(np.ones((1, 4)), 2, padding=2), ValueError, "more than half of a"),
        (lambda: F.avg_pool1d(np.ones((1, 4)), 0), ValueError, "kernel_size=0: sizes begin at 1"),
        (lambda: F.avg_pool1d(np.ones((1, 4)), 2, -1), ValueError, "stride=-1"),
        (lambda: F.max_pool2d(np.ones((1, 4, 4)), (2,)), TypeError, "or 2 of them"),
        (lambda: F.max_pool2d(np.ones((1, 4, 4)), 2.0), TypeError, "give an integer"),
        (lambda: F.max_pool2d(np.ones((1, 0, 4)), 2), ValueError, "in an axis of 0"),
        (lambda: F.avg_pool1d(np.ones((1, 4)), 2, divisor_override=0), ValueError, "is no count"),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_layers_are_the_functions() -> None:
    x = rng.normal(size=(2, 3, 6, 6))
    for name, function in (("MaxPool2d", F.max_pool2d), ("AvgPool2d", F.avg_pool2d)):
        layer = getattr(nn, name)(3, stride=2, padding=1, ceil_mode=True)
        expected = function(x, 3, 2, 1, ceil_mode=True)
        np.testing.assert_array_equal(layer(x), expected)
