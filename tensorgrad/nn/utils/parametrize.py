"""Parameters that are computed of others: `layer.weight` is what a Module makes of the original.

The original is a parameter, `parametrizations.weight.original`, as in PyTorch; where a Module of
the parametrisation takes several they are `original0`, `original1`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.node import data_of
from tensorgrad.nn.module import Module
from tensorgrad.value import Value


class ParametrizationList(Module):
    """What one parameter is computed by: Modules, one after the other, of the original."""

    def __init__(self, original: Any, steps: list[Module]) -> None:
        self.steps = steps
        if isinstance(original, tuple):
            for i, x in enumerate(original):
                setattr(self, f"original{i}", x)
        else:
            self.original = original

    def originals(self) -> list[Value]:
        """The parameters that it is computed of."""
        held = vars(self)
        return [held[name] for name in held if name.startswith("original")]

    def forward(self) -> Any:
        first, *rest = self.steps
        x = first(*self.originals())
        for step in rest:
            x = step(x)
        return x


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Let the parameter `tensor_name` of `module` be what `parametrization` makes of it.

    If that has a method `right_inverse`, the original, or a tuple of originals, is what this makes
    of the parameter's value; else the value itself. A further one acts on what those before it
    make, and has no `right_inverse`. ValueError for no parameter, and (unless `unsafe`) for a
    result of another shape or dtype.

    >>> from tensorgrad import nn
    >>> class Symmetric(nn.Module):
    ...     def forward(self, x):
    ...         return np.triu(x) + np.triu(x, 1).T
    >>> layer = register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    >>> bool(np.all(layer.weight.data == layer.weight.data.T))
    True
    >>> [name for name, _ in layer.named_parameters()]
    ['bias', 'parametrizations.weight.original']
    """
    held = getattr(module, "parametrizations", {})
    if tensor_name in held:
        before = held[tensor_name]
        new = ParametrizationList((), [*before.steps, parametrization])
        vars(new).update({k: x for k, x in vars(before).items() if k.startswith("original")})
    else:
        value = vars(module).get(tensor_name)
        if not isinstance(value, Value):
            raise ValueError(f"{type(module).__name__} has no parameter {tensor_name!r}")
        new = ParametrizationList(original_of(value, parametrization), [parametrization])
        made = data_of(new())
        if not unsafe and (np.shape(made) != value.shape or made.dtype != value.dtype):
            raise ValueError(
                f"{type(parametrization).__name__} makes {made.dtype}{list(np.shape(made))} of "
                f"{tensor_name!r}, {value.dtype}{list(value.shape)}"
            )
        delattr(module, tensor_name)
    module.parametrizations = {**held, tensor_name: new}
    return module


def original_of(value: Value, parametrization: Module) -> Any:
    """What is to learn in place of a parameter."""
    inverse = getattr(parametrization, "right_inverse", None)
    if inverse is None:
        return value
    made = inverse(value.data)
    if isinstance(made, tuple):
        return tuple(Value(x, value.requires_grad) for x in made)
    value.data = as_array(made, value.dtype)
    return value


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether a parameter of the Module (that of this name) is computed of others."""
    held = getattr(module, "parametrizations", {})
    return bool(held) if tensor_name is None else tensor_name in held


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make it an ordinary parameter again, with the value that it has; or with that of the
    original. ValueError where there is none, and where several originals should be left."""
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"{type(module).__name__} has no parametrisation of {tensor_name!r}")
    held = dict(module.parametrizations)
    done = held.pop(tensor_name)
    originals = done.originals()
    if not leave_parametrized and len(originals) > 1:
        raise ValueError(f"{tensor_name!r} has {len(originals)} originals: none is its value")
    value = done() if leave_parametrized else originals[0]
    if held:
        module.parametrizations = held
    else:
        del module.parametrizations
    setattr(module, tensor_name, Value(data_of(value), originals[0].requires_grad))
    return module
