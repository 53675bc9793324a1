"""Chapter 4: a hidden layer of steps follows any function."""

from itertools import product

import numpy as np

from examples.experiment import Claim, Reached, experiment
from tensorgrad import nn
from tensorgrad.train import predict
from tensorgrad.viz import figures
from tensorgrad.viz.figures.stepwise import nielsens


def goal(x):
    """σ⁻¹(f(x)): what reaches the output neuron must be this, for its σ makes f of it."""
    f = nielsens(x)
    return np.log(f / (1 - f))


def deviation(network, x, shift=0.0):
    """The mean distance of the network at x + shift from the goal at x."""
    return np.abs(predict(network, x[:, None] + shift)[:, 0] - goal(x)).mean()


@experiment(
    Claim("one input, 5 bumps: average deviation", 0.40, at_most=0.40, quick=0.40, form=".3f"),
    Claim("one input, 50 bumps", None, at_most=0.06, quick=0.06, form=".3f"),
    Claim("one input, 500 bumps", None, at_most=0.006, quick=0.006, form=".3f"),
    seeds=1,
    note="the average deviation of his game is that of the hidden layer's weighted output from"
    " σ⁻¹(f), at 100 points. Each bump is as high as σ⁻¹(f)'s median over its fifth; with σ⁻¹(f) in"
    " the middle of it the deviation is 0.51.",
)
def bumps(seed=0):
    """Nothing is drawn by chance: the weights are set by hand."""
    five, fifty, many = (figures.bumps(goal, n, w=1e6) for n in (5, 50, 500))
    his = np.arange(100) / 100
    fine = (np.arange(20_000) + 0.5) / 20_000
    won = deviation(five, his, shift=1e-4)  # on an edge the bump on the right counts
    reached = won, deviation(fifty, fine), deviation(many, fine)
    return Reached(reached, lambda: figures.universality(goal, counts=(5, 20, 80)))


def towers(f, n, inputs=2, w=1000.0, h=40.0):
    """The network that is f in the middle of each of n × n × ... boxes of the unit cube.

    A bump for each n-th of each input; where `inputs` of them are 1 at once a neuron of the second
    hidden layer fires, for its bias is between that and one bump less.
    """
    edges = np.arange(n + 1) / n
    edges[0], edges[-1] = -1.0, 2.0
    steps = np.stack([edges[:-1], edges[1:]], axis=1).ravel()
    boxes = np.array(list(product(range(n), repeat=inputs)))
    network = nn.Sequential(
        nn.Linear(inputs, 2 * n * inputs, dtype=np.float64),
        nn.Sigmoid(),
        nn.Linear(2 * n * inputs, len(boxes), dtype=np.float64),
        nn.Sigmoid(),
        nn.Linear(len(boxes), 1, bias=False, dtype=np.float64),
    )
    first, _, second, _, output = network
    first.weight.data = w * np.repeat(np.eye(inputs), 2 * n, axis=0)
    first.bias.data = -w * np.tile(steps, inputs)
    in_box = np.concatenate([np.eye(n)[boxes[:, i]] for i in range(inputs)], axis=1)
    second.weight.data = h * np.kron(in_box, [1.0, -1.0])
    second.bias.data = np.full(len(boxes), -h * (inputs - 0.5))
    output.weight.data = f((boxes + 0.5) / n)[None]
    return network


def bowl(x):
    """(x² + y² + ...) / 2, of rows."""
    return (x**2).sum(axis=1) / 2


def surface(counts):
    from tensorgrad.viz.figures.canvas import SMALL, TITLE, sheet

    x, y = np.meshgrid(*2 * [(np.arange(160) + 0.5) / 160])  # none on a tower's edge
    points = np.stack([x.ravel(), y.ravel()], axis=1)
    figure = sheet(4.6 * (len(counts) + 1), 4.4)
    drawn = {"(x² + y²) / 2": bowl(points)} | {
        f"{n * n} towers": predict(towers(bowl, n), points) for n in counts
    }
    for i, (title, z) in enumerate(drawn.items(), start=1):
        axes = figure.add_subplot(1, len(drawn), i, projection="3d")
        look = {"cmap": "viridis", "vmin": 0, "vmax": 1, "linewidth": 0, "antialiased": False}
        axes.plot_surface(x, y, z.reshape(x.shape), rcount=160, ccount=160, **look)
        axes.set_zlim(0, 1)
        axes.set_title(title, fontsize=TITLE)
        axes.set(xlabel="x", ylabel="y")
        axes.tick_params(labelsize=SMALL)
        axes.locator_params(nbins=4)
        axes.view_init(28, -125)
    return figure


@experiment(
    Claim("two inputs, 25 towers: farthest from its function, mid-tower", None, at_most=1e-6,
          quick=1e-6, form=".0e"),
    Claim("two inputs, 25 towers: average deviation", None, at_most=0.06, quick=0.06, form=".3f"),
    Claim("two inputs, 400 towers", None, at_most=0.015, quick=0.015, form=".3f"),
    Claim("three inputs, 1,000 towers", None, at_most=0.035, quick=0.035, form=".3f"),
    seeds=1,
)  # fmt: skip
def many_inputs(seed=0):
    rng = np.random.default_rng(seed)
    middles = np.array(list(product(np.arange(5) / 5 + 0.1, repeat=2)))
    farthest = np.abs(predict(towers(bowl, 5), middles)[:, 0] - bowl(middles)).max()
    reached = [farthest]
    for n, inputs in ((5, 2), (20, 2), (10, 3)):
        x = rng.uniform(size=(2000, inputs))
        reached.append(np.abs(predict(towers(bowl, n, inputs), x)[:, 0] - bowl(x)).mean())
    return Reached(reached, lambda: surface((5, 20)))
