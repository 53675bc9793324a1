"""What a compiled step costs: operations, bytes, and time beside the least that the machine can
do.
"""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tensorgrad.compiler.capture import Argument, parts
from tensorgrad.compiler.costs import bytes_of, cost_of_check, flops
from tensorgrad.compiler.lives import in_order
from tensorgrad.compiler.names import BACKWARD, UPDATE
from tensorgrad.compiler.program import Instruction
from tensorgrad.compiler.results import results_of
from tensorgrad.compiler.source import CHECK, code_of, function_of
from tensorgrad.nn.summary import Sheet, size

if TYPE_CHECKING:
    from tensorgrad.compiler.version import Version

SECONDS, RUNS = 0.1, 100
"""How long a step is run for its times, and how often at most."""
LONG = 3000
"""Operations of a step whose `peak` is not measured: tracemalloc looks for the line of each array,
which takes 20 s where there are 50,000."""


@dataclass
class Operation:
    """One of a step. `part`: forward, backward or update; `module`: in whose call it was written;
    `code`: its line; `flops`; `bytes` that it reads and writes; `seconds` that it took, and `least`
    that it could take: its flops at the rate of a large product of matrices, or its bytes at the
    rate of a copy, whichever is longer."""

    part: str
    module: str
    code: str
    flops: int
    bytes: int
    seconds: float
    least: float


@dataclass(repr=False)
class Report(Sheet):
    """What a step costs at each call. `operations`, in their order; `flops` and `bytes` of all;
    `seconds` of a call; `least`, the sum of what its operations could take; `held`: bytes of arrays
    that are kept between calls, large results among them; `peak`: bytes at most in use during one,
    those included (of steps of thousands of operations those alone); `gemm` and `copy`, of this
    machine: floating-point operations a second of a product of two matrices, and bytes a second of
    a copy, in the dtype of most of the numbers."""

    operations: list[Operation]
    flops: int
    bytes: int
    seconds: float
    least: float
    held: int
    peak: int
    gemm: float
    copy: float

    HEAD: ClassVar = ("Part", "Ops", "Time", "Share", "GFLOP/s", "GB/s", "Of least")
    LEFT: ClassVar = 1
    SHOWN: ClassVar = 8  # of the operations that take longest

    def groups(self) -> dict[tuple[str, str], list[Operation]]:
        """The operations of each part and Module, in the order in which they first come."""
        found: dict[tuple[str, str], list[Operation]] = {}
        for x in self.operations:
            found.setdefault((x.part, x.module), []).append(x)
        return found

    def lines(self) -> list[tuple[str, ...]]:
        total = sum(x.seconds for x in self.operations)
        found = []
        for (part, module), group in self.groups().items():
            seconds = sum(x.seconds for x in group) or 1e-9
            least = sum(x.least for x in group) or 1e-9
            computed, moved = sum(x.flops for x in group), sum(x.bytes for x in group)
            rates = computed / seconds / 1e9, moved / seconds / 1e9, seconds / least
            found.append(
                (
                    *(f"{part}  {module or 'the function itself' * (part != UPDATE)}",),
                    *(str(len(group)),),
                    *(duration(seconds), f"{seconds / total:.0%}"),
                    *("{:.1f} {:.1f} {:.1f}x".format(*rates).split()),
                )
            )
        return found

    def totals(self) -> list[str]:
        longest = sorted(self.operations, key=lambda x: -x.seconds)[: self.SHOWN]
        bytes_moved, held, peak = (size(n) or "0 B" for n in (self.bytes, self.held, self.peak))
        times = self.seconds / max(self.least, 1e-9)
        return [
            f"{len(self.operations)} operations, {self.flops:,} of floating point, {bytes_moved} "
            "read and written",
            f"{duration(self.seconds)} a call, {times:.1f} times the least: this machine has "
            f"{self.gemm / 1e9:.0f} GFLOP/s and {self.copy / 1e9:.0f} GB/s",
            f"{held} held between calls, {peak} at most in one",
            "the longest:",
            *(f"  {duration(x.seconds):>8}  {in_short(x.code)}" for x in longest),
        ]


def in_short(code: str) -> str:
    """A line of code as a table has room for it; one that goes on says so."""
    return f"{code[:79]}…" if len(code) > 80 or code.endswith(",") else code


