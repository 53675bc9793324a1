"""Memory: over 10,000 training steps without the garbage collector it must stay flat; and what ten
steps take at most, compiling included.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from result import Result
from steps import COMPILED, HAND, LLVM, OURS, ROWS, TORCH, Row, transformer
from timing import ONE_THREAD, Apart

STEPS = 10_000
TARGETS = {COMPILED: (1.0, OURS), LLVM: (1.0, OURS)}
"""How much of whose memory."""
HALVES = ", microbatches=2"
BACKENDS = {
    name + halves: backend
    for name, backend in ((COMPILED, "numpy"), (LLVM, "llvm"))
    for halves in ("", HALVES)
}
OF_TRANSFORMER = {OURS: (1.5, TORCH), **dict.fromkeys(BACKENDS, (0.5, OURS))}


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
    """In place of a step: how much more memory ten steps take at most than before the first. What
    the compiler itself takes is loaded before, LLVM's 12 MiB too."""

    def __init__(self, make: Callable[[], Any], backend: str | None = None) -> None:
        if backend:
            import tensorgrad as tg

            tg.compile(lambda x: np.tanh(x) + x, backend=backend)(np.ones(9, np.float32))
        self.step = make()

    def __call__(self) -> float:
        Path("/proc/self/clear_refs").write_text("5")  # the highest from now on
        before = resident()
        for _ in range(10):
            self.step()
        (highest,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        return float(int(highest) * 1024 - before)


def in_halves(backend: str) -> Any:
    """The transformer's step, of one half of the batch after the other."""
    from contestants.transformer import tensorgrad as make

    import tensorgrad as tg

    return make(*transformer(), wrap=partial(tg.compile, backend=backend, microbatches=2))


def peak(rounds: int) -> Iterator[Result]:
    """Of each step and contestant in a process of its own, with kernels that are on the disk: the
    first time LLVM takes 40 MiB to compile them."""
    for name in "medium", "large", "convolution", "lstm":
        yield from peaks_of(ROWS[name], ROWS[name].makers, TARGETS)
    row = ROWS["transformer"]
    halves = {name: partial(in_halves, BACKENDS[name]) for name in BACKENDS if HALVES in name}
    yield from peaks_of(row, {**row.makers, **halves}, OF_TRANSFORMER)


def peaks_of(
    row: Row, makers: Mapping[str, Callable[[], Any]], targets: dict[str, tuple[float, str]]
) -> Iterator[Result]:
    peaks: dict[str, float] = {}
    names = [name for name in (HAND, OURS, *BACKENDS, TORCH) if name in makers]
    with TemporaryDirectory() as folder:
        env = {**ONE_THREAD, "TENSORGRAD_CACHE": folder}
        for name in sorted(names + [x for x in names if "llvm" in x], key=names.index):
            try:
                runner = Apart(Peak, makers[name], BACKENDS.get(name), env=env)
                (peaks[name],) = runner.ask("answers", 1)
            except (ImportError, EOFError, NotImplementedError) as error:
                print(f"  without {name}: {error or 'did not start'}", file=sys.stderr)
    for name, found in peaks.items():
        most, than = targets.get(name, (0.0, ""))
        judged = than in peaks
        ratio = found / peaks[than if judged else HAND]
        yield Result(
            f"{row.title}, memory",
            name,
            f"{found / 2**20:.1f} MiB",
            f"{found / peaks[HAND]:.2f}x",
            target=f"<= {most:.3g}x {than} ({ratio:.2f})" if judged else "",
            met=ratio <= most if judged else None,
            numbers={"bytes": found, "ratio": found / peaks[HAND]},
        )
