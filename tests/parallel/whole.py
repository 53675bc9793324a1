"""Run by test_parallel.py: a training that writes a checkpoint after each step, and stops after so
many; or goes on from it. Prints the parameters. After 0: never, in a
long epoch. `divided`: the state of the optimiser."""

import sys
from pathlib import Path

import numpy as np

import tensorgrad as tg
from tensorgrad import data, nn, optim, parallel


def main(path: str, stop: int, divided: bool) -> None:
    rng = np.random.default_rng(0)
    n = 22 if stop else 400_000
    x, y = rng.normal(size=(n, 5)), rng.integers(0, 3, n)
    net = nn.Sequential(
        nn.Linear(5, 8, rng=1, dtype=float), nn.Tanh(), nn.Linear(8, 3, rng=2, dtype=float)
    )
    adam = optim.Adam(net.parameters(), lr=0.05)
    if divided:
        adam = parallel.shard_state(adam)

    class Stop(tg.train.Callback):
        def on_step(self, run):
            if run.steps == stop:
                run.stop("for today")
            if not stop and run.steps == 1:
                Path(path).with_name("started").touch()

    tg.fit(
        net,
        parallel.Shards(data.DataLoader(x, y, batch_size=4, shuffle=True, rng=3)),
        nn.functional.cross_entropy,
        adam,
        epochs=3,
        step=parallel.data_parallel,
        callbacks=[Stop(), tg.train.Checkpoint(path, every=1 if stop else None)],
        resume=True,
    )
    if parallel.world().rank == 0:
        print(*[x for p in net.parameters() for x in p.data.ravel().tolist()])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "divided" in sys.argv)
