"""Modules made of Modules. A list or a dict of Modules needs none of these: it is looked into."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, Self

import numpy as np

from tensorgrad.nn.module import Module
from tensorgrad.value import Value


class _List(Module):
    """A list of parts, which are called `layers` in attribute paths; in `Sequential` maybe a dict.

    What it is changed to is what it was made with: so it is printed and saved.
    """

    layers: Any

    def __iter__(self) -> Iterator[Any]:
        return iter(self._list())

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, i: Any) -> Any:
        return self._of(self._list()[i]) if isinstance(i, slice) else self._list()[i]

    def __setitem__(self, i: int, part: Any) -> None:
        self._change(i, part, put=list.__setitem__)

    def __delitem__(self, i: Any) -> None:
        self._change(i, put=list.__delitem__)

    def append(self, module: Any) -> Self:
        """One more at the end."""
        return self._change(len(self), module, put=list.insert)

    def extend(self, modules: Iterable[Any]) -> Self:
        """More at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Any) -> Self:
        """One more, before the one at `index`."""
        return self._change(index, module, put=list.insert)

    def _list(self) -> list[Any]:
        return list(self.layers.values()) if isinstance(self.layers, dict) else self.layers

    def _change(self, i: Any, *parts: Any, put: Callable[..., None]) -> Self:
        layers = list(self._list())
        put(layers, i, *map(_part, parts) if isinstance(self, ParameterList) else parts)
        if isinstance(self.layers, dict):
            names = {id(x): name for name, x in self.layers.items()}
            self.layers = {names.get(id(x), str(i)): x for i, x in enumerate(layers)}
        else:
            self.layers = layers
        self._made_with = self._of(self.layers)._made_with
        return self

    @classmethod
    def _of(cls, layers: Any) -> Self:
        return cls(layers)


class Sequential(_List):
    """Modules (or functions) one after the other. A slice is a Sequential of the same Modules.

    A dict, as the only argument, gives them names, which are attributes and stand in paths.
    `append`, `extend`, `insert`, `del` and assignment change which there are.

    >>> import numpy as np
    >>> from tensorgrad import nn
    >>> model = Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    >>> model(np.zeros((5, 3))).shape
    (5, 1)
    >>> model[:-1]
    Sequential(Linear(3, 2), ReLU())
    >>> Sequential({"hidden": nn.Linear(3, 2), "act": nn.ReLU()}).append(nn.Linear(2, 1)).hidden
    Linear(3, 2)
    """

    def __init__(self, *layers: Any) -> None:
        named = len(layers) == 1 and isinstance(layers[0], Mapping)
        self.layers = dict(layers[0]) if named else list(layers)
        for layer in self._list():
            if isinstance(layer, type):
                raise TypeError(
                    f"Sequential: {layer.__name__} is a class: write {layer.__name__}()"
                )
            if not callable(layer):
                raise TypeError(
                    f"Sequential: {layer!r:.60} is no Module: write Sequential(first, second), or "
                    "Sequential(*layers) of a list"
                )

    def forward(self, x: Any) -> Any:
        for layer in self._list():
            x = layer(x)
        return x

    def __getattr__(self, name: str) -> Any:
        layers = vars(self).get("layers")
        if isinstance(layers, dict) and name in layers:
            return layers[name]
        return super().__getattr__(name)

    @classmethod
    def _of(cls, layers: Any) -> Self:
        return cls(layers) if isinstance(layers, dict) else cls(*layers)


class ModuleList(_List):
    """A list of Modules, with PyTorch's name; a plain list among the attributes does as well.

    >>> from tensorgrad import nn
    >>> layers = ModuleList([nn.Linear(2, 2) for _ in range(3)])
    >>> len(layers.append(nn.Linear(2, 1)).parameters())
    8
    """

    def __init__(self, modules: Iterable[Any] = ()) -> None:
        self.layers = list(modules or ())
        self._made_with = (self.layers,), {}


def _part(x: Any) -> Value:
    """A parameter: an array becomes one."""
    return x if isinstance(x, Value) else Value(x)


class ParameterList(_List):
    """A list of parameters; of arrays it makes Values. A plain list of Values does as well.

    >>> import numpy as np
    >>> len(ParameterList([np.zeros(2), np.ones(3)]).parameters())
    2
    """

    def __init__(self, values: Iterable[Any] = ()) -> None:
        self.layers = [*map(_part, values or ())]
        self._made_with = (self.layers,), {}


class _Dict(Module):
    """A dict of parts, which are called `layers` in attribute paths."""

    layers: dict[str, Any]

    def __init__(self, parts: Any = ()) -> None:
        self.layers = {}
        self.update(parts or ())

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __getitem__(self, key: str) -> Any:
        return self.layers[key]

    def __contains__(self, key: str) -> bool:
        return key in self.layers

    def __setitem__(self, key: str, part: Any) -> None:
        self.update({key: part})

    def __delitem__(self, key: str) -> None:
        self.pop(key)

    def keys(self) -> KeysView[str]:
        """The names."""
        return self.layers.keys()

    def values(self) -> ValuesView[Any]:
        """The parts."""
        return self.layers.values()

    def items(self) -> ItemsView[str, Any]:
        """The names and parts."""
        return self.layers.items()

    def update(self, parts: Any) -> None:
        """Put parts of a mapping, or pairs, in the place of those of their names."""
        new = {str(key): self._part(part) for key, part in dict(parts).items()}
        self.layers = self.layers | new
        self._made_with = ((self.layers,), {})

    def pop(self, key: str) -> Any:
        """Take a part out."""
        part = self.layers[key]
        self.layers = {k: x for k, x in self.layers.items() if k != key}
        self._made_with = ((self.layers,), {})
        return part

    @staticmethod
    def _part(part: Any) -> Any:
        return part


class ModuleDict(_Dict):
    """A dict of Modules, with PyTorch's name; a plain dict among the attributes does as well.

    >>> from tensorgrad import nn
    >>> [name for name, _ in ModuleDict({"up": nn.Linear(1, 2)}).named_parameters()]
    ['layers.up.weight', 'layers.up.bias']
    """


class ParameterDict(_Dict):
    """A dict of parameters; of arrays it makes Values. A plain dict of Values does as well.

    >>> import numpy as np
    >>> ParameterDict({"scale": np.ones(2)})["scale"].requires_grad
    True
    """

    @staticmethod
    def _part(part: Any) -> Any:
        return _part(part)


class Residual(Module):
    """x + layers(x), of Modules (or functions) one after the other: He et al. (2016).

    >>> import numpy as np
    >>> Residual(np.square)(np.array([1.0, 3.0]))
    array([ 2., 12.])
    """

    def __init__(self, *layers: Any) -> None:
        self.layers = list(layers)

    def forward(self, x: Any) -> Any:
        out = x
        for layer in self.layers:
            out = layer(out)
        if np.shape(out) != np.shape(x):
            raise ValueError(
                f"Residual: the layers make {np.shape(out)} of {np.shape(x)}, which cannot be added"
            )
        return x + out


class Lambda(Module):
    """A function as a Module. It is no data: a model that has one is saved by its `state_dict`.

    >>> import numpy as np
    >>> Lambda(lambda x: x[..., ::-1])(np.array([1.0, 2.0]))
    array([2., 1.])
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)
