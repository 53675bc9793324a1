"""Other pictures of the same things: what a training set is expanded with, entry by entry.

Each function takes images (..., height, width), in any number of leading axes, and returns as many,
of the same dtype. `rng`: a generator or a seed; every image is drawn for on its own. In a
`DataLoader` they stand in `transform`.

Source: P. Simard, D. Steinkraus, J. Platt, Best practices for convolutional neural networks applied
to visual document analysis, ICDAR 2003.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tensorgrad.engine.dtypes import is_floating
from tensorgrad.extras import missing
from tensorgrad.random import generator

Images = NDArray[Any]


def shift(x: ArrayLike, down: int = 0, right: int = 0) -> Images:
    """The images moved by so many pixels; what comes in is 0.

    >>> shift(np.array([[1, 2], [3, 4]]), right=1).tolist()
    [[0, 1], [0, 3]]
    """
    x = pictures("shift", x)
    height, width = x.shape[-2:]
    out = np.zeros_like(x)
    out[..., slice_to(down, height), slice_to(right, width)] = x[
        ..., slice_to(-down, height), slice_to(-right, width)
    ]
    return out


def slice_to(by: int, size: int) -> slice:
    """Where in `size` pixels those are that a shift by `by` fills."""
    return slice(max(by, 0), max(size + min(by, 0), 0))


def expand(x: ArrayLike, y: ArrayLike, height: int | None = None) -> tuple[Images, NDArray[Any]]:
    """Every image five times: as it is, and moved by one pixel down, up, right and left.

    `x`: (n, ..., height, width), or rows of pixels (n, pixels) with the `height` of the images, by
    default a square's. The n originals come first. Nielsen's expanded data (ch. 3 and 6).

    >>> x, y = expand(np.eye(4).reshape(1, 16), [7])
    >>> x.shape, y.tolist()
    ((5, 16), [7, 7, 7, 7, 7])
    """
    x, y = np.asarray(x), np.asarray(y)
    if not y.ndim or len(y) != len(x):
        raise ValueError(f"expand: {len(x)} images and labels of shape {y.shape}")
    images = x
    if x.ndim == 2:
        pixels = x.shape[1]
        shape = (height, pixels // height) if height else (math.isqrt(pixels),) * 2
        if shape[0] * shape[1] != pixels:
            raise ValueError(f"expand: rows of {pixels} pixels are no images: pass height=")
        images = x.reshape(len(x), *shape)
    moves = [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)]
    moved = [shift(images, *move).reshape(x.shape) for move in moves]
    return np.concatenate(moved), np.concatenate([y] * len(moves))


def random_shift(x: ArrayLike, most: int = 1, rng: Any = None) -> Images:
    """Each image moved by up to `most` pixels in each direction; what comes in is 0.

    >>> random_shift(np.ones((3, 28, 28)), most=2, rng=0).shape
    (3, 28, 28)
    """
    x = pictures("random_shift", x)
    rng = generator(rng)
    height, width = x.shape[-2:]
    images = x.reshape(-1, height, width)
    padded = np.pad(images, [(0, 0), (most, most), (most, most)])
    down, right = rng.integers(0, 2 * most + 1, (2, len(images), 1, 1))
    rows, columns = np.arange(height)[:, None], np.arange(width)
    each = np.arange(len(images))[:, None, None]
    out: Images = padded[each, rows + down, columns + right].reshape(x.shape)
    return out


def random_flip(x: ArrayLike, p: float = 0.5, rng: Any = None) -> Images:
    """Each image, with probability `p`, as in a mirror.

    >>> random_flip(np.array([[1, 2]]), p=1).tolist()
    [[2, 1]]
    """
    x = pictures("random_flip", x)
    flipped = generator(rng).random(x.shape[:-2]) < p
    return np.where(flipped[..., None, None], x[..., ::-1], x)


def cutout(x: ArrayLike, size: int = 8, rng: Any = None) -> Images:
    """Each image with a square of 0 at a place drawn for it; the square may reach over the edge.

    Source: T. DeVries, G. Taylor, arXiv:1708.04552.

    >>> int((cutout(np.ones((1, 9, 9)), size=3, rng=0) == 0).sum())
    9
    """
    x = pictures("cutout", x)
    rng = generator(rng)
    axes = []
    for n in x.shape[-2:]:
        middle = rng.integers(0, n, (*x.shape[:-2], 1))
        axes.append(
            (np.arange(n) >= middle - size // 2) & (np.arange(n) < middle + (size + 1) // 2)
        )
    hole = axes[0][..., :, None] & axes[1][..., None, :]
    return np.where(hole, x.dtype.type(0), x)


def normalize(x: ArrayLike, mean: ArrayLike, std: ArrayLike) -> Images:
    """(x - mean) / std. One number each, or one for each channel of images (..., c, h, w).

    ValueError where a `std` is not above 0.

    >>> normalize(np.full((1, 1, 2), 0.5), 0.25, 0.5).tolist()
    [[[0.5, 0.5]]]
    """
    x = np.asarray(x)
    mean, std = (np.asarray(a, x.dtype if is_floating(x.dtype) else float) for a in (mean, std))
    if not np.all(std > 0):
        raise ValueError(f"normalize: std={std} must be above 0 (a channel that is constant?)")
    if mean.ndim or std.ndim:
        mean, std = (np.broadcast_to(a, x.shape[-3])[:, None, None] for a in (mean, std))
    out: Images = (x - mean) / std
    return out


def rotate(x: ArrayLike, degrees: float = 15.0, rng: Any = None) -> Images:
    """Each image turned by an angle drawn from -degrees..degrees, around its middle.

    What comes in is 0; values between pixels are interpolated linearly (by SciPy).
    """
    x = pictures("rotate", x)
    rng = generator(rng)

    def turned() -> Iterator[NDArray[Any]]:
        grid = centred(*x.shape[-2:])
        for _ in range(number_of(x)):
            a = np.deg2rad(rng.uniform(-degrees, degrees))
            turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
            yield np.tensordot(turn, grid, 1) - grid

    return moved(x, turned())


def elastic(x: ArrayLike, alpha: float = 8.0, sigma: float = 4.0, rng: Any = None) -> Images:
    """Each image bent as rubber: every pixel is moved by `alpha` times smoothed noise.

    The noise is uniform in -1..1, smoothed by a normal curve of `sigma` pixels and brought to a
    standard deviation of 1 / 4, so that pixels move by about `alpha` / 4. Simard et al. (2003).
    """
    x = pictures("elastic", x)
    rng, filters = generator(rng), ndimage()

    def bent() -> Iterator[NDArray[Any]]:
        for _ in range(number_of(x)):
            noise = rng.uniform(-1, 1, (2, *x.shape[-2:]))
            smooth = filters.gaussian_filter(noise, sigma, axes=(1, 2), mode="constant")
            yield alpha / 4 * smooth / max(smooth.std(), 1e-12)

    return moved(x, bent())


def moved(x: Images, fields: Iterator[NDArray[Any]]) -> Images:
    """Each image as seen at its pixels' places plus a field (2, height, width) of its own."""
    filters = ndimage()
    height, width = x.shape[-2:]
    places = np.indices((height, width))
    out = np.empty_like(x).reshape(-1, height, width)
    for image, new, field in zip(x.reshape(-1, height, width), out, fields):
        filters.map_coordinates(image, places + field, output=new, order=1, mode="constant")
    return out.reshape(x.shape)


def centred(height: int, width: int) -> NDArray[Any]:
    """The places of the pixels, from the middle of the image."""
    middle = np.array([height - 1, width - 1])[:, None, None] / 2
    return np.indices((height, width)) - middle


def number_of(x: Images) -> int:
    return int(np.prod(x.shape[:-2]))


def pictures(name: str, x: ArrayLike) -> Images:
    x = np.asarray(x)
    if x.ndim < 2:
        raise ValueError(
            f"{name} takes images (..., height, width), not shape {x.shape}: x.reshape(-1, 28, 28)"
        )
    return x


def ndimage() -> Any:
    try:
        from scipy import ndimage
    except ImportError:
        raise missing("rotate and elastic need SciPy", "scipy") from None
    return ndimage
