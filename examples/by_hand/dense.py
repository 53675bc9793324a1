"""A network of dense layers of sigmoid neurons, trained in plain NumPy, as one writes it by hand.

It draws what nielsen/network2.py draws, in the same order: after a few steps the weights of the
two agree to rounding, and their times may be compared.
"""

from itertools import pairwise

import numpy as np

from examples import mnist


def initial(sizes, init, rng):
    """The weights, (in, out), and biases of each layer: N(0, 1), or for "lecun" N(0, 1/in)."""
    layers = []
    for n, out in pairwise(sizes):
        w = rng.standard_normal((out, n)) / (np.sqrt(n) if init == "lecun" else 1)
        b = rng.standard_normal(out)
        layers.append((np.ascontiguousarray(w.T, np.float32), b.astype(np.float32)))
    return layers


def forward(layers, x):
    """The activations of all layers, the input first."""
    a = [x]
    for w, b in layers:
        a.append(1 / (1 + np.exp(-(a[-1] @ w + b))))
    return a


def gradients(layers, x, y, cost):
    """Those of the cost by the weights and biases of each layer: BP1 to BP4."""
    a = forward(layers, x)
    delta = (a[-1] - y) / len(x)  # of the cross-entropy, where σ' cancels
    if cost == "quadratic":
        delta *= a[-1] * (1 - a[-1])
    found = []
    for i in reversed(range(len(layers))):
        found.append((a[i].T @ delta, delta.sum(axis=0)))
        if i:
            delta = delta @ layers[i][0].T * a[i] * (1 - a[i])
    return found[::-1]


def descend(layers, x, y, lr, cost, l2):
    """A step, in place; l2 is Nielsen's λ/n, for weights and not biases."""
    for (w, b), (gw, gb) in zip(layers, gradients(layers, x, y, cost)):
        if l2:
            w *= 1 - lr * l2
        w -= lr * gw
        b -= lr * gb


def measured(layers, images, cost, l2):
    """Cost, the penalty included, and accuracy."""
    a, y = forward(layers, images.x)[-1], images.one_hot
    if cost == "quadratic":
        total = np.sum((a - y) ** 2) / 2
    else:
        right = np.where(y, a, 1 - a)
        total = -np.sum(np.log(np.maximum(right, np.finfo(a.dtype).tiny)))
    penalty = l2 / 2 * sum(np.sum(w * w) for w, _ in layers)
    return total / len(y) + penalty, np.mean(a.argmax(axis=1) == images.y)


def train(
    seed=0,
    epochs=30,
    *,
    sizes,
    lr,
    cost="cross_entropy",
    init="lecun",
    l2=0.0,
    images=50_000,
    batch=10,
    monitored=("test",),
):
    """The layers, and what was measured after each epoch: cost and accuracy by data set."""
    sets = mnist.split()._asdict()
    training = sets["training"] = sets["training"].first(images)
    x, y = training.x, training.one_hot
    rng = np.random.default_rng(seed)
    layers = initial(sizes, init, rng)
    history = []
    with np.errstate(over="ignore"):  # exp(-z) of a saturated neuron
        for _ in range(epochs):
            order = rng.permutation(len(x))
            for i in range(0, len(x), batch):
                rows = order[i : i + batch]
                descend(layers, x[rows], y[rows], lr, cost, l2)
            history.append({name: measured(layers, sets[name], cost, l2) for name in monitored})
    return layers, history
