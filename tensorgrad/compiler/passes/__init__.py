"""What is done to a program before it becomes code: each pass makes a new one of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from tensorgrad.compiler.passes import (
    entries,
    factors,
    floats,
    fusion,
    halves,
    loops,
    microbatches,
    orders,
    parts,
    pooling,
    products,
    rematerialisation,
    rolling,
    slices,
    tidy,
    updates,
)
from tensorgrad.compiler.program import Program

Pass = Callable[[Program], Program]

EXACT: tuple[Pass, ...] = (
    *(loops.loops, *loops.TIDY, updates.updates, floats.floats, orders.orders, fusion.chains),
)
"""Passes that change no number."""
PASSES: tuple[Pass, ...] = (
    loops.loops,  # what they make before a loop is simplified with the rest
    *(entries.sums_of_entries, rolling.rolling),  # of entries, sums of numbers, which are alike
    *(tidy.ufuncs, tidy.shapes, tidy.reductions),  # few functions, for which the others look
    *(parts.parts, parts.sums_with_nothing),  # parts of zeros: before these are constants
    *(tidy.constants, tidy.common_subexpressions, tidy.numbers, tidy.masks),
    *(pooling.pooling, pooling.sums_of_windows, pooling.windows),
    *(slices.sums_of_slices, factors.factors),  # numbers are arrays; one factor each is left, ...
    *(products.layouts, products.accumulation),  # ... that is handed to BLAS
    *(products.sums, products.dots),  # matmul until here; of what is a factor no sum is checked
    products.inner_products,
    *(tidy.dead_code, rematerialisation.rematerialisation),  # of what is left
    updates.updates,  # nothing before needs to look into them
    *(floats.floats, orders.orders, fusion.fusion),  # last: nobody looks into a group
)
"""All of them, in their order. What is not among the exact ones adds in another order."""


def name_of(run: Pass) -> str:
    """What a pass is called where it is switched off, or shown."""
    function: Any = run.func if isinstance(run, partial) else run
    return str(function.__name__).replace("_", " ")


TAKEN_OVER = {
    *(pooling.windows, products.sums, products.dots, products.inner_products),
    *(rematerialisation.rematerialisation, fusion.fusion),
}
"""What machine code undoes, or is better at than BLAS and NumPy's slices and blocks."""
AFTER_HALVES = {products.layouts, *PASSES[[*PASSES].index(products.sums) :]} - {updates.updates}
"""What the program of half a batch goes through by itself, too."""


def chosen(
    without: Collection[str] = (),
    exact: bool = False,
    machine_code: Pass | None = None,
    threads: int = 1,
    batches: int = 1,
) -> tuple[Pass, ...]:
    """The passes to make; ValueError for a name that none has. `machine_code`: the last one, if a
    back end has its own; `threads`, `batches`: how many, 1 or 2, and one of them 1."""
    last = (machine_code,) if machine_code else ()
    parted = halves.halves, microbatches.microbatches
    every = [*dict.fromkeys(map(name_of, (*PASSES, *parted, *EXACT, *last)))]
    unknown = {*without}.difference(every)
    if unknown:
        names = ", ".join(every)
        raise ValueError(f"compile: there is no pass {min(unknown)!r}; the passes are {names}")
    passes = EXACT if exact else PASSES
    if machine_code:
        passes = (*(run for run in passes if run not in TAKEN_OVER), machine_code)
    passes = tuple(run for run in passes if name_of(run) not in without)
    if exact or threads > 1 or batches > 1 or updates.updates not in passes:
        # There is no code of a rule: all passes, such as halves, see what it does.
        passes = (updates.updates, *(run for run in passes if run is not updates.updates))
    else:
        tidy = tuple(run for run in updates.TIDY if run in passes)
        once = partial(updates.updates, tidy=tidy)
        passes = tuple(once if run is updates.updates else run for run in passes)
    for run, many, after in (
        (halves.halves, threads, AFTER_HALVES),
        (microbatches.microbatches, batches, AFTER_HALVES | {products.accumulation}),
    ):
        if many > 1 and not exact and name_of(run) not in without:
            rest = tuple(x for x in passes if x in after or x is machine_code)
            first = (x for x in passes if x not in rest)
            passes = (*first, partial(run, rest=rest), *rest)
    return passes


def simplified(program: Program, passes: Collection[Pass] = PASSES) -> Program:
    """The program after all passes, one after the other."""
    for run in passes:
        program = run(program)
    return program
