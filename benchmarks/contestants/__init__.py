"""Who takes part: the same steps, each written the way its library is normally used.

A module here has functions `shallow`, `deep` and `convolutional` (some have not the last), which
set up one of the networks of `steps.py` and return `step()`: forward, loss, gradients and SGD
update, returning the loss. They take `weights`, a list of (W, b) with W of shape (in, out), or
(out, in, 5, 5), a batch `x`, its targets `y` and the learning rate `lr`. `handwritten.py` says what
is computed.

And four, `gradient`, `hessian`, `hvp` and `jacobian`, which return `step()` for `derivatives.py`:
the derivative of `f(np, *variables, *constants)` by the variables, where `np` is the library's own
NumPy. `hessian` and `jacobian` have one variable, `hvp` takes tangents too.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple


class Contestant(NamedTuple):
    """`module` is here; one with `apart` has a thread pool of its own and gets its own process."""

    name: str
    module: str
    apart: bool = False
    env: dict[str, str] = {}

    def load(self) -> Any:
        """The module. Raises ImportError where the library is not installed."""
        return import_module(f"contestants.{self.module}")


CONTESTANTS = (
    Contestant("NumPy by hand", "handwritten"),
    Contestant("tensorgrad", "tensorgrad"),
    Contestant("tensorgrad, spelled out", "spelled"),
    Contestant("tensorgrad, compiled", "compiled"),
    Contestant("torch", "torch", apart=True),
    Contestant("autograd", "autograd"),
    Contestant("mygrad", "mygrad"),
    Contestant("jax.jit", "jax", apart=True),
)
DIFFERENTIATORS = (
    Contestant("tensorgrad", "tensorgrad"),
    Contestant("autograd", "autograd"),
    Contestant("mygrad", "mygrad"),
    Contestant("torch.func", "torch"),
    Contestant("jax.jit", "jax"),
)
BY_ROWS = Contestant("tensorgrad, a loop over rows", "rows")
