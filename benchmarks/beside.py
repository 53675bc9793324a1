"""What the scripts `pytorch_*.py` share: a call of ours beside PyTorch's, to second order, counted.

Import it first: it makes this checkout the one that is compared, with one thread.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from timing import Here, alternate, quartiles  # noqa: E402

from tensorgrad import Value  # noqa: E402

torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
warnings.simplefilter("ignore")
rng = np.random.default_rng(0)
counts: Counter[str] = Counter()
different: Counter[str] = Counter()


def some(low: int, high: int, n: int) -> tuple[int, ...]:
    """`n` whole numbers from `low` on, below `high`."""
    return tuple(rng.integers(low, high, n).tolist())


def chance(p: float = 0.5) -> bool:
    return bool(rng.random() < p)


def tensor(x: Any) -> Any:
    """Arrays for PyTorch, anything else as it is."""
    return torch.tensor(x) if isinstance(x, (np.ndarray, np.generic)) else x


def flat(out: Any) -> list[Any]:
    """The arrays of nested results, without None."""
    if hasattr(out, "batch_sizes"):  # packed
        return [out.data]
    if isinstance(out, (tuple, list)):
        return [y for part in out for y in flat(part)]
    return [] if out is None else [out]


def same(family: str, ours: Any, theirs: Any, what: str) -> None:
    """Compare two arrays; None is 0. A difference is a line."""
    ours = getattr(ours, "data", ours)
    theirs = theirs.detach().numpy(force=True) if hasattr(theirs, "detach") else theirs
    a = np.asarray(0.0 if ours is None else ours)
    b = np.asarray(0.0 if theirs is None else theirs)
    if np.isfinite(a).all() and not np.isfinite(b).all():
        counts[f"{family}: PyTorch's alone is not finite"] += 1
        return
    counts[family] += 1
    close = 3e-4 if b.dtype == np.float32 else 1e-7
    scale = np.max(np.abs(b[np.isfinite(b)]), initial=1e-2)
    fits = ours is None or theirs is None or (a.shape, a.dtype) == (b.shape, b.dtype)
    if not fits or not np.allclose(a, b, close, close * scale, equal_nan=True):
        different[family] += 1
        by = np.max(np.abs(a - b), initial=0.0) if a.shape == b.shape else a.shape
        print(f"{family}: {what}: {a.dtype} and {b.dtype}, by {by}")


def compare(
    family: str,
    ours: Callable[..., Any],
    theirs: Callable[..., Any],
    arrays: Sequence[Any],
    what: object = "",
    *,
    order: int = 2,
    parameters: Sequence[tuple[Any, Any]] = (),
    may_refuse: bool = False,
) -> None:
    """`ours` of Values beside `theirs` of tensors: values, gradients by all arrays and parameters
    (pairs), and the derivatives of these along a random direction.

    What PyTorch refuses has to be refused here too, unless the result has no entries, or PyTorch
    `may_refuse` what is taken here.
    """
    what = f"{[np.shape(a) for a in arrays]} {what}"
    values = [Value(a) for a in arrays]
    tensors = [torch.tensor(a, requires_grad=True) for a in arrays]
    try:
        expected = flat(theirs(*tensors))
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        try:
            found = flat(ours(*values))
        except ValueError:
            counts[f"{family}: refused by both"] += 1
            return
        counts[f"{family}: refused by PyTorch alone"] += 1
        if not may_refuse and found[0].size:
            different[family] += 1
            print(f"{family}: {what}: PyTorch says {error}")
        return
    found = flat(ours(*values))
    for y, z in zip(found, expected, strict=True):
        same(family, y, z, what)
    pairs = [(y, z) for y, z in zip(found, expected) if z.isfinite().all()]
    leaves = [*values, *(p for p, _ in parameters)]
    others = [*tensors, *(q for _, q in parameters)]
    for k in range(1, order + 1):
        seeds = [rng.normal(size=np.shape(y)).astype(y.real.dtype) for y, _ in pairs]
        mine = [np.sum(np.real(y * s)) for (y, _), s in zip(pairs, seeds) if learns(y)]
        its = [(z * torch.tensor(s)).real.sum() for (_, z), s in zip(pairs, seeds) if learns(z)]
        for p in leaves:
            p.grad = None
        if mine:
            sum(mine).backward(create_graph=k < order)
        slopes = [None] * len(others)
        try:
            if its:
                slopes = torch.autograd.grad(
                    sum(its), others, create_graph=k < order, allow_unused=True
                )
        except RuntimeError:
            counts[f"{family}, order {k}: PyTorch has none"] += 1
            return
        if not mine and not its:  # it is linear
            return
        slopes = [None if g is None else g.conj() for g in slopes]  # PyTorch's are the conjugates
        for p, g in zip(leaves, slopes, strict=True):
            same(f"{family}, order {k}", p.grad, g, what)
        pairs = [
            (p.grad, g) for p, g in zip(leaves, slopes) if p.grad is not None and g is not None
        ]


def learns(x: Any) -> bool:
    """Whether it has a gradient: of integers, and at times of gradients, there is none."""
    return bool(getattr(x, "requires_grad", False))


def report() -> int:
    """Print the counts; how many differ."""
    for name, n in sorted(counts.items()):
        print(f"{n:7} {name}" + (f", {different[name]} different" if different[name] else ""))
    wrong = sum(different.values())
    print(f"{sum(counts.values())} compared, {wrong} different")
    return wrong


def times(what: str, runners: dict[str, Callable[[], Any]], rounds: int = 15) -> None:
    """A line: milliseconds of the processor, the medians of steps in turn, and ours over each."""
    taken = alternate({name: Here(step) for name, step in runners.items()}, rounds)
    first = next(iter(taken.values()))
    line = [f"{name} {1e3 * quartiles(t)[1]:.3f}" for name, t in taken.items()]
    line += [f"ratio {quartiles(first / t)[1]:.2f}" for t in list(taken.values())[1:]]
    print(f"{what}: {'  '.join(line)}", flush=True)
