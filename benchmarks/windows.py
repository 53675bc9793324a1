"""Pooling, padding, folding and resampling beside PyTorch's.

    python benchmarks/windows.py         random calls: values, indices, gradients, refusals
    python benchmarks/windows.py time    forward, and with backward, in both orders of memory

Wanted is PyTorch. A call that PyTorch refuses and that is taken here is counted, not wrong: its
pooling over three axes wants windows no larger than x without its padding, its fractional one also
one entry more. With `antialias` it answers wrongly for images of width 1: those are left out.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:1] = [str(HERE.parent), str(HERE)]  # measure this checkout
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402

from tensorgrad import Value  # noqa: E402
from tensorgrad.nn import functional as F  # noqa: E402

rng = np.random.default_rng(0)
counts: Counter[str] = Counter()


def some(low: int, high: int, n: int) -> tuple[int, ...]:
    return tuple(rng.integers(low, high, n).tolist())


def compare(name: str, x: Any, *args: Any, others: tuple[Any, ...] = (), **options: Any) -> None:
    """One call of both: values, indices if there are any, and gradients for a random cotangent."""
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, *others)]
    values = [Value(a) for a in (x, *others)]
    theirs_of, ours_of = getattr(torch.nn.functional, name), getattr(F, name)
    given = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in args]
    refused = ours = None
    try:
        theirs = theirs_of(*tensors, *given, **options)
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        refused = error
    try:
        ours = ours_of(*values, *args, **options)
    except ValueError:
        if refused is None:
            raise
    if refused is not None:
        counts["refused by both" if ours is None else "refused by PyTorch"] += 1
        return
    if isinstance(ours, tuple):
        (ours, places), (theirs, expected) = ours, theirs
        if not np.isinf(ours.data).any():  # a window of padding alone
            np.testing.assert_array_equal(places, expected.numpy(), name)
    close: Any = {"rtol": 1e-8, "atol": 1e-10, "err_msg": f"{name} {x.shape} {args} {options}"}
    np.testing.assert_allclose(ours.data, theirs.detach().numpy(), **close)
    if np.isinf(ours.data).any():
        return
    g = rng.standard_normal(ours.shape)
    ours.backward(g)
    theirs.backward(torch.tensor(g))
    for value, tensor in zip(values, tensors, strict=True):
        expected = 0 if tensor.grad is None else tensor.grad.numpy()
        np.testing.assert_allclose(0 if value.grad is None else value.grad, expected, **close)
    counts[name] += 1


def pooling(n: int) -> None:
    x = rng.standard_normal((*some(1, 3, 2), *some(1, 9, n)))
    k, s, d = some(1, 4, n), some(1, 4, n), some(1, 3, n)
    p = tuple(int(rng.integers(0, size // 2 + 1)) for size in k)
    ceil = bool(rng.integers(2))
    compare(f"max_pool{n}d", x, k, s, p, d, ceil_mode=ceil, return_indices=True)
    compare(f"avg_pool{n}d", x, k, s, p, ceil, bool(rng.integers(2)))
    compare(f"lp_pool{n}d", np.abs(x) + 0.1, float(rng.integers(1, 4)), k if n > 1 else k[0])
    sizes = some(1, 6, n)
    compare(f"adaptive_avg_pool{n}d", x, sizes)
    compare(f"adaptive_max_pool{n}d", x, sizes, return_indices=True)
    if n > 1:
        u = rng.random((*x.shape[:2], n))
        compare(f"fractional_max_pool{n}d", x, k, some(1, 5, n), None, False, u)


def moving(n: int) -> None:
    x = rng.standard_normal((*some(1, 3, 2), *some(1, 7, n)))
    for mode in ("constant", "reflect", "replicate", "circular"):
        compare("pad", x, some(-1 if mode == "constant" else 0, 3, 2 * n), mode)
    image = rng.standard_normal((*some(1, 3, 2), *some(2, 8, 2)))
    compare("unfold", image, some(1, 4, 2), some(1, 3, 2), some(0, 2, 2), some(1, 4, 2))
    compare("pixel_shuffle", rng.standard_normal((2, 4, *some(1, 4, 2))), 2)
    compare("pixel_unshuffle", rng.standard_normal((2, 2, 4, 6)), 2)
    compare("channel_shuffle", rng.standard_normal((2, 6, *some(1, 4, 2))), int(rng.integers(1, 5)))


def resampling(n: int) -> None:
    x = rng.standard_normal((*some(1, 3, 2), *some(1, 8, n)))
    line = {1: "linear", 2: "bilinear", 3: "trilinear"}[n]
    for mode in ("nearest", "nearest-exact", "area", line, *["bicubic"] * (n == 2)):
        options: dict[str, Any] = {"mode": mode}
        if rng.integers(2):
            options["size"] = some(1, 12, n)
        else:
            factors = rng.choice([1.0, 1.5, 2.0, 3.0], n)
            options |= {"scale_factor": tuple(factors.tolist())}
            options["recompute_scale_factor"] = bool(rng.integers(2))
        if mode in (line, "bicubic"):
            options["align_corners"] = bool(rng.integers(2))
            wide = x.shape[-1] > 1 and options.get("size", (2,))[-1] > 1
            options["antialias"] = bool(n == 2 and wide and rng.integers(2))
        compare("interpolate", x, **options)
    if n == 1:
        return
    grid = rng.uniform(-1.6, 1.6, (len(x), *some(1, 5, n), n))
    for mode in ("bilinear", "nearest", *["bicubic"] * (n == 2)):
        for padding in ("zeros", "border", "reflection"):
            align = bool(rng.integers(2))
            compare("grid_sample", x, mode, padding, align, others=(grid,))
    theta = rng.standard_normal((len(x), n, n + 1))
    compare("affine_grid", theta, x.shape, bool(rng.integers(2)))


def milliseconds(f: Callable[[], Any], rounds: int = 5) -> float:
    """The processor's time of a call, the median of some after one that does not count."""
    times = []
    for _ in range(rounds + 1):
        start = time.process_time()
        f()
        times.append(1e3 * (time.process_time() - start))
    return float(np.median(times[1:]))


