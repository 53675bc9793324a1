"""`tg.debug()`: find the operation that first made a NaN or Inf, and arrays changed too early.
`birth` finds it in a graph that is there already.

`tg.debug()` is a recorder that notes, for each operation, the source line and a copy of every
array, and looks at every result. That costs a multiple of the time: switch it on when something is
wrong.
"""

from __future__ import annotations

import linecache
import os
import sys
import warnings
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import elsewhere, entries_in, innermost, is_array, kind_of, to_numbers
from tensorgrad.engine.backprop import RECORDED, Sweep
from tensorgrad.engine.calls import instead
from tensorgrad.engine.care import Unsure
from tensorgrad.engine.dtypes import is_inexact
from tensorgrad.engine.node import Array, Node, record, recording
from tensorgrad.engine.rules import Reading
from tensorgrad.graph.local import choice_in_force

PACKAGE = os.path.dirname(os.path.dirname(__file__))
INTERNAL = tuple(folder + os.sep for folder in (PACKAGE, os.path.dirname(np.__file__)))


def debug() -> recording:
    """Check every operation recorded inside, and its part in any later sweep.

    Any Inf counts, also one that a later `np.where` would mask out.

    FloatingPointError names the operation and source line that first made a NaN or Inf, forward or
    backward. RuntimeError names those whose arrays were changed in place before the sweep needed
    them. A warning names those where a second derivative follows from a choice (docs/choices.md).

    >>> import tensorgrad as tg
    >>> x = tg.Value([4.0, 0.0])
    >>> with tg.debug(), np.errstate(divide="ignore"):
    ...     y = 2 * np.log(x)
    Traceback (most recent call last):
    FloatingPointError: log made -inf at entry (1,), from 0.0, in <doctest ...>, line 2: ...
    """
    return recording(instead(record_checked))  # no_grad() stays in force


def record_checked(*operation: Any) -> Node:
    """As `record`, with the result checked and its origin noted."""
    node = record(*operation)
    for x in node.operands:
        if x is not None:
            check_unchanged(x, node)
    origin = Origin(node)
    node.readings += (origin,)
    bad = first_bad(node.data)
    if bad is not None:
        assert node.op is not None
        raise FloatingPointError(f"{node.op.name} {blame(node, bad)}, in {origin.line}")
    return node


def check_unchanged(node: Node, user: Node) -> None:
    """RuntimeError if the result of a checked operation is not what it was."""
    for origin in node.readings:
        if isinstance(origin, Origin) and not same(node.data, origin.before[0]):
            made, used = (getattr(x.op, "name", None) for x in (node, user))
            raise RuntimeError(
                f"the result of {made} was changed in place before {used} used it, "
                f"which no gradient knows of; it was made in {origin.line}"
            )


class Origin(Reading):
    """Where a node was recorded, and what its arrays were then."""

    looks = True

    def __init__(self, node: Node) -> None:
        self.line = source_line()
        arrays = (node.data, *node.inputs)  # what is no array cannot change
        self.before = [x.copy() if is_array(x) and kind_of(x).alone else x for x in arrays]

    def given(self, node: Node, args: tuple[Array, ...], sweep: Sweep) -> tuple[Array, ...]:
        """RuntimeError if an array was changed that the rules about to run read."""
        assert node.op is not None
        if not sweep.careful:
            raise Unsure  # an infinity that nobody asks for is no mistake
        if RECORDED in sweep.readings:
            self.name_choices(node)
        now = (node.data, *node.inputs)
        changed = [i for i, (x, old) in enumerate(zip(now, self.before)) if not same(x, old)]
        if not changed:
            return args
        # A rule is linear in g, so one random g tells whether it is another map now.
        g = np.random.default_rng(0).standard_normal(node.data.shape)
        for operand, x in enumerate(node.operands):
            if x is None or not x.requires_grad:
                continue
            for i in changed:
                mixed = [now[j] if j == i else old for j, old in enumerate(self.before)]
                with np.errstate(all="ignore"):
                    new, old = (
                        node.op.pull(operand, (g, *arrays), node.params)
                        for arrays in (mixed, self.before)
                    )
                if not same(new, old):
                    what = f"operand {i - 1}" if i else "the result"
                    raise RuntimeError(
                        f"{what} of {node.op.name} was changed in place after the operation used "
                        f"it and before the sweep did, in {self.line}"
                    )

        return args

    def name_choices(self, node: Node) -> None:
        """A warning where a second derivative may follow from a choice, and not from calculus."""
        for i, x in enumerate(node.operands):
            choice = choice_in_force(node, i) if x is not None and x.requires_grad else None
            if choice:
                assert node.op is not None
                warnings.warn(
                    f"{node.op.name} is where its derivative is a choice, {choice}, from which "
                    f"second derivatives follow (docs/choices.md), in {self.line}",
                    stacklevel=2,
                )

    def answered(self, node: Node, i: int, c: Array, sweep: Sweep) -> Array:
        """FloatingPointError if a rule returned a NaN or Inf."""
        if first_bad(c) is not None:
            raise FloatingPointError(f"{rule_made(node, c)}, in {self.line}")
        return c


