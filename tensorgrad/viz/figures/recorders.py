"""What to record while `fit` trains, to draw afterwards: pass one as `on_epoch`, or call several.

norms = GradientNorms(model, loss, x, y)
training = Monitor(model, loss, x, y)

def watch(line):
    norms(line)
    training(line)

history = tg.fit(model, batches, loss, optimizer, epochs=30, on_epoch=watch)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tensorgrad.nn import Module, Neuron
from tensorgrad.train import Epoch, accuracy, predict
from tensorgrad.transforms.derivatives import grad
from tensorgrad.viz.figures.layers import evaluating

Array = Any


class Monitor:
    """Cost and accuracy on a data set of your choice: one of the monitors of Nielsen's network2.

    `history` has one `Epoch` for each call: `loss` and `accuracy` are those on `x`, `y`.
    `metric`: as in `fit`; None records the cost alone.

    >>> from tensorgrad import nn
    >>> model = nn.Linear(2, 2, rng=0)
    >>> x, y = np.eye(2), np.array([0, 1])
    >>> monitor = Monitor(model, nn.functional.cross_entropy, x, y)
    >>> monitor(Epoch(1, 0.7, None, None, 0.1))
    >>> monitor.history[0].accuracy
    0.5
    """

    def __init__(
        self,
        model: Module,
        loss: Callable[..., Any],
        x: Array,
        y: Array,
        metric: Callable[..., float] | None = accuracy,
    ) -> None:
        self.model, self.loss, self.x, self.y, self.metric = model, loss, x, y, metric
        self.history: list[Epoch] = []

    def __call__(self, line: Epoch) -> None:
        with evaluating(self.model):
            answers = predict(self.model, self.x)
        score = None if self.metric is None else self.metric(answers, self.y)
        cost = float(self.loss(answers, self.y))
        self.history.append(line._replace(loss=cost, validation_loss=None, accuracy=score))


class GradientNorms:
    """How long the gradient is, layer by layer: Nielsen ch. 5, "the unstable gradient problem".

    Measured on all of `x`, `y` at once, when it is made (after `epoch` epochs) and at each call;
    `.grad` is left alone. `loss`: of (model(x), y), as in `fit`. `epochs`: when it was measured.
    `norms`: by the parameter's name.

    >>> from tensorgrad import nn
    >>> model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Sigmoid(), nn.Linear(3, 1, rng=1))
    >>> norms = GradientNorms(model, nn.functional.quadratic, np.ones((4, 2)), np.ones((4, 1)))
    >>> norms.epochs, list(norms.by_layer("biases"))
    ([0], ['layers.0', 'layers.2'])
    """

    def __init__(
        self, model: Module, loss: Callable[..., Any], x: Array, y: Array, *, epoch: int = 0
    ) -> None:
        self.model, self.loss, self.x, self.y = model, loss, x, y
        self.epochs: list[int] = []
        self.norms: dict[str, list[float]] = {name: [] for name, _ in model.named_parameters()}
        if not self.norms:
            raise ValueError(f"GradientNorms: {model!r} has no parameters")
        self._layers = dict(_layers_of_parameters(model))
        self._measure(epoch)

    def __call__(self, line: Epoch) -> None:
        self._measure(line.epoch)

    def _measure(self, epoch: int) -> None:
        with evaluating(self.model):
            gradient = grad(lambda model: self.loss(model(self.x), self.y))(self.model)
        for name, p in gradient.named_parameters():
            self.norms[name].append(float(np.linalg.norm(p.data)))
        self.epochs.append(epoch)

    def by_layer(self, parameters: str = "biases") -> dict[str, Array]:
        """The norm over the parameters of each layer together, (measurements,), by layer.

        `parameters`: "biases" (‖∂C/∂b‖, which is Nielsen's ‖δ‖), "weights" or "all". ValueError for
        another word, and if the model has none of these.
        """
        if parameters not in ("biases", "weights", "all"):
            raise ValueError(f'parameters={parameters!r}: choose "biases", "weights" or "all"')
        squares: dict[str, Array] = {}
        for name, norms in self.norms.items():
            kind = "biases" if name.rpartition(".")[2] in ("b", "bias") else "weights"
            if parameters in (kind, "all"):
                layer = self._layers[name]
                squares[layer] = squares.get(layer, 0.0) + np.square(norms)
        if not squares:
            raise ValueError(f'the model has no {parameters}: pass parameters="all"')
        return {layer: np.sqrt(square) for layer, square in squares.items()}


def _layers_of_parameters(model: Module) -> list[tuple[str, str]]:
    """Each parameter's name and that of the Module it belongs to; scalar neurons make one layer."""
    modules = {name for name, m in model.named_modules() if not isinstance(m, Neuron)}
    pairs = []
    for name, _ in model.named_parameters():
        layer = name
        while layer and layer not in modules:
            layer = layer.rpartition(".")[0]
        pairs.append((name, layer))
    return pairs
