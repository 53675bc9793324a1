"""What layers over the last axes are told: sizes, windows and how many, and what is wrong there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array
from tensorgrad.ops.nn.activation import floats

Size = int | Sequence[int]
AXES = ("length", "height, width", "depth, height, width")


def many(n: int, given: Any, name: str, least: int | None = 1) -> tuple[int, ...]:
    """n integers, of one or of n. TypeError for others, ValueError for less than `least`."""
    found = tuple(given) if isinstance(given, Sequence) else (given,)
    found = found * n if len(found) == 1 else found
    if len(found) != n or not all(isinstance(k, (int, np.integer)) for k in found):
        raise TypeError(f"{name}={given!r}: give an integer" + f", or {n} of them" * (n > 1))
    if least is not None and any(k < least for k in found):
        raise ValueError(f"{name}={given!r}: sizes begin at {least}")
    return tuple(map(int, found))


def images(n: int, x: Any, name: str) -> Any:
    """`x` as an array; ValueError unless it has n axes behind one or two others."""
    x = as_array(x)
    if x.ndim not in (n + 1, n + 2):
        raise ValueError(
            f"{name}{n}d of shape {x.shape}: it takes (N, C, {AXES[n - 1]}) or (C, {AXES[n - 1]})"
        )
    return x


def planes(n: int, x: Any, name: str) -> Any:
    """The same as floats."""
    return floats(images(n, x, name))


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
    stride = kernel_size if stride in (None, (), []) else many(n, stride, "stride")
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


def output_sizes(n: int, x: Any, output_size: Any, name: str) -> tuple[int, ...]:
    """The sizes of the result; None leaves that of an axis as it is."""
    given = output_size if isinstance(output_size, Sequence) else (output_size,) * n
    if len(given) != n:
        raise TypeError(f"output_size={output_size!r}: give one size, or {n} of them")
    if 0 in x.shape[-n:]:
        raise ValueError(f"{name}{n}d of shape {x.shape}: nothing can be pooled of an empty axis")
    sizes = [size if k is None else k for size, k in zip(x.shape[-n:], given)]
    return many(n, sizes, "output_size")


def bounds(size: int, count: int) -> list[tuple[int, int]]:
    """Where `count` windows of nearly the same size begin and end, which together cover an axis."""
    return [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
