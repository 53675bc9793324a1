"""Functions of other libraries as Subjects of NumPy arrays, so that `check` can try them."""

from tensorgrad.testing.adapters.autograd import from_autograd
from tensorgrad.testing.adapters.jax import from_jax
from tensorgrad.testing.adapters.torch import from_torch

__all__ = ["from_autograd", "from_jax", "from_torch"]
