"""Chapter 3: the cross-entropy cost, for one neuron that is badly wrong, and for MNIST."""

from functools import partial

import numpy as np

from examples.by_hand import dense
from examples.experiment import Claim, Reached, experiment
from examples.nielsen import network2
from tensorgrad import Value, nn
from tensorgrad.viz import figures

F = nn.functional
COSTS = {
    "quadratic": lambda a: a**2 / 2,
    "cross-entropy": lambda a: F.binary_cross_entropy(a, np.float64(0.0)),
}
STARTS = (0.6, 0.9), (2.0, 2.0)  # weight and bias


def neuron(start, cost, lr):
    """Its cost and its answer to 1, which should be 0, at first and after each of 300 steps."""
    w, b = (Value(x) for x in start)
    lines = []
    for _ in range(301):
        a = F.sigmoid(w * 1.0 + b)
        c = COSTS[cost](a)
        lines.append((c.item(), a.item()))
        w.grad = b.grad = None
        c.backward()
        w.data -= lr * w.grad
        b.data -= lr * b.grad
    return np.array(lines)


def drawn(runs, cost):
    """Cost and answer over the steps, from both starts."""
    figure = figures.canvas.sheet(10.0, 4.0)
    panels = figure.subplots(1, 2)
    titles = f"Cost: {cost}", "Answer to the input 1 (right: 0)"
    for i, (axes, title) in enumerate(zip(panels, titles)):
        for (w, b), run, colour, style in zip(STARTS, runs, figures.canvas.COLOURS, ("-", "--")):
            look = {"color": colour, "linestyle": style, "linewidth": 2.5}
            axes.plot(run[:, i], label=f"from w = {w}, b = {b}", **look)
        figures.canvas.caption(axes, title, "step", ("cost", "activation")[i])
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, fontsize=figures.canvas.LABEL)
    return figure


def claims(cost, reported):
    return [
        Claim(f"one neuron, {cost}, from {start}", a, within=5e-5, quick=5e-5, form=".4f")
        for start, a in zip(STARTS, reported)
    ]


@experiment(*claims("quadratic", (0.0940, 0.2028)), seeds=1)
def quadratic_neuron(seed=0):
    runs = [neuron(start, "quadratic", 0.15) for start in STARTS]
    return Reached([run[-1, 1] for run in runs], lambda: drawn(runs, "quadratic"))


@experiment(*claims("cross-entropy", (0.4177, 0.7796)), seeds=1)
def cross_entropy_neuron(seed=0):
    runs = [neuron(start, "cross-entropy", 0.005) for start in STARTS]
    return Reached([run[-1, 1] for run in runs], lambda: drawn(runs, "cross-entropy"))


SETTINGS = {"sizes": (784, 30, 10), "lr": 0.5, "init": "normal"}


@experiment(
    Claim("784-30-10 with cross-entropy", 0.9549, at_least=0.9499, quick=0.90),
    quick={"epochs": 1},
    by_hand=partial(dense.train, **SETTINGS),
)
def cross_entropy(seed=0, epochs=30, checkpoint=None):
    history = network2.train(seed, epochs, **SETTINGS, checkpoint=checkpoint)
    return Reached(max(history.column("accuracy")), lambda: figures.learning_curves(history))
