"""`tg.compile`: a function, or a whole training step, as straight-line NumPy."""

from __future__ import annotations

import gc
import inspect
import os
import sys
import types
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from contextvars import copy_context
from dataclasses import replace
from enum import Enum
from functools import cache, partial, update_wrapper
from threading import Lock, RLock
from typing import Any, Literal, NamedTuple

import numpy as np

from tensorgrad.compiler.capture import (
    SEVERED,
    Argument,
    Capture,
    Place,
    Reach,
    has_graph,
    moved,
    numpys,
    parts,
    sample,
)
from tensorgrad.compiler.entry import CARE, OTHER, Write, entry_of, errors, hold_back, let_go
from tensorgrad.compiler.lives import Lives, views
from tensorgrad.compiler.names import Watch, describe
from tensorgrad.compiler.passes import Pass, chosen, name_of, simplified
from tensorgrad.compiler.program import (
    Instruction,
    Loop,
    Program,
    draw,
    each,
    found_in,
    nbytes,
    shares,
)
from tensorgrad.compiler.report import Report, report, results_of
from tensorgrad.compiler.save import save
from tensorgrad.compiler.source import LARGE, Code, code_of, function_of, give_back
from tensorgrad.compiler.store import stored
from tensorgrad.compiler.threads import counts
from tensorgrad.compiler.tracer import SPARSE, Tracer, example, gaps_in, order_of, writing
from tensorgrad.engine.backprop import observers
from tensorgrad.engine.batching import running
from tensorgrad.engine.calls import keeper, replace_buffers, scope_of
from tensorgrad.engine.dtypes import is_numeric
from tensorgrad.engine.node import (
    NO_PARAMS,
    Node,
    differentiating,
    leaf,
    record,
    recorder,
)
from tensorgrad.engine.short import ShortArray, kept
from tensorgrad.engine.sparse import is_sparse
from tensorgrad.extras import missing
from tensorgrad.transforms.tree import is_module, loaded
from tensorgrad.value import Value

MANY = 8
"""How many programs of one function are no reason for a warning."""
SIGNATURES, HELD = 256, 1 << 30
"""For how many shapes and settings of arguments programs are kept, and how many bytes of theirs:
those that came first go."""
MUCH = 10_000
"""What functions make of so many kinds of arguments is kept from one program to the next."""
LONG = 20_000
"""How many operations are kept as they were written down: 300 bytes each."""
RAISING = frozenset({"raise", "call", "log", "print"})
"""What it may be told by np.errstate that a program does not do."""
TRACING = RLock()
"""Held where a function is traced: its state is tracers meanwhile."""


FLEETING_SAID = (
    "{} was compiled with what {} said while it was traced, and is not asked again: pass that as "
    "an argument"
)


class Plan(NamedTuple):
    """How the arguments were given: their containers, what kind each leaf is, Modules, functions
    and the like among them, and the static ones."""

    structure: Any
    kinds: Sequence[str]
    roots: Sequence[Any]
    settled: Sequence[Any]
    static: Sequence[Any]  # where these were: positions and names

    def plain(self) -> bool:
        """Whether arrays are given by position, and nothing else."""
        alone = [(0, i) for i in range(len(self.kinds))]
        arrays = all(kind == "array" for kind in self.kinds)
        return arrays and not self.static and self.structure.paths() == alone

    def call(self, f: Callable[..., Any], given: Sequence[Any]) -> Any:
        args, kwargs = self.structure.unflatten(given)
        for i, x in zip(self.static, self.settled):
            (kwargs if isinstance(i, str) else args)[i] = x
        return f(*args, **kwargs)


def parameters_of(f: Callable[..., Any]) -> list[inspect.Parameter]:
    whole = not isinstance(f, partial)  # whose `__wrapped__` has its bound arguments, too
    try:
        return [*inspect.signature(f, follow_wrapped=whole).parameters.values()]
    except (TypeError, ValueError):
        return []


