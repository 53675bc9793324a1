"""What belongs to networks and is no layer, with PyTorch's names: gradients clipped, parameters as
one vector, `parametrizations`, and `rnn`, sequences of different lengths."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array, entries_in, on_entries, wrong
from tensorgrad.engine.node import data_of
from tensorgrad.nn.utils import parametrizations as parametrizations
from tensorgrad.nn.utils import parametrize as parametrize
from tensorgrad.nn.utils import rnn as rnn
from tensorgrad.value import Value

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "rnn",
    "vector_to_parameters",
]


def get_total_norm(
    tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> np.floating[Any]:
    """The norm of all entries of arrays together, as if they were one vector.

    FloatingPointError, with `error_if_nonfinite`, if it is none.

    >>> get_total_norm([np.array([3.0]), np.array([[4.0]])])
    np.float64(5.0)
    """
    arrays = [tensors] if hasattr(tensors, "shape") else list(tensors)
    norms = [np.linalg.norm(np.ravel(entries_in(data_of(x))), norm_type) for x in arrays]
    total = np.linalg.norm(np.stack(norms), norm_type) if norms else np.float64(0)
    if error_if_nonfinite and wrong(~np.isfinite(total)):
        raise FloatingPointError(f"the norm of order {norm_type} of the gradients is {total}")
    return total


def learnt(parameters: Any) -> list[Value]:
    """The parameters, one or several, that have a gradient."""
    parameters = [parameters] if isinstance(parameters, Value) else list(parameters)
    return [p for p in parameters if p.grad is not None]


def clip_grad_norm_(
    parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> np.floating[Any]:
    """Scale the gradients of `parameters` so that their norm together is at most `max_norm`.

    Returns the norm that they had. Pascanu et al. (2013), algorithm 1. Raises as `get_total_norm`.

    >>> p = Value([3.0, 4.0])
    >>> np.sum(p * p).backward()
    >>> clip_grad_norm_(p, 1.0), p.grad.round(3)
    (np.float64(10.0), array([0.6, 0.8]))
    """
    found = learnt(parameters)
    total = get_total_norm([p.grad for p in found], norm_type, error_if_nonfinite)
    clip_grads_with_norm_(found, max_norm, total)
    return total


def clip_grads_with_norm_(parameters: Any, max_norm: float, total_norm: Any) -> None:
    """The same for a norm that is known, such as one that processes have added up.

    >>> p = Value([3.0, 4.0])
    >>> p.grad = np.array([6.0, 8.0])
    >>> clip_grads_with_norm_([p], 1.0, 10.0)
    >>> p.grad.round(3)
    array([0.6, 0.8])
    """
    scale = np.fmin(1.0, max_norm / (np.float64(1e-6) + data_of(total_norm)))
    with np.errstate(invalid="ignore"):  # a scaler skips a step whose gradient is infinite
        for p in learnt(parameters):
            p.grad = p.grad * scale.astype(p.grad.dtype)


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Clip every entry of the gradients of `parameters` to [-clip_value, clip_value].

    >>> p = Value([3.0, -0.1])
    >>> np.sum(p * p).backward()
    >>> clip_grad_value_(p, 1.0)
    >>> p.grad
    array([ 1. , -0.2])
    """
    for p in learnt(parameters):
        p.grad = on_entries(lambda g: np.clip(g, -clip_value, clip_value), data_of(p.grad))


def parameters_to_vector(parameters: Iterable[Any]) -> Any:
    """All entries of the parameters, one after the other; gradients go through it.

    >>> parameters_to_vector([np.array([1.0]), np.array([[2.0, 3.0]])])
    array([1., 2., 3.])
    """
    return np.concatenate([np.ravel(p) for p in parameters])


def vector_to_parameters(vec: Any, parameters: Iterable[Value]) -> None:
    """Give the parameters the entries of `vec`, in their shapes and dtypes.

    ValueError, before anything changes, unless there are as many.
    """
    vector, parameters = as_array(data_of(vec)), list(parameters)
    ends = np.cumsum([p.size for p in parameters])
    if vector.shape != (int(ends[-1]) if len(ends) else 0,):
        raise ValueError(f"a vector of shape {vector.shape} for {ends[-1:].sum()} entries")
    for p, part in zip(parameters, np.split(vector, ends[:-1].tolist())):
        p.data = part.reshape(p.shape).astype(p.dtype)[()]
