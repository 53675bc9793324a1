"""micrograd's demo: a 337-parameter network learns to tell two moons apart, and draws how it does.

    python examples/moons.py [picture.png]

The network, the max-margin loss with L2 and the schedule are those of Andrej Karpathy's micrograd.
Here all 100 points go through the network at once: a neuron's inputs are columns of the batch.
"""

import sys
import time

import numpy as np

from tensorgrad import nn, no_grad

STEPS, ALPHA = 100, 1e-4


def two_moons(n, noise, rng):
    """n points (n, 2) on two interleaving half circles, blurred, and their labels -1, +1 (n, 1)."""
    t = np.linspace(0, np.pi, n // 2)
    upper = np.stack([np.cos(t), np.sin(t)], axis=1)
    x = np.concatenate([upper, [1, 0.5] - upper])  # the lower moon is the upper one, turned
    y = np.repeat([-1.0, 1.0], n // 2)[:, None]
    return x + rng.normal(scale=noise, size=x.shape), y


def loss(model, x, y):
    margin = np.mean((1 - y * model(x)).relu())  # nothing to pay beyond a margin of 1
    return margin + ALPHA * np.sum(np.square(np.stack(model.parameters())))


def draw(model, x, y, title, path):
    """The scores as colours, their zero as a line, the margins ±1 dashed, the points on top."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.exit("drawing needs: pip install 'tensorgrad-engine[viz]'")
    (left, bottom), (right, top) = x.min(axis=0) - 0.4, x.max(axis=0) + 0.4
    across, up = np.meshgrid(np.linspace(left, right, 400), np.linspace(bottom, top, 300))
    with no_grad():
        scores = model(np.stack([across.ravel(), up.ravel()], axis=1)).data.reshape(across.shape)

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.subplots()
    levels = np.linspace(-5, 5, 41)
    colours = axes.contourf(across, up, scores, levels, cmap="RdBu", extend="both")
    axes.contour(across, up, scores, [0], colors="black", linewidths=2.5)
    axes.contour(across, up, scores, [-1, 1], colors="black", linewidths=1.2, linestyles="dashed")
    for sign, colour in ((1, "#08306b"), (-1, "#67000d")):
        moon = x[y[:, 0] == sign]
        axes.scatter(*moon.T, s=60, c=colour, edgecolors="white", zorder=3, label=f"{sign:+d}")
    axes.plot([], [], color="black", linewidth=2.5, label="boundary")
    axes.plot([], [], color="black", linewidth=1.2, linestyle="dashed", label="margin ±1")
    axes.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    axes.set_title(title, fontsize=16)
    axes.legend(loc="lower left", ncols=2)
    figure.colorbar(colours, ax=axes, label="score", ticks=range(-5, 6))
    figure.savefig(path)


rng = np.random.default_rng(1337)
X, y = two_moons(100, noise=0.1, rng=rng)
model = nn.MLP(2, [16, 16, 1], rng=rng)

started = time.perf_counter()
for step in range(STEPS):
    cost = loss(model, X, y)
    model.zero_grad()
    cost.backward()
    for p in model.parameters():
        p.data -= (1.0 - 0.9 * step / STEPS) * p.grad
    if step % 10 == 9:
        print(f"Step {step + 1}: loss {cost.item():.3f}")
seconds = time.perf_counter() - started

with no_grad():
    accuracy = np.mean((model(X) > 0) == (y > 0))
print(f"Accuracy {accuracy:.0%} after {STEPS} steps in {seconds:.2f} s.")

path = sys.argv[1] if len(sys.argv) > 1 else "moons.png"
draw(model, X, y, f"Two moons, 337 parameters: accuracy {accuracy:.0%}", path)
print(f"The decision boundary is drawn in {path}.")
