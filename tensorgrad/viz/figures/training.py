"""How training went: cost and accuracy by epoch, and the length of the gradient in each layer.

What to record while `fit` trains: cost and accuracy by `validation`, the rest by `callbacks`.

norms = GradientNorms(model, loss, x, y)
sets = {"test": (x_test, y_test), "training": (x, y)}
history = tg.fit(..., validation=sets, callbacks=[norms])
learning_curves(history)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.nn import Module, Neuron
from tensorgrad.train import Epoch, accuracy, predict
from tensorgrad.transforms.derivatives import grad
from tensorgrad.viz.figures.canvas import COLOURS, LABEL, MARKERS, caption, plain, sheet
from tensorgrad.viz.figures.layers import evaluating

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = Any
Curve = tuple[str, Sequence[float | None]]


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


def learning_curves(
    history: Sequence[Epoch], training: Sequence[Epoch] | None = None, metric: str = "accuracy"
) -> Figure:
    """Cost and accuracy on training and evaluation data, by epoch (Nielsen ch. 3: overfitting).

    `history`: what `fit` returned, with the evaluation data given to it as `validation`.
    `training`: the `history` of a `Monitor` on the training data; without it, what `fit` measured
    on a validation set with the name "training"; else the training cost is the mean over the
    epoch's batches, and the training accuracy is not known.
    `metric`: what to call that axis; numbers from 0 to 1 are drawn as percentages.

    ValueError for a history without epochs.

    >>> history = [Epoch(1, 0.9, 1.0, 0.7, 0.1), Epoch(2, 0.4, 0.8, 0.8, 0.2)]
    >>> [axes.get_title() for axes in learning_curves(history).axes]
    ['Cost', 'Accuracy']
    """
    if not history:
        raise ValueError("learning_curves: the history has no epochs; train for at least one")
    if training is not None and [e.epoch for e in training] != [e.epoch for e in history]:
        raise ValueError(
            f"learning_curves: the history has {len(history)} epochs, training={len(training)} "
            "others: pass the history of a Monitor of the same run"
        )
    epochs = [line.epoch for line in history]
    if training is None and "training_loss" in history[0].measures:
        training = [
            line._replace(
                loss=line.measures["training_loss"],
                accuracy=line.measures.get(f"training_{metric}"),
            )
            for line in history
        ]
    costs: list[Curve] = [
        ("training", [line.loss for line in training or history]),
        ("evaluation", [line.validation_loss for line in history]),
    ]
    scores: list[Curve] = [
        ("training", [line.accuracy for line in training or ()]),
        ("evaluation", [line.accuracy for line in history]),
    ]
    panels = [("Cost", costs)]
    if any(_known(values) for _, values in scores):
        panels.append((plain(metric.capitalize()), scores))
    figure = sheet(5.2 * len(panels), 4.0)
    for axes, (title, curves) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels):
        _curves(axes, epochs, curves)
        caption(axes, title, "epoch", title.lower())
        if title != "Cost":
            known = [x for _, values in curves for x in values if x is not None]
            if all(0 <= x <= 1 for x in known):
                axes.yaxis.set_major_formatter(lambda x, _: f"{100 * x:.4g} %")
    return figure


def gradient_norms(norms: GradientNorms, parameters: str = "biases") -> Figure:
    """The length of each layer's gradient over training: the vanishing gradient of Nielsen ch. 5.

    `norms`: a `GradientNorms` that watched the training. `parameters`: "biases", "weights" or
    "all", as in `GradientNorms.by_layer`. The scale is logarithmic: gradients of 0 are not drawn.

    >>> from tensorgrad import nn
    >>> model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Sigmoid(), nn.Linear(3, 1, rng=1))
    >>> norms = GradientNorms(model, nn.functional.quadratic, np.ones((4, 2)), np.ones((4, 1)))
    >>> [line.get_label() for line in gradient_norms(norms).axes[0].lines]
    ['layer 1', 'layer 2']
    """
    by_layer = norms.by_layer(parameters)
    symbol = {"biases": r"$\|\partial C/\partial b\|$", "weights": r"$\|\partial C/\partial W\|$"}
    figure = sheet(8.0, 4.5)
    axes = figure.subplots()
    for i, values in enumerate(by_layer.values()):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        drawn = np.where(values > 0, values, np.nan)
        axes.plot(
            norms.epochs,
            drawn,
            color=colour,
            marker=marker,
            markevery=_every(norms.epochs),
            label=f"layer {i + 1}",
        )
    if any(np.any(values > 0) for values in by_layer.values()):
        axes.set_yscale("log")
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)
    title = "Length of the gradient, layer by layer"
    caption(axes, title, "epoch", symbol.get(parameters, r"$\|\nabla C\|$"))
    figure.legend(loc="outside right center", fontsize=LABEL)
    return figure


def _known(values: Sequence[float | None]) -> bool:
    return any(x is not None for x in values)


def _curves(axes: Axes, epochs: Sequence[int], curves: Sequence[Curve]) -> None:
    styles: Any = {"training": ("--", "^"), "evaluation": ("-", "o")}
    for colour, (name, values) in zip(reversed(COLOURS[:2]), curves):
        if _known(values):
            y = [np.nan if x is None else x for x in values]
            line, marker = styles[name]
            axes.plot(
                epochs,
                y,
                color=colour,
                linestyle=line,
                marker=marker,
                markevery=_every(epochs),
                label=name,
            )
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=LABEL)


def _every(epochs: Sequence[int]) -> int:
    """Marks for a dozen points, however long the run."""
    return max(1, len(epochs) // 12)