def names_of(f: Callable[..., Any], plan: Plan) -> list[str]:
    """What the leaves of the arguments are called: parameters, and their items."""
    parameters, named = parameters_of(f), []
    for entry in plan.structure.paths():
        whose, key, *rest = entry
        name = str(key)
        if not whose:
            several = (
                key >= len(parameters) or parameters[key].kind is inspect.Parameter.VAR_POSITIONAL
            )
            name = f"x{key}" if several else parameters[key].name
        named.append("_".join(map(str, (name, *rest))))
    return named


class Version:
    """A program for arguments of one kind, and for all that it reaches as that is now."""

    def __init__(
        self,
        f: Callable[..., Any],
        leaves: Sequence[Any],
        plan: Plan,
        passes: Sequence[Pass],
        moving: Collection[tuple[int, Any]] = (),
        exact: bool = False,
        outcomes: dict[Any, Any] | None = None,
        loops: bool = True,
    ) -> None:
        self.f, self.plan, self.exact = f, plan, exact
        self.name = getattr(f, "__name__", "step")
        self.reach = Reach(moving)
        try:
            self.reach.function(f)
            for x in (*plan.roots, *plan.settled):
                self.reach.look(x, "model")
        except RecursionError:
            raise ValueError(
                "what a compiled function reaches is nested too deeply: a thousand lists in one "
                "another, or objects that hold the next"
            ) from None
        program = Program(exact=exact, loops=loops, known={} if outcomes is None else outcomes)
        capture = Capture(self.reach, leaves, plan.kinds, names_of(f, plan), program)
        known = {id(x) for x in (*leaves, *plan.settled, *self.reach.held)}
        watch = Watch(program, f)
        (outs, self.result), changes = capture.run(
            lambda given: plan.call(f, given), lambda result: result_of(result, known), watch
        )
        new = ((capture.names_of(place, x), parts(x)) for place, x, _ in changes)
        describe(program, watch, self.reach.called, [pair for n, xs in new for pair in zip(n, xs)])
        if said := ", ".join(self.reach.fleeting):
            warnings.warn(FLEETING_SAID.format(self.name, said), stacklevel=5)
        self.results = len(outs)
        self.reads = [(place, sample(place.read(leaves))) for place in capture.reads]
        self.reach.forget()
        example.cache_clear()
        self.writes: list[Write] = []
        short = {place.identity for place, x in self.reads if type(x) is ShortArray}
        for place, x, inside in changes:
            several, is_short = type(x) is tuple, place.identity in short
            self.writes.append(Write(place, len(parts(x)), several, inside, is_short))
            outs += parts(x)
        program.arguments = sum(
            len(parts(x)) for place, x in self.reads if isinstance(place, Argument)
        )
        program.outputs = [x.instruction if isinstance(x, Tracer) else x for x in outs]
        if leaves_loops(program):
            raise Escaped
        self.written = program.kept() if len(program.body) <= LONG else None
        self.late, self.passes = Late(program, self.results, passes), passes
        self.eager = recorder.get() is record
        self.steps: list[Any] = []
        self.nodes = tuple(n for n in self.reach.nodes if n.requires_grad)
        self.given = [i for i, kind in enumerate(plan.kinds) if kind == "value"]
        checked = program.body if program.guards else ()
        self.draws = {i.args[0] for i in checked if i.function is draw}
        self.over = over_of(self.reads, self.writes, self.results)
        read = {place.identity: len(parts(x)) for place, x in self.reads}
        self.new = [place for place, n, *_ in self.writes if read.get(place.identity) != n]
        self.plain, self.pending = False, bool(self.new)
        if not self.pending:
            self.finish()

    def finish(self) -> None:
        """Make code of the program, or find it on the disk."""
        settings = self.results, self.over
        self.code = stored(self.late.program, self.passes, settings, self.made, self.late)
        self.plain = self.eager and self.plan.plain() and not self.exact  # else by their gaps, too
        self.free = [self.entry()]
        self.pending = False

    def made(self) -> Code:
        """The code of the program after all passes."""
        return code_of(self.program, self.replaced(), results=self.results)

    @property
    def program(self) -> Program:
        """The program after all passes."""
        return self.late()

    def once(self, leaves: Sequence[Any]) -> Any:
        """What the function answers, of the program as it was just written, line by line: one that
        makes state, such as gradients or an optimiser's, may never run again."""
        program, n = self.late.program, self.results
        program = apart(replace(program, body=[*program.body], outputs=[*program.outputs]), n)
        generators = [(rng, rng.bit_generator.state) for rng in self.drawing(leaves)]
        read = [(place, parts(place.read(leaves))) for place, _ in self.reads]
        if not all(place.admits(x) for place, xs in read for x in xs):
            return OTHER
        given = [x for _, xs in read for x in xs]
        with np.errstate(all="ignore"):
            taken = Lives(program, program.body).taken
            outs = program.run(given, lambda x: bool(np.isfinite(x).all()), taken)
        if outs is None:
            for rng, state in generators:
                rng.bit_generator.state = state
            return CARE
        held = hold_back()
        try:
            for place, count, several, inside, short in self.writes:
                x = tuple(outs[n : n + count]) if several else outs[n]
                if not inside:
                    x = each(in_order, np.ndarray, x)
                    place.write(kept(x) if short else x, leaves)
                elif (old := place.read(leaves)) is not x:
                    old[...] = x
                n += count
        finally:
            let_go(held)
        if any(i.shape and nbytes(i) >= LARGE for i in program.body):
            give_back()
        return self.result(outs[: self.results], self.origins(leaves))

    def is_over(self, leaves: Sequence[Any]) -> bool:
        """Whether state that it makes is there."""
        return any(place.there(leaves) for place in self.new)

    def replaced(self) -> dict[Instruction, Instruction]:
        """For outputs that are written where an input was read: that input."""
        inputs, outputs = self.program.inputs, self.program.outputs
        pairs = [(outputs[k], inputs[n]) for k, n in self.over]
        return {
            y: x
            for y, x in pairs
            if isinstance(y, Instruction) and not (self.exact and x.order != y.order)
        }

    def names_at(self, place: Place) -> tuple[str, ...]:
        """What the inputs that are read at a place go by in the code."""
        names = iter(self.code.inputs)
        for other, x in self.reads:
            found = tuple(next(names) for _ in parts(x))
            if other.identity == place.identity:
                return found
        return ()

    def entry(self) -> Callable[[Sequence[Any]], Any]:
        """A way into the step, with buffers of its own."""
        step = function_of(self.code, self.name)
        self.steps.append(step)
        inputs, written = self.late.program.inputs, self.code.written
        entry: Callable[[Sequence[Any]], Any] = entry_of(
            *(step, self.reach, self.reads, inputs, written, self.writes, self.results),
            *(self.result, self.origins if self.given else self.nodes, self.plain, self.exact),
        )
        return entry

    def held(self) -> int:
        """Bytes of arrays that are kept between calls, for each thread that was in it at once."""
        return sum(self.code.nbytes + results_of(step) for step in self.steps)

    def run(self, leaves: Sequence[Any]) -> Any:
        """What the function answers; OTHER where something is not as it was, CARE where a gradient
        is not finite: nothing was changed then."""
        try:
            entry = self.free.pop()
        except IndexError:  # another thread is in it
            entry = self.entry()
        before = (
            [(rng, rng.bit_generator.state) for rng in self.drawing(leaves)] if self.draws else ()
        )
        try:
            found = entry(leaves)
        finally:
            self.free.append(entry)
        if found is CARE:
            for rng, state in before:
                rng.bit_generator.state = state
        return found

    def origins(self, leaves: Sequence[Any]) -> tuple[Node, ...]:
        """The nodes that a result with a graph came from."""
        given = (leaves[i].node for i in self.given)
        return *self.nodes, *(n for n in given if n.requires_grad)

    def drawing(self, leaves: Sequence[Any]) -> list[np.random.Generator]:
        """The generators that would have drawn once too often if a check did not hold."""
        found = [x for x in self.draws if isinstance(x, np.random.Generator)]
        return [*found, *(x for x in leaves if isinstance(x, np.random.Generator))]


