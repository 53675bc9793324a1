"""`tg.debug()`: find the operation that first made a NaN or Inf, and arrays changed too early.

It is a recorder that notes, for each operation, the source line and a checksum of every array, and
looks at every result. That costs a multiple of the time: switch it on when something is wrong.
"""

from __future__ import annotations

import dis
import linecache
import os
import sys
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from tensorgrad.ops.constant import data_of
from tensorgrad.primitive import Array, Node, Rule, record, recording

INTERNAL = tuple(os.path.dirname(f) + os.sep for f in (__file__, np.__file__))


def debug() -> AbstractContextManager[None]:
    """Check every operation recorded inside, and its part in any later sweep.

    FloatingPointError names the operation and source line that first made a NaN or Inf, forward or
    backward. RuntimeError names those whose arrays were changed in place before the sweep needed
    them.

    >>> import tensorgrad as tg
    >>> x = tg.Value([4.0, 0.0])
    >>> with tg.debug(), np.errstate(divide="ignore"):
    ...     y = 2 * np.log(x)
    Traceback (most recent call last):
    FloatingPointError: log made -inf at entry (1,), from 0.0, in <doctest ...>, line 2: ...
    """
    return recording(record_checked)


def record_checked(*operation: Any) -> Node:
    """As `record`, with the result checked and its origin noted."""
    node = record(*operation)
    node.origin = Origin(node)
    bad = first_bad(node.data)
    if bad is not None:
        assert node.op is not None
        raise FloatingPointError(f"{node.op.name} {blame(node, bad)}, in {node.origin.line}")
    return node


class Origin:
    """Where a node was recorded, and what its arrays were then."""

    def __init__(self, node: Node) -> None:
        self.line = source_line()
        self.sums = [checksum(x) for x in (node.data, *node.inputs)]

    def before_rules(self, node: Node) -> None:
        """RuntimeError if an array that the rules about to run read is not what it was."""
        assert node.op is not None
        for x, rule in zip(node.operands, node.op.rules):
            if x is None or not x.requires_grad:
                continue
            used = reads(rule, len(node.inputs))
            arrays = (node.data, *node.inputs)
            for j, (array, before) in enumerate(zip(arrays, self.sums)):
                if used[j] and checksum(array) != before:
                    what = f"operand {j - 1}" if j else "the result"
                    raise RuntimeError(
                        f"{what} of {node.op.name} was changed in place after the operation used "
                        f"it and before the sweep did, in {self.line}"
                    )

    def after_rule(self, node: Node, c: Array) -> None:
        """FloatingPointError if a rule returned a NaN or Inf."""
        assert node.op is not None
        bad = first_bad(data_of(c))
        if bad is not None:
            raise FloatingPointError(
                f"the gradient rule of {node.op.name} made {data_of(c)[bad]} at entry {bad}, "
                f"in {self.line}"
            )


def checksum(x: Any) -> int | None:
    """Of an array's bytes; a number cannot change."""
    return hash(x.tobytes()) if isinstance(x, np.ndarray) else None


def first_bad(x: Any) -> tuple[int, ...] | None:
    """The index of the first NaN or Inf."""
    if np.asarray(x).dtype.kind not in "fc" or np.isfinite(x).all():
        return None
    return tuple(np.argwhere(~np.isfinite(x))[0].tolist())


def blame(node: Node, bad: tuple[int, ...]) -> str:
    """Whether the operation made the bad entry or was given one."""
    for i, x in enumerate(node.inputs):
        if first_bad(x) is not None:
            return f"was given {np.asarray(x)[first_bad(x)]} in operand {i}"
    same = [x for x in node.inputs if np.shape(x) == node.data.shape]
    source = f", from {', '.join(str(x[bad]) for x in same)}" if same else ""
    return f"made {node.data[bad]} at entry {bad}{source}"


def source_line() -> str:
    """The innermost line that is neither ours nor NumPy's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(INTERNAL):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    return f"{file}, line {line}: {linecache.getline(file, line).strip() or '(no source)'}"


def reads(rule: Rule, operands: int) -> list[bool]:
    """Whether the rule reads the entries (not only the shape) of `out` and of each operand."""
    code = getattr(rule, "__code__", None)
    if code is None or code.co_argcount < 2 + operands or code.co_cellvars:
        return [True] * (1 + operands)
    names = code.co_varnames[1 : 2 + operands]
    steps = list(dis.get_instructions(code))
    read = {
        step.argval
        for step, after in zip(steps, [*steps[1:], steps[-1]])
        if step.opname.startswith("LOAD_FAST")
        and not (after.opname == "LOAD_ATTR" and after.argval in ("shape", "ndim", "dtype", "size"))
    }
    return [name in read for name in names]
