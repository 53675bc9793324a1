"""Who takes part: the same steps, each written the way its library is normally used.

A module here has functions `shallow`, `deep`, `convolutional` and `lstm` (some have not all), which
set up one of the networks of `steps.py` and return `step()`: forward, loss, gradients and update on
the next batch, returning the loss. They take `weights`, a list of (W, b) with W of shape (in, out),
or (out, in, 5, 5), and of the LSTM a dict by PyTorch's names; `batches`, a list of (x, y); and the
learning rate `lr`. `hand/` says what is computed. `transformer.py` has one of each library.

`function(f, arrays)` computes `f(np, x)` of one array after the other, where `np` is the library's
own NumPy; `gradients(f, points, constants)` the value of `f(np, x, *constants)` and its gradient.

And four, `gradient`, `hessian`, `hvp` and `jacobian`, which return `step()` for `derivatives.py`:
the derivative of `f(np, *variables, *constants)` by the variables. `hessian` and `jacobian` have
one variable, `hvp` takes tangents too.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple


class Contestant(NamedTuple):
    """`module` is here, or in a package of that name."""

    name: str
    module: str

    def load(self) -> Any:
        """The module. Raises ImportError where the library is not installed."""
        return import_module(self.module if "." in self.module else f"contestants.{self.module}")


DIFFERENTIATORS = (
    Contestant("tensorgrad", "tensorgrad"),
    Contestant("autograd", "autograd"),
    Contestant("mygrad", "mygrad"),
    Contestant("torch.func", "torch"),
    Contestant("jax.jit", "jax"),
)
BY_ROWS = Contestant("tensorgrad, a loop over rows", "rows")
