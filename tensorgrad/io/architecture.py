"""An architecture as JSON data: `describe` a Module, `build` it again.

A Module remembers the arguments it was made with; those are what is written, by name:

>>> from tensorgrad import nn
>>> describe(nn.Sequential(nn.Linear(2, 1, rng=0), nn.Tanh()))
{'class': 'Sequential', 'arguments': {'layers': {'tuple': [{'class': 'Linear', 'arguments': \
{'in_features': 2, 'out_features': 1}}, {'class': 'Tanh', 'arguments': {}}]}}}

What JSON does not know is an object with one key: a tuple, a dict, a dtype, or `{"again": n}` for
the n-th Module of the description, met a second time. Generators are left out, for their numbers
are drawn.

A description may come from a stranger. It is followed only as far as the numbers go that it comes
with, and only so deep and so often that what it makes can be run: see `Builder`.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorgrad.engine.dtypes import is_numeric
from tensorgrad.engine.node import within
from tensorgrad.nn.init import taking
from tensorgrad.nn.module import Module

DEEPEST = 200  # levels of a description: a hundred Modules, each within the other's tuple
MOST_CALLS = 10_000  # of Modules in one forward, a Module that is met again counted again
HOLDERS = (dict, list)
SPARE = 10_000  # numbers that may be drawn besides those of the file, for Modules made of others


def describe(model: Module) -> Any:
    """`model` as JSON data; TypeError for an argument that is no data, such as a function.

    ValueError for one that is nested too deeply, such as a list that contains itself.
    """
    return _describe(model, type(model).__name__, {})


def _describe(x: Any, where: str, seen: dict[int, int], depth: int = 0) -> Any:
    if depth > DEEPEST:
        raise ValueError(f"cannot save {where[:60]}...: it is nested more than {DEEPEST} deep")
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    if isinstance(x, (np.bool_, np.integer, np.floating)):
        return x.item()
    if isinstance(x, np.dtype) or (isinstance(x, type) and issubclass(x, np.generic)):
        return {"dtype": np.dtype(x).name}
    if isinstance(x, np.ndarray) and x.dtype.kind in "biuf":  # weights of classes, say
        return {"array": x.tolist(), "of": x.dtype.name}
    if isinstance(x, (list, tuple)):
        parts = [_describe(part, f"{where}[{i}]", seen, depth + 1) for i, part in enumerate(x)]
        return {"tuple": parts} if isinstance(x, tuple) else parts
    if isinstance(x, dict) and all(isinstance(key, str) for key in x):
        named = {k: _describe(part, f"{where}[{k!r}]", seen, depth + 1) for k, part in x.items()}
        return {"dict": named}
    if not isinstance(x, Module):
        raise TypeError(
            f"cannot save {where} = {x!r}: an architecture is made of numbers, strings, lists, "
            "dtypes and Modules; put a function into forward() of a Module of your own"
        )
    if "parametrizations" in vars(x):
        raise TypeError(
            f"cannot save {where}: its parameters are computed of others, which its arguments do "
            "not tell; save model.state_dict(), or remove_parametrizations first"
        )
    if id(x) in seen:
        return {"again": seen[id(x)]}
    seen[id(x)] = len(seen)
    name, (args, kwargs) = type(x).__name__, x._made_with
    arguments = {}
    for key, parameter, value in _by_name(type(x), args, kwargs):
        if key == "rng":
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            arguments[key] = {
                k: _describe(v, f"{name}({k})", seen, depth + 1)
                for k, v in value.items()
                if k != "rng"
            }
        else:
            arguments[key] = _describe(value, f"{name}({key})", seen, depth + 1)
    return {"class": name, "arguments": arguments}


def build(description: Any, classes: Mapping[str, type[Module]], numbers: int) -> Module:
    """The Module that `description` describes, its parameters not drawn but 0.

    Only `classes` are called. `numbers`: how many there are to be put in place of the zeros, in
    parameters and buffers. ValueError, with the place, where the description cannot be followed.
    """
    builder = Builder(classes, numbers)
    model = within(taking, builder.rng.take, builder.build, (description, "architecture"), {})
    if not isinstance(model, Module):
        raise ValueError(f"architecture: {description!r:.60} is no model")
    return model


class Builder:
    """Follows one description, and counts what it costs before it is spent.

    Depth, for a deep model could be built but not run. Calls, for thirty lines that each name the
    line before twice make a forward of a billion. Numbers, for a line can ask for any size.
    """

    def __init__(self, classes: Mapping[str, type[Module]], numbers: int) -> None:
        # A layer draws a weight, and at most as many numbers again for a bias; what is copied was
        # made before, within what is copied too.
        self.classes, self.rng = classes, Blank(4 * numbers + SPARE)
        self.built: list[Module | None] = []  # None while it is being built
        self.calls: list[int] = []  # in a forward of each
        self.called = 0

    def build(self, x: Any, where: str, depth: int = 0) -> Any:
        """What a part of the description describes."""
        if depth > DEEPEST:
            raise wrong(where, f"nested more than {DEEPEST} deep")
        if isinstance(x, list):
            return [
                self.build(part, f"{where}[{i}]", depth + 1) if isinstance(part, HOLDERS) else part
                for i, part in enumerate(x)
            ]
        match x:
            case {"tuple": list(parts)}:
                return tuple(self.build(parts, where, depth))
            case {"dict": dict(named)}:
                return {k: self.build(part, f"{where}[{k!r}]", depth) for k, part in named.items()}
            case {"dtype": str(name)}:
                return number_type(name, where)
            case {"array": values, "of": str(name)}:
                return array_of(values, number_type(name, where), where)
            case {"again": bool()}:
                pass
            case {"again": int(n)} if 0 <= n < len(self.built):
                self.count(self.calls[n], where)
                if self.built[n] is None:
                    raise wrong(where, "a part that contains itself")
                return self.built[n]
            case {"class": str(name), "arguments": dict(arguments)}:
                return self.module(name, arguments, where, depth)
            case _ if not isinstance(x, dict):
                return x
        raise wrong(where, f"damaged at {x!r:.60}")

    def module(self, name: str, arguments: dict[str, Any], where: str, depth: int) -> Module:
        if name not in self.classes:
            raise wrong(
                where,
                f"it needs the class {name!r:.60}, which tensorgrad.nn does not have: "
                f"load(path, classes=[{name:.60}])",
            )
        cls, place, before = self.classes[name], len(self.built), self.called
        self.built.append(None)
        self.calls.append(0)
        self.count(1, where)
        signature = _signature(cls)
        if unknown := arguments.keys() - (signature.parameters.keys() - {"rng"}):
            raise wrong(where, f"{name} has no argument {min(unknown):.60}")
        values: dict[str, Any] = {}
        for key, parameter in signature.parameters.items():
            if key not in arguments:
                continue
            kind, given = parameter.kind, f"{where}.{key}"
            if kind is inspect.Parameter.VAR_KEYWORD:
                values[key] = self.keywords(arguments[key], given, depth + 1)
                continue
            values[key] = self.build(arguments[key], given, depth + 1)
            if kind is inspect.Parameter.VAR_POSITIONAL and type(values[key]) is not tuple:
                raise wrong(given, f"damaged at {values[key]!r:.60}")
        bound = inspect.BoundArguments(signature, values)
        args, kwargs = bound.args, bound.kwargs
        drawn = {"rng": self.rng} if self.draws(cls, signature) else {}
        try:
            model = cls(*args, **kwargs, **drawn)
        except Exception as error:  # a class may meet anything in its arguments
            said = str(error) or type(error).__name__
            raise wrong(where, f"{name} cannot be built from its arguments: {said}") from error
        model._made_with = args, kwargs
        for _, part in model.named_modules():
            if isinstance(vars(part).get("rng"), Blank):  # what draws while it runs: not zeros
                part.rng = None
        self.built[place], self.calls[place] = model, self.called - before
        return model

    def draws(self, cls: type[Module], signature: inspect.Signature) -> bool:
        """Whether a class of ours takes a generator. Another's may want honest numbers of it."""
        takes = "rng" in signature.parameters or any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in signature.parameters.values()
        )
        return takes and cls.__module__.startswith("tensorgrad.nn.")

    def keywords(self, x: Any, where: str, depth: int) -> dict[str, Any]:
        if not isinstance(x, dict) or "rng" in x:
            raise wrong(where, f"damaged at {x!r:.60}")
        return {key: self.build(part, f"{where}.{key}", depth) for key, part in x.items()}

    def count(self, calls: int, where: str) -> None:
        self.called += calls
        if self.called > MOST_CALLS:
            raise wrong(where, f"more than {MOST_CALLS:,} calls of Modules in one forward")


