"""Memory: over 10,000 training steps without the garbage collector it must stay flat; and what a
step of a character transformer takes at most.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from result import Result
from steps import COMPILED, HAND, LLVM, OURS, ROWS, TORCH
from timing import ONE_THREAD, Apart

STEPS = 10_000
TARGETS = {OURS: (1.5, TORCH), COMPILED: (0.5, OURS), LLVM: (0.5, OURS)}
"""Of a transformer: how much of whose memory."""


def resident() -> int:
    """Bytes of memory that this process holds (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(rounds: int) -> Iterator[Result]:
    step = ROWS["small"].makers[OURS]()
    gc.collect()
    gc.disable()
    try:
        for _ in range(200):
            step()
        objects, memory = len(gc.get_objects()), resident()
        for _ in range(STEPS):
            step()
        more, grown = len(gc.get_objects()) - objects, resident() - memory
    finally:
        gc.enable()
    yield Result(
        f"memory over {STEPS:,} steps, no gc",
        OURS,
        f"{more:+d} objects, {grown / 1024:+.0f} KiB",
        target="flat: +0, < 1 MiB",
        met=more <= 0 and grown < 2**20,
        numbers={"objects": more, "bytes": grown},
    )


class Peak:
    """In place of a step: how much more memory ten steps take at most than before the first."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.step = make()

    def __call__(self) -> float:
        before = resident()
        for _ in range(10):
            self.step()
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return float(highest - before)


def peak(rounds: int) -> Iterator[Result]:
    """In a process each."""
    row, peaks = ROWS["transformer"], {}
    for name in (HAND, OURS, COMPILED, LLVM, TORCH):
        try:
            (peaks[name],) = Apart(Peak, row.makers[name], env=ONE_THREAD).ask("answers", 1)
        except (ImportError, EOFError, NotImplementedError) as error:
            print(f"  without {name}: {error or 'did not start'}", file=sys.stderr)
    for name, found in peaks.items():
        most, than = TARGETS.get(name, (0.0, ""))
        judged = than in peaks
        ratio = found / peaks[than if judged else HAND]
        yield Result(
            f"{row.title}, memory",
            name,
            f"{found / 2**20:.1f} MiB",
            f"{found / peaks[HAND]:.2f}x",
            target=f"<= {most}x {than} ({ratio:.2f})" if judged else "",
            met=ratio <= most if judged else None,
            numbers={"bytes": found, "ratio": found / peaks[HAND]},
        )