def measure(name: str, shape: tuple[int, ...], *args: Any, **options: Any) -> None:
    """Forward and both directions of ours over PyTorch's, in turn, for each order of memory."""
    torch.set_num_threads(1)
    x = np.maximum(rng.standard_normal(shape).astype(np.float32), 0)
    tensor = torch.tensor(x, requires_grad=True)
    rows = np.ascontiguousarray(x.transpose(2, 1, 3, 0)).transpose(3, 1, 0, 2)
    theirs_of, ours_of = getattr(torch.nn.functional, name), getattr(F, name)
    for order, image in (("N, C, H, W", x), ("H, C, W, N", rows)):
        value = Value(image)
        g = np.ones_like(ours_of(value, *args, **options).data)
        cotangent = torch.ones(g.shape)

        def ours(value: Value = value, g: Any = g) -> None:
            value.grad = None
            ours_of(value, *args, **options).backward(g)

        def theirs(cotangent: Any = cotangent) -> None:
            tensor.grad = None
            theirs_of(tensor, *args, **options).backward(cotangent)

        pairs = [
            (milliseconds(lambda v=value: ours_of(v, *args, **options)), milliseconds(ours)),
            (milliseconds(lambda: theirs_of(tensor, *args, **options)), milliseconds(theirs)),
        ]
        (f, b), (tf, tb) = pairs
        print(f"{name} {shape} {args} ({order}): {f:.2f} {b:.2f} ms, PyTorch {tf:.2f} {tb:.2f}")


def main() -> None:
    warnings.simplefilter("ignore")
    if sys.argv[1:] == ["time"]:
        measure("max_pool2d", (64, 20, 24, 24), 2)
        measure("max_pool2d", (64, 40, 8, 8), 2)
        measure("avg_pool2d", (64, 20, 24, 24), 2)
        measure("max_pool2d", (16, 64, 56, 56), 3, 2, 1)
        measure("avg_pool2d", (16, 64, 56, 56), 3, 2, 1)
        measure("interpolate", (16, 32, 32, 32), 64)
        measure("interpolate", (16, 32, 32, 32), 64, None, "bilinear")
        measure("unfold", (16, 32, 28, 28), 3)
        return
    for i in range(300):
        for kind in (pooling, moving, resampling):
            kind(1 + i % 3)
    for name, count in sorted(counts.items()):
        print(f"{count:6} {name}")


if __name__ == "__main__":
    main()
