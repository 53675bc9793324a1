"""What is in force (a recorder, a Module that runs, a level of examples) ends with what set it:
also where an interrupt ends it, at any line, and in whatever order generators do.
"""

from __future__ import annotations

import contextvars
import copy
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.engine.arrays import met
from tensorgrad.engine.batching import Batched, Level, running
from tensorgrad.engine.calls import keeper, replace_buffers
from tensorgrad.engine.node import blocks, data_of, differentiating, opaque, record, recorder
from tensorgrad.transforms.custom import forwards

PACKAGE = os.path.dirname(tg.__file__) + os.sep
X = np.random.default_rng(0).normal(size=(4, 2))


class Mean(nn.Module):
    """It remembers the mean."""

    def __init__(self) -> None:
        self.mean = np.zeros(2)

    def forward(self, x: Any) -> Any:
        self.remember(mean=np.mean(x, axis=0))
        return x - self.mean


NET = nn.Sequential(Mean(), nn.Linear(2, 3, rng=0, dtype=float), nn.Tanh())
sine = tg.custom_vjp(np.sin)
sine.defvjp(lambda x: (sine(x), x), lambda x, g: (g * np.cos(x),))
remembered = tg.checkpoint(NET)


@tg.no_grad()
def answer(x: Any) -> Any:
    return np.sum(NET(x))


def gradient() -> Any:
    NET.zero_grad()  # an interrupt may have left some
    np.sum(NET(X) ** 2).backward()
    return NET[1].weight.grad


def checked() -> Any:
    with tg.debug():
        return gradient()


def unrecorded() -> Any:
    with tg.no_grad():
        return NET(Value(X)).requires_grad


USES: dict[str, Callable[[], Any]] = {
    "backward": gradient,
    "debug": checked,
    "no_grad": unrecorded,
    "a decorated function": lambda: answer(Value(X)).requires_grad,
    "grad of a checkpoint": lambda: tg.grad(lambda x: np.sum(remembered(x)))(X),
    "a custom gradient": lambda: tg.grad(tg.grad(sine))(0.5),
    "hessian": lambda: tg.hessian(lambda x: np.sum(NET[1](x) ** 2))(X[0]),
    "vmap of grad": lambda: tg.vmap(tg.grad(lambda x: np.sum(np.sin(x) * x)))(X),
    "jvp": lambda: tg.jvp(np.sin, (X,), (X,)),
    "vjp": lambda: tg.vjp(np.sin, X)[1](X),
    "the gradient by a Module": lambda: tg.grad(lambda net: np.sum(net(X)))(NET)[1].weight.data,
}
EXPECTED = {name: data_of(use()) for name, use in USES.items()}


def assert_all_is_as_ever() -> None:
    assert recorder.get() is record
    assert not blocks.get()
    assert keeper.get() is replace_buffers
    assert not differentiating.get()
    assert not opaque.get()
    assert not forwards.get()
    assert not running
    assert np.geterr()["divide"] == "warn"
    y = Value(2.0) * 3
    assert y.node.scope is None
    assert not y.node.readings


def uses_are_right() -> None:
    for name, use in USES.items():
        np.testing.assert_equal(data_of(use()), EXPECTED[name], err_msg=name)


class Interrupt:
    """Raises KeyboardInterrupt at the `line`-th line of the package that runs; counts them."""

    def __init__(self, line: int | None = None) -> None:
        self.line, self.count = line, 0

    def trace(self, frame: Any, event: str, arg: Any) -> Any:
        code = frame.f_code
        # The call that ends a `with` statement is the one that nobody can guard.
        if not code.co_filename.startswith(PACKAGE) or "recording.__exit" in code.co_qualname:
            return None
        if event == "line":
            self.count += 1
            if self.count == self.line:
                raise KeyboardInterrupt
        return self.trace

    def during(self, use: Callable[[], Any]) -> None:
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            use()
        except KeyboardInterrupt:
            pass
        finally:
            sys.settrace(before)


def interrupt(name: str, times: int) -> None:
    """Interrupt one of the uses at as many lines, spread over all."""
    lines = Interrupt()
    lines.during(USES[name])
    assert lines.count > 100
    rng = np.random.default_rng(len(name))
    for line in rng.choice(lines.count, min(times, lines.count), replace=False) + 1:
        Interrupt(line).during(USES[name])
        assert_all_is_as_ever()
    uses_are_right()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # in a __del__
@pytest.mark.parametrize("name", USES)
def test_after_an_interrupt_at_any_line_the_next_call_is_right(name: str) -> None:
    interrupt(name, 60)


