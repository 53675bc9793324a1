"""Convolutions of random configurations beside PyTorch's, to second order; and how long they take.

    python benchmarks/pytorch_convolutions.py [COUNT]
    python benchmarks/pytorch_convolutions.py time

Configurations are of one to three axes, convolutions and transposed ones, with any stride, padding,
dilation and groups, with and without batch and bias, of float32, float64 and complex128. What
PyTorch refuses has to be refused here too, but for results without entries.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from beside import compare, report, rng, times

# isort: split
import numpy as np
import torch
import torch.nn.functional as theirs

from tensorgrad import Value
from tensorgrad.nn import functional as ours


def drawn() -> tuple[str, list[Any], dict[str, Any]]:
    """The name of a function, arrays x, weight and bias, and its settings."""
    n, transposed = int(rng.integers(1, 4)), rng.random() < 0.4
    integers = lambda low, high, size=n: tuple(rng.integers(low, high + 1, size).tolist())
    some = lambda low, high: (
        integers(low, high) if rng.random() < 0.6 else integers(low, high, 1)[0]
    )
    (groups, m, k), kernel = integers(1, 3, 3), integers(1, 3)
    inputs, outputs, size = groups * min(m, 2), groups * min(k, 2), integers(1, 7 if n < 3 else 4)
    settings = {"stride": some(1, 3), "dilation": some(1, 2), "groups": groups}
    settings["padding"] = some(0, 2)
    if transposed:
        settings["output_padding"] = some(0, 1)
    elif rng.random() < 0.2:
        settings |= {"padding": "same", "stride": 1}
    elif rng.random() < 0.2:
        settings["padding"] = "valid"
    shape = (inputs, outputs // groups) if transposed else (outputs, inputs // groups)
    batch = integers(1, 3, 1) if rng.random() < 0.8 else ()
    dtype = rng.choice([np.float32, np.float64, np.float64, np.complex128])
    arrays = [rng.normal(size=s) for s in ((*batch, inputs, *size), (*shape, *kernel), (outputs,))]
    if dtype is np.complex128:
        arrays = [a + 1j * rng.normal(size=a.shape) for a in arrays]
    arrays = [a.astype(dtype) for a in arrays][: 3 if rng.random() < 0.7 else 2]
    return f"conv{'_transpose' * transposed}{n}d", arrays, settings


TIMED: dict[str, tuple[str, Any, Any, dict[str, Any]]] = {
    "64 maps 56x56, one image": ("conv2d", (1, 64, 56, 56), (64, 64, 3, 3), {"padding": 1}),
    "512 maps 7x7, one image": ("conv2d", (1, 512, 7, 7), (512, 512, 3, 3), {"padding": 1}),
    "32 to 64 maps 32x32, 32 images": ("conv2d", (32, 32, 32, 32), (64, 32, 3, 3), {"padding": 1}),
    "stride 2": ("conv2d", (16, 64, 28, 28), (128, 64, 3, 3), {"padding": 1, "stride": 2}),
    "kernels 1x1": ("conv2d", (16, 128, 28, 28), (128, 128, 1, 1), {}),
    "4 groups": ("conv2d", (16, 64, 28, 28), (64, 16, 3, 3), {"padding": 1, "groups": 4}),
    "depthwise": ("conv2d", (16, 64, 28, 28), (64, 1, 3, 3), {"padding": 1, "groups": 64}),
    "one axis": ("conv1d", (8, 32, 2000), (64, 32, 9), {"padding": 4}),
    "three axes": ("conv3d", (2, 8, 16, 16, 16), (16, 8, 3, 3, 3), {"padding": 1}),
}


def time() -> None:
    """Forward and all gradients, float32."""
    for what, (name, x_shape, w_shape, settings) in TIMED.items():
        arrays = [rng.normal(size=s).astype(np.float32) for s in (x_shape, w_shape, w_shape[:1])]
        g = np.ones_like(getattr(ours, name)(*arrays, **settings), order="C")
        tensors, seed = [torch.tensor(a, requires_grad=True) for a in arrays], torch.tensor(g)

        def step(arrays: Any = arrays, name: str = name, g: Any = g, how: Any = settings) -> None:
            getattr(ours, name)(*map(Value, arrays), **how).backward(g)

        def peer(ts: Any = tensors, name: str = name, g: Any = seed, how: Any = settings) -> None:
            for t in ts:
                t.grad = None
            getattr(theirs, name)(*ts, **how).backward(g)

        times(f"{what:32}", {"ours": step, "PyTorch": peer})


def main(count: int = 1000) -> int:
    for _ in range(count):
        name, arrays, settings = drawn()
        f, g = (partial(getattr(library, name), **settings) for library in (ours, theirs))
        compare(name, f, g, arrays, f"{settings} {arrays[0].dtype}")
    return report()


if __name__ == "__main__":
    sys.exit(time() if sys.argv[1:] == ["time"] else main(*map(int, sys.argv[1:])) > 0)
