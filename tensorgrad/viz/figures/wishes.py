"""What one example asks of the network: backpropagation as arrows, after 3Blue1Brown."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad.engine.node import data_of
from tensorgrad.transforms.derivatives import grad, jacobian
from tensorgrad.viz.figures.canvas import (
    COLOURS,
    LABEL,
    SMALL,
    TITLE,
    caption,
    sheet,
    signed_limit,
)
from tensorgrad.viz.figures.layers import activations_of, evaluating, layers_of, one_example

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = Any


def nudges(model: Any, x: Array, y: Array, loss: Callable[..., Any], most: int = 20) -> Figure:
    """What one example asks for: arrows up where an activation should rise, down where it should
    fall, each as long as the cost would gain from it (3Blue1Brown, "What is backpropagation").

    Left the outputs, with -∂C/∂a. Right the neurons before them: a column for each output with its
    wish, -∂C/∂a_j ∂a_j/∂a_k, and at the end the sum over the outputs, -∂C/∂a_k: backpropagation.

    `model`: an nn.Sequential or nn.MLP of two layers or more. `x`, `y`: one example as the loss
    takes it, (inputs,) and a class or (outputs,). `most`: of the neurons before, those with the
    largest wishes. ValueError for other shapes.

    >>> from tensorgrad import nn
    >>> model = nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 2), nn.Sigmoid())
    >>> figure = nudges(model, np.ones(4), np.array([1.0, 0.0]), nn.functional.quadratic)
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['output', 'wish of output', 'sum']
    """
    a, output, wish, wishes = _wishes(model, x, y, loss)
    order = np.sort(np.argsort(-np.abs(wishes).max(axis=0), kind="stable")[:most])
    chosen, sums = wishes[:, order].T, wishes.sum(axis=0)[order]
    n, k = len(output), len(order)
    figure = sheet(0.42 * n + 0.5 * (n + 1) + 2.6, max(4.4, 0.27 * k + 1.6))
    left, middle, right = figure.subplots(1, 3, width_ratios=[1.1 * n, 1.2 * n, 1.4])
    figure.suptitle("What one example asks for", fontsize=TITLE)

    left.bar(range(n), output, color="#bbbbbb", width=0.7)
    span = max(float(np.ptp(np.append(output, 0))), 1e-12)
    arrows = wish / signed_limit(wish) * span * 0.35
    _arrows(left, np.arange(n), np.asarray(output), arrows)
    ends = np.concatenate([[0.0], output, output + arrows])
    left.set_ylim(ends.min() - 0.05 * span, ends.max() + 0.05 * span)
    left.set_xticks(range(n))
    caption(left, "", "output", "activation")
    left.set_title("how the outputs should change", fontsize=LABEL)

    limit = signed_limit(np.append(chosen, sums))
    for axes, table in ((middle, chosen), (right, sums[:, None])):
        rows, columns = np.indices(table.shape)
        length = table.ravel() / limit * 0.9
        _arrows(axes, columns.ravel(), k - 1 - rows.ravel() - length / 2, length)
        axes.set_xlim(-0.6, table.shape[1] - 0.4)
        axes.set_ylim(-0.8, k - 0.2)
        axes.set_yticks([])
        for row in range(k):
            axes.axhline(row - 0.5, color="#dddddd", linewidth=0.6)
    middle.set_yticks(range(k), [f"{i}" for i in order[::-1]], fontsize=SMALL)
    middle.set_xticks(range(n))
    which = f"{k} of the {len(a)} neurons" if k < len(a) else "the neurons"
    caption(middle, "", "wish of output", "neuron before")
    middle.set_title(f"how {which} before them should change", fontsize=LABEL)
    right.set_xticks([0], ["Σ"], fontsize=LABEL)
    right.set_xlabel("sum", fontsize=LABEL)
    return figure


def _wishes(
    model: Any, x: Array, y: Array, loss: Callable[..., Any]
) -> tuple[Array, Array, Array, Array]:
    """Activations before the outputs, outputs, -∂C/∂a_j, and -∂C/∂a_j ∂a_j/∂a_k (outputs, k)."""
    x, y = one_example(x, "nudges"), np.asarray(y)[None]
    layers = layers_of(model, "nudges")
    if len(layers) < 2:
        raise ValueError("nudges: needs two layers or more, for the wishes on the one before last")
    with evaluating(model):
        a = activations_of(layers[:-1], x)[-1]
        output = data_of(layers[-1](a))
        wish = -data_of(grad(lambda out: loss(out, y))(output))[0]
        if not np.isfinite(wish).all():
            raise ValueError(f"nudges: the gradient by the outputs is not finite: {-wish}")
        slopes = data_of(jacobian(lambda before: layers[-1](before[None])[0])(a[0]))
    return a[0], output[0], wish, wish[:, None] * slopes


def _arrows(axes: Axes, x: Array, y: Array, length: Array) -> None:
    """Arrows up (blue) and down (red) from (x, y)."""
    axes.quiver(
        *(x, y, np.zeros_like(length), length),
        color=[COLOURS[0] if d > 0 else "#b2182b" for d in length],
        angles="xy",
        scale_units="xy",
        scale=1,
        units="inches",
        width=0.035,
        headwidth=4,
        headlength=4,
        headaxislength=3.6,
        minlength=0.5,
        zorder=3,
    )
