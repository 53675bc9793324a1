"""Three primitives that change no number: `alias` makes another node of it, `as_examples` turns an
axis into the examples of a `vmap`, and `as_axis` turns these back.

Inside a level of examples a Value holds a `Batched` array. The two are each other's rule; and the
cotangent of what was the same for all examples is the sum of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import Kind, kinds
from tensorgrad.engine.backprop import Sweep
from tensorgrad.engine.batching import Batched, Level, by_itself, in_order, levels_of, run_batched
from tensorgrad.engine.node import Array, Node, data_of, hold, leaf
from tensorgrad.engine.primitive import Primitive
from tensorgrad.engine.rules import Reading
from tensorgrad.engine.short import computed


def to_level(x: Array, level: Level, axis: int = 0) -> Batched:
    """The axis as the examples of `level`."""
    outer = levels_of(x)
    levels = in_order({*outer, level})
    payload = x.payload if isinstance(x, Batched) else x
    axis = axis % np.ndim(x)
    return Batched(np.moveaxis(payload, len(outer) + axis, levels.index(level)), levels)


def to_axis(x: Array, level: Level, axis: int = 0) -> Array:
    """The examples of `level` along a new axis; the same for all where `x` does not vary."""
    levels = levels_of(x)
    axis = axis % (np.ndim(x) + 1)
    if level not in levels:
        payload = np.expand_dims(x.payload if levels else x, len(levels) + axis)
        shape = list(payload.shape)
        shape[len(levels) + axis] = level.size
        payload, rest = np.broadcast_to(payload, shape), levels
    else:
        rest = tuple(other for other in levels if other is not level)
        payload = np.moveaxis(x.payload, levels.index(level), len(rest) + axis)
    return Batched(payload, rest) if rest else payload


def leaving(g: Array, out: Array, x: Array, level: Level, axis: int = 0) -> Array:
    """Back into the level; what was the same for all examples has the sum of their cotangents."""
    if level in levels_of(data_of(x)):
        return as_examples(g, level=level, axis=axis)
    return np.sum(g, axis=axis)


alias = Primitive(lambda x: x, (lambda g, out, x: g,), "alias", batch=by_itself)
as_examples: Primitive = Primitive(
    to_level,
    (lambda g, out, x, level, axis=0: as_axis(g, level=level, axis=axis),),
    "as_examples",
    batch=by_itself,
)
as_axis: Primitive = Primitive(
    to_axis,
    (leaving,),
    "as_axis",
    batch=by_itself,
)


class Examples(Reading):
    """Of a node that holds batched arrays: its rules are given Values of these, which know how."""

    def given(self, node: Node, args: tuple[Array, ...], sweep: Sweep) -> tuple[Array, ...]:
        return tuple(hold(leaf(x)) if type(x) is Batched else x for x in args)

    def answered(self, node: Node, i: int, c: Array, sweep: Sweep) -> Array:
        """Summed over the examples that the vmap broadcast the operand over.

        Not over those that an output still has: it is one output, and this one sweep, for each.
        """
        kept = levels_of(node.inputs[i], *(output.data for output in sweep.outputs))
        for level in levels_of(node.data):
            if level in levels_of(data_of(c)) and level not in kept:
                c = np.sum(as_axis(c, level=level), axis=0)
        return c


class BatchedKind(Kind):
    """Of arrays with an axis for the examples: above all others, which may be in them."""

    def run(self, op: Primitive, inputs: Sequence[Array], params: Mapping[str, Any]) -> Array:
        return computed(op, inputs, params, lambda *xs, **named: run_batched(op, xs, named))


kinds[Batched] = BatchedKind(rank=2, alone=False, readings=(Examples(),))
