"""Special functions: SciPy's own forward, and the derivative from the handbook.

Every name and signature is SciPy's. Derivatives are written in functions that have rules
themselves, so they can be differentiated again. Orders and shapes (v in J_v, a in P(a, x)) mostly
have no derivative in closed form: where `backward` needs one it says so.

Equation numbers are those of the NIST Digital Library of Mathematical Functions (DLMF).

>>> from tensorgrad import Value
>>> import scipy.special
>>> x = Value(0.5)
>>> scipy.special.erf(x).backward()
>>> x.grad.round(6)
np.float64(0.878783)
"""

from __future__ import annotations

from typing import Any

import scipy.special

from tensorgrad.engine.primitive import implementations
from tensorgrad.scipy.special import (  # noqa: F401
    bessel,
    elementary,
    errors,
    functions,
    gammas,
    hypergeometric,
    integrals,
    polynomials,
)
from tensorgrad.scipy.special.declare import special


def __dir__() -> list[str]:
    found = {name: getattr(special, name) for name in vars(scipy.special)}
    return [name for name, f in found.items() if callable(f) and f in implementations]


def __getattr__(name: str) -> Any:
    """The function of `scipy.special` that is called so, for Values and arrays."""
    function = getattr(special, name)
    if function not in implementations:
        raise AttributeError(f"scipy.special.{name} has no gradient rule")
    return implementations[function]
