"""A normalising flow: two moons and two spirals become a normal cloud, and ln p of any point exact.

Each layer scales and moves one coordinate by what a network makes of the other: the determinant of
its Jacobian is that scale (L. Dinh et al., Density estimation using Real NVP, 2017).
"""

from functools import partial

import numpy as np

import tensorgrad as tg
from examples.beyond.density import draw, grid, kernels
from examples.experiment import Claim, Reached, experiment
from tensorgrad import data, nn, no_grad, optim


class Coupling(nn.Module):
    """(a, b) to (b exp s(a) + t(a), a), and ln |det|, s(a)."""

    def __init__(self, rng, hidden=32):
        first, middle = nn.Linear(1, hidden, rng=rng), nn.Linear(hidden, hidden, rng=rng)
        self.net = nn.Sequential(first, nn.Tanh(), middle, nn.Tanh(), nn.Linear(hidden, 2, rng=rng))

    def scale_and_shift(self, a):
        s, t = np.split(self.net(a), 2, axis=1)
        return np.tanh(s), t

    def forward(self, x):
        a, b = np.split(x, 2, axis=1)
        s, t = self.scale_and_shift(a)
        return np.concatenate([b * np.exp(s) + t, a], axis=1), s[:, 0]

    def inverse(self, y):
        b, a = np.split(y, 2, axis=1)
        s, t = self.scale_and_shift(a)
        return np.concatenate([a, (b - t) * np.exp(-s)], axis=1)


class Flow(nn.Module):
    def __init__(self, layers, rng):
        self.layers = nn.ModuleList([Coupling(rng) for _ in range(layers)])
        self.to(np.float64)

    def forward(self, x):
        log_det = 0.0
        for layer in self.layers:
            x, s = layer(x)
            log_det = log_det + s
        return x, log_det

    def log_density(self, x):
        z, log_det = self(x)
        return log_det - np.sum(z**2, axis=1) / 2 - np.log(2 * np.pi)

    def inverse(self, z):
        for layer in reversed(self.layers):
            z = layer.inverse(z)
        return z


def log_det(flow, point):
    """From all derivatives of the flow at a point (2,), and the determinant of their matrix."""
    return np.linalg.slogdet(tg.jacobian(lambda p: flow(p[None])[0][0])(point)).logabsdet


def train(points, middle, reach, seed, steps):
    """A flow learns from 2,000 of the points: what it reached, and its density on the way."""
    rng = np.random.default_rng(seed)
    training, validation, test = (points(n, rng=rng)[0] - middle for n in (2000, 1000, 5000))
    flow, seen = Flow(12, rng), {}
    optimizer = optim.Adam(flow.parameters(), lr=5e-3)
    cosine = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    for step in range(steps + 1):
        if step in (0, steps // 20, steps // 5, steps):
            with no_grad():
                seen[step] = np.exp(flow.log_density(grid(reach)).data)
                reached = np.mean(flow.log_density(test).data)
            print(f"  step {step}: ln p = {reached:.3f}", flush=True)
        loss = -np.mean(flow.log_density(training[rng.integers(len(training), size=200)]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cosine.step()
    width = max(np.geomspace(0.02, 0.2, 10), key=lambda w: kernels(validation, training, w).mean())
    kde = kernels(test, training, width).mean()
    apart = max(abs(flow(p[None])[1].item() - log_det(flow, p)) for p in test[:20])
    drawn = flow.inverse(rng.standard_normal((2000, 2))).data
    integral = np.mean(seen[steps]) * (2 * reach) ** 2
    return Reached([reached, kde, apart, integral], lambda: draw(seen, reach, training, drawn))


EXACT = (
    Claim("the same of a kernel density estimate", None, form=".3f"),
    Claim("largest |ln det - slogdet(jacobian)|", 0.0, at_most=1e-10, quick=1e-10, form=".0e"),
    Claim("integral of the density", 1.0, within=1e-3, quick=1e-2, form=".5f"),
)
TRUTH = "The first number reported is of the density that the points were drawn from."
MOONS = Claim("moons, ln p of a test point", -1.005, within=0.08, quick=0.5, form=".3f")
SPIRALS = Claim("spirals, ln p of a test point", -0.234, within=0.15, quick=1.2, form=".3f")


@experiment(MOONS, *EXACT, quick={"steps": 100}, note=TRUTH)
def moons(seed=0, steps=2000):
    return train(data.moons, [0.5, 0.25], 3.5, seed, steps)


@experiment(SPIRALS, *EXACT, quick={"steps": 100}, note=TRUTH)
def spirals(seed=0, steps=3000):
    return train(partial(data.spirals, noise=0.05), [0, 0], 2.0, seed, steps)
