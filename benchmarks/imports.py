"""What `import tensorgrad` adds to `import numpy`, in fresh processes that take turns."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
from result import Result
from timing import quartiles

LIMIT = 0.060


def seconds(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def run(rounds: int) -> Iterator[Result]:
    codes = "import numpy", "import numpy, tensorgrad"
    for code in codes:
        seconds(code)  # writes the .pyc files
    pairs = np.array([[seconds(code) for code in codes] for _ in range(max(15, rounds // 2))])
    low, added, high = quartiles(pairs[:, 1] - pairs[:, 0])
    yield Result(
        "import",
        "tensorgrad",
        f"{added * 1e3:.1f} ms [{low * 1e3:.1f}, {high * 1e3:.1f}] over NumPy's "
        f"{quartiles(pairs[:, 0])[1] * 1e3:.0f} ms",
        target=f"< {LIMIT * 1e3:.0f} ms",
        met=added < LIMIT,
        numbers={"added_seconds": added, "numpy_seconds": quartiles(pairs[:, 0])[1]},
    )
