"""A network learns sine from a law, not from data: u'' = -u, u(0) = 0, u'(0) = 1 on [0, 2π].

    python examples/pinn.py [--plot]

The loss is how far the network violates the law, so a second derivative stands inside of it: twice
`tg.elementwise_grad` by t, and once more `tg.value_and_grad` by the parameters. What the network
need not learn is built in: u = s + s² N(t) with s = tanh t has u(0) = 0 and u'(0) = 1 whatever the
network N is (I. Lagaris, A. Likas and D. Fotiadis, Artificial neural networks for solving ordinary
and partial differential equations, 1998, with s = t; today: physics-informed neural networks).
`--plot` draws the way there to pinn.png (needs tensorgrad-engine[viz]).
"""

import sys

import numpy as np

import tensorgrad as tg
from tensorgrad import optim

NEURONS, STEPS, LR = 32, 800, 0.02


def u(params, t):
    w, b, v, c = params
    s, network = np.tanh(t), np.tanh(t[:, None] * w + b) @ v + c
    return s + s**2 * network


def loss(params, t):
    second = tg.elementwise_grad(tg.elementwise_grad(u, argnums=1), argnums=1)
    return np.mean((second(params, t) + u(params, t)) ** 2)


rng = np.random.default_rng(0)
w = 2 * rng.normal(size=NEURONS)
centres = np.linspace(0, 2 * np.pi, NEURONS)  # where each neuron bends: tanh(w (t - centre))
params, states = (w, -w * centres, np.zeros(NEURONS), np.zeros(())), [()] * 4

t, everywhere = np.linspace(0, 2 * np.pi, 40), np.linspace(0, 2 * np.pi, 1001)
history = {}
for step in range(STEPS + 1):
    cost, gradients = tg.value_and_grad(loss)(params, t)
    if step in (0, 10, 20, 40, STEPS):
        history[step] = u(params, everywhere)
        error = np.abs(history[step] - np.sin(everywhere)).max()
        print(f"Step {step:3}: loss {cost:.1e}, largest error |u - sin t| {error:.1e}")
    moves = [
        optim.adam(p, g, state, lr=LR * (1 - step / STEPS), betas=(0.9, 0.99))
        for p, g, state in zip(params, gradients, states)
    ]
    params, states = zip(*moves)
assert error < 1e-3

points = np.radians([30, 90, 210, 270])
print("u at 30°, 90°, 210°, 270°:", *(f"{x:+.4f}" for x in u(params, points)))
print("                     sine:", *(f"{x:+.4f}" for x in np.sin(points)))


def draw(path):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.exit("drawing needs: pip install 'tensorgrad-engine[viz]'")
    figure = Figure(figsize=(9, 4.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.plot(everywhere, np.sin(everywhere), color="black", linewidth=6, alpha=0.25, label="sin t")
    colours = ("#a6bddb", "#74a9cf", "#3690c0", "#0570b0", "#b30000")
    for colour, (step, curve) in zip(colours, history.items()):
        axes.plot(everywhere, curve, color=colour, linewidth=2, label=f"after {step} steps")
    axes.plot(t, 0 * t, "|", color="black", markersize=8, label="law tested here")
    axes.set_xticks(np.pi * np.arange(5) / 2, ["0", "π/2", "π", "3π/2", "2π"], fontsize=13)
    axes.set_xlabel("t", fontsize=13)
    axes.set_ylabel("u(t)", fontsize=13)
    axes.set_title("A network that was told only $u'' = -u$, $u(0) = 0$, $u'(0) = 1$", fontsize=16)
    figure.legend(loc="outside right center", fontsize=12)
    figure.savefig(path)
    print(f"The way there is drawn in {path}.")


if "--plot" in sys.argv:
    draw("pinn.png")
