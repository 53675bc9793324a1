"""Two halves of some work at once, in two threads, each with a BLAS of one thread.

A program that is saved brings this file along, and blas.py, and has NumPy alone besides.
"""

import contextvars
import os
import threading
from collections.abc import Callable
from functools import cache
from queue import SimpleQueue
from typing import Any

from tensorgrad.compiler.blas import libraries

COUNTS = "scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads"
"""What OpenBLAS calls the functions that tell, and set, how many threads it has."""


@cache
def counts() -> tuple[Any, Any]:
    """Those functions; None for another BLAS, which might start threads beside ours."""
    for library in libraries():
        for name in COUNTS:
            get, put = (getattr(library, name.format(word), None) for word in ("get", "set"))
            if get and put:
                put.restype = None
                return get, put
    return None, None


class Job:
    """A call that one of two threads makes, whoever takes it first."""

    def __init__(self, f: Callable[..., Any], xs: Any) -> None:
        self.f, self.xs = f, xs
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = False
        self.context = contextvars.copy_context()  # what NumPy does where it divides by 0
        self.taken: dict[None, int] = {}  # by which thread
        self.running = threading.Lock()
        self.running.acquire()

    def mine(self) -> bool:
        """Whether this thread has taken it, at the latest now: in one call of C, before which or
        after which a Ctrl-C comes. `end` does not wait for what its own thread took and left."""
        me = threading.get_ident()
        return self.taken.setdefault(None, me) == me

    def run(self) -> None:
        """Make the call, if nobody has taken it."""
        if not self.mine():
            return
        try:
            self.result = self.context.run(self.f, *self.xs)
        except BaseException as error:
            self.error = error
        finally:
            self.done = True  # a Ctrl-C may take the lock from who waits, and have him wait again
            self.running.release()

    def end(self) -> None:
        """Wait until it is made, or see that nobody will: it writes into arrays of the caller."""
        pressed: BaseException | None = None
        while not self.done and not self.mine():
            try:
                self.running.acquire()
                break
            except BaseException as error:  # a Ctrl-C, which comes after it
                pressed = error
        if pressed is not None:
            raise pressed


class Second:
    """A thread that takes jobs."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        threading.Thread(target=self.work, name="tensorgrad halves", daemon=True).start()

    def work(self) -> None:
        while True:
            self.jobs.get().run()


class Pair:
    """Of the process: the second thread, once there is one, and who uses it."""

    def __init__(self) -> None:
        self.busy = threading.Lock()
        self.second: Second | None = None


pair = Pair()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: pair.__init__())  # type: ignore[misc]


def both(f: Callable[..., Any], g: Callable[..., Any], xs: Any, ys: Any) -> tuple[Any, Any]:
    """`f(*xs), g(*ys)`, at once; one after the other where the second thread has work already.
    What one raises is raised once both are done."""
    get, put = counts()
    busy = pair.busy
    if get is None or not busy.acquire(blocking=False):
        return f(*xs), g(*ys)
    threads = get()
    try:
        if pair.second is None:
            pair.second = Second()
        job = Job(g, ys)
        if threads != 1:
            put(1)
        try:
            pair.second.jobs.put(job)
            x = f(*xs)
            job.run()
        finally:
            job.end()
    finally:
        if threads != 1:
            put(threads)
        busy.release()
    if job.error is not None:
        raise job.error
    return x, job.result
