"""Data-parallel steps in 1 and 2 processes, and what a model says of 8, 64 and 512.

    python benchmarks/parallel.py

Starts itself under mpiexec. Times are the least of many, on the clock: with two processes on two
free cores. Strong scaling has one batch of 1,024
for all, weak scaling 256 for each.

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
from itertools import pairwise
from math import log2
from pathlib import Path

import numpy as np

from tensorgrad import nn, optim, parallel
from tensorgrad.nn import functional as F

SIZES = (784, 500, 500, 10)
BATCH, EACH, STEPS = 1024, 256, 40
RANKS = (2, 8, 64, 512)
MESSAGES = 4  # of a step of `fit`, besides the buckets: examples, loss, who stops; few bytes


def least(f, times):
    """Seconds of the quickest call."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        f()
        found.append(time.perf_counter() - start)
    return min(found)


def step_of(ranks, n, overlap=True):
    """Seconds of a step with n examples in this rank, and those of it that it waits."""
    rng = np.random.default_rng(ranks.rank)
    layers = [nn.Linear(a, b, rng=i) for i, (a, b) in enumerate(pairwise(SIZES))]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    adam = optim.SGD(model.parameters(), lr=0.01)
    make = parallel.data_parallel(parallel.data.Step, overlap=overlap)
    step = make(model, F.cross_entropy, adam)
    x, y = rng.normal(size=(n, SIZES[0])).astype(np.float32), rng.integers(0, 10, n)
    waited = [0.0]
    wait = ranks.wait

    def timed(request):
        start = time.perf_counter()
        wait(request)
        waited[0] += time.perf_counter() - start

    ranks.wait = timed
    best = (np.inf, 0.0)
    for _ in range(STEPS):
        waited[0] = 0.0
        seconds = least(lambda: step(x, y), 1)
        best = min(best, (seconds, waited[0]))
    del ranks.wait
    return best


def worker():
    ranks = parallel.world()
    found = {
        "strong": step_of(ranks, BATCH // ranks.size),
        "weak": step_of(ranks, EACH),
        "weak, without overlap": step_of(ranks, EACH, overlap=False),
    }
    if ranks.size == 1:
        found |= {str(n): step_of(ranks, BATCH // n) for n in RANKS}
    else:
        for n in (1, 1 << 10, 1 << 14, 1 << 18, 1 << 20):
            found[f"allreduce {4 * n}"] = least(lambda n=n: ranks.sum(np.ones(n, "f4")), 100)
    if ranks.rank == 0:
        print(json.dumps(found))


def measured(n):
    """What the worker prints, in n processes."""
    beside = Path(sys.executable).parent / "mpiexec"
    start = [str(beside) if beside.exists() else "mpiexec", "--oversubscribe", "-n", str(n)]
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    env = {**os.environ, **allowed, "OPENBLAS_NUM_THREADS": "1"}
    command = [*(start if n > 1 else []), sys.executable, __file__, "--worker"]
    done = subprocess.run(command, env=env, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--worker", action="store_true")
    options.add_argument("--latency", type=float, help="seconds of a small message")
    options.add_argument("--bandwidth", type=float, help="bytes a second")
    options = options.parse_args()
    if options.worker:
        return worker()
    one, two = measured(1), measured(2)
    for name in ("strong", "weak", "weak, without overlap"):
        (alone, _), (seconds, waited) = one[name], two[name]
        work = 2 if name == "strong" else 1
        print(
            f"{name:22} 1: {1e3 * alone:6.2f} ms   2: {1e3 * seconds:6.2f} ms   efficiency "
            f"{alone / seconds / work:4.0%}   waiting for messages {waited / seconds:4.0%}"
        )
    sizes = {int(k.split()[1]): t for k, t in two.items() if k.startswith("allreduce")}
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

    for n in RANKS:
        strong, weak = predicted(one[str(n)][0], n), predicted(one["weak"][0], n)
        print(
            f"model, {n:3} ranks: strong {1e3 * strong:6.2f} ms, {one['strong'][0] / strong:6.1f} "
            f"times as fast; weak {1e3 * weak:6.2f} ms, efficiency {one['weak'][0] / weak:4.0%}"
        )
    return None


if __name__ == "__main__":
    main()
