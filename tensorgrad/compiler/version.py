"""One program of a function, for arguments of one kind and for all that it reaches as that is now:
traced, made into code, and run.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache
from threading import Lock
from typing import Any

import numpy as np

from tensorgrad.compiler.arguments import Plan, names_of
from tensorgrad.compiler.capture import (
    FEW,
    Argument,
    Attribute,
    Capture,
    Numbers,
    Place,
    Reach,
    parts,
    sample,
)
from tensorgrad.compiler.entry import CARE, OTHER, Write, entry_of, hold_back, let_go
from tensorgrad.compiler.lives import Lives, views
from tensorgrad.compiler.names import Watch, describe
from tensorgrad.compiler.passes import Pass, name_of, simplified
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
from tensorgrad.compiler.results import result_of, results_of
from tensorgrad.compiler.source import LARGE, Code, code_of, function_of, give_back
from tensorgrad.compiler.store import stored
from tensorgrad.compiler.tracer import Tracer, example
from tensorgrad.engine.node import Node, record, recorder
from tensorgrad.engine.short import ShortArray, kept

DOUBLE = np.dtype(np.float64)
LONG = 20_000
"""How many operations are kept as they were written down: 300 bytes each."""
FLEETING_SAID = (
    "{} was compiled with what {} said while it was traced, and is not asked again: pass that as "
    "an argument"
)


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
        assumes: bool = True,
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
        known = {} if outcomes is None else outcomes
        program = Program(exact=exact, loops=loops, known=known, assumes=assumes)
        capture = Capture(self.reach, leaves, plan.kinds, names_of(f, plan), program)
        held = {id(x) for x in (*leaves, *plan.settled, *self.reach.held)}
        watch = Watch(program, f)
        (outs, self.result), changes = capture.run(
            lambda given: plan.call(f, given), lambda result: result_of(result, held), watch
        )
        new = ((capture.names_of(place, x), parts(x)) for place, x, _ in changes)
        describe(program, watch, self.reach.called, [pair for n, xs in new for pair in zip(n, xs)])
        if said := ", ".join(self.reach.fleeting):
            warnings.warn(FLEETING_SAID.format(self.name, said), stacklevel=5)
        changes = gathered(changes, capture.reads, program)
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
        self.assumed, self.doubtful = program.assumed, False
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
            outs = program.run(given, taken)
        if outs is None:
            for rng, state in generators:
                rng.bit_generator.state = state
            self.doubt()
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
            objects() if "machine code" in map(name_of, self.passes) else None,
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
            self.doubt()
        return found

    def doubt(self) -> None:
        """A check did not hold: perhaps that of something that was taken to hold nowhere."""
        if self.assumed:
            self.doubtful, self.plain = True, False

    def origins(self, leaves: Sequence[Any]) -> tuple[Node, ...]:
        """The nodes that a result with a graph came from."""
        given = (leaves[i].node for i in self.given)
        return *self.nodes, *(n for n in given if n.requires_grad)

    def drawing(self, leaves: Sequence[Any]) -> list[np.random.Generator]:
        """The generators that would have drawn once too often if a check did not hold."""
        found = [x for x in self.draws if isinstance(x, np.random.Generator)]
        return [*found, *(x for x in leaves if isinstance(x, np.random.Generator))]


@cache
def objects() -> Any:
    """What looks at Python's objects by machine code; None where these are not as it expects."""
    from tensorgrad.compiler.llvm import objects

    try:
        objects.functions()
    except RuntimeError:
        return None
    return objects


def gathered(
    changes: Sequence[tuple[Place, Any, bool]], reads: Sequence[Place], program: Program
) -> list[tuple[Place, Any, bool]]:
    """Changes, in which many numbers are written as one vector, where they are read as one, or are
    not there yet."""
    rest, vectors = [*changes], []
    for key in ("data", "grad"):
        new = [change for change in rest if is_number_at(key, *change)]
        numbers = {place.holder: x.instruction for place, x, _ in new}
        known = (p for p in reads if isinstance(p, Numbers) and p.key == key)
        place = next(known, None) or Numbers([*numbers], key)
        if len(numbers) <= FEW or {*place.holder} != numbers.keys():
            continue
        args = [numbers[node] for node in place.holder], DOUBLE, len(numbers)
        vector = Instruction(np.fromiter, args, None, (len(numbers),), DOUBLE)
        program.body.append(vector)
        vectors.append((place, vector, False))
        rest = [change for change in rest if not any(change is x for x in new)]
    return rest + vectors


def is_number_at(key: str, place: Place, x: Any, inside: bool) -> bool:
    """Whether a number is written there that may be one of `Numbers`."""
    if not (isinstance(place, Attribute) and type(place.holder) is Node and place.key == key):
        return False
    return isinstance(x, Tracer) and not x.is_array() and x.instruction.dtype == DOUBLE


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
        old = inputs.get(place.identity, ()) if not isinstance(place, Numbers) else ()
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


def in_order(x: Any) -> Any:
    """The array in C's order, as code makes it: an optimiser relies on it."""
    return np.asarray(x, order="C")
