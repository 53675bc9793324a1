"""What a good NumPy programmer writes by hand: the yardstick.

Nothing is computed that is not needed (no gradient of the input), parameters change in place, and
everything stays float32.
"""

import numpy as np


def shallow(weights, x, y, lr):
    """Sigmoid layers, ½‖a - y‖², the mean over the batch (Nielsen ch. 2, BP1 to BP4)."""
    (W1, b1), (W2, b2) = [(W.copy(), b.copy()) for W, b in weights]
    n = len(x)

    def step():
        a1 = 1 / (1 + np.exp(-(x @ W1 + b1)))
        a2 = 1 / (1 + np.exp(-(a1 @ W2 + b2)))
        error = a2 - y
        loss = 0.5 * np.sum(error * error) / n
        d2 = error / n * a2 * (1 - a2)
        d1 = d2 @ W2.T * a1 * (1 - a1)
        gradients = x.T @ d1, d1.sum(axis=0), a1.T @ d2, d2.sum(axis=0)
        for p, g in zip((W1, b1, W2, b2), gradients, strict=True):
            p -= lr * g
        return loss

    return step


def deep(weights, x, y, lr):
    """ReLU layers, softmax cross-entropy with class numbers, the mean over the batch."""
    (W1, b1), (W2, b2), (W3, b3) = [(W.copy(), b.copy()) for W, b in weights]
    n, rows = len(x), np.arange(len(x))

    def step():
        a1 = np.maximum(x @ W1 + b1, 0)
        a2 = np.maximum(a1 @ W2 + b2, 0)
        z = a2 @ W3 + b3
        z -= z.max(axis=1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - z[rows, y])
        d3 = e / total
        d3[rows, y] -= 1
        d3 /= n
        d2 = d3 @ W3.T * (a2 > 0)
        d1 = d2 @ W2.T * (a1 > 0)
        gradients = (
            *(x.T @ d1, d1.sum(axis=0)),
            *(a1.T @ d2, d2.sum(axis=0)),
            *(a2.T @ d3, d3.sum(axis=0)),
        )
        for p, g in zip((W1, b1, W2, b2, W3, b3), gradients, strict=True):
            p -= lr * g
        return loss

    return step