def duration(seconds: float) -> str:
    for unit, length in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def report(version: Version) -> Report:
    """The costs of a program, measured."""
    program, over = version.program, version.replaced()
    order, _ = in_order(program, over)
    moments: list[tuple[int, int]] = []

    def clock(k: int) -> None:
        moments.append((k, time.perf_counter_ns()))

    timed = code_of(program, over, results=version.results, clock=clock)
    inputs = [
        sample(place, part, i)
        for (place, part), i in zip(states(version), program.inputs, strict=True)
    ]
    plain: Any = function_of(version.code, version.name)
    stepped: Any = function_of(timed, version.name)

    def given() -> list[Any]:
        return [x.copy() if isinstance(x, np.ndarray) else x for x in inputs]

    with np.errstate(all="ignore"):
        peak = at_most(plain, given()) if len(order) < LONG else 0
        peak += max(version.held(), version.code.nbytes + results_of(plain))
        whole = repeated(lambda x: plain(*x), given)
        took: dict[int, list[int]] = {}

        def round_of(x: Any) -> None:
            moments.clear()
            clock(-1)
            stepped(*x)
            for (_, start), (k, end) in pairwise(moments):
                took.setdefault(k, []).append(end - start)

        repeated(round_of, given)
    code = lines_of(timed.source)
    kinds = [i.dtype for i in order if i.shape and np.dtype(i.dtype).kind in "fc"]
    machine = Machine.measured(most(kinds, np.dtype(np.float64)))
    operations: list[Operation] = []
    for k, line in code.items():
        seconds = statistics.median(took.get(k, [0])) * 1e-9  # 0: a check did not hold
        before = operations[-1] if operations else None
        if k == CHECK:
            n, moved = cost_of_check(program)
            least = machine.least(n, moved)
            operations.append(Operation(BACKWARD, "is all finite?", line, n, moved, seconds, least))
        else:
            operations.append(operation(order[k], line, seconds, machine, before))
    return Report(
        operations,
        sum(x.flops for x in operations),
        sum(x.bytes for x in operations),
        whole,
        sum(x.least for x in operations),
        version.held(),
        peak,
        machine.gemm,
        machine.copy,
    )


def states(version: Version) -> Iterable[tuple[Any, Any]]:
    """Where each input of a program is read, and what is there; of an argument what was like it."""
    for place, like in version.reads:
        argument = isinstance(place, Argument)
        for part in parts(like if argument else place.read(())):
            yield place, part


def sample(place: Any, x: Any, i: Instruction) -> Any:
    """What stands for an input: state itself, and of an argument an array like it."""
    if not isinstance(place, Argument) or isinstance(i.dtype, type) or not i.shape:
        return x if not isinstance(place, Argument) or np.shape(x) == i.shape else x.dtype.type(1)
    dtype = np.dtype(i.dtype)
    drawn = np.random.default_rng(0).random(i.shape) if dtype.kind in "fc" else np.zeros(i.shape)
    return drawn.astype(dtype)


def repeated(f: Callable[[Any], Any], given: Callable[[], Any]) -> float:
    """The median seconds of `f` on what is given anew each time."""
    took: list[float] = []
    while len(took) < 3 or (sum(took) < SECONDS and len(took) < RUNS):
        x = given()
        start = time.perf_counter()
        f(x)
        took.append(time.perf_counter() - start)
    return statistics.median(took)


def at_most(f: Callable[..., Any], inputs: Any) -> int:
    """How many bytes more than before a call needs at most."""
    mine = not tracemalloc.is_tracing()
    f(*inputs)
    if mine:
        tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    f(*inputs)
    _, peak = tracemalloc.get_traced_memory()
    if mine:
        tracemalloc.stop()
    return max(0, peak - before)


def most(xs: Iterable[Any], otherwise: Any) -> Any:
    found = [*xs]
    return np.dtype(max(set(found), key=found.count, default=otherwise))


@dataclass
class Machine:
    """Rates of this machine, for one dtype: of a product of two matrices, of a copy in memory, and
    of one that stays in the processor's caches."""

    gemm: float
    copy: float
    cached: float

    @staticmethod
    @cache
    def measured(dtype: np.dtype[Any]) -> Machine:
        """In a fifth of a second, once."""
        x = np.ones((384, 384), dtype)  # 1 ms: a busy machine leaves as much at a time
        out = np.empty_like(x)
        gemm = 2 * 384**3 / quickest(lambda: np.matmul(x, x, out=out))
        rates = []
        for n in (1 << 25, 1 << 17):
            a, b = np.ones(n, np.uint8), np.ones(n, np.uint8)
            rates.append(2 * n / quickest(lambda a=a, b=b: np.copyto(b, a)))  # type: ignore[misc]
        return Machine(gemm, *rates)

    def least(self, flops: int, moved: int) -> float:
        return max(flops / self.gemm, moved / (self.copy if moved > 1 << 20 else self.cached))


def quickest(f: Callable[[], Any]) -> float:
    f()
    took: list[float] = []
    while len(took) < 5 or sum(took) < SECONDS / 2:
        start = time.perf_counter()
        f()
        took.append(time.perf_counter() - start)
    return min(took)


def lines_of(source: str) -> dict[int, str]:
    """What stands before each look at the clock, by its number: the last line of it, or what
    calls a kernel, and of a loop the first one too."""
    found: dict[int, str] = {}
    lines: list[str] = []
    for line in source.partition("    def step(")[2].partition("):\n")[2].splitlines():
        text = line.strip()
        if text.startswith("clock("):
            loops = [f"{x.partition(':')[0]}: … " for x in lines if x.startswith("for ")]
            kernels = [x for x in lines if x.startswith("kernel")]
            found[int(text[6:-1])] = "".join(loops[:1] + (kernels or lines)[-1:])
            lines = []
        elif text.startswith(("if ", "kernel")) or (
            text and not text.startswith(("#", "return")) and text[-1] not in ",:"
        ):
            lines.append(text)
    return found


def operation(
    i: Instruction, code: str, seconds: float, machine: Machine, before: Operation | None
) -> Operation:
    """Of an operation; one that a pass added is of the same part as that `before`."""
    n, moved = flops(i), bytes_of(i)
    part, module = (before.part, before.module) if before else ("forward", "")
    if i.scope is not None:
        part, module = i.scope.step, repr(i.scope)
    return Operation(part, module, code, n, moved, seconds, machine.least(n, moved))
