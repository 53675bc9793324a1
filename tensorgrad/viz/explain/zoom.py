"""`zoom`: one entry of an array, taken apart into numbers.

A primitive's forward is plain NumPy. Given arrays of objects, one scalar Value for each entry,
NumPy runs it on these, and what comes out is the graph of scalars behind each entry of the result.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from functools import partial
from typing import Any

import numpy as np

from tensorgrad.engine.arrays import is_lazy
from tensorgrad.engine.backprop import cotangents
from tensorgrad.engine.node import Array, Node, data_of, within
from tensorgrad.engine.primitive import registry
from tensorgrad.graph.local import entrywise
from tensorgrad.graph.names import Names
from tensorgrad.graph.replay import Replay, replayable, totals
from tensorgrad.value import Value

ENTRIES = 20_000  # of all arrays together that are taken apart


bare: ContextVar[bool] = ContextVar("bare", default=False)


class Entry(Value):
    """A scalar Value that has every primitive of one operand as a method, where NumPy looks.

    While a forward runs it has no dtype: `np.mean` makes a plain number of a result that has one.
    """

    __slots__ = ()

    @property
    def dtype(self) -> np.dtype[Any]:
        if bare.get():
            raise AttributeError("dtype")
        return super().dtype

    def __add__(self, other: Array) -> Value:
        return self if is_zero(other) else super().__add__(other)

    def __radd__(self, other: Array) -> Value:
        return self if is_zero(other) else super().__radd__(other)

    def __mul__(self, other: Array) -> Any:
        return 0 if is_zero(other) else super().__mul__(other)

    def __rmul__(self, other: Array) -> Any:
        return 0 if is_zero(other) else super().__rmul__(other)

    def __getattr__(self, name: str) -> Any:
        op = registry.get(name)
        if op is None or op.arity != 1:
            raise AttributeError(f"a Value has no {name!r}")
        return partial(op, self)

    def conjugate(self) -> Value:
        """Itself, where it is real: nothing to be recorded."""
        return super().conjugate() if np.iscomplexobj(self.data) else self


Entry.kind = Entry


def is_zero(x: Any) -> bool:
    """Whether it is the 0 of a padding, or that a sum starts with, and no number of anybody's."""
    return type(x) in (int, np.int_) and x == 0


def zoom(value: Value, index: Any = (), wrt: Any = None, names: Names = None) -> Value:
    """The entry `value[index]` as the result of scalars: a graph that `graph`, `explain` take.

    By default the one operation that made `value` is taken apart: an entry of a matrix product
    becomes a sum of products. With `wrt`, a Value or several, everything between these and `value`
    is: a normalisation, an attention. The scalars are called after the arrays that they are
    entries of, `W[0, 2]`; those of one result have its entries' numbers.

    IndexError for an index that is not one entry; ValueError for arrays of more than 20,000 entries
    together; TypeError for an operation whose forward does not run on objects.

    >>> x, y = Value(np.ones((2, 2)), name="x"), Value(np.eye(2), name="y")
    >>> zoom(x @ y, (0, 1))
    Value(1.0, op=add, name='V1[0, 1]')
    """
    node = replayable(value).node
    if is_lazy(node.data):
        raise TypeError("zoom looks at numbers, which chunked data have not yet: value.compute()")
    if node.op is None:
        raise ValueError("a leaf was made by no operation: there is nothing to take apart")
    probe = np.empty(value.shape, bool)[index]
    if probe.ndim:
        raise IndexError(
            f"index {index!r} of a Value of shape {value.shape} is {probe.shape}, not one entry; "
            f"zoom(v, {(0,) * value.ndim}) is the first"
        )
    parts, ends = taken_apart(value, wrt, names)
    found = parts[node][index]
    if not isinstance(found, Value):
        raise ValueError(f"entry {index!r} is the constant {found}: it has no graph")
    result = Value.of(found.node)
    at = np.zeros_like(node.data)
    at[index] = 1
    same_gradient(result, node, at[()], {x: parts[x] for x in ends})
    return result


