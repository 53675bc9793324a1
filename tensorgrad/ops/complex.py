"""The parts of complex numbers. (The rules of `elementwise.py` hold for complex numbers as well.)

Rules are free of conj: the gradient of a real function of z = x + iy is ∂f/∂x - i ∂f/∂y, the
conjugate of the direction of steepest ascent, as in JAX and autograd. Choice: `angle` has gradient
0 at 0.
"""

from __future__ import annotations

import numpy as np

from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.domain import Domain
from tensorgrad.engine.dtypes import finfo
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import implements, primitive

TURNED = Domain(make=lambda x: (x * (0.6 + 0.8j),))  # real numbers, off the real line

real = primitive(
    np.real,
    lambda g, out, x: g,
    notation=r"\operatorname{{Re}} {0}",
    domain=TURNED,
    batch=elementwise,
    view=True,
)
imag = primitive(
    np.imag,
    lambda g, out, x: g * -1j,
    notation=r"\operatorname{{Im}} {0}",
    domain=TURNED,
    batch=elementwise,
    view=True,
)
conjugate = primitive(
    np.conjugate, lambda g, out, x: np.conjugate(g), notation=r"\overline{{{0}}}", domain=TURNED
)


@implements(np.angle)
def angle(z: Array, deg: bool = False) -> Array:
    """The argument of `z`, in -π..π."""
    theta = np.arctan2(np.imag(z) if np.iscomplexobj(z) else 0, np.real(z))
    return np.rad2deg(theta) if deg else theta


@implements(np.real_if_close)
def real_if_close(a: Array, tol: float = 100) -> Array:
    """The real part, if all imaginary parts are below `tol` (above 1: in units of rounding)."""
    if not np.iscomplexobj(a):
        return a
    limit = tol * finfo(a.dtype).eps if tol > 1 else tol
    return np.real(a) if np.all(np.absolute(np.imag(a)) < limit) else a
