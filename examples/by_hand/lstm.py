"""An LSTM that reads sequences and answers with a class after the last step, in plain NumPy."""

import numpy as np


def sigmoid(z):
    return 0.5 + 0.5 * np.tanh(0.5 * z)


def forward(x, W_ih, W_hh, b):
    """What each step made, in x's order (times, n, inputs): h before, C before, i, f, C̃, o, tanh C;
    and the last h. The rows of the weights are those of i, f, C̃ and o."""
    n = W_hh.shape[1]
    given = x @ W_ih.T + b
    h = c = np.zeros((x.shape[1], n), x.dtype)
    steps = []
    for z in given:
        z = z + h @ W_hh.T
        gates = sigmoid(z)
        i, f, o = gates[:, :n], gates[:, n : 2 * n], gates[:, 3 * n :]
        new = np.tanh(z[:, 2 * n : 3 * n])
        before, c = (h, c), f * c + i * new
        squashed = np.tanh(c)
        h = o * squashed
        steps.append((*before, i, f, new, o, squashed))
    return steps, h


def backward(dh, x, steps, W_hh):
    """The gradients by W_ih, W_hh and b, from that by the last h."""
    dc = np.zeros_like(dh)
    dzs = []
    for _, c, i, f, new, o, squashed in reversed(steps):
        dc = dc + dh * o * (1 - squashed**2)
        dz = np.concatenate(
            [
                dc * new * i * (1 - i),
                dc * c * f * (1 - f),
                dc * i * (1 - new**2),
                dh * squashed * o * (1 - o),
            ],
            axis=1,
        )
        dzs.append(dz)
        dh, dc = dz @ W_hh, dc * f
    dz = np.concatenate(dzs[::-1])
    before = np.concatenate([h for h, *_ in steps])
    return dz.T @ x.reshape(len(dz), -1), dz.T @ before, dz.sum(axis=0)


def read(p, x):
    """What the steps made of x, (n, times, inputs), the last h, and the scores of the classes.
    `p`: the parameters of an nn.LSTM and a Linear."""
    W_ih, W_hh, b_ih, b_hh, V, v = p
    x = np.ascontiguousarray(x.swapaxes(0, 1))
    steps, h = forward(x, W_ih, W_hh, b_ih + b_hh)
    return x, steps, h, h @ V.T + v


def answers(p, x):
    return np.concatenate([read(p, part)[-1].argmax(axis=1) for part in np.split(x, 20)])


def gradients(p, x, y):
    """Those of the mean cross-entropy by each of p."""
    x, steps, h, z = read(p, x)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    delta = e / e.sum(axis=1, keepdims=True)
    delta[np.arange(len(y)), y] -= 1
    delta /= len(y)
    by_ih, by_hh, by_b = backward(delta @ p[4], x, steps, p[1])
    return by_ih, by_hh, by_b, by_b, delta.T @ h, delta.sum(axis=0)
