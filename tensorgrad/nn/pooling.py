"""Pooling: the largest or the mean of each window.

`x` is (N, C, ...) or (C, ...), as in PyTorch, in whatever order it lies in memory; windows are
of its last axes. A function of n axes makes those for one, two and three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array, created, outside, total, wrong
from tensorgrad.engine.node import data_of, detached
from tensorgrad.nn.module import Function, dimensions, layers
from tensorgrad.nn.shape import pad
from tensorgrad.ops import nn as ops
from tensorgrad.ops.index import setitem as _setitem
from tensorgrad.ops.nn.resampling import means, resampled
from tensorgrad.ops.nn.sizes import Size, bounds, many, output_sizes, planes, windows_of
from tensorgrad.random import generator


def _framed(x: Any, ends: list[tuple[int, int]], value: float) -> Any:
    """`x` with so many entries of `value` around its last axes."""
    return pad(x, [m for pair in reversed(ends) for m in pair], value=value)


def _max_pool(
    n: int,
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest entry of each window, every `stride` entries, by default side by side.

    Entries of a window are `dilation` apart. `padding` adds entries of -inf on both sides. With
    `ceil_mode` a last window may reach over the end. `return_indices`: also where the largest
    entries are, numbered within their channel. Entries that tie share the gradient equally
    (PyTorch's goes to the first). ValueError for windows that do not fit.

    >>> max_pool1d(np.array([[1.0, 3.0, 2.0, 5.0]]), 2)
    array([[3., 5.]])
    """
    x = planes(n, input, "max_pool")
    shape = x.shape[-n:]
    window, ends = windows_of("max_pool", shape, kernel_size, stride, padding, dilation, ceil_mode)
    x = _framed(x, ends, -np.inf)
    out = ops.pooling.max_pool(x, **window)
    if not return_indices:
        return out
    return out, ops.pooling.places_of_largest(x, out, ends=ends, **window)


max_pool1d, max_pool2d, max_pool3d = dimensions(_max_pool)