def changed_in(reach: Reach) -> str:
    """What is not as it was, for who asks why a function is traced again."""
    for holder, key, x in reach.settled:
        if type(key) is not str or holder.get(key) is x:
            continue
        if type(x) not in (int, float, str) or holder.get(key) != x:
            return f" ({key} changed)"
    return ""


def shown_by(program: Program) -> list[set[Instruction]]:
    """By output, whose memory it may show."""
    of = views(program.body)
    return [of.get(x, {x}) if isinstance(x, Instruction) else set() for x in program.outputs]


def is_spread(x: Any) -> bool:
    """Whether it is a view of an array that was broadcast, into which nobody may write."""
    while isinstance(x, Instruction) and shares(x) and x.function is not np.broadcast_to:
        x = x.args[0]
    return isinstance(x, Instruction) and x.function is np.broadcast_to


def over_of(
    reads: Sequence[tuple[Place, Any]], writes: Sequence[Write], results: int
) -> list[tuple[int, int]]:
    """The numbers of outputs, each with that of the input that was read where it is written."""
    inputs: dict[Any, range] = {}
    n = 0
    for place, x in reads:
        inputs[place.identity] = range(n, n := n + len(parts(x)))
    found: list[tuple[int, int]] = []
    k = results
    for place, count, *_ in writes:
        old = inputs.get(place.identity, ())
        found += zip(range(k, k := k + count), old) if len(old) == count else []
    return found


