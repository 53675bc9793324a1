"""What neurons look for: weights as signed pictures, filters, and the input a neuron likes best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.engine.node import data_of
from tensorgrad.nn import Module
from tensorgrad.transforms.derivatives import grad
from tensorgrad.viz.figures.canvas import SIGNED, as_images, rows_of_pictures, signed_limit
from tensorgrad.viz.figures.layers import LayerView, evaluating, layers_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = Any
MOST = 60  # pictures that still can be read on one page


def first_layer(
    model: Any, shape: tuple[int, int] | None = None, neurons: Sequence[int] | None = None
) -> Figure:
    """The weights into each neuron of the first layer as a picture: blue positive, red negative.

    `model`: an nn.Sequential or nn.MLP, or the weights (neurons, inputs) themselves.
    `shape`: height and width of the input; without it, square. `neurons`: which; the first 60.

    ValueError for inputs that make no picture of that shape, and for neurons that are not there.

    >>> from tensorgrad import nn
    >>> figure = first_layer(nn.Sequential(nn.Linear(64, 3), nn.Sigmoid()))
    >>> [axes.get_title() for axes in figure.axes[:3]]
    ['0', '1', '2']
    """
    where = "first_layer"
    weight = layers_of(model, where)[0].weight if isinstance(model, Module) else data_of(model)
    if weight is None:
        raise ValueError(f"{where}: the first layer is no nn.Linear; for kernels there is filters")
    pictures = as_images(weight, shape, where)
    chosen = _chosen(neurons, len(pictures), where)
    if neurons is None:
        chosen = chosen[:MOST]
    limit = signed_limit(pictures)
    return rows_of_pictures(
        [pictures[i] for i in chosen],
        [f"{i}" for i in chosen],
        "Weights into each neuron of the first layer" + _of(len(chosen), len(pictures)),
        limits=(-limit, limit),
        cmap=SIGNED,
        scale="weight",
    )


def filters(kernels: Any) -> Figure:
    """Convolution kernels as signed pictures: blue positive, red negative (Nielsen ch. 6).

    `kernels`: an array or Value (filters, height, width) or (filters, channels, height, width), of
    which each filter then has one row; or a Module, whose first parameter of four axes is drawn.

    ValueError for other shapes.

    >>> [axes.get_title() for axes in filters(np.ones((2, 5, 5))).axes[:2]]
    ['0', '1']
    """
    if isinstance(kernels, Module):
        found = [p for p in kernels.parameters() if p.ndim == 4]
        if not found:
            raise ValueError(f"filters: {kernels!r} has no kernels, parameters of four axes")
        kernels = found[0]
    array = np.asarray(data_of(kernels))
    if array.ndim not in (3, 4) or not array.size:
        raise ValueError(
            f"filters: kernels come as (filters, [channels,] height, width), not as {array.shape}"
        )
    channels = 1 if array.ndim == 3 else array.shape[1]
    most = max(1, MOST // channels)
    chosen = array[:most].reshape(-1, *array.shape[-2:])
    names = [f"{i}" for i in range(len(chosen))]
    if channels > 1:
        names = [f"{i // channels}, {i % channels}" for i in range(len(chosen))]
    limit = signed_limit(array)
    return rows_of_pictures(
        list(chosen),
        names,
        ("Filters" if channels == 1 else "Filters, by channel")
        + _of(len(chosen) // channels, len(array)),
        limits=(-limit, limit),
        cmap=SIGNED,
        scale="weight",
        columns=10 if channels == 1 else channels,
    )


def maximise(
    model: Any,
    neurons: Sequence[int] | None = None,
    layer: int = -1,
    *,
    within: tuple[float, float] = (0.0, 1.0),
    start: float | None = None,
    steps: int = 200,
    lr: float = 0.05,
) -> Array:
    """The inputs that excite each neuron most, (neurons, inputs), by gradient ascent on the input.

    Each step moves the input along the gradient of the neuron's weighted input z, which grows with
    its activation and has no flat ends, and clips it to `within`. The gradient is scaled to make
    the largest move `lr`: what does not matter stays as it was. `start`: every pixel at first, mid
    grey where nothing is said; a blank sheet where that leaves all neurons before flat.
    `layer`: which one, from 0; -1 is the last. `neurons`: which; all.

    >>> from tensorgrad import nn
    >>> model = nn.Sequential(nn.Linear(3, 1), nn.Sigmoid())
    >>> model[0].weight.data = np.array([[2.0, -1.0, 0.0]])
    >>> maximise(model)
    array([[1. , 0. , 0.5]], dtype=float32)
    """
    layers, chosen = _the_way_to(model, neurons, layer, "maximise")
    rows = np.arange(len(chosen))
    first = layers[0].weight
    if first is None:
        raise ValueError("maximise: the first layer is no nn.Linear: its inputs are not known")

    def excitement(x: Any) -> Any:
        for before in layers[:-1]:
            x = before(x)
        return layers[-1].weighted(x)[rows, chosen].sum()

    low, high = within
    start = (low + high) / 2 if start is None else start
    x = np.full((len(chosen), first.shape[1]), start, first.dtype)
    uphill = grad(excitement)
    with evaluating(model):
        for _ in range(steps):
            g = data_of(uphill(x))
            largest = np.abs(g).max(axis=1, keepdims=True)
            x = np.clip(x + lr * g / np.where(largest > 0, largest, 1), low, high)
    return x


def maximising_inputs(
    model: Any,
    shape: tuple[int, int] | None = None,
    neurons: Sequence[int] | None = None,
    layer: int = -1,
    **options: Any,
) -> Figure:
    """The input that maximises each neuron, as a picture, with the activation that it reaches.

    What the network would most like to see; 3Blue1Brown asks whether it looks like a digit.
    `shape` and `neurons` as in `first_layer`, `layer` and the options as in `maximise`.

    >>> from tensorgrad import nn
    >>> figure = maximising_inputs(nn.Sequential(nn.Linear(64, 2), nn.Sigmoid()), steps=5)
    >>> len(figure.axes)
    3
    """
    layers, chosen = _the_way_to(model, neurons, layer, "maximising_inputs")
    n = len(chosen)
    if neurons is None:
        chosen = chosen[:MOST]
    x: Array = maximise(model, chosen, layer, **options)
    pictures = as_images(x, shape, "maximising_inputs")
    with evaluating(model):
        a: Array = x
        for step in layers:
            a = data_of(step(a))
    low, high = options.get("within", (0.0, 1.0))
    last = len(layers) == len(layers_of(model, ""))
    whose = "the output" if last else f"layer {len(layers)}"
    return rows_of_pictures(
        list(pictures),
        [f"{i}: {a[row, i]:.2f}" for row, i in enumerate(chosen)],
        f"The input that maximises each neuron of {whose}" + _of(len(chosen), n),
        limits=(low, high),
        cmap="gray_r",
        scale="input",
        columns=5,
    )


def _the_way_to(
    model: Any, neurons: Sequence[int] | None, layer: int, where: str
) -> tuple[list[LayerView], list[int]]:
    """The layers up to this one, and the neurons in it that were asked for."""
    layers = layers_of(model, where)
    if not -len(layers) <= layer < len(layers):
        raise ValueError(f"{where}: layer={layer}, but there are {len(layers)} (0 is the first)")
    layers = layers[: layer % len(layers) + 1]
    weight = layers[-1].weight
    if weight is None:
        raise ValueError(f"{where}: layer {layer} is no nn.Linear")
    return layers, _chosen(neurons, len(weight), where)


def _chosen(neurons: Sequence[int] | None, n: int, where: str) -> list[int]:
    chosen = list(range(n)) if neurons is None else list(neurons)
    wrong = [i for i in chosen if not 0 <= i < n]
    if wrong or not chosen:
        raise ValueError(f"{where}: neurons={chosen}, but there are {n}, from 0 to {n - 1}")
    return chosen


def _of(shown: int, n: int) -> str:
    return "" if shown == n else f" ({shown} of {n})"
