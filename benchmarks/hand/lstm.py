"""An LSTM that reads rows of pixels, in NumPy by hand: a dense layer, softmax cross-entropy, Adam.

Products with the inputs, and those of the weights' gradients, are made for all times at once.
"""

from itertools import cycle

import numpy as np


def plain(weights, batches, lr):
    Wi, Wh, bi, bh, Wo, bo = (np.ascontiguousarray(a.T) for a in weights.values())
    parameters = Wi, Wh, bi, bh, Wo, bo
    moments = [(np.zeros_like(a), np.zeros_like(a)) for a in parameters]
    batch, times, pixels = batches[0][0].shape
    rows, n, count = np.arange(batch), len(Wh), 0
    batches = cycle(batches)
    sigmoid = lambda z: 1 / (1 + np.exp(-z))

    def step():
        nonlocal count
        x, y = next(batches)
        x = np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(-1, pixels)
        inputs = (x @ Wi + (bi + bh)).reshape(times, batch, -1)
        h = c = np.zeros((batch, n), np.float32)
        kept = []
        for a in inputs:
            z = a + h @ Wh
            i, f, g, o = (
                *(sigmoid(z[:, :n]), sigmoid(z[:, n : 2 * n])),
                *(np.tanh(z[:, 2 * n : 3 * n]), sigmoid(z[:, 3 * n :])),
            )
            before, c = c, f * c + i * g
            squashed = np.tanh(c)
            kept.append((i, f, g, o, before, h, squashed))
            h = o * squashed
        z = h @ Wo + bo
        z -= z.max(axis=1, keepdims=True)
        e = np.exp(z)
        total = e.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - z[rows, y])
        d = e / total
        d[rows, y] -= 1
        d /= batch
        gWo, gbo = h.T @ d, d.sum(axis=0)
        dh, dc = d @ Wo.T, np.zeros((batch, n), np.float32)
        dz = np.empty((times, batch, 4 * n), np.float32)
        for t in reversed(range(times)):
            i, f, g, o, before, _, squashed = kept[t]
            dc += dh * o * (1 - squashed * squashed)
            dz[t, :, :n] = dc * g * i * (1 - i)
            dz[t, :, n : 2 * n] = dc * before * f * (1 - f)
            dz[t, :, 2 * n : 3 * n] = dc * i * (1 - g * g)
            dz[t, :, 3 * n :] = dh * squashed * o * (1 - o)
            dc *= f
            dh = dz[t] @ Wh.T
        dz = dz.reshape(-1, 4 * n)
        gb = dz.sum(axis=0)
        hs = np.concatenate([made[5] for made in kept])
        count += 1
        a, b = 1 - 0.9**count, 1 - 0.999**count
        gradients = x.T @ dz, hs.T @ dz, gb, gb, gWo, gbo
        for p, g, (m, v) in zip(parameters, gradients, moments, strict=True):
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            p -= lr / a * m / (np.sqrt(v / b) + 1e-8)
        return loss

    return step