def same_gradient(result: Value, node: Node, g: Array, leaves: dict[Node, Array]) -> None:
    """TypeError if the graph of scalars has lost a part of the gradient of `node` for `g`."""
    own = totals(Replay(result).backward())
    expected = cotangents({node: g}, wrt=set(leaves))
    for x, part in leaves.items():
        found = np.array([own.get(entry.node, 0.0) for entry in part.ravel()], complex)
        wanted = np.ravel(expected.get(x, np.zeros(x.data.shape)))
        scale = np.max(np.abs(wanted), initial=1e-30, where=np.isfinite(wanted))
        if not np.allclose(found, wanted, rtol=1e-4, atol=1e-4 * scale, equal_nan=True):
            raise TypeError(
                "this cannot be taken apart into scalars: an operation between loses its gradient"
            )


def taken_apart(
    value: Value, wrt: Any = None, names: Names = None
) -> tuple[dict[Node, Array], set[Node]]:
    """Arrays of scalar Values with the numbers of `value`, and of what it is made of; and the ends,
    whose scalars are leaves."""
    replay = Replay(value, wrt, names)
    if wrt is None:
        inner = {value.node}
        edge = {x for x in value.node.operands if x is not None and x.requires_grad}
    else:
        edge = {v.node for v in (wrt if isinstance(wrt, (list, tuple)) else [wrt])}
        if not edge:
            raise ValueError("wrt=[] leaves nothing to take it apart into")
        inner = {x for x in replay.wanted if x.op is not None} - edge
    size = sum(np.size(x.data) for x in (*inner, *edge))
    if size > ENTRIES:
        raise ValueError(f"{size:,} entries are too many to take apart, {ENTRIES:,} are the limit")
    names_of_arrays = {x: of_array(replay.names[x]) for x in (*inner, *edge)}
    parts: dict[Node, Array] = {x: scalars(x.data, names_of_arrays[x]) for x in edge}
    for node in replay.order:
        if node in inner:
            pairs = zip(node.operands, node.inputs)
            parts[node] = run(node, [a if x is None else parts.get(x, a) for x, a in pairs])
            called(parts[node], names_of_arrays[node])
    return parts, edge


def scalars(x: Array, name: str) -> Array:
    """A Value for each entry, in an array of objects."""
    made = [Entry(x[i] if i else x, name=entry_name(name, i)) for i in np.ndindex(np.shape(x))]
    return as_objects(made, np.shape(x))


def as_objects(parts: list[Any], shape: tuple[int, ...]) -> Array:
    """An array of objects; Values would be asked for their numbers by `np.array`."""
    made = np.empty(len(parts), object)
    for i, part in enumerate(parts):
        made[i] = part
    return made.reshape(shape)


def of_array(name: str) -> str:
    """What an array is called: one without a name is V1, not v1 as its scalars are."""
    return name.upper() if re.fullmatch(r"v\d+", name) else name


def entry_name(name: str, index: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, index))}]" if index else name


def called(results: Array, name: str) -> None:
    """Name the entries of a result; what was only passed on keeps its name."""
    for i in np.ndindex(results.shape):
        if isinstance(results[i], Entry) and results[i].name is None:
            results[i].name = entry_name(name, i)


def run(node: Node, inputs: list[Array]) -> Array:
    """The forward of a node on arrays of scalars; entry by entry where it works so."""
    op, params = node.op, node.params
    assert op is not None
    if op.forward is data_of:  # of a checkpoint, a custom_vjp, a hook there is the result alone
        raise TypeError(
            f"{op.name} keeps nothing of what it computed: to take it apart, call the function "
            "itself, without checkpoint, custom_vjp or hooks"
        )
    with np.errstate(all="ignore"):
        try:
            if entrywise(node):
                each = np.frompyfunc(lambda *xs: op(*xs, **params), len(inputs), 1)
                result = each(*inputs)
            else:
                result = within(bare, True, op.forward, inputs, params)
        except (TypeError, AttributeError, ValueError) as error:
            raise TypeError(f"{op.name} cannot be taken apart into scalars: {error}") from error
    shape = np.shape(node.data)
    made = as_objects([result] if isinstance(result, Value) else list(np.ravel(result)), shape)
    numbers = np.array([x.data if isinstance(x, Value) else x for x in made.ravel()], complex)
    wanted = np.ravel(node.data)
    size = np.max(np.abs(wanted), initial=0, where=np.isfinite(wanted))
    near = size * (1e-4 if wanted.dtype.itemsize < 8 else 1e-8)  # where terms cancel
    if not np.allclose(wanted, numbers, rtol=1e-4, atol=near, equal_nan=True):
        raise TypeError(f"{op.name} cannot be taken apart into scalars: its numbers would change")
    return made
