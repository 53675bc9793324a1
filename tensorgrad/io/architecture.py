"""An architecture as JSON data: `describe` a Module, `build` it again.

A Module remembers the arguments it was made with; those are what is written, by name:

>>> from tensorgrad import nn
>>> describe(nn.Sequential(nn.Linear(2, 1, rng=0), nn.Tanh()))
{'class': 'Sequential', 'arguments': {'layers': {'tuple': [{'class': 'Linear', 'arguments': \
{'in_features': 2, 'out_features': 1}}, {'class': 'Tanh', 'arguments': {}}]}}}

What JSON does not know is an object with one key: a tuple, a dtype, or `{"again": n}` for the n-th
Module of the description, met a second time. Generators are left out, for their numbers are drawn.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from tensorgrad.nn.module import Module


def describe(model: Module) -> Any:
    """`model` as JSON data; TypeError for an argument that is no data, such as a function."""
    return _describe(model, type(model).__name__, {})


def _describe(x: Any, where: str, seen: dict[int, int]) -> Any:
    if x is None or isinstance(x, (bool, int, float, str)):
        return x
    if isinstance(x, (np.bool_, np.integer, np.floating)):
        return x.item()
    if isinstance(x, np.dtype) or (isinstance(x, type) and issubclass(x, np.generic)):
        return {"dtype": np.dtype(x).name}
    if isinstance(x, (list, tuple)):
        parts = [_describe(part, f"{where}[{i}]", seen) for i, part in enumerate(x)]
        return {"tuple": parts} if isinstance(x, tuple) else parts
    if not isinstance(x, Module):
        raise TypeError(
            f"cannot save {where} = {x!r}: an architecture is made of numbers, strings, lists, "
            "dtypes and Modules; put a function into forward() of a Module of your own"
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
                k: _describe(v, f"{name}({k})", seen) for k, v in value.items() if k != "rng"
            }
        else:
            arguments[key] = _describe(value, f"{name}({key})", seen)
    return {"class": name, "arguments": arguments}


def build(description: Any, classes: Mapping[str, type[Module]]) -> Module:
    """The Module that `description` describes, its parameters drawn anew.

    Only `classes` are called. ValueError where the description cannot be followed.
    """
    model = _build(description, classes, [])
    if not isinstance(model, Module):
        raise ValueError(f"its architecture is no model: {description!r:.60}")
    return model


def _build(x: Any, classes: Mapping[str, type[Module]], built: list[Any]) -> Any:
    if isinstance(x, list):
        return [_build(part, classes, built) for part in x]
    if not isinstance(x, dict):
        return x
    match x:
        case {"tuple": list(parts)}:
            return tuple(_build(part, classes, built) for part in parts)
        case {"dtype": str(name)}:
            return np.dtype(name)
        case {"again": int(n)} if 0 <= n < len(built):
            return built[n]
        case {"class": str(name), "arguments": dict(arguments)}:
            pass
        case _:
            raise ValueError(f"its architecture is damaged at {x!r:.60}")
    if name not in classes:
        raise ValueError(
            f"it needs the class {name!r}, which tensorgrad.nn does not have: "
            f"load(path, classes=[{name}])"
        )
    place = len(built)
    built.append(None)
    signature = _signature(classes[name])
    if unknown := arguments.keys() - signature.parameters:
        raise ValueError(f"{name} has no argument {', '.join(sorted(unknown))}")
    values = {}
    for key, parameter in signature.parameters.items():
        if key not in arguments:
            continue
        if parameter.kind is parameter.VAR_KEYWORD:
            values[key] = {k: _build(v, classes, built) for k, v in arguments[key].items()}
        else:
            values[key] = _build(arguments[key], classes, built)
    bound = inspect.BoundArguments(signature, values)
    try:
        built[place] = classes[name](*bound.args, **bound.kwargs)
    except Exception as error:
        raise ValueError(f"{name} cannot be built from its arguments: {error}") from error
    return built[place]


def _signature(cls: type[Module]) -> inspect.Signature:
    _, *parameters = inspect.signature(cls.__init__).parameters.values()  # without self
    return inspect.Signature(parameters)


def _by_name(
    cls: type[Module], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> list[tuple[str, inspect.Parameter, Any]]:
    signature = _signature(cls)
    given = signature.bind(*args, **kwargs).arguments
    return [(key, signature.parameters[key], value) for key, value in given.items()]
