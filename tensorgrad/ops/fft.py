"""Discrete Fourier transforms. The matrix of one is symmetric, so its rule is the same transform.

A real signal has a spectrum of which one half is known from the other: `rfft` leaves that half out,
`irfft` puts it back, and each entry that stands for two counts twice. The transposes of these two
are `hfft` and `ihfft`, NumPy's transforms of the opposite sign. Transforms over several axes are
made of those over one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import created
from tensorgrad.engine.batching import along
from tensorgrad.engine.domain import Domain, Shape
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements, primitive

Axes = Sequence[int] | None


def fit(x: Array, n: int, axis: int) -> Array:
    """`x` cropped to length `n`, or padded with zeros: the transpose of how a transform does it."""
    extra = n - x.shape[axis]
    if extra <= 0:
        return x[(slice(None),) * (axis % x.ndim) + (slice(n),)] if extra else x
    width = [(0, 0)] * x.ndim
    width[axis] = (0, extra)
    return np.pad(x, width)


def multiplicity(n: int, axis: int, like: Array) -> Array:
    """How often the entries of a half spectrum stand in the whole one, of length `n`: twice, but
    the first, and the last of an even n, once. Real as `like`, to be multiplied along `axis`.
    """
    times = np.full(n // 2 + 1, 2, like.dtype)
    times[0] = 1
    times[n - n // 2 :] = 1
    times = created(np.array, times, like=like)
    return np.reshape(times, (-1, *(1,) * (like.ndim - 1 - axis % like.ndim)))


def calls(shape: Shape) -> Any:
    """Odd and even lengths, shorter and longer than the operand, along each axis."""
    for axis in range(-len(shape), len(shape)):
        n = shape[axis]
        yield from ({"axis": axis, "norm": norm} for norm in (None, "ortho", "forward") if n > 1)
        yield from ({"axis": axis, "n": k} for k in (1, 3, n + 2) if n)


SIGNAL = Domain(params=calls, complex=True)
REAL_SIGNAL = Domain(params=calls)

fft = primitive(
    np.fft.fft,
    lambda g, out, x, n=None, axis=-1, norm=None: fit(
        np.fft.fft(g, axis=axis, norm=norm), x.shape[axis], axis
    ),
    notation=r"\mathcal{{F}} {0}",
    domain=SIGNAL,
    batch=along,
)
ifft = primitive(
    np.fft.ifft,
    lambda g, out, x, n=None, axis=-1, norm=None: fit(
        np.fft.ifft(g, axis=axis, norm=norm), x.shape[axis], axis
    ),
    notation=r"\mathcal{{F}}^{{-1}} {0}",
    domain=SIGNAL,
    batch=along,
)


def rfft_rule(
    g: Array, out: Array, x: Array, n: int | None = None, axis: int = -1, norm: Any = None
) -> Array:
    n = n or x.shape[axis]
    whole = np.fft.hfft(g / multiplicity(n, axis, x), n, axis, norm)
    return fit(whole, x.shape[axis], axis)


def ihfft_rule(
    g: Array, out: Array, x: Array, n: int | None = None, axis: int = -1, norm: Any = None
) -> Array:
    n = n or x.shape[axis]
    whole = np.fft.irfft(g / multiplicity(n, axis, x), n, axis, norm)
    return fit(whole, x.shape[axis], axis)


rfft = primitive(
    np.fft.rfft, rfft_rule, notation=r"\mathcal{{F}} {0}", domain=REAL_SIGNAL, batch=along
)
ihfft = primitive(
    np.fft.ihfft, ihfft_rule, notation=r"\mathcal{{F}}^{{-1}} {0}", domain=REAL_SIGNAL, batch=along
)
irfft = primitive(
    np.fft.irfft,
    lambda g, out, x, n=None, axis=-1, norm=None: fit(
        multiplicity(g.shape[axis], axis, g) * np.fft.ihfft(g, axis=axis, norm=norm),
        x.shape[axis],
        axis,
    ),
    notation=r"\mathcal{{F}}^{{-1}} {0}",
    domain=REAL_SIGNAL,
    batch=along,
)
hfft = primitive(
    np.fft.hfft,
    lambda g, out, x, n=None, axis=-1, norm=None: fit(
        multiplicity(g.shape[axis], axis, g) * np.fft.rfft(g, axis=axis, norm=norm),
        x.shape[axis],
        axis,
    ),
    notation=r"\mathcal{{F}} {0}",
    domain=REAL_SIGNAL,
    batch=along,
)


# Several axes. NumPy goes through them from the last to the first, `irfftn` the other way.


def steps(a: Array, s: Any, axes: Axes) -> list[tuple[int | None, int]]:
    """The length and the axis of each transform; by default, and for -1, the operand's length."""
    if axes is None:
        axes = range(-(np.ndim(a) if s is None else len(s)), 0)
    lengths = [-1] * len(axes) if s is None else s
    if len(lengths) != len(axes):
        raise ValueError(f"fft: {len(lengths)} lengths s={s} for {len(axes)} axes")
    return [(np.shape(a)[axis] if n == -1 else n, axis) for n, axis in zip(lengths, axes)]


