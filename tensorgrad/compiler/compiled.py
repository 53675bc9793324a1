"""`tg.compile`: a function, or a whole training step, as straight-line NumPy."""

from __future__ import annotations

import gc
import inspect
import os
import sys
import types
import warnings
from collections.abc import Callable, Collection, Sequence
from contextvars import copy_context
from functools import cache, partial, update_wrapper
from threading import RLock
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tensorgrad.compiler.arguments import Plan, flattened, parameters_of
from tensorgrad.compiler.capture import moved
from tensorgrad.compiler.entry import CARE, OTHER, errors
from tensorgrad.compiler.passes import Pass, chosen, name_of
from tensorgrad.compiler.passes.updates import updates
from tensorgrad.compiler.program import Program
from tensorgrad.compiler.save import save
from tensorgrad.compiler.source import code_of
from tensorgrad.compiler.threads import counts
from tensorgrad.compiler.tracer import writing
from tensorgrad.compiler.version import LONG, Escaped, Version, changed_in
from tensorgrad.engine.backprop import observers
from tensorgrad.engine.batching import running
from tensorgrad.engine.calls import keeper, replace_buffers, scope_of
from tensorgrad.engine.node import differentiating, record, recorder
from tensorgrad.extras import missing

if TYPE_CHECKING:
    from tensorgrad.compiler.report import Report

MANY = 8
"""How many programs of one function are no reason for a warning."""
SIGNATURES, HELD = 256, 1 << 30
"""For how many shapes and settings of arguments programs are kept, and how many bytes of theirs:
those that came first go."""
MUCH = 10_000
"""What functions make of so many kinds of arguments is kept from one program to the next."""
RAISING = frozenset({"raise", "call", "log", "print"})
"""What it may be told by np.errstate that a program does not do."""
TRACING = RLock()
"""Held where a function is traced: its state is tracers meanwhile."""


def written_out(program: Program) -> str:
    """The code of a program as it is, line by line."""
    return code_of(updates(program.copy()), {}, buffers=False).source