class Escaped(Exception):
    """What a step of a loop made is read outside of it, such as a buffer of a Module."""


def leaves_loops(program: Program) -> bool:
    """Whether something that a step of a loop made is read outside of it."""
    if not any(isinstance(i.function, Loop) for i in program.body):
        return False
    known = {*program.inputs, *program.body}
    read = [x for i in program.body for x in i.operands] + found_in(program.outputs)
    return not known.issuperset(read)


def apart(program: Program, results: int, passes: Sequence[Pass] = ()) -> Program:
    """The program after these passes, whose outputs for state share memory with nothing else, and
    whose results share none that they did not share before; nor are they broadcast if they were
    not."""
    before, spread = shown_by(program), [*map(is_spread, program.outputs)]
    program = simplified(program, passes)
    after = shown_by(program) if passes else before
    inputs = set(program.inputs)
    held: dict[Instruction, list[set[Instruction]]] = {}  # by what outputs show, what they showed
    for k, (shown, shown_before) in enumerate(zip(after, before)):
        x = program.outputs[k]
        others = [other for root in shown for other in held.get(root, ())]
        mixed = any(k >= results or not shown_before & other for other in others)
        old = shown & inputs if k >= results else shown & inputs - shown_before
        locked = is_spread(x) and not (k < results and spread[k])
        own = mixed or old or locked
        if isinstance(x, np.ndarray) or (isinstance(x, Instruction) and x.shape and own):
            program.outputs[k] = copy = Instruction(np.copy, (x,), None, x.shape, x.dtype)
            program.body.append(copy)
            continue
        for root in shown:
            held.setdefault(root, []).append(shown_before)
    return program


class Late:
    """A program after these passes, which are made when it is asked for: `program`, until then, is
    as it was written down."""

    def __init__(self, program: Program, results: int, passes: Sequence[Pass]) -> None:
        self.program, self.results, self.passes = program, results, passes
        self.done, self.making = False, Lock()

    def __call__(self) -> Program:
        with self.making:  # not TRACING: the first call has that, and waits for the second thread
            if not self.done:
                self.program = apart(self.program, self.results, self.passes)
                self.done = True
        return self.program


PLAIN = (type(None), bool, int, float, complex, str, bytes, type, Enum, np.dtype)
"""What a function may return besides arrays and what it was given."""


