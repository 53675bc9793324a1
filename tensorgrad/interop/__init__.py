"""PyTorch and JAX at the border: a function or a model of ours in a program of theirs, and back.

`torch_function` and `jax_function` make of a function of ours one that the other library
differentiates; `from_torch` and `from_jax` of one of theirs an operation here. `ours.py` is a run
of a function of ours with the way back, `theirs.py` the operation; `torch.py` and `jax.py` know the
libraries, which are loaded when their functions are first asked for. On the CPU arrays cross
without a copy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tensorgrad.interop.jax import from_jax, jax_function
    from tensorgrad.interop.torch import from_torch, torch_function

__all__ = ["from_jax", "from_torch", "jax_function", "torch_function"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    """A function, with its library. ImportError, with what to install, where that is missing."""
    if name not in __all__:
        raise AttributeError(f"module 'tensorgrad.interop' has no attribute {name!r}")
    library = "torch" if "torch" in name else "jax"
    try:
        return getattr(import_module(f"tensorgrad.interop.{library}"), name)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise ImportError(f"interop.{name} needs {library}: pip install {library}") from None
