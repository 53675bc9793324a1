"""MNIST on many processes: each learns from its part of every batch, and all take the same steps.

    mpiexec -n 2 python examples/mpi_mnist.py --quick       # 4,000 images, seconds
    mpiexec -n 2 python examples/mpi_mnist.py

The losses are those of `python examples/mpi_mnist.py`, one process, to rounding. The data are found
as `tg.data.mnist` finds them (needs `tensorgrad-engine[data,mpi]`).
"""

import argparse

import tensorgrad as tg
from tensorgrad import data, nn, optim, parallel
from tensorgrad.nn import functional as F


def main(argv=None):
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    quick = options.parse_args(argv).quick
    images = data.mnist()
    n, epochs = (4_000, 2) if quick else (60_000, 5)
    x, y = images.x_train[:n].reshape(n, -1), images.y_train[:n]
    validation = images.x_test[:2000].reshape(2000, -1), images.y_test[:2000]

    model = nn.Sequential(nn.Linear(784, 100, rng=0), nn.ReLU(), nn.Linear(100, 10, rng=1))
    batches = data.DataLoader(x, y, batch_size=100, shuffle=True, rng=0)  # 100 of all ranks
    tg.fit(
        model,
        parallel.Shards(batches),
        F.cross_entropy,
        optim.Adam(model.parameters(), lr=1e-3),
        epochs=epochs,
        validation=validation,
        step=parallel.data_parallel,
        on_epoch=lambda line: print(
            f"epoch {line.epoch}: loss {line.loss:.4f}, accuracy {line.accuracy:.2%}"
        ),
    )


if __name__ == "__main__":
    main()