def rule_made(node: Node, c: Array) -> str:
    """The NaN or Inf that the rule of `node` made."""
    bad = first_bad(c)
    assert node.op is not None
    assert bad is not None
    return f"the gradient rule of {node.op.name} made {innermost(c)[bad]} at entry {bad}"


class Found(Exception):
    """The node whose rule made the first NaN or Inf of a sweep."""


class Watch(Reading):
    """Ends a sweep at the first NaN or Inf."""

    def answered(self, node: Node, i: int, c: Array, sweep: Sweep) -> Array:
        if first_bad(c) is not None:
            raise Found(node, rule_made(node, c))
        return c


def birth(output: Node) -> tuple[Node, str] | None:
    """The node at which the first NaN or Inf arises that reaches `output`, or the gradients by it;
    and what happened there. None where all numbers are finite.
    """
    if first_bad(output.data) is None:
        sweep = Sweep((output,), careful=True)
        sweep.readings = (Watch(), *sweep.readings)
        try:
            with np.errstate(all="ignore"):
                sweep.run({output: np.ones_like(output.data)[()]})
        except Found as found:
            made: tuple[Node, str] = found.args
            return made
        return None
    node = output
    while bad := [x for x in node.operands if x is not None and first_bad(x.data) is not None]:
        node = bad[0]
    where = first_bad(node.data)
    assert where is not None
    if node.op is None:
        return node, f"is {innermost(node.data)[where]} at entry {where}"
    return node, f"{node.op.name} {blame(node, where)}"


def same(x: Any, y: Any) -> bool:
    """Whether two arrays hold the same numbers."""
    return x is y or bool(np.array_equal(entries_in(x), entries_in(y), equal_nan=True))


def numbers(x: Any) -> Any:
    """An array as NumPy's; inside vmap, that of all examples."""
    x = entries_in(innermost(x))
    return np.asarray(to_numbers(x) if elsewhere(x) else x)


def first_bad(x: Any) -> tuple[int, ...] | None:
    """The index of the first NaN or Inf; inside vmap, that of its example in front."""
    x = numbers(x)
    if not is_inexact(x.dtype) or np.isfinite(x).all():
        return None
    return tuple(np.argwhere(~np.isfinite(x))[0].tolist())


def blame(node: Node, bad: tuple[int, ...]) -> str:
    """Whether the operation made the bad entry or was given one."""
    for i, x in enumerate(node.inputs):
        if first_bad(x) is not None:
            return f"was given {numbers(x)[first_bad(x)]} in operand {i}"
    made = numbers(node.data)
    same = [x for x in map(numbers, node.inputs) if x.shape == made.shape]
    source = f", from {', '.join(str(x[bad]) for x in same)}" if same else ""
    return f"made {made[bad]} at entry {bad}{source}"


def source_line() -> str:
    """The innermost line that is neither ours nor NumPy's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(INTERNAL):
        frame = frame.f_back
    return quoted(frame.f_code.co_filename, frame.f_lineno)


def quoted(file: str, line: int) -> str:
    """Where a line is, and what it says."""
    return f"{file}, line {line}: {linecache.getline(file, line).strip() or '(no source)'}"
