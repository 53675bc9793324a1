"""A network as layers in a row, each a weighted sum and what squashes it: what figures walk along.

Modules of other forms can be drawn where only their answers count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tensorgrad.engine.node import data_of
from tensorgrad.nn import MLP, Layer, Linear, Module, Sequential, Sigmoid
from tensorgrad.nn.module import in_mode
from tensorgrad.nn.scalar import ACTIVATIONS
from tensorgrad.ops.nn.activation import sigmoid
from tensorgrad.train import predict

Array = Any
Function = Callable[[Any], Any]


@dataclass(frozen=True)
class LayerView:
    """One layer: z = W a + b, then the squashing. `weight` and `bias` are None if it has none."""

    weighted: Function
    squash: Function
    squash_name: str
    weight: Array | None
    bias: Array | None

    def __call__(self, a: Any) -> Any:
        return self.squash(self.weighted(a))


def layers_of(model: Any, where: str) -> list[LayerView]:
    """The layers of a Sequential, an MLP or a single layer.

    What has no parameters belongs to the layer before it. TypeError for models of other forms,
    ValueError if nothing has parameters; both name the function `where` it was wanted.
    """
    layers: list[LayerView] = []
    before: list[Function] = []
    for part in _flat(model, where):
        if isinstance(part, Module) and part.parameters():
            layers.append(_view(part, before))
            before = []
        elif layers:
            last = layers[-1]
            names = [last.squash_name, _name(part)] if last.squash_name else [_name(part)]
            squash = _one_after_the_other([last.squash, part])
            layers[-1] = replace(last, squash=squash, squash_name=", ".join(names))
        else:
            before.append(part)
    if not layers:
        raise ValueError(f"{where}: {model!r} has no layer with parameters")
    return layers


def activations_of(layers: Sequence[LayerView], x: Array) -> list[Array]:
    """What each layer answers to `x` (n, inputs), one after the other, as plain arrays."""
    out = []
    for layer in layers:
        x = predict(layer, x)
        out.append(x)
    return out


def evaluating(model: Any) -> AbstractContextManager[None]:
    """A Module in evaluation mode, and afterwards as it was; any other function as it is."""
    return in_mode(model, False) if isinstance(model, Module) else nullcontext()


def answers_of(model: Any, x: Array, where: str) -> Array:
    """The model's answers (n, classes), in eval mode and without a graph; one row per row of x."""
    x = np.asarray(x)
    if x.ndim == 0 or not len(x):
        raise ValueError(f"{where}: needs examples (n, ...), got x of shape {x.shape}")
    with evaluating(model):
        answers = np.asarray(predict(model, x))
    if len(answers) != len(x) or answers.ndim > 2:
        raise ValueError(
            f"{where}: to {x.shape} the model answers {answers.shape}, not one row for each row"
        )
    return answers.reshape(len(x), -1)


def by_class(answers: Array, model: Any, threshold: float | None = None) -> Array:
    """Answers (n, 1) as (n, 2): how far each of two classes is ahead of the other.

    The second one is, above the `threshold`: without it 0.5 if the model ends in an nn.Sigmoid,
    else 0. Answers by more classes stay as they are.
    """
    if answers.shape[1] != 1:
        return answers
    level = (0.5 if _ends_in_sigmoid(model) else 0.0) if threshold is None else threshold
    return np.concatenate([level - answers, answers - level], axis=1)


def _ends_in_sigmoid(model: Any) -> bool:
    last = model
    while hasattr(last, "layers"):
        last = last.layers[-1]
    return isinstance(last, Sigmoid) or last is sigmoid


def classes_of(y: Array, n: int, where: str) -> Array:
    """The right classes (n,), given as labels (n,) or (n, 1), or as rows of 0 and 1."""
    y = np.asarray(y)
    if y.ndim == 2:
        y = y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0]
    if y.shape != (n,):
        raise ValueError(f"{where}: {n} examples need {n} labels, got y of shape {y.shape}")
    return y


def one_example(x: Array, where: str) -> Array:
    """One example (inputs,) as a batch of one. ValueError for another shape."""
    x = np.asarray(data_of(x))
    if x.ndim != 1:
        raise ValueError(f"{where}: draws one example (inputs,), not x of shape {x.shape}: x[0]")
    return x[None]


def _flat(model: Any, where: str) -> Iterator[Any]:
    if isinstance(model, (Sequential, MLP)):
        for part in model.layers:
            nested = isinstance(part, (Sequential, MLP))
            yield from _flat(part, where) if nested else (part,)
    elif isinstance(model, (Linear, Layer)):
        yield model
    else:
        raise TypeError(
            f"{where}: needs layers in a row, an nn.Sequential or nn.MLP, not "
            f"{type(model).__name__}"
        )


def _view(part: Module, before: list[Function]) -> LayerView:
    if isinstance(part, Layer):  # of scalar neurons: the same layer, as matrices
        first = part.neurons[0]
        weight = np.array([[w.item() for w in neuron.w] for neuron in part.neurons])
        bias = np.array([neuron.b.item() for neuron in part.neurons])
        weighted = _one_after_the_other([*before, lambda x: x @ weight.T + bias])
        if not first.nonlin:
            return LayerView(weighted, _same, "", weight, bias)
        squash = ACTIVATIONS.get(first.activation, first.activation)
        return LayerView(weighted, squash, _name(squash), weight, bias)
    weighted = _one_after_the_other([*before, part])
    if not isinstance(part, Linear):
        return LayerView(weighted, _same, "", None, None)
    offset = None if part.bias is None else part.bias.data
    return LayerView(weighted, _same, "", part.weight.data, offset)


def _same(x: Any) -> Any:
    return x


def _one_after_the_other(functions: Sequence[Function]) -> Function:
    def composed(x: Any) -> Any:
        for function in functions:
            x = function(x)
        return x

    return composed


def _name(function: Any) -> str:
    if isinstance(function, Module):
        return type(function).__name__.lower()
    return str(getattr(function, "name", None) or getattr(function, "__name__", "a function"))
