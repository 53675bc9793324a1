"""Pooling: the largest or the mean of each window.

`x` is (N, C, ...) or (C, ...), as in PyTorch, in whatever order it lies in memory; windows are
of its last axes. A function of n axes makes those for one, two and three.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array, created
from tensorgrad.nn.module import Function, module_of
from tensorgrad.nn.shape import Size, many, pad
from tensorgrad.ops import nn as ops
from tensorgrad.ops.nn.activation import floats

AXES = ("length", "height, width", "depth, height, width")


def dimensions(function: Callable[..., Any]) -> Any:
    """`function(n, x, ...)` of n axes as three functions: `_max_pool` as `max_pool1d`, ..."""

    def of(n: int) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(n, *args, **kwargs)

        parameters = [*inspect.signature(function).parameters.values()][1:]
        vars(call)["__signature__"] = inspect.Signature(parameters)
        call.__name__ = call.__qualname__ = f"{function.__name__.strip('_')}{n}d"
        call.__doc__, call.__module__ = function.__doc__, function.__module__
        return call

    return map(of, (1, 2, 3))


def planes(n: int, x: Any, name: str) -> Any:
    """`x` as floats; ValueError unless it has n axes behind one or two others."""
    x = floats(as_array(x))
    if x.ndim not in (n + 1, n + 2):
        axes = AXES[n - 1]
        raise ValueError(
            f"{name}{n}d of shape {x.shape}: it takes (examples, channels, {axes}) or "
            f"(channels, {axes})"
        )
    return x


def windows_of(
    name: str,
    shape: tuple[int, ...],
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> tuple[dict[str, tuple[int, ...]], list[tuple[int, int]]]:
    """The windows over axes of this shape, and how many entries to add before and after each."""
    n = len(shape)
    kernel_size = many(n, kernel_size, "kernel_size")
    stride = kernel_size if stride is None else many(n, stride, "stride")
    padding, dilation = many(n, padding, "padding", 0), many(n, dilation, "dilation")
    ends = []
    for size, k, s, p, d in zip(shape, kernel_size, stride, padding, dilation):
        span = (k - 1) * d + 1
        if p > span // 2:
            raise ValueError(
                f"{name}{n}d: padding {p} is more than half of a window of {span}: some windows "
                "would hold nothing else"
            )
        count = (size + 2 * p - span) // s + 1
        if ceil_mode and s * (count - 1) + span < size + 2 * p and s * count < size + p:
            count += 1
        if count < 1 or not size:
            raise ValueError(
                f"{name}{n}d: a window of {span} entries does not fit in an axis of {size}"
                + f" with {p} on each side" * bool(p)
            )
        ends.append((p, max(s * (count - 1) + span - size - p, 0)))
    window = {"kernel_size": kernel_size}
    if stride != kernel_size:
        window["stride"] = stride
    if any(d > 1 for d in dilation):
        window["dilation"] = dilation
    return window, ends


def framed(x: Any, ends: list[tuple[int, int]], value: float) -> Any:
    """`x` with so many entries of `value` around its last axes."""
    return pad(x, [m for pair in reversed(ends) for m in pair], value=value)


def _max_pool(
    n: int,
    x: Any,
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
    x = planes(n, x, "max_pool")
    shape = x.shape[-n:]
    window, ends = windows_of("max_pool", shape, kernel_size, stride, padding, dilation, ceil_mode)
    x = framed(x, ends, -np.inf)
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
    x: Any,
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
    x = planes(n, x, "avg_pool")
    shape = x.shape[-n:]
    window, ends = windows_of("avg_pool", shape, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override is not None and divisor_override < 1:
        raise ValueError(f"avg_pool{n}d: divisor_override={divisor_override} is no count")
    total = ops.pooling.sum_pool(framed(x, ends, 0), **window)
    if divisor_override is not None:
        return total / divisor_override
    counted = many(n, padding, "padding", 0) if count_include_pad else (0,) * n
    count = ops.pooling.counts(shape, ends, counted, **window)
    if np.ndim(count):
        count = created(count.astype, total.dtype, like=total)
    return total / count


avg_pool1d, avg_pool2d, avg_pool3d = dimensions(_avg_pool)
AvgPool1d, AvgPool2d, AvgPool3d = (
    module_of(f"AvgPool{n}d", f, 1) for n, f in enumerate((avg_pool1d, avg_pool2d, avg_pool3d), 1)
)
