"""SciPy's functions, differentiated: `tensorgrad.scipy.special`, `.linalg` and `.sparse`.

Most of SciPy's special functions are ufuncs: `scipy.special.erf(value)` finds its rule here by
itself. Functions that turn their arguments into arrays first (`scipy.special.logsumexp`, all of
`scipy.linalg`) cannot: take the one of the same name and arguments from here. It computes on plain
arrays too. Nothing of this is loaded before a program asks for it or uses SciPy itself.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tensorgrad.extras import missing

try:
    import scipy  # noqa: F401
except ImportError:
    raise missing("tensorgrad.scipy needs SciPy", "scipy") from None

if TYPE_CHECKING:
    from tensorgrad.scipy import linalg, sparse, special

__all__ = ["linalg", "sparse", "special"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"tensorgrad.scipy.{name}")
    raise AttributeError(f"module 'tensorgrad.scipy' has no attribute {name!r}")
