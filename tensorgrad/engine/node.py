"""The graph: nodes, the handles that users hold them by, and the recorder that makes them.

Data, not closures: a node can be drawn, replayed, exported. `primitive.py` records nodes, and
`backprop.py` walks them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from contextvars import ContextVar, copy_context
from functools import wraps
from inspect import iscoroutinefunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from weakref import ref

if TYPE_CHECKING:
    from tensorgrad.engine.primitive import Primitive
    from tensorgrad.engine.rules import Reading

Array = Any  # an ndarray, a NumPy scalar, a Python number, or a Value: whatever NumPy computes with
Recorder = Callable[..., "Node"]
F = TypeVar("F", bound=Callable[..., Any])
R = TypeVar("R")
T = TypeVar("T")
NO_PARAMS: Mapping[str, Any] = {}
NO_READINGS: tuple[Reading, ...] = ()


class Node:
    """One entry of the graph: an array, and the operation and operands that it came from.

    `operands` are nodes (`None` stands for a constant), `inputs` the arrays that the forward saw.
    The operands of a node never change, so they are older than it: creation order (`serial`) is a
    topological order, and there are no cycles. A leaf has no `op`. `readings`: what stands between
    a sweep and the rules of this node alone, such as the checks of `tg.debug()`. `scope`: the call
    of a Module that made it.
    """

    __slots__ = (
        "__weakref__",
        "data",
        "grad",
        "inputs",
        "name",
        "op",
        "operands",
        "params",
        "readings",
        "requires_grad",
        "retains_grad",
        "scope",
        "serial",
    )

    data: Array
    grad: Array
    op: Primitive | None
    operands: tuple[Node | None, ...]
    inputs: tuple[Array, ...]
    params: Mapping[str, Any]
    requires_grad: bool
    retains_grad: bool
    name: str | None
    serial: int
    readings: tuple[Reading, ...]
    scope: Scope | None


class Scope:
    """One call of a Module, which the nodes made in it know. `parent`: the call around it; `base`:
    the recorder that makes its nodes.
    """

    __slots__ = ("_module", "base", "parent")

    def __init__(self, module: Any, parent: Scope | None, base: Recorder) -> None:
        self._module = ref(module)  # a Module may keep a node: no cycle
        self.parent, self.base = parent, base

    def record(
        self,
        op: Primitive | None,
        operands: tuple[Node | None, ...],
        inputs: tuple[Array, ...],
        params: Mapping[str, Any],
        data: Array,
    ) -> Node:
        """The node of an operation that just ran, with the scope on it."""
        node = self.base(op, operands, inputs, params, data)
        node.scope = self
        return node

    @property
    def module(self) -> Any:
        """The Module, `None` when it is gone."""
        return self._module()

    def __repr__(self) -> str:
        own = type(self.module).__name__ if self.module is not None else "(gone)"
        return f"{self.parent}.{own}" if self.parent else own


class Handle:
    """A user's hold on a node. `Value` gives it the manners of an array, and is the `kind` that
    operations on it make.
    """

    __slots__ = ("node",)
    node: Node
    kind: ClassVar[type[Handle]]
    part: ClassVar[Callable[..., Handle]]  # of a result that may be a view: of what, made how


def hold(node: Node) -> Handle:
    """A new handle on `node`."""
    handle = object.__new__(Handle.kind)
    handle.node = node
    return handle


def detached(x: Any) -> Any:
    """A Value without its gradient, but with the manners of one; other things as they are."""
    return hold(leaf(x.node.data)) if isinstance(x, Handle) else x


def data_of(x: Any) -> Any:
    """The array behind a Value, also inside the lists and tuples of an argument."""
    if isinstance(x, Handle):
        return x.node.data
    return type(x)(map(data_of, x)) if type(x) in (list, tuple) else x


serials = itertools.count()
_blank: Callable[[type[T]], T] = object.__new__


def record(
    op: Primitive | None,
    operands: tuple[Node | None, ...],
    inputs: tuple[Array, ...],
    params: Mapping[str, Any],
    data: Array,
) -> Node:
    """The ordinary recorder: the node of an operation that just ran."""
    node = _blank(Node)  # and no __init__: half the time of a Node(...) call (0.2 of 0.4 µs)
    node.data = data
    node.grad = None
    node.op = op
    node.operands = operands
    node.inputs = inputs
    node.params = params
    node.requires_grad = True
    node.retains_grad = False
    node.name = None
    node.serial = next(serials)
    node.readings = NO_READINGS if op is None else op.readings
    node.scope = None
    return node


def leaf(data: Array, requires_grad: bool = False, name: str | None = None) -> Node:
    """A node that no operation produced."""
    node = record(None, (), (), NO_PARAMS, data)
    node.requires_grad, node.name = requires_grad, name
    return node


# A context variable, so each thread (and each asyncio task) has its own.
recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=record)

# Where a function runs here that a transform such as `tg.grad` differentiates, a serial before
# those of its nodes; with several, that of the outermost.
differentiating: ContextVar[int | None] = ContextVar("differentiating", default=None)


def differentiated(x: Any) -> bool:
    """Whether `x` is a Value that such a transform differentiates by, or has made of these."""
    since = differentiating.get()
    return (
        since is not None
        and isinstance(x, Handle)
        and x.node.requires_grad
        and x.node.serial > since
    )


# Whether a function runs here that has a gradient of its own: what it calls needs none.
opaque: ContextVar[bool] = ContextVar("opaque", default=False)

# The entered blocks, the innermost last, each with the recorder that was in force before it.
blocks: ContextVar[tuple[tuple[recording, Recorder | None], ...]] = ContextVar("blocks", default=())


class recording:
    """Record with `new` inside a `with` block or a decorated function; `None` records nothing."""

    def __init__(self, new: Recorder | None) -> None:
        self.new = new

    def __enter__(self) -> None:
        outer, entered = recorder.get(), blocks.get()
        try:
            blocks.set((*entered, (self, outer)))
            recorder.set(self.new)
        except BaseException:  # an interrupt: nobody will leave what was not entered
            recorder.set(outer)
            blocks.set(entered)
            raise

    def __exit__(self, *error: object) -> None:
        """Leave this block, also from within others: those of suspended generators end in any
        order. (One that a generator entered in another context is nothing to this one.)
        """
        entered = blocks.get()
        i = len(entered) - 1
        while i >= 0 and entered[i][0] is not self:
            i -= 1
        if i < 0:
            return
        outer, inner = entered[i][1], entered[i + 1 :]
        if inner:
            inner = ((inner[0][0], outer), *inner[1:])
        else:
            recorder.set(outer)
        blocks.set(entered[:i] + inner)

    def __call__(self, function: F) -> F:
        if isgeneratorfunction(function) or iscoroutinefunction(function):
            raise TypeError("a generator or coroutine runs after the call: use `with` inside of it")

        @wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            return within(recorder, self.new, function, args, kwargs)

        return decorated  # type: ignore[return-value]


def within(
    variable: ContextVar[T], x: T, f: Callable[..., R], args: Any, kwargs: Mapping[str, Any]
) -> R:
    """`f(*args, **kwargs)` where `variable` is `x`, in a copy of the context: whatever ends it, an
    interrupt at any point too, what is in force here stays so.
    """
    return copy_context().run(entered, variable, x, f, args, kwargs)


def recorded(f: Callable[..., R], *args: Any) -> R:
    """`f(*args)`, recorded also under `no_grad()`; with the recorder in force if there is one."""
    return within(recorder, recorder.get() or record, f, args, NO_PARAMS)


def entered(
    variable: ContextVar[T], x: T, f: Callable[..., R], args: Any, kwargs: Mapping[str, Any]
) -> R:
    variable.set(x)
    return f(*args, **kwargs)
