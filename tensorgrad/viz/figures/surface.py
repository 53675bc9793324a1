"""The cost around a model: a surface over two directions in the space of all its parameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.nn import Module, Neuron
from tensorgrad.train import predict
from tensorgrad.viz.figures.canvas import LABEL, caption, sheet
from tensorgrad.viz.figures.layers import evaluating

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = Any
State = dict[str, Array]


def directions(model: Module, rng: Any = 0) -> tuple[State, State]:
    """Two random directions, by the parameters' names, in the scale of the parameters themselves.

    Drawn from N(0, 1); then each neuron's part (a row of a weight, the weights of an nn.Neuron)
    gets the length of that neuron's weights, and biases do not move: H. Li et al., "Visualizing the
    Loss Landscape of Neural Nets" (2018), section 4. Surfaces of different models can be compared
    so. ValueError for a model without such weights, or with all of them 0.

    >>> from tensorgrad import nn
    >>> a, b = directions(nn.Linear(3, 2))
    >>> {name: x.shape for name, x in a.items()}
    {'weight': (2, 3), 'bias': (2,)}
    """
    rng = np.random.default_rng(rng)
    a, b = _direction(model, rng), _direction(model, rng)
    if not any(d.any() for d in a.values()):
        raise ValueError(
            f"directions: {model!r} has no rows of weights, or all are 0, so there is no scale; "
            "loss_surface takes directions of your own, along=(a, b)"
        )
    return a, b


def _direction(model: Module, rng: np.random.Generator) -> State:
    direction = {}
    for name, p in model.named_parameters():
        d = rng.standard_normal(p.shape).reshape(p.shape)
        direction[name] = _scaled(d, p.data) if p.ndim > 1 else np.zeros(p.shape)
    for name, module in model.named_modules():
        if isinstance(module, Neuron):
            names = [f"{name}.w.{i}".lstrip(".") for i in range(len(module.w))]
            weights = np.array([[w.item() for w in module.w]])
            row = _scaled(rng.standard_normal(weights.shape), weights)[0]
            direction.update(zip(names, row))
    return direction


def _scaled(d: Array, weight: Array) -> Array:
    """A direction with each row as long as that of the weight."""
    long, wanted = (np.linalg.norm(np.reshape(a, (len(a), -1)), axis=1) for a in (d, weight))
    return d * (wanted / long).reshape(-1, *[1] * (d.ndim - 1))


def costs(
    model: Module,
    loss: Callable[..., Any],
    x: Array,
    y: Array,
    along: tuple[State, State],
    steps: Sequence[float],
) -> Array:
    """The cost at θ + s d₁ + t d₂, for s and t in `steps`: (len(t), len(s)). The model stays as is.

    `along`: d₁ and d₂, as `directions` draws them. ValueError for names or shapes that are not the
    model's.
    """
    nodes = {name: p.node for name, p in model.named_parameters()}
    start = {name: node.data for name, node in nodes.items()}
    out = np.empty((len(steps), len(steps)))
    for direction in along:
        shapes = {name: np.shape(d) for name, d in direction.items()}
        if shapes != {name: p.shape for name, p in start.items()}:
            raise ValueError(f"loss_surface: directions need the shapes of {model!r}'s parameters")
    try:
        with evaluating(model), np.errstate(over="ignore"):
            for (row, column), _ in np.ndenumerate(out):
                s, t = steps[column], steps[row]
                for name, node in nodes.items():
                    moved = s * along[0][name] + t * along[1][name]
                    node.data = start[name] + moved.astype(start[name].dtype)
                out[row, column] = loss(predict(model, x), y)
    finally:
        for name, node in nodes.items():  # the same arrays, not copies
            node.data = start[name]
    return out


def loss_surface(
    model: Module,
    loss: Callable[..., Any],
    x: Array,
    y: Array,
    along: tuple[State, State] | None = None,
    *,
    reach: float = 1.0,
    points: int = 31,
) -> Figure:
    """The cost on `x`, `y` around the model, as a surface and as a map; the model is in the middle.

    `loss`: of (model(x), y), as in `fit`. `along`: two directions; without them those of
    `directions(model)`. `reach`: so many times the directions to each side. `points`: along each
    side, so the cost is computed points² times. The model stays as it is.

    >>> from tensorgrad import nn
    >>> x, y = np.eye(2), np.zeros((2, 1))
    >>> figure = loss_surface(nn.Linear(2, 1), nn.functional.quadratic, x, y, points=5)
    >>> figure.axes[1].get_title()
    'Seen from above'
    """
    if points < 3 or not reach > 0:
        raise ValueError(
            f"loss_surface: points={points}, reach={reach}: needs 3 points, and a reach above 0"
        )
    steps = np.linspace(-reach, reach, points)
    height = costs(model, loss, x, y, along or directions(model), steps.tolist())
    if not np.isfinite(height).all():
        raise ValueError(f"loss_surface: the cost is not finite everywhere; try less than {reach}")
    figure = sheet(11.0, 4.8)
    solid: Any = figure.add_subplot(1, 2, 1, projection="3d")
    flat = figure.add_subplot(1, 2, 2)
    solid.plot_surface(*np.meshgrid(steps, steps), height, cmap="viridis", linewidth=0)
    caption(solid, "Cost around the model", "along $d_1$", "along $d_2$")
    solid.set_zlabel("cost", fontsize=LABEL, labelpad=8)
    solid.locator_params(nbins=5)
    drawn = flat.contourf(steps, steps, height, 24, cmap="viridis")
    flat.contour(steps, steps, height, 24, colors="white", linewidths=0.4)
    flat.plot(0, 0, marker="*", markersize=18, color="white", markeredgecolor="black")
    flat.annotate(
        "model",
        (0, 0),
        xytext=(10, 8),
        textcoords="offset points",
        color="white",
        fontsize=LABEL,
        fontweight="bold",
    )
    flat.set_aspect("equal")
    flat.locator_params(nbins=5)
    caption(flat, "Seen from above", "along $d_1$", "along $d_2$")
    figure.colorbar(drawn, ax=flat).set_label("cost", fontsize=LABEL)
    return figure
