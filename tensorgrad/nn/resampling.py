"""Resampling: images of another size, and images seen through a grid.

Along each axis a new pixel is a weighted sum of old ones, so that resizing is a product with a
small matrix on each side.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array, created
from tensorgrad.nn.module import Function, module_of
from tensorgrad.nn.pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
from tensorgrad.ops import nn as ops
from tensorgrad.ops.nn.activation import floats
from tensorgrad.ops.nn.sizes import Size, many

Factor = float | Sequence[float]
_MODES = {
    "nearest": (1, 2, 3),
    "nearest-exact": (1, 2, 3),
    "area": (1, 2, 3),
    "linear": (1,),
    "bilinear": (2,),
    "trilinear": (3,),
    "bicubic": (2,),
}
"""The modes, and how many axes they take."""

_AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


def interpolate(
    input: Any,
    size: Size | None = None,
    scale_factor: Factor | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """(N, C, ...) with another number of pixels along each of its last axes.

    Give `size`, the new number, or `scale_factor`, that by the old one; for all axes or for each.
    `mode`: "nearest" (the old pixel that a new one begins in), "nearest-exact" (that its middle
    lies in), "linear", "bilinear" or "trilinear" for one, two and three axes, "bicubic" (Keys 1981,
    a = -3/4) or "area" (means). With `align_corners` pixels are points, and the outermost ones lie
    on each other, else areas. `recompute_scale_factor`: pixels lie as the rounded size has it.
    `antialias`: "bilinear" and "bicubic" take all pixels that a smaller one covers. ValueError for
    what does not go together.

    >>> interpolate(np.array([[[1.0, 3.0]]]), scale_factor=2, mode="linear")
    array([[[1. , 1.5, 2.5, 3. ]]])
    """
    x = floats(as_array(input))
    n = x.ndim - 2
    if mode not in _MODES:
        raise ValueError(f"interpolate: mode={mode!r}; there are {', '.join(map(repr, _MODES))}")
    if n not in _MODES[mode]:
        takes = " or ".join(f"{k + 2}" for k in _MODES[mode])
        raise ValueError(
            f"interpolate of shape {x.shape}: {mode!r} takes (N, C, ...) of {takes} axes"
        )
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ValueError(f"interpolate: {mode!r} has no corners to align")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"interpolate: antialias is for 'bilinear' and 'bicubic', not {mode!r}")
    counts, steps = _counts(n, x.shape[2:], size, scale_factor, recompute_scale_factor)
    if mode == "area":
        return _AREA[n](x, counts)
    if mode.startswith("nearest"):
        return ops.resampling.nearest(x, counts, steps, mode == "nearest-exact")
    align = bool(align_corners)
    if align:
        steps = [(old - 1) / (new - 1) if new > 1 else 0 for old, new in zip(x.shape[2:], counts)]
    each = [*zip(x.shape[2:], counts, steps)]
    if antialias:
        order = 1 if mode == "bilinear" else 2
        matrices = [ops.resampling.smooth(*axis, order) for axis in each]
    else:
        make = ops.resampling.cubic if mode == "bicubic" else ops.resampling.linear
        matrices = [make(*axis, align) for axis in each]
    return ops.resampling.resampled(x, matrices)


def _counts(
    n: int, sizes: tuple[int, ...], size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[tuple[int, ...], list[float]]:
    """How many pixels there are to be, and how many old ones lie between two of them."""
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: give either size or scale_factor")
    if 0 in sizes:
        raise ValueError(f"interpolate: there are no pixels in an image of {sizes}")
    if size is not None:
        if recompute:
            raise ValueError("interpolate: recompute_scale_factor is for a scale_factor")
        counts = many(n, size, "size")
        return counts, [old / new for old, new in zip(sizes, counts)]
    factors = tuple(scale_factor) if isinstance(scale_factor, Sequence) else (scale_factor,) * n
    if len(factors) != n or not all(factor > 0 for factor in factors):
        raise ValueError(
            f"interpolate: scale_factor={scale_factor!r}: give a positive number, or {n} of them"
        )
    counts = tuple(int(old * factor) for old, factor in zip(sizes, factors))
    if 0 in counts:
        raise ValueError(f"interpolate: {sizes} by {scale_factor} leaves no pixel")
    if recompute:
        return counts, [old / new for old, new in zip(sizes, counts)]
    return counts, [1 / factor for factor in factors]


class Upsample(Function):
    """`interpolate`, as a layer.

    >>> Upsample(scale_factor=2)(np.array([[[1.0, 3.0]]]))
    array([[[1., 1., 3., 3.]]])
    """

    function = staticmethod(interpolate)
    settings = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")

    def __init__(
        self,
        size: Size | None = None,
        scale_factor: Factor | None = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        self.size, self.scale_factor, self.mode = size, scale_factor, mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor


def upsample_nearest(
    input: Any, size: Size | None = None, scale_factor: Factor | None = None
) -> Any:
    """`interpolate` by the nearest pixel.

    >>> upsample_nearest(np.array([[[1.0, 3.0]]]), 4)
    array([[[1., 1., 3., 3.]]])
    """
    return interpolate(input, size, scale_factor)


def upsample_bilinear(
    input: Any, size: Size | None = None, scale_factor: Factor | None = None
) -> Any:
    """`interpolate` by lines, corners on corners: (N, C, H, W).

    >>> upsample_bilinear(np.array([[[[1.0, 3.0]]]]), (1, 3))
    array([[[[1., 2., 3.]]]])
    """
    return interpolate(input, size, scale_factor, "bilinear", True)


UpsamplingNearest2d = module_of("UpsamplingNearest2d", upsample_nearest, 1)
UpsamplingBilinear2d = module_of("UpsamplingBilinear2d", upsample_bilinear, 1)


# Grids.


def affine_grid(theta: Any, size: Sequence[int], align_corners: bool | None = None) -> Any:
    """Where an affine map takes the pixels of an image: (N, 2, 3) to (N, H, W, 2), or (N, 3, 4) to
    (N, D, H, W, 3), coordinates as `grid_sample` takes them.

    `size`: of that image, (N, C, H, W) or (N, C, D, H, W). With `align_corners` -1 and 1 are the
    middles of the outermost pixels, else their edges. ValueError for other shapes.

    >>> affine_grid(np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (1, 1, 1, 2))
    array([[[[-0.5,  0. ],
             [ 0.5,  0. ]]]])
    """
    theta, n = as_array(theta), len(size) - 2
    if n not in (2, 3) or theta.shape != (size[0], n, n + 1):
        raise ValueError(
            f"affine_grid: theta {theta.shape} for an image of {tuple(size)}; it takes (N, 2, 3) "
            "for (N, C, H, W) and (N, 3, 4) for (N, C, D, H, W)"
        )
    ends = [(m - 1) / m if not align_corners else float(m > 1) for m in size[2:]]
    axes = [np.linspace(-end, end, m) for end, m in zip(ends, size[2:])]
    axes = [axis if len(axis) > 1 else axis * 0 for axis in axes]
    grids = np.meshgrid(*axes, indexing="ij")[::-1]
    places = np.stack([*(grid.ravel() for grid in grids), np.ones_like(grids[0]).ravel()], -1)
    places = created(places.astype, theta.dtype, like=theta)
    return np.reshape(places @ np.swapaxes(theta, 1, 2), (*size[:1], *size[2:], n))


def grid_sample(
    input: Any,
    grid: Any,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Any:
    """An image seen at the places of a grid: (N, C, H, W) at (N, h, w, 2) makes (N, C, h, w), and
    (N, C, D, H, W) at (N, d, h, w, 3) makes (N, C, d, h, w).

    A place is (x, y) or (x, y, z), from -1 to 1 across the image: between the edges of the
    outermost pixels, or with `align_corners` their middles. `mode`: "bilinear" (between the
    neighbours along each axis), "nearest" or, of two axes, "bicubic". `padding_mode`: what lies
    outside, "zeros", the "border" or its "reflection". Jaderberg et al. (2015), eq. 5.

    >>> image = np.array([[[[0.0, 1.0, 2.0]]]])
    >>> grid_sample(image, np.array([[[[-1.0, 0.0], [0.5, 0.0]]]]), align_corners=True)
    array([[[[0. , 1.5]]]])
    """
    x, grid = floats(as_array(input)), as_array(grid)
    n, align = x.ndim - 2, bool(align_corners)
    if n not in (2, 3) or grid.ndim != x.ndim or grid.shape[-1] != n or len(grid) != len(x):
        raise ValueError(
            f"grid_sample of shape {x.shape} at {grid.shape}: it takes (N, C, H, W) at "
            "(N, h, w, 2) or (N, C, D, H, W) at (N, d, h, w, 3)"
        )
    if mode not in ("bilinear", "nearest", "bicubic") or (mode == "bicubic" and n == 3):
        raise ValueError(f"grid_sample: no mode {mode!r} of {n} axes")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"grid_sample: no padding_mode {padding_mode!r}")
    if 0 in x.shape[2:]:
        raise ValueError(f"grid_sample of shape {x.shape}: there are no pixels to see")
    taps = []
    for axis, size in enumerate(x.shape[2:]):
        at = (grid[..., n - 1 - axis] + 1) / 2
        at = at * (size - 1) if align else at * size - 0.5
        if mode != "bicubic":
            at = _inside(at, size, padding_mode, align)
        taps.append(_taps(at, size, mode, padding_mode, align))
    example = np.arange(len(x)).reshape(-1, *[1] * n)
    result: Any = 0
    for combination in itertools.product(*taps):
        weight: Any = 1
        for _, share in combination:
            weight = weight * share
        seen = x[(example, slice(None), *(place for place, _ in combination))]
        result = result + seen * weight[..., None]
    return np.moveaxis(result, -1, 1)


def _inside(at: Any, size: int, padding_mode: str, align: bool) -> Any:
    """Places outside moved to the border, or mirrored there; as they are where outside is zero."""
    if padding_mode == "zeros":
        return at
    if padding_mode == "reflection":
        low, span = (0.0, size - 1.0) if align else (-0.5, float(size))
        at = low + span - np.abs(np.abs(at - low) % (2 * span) - span) if span else at * 0
    return np.clip(at, 0, size - 1)


def _taps(at: Any, size: int, mode: str, padding_mode: str, align: bool) -> list[tuple[Any, Any]]:
    """The pixels that have a part in places along an axis, and the weights of each."""
    if mode == "nearest":
        first, weights = np.rint(at), [np.ones_like(at)]
    else:
        first = np.floor(at)
        t = at - first
        weights = [1 - t, t] if mode == "bilinear" else ops.resampling.cubic_weights(t)
    taps = []
    for i, weight in enumerate(weights, -1 if mode == "bicubic" else 0):
        place = first + i
        if mode == "bicubic":
            place = _inside(place, size, padding_mode, align)
        if padding_mode == "zeros":
            weight = np.where((place >= 0) & (place <= size - 1), weight, 0)
        taps.append((np.clip(place, 0, size - 1).astype(int), weight))
    return taps
