"""Data-parallel steps in 1 and 2 processes, and what a model says of 8, 64 and 512.

    python benchmarks/parallel.py
    python benchmarks/parallel.py --delay 0.001     # from root: over a slow link, see link.py

Starts itself under mpiexec. Times are the least of many, on the clock, of contestants in turn; that
of one rank is taken in both at once. Two free cores are needed. Strong scaling has one batch of
1,024 for all, weak scaling 256 for each.

The model: a step of n ranks takes the time that one rank needs for its part of the batch, and for
each message of the step 2 log2(n) latencies and 2 (n - 1) / n times its bytes by the bandwidth (the
ring of Patarasu and Yuan, 2009). Latency and bandwidth are those of an allreduce measured here, in
shared memory: over a network both are worse, and --latency and --bandwidth say by how much. It
assumes that no rank is slower than another, that the network has that bandwidth between all pairs
at once, and that nothing of it is hidden behind the sweep.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from math import log2
from pathlib import Path

import numpy as np
from link import OPTIONS, link

import tensorgrad as tg
from tensorgrad import nn, optim, parallel
from tensorgrad.nn import functional as F

SIZES = (784, 500, 500, 10)
BATCH, EACH, ROUNDS = 1024, 256, 40
PARTS = {n: BATCH // n for n in (2, 8, 64, 512)}
MESSAGES = 1  # of a step besides the buckets: weights and losses, few bytes


def step_of(n, make):
    """A step of a kind, with n examples in this rank."""
    rng = np.random.default_rng(parallel.world().rank)
    layers = [nn.Linear(a, b, rng=i) for i, (a, b) in enumerate(pairwise(SIZES))]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    step = make(model, F.cross_entropy, optim.SGD(model.parameters(), lr=0.01))
    x, y = rng.normal(size=(n, SIZES[0])).astype(np.float32), rng.integers(0, 10, n)
    return lambda: step(x, y)


def worker():
    """Each contestant in turn, in both ranks at once; the least seconds of each."""
    ranks = parallel.world()
    without = parallel.data_parallel(tg.Step, overlap=False)
    contestants = {f"alone {n}": step_of(n, tg.Step) for n in {BATCH, EACH, *PARTS.values()}}
    for n in (BATCH // 2, EACH):
        contestants[f"together {n}"] = step_of(n, parallel.data_parallel)
        contestants[f"without overlap {n}"] = step_of(n, without)
    for n in (1, 1 << 10, 1 << 14, 1 << 18, 1 << 20):
        contestants[f"allreduce {4 * n}"] = partial(ranks.sum, np.ones(n, "f4"))
    found = dict.fromkeys(contestants, np.inf)
    for _ in range(ROUNDS):
        for name, take in contestants.items():
            ranks.total(at=name)
            start = time.perf_counter()
            take()
            found[name] = min(found[name], time.perf_counter() - start)
    if ranks.rank == 0:
        print(json.dumps(found))


def measured(delay):
    """What the worker prints."""
    beside = Path(sys.executable).parent / "mpiexec"
    start = [str(beside) if beside.exists() else "mpiexec", "--oversubscribe", "-n", "2"]
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    env = {**os.environ, **allowed, "OPENBLAS_NUM_THREADS": "1"}
    command = [*start, sys.executable, __file__, "--worker"]
    with link(delay) if delay else nullcontext() as inside:
        if delay:
            command = [*inside, start[0], *OPTIONS, *command[1:]]
        done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--worker", action="store_true")
    options.add_argument("--latency", type=float, help="seconds of a small message")
    options.add_argument("--bandwidth", type=float, help="bytes a second")
    options.add_argument("--delay", type=float, help="seconds of a frame between two namespaces")
    options = options.parse_args()
    if options.worker:
        return worker()
    found = measured(options.delay)
    for name, whole, part in (("strong", BATCH, BATCH // 2), ("weak", EACH, EACH)):
        one, two, blocking = (
            found[key] for key in (f"alone {whole}", f"together {part}", f"without overlap {part}")
        )
        print(
            f"{name:6}  one rank {1e3 * one:6.2f} ms   two {1e3 * two:6.2f} ms (without overlap "
            f"{1e3 * blocking:6.2f})   efficiency {one / two * part / whole:4.0%}   "
            f"communication {1 - found[f'alone {part}'] / two:4.0%}"
        )
    sizes = {int(k.split()[1]): t for k, t in found.items() if k.startswith("allreduce")}
    for size, t in sizes.items():
        print(f"allreduce of {size:9,} bytes {1e6 * t:8.1f} µs")
    large = max(sizes)
    latency = options.latency or min(sizes.values())
    bandwidth = options.bandwidth or large / (sizes[large] - min(sizes.values()))
    size = 4 * sum((a + 1) * b for a, b in pairwise(SIZES))
    print(f"gradients {size:,} bytes, latency {1e6 * latency:.1f} µs, {bandwidth / 1e9:.2f} GB/s")

    def predicted(compute, n):
        buckets = max(1, size // parallel.buckets.LARGE)
        messages = (MESSAGES + buckets) * 2 * log2(n) * latency
        return compute + messages + 2 * (n - 1) / n * size / bandwidth

    whole, each = found[f"alone {BATCH}"], found[f"alone {EACH}"]
    for n, part in PARTS.items():
        strong, weak = predicted(found[f"alone {part}"], n), predicted(each, n)
        print(
            f"model, {n:3} ranks: strong {1e3 * strong:6.2f} ms, {whole / strong:5.1f} times as "
            f"fast; weak {1e3 * weak:6.2f} ms, efficiency {each / weak:4.0%}"
        )
    return None


if __name__ == "__main__":
    main()
