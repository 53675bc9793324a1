"""Adam: Kingma and Ba (2015), algorithm 1, in plain NumPy."""

import numpy as np


class Adam:
    """`step(gradients)` changes the arrays `p` in place. `lr`: a Python float; NumPy's make float64
    of the rest."""

    def __init__(self, p, lr, betas=(0.9, 0.999), eps=1e-8):
        self.p, self.lr, self.betas, self.eps = p, lr, betas, eps
        self.m, self.v, self.t = [np.zeros_like(q) for q in p], [np.zeros_like(q) for q in p], 0

    def step(self, gradients):
        self.t += 1
        mean, square = (1 - beta**self.t for beta in self.betas)
        for q, g, m, v in zip(self.p, gradients, self.m, self.v):
            m += (1 - self.betas[0]) * (g - m)
            v += (1 - self.betas[1]) * (g * g - v)
            q -= (self.lr / mean) * m / (np.sqrt(v / square) + self.eps)
