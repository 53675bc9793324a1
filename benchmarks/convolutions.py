"""Convolutions of random configurations beside PyTorch's, to second order; and how long they take.

    python benchmarks/convolutions.py [COUNT [SEED]]
    python benchmarks/convolutions.py time

Configurations are of one to three axes, convolutions and transposed ones, with any stride, padding,
dilation and groups, with and without batch and bias, of float32, float64 and complex128. What
PyTorch refuses has to be refused here too, but for results without entries.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:1] = [str(HERE.parent), str(HERE)]  # measure this checkout
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as theirs  # noqa: E402
from timing import Here, alternate, quartiles  # noqa: E402

from tensorgrad import Value  # noqa: E402
from tensorgrad.nn import functional as ours  # noqa: E402

Draw = np.random.Generator


def drawn(rng: Draw) -> tuple[str, list[Any], dict[str, Any]]:
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


def agree(name: str, found: Any, expected: Any) -> None:
    """PyTorch's gradients by complex numbers are the conjugates of ours."""
    expected = expected.detach().resolve_conj().numpy()
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype), name
    close = 3e-4 if found.dtype == np.float32 else 1e-9
    scale = max(1, np.abs(expected).max(initial=0))
    np.testing.assert_allclose(found, expected, close, close * scale, err_msg=name)


def compared(name: str, arrays: list[Any], settings: dict[str, Any], rng: Draw) -> str:
    """What became of a configuration."""
    said = f"{name}{[a.shape for a in arrays]} {settings} {arrays[0].dtype}"
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    values = [Value(a) for a in arrays]
    try:
        expected = getattr(theirs, name)(*tensors, **settings)
    except RuntimeError as error:
        try:
            found = getattr(ours, name)(*values, **settings)
        except ValueError:
            return "refused by both"
        if found.size or "too small" not in str(error):
            raise AssertionError(f"{said}: PyTorch says {error}") from None
        return "without entries"
    found = getattr(ours, name)(*values, **settings)
    agree(said, found.data, expected)
    if not found.size:
        return "without entries"
    g = rng.normal(size=found.shape).astype(found.real.dtype)
    total = np.sum(np.real(found * found) * g)
    total.backward(create_graph=True)
    slopes = [v.grad for v in values]
    total = ((expected * expected).real * torch.tensor(g)).sum()
    expected = torch.autograd.grad(total, tensors, create_graph=True)
    for a, b in zip(slopes, expected, strict=True):
        agree(said + ", gradient", a.data, b.conj())
    for v in values:
        v.grad = None
    sum(np.sum(np.real(a * a * a)) for a in slopes).backward()
    total = sum((b.conj() ** 3).real.sum() for b in expected)
    for v, b in zip(values, torch.autograd.grad(total, tensors), strict=True):
        agree(said + ", second order", v.grad, b.conj())
    return f"{name} agrees"


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


def times() -> None:
    """Forward and all gradients, float32, one thread."""
    rng = np.random.default_rng(0)
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

        taken = alternate({"ours": Here(step), "PyTorch": Here(peer)}, 15)
        ratio = quartiles(taken["ours"] / taken["PyTorch"])[1]
        own, other = (quartiles(t)[1] * 1e3 for t in taken.values())
        print(f"{what:32} {own:6.1f} ms, PyTorch {other:6.1f}, ratio {ratio:.2f}", flush=True)


def main(count: int = 1000, seed: int = 0) -> None:
    warnings.simplefilter("ignore")  # PyTorch's, of padding='same' with kernels of even size
    rng = np.random.default_rng(seed)
    fates = Counter(compared(*drawn(rng), rng) for _ in range(count))
    for fate, number in sorted(fates.items()):
        print(f"{number:6} {fate}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    times() if sys.argv[1:] == ["time"] else main(*map(int, sys.argv[1:]))
