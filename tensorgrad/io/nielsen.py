"""Networks as the JSON that network2.py of Nielsen's book saves and loads:

    {"sizes": [784, 30, 10], "weights": [...], "biases": [...], "cost": "CrossEntropyCost"}

Weights are (out, in) each, biases columns (out, 1); every neuron is a sigmoid.
"""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np

from tensorgrad.files import PathLike, write
from tensorgrad.io.architecture import MOST_CALLS
from tensorgrad.io.tensors import ModelFileError
from tensorgrad.nn.activation import Sigmoid
from tensorgrad.nn.container import Sequential
from tensorgrad.nn.linear import Linear
from tensorgrad.nn.module import Module

COSTS = ("CrossEntropyCost", "QuadraticCost")


def save_json(model: Module, path: PathLike, cost: str = "CrossEntropyCost") -> None:
    """Write a Sequential of Linear and Sigmoid, in turn, for network2.py; `cost`: its class there.

    A layer without biases has zeros there. ValueError for another model or cost, OSError if the
    file cannot be written; what was there before then stays.

    Source: M. Nielsen, Neural Networks and Deep Learning, ch. 3, network2.py, `Network.save`.

    >>> import tempfile
    >>> from tensorgrad import nn
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Sigmoid(), nn.Linear(3, 1), nn.Sigmoid())
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_json(model, f"{folder}/network.json")
    ...     load_json(f"{folder}/network.json")(np.ones((5, 2))).shape
    (5, 1)
    """
    if cost not in COSTS:
        raise ValueError(f"network2.py has the costs {' and '.join(COSTS)}, not {cost!r:.60}")
    layers = list(model) if isinstance(model, Sequential) else [model]
    linear = layers[::2]
    for i, layer in enumerate(layers if layers and not len(layers) % 2 else [*layers, None]):
        if not isinstance(layer, Sigmoid if i % 2 else Linear):
            here = "the last is missing" if layer is None else f"layer {i} is {layer!r:.60}"
            raise ValueError(
                f"network2.py has linear layers with a sigmoid after each; here {here}"
            )
    content = {
        "sizes": [linear[0].in_features, *(layer.out_features for layer in linear)],
        "weights": [layer.weight.data.tolist() for layer in linear],
        "biases": [
            np.zeros((layer.out_features, 1)).tolist()
            if layer.bias is None
            else layer.bias.data[:, None].tolist()
            for layer in linear
        ],
        "cost": cost,
    }
    write(path, json.dumps(content))


def load_json(path: PathLike) -> Sequential:
    """The network in a file that network2.py or `save_json` wrote: float64, the numbers exactly.

    ModelFileError, a ValueError, naming the file, for anything else. OSError if it cannot be read.
    A file from a stranger is safe to load.
    """
    with open(path, "rb") as file:
        content = file.read()
    try:
        network = json.loads(content)
        sizes = network["sizes"]
        weights, biases = ([array(x) for x in network[name]] for name in ("weights", "biases"))
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        said = f"no network of network2.py: {type(error).__name__} {error}"
        raise ModelFileError(path, said) from error
    shapes = [(out, n) for n, out in pairwise(sizes)] if isinstance(sizes, list) else []
    columns = [(out, 1) for out, _ in shapes]
    if not shapes or ([w.shape for w in weights], [b.shape for b in biases]) != (shapes, columns):
        raise ModelFileError(path, "no network of network2.py: weights and biases are not of sizes")
    if 2 * len(shapes) > MOST_CALLS:
        raise ModelFileError(path, f"{len(shapes):,} layers, at most {MOST_CALLS // 2:,}")
    layers: list[Module] = []
    for weight, bias in zip(weights, biases):
        layer = Linear(weight.shape[1], len(weight), dtype="float64", rng=0)
        layer.weight.data, layer.bias.data = weight, bias[:, 0]  # type: ignore[union-attr]
        layers += [layer, Sigmoid()]
    return Sequential(*layers)


def array(numbers: Any) -> Any:
    """Nested lists of numbers as an array. ValueError for what is none."""
    x = np.array(numbers)
    if x.dtype.kind not in "if" or not x.size:
        raise ValueError("an array of numbers is missing")
    return x.astype(np.float64)
