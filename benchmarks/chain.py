"""A chain of up to a million scalar operations: linear time, no recursion, freed in one piece."""

from __future__ import annotations

import time
from collections.abc import Iterator

from result import Result, time_text

from tensorgrad import Value

LENGTHS = (1_000, 10_000, 100_000, 1_000_000)


def once(n: int) -> tuple[float, float, float]:
    """Seconds of forward, backward, and letting go."""
    start = time.perf_counter()
    x = Value(1.0)
    y = x
    for _ in range(n // 2):
        y = y * 0.999
        y = y + 0.001
    built = time.perf_counter()
    y.backward()
    swept = time.perf_counter()
    assert abs(x.grad - 0.999 ** (n // 2)) < 1e-9
    del y
    return built - start, swept - built, time.perf_counter() - swept


def run(rounds: int) -> Iterator[Result]:
    """Linear: ten times the length costs each operation less than twice as much (a quadratic
    algorithm: ten times). It does cost more, as the graph outgrows the caches and the garbage
    collector visits it."""
    before = None
    for n in LENGTHS:
        repeats = max(1, min(rounds, 100_000 // n))
        forward, backward, free = min((once(n) for _ in range(repeats)), key=sum)
        each = (forward + backward + free) / n
        ratio = each / before if before else None
        yield Result(
            f"chain of {n:,} operations",
            "tensorgrad",
            f"{time_text(each)} per operation: "
            f"{forward / n * 1e9:.0f} + {backward / n * 1e9:.0f} + {free / n * 1e9:.0f} ns",
            ratio=f"{ratio:.2f}x of a tenth" if ratio else "",
            target="linear: < 2x" if ratio else "",
            met=ratio < 2 if ratio else None,
            numbers={"n": n, "forward": forward, "backward": backward, "free": free},
        )
        before = each
