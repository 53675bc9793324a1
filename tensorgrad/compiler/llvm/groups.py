"""What of a program becomes machine code."""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tensorgrad.compiler.llvm.kernel import admits, is_dense, strides_of
from tensorgrad.compiler.llvm.load import layout_of, loaded
from tensorgrad.compiler.llvm.operations import price
from tensorgrad.compiler.llvm.products import multiplies, turned
from tensorgrad.compiler.llvm.scatter import scatters
from tensorgrad.compiler.passes.fusion import Joins, groups, is_product, one_of
from tensorgrad.compiler.passes.pooling import LARGEST, TO_LARGEST, as_slices
from tensorgrad.compiler.passes.rematerialisation import CHEAP, made_again
from tensorgrad.compiler.passes.rewrite import changed, is_array, rewritten, shape_of
from tensorgrad.compiler.passes.tidy import dead_code
from tensorgrad.compiler.program import (
    TURNS,
    Fused,
    Instruction,
    Program,
    converted,
    is_basic,
    is_count,
    is_part,
    is_reduction,
    nbytes,
    replaced,
    sum_of_squares,
    users_of,
)
from tensorgrad.ops.nn.conv import by_rows, conv_rows

SMALL = 1 << 14
"""The entries up to which a single operation takes less time as a kernel than as NumPy's."""


def is_worth_it(members: Sequence[Instruction]) -> bool:
    """Whether these, together, are quicker as a kernel."""
    first = members[0]
    single = is_reduction(first.function) or price(first.function) > 1
    single |= first.function in (LARGEST, TO_LARGEST)
    return len(members) > 1 or single or math.prod(first.shape or ()) <= SMALL


def machine_code(program: Program) -> Program:
    """Operations on arrays entry by entry, and sums, run in groups as machine code."""
    program = made_again(program, CHEAP | {np.exp, np.square}, 8)
    program = dead_code(rewritten(program, as_sum))
    program = rewritten(program, lambda i: i if admits(i) else as_slices(i))
    program = biases(program)
    program = groups(program, joins_of(program), is_worth_it)
    watch(program)
    alone = {i for i in program.body if scatters(i) or multiplies(i)}
    program = rewritten(program, lambda i: one_of([*turned(i), i], [i], {})[0] if i in alone else i)
    program = dead_code(program)  # what is turned there
    found = [i for i in program.body if isinstance(i.function, Fused)]
    for i in found:
        with_numbers(i)
    kernels = [(i.function.program, layout(i)) for i in found]
    for i, run in zip(found, loaded(kernels)):
        i.function.run = run
    return program


def biases(program: Program) -> Program:
    """A bias of a convolution that kernels alone meet is added there, by each: it is quicker than
    to write the sum, and to read it."""
    users, body = users_of(program), list[Instruction]()
    shown = {x for x in (*program.outputs, *program.guards) if isinstance(x, Instruction)}
    bias: dict[Instruction, Instruction] = {}
    for i in program.body:
        with_bias = i.function is by_rows and i.args[0] is conv_rows and len(i.args) == 5
        if with_bias and i not in shown and all(map(admits, users[i])):
            *args, b = i.args
            if isinstance(b, Instruction) and b.dtype == args[2].dtype == i.dtype:
                i.call(by_rows, (*args,), i.kwargs)
                axes = (slice(None), *[None] * (len(i.shape or ()) - 2))
                shape = (*(b.shape or ()), *[1] * (len(axes) - 1))
                bias[i] = Instruction(
                    operator.getitem, (b, axes), None, shape, b.dtype, "", i.scope
                )
                body += [i, bias[i]]
                continue
        sums = {
            x: Instruction(np.add, (x, bias[x]), None, x.shape, x.dtype, "", i.scope, x.order)
            for x in i.operands
            if x in bias
        }
        if sums:
            i.call(i.function, *replaced((i.args, i.kwargs), sums))
        body += [*sums.values(), i]
    return program.with_body(body, {})


def layout(i: Instruction) -> list[tuple[int, ...]]:
    """The strides of what a kernel is called with, as far as the program says."""
    return [*map(strides, i.args), *map(strides_of, i.function.program.outputs)]


def strides(x: Any) -> tuple[int, ...]:
    """Those of an array, in entries; of a view those that it has of an array in C's order."""
    if not isinstance(x, Instruction):
        return layout_of(x) or strides_of(Instruction(None, shape=np.shape(x)))
    views = x.function in TURNS or x.function is np.broadcast_to
    views |= x.function is operator.getitem and not is_part(x) and is_basic(x.args[1])
    if not views or x.operands not in ([], [x.args[0]]) or not x.shape:
        return strides_of(x)
    like = x.args[0]
    if isinstance(like, Instruction):  # in bytes
        if like.shape is None:  # one of several results
            return strides_of(x)
        like = as_strided(np.empty(1, np.int8), like.shape, strides(like))
    return layout_of(x.function(like, *x.args[1:], **x.kwargs)) or strides_of(x)


def joins_of(program: Program) -> Joins:
    """Whether an instruction may be in a group: of products with vectors those of a matrix that
    others are of as well, for it to be read once."""
    products = [i for i in program.body if is_product(i)]
    times = Counter(x for i in products for x in i.operands if len(x.shape or ()) == 2)
    return lambda i: admits(i) and (not is_product(i) or any(times[x] > 1 for x in i.operands))


