"""A neural ODE tells two spirals apart: it moves the plane until a line is enough.

The flow and its gradient are those of adjoint.py. A flow tears nothing and lets nothing cross,
so two dimensions do for spirals; for a disk in a ring they would not (E. Dupont, A. Doucet and
Y. Teh, "Augmented neural ODEs", 2019).
"""

import numpy as np

from examples.beyond.adjoint import flow, solve
from examples.beyond.neural_ode import network, start, train
from examples.experiment import Claim, Reached, experiment
from tensorgrad import data, nn
from tensorgrad.viz.figures import canvas


@experiment(
    Claim("two spirals told apart by a flow of the plane", None, at_least=1.0, quick=0.95),
    quick={"epochs": 100},
)
def spirals(seed=0, epochs=200):
    rng = np.random.default_rng(seed)
    x, y = data.spirals(200, rng=rng)
    x, theta, line = 2 * x, start(rng, neurons=64, scale=2.0), nn.Linear(2, 2, rng=rng).double()

    def answers():
        return line(flow(network, x, theta, 0.1, 10))

    def loss():
        return nn.functional.cross_entropy(answers(), y)

    train([*theta, *line.parameters()], loss, epochs, lr=0.01)
    right = np.mean(answers().data.argmax(axis=1) == y)
    return Reached(right, lambda: draw([p.data for p in theta], x, y))


def draw(theta, x, y):
    figure = canvas.sheet(13, 4.2)
    for axes, steps in zip(figure.subplots(1, 3), (0, 5, 10)):
        at = solve(network, x, theta, 0.1, steps)
        for who in (0, 1):
            look = {"color": canvas.COLOURS[who], "markersize": 5}
            axes.plot(*at[y == who].T, canvas.MARKERS[who], **look)
        low, high = axes.get_xlim(), axes.get_ylim()
        places = np.stack(np.meshgrid(np.linspace(*low, 14), np.linspace(*high, 14)), axis=-1)
        arrows = (*places.transpose(2, 0, 1), *network(places, theta).transpose(2, 0, 1))
        axes.quiver(*arrows, color="grey", alpha=0.5)
        canvas.caption(axes, f"at time {steps / 10:g}", "$h_1$", "$h_2$")
    return figure