def test_a_block_that_an_interrupt_kept_from_beginning_is_none() -> None:
    def nested() -> None:
        with tg.no_grad(), tg.no_grad():
            pass

    lines = Interrupt()
    lines.during(nested)
    assert lines.count > 6
    for line in range(1, lines.count + 1):
        Interrupt(line).during(nested)
        assert_all_is_as_ever()


def test_a_level_whose_end_is_interrupted_is_forgotten_with_the_next(monkeypatch: Any) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda error: None)  # pytest's keeps the Level alive
    for line in range(1, 12):
        Interrupt(line).during(lambda: Level(2) and None)
        met.add(Batched)
        Level(2)
        assert Batched not in met


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", USES)
def test_after_an_interrupt_at_every_line_the_next_call_is_right(name: str) -> None:
    interrupt(name, 2000)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_after_a_signal_at_any_time_the_next_call_is_right() -> None:
    uses = [use for name, use in USES.items() if name not in ("debug", "no_grad")]
    start = time.perf_counter()
    for use in uses:
        use()
    duration = time.perf_counter() - start
    old = signal.signal(signal.SIGALRM, signal.default_int_handler)
    rng = np.random.default_rng(0)
    interrupts = 0
    try:
        for _ in range(2000):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(1e-5, duration))
                for use in uses:
                    use()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupts += 1
            assert_all_is_as_ever()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
    assert interrupts > 100
    uses_are_right()


# Blocks that end in any order.


def suspended(block: Any, log: list[bool]) -> Iterator[None]:
    with block:
        yield
        log.append((Value(1.0) * 2).requires_grad)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (0, 2, 1)])
def test_blocks_of_suspended_generators_end_in_any_order(order: tuple[int, ...]) -> None:
    log: list[bool] = []
    generators = [suspended(tg.no_grad(), log) for _ in order]
    for generator in generators:
        next(generator)
    for i in order:
        assert not (Value(1.0) * 2).requires_grad
        next(generators[i], None)
    assert log == [False] * 3
    assert_all_is_as_ever()
    assert list(zip(suspended(tg.no_grad(), log), suspended(tg.no_grad(), log))) == [(None, None)]
    assert_all_is_as_ever()


def test_debug_and_no_grad_of_suspended_generators_each_count_as_long_as_they_last() -> None:
    log: list[bool] = []
    checks, quiet = suspended(tg.debug(), log), suspended(tg.no_grad(), log)
    next(checks)
    next(quiet)
    next(checks, None)
    next(quiet, None)
    assert log == [False, False]
    assert_all_is_as_ever()


def test_a_generator_that_is_closed_in_another_context_changes_nothing_there() -> None:
    generator = suspended(tg.no_grad(), [])
    contextvars.copy_context().run(next, generator)
    assert_all_is_as_ever()
    generator.close()
    assert_all_is_as_ever()


def test_one_block_serves_several_threads_and_itself() -> None:
    quiet, gates, log = tg.no_grad(), threading.Barrier(3), []

    def run(i: int) -> None:
        with quiet, quiet:
            gates.wait()
            log.append((Value(1.0) * 2).requires_grad)
            gates.wait()
        log.append(not (Value(1.0) * 2).requires_grad)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log == [False] * 6
    assert_all_is_as_ever()


# Threads.


def scopes_of(y: Any) -> list[Any]:
    found, scope = [], y.node.scope
    while scope is not None:
        found.append(scope.module)
        scope = scope.parent
    return found


def test_contexts_that_are_copied_to_threads_share_no_scope() -> None:
    gates = threading.Barrier(2)
    found: dict[str, Any] = {}

    class Inner(nn.Module):
        def forward(self, x: Any) -> Any:
            gates.wait()
            y = x * 2
            gates.wait()
            return y

    class Outer(nn.Module):
        def __init__(self) -> None:
            self.here, self.there = Inner(), Inner()

        def forward(self, x: Any) -> Any:
            def beside() -> None:
                found["there"] = self.there(x)
                found["after"] = x * 3

            thread = threading.Thread(target=contextvars.copy_context().run, args=(beside,))
            thread.start()
            found["here"] = self.here(x)
            thread.join()
            return x * 4

    outer = Outer()
    y = outer(Value(1.0))
    assert scopes_of(found["here"]) == [outer.here, outer]
    assert scopes_of(found["there"]) == [outer.there, outer]
    assert scopes_of(found["after"]) == scopes_of(y) == [outer]
    assert_all_is_as_ever()


def test_a_module_may_be_copied_while_threads_call_it() -> None:
    net, stop, errors = nn.Sequential(*[nn.Linear(2, 2, rng=i) for i in range(4)]), [], []

    def call() -> None:
        try:
            while not stop:
                np.sum(net(X)).backward()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        copy.deepcopy(net)
    stop.append(True)
    for thread in threads:
        thread.join()
    assert not errors
