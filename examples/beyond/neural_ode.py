"""A neural ODE: a network says how fast things change, and learns that through the solver.

T. Chen, Y. Rubanova, J. Bettencourt and D. Duvenaud, "Neural ordinary differential equations"
(2018), on hunters and prey. The solver, and its gradient in memory that does not grow with the
number of steps, are those of adjoint.py; neural_ode_spirals.py tells spirals apart by them.
"""

import tracemalloc

import numpy as np

import tensorgrad as tg
from examples.beyond.adjoint import flow, solve
from examples.experiment import Claim, Reached, experiment
from tensorgrad import optim
from tensorgrad.viz.figures import canvas


def network(y, theta):
    w1, b1, w2, b2 = theta
    return np.tanh(y @ w1 + b1) @ w2 + b2


def start(rng, neurons=32, scale=1.0):
    shapes = ((2, neurons), scale), (neurons, scale), ((neurons, 2), 0.1), (2, 0.0)
    return tuple(tg.Value(rng.normal(scale=scale, size=shape)) for shape, scale in shapes)


def train(parameters, loss, epochs, lr):
    adam = optim.Adam(parameters, lr=lr)
    schedule = optim.lr_scheduler.CosineAnnealingLR(adam, T_max=epochs)
    for epoch in range(epochs):
        adam.zero_grad()
        cost = loss()
        cost.backward()
        adam.step()
        schedule.step()
        if epoch % 100 == 99:
            print(f"  epoch {epoch + 1}: loss {cost.item():.2e}", flush=True)


def hunt(y, theta=None):
    """Lotka and Volterra: the prey multiplies, and is hunted by who starves without it."""
    prey, hunters = y[..., 0], y[..., 1]
    return np.stack([prey * (2 / 3 - 4 / 3 * hunters), hunters * (prey - 1)], axis=-1)


def path(f, theta=None):
    """15 years in quarters, a round and a half: (61, 2)."""
    places = [np.array([1.0, 1.8])]
    for _ in range(60):
        places.append(solve(f, places[-1], theta, 0.125, 2))
    return np.array(places)


def cost_of(way, theta, steps):
    """The gradient of where 100 places are after a time, and the bytes that it took."""
    y = np.random.default_rng(0).uniform(0.5, 1.5, (100, 2))
    tracemalloc.start()
    g = tg.grad(lambda theta: np.sum(way(network, y, theta, 1 / steps, steps) ** 2))(theta)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return g, peak


def draw(theta, truth, learned):
    figure = canvas.sheet(11, 4.5)
    left, right = figure.subplots(1, 2)
    x, y = np.meshgrid(np.linspace(0, 3, 16), np.linspace(0, 2, 16))
    slopes = network(np.stack([x, y], axis=-1), theta)
    left.quiver(x, y, *slopes.transpose(2, 0, 1), color="grey", alpha=0.6)
    left.plot(*truth.T, "k", alpha=0.25, linewidth=7)
    left.plot(*learned.T, color=canvas.COLOURS[1], linewidth=2)
    canvas.caption(left, "What the network learned (grey: the truth)", "prey", "hunters")
    for i, who in enumerate(("prey", "hunters")):
        right.plot(truth[:, i], color=canvas.COLOURS[i], alpha=0.3, linewidth=7)
        right.plot(learned[:, i], color=canvas.COLOURS[i], linewidth=2, label=who)
    right.legend(fontsize=canvas.LABEL)
    canvas.caption(right, "From one place on", "quarters of a year")
    return figure


@experiment(
    Claim("15 years of hunters and prey, mean error", None, at_most=0.05, quick=0.3, form=".4f"),
    Claim("adjoint and backpropagation, difference", None, at_most=1e-5, quick=1e-5, form=".1e"),
    Claim("memory of 10 times the steps, adjoint", 1.0, at_most=1.1, quick=1.1, form=".2f"),
    Claim("memory of 10 times the steps, backpropagation", 10.0, form=".2f"),
    quick={"epochs": 100},
)
def lotka_volterra(seed=0, epochs=400):
    truth, theta = path(hunt), start(np.random.default_rng(seed))

    def loss(ahead=5):
        """From each place, as far as 5 quarters ahead."""
        y, misses = truth[:-ahead], []
        for i in range(1, ahead + 1):
            y = flow(network, y, theta, 0.125, 2)
            misses.append(np.abs(y - truth[i : i + len(y)]))
        return np.mean(np.stack(misses))

    train(theta, loss, epochs, lr=0.02)
    theta = tuple(p.data for p in theta)
    learned = path(network, theta)
    (g, little), (_, much) = cost_of(flow, theta, 20), cost_of(flow, theta, 200)
    (h, kept), (_, all_kept) = cost_of(solve, theta, 20), cost_of(solve, theta, 200)
    apart = max(np.abs(a - b).max() / np.abs(b).max() for a, b in zip(g, h))
    numbers = np.abs(learned - truth).mean(), apart, much / little, all_kept / kept
    return Reached(numbers, lambda: draw(theta, truth, learned))
