"""A network in two stages, each in a process of its own: a pipeline, as of Huang et al. (2019).

    mpiexec -n 2 python examples/mpi_pipeline.py

`permute` hands on what the first stage makes, and its rule hands the cotangents back. A batch goes
through in four parts, so that the first stage works on the next part while the second works on the
one before (needs `tensorgrad-engine[mpi]`).
"""

import numpy as np

from tensorgrad import nn, optim, parallel
from tensorgrad.nn import functional as F

HIDDEN, PARTS, STEPS = 16, 4, 30


def stages():
    first, last = nn.Linear(8, HIDDEN, rng=1, dtype=float), nn.Linear(HIDDEN, 3, rng=2, dtype=float)
    return nn.Sequential(first, nn.Tanh()), last


def one_process(x, y):
    model = nn.Sequential(*stages())
    descent = optim.SGD(model.parameters(), lr=0.5)
    for _ in range(STEPS):
        descent.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        descent.step()
    return loss.item()


def pipeline(x, y, ranks):
    first = ranks.rank == 0
    stage = stages()[ranks.rank]
    descent = optim.SGD(stage.parameters(), lr=0.5)
    for _ in range(STEPS):
        descent.zero_grad()
        total = 0.0
        for xs, ys in zip(np.split(x, PARTS), np.split(y, PARTS)):
            made = stage(xs) if first else np.zeros((len(xs), HIDDEN))
            given = parallel.permute(made, [(0, 1)])
            # The first stage has no loss, but its sweep is to come by.
            loss = np.sum(given) * 0 if first else F.cross_entropy(stage(given), ys)
            total = total + loss / PARTS
        total.backward()
        descent.step()
    return parallel.broadcast(total.data, 1).item()


def main():
    ranks, rng = parallel.world(), np.random.default_rng(0)
    if ranks.size != 2:
        raise SystemExit("two stages, two processes: mpiexec -n 2 python examples/mpi_pipeline.py")
    x = rng.normal(size=(200, 8))
    y = (x @ rng.normal(size=(8, 3))).argmax(axis=1)
    one, two = one_process(x, y), pipeline(x, y, ranks)
    if ranks.rank == 0:
        print(f"loss of one process {one:.6f}, of two stages {two:.6f}")
        print("the same" if abs(one - two) < 1e-9 else "not the same")


if __name__ == "__main__":
    main()
