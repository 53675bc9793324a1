"""Layers that move entries: flatten, pad, shuffle, fold; and what compares rows.

`x` is (N, C, ...) or (C, ...) where channels have a part in it, as in PyTorch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array, outside, total, wrong
from tensorgrad.engine.node import data_of
from tensorgrad.nn.module import Module, module_of
from tensorgrad.ops import nn as ops
from tensorgrad.ops.nn.activation import floats
from tensorgrad.ops.nn.sizes import Size, many
from tensorgrad.ops.pad import pad_constant as _pad_constant


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` as one; by default all but the first.

    >>> Flatten()(np.zeros((5, 3, 4, 4))).shape
    (5, 48)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        x = as_array(x)
        first, last = (
            np.lib.array_utils.normalize_axis_index(a, x.ndim)
            for a in (self.start_dim, self.end_dim)
        )
        if first > last:
            raise ValueError(f"{self!r} of shape {x.shape}: the axes end before they start")
        n = total(x.shape[first : last + 1])
        return np.reshape(x, (*x.shape[:first], n, *x.shape[last + 1 :]))


class Unflatten(Module):
    """Axis `dim` as axes of `unflattened_size`; one of these may be -1, for what is left.

    >>> Unflatten(1, (3, -1))(np.zeros((5, 12))).shape
    (5, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        self.dim, self.unflattened_size = dim, unflattened_size

    def forward(self, x: Any) -> Any:
        x = as_array(x)
        axis = np.lib.array_utils.normalize_axis_index(self.dim, x.ndim)
        sizes, n = tuple(self.unflattened_size), x.shape[axis]
        known = math.prod(size for size in sizes if size != -1)
        rest = sizes.count(-1)
        if rest > 1 or (known != n if not rest else not known or n % known):
            raise ValueError(f"{self!r} of shape {x.shape}: {n} entries are not {sizes}")
        return np.reshape(x, (*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


# Padding.

PADDINGS = ("constant", "reflect", "replicate", "circular")


def _along(x: Any, axis: int, start: int, stop: int) -> Any:
    """A part of `x` along an axis."""
    return x[(slice(None),) * axis + (slice(start, stop),)]


def _beyond(x: Any, axis: int, low: int, high: int, mode: str) -> Any:
    """`x` with so many entries more before and after an axis."""
    n = x.shape[axis]
    if mode == "reflect":
        before, after = _along(x, axis, 1, low + 1), _along(x, axis, n - 1 - high, n - 1)
        before, after = np.flip(before, axis), np.flip(after, axis)
    elif mode == "circular":
        before, after = _along(x, axis, n - low, n), _along(x, axis, 0, high)
    else:
        shape = [*x.shape]
        shape[axis] = 1
        before, after = (
            np.broadcast_to(_along(x, axis, i, i + 1), (*shape[:axis], m, *shape[axis + 1 :]))
            for i, m in ((0, low), (n - 1, high))
        )
    return np.concatenate([part for part in (before, x, after) if part.shape[axis]], axis)


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """`x` with more entries around it: `pad` is (left, right) of the last axis, then (top, bottom)
    of the one before, and so on; a negative one takes entries away.

    `mode`: "constant" (`value`, by default 0), "reflect" (the mirror image, without the edge),
    "replicate" (the edge) or "circular" (from the other end). ValueError where there are more pads
    than axes, or fewer entries than are to be mirrored or taken.

    >>> pad(np.array([[1.0, 2.0, 3.0]]), (1, 2), "reflect")
    array([[2., 1., 2., 3., 2., 1.]])
    """
    x = as_array(input)
    if mode not in PADDINGS:
        raise ValueError(f"pad: mode={mode!r}; there are {', '.join(map(repr, PADDINGS))}")
    if mode != "constant" and value is not None:
        raise ValueError(f"pad: value={value!r} is for mode='constant', not for {mode!r}")
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ValueError(
            f"pad={tuple(pad)} of shape {x.shape}: give two for each axis, beginning with the last"
        )
    widths = [(0, 0)] * (x.ndim - len(pad) // 2) + [*zip(pad[::2], pad[1::2])][::-1]
    least = {"reflect": 1, "circular": 0}
    for axis, (n, (low, high)) in enumerate(zip(x.shape, widths)):
        most = n - least[mode] if mode in least else math.inf if n or mode == "constant" else 0
        if n + low + high < 0 or max(low, high) > max(most, 0):
            raise ValueError(
                f"pad={tuple(pad)} of shape {x.shape}: axis {axis} has {n} entries, "
                f"and {max(low, high)} more cannot be taken by {mode!r}"
            )
    if mode in ("constant", "circular"):  # what is taken away is gone before anything is added
        x, widths = _cut(x, widths), [(max(low, 0), max(high, 0)) for low, high in widths]
    if mode == "constant":
        added = any(map(any, widths))
        return _pad_constant(x, pad_width=widths, constant_values=value or 0) if added else x
    for axis, (low, high) in enumerate(widths):
        if low > 0 or high > 0:
            x = _beyond(x, axis, max(low, 0), max(high, 0), mode)
    return _cut(x, widths)


def _cut(x: Any, widths: Sequence[tuple[int, int]]) -> Any:
    """`x` without the entries that negative widths take away."""
    if all(low >= 0 and high >= 0 for low, high in widths):
        return x
    kept = (slice(max(-low, 0), n - max(-high, 0)) for n, (low, high) in zip(x.shape, widths))
    return x[tuple(kept)]


def _padding_layers(name: str, mode: str, doc: str) -> Any:
    """The Modules `name` of one, two and three axes."""

    def of(n: int) -> Any:
        def constant(x: Any, padding: Size, value: float) -> Any:
            return pad(x, many(2 * n, padding, "padding", None), mode, value)

        def layer(x: Any, padding: Size) -> Any:
            return pad(x, many(2 * n, padding, "padding", None), mode)

        given = "an integer or " + ("(left, right)", "(left, right, top, bottom)", "six")[n - 1]
        return module_of(
            f"{name}{n}d",
            constant if name == "ConstantPad" else layer,
            1,
            f"{doc} `padding` is {given}, as `pad` takes them.",
        )

    return map(of, (1, 2, 3))


ConstantPad1d, ConstantPad2d, ConstantPad3d = _padding_layers(
    "ConstantPad", "constant", "x with `value` around it."
)
ZeroPad1d, ZeroPad2d, ZeroPad3d = _padding_layers("ZeroPad", "constant", "x with zeros around it.")
ReflectionPad1d, ReflectionPad2d, ReflectionPad3d = _padding_layers(
    "ReflectionPad", "reflect", "x with its mirror image around it, without the edge."
)
ReplicationPad1d, ReplicationPad2d, ReplicationPad3d = _padding_layers(
    "ReplicationPad", "replicate", "x with its edge around it."
)
CircularPad1d, CircularPad2d, CircularPad3d = _padding_layers(
    "CircularPad", "circular", "x with its other end around it."
)


# Shuffles.


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """Channels as pixels, (..., C r², H, W) as (..., C, H r, W r) for r = `upscale_factor`.

    Shi et al. (2016), eq. 4. ValueError where the channels are no multiple of r².

    >>> pixel_shuffle(np.arange(4.0).reshape(4, 1, 1), 2)
    array([[[0., 1.],
            [2., 3.]]])
    """
    x, r = as_array(input), upscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-3] % (r * r):
        raise ValueError(
            f"pixel_shuffle of shape {x.shape} by {r}: it takes (..., C r², height, width)"
        )
    *before, channels, h, w = x.shape
    c = channels // (r * r)
    n = len(before)
    apart = np.reshape(x, (*before, c, r, r, h, w))
    order = [*range(n), n, n + 3, n + 1, n + 4, n + 2]
    return np.reshape(np.transpose(apart, order), (*before, c, h * r, w * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """Pixels as channels, (..., C, H r, W r) as (..., C r², H, W): `pixel_shuffle` undone.

    ValueError where height or width are no multiple of r = `downscale_factor`.

    >>> pixel_unshuffle(np.arange(4.0).reshape(1, 2, 2), 2).ravel()
    array([0., 1., 2., 3.])
    """
    x, r = as_array(input), downscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-2] % r or x.shape[-1] % r:
        raise ValueError(
            f"pixel_unshuffle of shape {x.shape} by {r}: it takes (..., C, height r, width r)"
        )
    *before, c, h, w = x.shape
    n = len(before)
    apart = np.reshape(x, (*before, c, h // r, r, w // r, r))
    order = [*range(n), n, n + 2, n + 4, n + 1, n + 3]
    return np.reshape(np.transpose(apart, order), (*before, c * r * r, h // r, w // r))


def channel_shuffle(input: Any, groups: int) -> Any:
    """(N, C, ...) with the channels of `groups` groups dealt in turn: the first of each, ...

    Zhang et al. (2017). ValueError where the channels are no multiple of `groups`.

    >>> channel_shuffle(np.arange(6.0).reshape(1, 6, 1), 2).ravel()
    array([0., 3., 1., 4., 2., 5.])
    """
    x = as_array(input)
    if x.ndim < 2 or groups < 1 or x.shape[1] % groups:
        raise ValueError(f"channel_shuffle of shape {x.shape}: axis 1 is no multiple of {groups}")
    n, c, *rest = x.shape
    apart = np.reshape(x, (n, groups, c // groups, *rest))
    return np.reshape(np.swapaxes(apart, 1, 2), x.shape)


PixelShuffle = module_of("PixelShuffle", pixel_shuffle, 1)
PixelUnshuffle = module_of("PixelUnshuffle", pixel_unshuffle, 1)
ChannelShuffle = module_of("ChannelShuffle", channel_shuffle, 1)


# Windows as columns.


def unfold(
    input: Any, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> Any:
    """Each window as a column: (N, C, H, W) or (C, H, W) to (N, C kh kw, windows).

    ValueError for windows that do not fit.

    >>> unfold(np.arange(6.0).reshape(1, 2, 3), 2)
    array([[0., 1.],
           [1., 2.],
           [3., 4.],
           [4., 5.]])
    """
    x = floats(as_array(input))
    if x.ndim not in (3, 4):
        raise ValueError(f"unfold of shape {x.shape}: it takes (N, C, H, W) or (C, H, W)")
    window, p = _window(kernel_size, dilation, padding, stride)
    x = pad(x, (p[1], p[1], p[0], p[0]))
    _counts("unfold", x.shape[-2:], **window)
    columns = ops.pooling.unfold(x, **window)
    rows = total(columns.shape[-4:-2])
    return np.reshape(columns, (*x.shape[:-3], rows, total(columns.shape[-2:])))


def fold(
    input: Any,
    output_size: Size,
    kernel_size: Size,
    dilation: Size = 1,
    padding: Size = 0,
    stride: Size = 1,
) -> Any:
    """Columns as windows, added where they overlap: (N, C kh kw, windows) to (N, C, H, W).

    The transpose of `unfold`; N may be missing. ValueError where the sizes do not fit together.

    >>> fold(np.ones((4, 2)), (2, 3), 2)
    array([[[1., 2., 1.],
            [1., 2., 1.]]])
    """
    x = floats(as_array(input))
    window, p = _window(kernel_size, dilation, padding, stride)
    size = many(2, output_size, "output_size")
    whole = size[0] + 2 * p[0], size[1] + 2 * p[1]
    counts, k = _counts("fold", whole, **window), math.prod(window["kernel_size"])
    if x.ndim not in (2, 3) or x.shape[-2] % k or x.shape[-1] != math.prod(counts):
        raise ValueError(
            f"fold of shape {x.shape}: {counts[0]} x {counts[1]} windows of {k} entries take "
            f"(N, C * {k}, {math.prod(counts)}) or (C * {k}, {math.prod(counts)})"
        )
    columns = np.reshape(x, (*x.shape[:-2], x.shape[-2] // k, k, *counts))
    out = ops.pooling.fold(columns, size=whole, **window)
    return pad(out, (-p[1], -p[1], -p[0], -p[0]))


def _window(kernel_size: Size, dilation: Size, padding: Size, stride: Size) -> Any:
    """The windows of two axes, and the padding of each."""
    window = {
        "kernel_size": many(2, kernel_size, "kernel_size"),
        "stride": many(2, stride, "stride"),
        "dilation": many(2, dilation, "dilation"),
    }
    return window, many(2, padding, "padding", 0)


def _counts(name: str, size: Any, **window: Any) -> tuple[int, ...]:
    """How many windows fit along each axis. ValueError where none does."""
    counts = tuple(
        ops.pooling.count_of(n, *each) for n, each in zip(size, ops.pooling.each(**window))
    )
    if min(counts) < 1:
        raise ValueError(
            f"{name}: windows of {window['kernel_size']}, {window['dilation']} apart, do not fit "
            f"in {tuple(size)} entries"
        )
    return counts


Unfold = module_of("Unfold", unfold, 1)
Fold = module_of("Fold", fold, 1)


# Rows: numbers of classes, lengths and distances.


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """Class numbers as rows of integers, 1 in the place of the class; by default as many as there
    are. ValueError for numbers out of range, TypeError for what counts no classes.

    >>> one_hot([0, 2])
    array([[1, 0, 0],
           [0, 0, 1]])
    """
    x = ops.cost.class_numbers(data_of(tensor))
    if num_classes < 0:
        if not x.size:
            raise ValueError("one_hot of no class numbers: give num_classes=")
        num_classes = int(x.max()) + 1
    if wrong(outside(x, num_classes)):
        raise ValueError(f"classes {x.min()}..{x.max()}, but there are {num_classes}")
    return ops.cost.one_hot(x, num_classes).astype(int)


def _length(x: Any, p: float, dim: Any, keepdims: bool = False) -> Any:
    """(Σ |x|^p)^(1/p) along `dim`."""
    axis: Any = dim if np.ndim(x) else None  # PyTorch's numbers have an axis 0
    return np.linalg.vector_norm(floats(x), ord=p, axis=axis, keepdims=keepdims)


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """x / max(‖x‖ₚ, eps) along `dim`.

    >>> normalize(np.array([[3.0, 4.0]]))
    array([[0.6, 0.8]])
    """
    x = as_array(input)
    return x / np.maximum(_length(x, p, dim, True), eps)


def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Any:
    """x1·x2 / (max(‖x1‖, eps) max(‖x2‖, eps)) along `dim`; their shapes broadcast.

    >>> cosine_similarity(np.array([[1.0, 0.0]]), np.array([[3.0, 4.0]]))
    array([0.6])
    """
    x1, x2 = np.broadcast_arrays(as_array(x1), as_array(x2))
    one, two = (np.maximum(_length(x, 2, dim), eps) for x in (x1, x2))
    return np.sum(x1 * x2, axis=dim if x1.ndim else None) / (one * two)


CosineSimilarity = module_of("CosineSimilarity", cosine_similarity, 2)


def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Any:
    """‖x1 - x2 + eps‖ₚ along the last axis; their shapes broadcast.

    >>> pairwise_distance(np.array([[3.0, 4.0]]), np.array([[0.0, 0.0]])).round(5)
    array([5.])
    """
    return _length(as_array(x1) - x2 + eps, p, -1, keepdim)


PairwiseDistance = module_of("PairwiseDistance", pairwise_distance, 2)


def pdist(input: Any, p: float = 2) -> Any:
    """‖xᵢ - xⱼ‖ₚ of the rows i < j of x (n, m): (n (n - 1) / 2).

    >>> pdist(np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])).round(4)
    array([5.    , 1.    , 4.2426])
    """
    x = as_array(input)
    if x.ndim != 2:
        raise ValueError(f"pdist of shape {x.shape}: it takes rows, (n, m)")
    i, j = np.triu_indices(x.shape[0], 1)
    return _length(x[i] - x[j], p, -1)