def result_of(result: Any, known: set[int]) -> tuple[list[Any], Callable[..., Any]]:
    """The arrays of what a function returned, and what makes it of others, and of the nodes that
    it came from. `known`: the ids of what the function found there."""
    leaves, structure = loaded().tree_flatten(result, none_is_leaf=True)
    numbers: list[Any] = []
    plan: list[tuple[Any, Any]] = []
    for x in leaves:
        data = x.data if isinstance(x, Value) else x
        if isinstance(data, (Tracer, np.ndarray, np.generic)):
            numbers.append(data.instruction if isinstance(data, Tracer) else data)
            graph = isinstance(x, Value) and x.requires_grad and x.node.op is not None
            kind = cut if graph else whole if isinstance(x, Value) else bare
            plan.append((kind, len(numbers) - 1))
        elif isinstance(x, str) and "Tracer(shape=" in x:
            raise TypeError(
                "a compiled function returns a text of numbers that it has not yet: return the "
                "arrays, and write the text outside"
            )
        elif isinstance(x, PLAIN) or id(x) in known or isinstance(x, types.FunctionType):
            plan.append((None, x))
        else:
            raise TypeError(
                f"a compiled function returns arrays, Values, numbers and containers of these, not "
                f"{type(x).__name__}"
            )

    def make(found: Sequence[Any], nodes: tuple[Node, ...]) -> Any:
        made = [x if kind is None else kind(found, nodes, x) for kind, x in plan]
        return structure.unflatten(made)

    if numbers and leaves[0] is result:  # no container, the usual case
        ((kind, _),) = plan
        return numbers, kind
    return numbers, make


def bare(found: Sequence[Any], nodes: tuple[Node, ...], k: int = 0) -> Any:
    return found[k]


def whole(found: Sequence[Any], nodes: tuple[Node, ...], k: int = 0) -> Value:
    return Value.of(leaf(number_of(found[k])))


def cut(found: Sequence[Any], nodes: tuple[Node, ...], k: int = 0) -> Value:
    """A Value that says, to who differentiates by one of the nodes, that its graph is gone."""
    none = (None,) * len(nodes)
    return Value.of(record(SEVERED, nodes, none, NO_PARAMS, number_of(found[k])))


def number_of(x: Any) -> Any:
    """What a Value holds of an array: without axes a number."""
    return x[()] if type(x) is np.ndarray and not x.ndim else x


