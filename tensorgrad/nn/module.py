"""Module: something with parameters that can be called. Layers, networks and your own models.

A Module's parameters are the leaf Values among its attributes, and those of the Modules, lists,
tuples and dicts it holds. There is nothing to register. Attributes whose name begins with an
underscore are yours: keep there what is no parameter, such as an activation to look at later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np

from tensorgrad.engine.levels import alias
from tensorgrad.engine.node import serials
from tensorgrad.value import Value

State = dict[str, np.ndarray[Any, Any]]
REMEMBERED = 64  # calls of a Module whose nodes a drawing can tell from others


class Module:
    """Base class. Subclasses set attributes in `__init__` and compute in `forward`.

    >>> class Affine(Module):
    ...     def __init__(self):
    ...         self.slope, self.offset = Value(2.0), Value(1.0)
    ...     def forward(self, x):
    ...         return self.slope * x + self.offset
    >>> model = Affine()
    >>> model(3.0)
    Value(7.0, op=add)
    >>> [name for name, _ in model.named_parameters()]
    ['slope', 'offset']
    """

    training = True
    _made_with: tuple[tuple[Any, ...], dict[str, Any]]
    _calls: deque[tuple[int, int]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self._made_with = args, kwargs  # how to make it again: what `io.save` writes
        self._calls = deque(maxlen=REMEMBERED)  # the serials of the nodes made in each
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        start = next(serials)
        result = self.forward(*args, **kwargs)
        end = next(serials)
        if end - start > 1:  # something was recorded
            self._calls.append((start, end))
        return result

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __repr__(self) -> str:
        args, kwargs = self._made_with
        given = [*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items() if k != "rng")]
        return f"{type(self).__name__}({', '.join(given)})"

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This Module and all Modules in it, each once, with their attribute paths."""
        for name, x in _walk(self, prefix, set()):
            if isinstance(x, Module):
                yield name, x

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """Every parameter once, with its attribute path such as `layers.0.weight`."""
        for name, x in _walk(self, "", set()):
            if isinstance(x, Value):
                yield name, x

    def parameters(self) -> list[Value]:
        """Every parameter once, in the order of the attributes."""
        return [p for _, p in self.named_parameters()]

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters():
            p.grad = None

    def train(self, mode: bool = True) -> Self:
        """Tell every Module within that it is being trained (dropout and the like act)."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Tell every Module within that it is being used."""
        return self.train(False)

    def state_dict(self) -> State:
        """A copy of every parameter's data, by name."""
        return {name: np.array(p.data, order="C") for name, p in self.named_parameters()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set every parameter's data. ValueError, before anything changes, unless the names and
        shapes are exactly this Module's."""
        parameters = dict(self.named_parameters())
        wrong = [f"missing {name!r}" for name in parameters if name not in state]
        wrong += [f"unexpected {name!r}" for name in state if name not in parameters]
        wrong += [
            f"{name!r} has shape {np.shape(state[name])}, expected {p.shape}"
            for name, p in parameters.items()
            if name in state and np.shape(state[name]) != p.shape
        ]
        if wrong:
            raise ValueError(f"state does not fit {type(self).__name__}: {'; '.join(wrong)}")
        new = {name: np.array(state[name], p.dtype) for name, p in parameters.items()}
        for name, p in parameters.items():
            p.data = new[name]


def _walk(x: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """The Modules and Values in `x`, each once, with their paths."""
    if id(x) in seen:
        return
    # an alias stands for a parameter while a transform differentiates by it
    if isinstance(x, Module) or (isinstance(x, Value) and (x.op is None or x.op is alias)):
        seen.add(id(x))
        yield path, x
    parts: Any = ()
    if isinstance(x, Module):
        parts = ((k, v) for k, v in vars(x).items() if not k.startswith("_"))
    elif isinstance(x, dict):
        parts = x.items()
    elif isinstance(x, (list, tuple)):
        parts = enumerate(x)
    for name, part in parts:
        yield from _walk(part, f"{path}.{name}" if path else str(name), seen)


class Sequential(Module):
    """Modules (or functions) one after the other.

    >>> from tensorgrad import nn
    >>> model = Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> model(np.zeros((5, 3))).shape
    (5, 1)
    """

    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: int) -> Any:
        return self.layers[i]