class _MaxPool(Function):
    settings = ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode")

    def __init__(
        self,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        self.dilation, self.return_indices, self.ceil_mode = dilation, return_indices, ceil_mode


class MaxPool1d(_MaxPool):
    """`max_pool1d`, the largest entry of each window: (N, C, L) or (C, L)."""

    function = staticmethod(max_pool1d)


class MaxPool2d(_MaxPool):
    """`max_pool2d`, the largest entry of each window: (N, C, H, W) or (C, H, W).

    >>> MaxPool2d(2)(np.arange(16.0).reshape(1, 4, 4))
    array([[[ 5.,  7.],
            [13., 15.]]])
    """

    function = staticmethod(max_pool2d)


class MaxPool3d(_MaxPool):
    """`max_pool3d`, the largest entry of each window: (N, C, D, H, W) or (C, D, H, W)."""

    function = staticmethod(max_pool3d)


def _avg_pool(
    n: int,
    input: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """The mean of each window, every `stride` entries, by default side by side.

    `padding` adds zeros on both sides, which count unless `count_include_pad` is False. With
    `ceil_mode` a last window may reach over the end; what is beyond does not count.
    `divisor_override`: what to divide the sums by. ValueError for windows that do not fit.

    >>> avg_pool1d(np.array([[1.0, 3.0, 2.0, 5.0]]), 2)
    array([[2. , 3.5]])
    """
    x = planes(n, input, "avg_pool")
    shape = x.shape[-n:]
    window, ends = windows_of("avg_pool", shape, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override == 0:
        raise ValueError(f"avg_pool{n}d: divisor_override=0: nothing can be divided by it")
    total = ops.pooling.sum_pool(_framed(x, ends, 0), **window)
    if divisor_override is not None:
        return total / divisor_override
    counted = many(n, padding, "padding", 0) if count_include_pad else (0,) * n
    count = ops.pooling.counts(shape, ends, counted, **window)
    if np.ndim(count):
        count = created(count.astype, total.dtype, like=total)
    return total / count


avg_pool1d, avg_pool2d, avg_pool3d = dimensions(_avg_pool)
AvgPool1d, AvgPool2d, AvgPool3d = layers("AvgPool", avg_pool1d, avg_pool2d, avg_pool3d)


# Windows that are told by the size of the result.


def _adaptive_avg_pool(n: int, input: Any, output_size: Any) -> Any:
    """The mean of each of `output_size` windows, which cover the axes and are nearly of one size.

    Window i of m begins at ⌊i size/m⌋ and ends before ⌈(i + 1) size/m⌉. None in `output_size`
    leaves an axis as it is.

    >>> adaptive_avg_pool1d(np.array([[1.0, 3.0, 2.0, 5.0]]), 2)
    array([[2. , 3.5]])
    """
    x = planes(n, input, "adaptive_avg_pool")
    counts = output_sizes(n, x, output_size, "adaptive_avg_pool")
    if all(count == 1 for count in counts):
        return np.mean(x, axis=tuple(range(-n, 0)), keepdims=True)
    if not any(size % count for size, count in zip(x.shape[-n:], counts)):
        return _avg_pool(n, x, [size // count for size, count in zip(x.shape[-n:], counts)])
    return resampled(x, [means(size, count) for size, count in zip(x.shape[-n:], counts)])


adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = dimensions(_adaptive_avg_pool)
AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveAvgPool3d = layers(
    "AdaptiveAvgPool", adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
)


def _adaptive_max_pool(n: int, input: Any, output_size: Any, return_indices: bool = False) -> Any:
    """The largest entry of each of `output_size` windows, those of `adaptive_avg_pool1d`.

    `return_indices`: also where these are, numbered within their channel.

    >>> adaptive_max_pool1d(np.array([[1.0, 3.0, 2.0, 5.0]]), 2)
    array([[3., 5.]])
    """
    x = planes(n, input, "adaptive_max_pool")
    counts = output_sizes(n, x, output_size, "adaptive_max_pool")
    if not any(size % count for size, count in zip(x.shape[-n:], counts)):
        sizes = [size // count for size, count in zip(x.shape[-n:], counts)]
        return _max_pool(n, x, sizes, return_indices=return_indices)
    edges = [bounds(size, count) for size, count in zip(x.shape[-n:], counts)]
    return ops.pooling.largest_in(x, edges, return_indices)


adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = dimensions(_adaptive_max_pool)
AdaptiveMaxPool1d, AdaptiveMaxPool2d, AdaptiveMaxPool3d = layers(
    "AdaptiveMaxPool", adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d
)


# Powers, and back.


def _lp_pool(
    n: int,
    input: Any,
    norm_type: float,
    kernel_size: Size,
    stride: Size | None = None,
    ceil_mode: bool = False,
) -> Any:
    """(Σ xᵖ)^(1/p) of each window, for p = `norm_type`: a sum for 1, towards the maximum for ∞.

    As in PyTorch, of x and not of |x|, and what a last window that reaches over the end holds is
    scaled to a whole one. A sum of 0 has gradient 0.

    >>> lp_pool1d(np.array([[3.0, 4.0, 0.0, 2.0]]), 2, 2)
    array([[5., 2.]])
    """
    x, p = planes(n, input, "lp_pool"), norm_type
    if not p > 0:
        raise ValueError(f"lp_pool{n}d: norm_type={p!r} must be positive")
    mean = _avg_pool(n, x**p, kernel_size, stride, 0, ceil_mode)
    sums = mean * math.prod(many(n, kernel_size, "kernel_size"))
    zero = sums == 0
    return np.where(zero, 0, np.where(zero, 1, sums) ** (1 / p))


lp_pool1d, lp_pool2d, lp_pool3d = dimensions(_lp_pool)
LPPool1d, LPPool2d, LPPool3d = layers("LPPool", lp_pool1d, lp_pool2d, lp_pool3d)


def _max_unpool(
    n: int,
    input: Any,
    indices: Any,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    output_size: Sequence[int] | None = None,
) -> Any:
    """Zeros with the entries of `x` at `indices`: max pooling undone, as far as it can be.

    `indices`: what a max pooling of the same settings returns. `output_size`: that of its operand,
    where it is not the smallest. Of entries with one index the last is there, and has the gradient
    (in PyTorch all have it). ValueError where indices lie outside.

    >>> out, indices = max_pool1d(np.array([[1.0, 3.0, 2.0, 5.0]]), 2, return_indices=True)
    >>> max_unpool1d(out, indices, 2)
    array([[0., 3., 0., 5.]])
    """
    x, indices = planes(n, input, "max_unpool"), as_array(data_of(indices))
    kernel_size = many(n, kernel_size, "kernel_size")
    stride = kernel_size if stride in (None, (), []) else many(n, stride, "stride")
    padding = many(n, padding, "padding", 0)
    if indices.dtype.kind not in "iu" or indices.shape != x.shape:
        raise ValueError(
            f"max_unpool{n}d: {indices.dtype} indices of shape {indices.shape} for entries of "
            f"shape {x.shape}; max_pool{n}d(..., return_indices=True) makes them"
        )
    each = zip(x.shape[-n:], kernel_size, stride, padding)
    size = tuple((m - 1) * s + k - 2 * p for m, k, s, p in each)
    if output_size is not None:
        given = tuple(output_size)[-n:]
        if len(given) != n or any(abs(m - d) >= s for m, d, s in zip(given, size, stride)):
            raise ValueError(
                f"max_unpool{n}d: output_size={tuple(output_size)} is not within a stride of {size}"
            )
        size = given
    if wrong(outside(indices, math.prod(size))):
        raise ValueError(f"max_unpool{n}d: indices {indices.min()}..{indices.max()} for {size}")
    before = x.shape[:-n]
    rows = np.reshape(x, (math.prod(before), total(x.shape[-n:])))
    blank = created(np.zeros, (rows.shape[0], math.prod(size)), x.dtype, like=x)
    index = np.arange(rows.shape[0])[:, None], np.reshape(indices, rows.shape)
    return np.reshape(_setitem(blank, rows, index=index), (*before, *size))


max_unpool1d, max_unpool2d, max_unpool3d = dimensions(_max_unpool)


class _MaxUnpool(Function):
    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding

    def forward(self, x: Any, indices: Any, output_size: Sequence[int] | None = None) -> Any:
        settings = self.kernel_size, self.stride, self.padding, output_size
        return type(self).function(x, indices, *settings)


class MaxUnpool1d(_MaxUnpool):
    """`max_unpool1d`: zeros with the entries of x at the indices of `MaxPool1d`."""

    function = staticmethod(max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """`max_unpool2d`: zeros with the entries of x at the indices of `MaxPool2d`."""

    function = staticmethod(max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """`max_unpool3d`: zeros with the entries of x at the indices of `MaxPool3d`."""

    function = staticmethod(max_unpool3d)


# Windows in random places.


def _fractional_max_pool(
    n: int,
    input: Any,
    kernel_size: Size,
    output_size: Size | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Any = None,
    rng: Any = None,
) -> Any:
    """The largest entry of windows in pseudorandom places, in channel and example each its own.

    Graham (2014), section 2. Give either `output_size`, or `output_ratio` of the size to that of
    x, between 0 and 1. `_random_samples` (N, C, axes): numbers of [0, 1) instead of those that
    `rng` draws. ValueError for windows that do not fit.
    """
    name = "fractional_max_pool"
    x = planes(n, input, name)
    shape, kernel_size = x.shape[-n:], many(n, kernel_size, "kernel_size")
    if (output_size is None) == (output_ratio is None):
        raise ValueError(f"{name}{n}d: give either output_size or output_ratio")
    if output_ratio is not None:
        ratios = output_ratio if isinstance(output_ratio, Sequence) else (output_ratio,) * n
        if len(ratios) != n or not all(0 < ratio < 1 for ratio in ratios):
            raise ValueError(f"{name}{n}d: output_ratio={output_ratio!r} lies between 0 and 1")
        output_size = [int(size * ratio) for size, ratio in zip(shape, ratios)]
    counts = many(n, output_size, "output_size")
    if any(count + k - 1 > size for size, k, count in zip(shape, kernel_size, counts)):
        raise ValueError(
            f"{name}{n}d: {counts} windows of {kernel_size} do not fit in {shape} entries"
        )
    lead = (1,) * (n + 2 - x.ndim) + x.shape[:-n]
    rows = np.reshape(x, (math.prod(lead), math.prod(shape)))
    if _random_samples is None:
        of_each = detached(np.repeat(rows[:, :1], n, axis=1))
        u = ops.dropout.uniform(of_each, rng=generator(rng))
    else:
        u = np.broadcast_to(data_of(_random_samples), (*lead, n)).reshape(len(rows), n)
    index = ops.pooling.random_windows(u, shape, counts, kernel_size)
    entries = np.take_along_axis(rows, index.reshape(len(rows), math.prod(index.shape[1:])), axis=1)
    entries = np.reshape(entries, index.shape)
    out = np.reshape(np.max(entries, axis=-1), (*x.shape[:-n], *counts))
    if not return_indices:
        return out
    first = np.argmax(entries, axis=-1)[..., None]
    return out, np.reshape(np.take_along_axis(index, first, axis=-1), out.shape)


_, fractional_max_pool2d, fractional_max_pool3d = dimensions(_fractional_max_pool)
_, FractionalMaxPool2d, FractionalMaxPool3d = layers(
    "FractionalMaxPool", _, fractional_max_pool2d, fractional_max_pool3d
)