def in_order(x: Any) -> Any:
    """The array in C's order, as code makes it: an optimiser relies on it."""
    return np.asarray(x, order="C")


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
        self.static_names = [p.name for i, p in enumerate(parameters_of(f)) if i in static_argnums]
        self.versions: dict[Any, list[Version]] = {}
        self.last: Version | None = None
        self.known: dict[Any, Any] = {}  # what NumPy's functions make, for the next program
        self.compiled, self.moves = 0, True
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
        static: list[Any] = [i for i in self.static_argnums if i < len(args)]
        settled = [args[i] for i in static]
        tree = ([None if i in static else x for i, x in enumerate(args)], kwargs)
        for name in self.static_names:
            if name in kwargs:
                static.append(name)
                settled.append(kwargs[name])
                tree = tree[0], {**tree[1], name: None}
        leaves, structure = loaded().tree_flatten(tree, none_is_leaf=True)
        kinds, roots = [], []
        marks: list[Any] = [*orders_in(tree)]
        for x in leaves:
            kind, mark = described(x, self.exact)
            kinds.append(kind)
            marks.append(mark)
            if kind in ("root", "setting"):
                roots.append(x)
            elif kind == "value":  # the same one twice is another matter than two
                marks.append(next(i for i, y in enumerate(leaves) if y is x))
        try:
            key = (structure, *marks, *map(typed, settled), recorder.get() is None)
            versions = self.versions.setdefault(key, [])
        except TypeError:
            raise TypeError(
                "a setting of a compiled function must be hashable, such as a tuple: "
                f"{settled!r:.80}"
            ) from None
        found = self.tried(versions, leaves)
        if found is OTHER:
            with TRACING:  # the state of others is in use
                self.complete(versions, leaves)
                found = self.tried(versions, leaves)
                if found is OTHER:
                    plan = Plan(structure, kinds, roots, settled, static)
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
            return Version(*given)
        except Escaped:
            return Version(*given, loops=False)

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
        asked first."""
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
        found["as written"] = code_of(program, {}, buffers=False).source
        for run in self.passes:
            program = run(program)
            found[name_of(run)] = code_of(program, {}, buffers=False).source
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


def orders_in(tree: Any) -> Iterator[Any]:
    """The orders of dicts, which a structure does not tell."""
    if isinstance(tree, dict):
        yield tuple(tree)
    if isinstance(tree, (dict, list, tuple)):
        for x in tree.values() if isinstance(tree, dict) else tree:
            yield from orders_in(x)


def typed(x: Any) -> tuple[type, Any]:
    """What tells settings apart: 1 is not True."""
    return type(x), tuple(map(typed, x)) if type(x) is tuple else x


def described(x: Any, exact: bool) -> tuple[str, Any]:
    """What kind of argument it is, and what of it a program depends on: an `exact` one on the order
    of its axes in memory, in which a sum adds."""
    if type(x) in (np.ndarray, np.memmap) or isinstance(x, np.generic):
        if not is_numeric(x.dtype):
            of = "Python objects" if x.dtype.hasobject else f"dtype {x.dtype}"
            raise TypeError(f"a compiled function takes arrays of numbers, not of {of}")
        return "array", (x.shape, x.dtype, exact and (order_of(x), gaps_in(x)))
    if isinstance(x, Value):
        if has_graph(x):
            raise ValueError(
                "a compiled function does not go on with a graph: detach() the argument"
            )
        data, grad = x.node.data, x.node.grad
        numpys(x, "an argument")
        order = exact and order_of(data)
        return "value", (np.shape(data), data.dtype, order, x.requires_grad, grad is None)
    if type(x) in (int, float, complex):
        return "array", type(x)
    if isinstance(x, np.random.Generator):
        return "generator", None
    if is_module(x):  # which may be called
        return "root", id(x)
    if x is None or isinstance(x, (bool, str, bytes, type, Enum)) or callable(x):
        return "setting", typed(x)
    numpys(x, "an argument")
    if is_sparse(x):
        raise TypeError(SPARSE)
    if hasattr(x, "__array__") or not hasattr(x, "__dict__"):
        raise TypeError(
            f"a compiled function takes arrays, numbers, Values, Modules and settings, not "
            f"{type(x).__name__}: make it an array, or name it in static_argnums"
        )
    return "root", id(x)


@cache
def llvm() -> Pass | None:
    """The pass that makes machine code; None where that cannot be had, which is said once."""
    try:
        from tensorgrad.compiler.llvm.groups import machine_code
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        why = f"llvmlite is missing or does not fit ({error})"
        said = str(missing(f'{why}: backend="llvm" runs on NumPy', "jit"))
        warnings.warn(said, stacklevel=3)
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

    >>> @compile
    ... def slope(x):
    ...     v = Value(x)
    ...     np.sum(np.tanh(v) ** 2).backward()
    ...     return v.grad
    >>> slope(np.array([0.0, 1.0])).round(4)
    array([0.    , 0.6397])
    >>> "tanh" in slope.source
    True
    """
    numbers = (static_argnums,) if isinstance(static_argnums, int) else tuple(static_argnums)
    without = (without,) if isinstance(without, str) else without
    if f is None or isinstance(f, (staticmethod, classmethod)):
        wrap = partial(
            compile,
            static_argnums=numbers,
            exact=exact,
            without=without,
            backend=backend,
            threads=threads,
            microbatches=microbatches,
        )
        return wrap if f is None else type(f)(wrap(f.__func__))
    if not callable(f) or isinstance(f, type):
        raise TypeError(f"compile takes a function, not {f!r:.60}")
    if inspect.isgeneratorfunction(f) or inspect.iscoroutinefunction(f):
        raise TypeError(
            f"compile takes a function that returns arrays, and {f.__name__} is a generator or a "
            "coroutine: compile what it calls"
        )
    if any(type(i) is not int or i < 0 for i in numbers):
        raise TypeError(f"static_argnums counts arguments from 0 on, unlike {static_argnums!r:.60}")
    parameters = parameters_of(f)
    several = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    if parameters and not several and max(numbers, default=0) >= len(parameters):
        raise ValueError(
            f"static_argnums counts arguments from 0 on, and of {len(parameters)} none is number "
            f"{max(numbers)}"
        )
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
            stacklevel=2,
        )
        threads = 1
    machine_code = llvm() if backend == "llvm" else None
    return Compiled(f, numbers, chosen(without, exact, machine_code, threads, microbatches), exact)
