"""Memory over 10,000 training steps without the garbage collector: it must stay flat."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

from contestants import CONTESTANTS
from result import Result
from steps import OURS, PROBLEMS, make_step

STEPS = 10_000


def resident() -> int:
    """Bytes of memory that this process holds (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def run(rounds: int) -> Iterator[Result]:
    ours = next(c for c in CONTESTANTS if c.name == OURS)
    step = make_step(ours, PROBLEMS["small"])
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