def over(
    transform: Callable[..., Array], a: Array, s: Sequence[tuple[int | None, int]], norm: Any
) -> Array:
    for n, axis in s:
        a = transform(a, n=n, axis=axis, norm=norm)
    return a


@implements(np.fft.fftn)
def fftn(a: Array, s: Any = None, axes: Axes = None, norm: Any = None) -> Array:
    """`np.fft.fftn`: `fft` over several axes."""
    return over(fft, a, steps(a, s, axes)[::-1], norm)


@implements(np.fft.ifftn)
def ifftn(a: Array, s: Any = None, axes: Axes = None, norm: Any = None) -> Array:
    """`np.fft.ifftn`: `ifft` over several axes."""
    return over(ifft, a, steps(a, s, axes)[::-1], norm)


@implements(np.fft.rfftn)
def rfftn(a: Array, s: Any = None, axes: Axes = None, norm: Any = None) -> Array:
    """`np.fft.rfftn`: `rfft` over the last of the axes, then `fft` over the others."""
    *others, last = steps(a, s, axes)
    return over(fft, over(rfft, a, [last], norm), others[::-1], norm)


@implements(np.fft.irfftn)
def irfftn(a: Array, s: Any = None, axes: Axes = None, norm: Any = None) -> Array:
    """`np.fft.irfftn`: `ifft` over the axes but the last, then `irfft` over that."""
    *others, (n, axis) = steps(a, s, axes)
    last = (None if s is None else n, axis)
    return over(irfft, over(ifft, a, others, norm), [last], norm)


@implements(np.fft.fft2)
def fft2(a: Array, s: Any = None, axes: Axes = (-2, -1), norm: Any = None) -> Array:
    """`np.fft.fft2`: `fftn` over the last two axes."""
    return fftn(a, s, axes, norm)


@implements(np.fft.ifft2)
def ifft2(a: Array, s: Any = None, axes: Axes = (-2, -1), norm: Any = None) -> Array:
    """`np.fft.ifft2`: `ifftn` over the last two axes."""
    return ifftn(a, s, axes, norm)


@implements(np.fft.rfft2)
def rfft2(a: Array, s: Any = None, axes: Axes = (-2, -1), norm: Any = None) -> Array:
    """`np.fft.rfft2`: `rfftn` over the last two axes."""
    return rfftn(a, s, axes, norm)


@implements(np.fft.irfft2)
def irfft2(a: Array, s: Any = None, axes: Axes = (-2, -1), norm: Any = None) -> Array:
    """`np.fft.irfft2`: `irfftn` over the last two axes."""
    return irfftn(a, s, axes, norm)


def centre(x: Array, axes: int | Axes, sign: int) -> Array:
    """`x` rolled by half the length of each of `axes`."""
    axes = (axes,) if isinstance(axes, int) else tuple(range(x.ndim) if axes is None else axes)
    return np.roll(x, tuple(sign * (x.shape[axis] // 2) for axis in axes), axes)


@implements(np.fft.fftshift)
def fftshift(x: Array, axes: int | Axes = None) -> Array:
    """`np.fft.fftshift`: frequency 0 from the start of each axis to its middle."""
    return centre(x, axes, 1)


@implements(np.fft.ifftshift)
def ifftshift(x: Array, axes: int | Axes = None) -> Array:
    """`np.fft.ifftshift`: frequency 0 back to the start."""
    return centre(x, axes, -1)
