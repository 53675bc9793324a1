"""Why one hidden layer can compute any function: it is made of steps (Nielsen, chapter 4).

A sigmoid neuron with a large weight w and the bias -w s is a step at s. Two of them, with output
weights h and -h, are a bump of height h. Enough bumps side by side follow any continuous function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tensorgrad import nn
from tensorgrad.ops.nn.activation import sigmoid
from tensorgrad.train import predict
from tensorgrad.viz.figures.canvas import COLOURS, SMALL, TITLE, caption, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = Any
SAMPLES = 101  # of f in each bump; odd, so that a median is a value of f


def nielsens(x: Array) -> Array:
    """The function that chapter 4 draws: 0.2 + 0.4 x² + 0.3 x sin 15x + 0.05 cos 50x, on 0..1.

    >>> nielsens(0.0)
    np.float64(0.25)
    """
    return 0.2 + 0.4 * x**2 + 0.3 * x * np.sin(15 * x) + 0.05 * np.cos(50 * x)


def bumps(f: Callable[[Array], Array], n: int, w: float = 1000.0) -> nn.Sequential:
    """The network 1-2n-1 that is f's median over each n-th of 0..1, set by hand.

    No other heights leave a smaller mean distance from f. `f`: of an array of numbers, entry by
    entry; it is asked for 101 in each bump. `w`: the weight that makes a sigmoid a step; the step
    is about 4/w wide. ValueError for n below 1, or values that are not finite.

    >>> network = bumps(lambda x: x, 5)
    >>> network(np.array([[0.1], [0.5]])).data.round(6)
    array([[0.1],
           [0.5]])
    """
    if n < 1:
        raise ValueError(f"bumps: n={n}: must be at least 1")
    edges = np.arange(n + 1) / n
    x = (np.arange(n * SAMPLES) + 0.5) / (n * SAMPLES)
    values = np.asarray(f(x), dtype=float)
    if values.shape != x.shape or not np.isfinite(values).all():
        raise ValueError(f"bumps: f must give a finite number for each of {len(x)}, not {values}")
    heights = np.median(values.reshape(n, SAMPLES), axis=1)
    edges[0], edges[-1] = -1.0, 2.0  # the ends of 0..1 belong to the outer bumps
    steps = np.stack([edges[:-1], edges[1:]], axis=1).ravel()
    network = nn.Sequential(
        nn.Linear(1, 2 * n, dtype=np.float64),
        nn.Sigmoid(),
        nn.Linear(2 * n, 1, bias=False, dtype=np.float64),
    )
    network[0].weight.data = np.full((2 * n, 1), float(w))
    network[0].bias.data = -w * steps
    network[2].weight.data = np.stack([heights, -heights], axis=1).reshape(1, 2 * n)
    return network


def universality(
    f: Callable[[Array], Array] = nielsens,
    counts: tuple[int, ...] = (5, 20, 80),
    w: float = 1000.0,
) -> Figure:
    """A function on 0..1, and networks that follow it with more and more bumps.

    First how a neuron becomes a step; then one picture for each of `counts`, with the mean distance
    from f. `f` and `w` as in `bumps`.

    >>> [axes.get_title() for axes in universality(counts=(5, 20)).axes]
    ['one neuron: a step', '10 neurons: 5 bumps', '40 neurons: 20 bumps']
    """
    if not counts:
        raise ValueError("universality: counts is empty: pass numbers of bumps such as (5, 20)")
    networks = [bumps(f, n, w) for n in counts]
    x = np.linspace(0, 1, 2001)
    figure = sheet(3.9 * (len(counts) + 1), 4.2)
    first, *panels = figure.subplots(1, len(counts) + 1)
    for steepness, style in ((8, ":"), (30, "--"), (w, "-")):
        step = sigmoid(steepness * (x - 0.4))
        first.plot(x, step, style, color=COLOURS[0], linewidth=2, label=f"w = {steepness:g}")
    caption(first, "one neuron: a step", "x", r"$\sigma(w\,(x - 0.4))$")
    for axes, n, network in zip(panels, counts, networks):
        y = predict(network, x[:, None])[:, 0]
        distance = np.abs(y - f(x)).mean()
        axes.fill_between(x, y, color=COLOURS[5], alpha=0.35, linewidth=0, label="its bumps")
        axes.plot(x, f(x), color="black", linewidth=2.5, label="f")
        axes.plot(x, y, color=COLOURS[1], linewidth=1.6, label=f"network, {distance:.3f} off")
        caption(axes, f"{2 * n} neurons: {n} bumps", "x")
    for axes in (first, *panels):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=SMALL, loc="upper left")
        axes.margins(y=0.25 if axes is not first else 0.05)
    figure.suptitle("A hidden layer of steps follows any function", fontsize=TITLE)
    return figure
