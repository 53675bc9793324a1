"""Pooling, padding, folding and resampling beside PyTorch's.

    python benchmarks/pytorch_windows.py         random calls: values, indices, gradients
    python benchmarks/pytorch_windows.py time    forward, and backward, in both orders of memory

Wanted is PyTorch. A call that PyTorch refuses and that is taken here is counted, not wrong: its
pooling over three axes wants windows no larger than x without its padding, its fractional one also
one entry more. With `antialias` it answers wrongly for images of width 1: those are left out.
"""

from __future__ import annotations

import sys
from typing import Any

from beside import chance, report, rng, some, tensor, times
from beside import compare as compare_functions

# isort: split
import numpy as np
import torch

from tensorgrad import Value
from tensorgrad.nn import functional as F


def compare(name: str, x: Any, *args: Any, others: tuple[Any, ...] = (), **options: Any) -> None:
    """One call of both, differentiated by x and the others."""
    given = [tensor(a) for a in args]
    compare_functions(
        name,
        lambda *xs: seen(getattr(F, name)(*xs, *args, **options)),
        lambda *xs: seen(getattr(torch.nn.functional, name)(*xs, *given, **options)),
        [x, *others],
        f"{args} {options}",
        order=1,
        may_refuse=True,
    )


def seen(out: Any) -> Any:
    """Without places, if a window saw padding alone: it has none."""
    return out[0] if isinstance(out, tuple) and np.isinf(out[0].detach()).any() else out


def pooling(n: int) -> None:
    x = rng.standard_normal((*some(1, 3, 2), *some(1, 9, n)))
    k, s, d = some(1, 4, n), some(1, 4, n), some(1, 3, n)
    p = tuple(int(rng.integers(0, size // 2 + 1)) for size in k)
    ceil = chance()
    compare(f"max_pool{n}d", x, k, s, p, d, ceil_mode=ceil, return_indices=True)
    compare(f"avg_pool{n}d", x, k, s, p, ceil, chance())
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
        if chance():
            options["size"] = some(1, 12, n)
        else:
            factors = rng.choice([1.0, 1.5, 2.0, 3.0], n)
            options |= {"scale_factor": tuple(factors.tolist())}
            options["recompute_scale_factor"] = chance()
        if mode in (line, "bicubic"):
            options["align_corners"] = chance()
            wide = x.shape[-1] > 1 and options.get("size", (2,))[-1] > 1
            options["antialias"] = bool(n == 2 and wide and chance())
        compare("interpolate", x, **options)
    if n == 1:
        return
    grid = rng.uniform(-1.6, 1.6, (len(x), *some(1, 5, n), n))
    for mode in ("bilinear", "nearest", *["bicubic"] * (n == 2)):
        for padding in ("zeros", "border", "reflection"):
            align = chance()
            compare("grid_sample", x, mode, padding, align, others=(grid,))
    theta = rng.standard_normal((len(x), n, n + 1))
    compare("affine_grid", theta, x.shape, chance())


def measure(name: str, shape: tuple[int, ...], *args: Any, **options: Any) -> None:
    """Forward, and with backward, for each order of memory."""
    x = np.maximum(rng.standard_normal(shape).astype(np.float32), 0)
    t = torch.tensor(x, requires_grad=True)
    rows = np.ascontiguousarray(x.transpose(2, 1, 3, 0)).transpose(3, 1, 0, 2)
    theirs_of, ours_of = getattr(torch.nn.functional, name), getattr(F, name)
    for order, image in (("N, C, H, W", x), ("H, C, W, N", rows)):
        value = Value(image)
        g = np.ones_like(ours_of(value, *args, **options).data)
        cotangent = torch.ones(g.shape, dtype=t.dtype)

        def ours(value: Value = value, g: Any = g) -> None:
            value.grad = None
            ours_of(value, *args, **options).backward(g)

        def theirs(cotangent: Any = cotangent) -> None:
            t.grad = None
            theirs_of(t, *args, **options).backward(cotangent)

        what = f"{name} {shape} {args} ({order})"
        forward = {
            "ours": lambda v=value: ours_of(v, *args, **options),
            "PyTorch": lambda: theirs_of(t, *args, **options),
        }
        times(f"{what}, forward", forward, rounds=7)
        times(f"{what}, both", {"ours": ours, "PyTorch": theirs}, rounds=7)


def main() -> int:
    if sys.argv[1:] == ["time"]:
        measure("max_pool2d", (64, 20, 24, 24), 2)
        measure("max_pool2d", (64, 40, 8, 8), 2)
        measure("avg_pool2d", (64, 20, 24, 24), 2)
        measure("max_pool2d", (16, 64, 56, 56), 3, 2, 1)
        measure("avg_pool2d", (16, 64, 56, 56), 3, 2, 1)
        measure("interpolate", (16, 32, 32, 32), 64)
        measure("interpolate", (16, 32, 32, 32), 64, None, "bilinear")
        measure("unfold", (16, 32, 28, 28), 3)
        return 0
    for i in range(300):
        for kind in (pooling, moving, resampling):
            kind(1 + i % 3)
    return report()


if __name__ == "__main__":
    sys.exit(main() > 0)
