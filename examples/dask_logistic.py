"""Logistic regression by L-BFGS over rows that are never in memory together: 20 GB, or 200 MB.

    python examples/dask_logistic.py --quick        # 200 MB
    python examples/dask_logistic.py                # 20 GB on the disk, an hour

The rows are written chunk by chunk to `rows/`, or wherever `--folder` says, and `dask.array` reads
them chunk by chunk. The loss is written as for NumPy's arrays; `tg.compute` makes the numbers of
loss and gradient in one pass over the files, and SciPy asks for them at each point it tries. In
memory are a chunk for each thread, and what is computed of it (needs
`tensorgrad-engine[dask,scipy]`).
"""

import argparse
import resource
import shutil
import sys
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
from scipy.optimize import minimize

import tensorgrad as tg
from tensorgrad.nn import functional as F

FEATURES, BLOCK = 20, 10_000


def write(folder, chunks, rows):
    """Rows of a known truth, a file for each chunk: features, and the answer in the last column."""
    truth, rng = np.linspace(-1, 1, FEATURES), np.random.default_rng(0)
    for i in range(chunks):
        with open(folder / f"{i:04}", "wb") as file:
            for _ in range(0, rows, BLOCK):
                x = rng.standard_normal((BLOCK, FEATURES + 1))
                x[:, -1] = rng.random(BLOCK) < 1 / (1 + np.exp(-x[:, :-1] @ truth))
                x.tofile(file)
    return truth


def read(folder, chunks, rows):
    """The files as one chunked array, read when a chunk's turn comes."""
    load = dask.delayed(lambda path: np.fromfile(path).reshape(rows, FEATURES + 1))
    files = [load(folder / f"{i:04}") for i in range(chunks)]
    return da.concatenate([da.from_delayed(f, (rows, FEATURES + 1), float) for f in files])


def peak():
    """The most memory that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(argv=None):
    options = argparse.ArgumentParser()
    options.add_argument("--quick", action="store_true")
    options.add_argument("--folder", default="rows")
    options = options.parse_args(argv)
    chunks, rows = (6, 210_000) if options.quick else (200, 600_000)
    folder = Path(options.folder)
    folder.mkdir()
    try:
        truth = write(folder, chunks, rows)
        data = read(folder, chunks, rows)
        X, y = data[:, :-1], data[:, -1]

        def loss(w, X=X, y=y):
            return F.binary_cross_entropy_with_logits(X @ w, y)

        tg.compute(*tg.value_and_grad(loss)(np.zeros(FEATURES), X[:9], y[:9]))  # all is imported
        before, size = peak(), data.nbytes / chunks / 2**20
        print(f"{data.nbytes / 1e9:.1f} GB in {chunks} chunks of {size:.0f} MB")

        def look(w):
            start = time.perf_counter()
            value, g = tg.compute(*tg.value_and_grad(loss)(w))
            seconds = time.perf_counter() - start
            print(f"loss {value:.6f}  |gradient| {np.linalg.norm(g):.1e}  {seconds:.1f} s")
            return value, g

        found = minimize(look, np.zeros(FEATURES), jac=True, method="L-BFGS-B", tol=1e-6)
        more = (peak() - before) / size
    finally:
        shutil.rmtree(folder)
    error = np.abs(found.x - truth).max()
    print(f"{found.nfev} passes, the largest error of a coefficient is {error:.4f}")
    print(f"memory: {before:.0f} MB before, at most {more:.1f} chunks more")


if __name__ == "__main__":
    sys.exit(main())
