"""Run by test_parallel.py: a training that writes a checkpoint after each step, and stops after so
many; or goes on from it. Prints the parameters."""

import sys

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim, parallel


def main(path: str, stop: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(22, 5)), rng.integers(0, 3, 22)
    net = nn.Sequential(
        nn.Linear(5, 8, rng=1, dtype=float), nn.Tanh(), nn.Linear(8, 3, rng=2, dtype=float)
    )
    adam = optim.Adam(net.parameters(), lr=0.05)

    class Stop(tg.train.Callback):
        def on_step(self, run):
            if run.steps == stop:
                run.stop("for today")

    tg.fit(
        net,
        parallel.Shards(data.DataLoader(x, y, batch_size=4, shuffle=True, rng=3)),
        nn.functional.cross_entropy,
        adam,
        epochs=3,
        step=parallel.data_parallel,
        callbacks=[Stop(), tg.train.Checkpoint(path, every=1)],
        resume=True,
    )
    if parallel.world().rank == 0:
        print(*[x for p in net.parameters() for x in p.data.ravel().tolist()])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