class Compiled:
    """What `tg.compile` makes of a function. `source`: the code that ran last."""

    def __init__(
        self,
        f: Callable[..., Any],
        static_argnums: tuple[int, ...],
        passes: tuple[Pass, ...],
        exact: bool = False,
    ) -> None:
        self.f, self.static_argnums, self.passes = f, static_argnums, passes
        self.exact = exact
        names = [p.name for i, p in enumerate(parameters_of(f)) if i in static_argnums]
        self.static: tuple[int | str, ...] = (*static_argnums, *names)
        self.versions: dict[Any, list[Version]] = {}
        self.last: Version | None = None
        self.known: dict[Any, Any] = {}  # what NumPy's functions make, for the next program
        self.compiled, self.moves, self.assumes = 0, True, True
        self.__name__ = type(f).__name__
        update_wrapper(self, f, updated=())

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """As a method: compiled for each instance that it is called on."""
        if instance is None:
            return self
        if isinstance(instance, type):  # of a classmethod
            return types.MethodType(self, instance)
        made = getattr(instance, "__dict__", {}).get(self.__name__)
        if isinstance(made, Compiled) and made.f.args[0] is instance:  # type: ignore[attr-defined]
            return made
        bound = partial(self.f, instance)
        update_wrapper(bound, self.f)
        made = Compiled(bound, tuple(i - 1 for i in self.static_argnums), self.passes, self.exact)
        try:
            vars(instance)[self.f.__name__] = made
        except TypeError:
            raise TypeError(
                f"a compiled method needs an instance with a __dict__, which {instance!r:.60} has "
                "not: compile a function that calls the method"
            ) from None
        return made

    def __set__(self, instance: Any, made: Any) -> None:
        """Asked before the instance is, which may be a copy of another one."""
        vars(instance)[self.__name__] = made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        plain, last = True, self.last
        if copy_context():  # somebody set a variable: to ask each takes 0.3 µs
            plain = recorder.get() is record and not observers.get()
            inside = writing.get() is not None or differentiating.get() is not None  # with a graph
            # what computes again has a state of its own
            if inside or keeper.get() is not replace_buffers:
                return self.f(*args, **kwargs)
        if running:  # a vmap, with arrays of its own
            return self.f(*args, **kwargs)
        if errors.get(None) is not None and not RAISING.isdisjoint(np.geterr().values()):
            return self.f(*args, **kwargs)
        if plain and not kwargs and last is not None and last.plain:
            found = last.run(args)
            if found is not OTHER:
                return self.f(*args) if found is CARE else found
        if not plain and watched():
            return self.f(*args, **kwargs)
        leaves, plan, marks = flattened(args, kwargs, self.static, self.exact)
        key = marks, recorder.get() is None
        versions = self.versions.setdefault(key, [])
        found = self.tried(versions, leaves)
        if found is OTHER:
            with TRACING:  # the state of others is in use
                self.complete(versions, leaves)
                found = self.tried(versions, leaves)
                if found is OTHER:
                    why = changed_in(versions[0].reach) if versions else ""
                    self.last = self.version(leaves, plan, versions)
                    self.keep(self.last, versions)
                    self.versions[key] = self.versions.pop(key, versions)  # the last one to go
                    self.forget()
                    self.warn(why)
                    run = self.last.once if self.last.pending else self.last.run
                    found = run(leaves)
        # What nobody asks for must add 0, however singular it is: the engine sees to that.
        return self.f(*args, **kwargs) if found is CARE or found is OTHER else found

    def version(self, leaves: Sequence[Any], plan: Plan, versions: Sequence[Version]) -> Version:
        """A new program. What moved among the settings of an optimiser, such as a momentum, is read
        at each call from now on, where the function can do with any number there."""
        settled = [(holder, key, x) for v in versions for holder, key, x in v.reach.settled]
        moving = {(id(holder), key) for holder, key, x in settled if moved(holder, key, x)}
        collecting = gc.isenabled()
        gc.disable()  # it would walk all operations again and again: a third of a long one's time
        try:
            if moving and self.moves:
                try:
                    return self.traced(leaves, plan, moving)
                except TypeError:
                    self.moves = False
            return self.traced(leaves, plan)
        finally:
            if len(self.known) > MUCH:
                self.known.clear()
            if collecting:
                gc.enable()

    def traced(
        self, leaves: Sequence[Any], plan: Plan, moving: Collection[tuple[int, Any]] = ()
    ) -> Version:
        """A new program: a scan is a loop in it if its steps make only what they return."""
        given = self.f, leaves, plan, self.passes, moving, self.exact, self.known
        try:
            return Version(*given, assumes=self.assumes)
        except Escaped:
            return Version(*given, loops=False, assumes=self.assumes)

    @staticmethod
    def keep(new: Version, versions: list[Version]) -> None:
        """Put it before the others, as many as there may be. The first step makes gradients and an
        optimiser's state, so the next is another program, and the first one goes."""
        versions[:] = [new, *(v for v in versions if not v.pending)][:MANY]

    def forget(self) -> None:
        """The programs that came first, beyond what is kept."""
        held = {key: sum(v.held() for v in xs) for key, xs in [*self.versions.items()]}
        total, left = sum(held.values()), len(held)
        for key, n in held.items():
            if left <= SIGNATURES and (total <= HELD or left == 1):
                break
            del self.versions[key]
            total, left = total - n, left - 1

    @staticmethod
    def complete(versions: list[Version], leaves: Sequence[Any]) -> None:
        """Make code of what was put off and is asked for again."""
        for version in versions:
            if version.pending and not version.is_over(leaves):
                version.finish()

    def tried(self, versions: list[Version], leaves: Sequence[Any]) -> Any:
        """What the first program answers for which all is as it was. The one that ran last is
        asked first, and what was in vain taken to hold is not asked any more."""
        if any(v.doubtful for v in versions):
            self.assumes = False
            versions[:] = [v for v in versions if not v.doubtful]
        for version in [v for v in versions if not v.pending]:
            found = version.run(leaves)
            if found is not OTHER:
                self.last = version
                versions.remove(version)
                versions.insert(0, version)
                return found
        return OTHER

    def warn(self, why: str) -> None:
        self.compiled = n = self.compiled + 1
        if n in (MANY, 8 * MANY):
            warnings.warn(
                f"{self.__name__} was compiled for the {n}th time: its arguments have ever new "
                f"shapes or settings, or what it reaches changes from call to call{why}; each time "
                "takes some milliseconds: pad arrays to a few shapes, and pass what changes as an "
                "argument",
                stacklevel=3,
            )

    def ran(self) -> Version:
        """The program of the call before, with its code. ValueError where there is none."""
        if self.last is None:
            raise ValueError("nothing was compiled yet: call the function once")
        with TRACING:
            if self.last.pending:
                self.last.finish()
        return self.last

    @property
    def source(self) -> str:
        """The NumPy code of the call before."""
        return self.ran().code.source

    def stages(self) -> dict[str, str]:
        """The code of the call before as it was written down, after each pass, and with buffers.

        ValueError where nothing was compiled yet, or more than 20,000 operations, which are not
        kept.
        """
        last = self.ran()
        if last.written is None:
            raise ValueError(f"more than {LONG:,} operations are not kept as they were written")
        found, program = {}, last.written()
        found["as written"] = written_out(program)
        for run in self.passes:
            program = run(program)
            found[name_of(run)] = written_out(program)
        return {**found, "buffers": self.source}

    def report(self) -> Report:
        """What the program of the call before costs: operations, floating-point operations, bytes
        that they move and keep, and the time of each beside the least that this machine can do.

        It is run on copies of its state, and on arrays like the arguments, for a tenth of a second
        or so. What comes back is printed as a table, and has the numbers. ValueError where nothing
        was compiled yet.

        >>> step = compile(lambda x: np.sum(x @ x) ** 2)
        >>> _ = step(np.ones((3, 3)))
        >>> step.report().flops  # 3·3·3 products and sums, 9 more sums, 1 square
        64
        """
        from tensorgrad.compiler.report import report

        return report(self.ran())

    def graph(self, **options: Any) -> Any:
        """The program of the call before as a picture, by `tg.viz.graph(step, **options)`."""
        return sys.modules["tensorgrad"].viz.graph(self, **options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program of the call before, and its state as it is now, for NumPy alone.

        `path`: a file `step.py`, beside which `step.npz` has the arrays. Who imports it has
        `step(x, y)`, with the arguments that are arrays, and `state`, a dict that it reads and
        writes. ValueError where nothing was compiled yet, or a program calls what is not NumPy's.
        """
        save(self.ran(), path)

    def __getstate__(self) -> dict[str, Any]:
        """Without the programs: a copy, or another process, traces its own."""
        return {**vars(self), "versions": {}, "last": None, "known": {}}

    def __repr__(self) -> str:
        return f"<compiled {self.__name__}>"


def watched() -> bool:
    """Whether somebody looks at what is recorded, or at sweeps: `tg.debug()`, observers."""
    outer = recorder.get()
    scope = scope_of(outer) if outer else None
    return bool(observers.get()) or (scope.base if scope else outer) not in (record, None)


@cache
def llvm() -> Pass | None:
    """The pass that makes machine code; None where that cannot be had, which is said once."""
    try:
        from tensorgrad.compiler.llvm.groups import machine_code
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        why = f"llvmlite is missing or does not fit ({error})"
        said = str(missing(f'{why}: backend="llvm" runs on NumPy', "jit"))
        warnings.warn(said, stacklevel=4)
        return None
    return machine_code


def compile(
    f: Callable[..., Any] | None = None,
    *,
    static_argnums: int | tuple[int, ...] = (),
    exact: bool = False,
    without: Collection[str] = (),
    backend: Literal["numpy", "llvm"] = "numpy",
    threads: int = 1,
    microbatches: int = 1,
) -> Any:
    """`f` as straight-line NumPy: traced at its first call, then run without the graph.

    `f` may be a function of arrays, Values, numbers and containers of these, with gradients,
    `vmap` and second orders inside, or a whole training step that changes a model and an optimiser:
    parameters, gradients, buffers, an optimiser's state, its learning rate and generators are read
    and written at each call. What depends on arguments of other shapes or dtypes, or on settings
    that have changed, is traced again.

    `static_argnums`: arguments that are settings, not numbers to compute with. `exact`: whether
    all is added in the order in which the function adds, so that the numbers are its own to the
    last bit. `without`: names of passes, as in `.stages()`, to leave out. `backend`: "llvm" makes
    machine code of what is computed entry by entry and of sums, each operation within 2 units of
    the last place. It needs llvmlite (the extra `jit`); where that is missing NumPy runs, and a
    warning says so. `threads`: with 2, what is done for each example is done for both halves of
    the batch at once, in two threads, where that is most of the work, and enough of it.
    `microbatches`: with 2, for one half after the other, whose gradients are added up: what is kept
    for the backward pass takes half of the memory.

    Values that `f` returns have no graph. Where a gradient is not finite `f` itself is called
    instead, and under `tg.debug()` always. TypeError where it asks a tracer for numbers
    (`if x > 0`, `float(x)`), or changes what is no state.

    >>> import tensorgrad as tg
    >>> @tg.compile
    ... def slope(x):
    ...     v = tg.Value(x)
    ...     np.sum(np.tanh(v) ** 2).backward()
    ...     return v.grad
    >>> slope(np.array([0.0, 1.0])).round(4)
    array([0.    , 0.6397])
    >>> "tanh" in slope.source
    True
    """
    passes = passes_for(without, exact, backend, threads, microbatches)
    wrap = partial(compiled_of, static_argnums=static_argnums, passes=passes, exact=exact)
    return wrap if f is None else wrap(f)


def compiled_of(
    f: Any, static_argnums: int | tuple[int, ...], passes: tuple[Pass, ...], exact: bool
) -> Any:
    """`f` compiled by these passes, if it is a function that returns arrays."""
    if isinstance(f, (staticmethod, classmethod)):
        return type(f)(compiled_of(f.__func__, static_argnums, passes, exact))
    if not callable(f) or isinstance(f, type):
        raise TypeError(f"compile takes a function, not {f!r:.60}")
    if inspect.isgeneratorfunction(f) or inspect.iscoroutinefunction(f):
        raise TypeError(
            f"compile takes a function that returns arrays, and {f.__name__} is a generator or a "
            "coroutine: compile what it calls"
        )
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    if any(type(i) is not int or i < 0 for i in numbers):
        raise TypeError(f"static_argnums counts arguments from 0 on, unlike {static_argnums!r:.60}")
    parameters = parameters_of(f)
    several = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    if parameters and not several and max(numbers, default=0) >= len(parameters):
        raise ValueError(
            f"static_argnums counts arguments from 0 on, and of {len(parameters)} none is number "
            f"{max(numbers)}"
        )
    return Compiled(f, numbers, passes, exact)


def passes_for(
    without: Collection[str], exact: bool, backend: str, threads: int, microbatches: int
) -> tuple[Pass, ...]:
    """The passes that these settings of `compile` ask for, if they go together."""
    if backend not in ("numpy", "llvm"):
        raise ValueError(f'compile: backend is "numpy" or "llvm", not {backend!r:.60}')
    for name, n in ("threads", threads), ("microbatches", microbatches):
        if type(n) is not int or n not in (1, 2):
            raise ValueError(
                f"compile: {name} is 1, or 2 for the two halves of a batch, not {n!r:.60}"
            )
        if exact and n == 2:
            raise ValueError(
                f"exact=True is for {name}=1: two halves of a batch are added otherwise"
            )
    if threads == microbatches == 2:
        raise ValueError(
            "threads=2 has both halves of a batch in memory at once, microbatches=2 one after the "
            "other: choose one of them"
        )
    if exact and backend == "llvm":
        raise ValueError('exact=True is for backend="numpy": machine code rounds otherwise')
    if threads == 2 and counts()[0] is None:
        warnings.warn(
            "threads=2 needs a NumPy with OpenBLAS, as its wheels have: another BLAS may start "
            "threads of its own beside them, so one runs",
            stacklevel=3,
        )
        threads = 1
    without = (without,) if isinstance(without, str) else without
    machine_code = llvm() if backend == "llvm" else None
    return chosen(without, exact, machine_code, threads, microbatches)
