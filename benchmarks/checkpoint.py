"""Memory of a deep network with and without `tg.checkpoint`.

64 layers in 8 segments: of each segment the input is kept, and the sweep computes its inside again
(T. Chen et al., 2016: √n segments of √n layers).
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from result import Result, time_text

import tensorgrad as tg

LAYERS, SEGMENT, WIDTH, BATCH = 64, 8, 1024, 256
LIMIT = 0.25

Layers = list[tuple[tg.Value, tg.Value]]


def segment(x: Any, layers: Layers) -> Any:
    for W, b in layers:
        x = np.tanh(x @ W + b)
    return x


def step(block: Callable[[Any, Layers], Any], layers: Layers, x: Any) -> tuple[int, int, float]:
    """Bytes of the activations after the forward, and at the peak of the sweep; seconds.

    What counts is all that is allocated, but for the gradients that the sweep leaves behind.
    """
    gc.collect()
    start = time.perf_counter()
    tracemalloc.start()
    try:
        for i in range(0, LAYERS, SEGMENT):
            x = block(x, layers[i : i + SEGMENT])
        loss = np.mean(x**2)
        held, _ = tracemalloc.get_traced_memory()
        loss.backward()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    gradients = sum(p.grad.nbytes for layer in layers for p in layer)
    return held, peak - gradients, time.perf_counter() - start


def run(rounds: int) -> Iterator[Result]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, WIDTH)).astype(np.float32)
    scale = np.float32(WIDTH**-0.5)
    weights = [rng.normal(size=(WIDTH, WIDTH)).astype(np.float32) * scale for _ in range(LAYERS)]
    held, peak, seconds, gradients = {}, {}, {}, {}
    blocks = {"tensorgrad": segment, "with tg.checkpoint": tg.checkpoint(segment)}
    for name, block in blocks.items():
        layers = [(tg.Value(W), tg.Value(np.zeros(WIDTH, np.float32))) for W in weights]
        held[name], peak[name], seconds[name] = step(block, layers, x)
        gradients[name] = [p.grad for layer in layers for p in layer]
    plain, ours = blocks
    for one, other in zip(gradients[plain], gradients[ours], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7 * np.abs(one).max())
    for name in blocks:
        ratio, kept = peak[name] / peak[plain], held[name] / held[plain]
        yield Result(
            f"activations, {LAYERS} layers of {WIDTH:,}, batch {BATCH}",
            name,
            f"{peak[name] / 2**20:.0f} MiB at the peak, {held[name] / 2**20:.0f} after the "
            f"forward, {time_text(seconds[name])}",
            ratio=f"{ratio:.3f}x at the peak, {kept:.3f}x" if name == ours else "",
            target=f"< {LIMIT}x" if name == ours else "",
            met=max(ratio, kept) < LIMIT if name == ours else None,
            numbers={"peak": peak[name], "held": held[name], "seconds": seconds[name]},
        )
