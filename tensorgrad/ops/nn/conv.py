r"""Convolutions over any number of axes, in PyTorch's layout: x (N, C, ...), w (O, C/groups, ...).

Everything here is one sum of products of three arrays,

    \sum_{n, o, c, p, k} z_{n, o, p} w_{o, c, k} x_{n, c, p s + k d - padding}

with stride s and dilation d, seen from three sides: `conv` is its derivative by z, `conv_transpose`
by x, `conv_weight` by w. Each is the rule of the two others, so derivatives of all orders stay
among the three. `padding` is how many zeros each axis gets before and after, and is exact: no
entry is left over between strides (a negative one cuts off). So two arrays tell the third's sizes.

For any kind of array, each is computed by a formula. For numbers in NumPy's arrays there is another
way, up to 3 times as fast, and 80 times for images of one channel. It holds images in rows, in
memory (H, C, W, N), and multiplies the kernels with the columns of an output row, or of a few short
ones, at a time: those stay in the cache, and the matrix of all columns (im2col) is never made. Of
long rows columns are made along W alone, as what a kernel meets along H are such rows, side by
side. Results are that memory, transposed to (N, C, H, W); what is computed from them entry by entry
lies in rows again, so that a chain of layers moves nothing.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, lru_cache
from importlib.util import find_spec
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.engine.arrays import as_one, created, is_numpy, kind_of
from tensorgrad.engine.batching import full, one_by_one
from tensorgrad.engine.care import contraction
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, primitive

Sizes = int | tuple[int, ...]  # of each axis, or of all alike
Padding = int | tuple[tuple[int, int], ...]


class Geometry(NamedTuple):
    """Sizes of x, w and z along the axes that are convolved, and how they fit together:
    size + padding = (result - 1) stride + (kernel - 1) dilation + 1."""

    size: tuple[int, ...]
    kernel: tuple[int, ...]
    result: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int


def geometry(
    params: Mapping[str, Any],
    x: Array = None,
    w: Array = None,
    z: Array = None,
) -> Geometry:
    """That of two arrays and a call's params. ValueError where they do not fit."""
    n = len((x if z is None else z).shape) - 2
    stride, dilation = (each(params.get(name, 1), n) for name in ("stride", "dilation"))
    padding, groups = params.get("padding", 0), params.get("groups", 1)
    padding = ((padding, padding),) * n if isinstance(padding, int) else padding
    size, kernel, result = ((0,) * n if a is None else a.shape[2:] for a in (x, w, z))
    if w is not None and w.shape[0] % groups:
        raise ValueError(f"{w.shape[0]} output channels do not divide into {groups} groups")
    if x is not None and w is not None and x.shape[1] != w.shape[1] * groups:
        by = f" in {groups} groups" * (groups > 1)
        raise ValueError(
            f"x has {x.shape[1]} channels, the weight of shape {w.shape} takes "
            f"{w.shape[1] * groups}{by}"
        )
    if z is not None and w is not None and z.shape[1] != w.shape[0]:
        raise ValueError(
            f"x has {z.shape[1]} channels, the weight of shape {w.shape} takes {w.shape[0]}"
        )
    padded = tuple(m + low + high for m, (low, high) in zip(size, padding))
    if z is None:
        span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation)]
        if any(k < 1 for k in kernel) or any(a > b for a, b in zip(span, padded)):
            raise ValueError(
                f"a kernel of {kernel} entries, spread over {tuple(span)}, does not fit into an "
                f"input of {size} with padding {padding}"
            )
        result = tuple((m - a) // s + 1 for m, a, s in zip(padded, span, stride))
    elif w is None:
        each_axis = zip(padded, result, stride, dilation)
        kernel = tuple((m - (p - 1) * s - 1) // d + 1 for m, p, s, d in each_axis)
    else:
        size = tuple(
            (p - 1) * s + (k - 1) * d + 1 - low - high
            for p, k, s, d, (low, high) in zip(result, kernel, stride, dilation, padding)
        )
        if any(m < 0 for m in size):
            raise ValueError(f"a result of {size} entries: the padding {padding} cuts off all")
    return Geometry(size, kernel, result, stride, padding, dilation, groups)


def each(x: Sizes, n: int) -> tuple[int, ...]:
    """One number for each of n axes."""
    return (x,) * n if isinstance(x, int) else tuple(x)


def framed(x: Array, padding: Iterable[tuple[int, int]]) -> Array:
    """x with so many zeros around it along its last axes; without so many entries for negatives."""
    padding = list(padding)
    cut = [
        slice(max(-low, 0), x.shape[2 + i] - max(-high, 0)) for i, (low, high) in enumerate(padding)
    ]
    grown = [(max(low, 0), max(high, 0)) for low, high in padding]
    x = x[(..., *cut)] if any(min(pair) < 0 for pair in padding) else x
    return np.pad(x, [(0, 0), (0, 0), *grown]) if any(map(any, grown)) else x


# The formulas.


def taps(x: Array, geo: Geometry) -> Iterator[tuple[Shape, Array]]:
    """Each entry of the kernel, and the entries of x that it meets: (N, groups, C/groups, P)."""
    shape = (x.shape[0], geo.groups, x.shape[1] // geo.groups, prod(geo.result))
    for k in np.ndindex(geo.kernel):
        met = [
            slice(i * d, i * d + (p - 1) * s + 1, s)
            for i, d, s, p in zip(k, geo.dilation, geo.stride, geo.result)
        ]
        yield k, np.reshape(x[(..., *met)], shape)


def correlated(x: Array, w: Array, geo: Geometry) -> Array:
    groups, filters = geo.groups, w.shape[0]
    w = np.reshape(w, (groups, filters // groups, *w.shape[1:]))
    terms = (w[(..., *k)] @ met for k, met in taps(framed(x, geo.padding), geo))
    return np.reshape(summed(terms), (x.shape[0], filters, *geo.result))


def summed(terms: Iterable[Array]) -> Array:
    """Their sum, without the 0 that it would start with."""
    first, *others = terms
    for term in others:
        first = first + term
    return first


def spread(z: Array, w: Array, geo: Geometry, slide: Any = correlated) -> Array:
    """The full convolution of z with w: a correlation of z, zeros between, with w turned round.
    `slide` correlates."""
    around = []
    for axis, (s, d, k, n) in enumerate(zip(geo.stride, geo.dilation, geo.kernel, geo.size)):
        if s > 1:
            m = z.shape[2 + axis]
            shape = (*z.shape[: 2 + axis], m * s, *z.shape[3 + axis :])
            z = np.expand_dims(z, 3 + axis)
            z = np.pad(z, [(0, s - 1) if a == 3 + axis else (0, 0) for a in range(z.ndim)])
            z = np.reshape(z, shape)[(slice(None),) * (2 + axis) + (slice((m - 1) * s + 1),)]
        low = d * (k - 1) - geo.padding[axis][0]
        around.append((low, n + d * (k - 1) - low - z.shape[2 + axis]))
    g, n = geo.groups, len(geo.kernel)
    w = np.reshape(w[(..., *(slice(None, None, -1),) * n)], (g, w.shape[0] // g, *w.shape[1:]))
    w = np.reshape(np.swapaxes(w, 1, 2), (g * w.shape[2], w.shape[1], *geo.kernel))
    ones = (1,) * n
    return slide(
        z, w, Geometry(z.shape[2:], geo.kernel, geo.size, ones, tuple(around), geo.dilation, g)
    )


def matched(x: Array, z: Array, geo: Geometry) -> Array:
    """For each entry of a kernel, the products of z with what that entry meets, summed."""
    groups, filters = geo.groups, z.shape[1]
    z = np.reshape(z, (z.shape[0], groups, filters // groups, prod(geo.result)))
    parts = [
        np.sum(z @ np.swapaxes(met, 2, 3), axis=0) for _, met in taps(framed(x, geo.padding), geo)
    ]
    return np.reshape(np.stack(parts, axis=-1), (filters, x.shape[1] // groups, *geo.kernel))


# The rows.

COLUMNS = 1 << 16  # entries of the columns of one product, 256 KB of float32
LEAST = 512  # columns: with fewer BLAS is slow
ROWS = 1 << 19  # entries of the columns of several rows along W
SMALL = 10**6  # multiplications of a product of matrices that OpenBLAS takes as they lie, ...
TURNED = 1200  # ... and entries of its result, if one matrix is turned
SHORT = 16  # entries of a vector
KERNELS = b"SkylakeX", b"Cooperlake", b"SapphireRapids"  # OpenBLAS's for AVX-512, that do so


@cache
def small() -> int:
    """How many multiplications a product of matrices may have for BLAS to take them as they lie; 0
    if it always packs them first. 40 kernels 5x5 of 20 channels run at 101 GFLOP/s in small
    products, and at 75 in one; where all are packed, at 83 and 92."""
    spec = find_spec("numpy._core._multiarray_umath")
    try:
        library = ctypes.CDLL(spec.origin) if spec and spec.origin else None
    except OSError:
        return 0
    for name in ("scipy_openblas_get_corename64_", "openblas_get_corename"):
        core = getattr(library, name, None)
        if core is not None:
            core.restype = ctypes.c_char_p
            return SMALL if core() in KERNELS else 0
    return 0


@lru_cache(maxsize=128)
def piece(n: int, others: int, entries: int = 0) -> int:
    """How long pieces of an axis of `n` make small products, of which the other lengths multiply to
    `others`; n where none do, or only short ones. `entries`: how many of the result belong to one
    of the axis, if a matrix is turned."""
    most = min(small() // others, n, TURNED // entries if entries else n)
    return next((k for k in range(most, SHORT - 1, -1) if n % k == 0), n)


def quick(*xs: Array) -> bool:
    """Whether these are numbers in NumPy's arrays, and some."""
    known = (is_numpy(x) or kind_of(x).writes for x in xs)
    return all(known) and all(x.dtype != object and x.size for x in xs)


def by_rows(function: Callable[..., Array], geo: Geometry, *xs: Array) -> Array:
    """`function` of images; those of one axis as images of one row."""
    if len(geo.size) > 1:
        return function(geo, *xs)
    one: Any = ((1,), (1,), (1,), (1,), ((0, 0),), (1,))
    geo = Geometry._make([*(a + b for a, b in zip(one, geo)), geo.groups])
    return function(geo, *(x[:, :, None] if x.ndim > 1 else x for x in xs))[:, :, 0]


def in_rows(x: Array, dtype: Any, padding: Iterable[tuple[int, int]] = ()) -> Array:
    """(N, C, ..., H, W) as (..., H, C, W, N), in memory too, with its padding. It may be x."""
    padding = list(padding)
    x = framed(x, [(min(a, 0), min(b, 0)) for a, b in padding])
    x = x.transpose(*range(2, x.ndim - 1), 1, x.ndim - 1, 0)
    if all(a <= 0 and b <= 0 for a, b in padding):
        return np.ascontiguousarray(x, dtype)
    pads = [(max(a, 0), max(b, 0)) for a, b in padding]
    pads = [*pads[:-1], (0, 0), pads[-1], (0, 0)]
    shape = [n + a + b for n, (a, b) in zip(x.shape, pads)]
    out = created(np.zeros, shape, dtype, like=x)
    out[tuple(slice(a, a + n) for n, (a, _) in zip(x.shape, pads))] = x
    return out


def from_rows(x: Array) -> Array:
    """(..., H, C, W, N) seen as (N, C, ..., H, W)."""
    n = x.ndim - 2
    return x.transpose(n + 1, n - 1, *range(n - 1), n)


def windows(x: Array, geo: Geometry) -> Array:
    """What meets each entry of a kernel for each of the result, a view of x, which is in rows:
    (..., groups, C/groups, *kernel, H, W, N), where ..., H, W are those of the result.
    """
    *outer, c, w, n = x.strides
    channels, axes = x.shape[-3] // geo.groups, (*outer, w)
    *before, high, wide = (stride * s for stride, s in zip(axes, geo.stride))
    within = (stride * d for stride, d in zip(axes, geo.dilation))
    shape = (*geo.result[:-2], geo.groups, channels, *geo.kernel, *geo.result[-2:], x.shape[-1])
    return np.ndarray(shape, x.dtype, x, 0, (*before, c * channels, c, *within, high, wide, n))


def parts(geo: Geometry, height: int, n: int) -> Iterator[tuple[Any, ...]]:
    """Indices into (..., H, W, N) of parts of a result whose columns, so high, stay in the cache:
    a few rows, or a piece of one."""
    *outer, high, wide = geo.result
    most = max(COLUMNS // height, LEAST) // n
    rows, entries = max(most // max(wide, 1), 1), max(min(most, wide), 1)
    for place in np.ndindex(*outer):
        for h in range(0, high, rows):
            for w in range(0, wide, entries):
                yield (*place, ..., slice(h, h + rows), slice(w, w + entries), slice(None))


def has_long_rows(geo: Geometry, n: int) -> bool:
    """Whether a row of a result is as long as BLAS wants, so that products are of one row each."""
    return geo.result[-1] * n >= LEAST // 2


def is_along_w(geo: Geometry, n: int) -> bool:
    """Whether columns are made along W alone."""
    return len(geo.size) == 2 and has_long_rows(geo, n)


def matrices(w: Array, geo: Geometry, n: int) -> Array:
    """Kernels as matrices (groups, O/groups, ...) in the order of `columns`."""
    w = np.reshape(w, (geo.groups, w.shape[0] // geo.groups, *w.shape[1:]))
    w = np.swapaxes(w, 2, 3) if is_along_w(geo, n) else w
    return np.reshape(w, (*w.shape[:2], -1))


def columns(x: Array, geo: Geometry, filters: int = 0) -> Iterator[tuple[Any, Array]]:
    """Of parts of a result, where they are, and their columns: (groups, 1, entries of a kernel,
    -1), or several pieces of them, if so many `filters` meet each in a small product. x is in rows.

    Those of a long row are made along W alone, for several rows at once: what a row of the result
    meets are rows of that, one after the other, entries (kh, C/groups, kw). Others are
    (C/groups, *kernel).
    """
    n, groups = x.shape[-1], geo.groups
    height = x.shape[-3] * prod(geo.kernel)
    if not is_along_w(geo, n):
        met = windows(x, geo)
        for at in parts(geo, height, n):
            yield at, np.reshape(met[at], (groups, 1, height // groups, -1))
        return
    (high, wide), (kh, kw) = geo.result, geo.kernel
    stride, dilation = geo.stride[0], geo.dilation[0]
    span = (kh - 1) * dilation + 1
    along = geo._replace(kernel=(1, kw), stride=(1, geo.stride[1]), result=(x.shape[0], wide))
    met = np.moveaxis(windows(x, along)[:, :, 0], 3, 1)  # (groups, H, C/groups, kw, W, N)
    step = max(min(max(COLUMNS // height, LEAST) // n, wide), 1)
    row = x.shape[-3] * kw * step * n
    rows = max(ROWS // row, kh) if kh > stride and dilation == 1 else 1
    held = created(np.empty, (min(rows - 1, high - 1) * stride + span) * row, x.dtype, like=x)
    for h in range(0, high, rows):
        for w in range(0, wide, step):
            these = slice(h * stride, (min(h + rows, high) - 1) * stride + span)
            source = met[:, these, ..., w : w + step, :]
            whole = source.shape[-2] * n
            long = piece(whole, filters * height // groups) if filters else whole
            if long == whole:
                source = source[:, None]
            else:
                source = np.reshape(source, (*source.shape[:-2], -1, long))
                source = np.moveaxis(source, -2, 1)
            made = np.reshape(held[: source.size], source.shape)
            made[...] = source
            for k in range(h, min(h + rows, high)):
                first = (k - h) * stride
                part = made[:, :, first : first + span : dilation]
                at = (..., slice(k, k + 1), slice(w, w + step), slice(None))
                yield at, np.reshape(part, (groups, -1, height // groups, long))


def in_pieces(out: Array, met: Array) -> Array:
    """A row of a result, (O, 1, W, N), seen as the products with each piece of its columns."""
    groups, pieces, _, long = met.shape
    return np.swapaxes(np.reshape(out, (groups, -1, pieces, long)), 1, 2)


def conv_rows(geo: Geometry, x: Array, w: Array, bias: Array | None = None) -> Array:
    dtype, filters, n = np.result_type(x, w), w.shape[0], x.shape[0]
    x = in_rows(x, dtype, geo.padding)
    w = matrices(w, geo, n)
    if bias is not None:
        dtype, bias = np.result_type(dtype, bias), np.reshape(bias, (-1, 1, 1, 1))
    shape = (*geo.result[:-1], filters, geo.result[-1], n)
    out = created(np.empty, shape, dtype, like=x)
    into = np.swapaxes(out, -4, -3)
    w = w[:, None]
    for at, met in columns(x, geo, filters // geo.groups):
        part = into[at]
        if part.shape[1] == 1:
            np.matmul(w, met, out=in_pieces(part, met))
        else:
            part[...] = np.reshape(w @ met, part.shape)
        if bias is not None:
            part += bias
    return from_rows(out)


def slid(z: Array, w: Array, geo: Geometry) -> Array:
    return by_rows(conv_rows, geo, z, np.ascontiguousarray(w))


def transposed_rows(geo: Geometry, z: Array, w: Array) -> Array:
    long = has_long_rows(geo, z.shape[0])
    return (transposed_long if long else transposed_columns)(geo, z, w)


def transposed_columns(geo: Geometry, z: Array, w: Array) -> Array:
    """The columns of x, added where they were taken from: what is quick of short rows."""
    dtype, groups, n = np.result_type(z, w), geo.groups, z.shape[0]
    channels = w.shape[1] * groups
    w = np.swapaxes(np.reshape(w, (groups, w.shape[0] // groups, -1)), 1, 2)
    z = np.swapaxes(in_rows(z, dtype), -4, -3)
    high = [m + a + b for m, (a, b) in zip(geo.size, geo.padding)]
    x = created(np.zeros, (*high[:-1], channels, high[-1], n), dtype, like=z)
    met = windows(x, geo)
    kernel = [(slice(None), slice(None), *k) for k in np.ndindex(geo.kernel)]
    for at in parts(geo, groups * w.shape[1], n):
        here = met[at]
        made = np.reshape(w @ np.reshape(z[at], (groups, w.shape[2], -1)), here.shape)
        for k in kernel:
            part = here[k]
            part += made[k]
    return framed(from_rows(x), [(-a, -b) for a, b in geo.padding])


@lru_cache(maxsize=128)
def reaching(
    size: int, result: int, kernel: int, stride: int, dilation: int
) -> list[tuple[slice, tuple[int, int, int]]]:
    """Of each entry of an axis of x, the entries of z that reach it, and those of the kernel, which
    is turned round, that take them there: first, end, step."""
    found = []
    for n in range(size):
        met = []
        for k in reversed(range(kernel)):
            entry, between = divmod(n - k * dilation, stride)
            if not between and 0 <= entry < result:
                met.append((entry, kernel - 1 - k))
        first, last = (met[0], met[-1]) if met else ((0, 0), (-1, -1))
        steps = [b - a for a, b in zip(met[0], met[1])] if met[1:] else (1, 1)
        entries, turned = ((a, b + 1, c) for a, b, c in zip(first, last, steps))
        found.append((slice(*entries), turned))
    return found


def transposed_long(geo: Geometry, z: Array, w: Array) -> Array:
    """A row of x is one product, of the kernels and the rows of z that reach it, which lie side by
    side, and, along W, sums of what that is for each entry of a kernel there."""
    dtype, groups, n = np.result_type(z, w), geo.groups, z.shape[0]
    channels, filters, outer = w.shape[1], w.shape[0] // groups, len(geo.kernel) - 1
    w = np.reshape(w, (groups, filters, channels, *geo.kernel))
    w = w[(..., *[slice(None, None, -1)] * outer, slice(None))]
    order = (0, 2, w.ndim - 1, *range(3, w.ndim - 1), 1)
    w = np.ascontiguousarray(w.transpose(order), dtype)  # (groups, C/groups, kw, ..., kh, O/groups)
    high = [m + a + b for m, (a, b) in zip(geo.size, geo.padding)]
    x = created(np.zeros, (*high[:-1], groups, channels, high[-1], n), dtype, like=z)
    taps, wide, stride, dilation = geo.kernel[-1], geo.result[-1], geo.stride[-1], geo.dilation[-1]
    height = channels * taps
    step = min(max(max(COLUMNS // (groups * height), LEAST) // n, 1), wide)
    long = piece(step * n, height * prod(w.shape[3:]))
    long = wide * n if wide % step or long == step * n else long
    z = in_rows(z, dtype)
    z = np.reshape(z, (*z.shape[:-3], groups, filters, -1, long))
    z = np.ascontiguousarray(np.moveaxis(z, (-4, -2), (0, 1)))  # (groups, pieces, ..., H, O, -1)
    held = created(np.empty, groups * height * step * n, dtype, like=z)
    kernels: dict[Any, Array] = {}  # rows that are not near an edge have the same ones
    along = zip(high, geo.result, geo.kernel, geo.stride, geo.dilation)
    for place in itertools.product(
        *(enumerate(reaching(*axis)) for axis, _ in zip(along, high[1:]))
    ):
        at, met = zip(*place)
        entries, turned = zip(*met)
        rows, row = z[(slice(None), slice(None), *entries)], x[at]
        if not rows.size:
            continue
        if turned not in kernels:
            part = w[(slice(None), slice(None), slice(None), *(slice(*t) for t in turned))]
            kernels[turned] = np.reshape(part, (groups, 1, height, -1))
        for low in range(0, wide, step):
            m = min(step, wide - low)
            made = np.reshape(held[: groups * height * m * n], (groups, height, m * n))
            first, end = low * n, (low + m) * n
            pieces = slice(first // long, -(-end // long))
            met = rows[:, pieces, ..., first % long : (end - 1) % long + 1]
            met = np.reshape(met, (*met.shape[:2], -1, met.shape[-1]))
            np.matmul(kernels[turned], met, out=in_pieces(made, met))
            made = np.reshape(made, (groups, channels, taps, m, n))
            for k in range(taps):
                first = k * dilation + low * stride
                part = row[:, :, first : first + (m - 1) * stride + 1 : stride]
                part += made[:, :, k]
    x = np.reshape(x, (*high[:-1], groups * channels, high[-1], n))
    return framed(from_rows(x), [(-a, -b) for a, b in geo.padding])


def weight_rows(geo: Geometry, x: Array, z: Array) -> Array:
    dtype, groups, n = np.result_type(x, z), geo.groups, x.shape[0]
    x, z = in_rows(x, dtype, geo.padding), np.swapaxes(in_rows(z, dtype), -4, -3)
    channels, filters = x.shape[-3] // groups, z.shape[-4]
    w: Any = None
    for at, met in columns(x, geo):
        # as wᵀ, for which BLAS takes 0.8 of the time
        by = np.swapaxes(np.reshape(z[at], (groups, 1, filters // groups, -1)), 2, 3)
        rows = piece(met.shape[2], prod(by.shape[2:]), by.shape[3])
        made = np.reshape(met, (groups, -1, rows, met.shape[3])) @ by
        w = made if w is None else np.add(w, made, out=w)
    w = np.swapaxes(np.reshape(w, (groups, -1, filters // groups)), 1, 2)
    if is_along_w(geo, n):
        kh, kw = geo.kernel
        w = np.swapaxes(np.reshape(w, (groups, filters // groups, kh, channels, kw)), 2, 3)
    return np.reshape(w, (filters, channels, *geo.kernel))


# The declarations.


def correlate(x: Array, w: Array, **params: Any) -> Array:
    """What slides w over x: x (N, C, ...), w (O, C/groups, ...) to (N, O, ...)."""
    geo = geometry(params, x=x, w=w)
    if quick(x, w):
        return as_one(by_rows, conv_rows, geo, x, w)
    return correlated(x, w, geo)


def correlate_and_add(x: Array, w: Array, bias: Array, **params: Any) -> Array:
    """The same with a bias (O) for each output channel."""
    geo = geometry(params, x=x, w=w)
    if bias.shape != w.shape[:1]:
        raise ValueError(f"bias of shape {bias.shape} for {w.shape[0]} output channels")
    if quick(x, w, bias):
        return as_one(by_rows, conv_rows, geo, x, w, bias)
    return correlated(x, w, geo) + np.reshape(bias, (-1,) + (1,) * len(geo.size))


def convolve_fully(z: Array, w: Array, **params: Any) -> Array:
    """The derivative by x: z (N, O, ...), w (O, C/groups, ...) to (N, C, ...)."""
    geo = geometry(params, z=z, w=w)
    if not quick(z, w):
        return spread(z, w, geo)
    if geo.groups > 1 and set(geo.stride) == {1}:  # sums of few products: adding them takes longer
        return as_one(spread, z, w, geo, slid)
    return as_one(by_rows, transposed_rows, geo, z, w)


def correlate_images(x: Array, z: Array, **params: Any) -> Array:
    """The derivative by w: x (N, C, ...), z (N, O, ...) to (O, C/groups, ...)."""
    geo = geometry(params, x=x, z=z)
    if quick(x, z):
        return as_one(by_rows, weight_rows, geo, x, z)
    return matched(x, z, geo)


def examples(op: Primitive, batch: Shape, xs: list[Array], params: Mapping[str, Any]) -> Array:
    """Images of all examples of a vmap as one batch; where each has weights of its own, as one
    image of more channels, in groups."""
    k, b = len(batch), prod(batch)
    if not b:
        return one_by_one(op, batch, xs, params)
    x, y = xs
    n = x.shape[k]
    if op is not conv_weight and prod(y.shape[:k]) == 1:
        x = np.reshape(full(x, batch), (b * n, *x.shape[k + 1 :]))
        out = op.forward(x, np.reshape(y, y.shape[k:]), **params)
        return np.reshape(out, (*batch, n, *out.shape[1:]))
    x, y = (np.reshape(full(a, batch), (b, *a.shape[k:])) for a in (x, y))
    x = images(np.moveaxis(x, 0, 1))
    y = images(np.moveaxis(y, 0, 1)) if op is conv_weight else kernels(y)
    out = op.forward(x, y, **{**params, "groups": b * params.get("groups", 1)})
    if op is conv_weight:
        return np.reshape(out, (*batch, out.shape[0] // b, *out.shape[1:]))
    out = np.reshape(out, (n, b, out.shape[1] // b, *out.shape[2:]))
    return np.reshape(np.moveaxis(out, 1, 0), (*batch, n, *out.shape[2:]))


def examples_and_bias(op: Primitive, batch: Shape, xs: list[Array], params: Any) -> Array:
    out, bias = examples(conv, batch, xs[:2], params), xs[2]
    return out + np.reshape(bias, (*bias.shape[:-1], 1, -1) + (1,) * (out.ndim - len(batch) - 2))


PLACES = ((1, 1, 0, 0), (2, 1, 1, 0), (1, 2, 1, 2), (3, 2, 2, 2), (2, 1, -1, 1))


def calls(unknown: str, axes: int = 2) -> Callable[..., Iterator[dict[str, Any]]]:
    """Strides, dilations and exact paddings for two shapes, of which `axes` axes do not slide;
    the third's sizes, those of `unknown`, follow."""

    def of(a: Shape, b: Shape, *bias: Shape) -> Iterator[dict[str, Any]]:
        sizes, groups = (*zip(a[axes:], b[axes:]),), {"groups": a[1]} if axes > 2 else {}
        if not sizes or len(a) != len(b) or 0 in groups.values() or any(0 in p for p in sizes):
            return
        for s, d, low, high in PLACES:
            if unknown == "z":
                room = [n + low + high - d * (k - 1) - 1 for n, k in sizes]
                over = [r % s for r in room]
            elif unknown == "w":
                room = [n + low + high - s * (m - 1) - 1 for n, m in sizes]
                over = [r % d for r in room]
            else:
                room = [(m - 1) * s + (k - 1) * d - low - high for m, k in sizes]
                over = [0] * len(room)
            if all(r >= 0 for r in room):
                pads = tuple((low, high - r) for r in over)
                plain = (s, d, low) == (1, 1, 0)
                yield groups | ({} if plain else {"stride": s, "padding": pads, "dilation": d})

    return of


def images(x: Array) -> Array:
    """Images (N, groups, C, ...) of the channels of all groups."""
    return np.reshape(x, (x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:]))


def kernels(w: Array) -> Array:
    """Kernels (groups, O, C/groups, ...) of the outputs of all groups."""
    return np.reshape(w, (w.shape[0] * w.shape[1], *w.shape[2:]))


conv = primitive(
    correlate,
    lambda g, out, x, w, **params: conv_transpose(g, w, **params),
    lambda g, out, x, w, **params: conv_weight(x, g, **params),
    name="conv",
    notation=r"{1} \star_{{{others}}} {0}",
    domain=Domain(
        signature="(n,c,h),(o,c,i)",
        broadcast=False,
        params=calls("z"),
        complex=True,
        also=Domain(
            signature="(n,g,c,h),(g,o,c,i)",
            broadcast=False,
            params=calls("z", 3),
            make=lambda x, w: (images(x), kernels(w)),
        ),
    ),
    batch=examples,
    care=contraction,
)
conv_bias = primitive(
    correlate_and_add,
    lambda g, out, x, w, bias, **params: conv_transpose(g, w, **params),
    lambda g, out, x, w, bias, **params: conv_weight(x, g, **params),
    lambda g, out, x, w, bias, **params: np.sum(g, axis=(0, *range(2, g.ndim))),
    name="conv_bias",
    notation=r"{1} \star_{{{others}}} {0} + {2}",
    domain=Domain(
        signature="(n,c,h,w),(o,c,i,j),(o)", broadcast=False, params=calls("z"), complex=True
    ),
    batch=examples_and_bias,
)
conv_transpose: Primitive = primitive(
    convolve_fully,
    lambda g, out, z, w, **params: conv(g, w, **params),
    lambda g, out, z, w, **params: conv_weight(g, z, **params),
    name="conv_transpose",
    notation=r"{1} *_{{{others}}} {0}",
    domain=Domain(
        signature="(n,o,h),(o,c,i)",
        broadcast=False,
        params=calls("x"),
        complex=True,
        also=Domain(
            signature="(n,g,o,h),(g,o,c,i)",
            broadcast=False,
            params=calls("x", 3),
            make=lambda z, w: (images(z), kernels(w)),
        ),
    ),
    batch=examples,
    care=contraction,
)
conv_weight: Primitive = primitive(
    correlate_images,
    lambda g, out, x, z, **params: conv_transpose(z, g, **params),
    lambda g, out, x, z, **params: conv(x, g, **params),
    name="conv_weight",
    notation=r"{1} \star_{{{others}}} {0}",
    domain=Domain(
        signature="(n,c,h),(n,o,i)",
        broadcast=False,
        params=calls("w"),
        complex=True,
        also=Domain(
            signature="(n,g,c,h),(n,g,o,i)",
            broadcast=False,
            params=calls("w", 3),
            make=lambda x, z: (images(x), images(z)),
        ),
    ),
    batch=examples,
    care=contraction,
)