def wrong(where: str, reason: str) -> ValueError:
    """What is wrong at a place, of which a long path is not what matters."""
    return ValueError(f"{where if len(where) < 80 else where[:77] + '...'}: {reason}")


class Blank(np.random.Generator):
    """Draws zeros, for numbers that the file's replace, and no more than there is room for."""

    def __init__(self, room: int) -> None:
        super().__init__(np.random.PCG64(0))
        self.room = room

    def take(self, n: int) -> None:
        self.room -= 1 + n
        if self.room < 0:
            raise ValueError(f"it makes {n} numbers, more than the file has")

    def zeros(self, size: Any) -> Any:
        self.take(math.prod(size) if isinstance(size, (tuple, list)) else size or 0)
        return np.zeros(() if size is None else size)

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
        return self.zeros(size)

    def normal(self, loc: Any = 0.0, scale: Any = 1.0, size: Any = None) -> Any:
        return self.zeros(size)

    def standard_normal(self, size: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return self.zeros(size)


def number_type(name: str, where: str) -> np.dtype[Any]:
    """The dtype of that name; NumPy's has many spellings more, some of a billion numbers."""
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError, SyntaxError):
        dtype = np.dtype(object)
    if not is_numeric(dtype) or dtype.name != name:
        raise wrong(where, f"no type of number is called {name!r:.60}")
    return dtype


def array_of(numbers: Any, dtype: np.dtype[Any], where: str) -> np.ndarray[Any, Any]:
    """Nested lists of numbers as an array."""
    try:
        array = np.array(numbers)
    except ValueError:
        array = np.array(None)
    if array.dtype.kind not in "biuf":
        raise wrong(where, f"no array of numbers: {numbers!r:.60}")
    return array.astype(dtype)


def _signature(cls: type[Module]) -> inspect.Signature:
    if cls.__init__ is object.__init__:
        return inspect.Signature()
    _, *parameters = inspect.signature(cls.__init__).parameters.values()  # without self
    return inspect.Signature(parameters)


def _by_name(
    cls: type[Module], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[tuple[str, inspect.Parameter, Any]]:
    signature = _signature(cls)
    given = signature.bind(*args, **kwargs).arguments
    return [(key, signature.parameters[key], value) for key, value in given.items()]
