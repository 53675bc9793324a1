"""MAML: weights from which one step of gradient descent on five points (K) learns a new sine.

C. Finn, P. Abbeel and S. Levine, "Model-agnostic meta-learning for fast adaptation of deep
networks" (2017), section 5.1: sines of amplitude 0.1 to 5 and phase 0 to π, x from -5 to 5, two
hidden layers of 40, steps of 0.01. What is minimised is the error after the step, so its gradient
goes through a gradient: `tg.grad` in `tg.grad`, for all tasks at once by `tg.vmap`. The first-order
variant takes the inner gradient for a constant. Reported: appendix C, table 2 (five shots).
"""

import numpy as np

import tensorgrad as tg
from examples.experiment import Claim, Reached, experiment
from tensorgrad import optim
from tensorgrad.viz.figures import canvas

K, RATE = 5, 0.01


def network(theta, x):
    w1, b1, w2, b2, w3, b3 = theta
    return np.maximum(np.maximum(x @ w1 + b1, 0) @ w2 + b2, 0) @ w3 + b3


def start(rng):
    shapes = ((1, 40), 0.5), (40, 0), ((40, 40), 0.22), (40, 0), ((40, 1), 0.22), (1, 0)
    return [tg.Value(np.float32(rng.normal(scale=scale, size=shape))) for shape, scale in shapes]


def tasks(n, points, rng):
    """x and y of n sines, each (n, points, 1)."""
    amplitude, phase = rng.uniform(0.1, 5.0, (n, 1, 1)), rng.uniform(0, np.pi, (n, 1, 1))
    x = rng.uniform(-5, 5, (n, points, 1))
    return np.float32(x), np.float32(amplitude * np.sin(x - phase))


def error(theta, x, y):
    return np.mean((network(theta, x) - y) ** 2)


def adapted(theta, x, y, constant=False):
    """After a step of gradient descent on these points; with the gradient taken for a constant?"""
    gradient = tg.grad(error)(theta, x, y)
    return [p - RATE * (tg.stop_gradient(g) if constant else g) for p, g in zip(theta, gradient)]


def error_after(theta, x, y, constant=False):
    """The mean over tasks: a step on some of the points, the error on the others."""
    one = lambda x, y: error(adapted(theta, x[:K], y[:K], constant), x[K:], y[K:])
    return np.mean(tg.vmap(one)(x, y))


def train(theta, loss, epochs, seed, lr=3e-3):
    """Epochs of 250 batches of 100 tasks."""
    rng = np.random.default_rng(seed)
    adam = optim.Adam(theta, lr=lr)
    schedule = optim.lr_scheduler.LinearLR(adam, 1, 0, total_iters=250 * epochs)
    for _ in range(250 * epochs):
        adam.zero_grad()
        loss(theta, *tasks(100, 2 * K, rng)).backward()
        adam.step()
        schedule.step()
    return theta


def curve(theta, n=600):
    """The mean error on n new sines, after 0 to 10 steps on five points of each."""
    x, y = tasks(n, K + 50, np.random.default_rng(1))
    theta = [np.broadcast_to(p.data, (n, *p.shape)) for p in theta]
    errors = []
    for _ in range(11):
        errors.append(np.mean(tg.vmap(error)(theta, x[:, K:], y[:, K:])))
        theta = tg.vmap(adapted)(theta, x[:, :K], y[:, :K])
    return errors


def draw(learned, curves):
    *sines, right = (figure := canvas.sheet(14, 4)).subplots(1, 3)
    grid = np.linspace(-5, 5, 201, dtype=np.float32)[:, None]
    x = np.float32([-4.5, -3.5, -2, -1, 1])[:, None]
    for axes, who in zip(sines, ("MAML", "pretrained")):
        axes.plot(grid, 4 * np.sin(grid), "k", alpha=0.2, linewidth=7, label="4 sin x")
        theta, hue = [p.data for p in learned[who]], dict(zip((0, 1, 10), canvas.COLOURS))
        for step in range(11):
            if step in hue:
                axes.plot(grid, network(theta, grid), color=hue[step], label=f"step {step}")
            theta = adapted(theta, x, 4 * np.sin(x))
        axes.plot(x, 4 * np.sin(x), "k^", markersize=9, label="told")
        canvas.caption(axes, f"{who}: 4 sin x from 5 points", "x")
    figure.legend(*sines[0].get_legend_handles_labels(), loc="outside lower left", ncols=5)
    for colour, marker, (who, errors) in zip(canvas.COLOURS, canvas.MARKERS, curves.items()):
        right.plot(errors, marker=marker, color=colour, label=who)
    right.set_ylim(0)
    right.legend(fontsize=canvas.LABEL)
    canvas.caption(right, "Mean squared error, 600 sines", "steps of gradient descent", "error")
    return figure


@experiment(
    Claim("MAML, 1 step", 0.67, at_most=0.72, quick=2.0, form=".2f"),
    Claim("MAML, 5 steps", 0.38, at_most=0.43, quick=2.0, form=".2f"),
    Claim("MAML, 10 steps", 0.35, at_most=0.40, quick=2.0, form=".2f"),
    Claim("of first order, 1 step", None, form=".2f"),
    Claim("pretrained, 1 step", 2.41, within=0.3, form=".2f"),
    quick={"epochs": 2},
    note="3,500 batches of 100 tasks, the paper 70,000 of 25; after several steps seeds differ.",
)
def sines(seed=0, epochs=14):
    of_first_order = lambda *args: error_after(*args, constant=True)
    losses = {"MAML": error_after, "of first order": of_first_order, "pretrained": error}
    learned, curves = {}, {}
    for who, loss in losses.items():
        learned[who] = train(start(np.random.default_rng(seed)), loss, epochs, seed)
        curves[who] = curve(learned[who])
        print(f"  {who}, 0 to 10 steps:", *(f"{x:.2f}" for x in curves[who]), flush=True)
    maml, first, plain = curves.values()
    numbers = maml[1], maml[5], maml[10], first[1], plain[1]
    return Reached(numbers, lambda: draw(learned, curves))