def as_sum(i: Instruction) -> Instruction:
    """A product of two arrays as vectors, or of their rows, is a sum, which may be part of a group,
    as all of a layer norm then is; so is one whose rows are to have an axis of length 1."""
    rows: Any = i.args[0] if i.function is np.reshape else None
    added = isinstance(rows, Instruction) and rows.function == np.add.reduce
    if added and rows.kwargs == {"axis": -1} and i.shape == (*(rows.shape or ()), 1):
        return changed(i, np.add.reduce, rows.args, {"axis": -1, "keepdims": True})
    if i.function is np.vecdot and i.shape:
        return summed(i, i, {"axis": -1})
    if i.function is np.vdot and shape_of(i.args[0]) == shape_of(i.args[1]):
        return summed(i, i, {"axis": None})
    return i


def summed(i: Instruction, product: Instruction, how: Any) -> Instruction:
    """The sum, along an axis, of the products of the entries of two arrays; of one of them if the
    other is full of ones."""
    if product.kwargs or len(product.args) != 2:
        return i
    x, y = product.args
    if not is_array(x) or x.dtype.kind != "f" or not x.dtype == y.dtype == i.dtype:
        return i
    if isinstance(y, np.ndarray) and y.shape == x.shape[-1:] and (y == 1).all():
        return changed(i, np.add.reduce, (x,), how)
    if not is_array(y) or x.shape != y.shape:
        return i
    products = Instruction(np.multiply, (x, y), None, x.shape, x.dtype, scope=i.scope)
    return changed(i, np.add.reduce, (products,), how)


LARGE = 1 << 17
"""From so many bytes on, what makes an array takes the sum of its squares as well: reading it again
would take longer than a kernel with one result more."""


def watch(program: Program) -> None:
    """See that what is to be finite is so by kernels, which take the sum of all squares."""
    counts = [x for x in program.checks if is_count(x)]
    guards = [x for x in dict.fromkeys(program.guards) if x not in counts]
    kinds = {np.dtype(x.dtype) for x in guards}
    if not guards or not kinds <= {np.dtype(np.float32), np.dtype(np.float64)}:
        return
    if not all(x.shape and math.prod(x.shape) for x in guards):
        return
    narrow = min(kinds, key=lambda dtype: dtype.itemsize)
    given = [squares_beside(program, x) or x for x in guards]
    if len(given) == 1 and not given[0].shape and given[0].dtype == narrow:
        program.checks, program.factors = [*counts, *given], []
        return
    inputs = [Instruction(None, (), None, x.shape, x.dtype, x.name, order=x.order) for x in given]
    body: list[Instruction] = []
    if all(map(is_dense, given, map(strides, given))):
        total: Any = added(body, sum_of_squares, (*inputs,), (), narrow)
    else:
        total = 0.0
        for x in inputs:
            own = squares(x, body) if x.shape else x
            total = added(body, np.add, (own, total))
        total = added(body, converted, (total, narrow), (), narrow)
    fused = Fused(Program(inputs, body, [total]))
    i = Instruction(fused, tuple(given), None, (), narrow, "squares")
    program.body.append(i)
    program.checks, program.factors = [*counts, i], []


def added(
    body: list[Instruction], f: Any, args: Any, shape: Any = (), dtype: Any = np.float64, **how: Any
) -> Instruction:
    """One more instruction in a body."""
    body.append(Instruction(f, args, how, shape, np.dtype(dtype)))
    return body[-1]


def squares(x: Instruction, body: list[Instruction]) -> Instruction:
    """The sum of the squares of an array, in double, in which none is too large."""
    wide = added(body, converted, (x, np.float64), x.shape)
    return added(body, np.add.reduce, (added(body, np.multiply, (wide, wide), x.shape),), axis=None)


def squares_beside(program: Program, x: Instruction) -> Instruction | None:
    """The sum of squares of a large array, if a kernel makes it, which then makes both."""
    made = x.args[0] if is_part(x) else x
    if nbytes(x) < LARGE or not isinstance(made.function, Fused):
        return None
    if not is_part(x):  # it is the only result, and one of two from now on
        whole = Instruction(x.function, x.args, None, None, scope=x.scope)
        program.body.insert(program.body.index(x), whole)
        x.call(operator.getitem, (whole, 0), {})
    whole, k = x.args
    inside = whole.function.program
    inside.outputs.append(squares(inside.outputs[k], inside.body))
    args = (whole, len(inside.outputs) - 1)
    made = Instruction(operator.getitem, args, None, (), np.dtype(np.float64), "squares", x.scope)
    program.body.insert(program.body.index(x), made)
    return made


def with_numbers(i: Instruction) -> None:
    """Write constant numbers into the group."""
    program = i.function.program
    number = {x: y for x, y in zip(program.inputs, i.args) if not isinstance(y, Instruction)}
    number = {x: y for x, y in number.items() if not np.ndim(y)}
    for x in program.body:
        x.call(x.function, replaced(x.args, number), replaced(x.kwargs, number))
    args = [y for x, y in zip(program.inputs, i.args) if x not in number]
    program.inputs = [x for x in program.inputs if x not in number]
    i.call(i.function, tuple(args), i.kwargs)
