"""Primitives: the operations whose derivative a person has worked out by hand.

A primitive is declared once, as a NumPy forward and one *rule* per operand: the formula on paper.

    tanh = primitive(np.tanh, lambda g, out, x: g * (1 - out * out), notation=r"\\tanh {0}")

`g` is the incoming cotangent (the derivative of the final output by this operation's output, same
shape), `out` the output, `x, y, ...` the operands; static data such as `axis` is keyword-only. A
rule is plain NumPy, so it runs on arrays at NumPy's speed, and on Values as one more computation
that can be differentiated again.

Calling a primitive on a Value records a `Node`. The nodes are the graph; `backprop.py` walks it.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np

from tensorgrad.domain import Domain

Array = Any  # an ndarray, a NumPy scalar, a Python number, or a Value: whatever NumPy computes with
Rule = Callable[..., Array]
F = TypeVar("F", bound=Callable[..., Any])


class Node:
    """One entry of the graph: an array, and the operation and operands that it came from.

    `operands` are nodes (`None` stands for a constant), `inputs` the arrays that the forward saw.
    A node never changes its operands, so they are older than it: creation order (`serial`) is a
    topological order, and there are no cycles. A leaf has no `op`; `origin` is for `tg.debug()`.
    """

    __slots__ = (
        "__weakref__",
        "data",
        "grad",
        "inputs",
        "name",
        "op",
        "operands",
        "origin",
        "params",
        "requires_grad",
        "retains_grad",
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
    origin: Any


class Handle:
    """A user's hold on a node. `Value`, its only subclass, gives it the manners of an array."""

    __slots__ = ("node",)
    node: Node


Recorder = Callable[..., Node]
NO_PARAMS: Mapping[str, Any] = {}
_SEQUENCES = frozenset((list, tuple))
_PYTHON = _SEQUENCES | {bool, int, float, complex}
_serials = itertools.count()
_blank_node: Callable[[type[Node]], Node] = object.__new__
_blank_handle: Callable[[type[Handle]], Handle] = object.__new__


def record(
    op: Primitive | None,
    operands: tuple[Node | None, ...],
    inputs: tuple[Array, ...],
    params: Mapping[str, Any],
    data: Array,
) -> Node:
    """The ordinary recorder: the node of an operation that just ran."""
    node = _blank_node(Node)  # and no __init__: half the time of a Node(...) call (0.2 of 0.4 µs)
    node.data = data
    node.grad = None
    node.op = op
    node.operands = operands
    node.inputs = inputs
    node.params = params
    node.requires_grad = True
    node.retains_grad = False
    node.name = None
    node.serial = next(_serials)
    node.origin = None
    return node


def leaf(data: Array, requires_grad: bool = False, name: str | None = None) -> Node:
    """A node that no operation produced."""
    node = record(None, (), (), NO_PARAMS, data)
    node.requires_grad, node.name = requires_grad, name
    return node


# A context variable, so each thread (and each asyncio task) has its own.
recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=record)


@contextmanager
def recording(new: Recorder | None) -> Iterator[None]:
    """Record with `new` inside the block; `None` records nothing."""
    token = recorder.set(new)
    try:
        yield
    finally:
        recorder.reset(token)


def apply(op: Primitive, operands: Sequence[Array], params: Mapping[str, Any]) -> Array:
    """Run `op` forward, and record it if an operand requires grad. Raw in, raw out."""
    kind: type[Handle] | None = None
    wanted = False
    nodes: tuple[Node | None, ...]
    inputs: tuple[Array, ...]
    if len(operands) == 2:  # the loop below, unrolled: 0.5 µs for an operation instead of 0.7
        x, y = operands
        m = n = None
        if isinstance(x, Handle):
            kind, m = type(x), x.node
            x, wanted = m.data, m.requires_grad
        elif type(x) in _SEQUENCES:
            x = np.asarray(x)
        if isinstance(y, Handle):
            kind, n = type(y), y.node
            y, wanted = n.data, wanted or n.requires_grad
        elif type(y) in _SEQUENCES:
            y = np.asarray(y)
        nodes, inputs = (m, n), (x, y)
    else:
        nodes, inputs = (), ()
        for x in operands:
            n = None
            if isinstance(x, Handle):
                kind, n = type(x), x.node
                x, wanted = n.data, wanted or n.requires_grad
            elif type(x) in _SEQUENCES:
                x = np.asarray(x)
            nodes += (n,)
            inputs += (x,)
    try:
        data = op.forward(*inputs, **params)
    except (ValueError, TypeError, IndexError) as error:
        raise op.failure(error, inputs, params) from error
    if kind is None:
        return data
    if type(data) in _PYTHON:  # a forward that is not NumPy's
        data = np.asarray(data)[()]
    new = recorder.get()
    result = _blank_handle(kind)
    result.node = new(op, nodes, inputs, params, data) if wanted and new else leaf(data)
    return result


class Primitive:
    """A declared operation. Call it like its forward: operands by position, params by keyword."""

    def __init__(
        self,
        forward: Callable[..., Array],
        rules: Sequence[Rule] | Each,
        name: str,
        notation: str | None,
        domain: Domain,
    ) -> None:
        self.forward, self.rules, self.name = forward, rules, name
        self.notation, self.domain = notation, domain
        self.arity = None if isinstance(rules, Each) else len(rules)

    def __call__(self, *args: Array, **params: Any) -> Array:
        if params or len(args) != self.arity:
            args, params = self._bind(args, params)
        return apply(self, args, params)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"

    def failure(
        self, error: Exception, inputs: Sequence[Array], params: Mapping[str, Any]
    ) -> Exception:
        """The same kind of error, which also names the operation and what it was given."""
        given = [f"{getattr(x, 'dtype', type(x).__name__)}{list(np.shape(x))}" for x in inputs]
        given += [f"{name}={value!r}" for name, value in params.items()]
        kinds = (np.exceptions.AxisError, IndexError, TypeError, ValueError)
        kind = next(k for k in kinds if isinstance(error, k))
        return kind(f"{self.name}({', '.join(given)}): {error}")

    def _bind(self, args: tuple[Array, ...], params: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Sort a NumPy-style call (`np.sum(x, 0, keepdims=True)`) into operands and params."""
        if self.arity is not None and len(args) != self.arity:
            names = list(self._defaults)
            params = dict(zip(names[self.arity :], args[self.arity :])) | params
            by_name = [params.pop(n) for n in names[len(args) : self.arity] if n in params]
            args = (*args[: self.arity], *by_name)
            if len(args) < self.arity:
                raise TypeError(f"{self.name} takes {self.arity} operands, got {len(args)}")
        if self._params is not None:
            for name in params.keys() - self._params:
                if params[name] is not self._defaults.get(name, inspect.Parameter.empty):
                    takes = ", ".join(sorted(self._params)) or "none"
                    raise TypeError(
                        f"{self.name}: its gradient rule has no argument {name!r} (it has: {takes})"
                        "; for a result without a gradient compute with .data"
                    )
                del params[name]
        return args, {name: _constant(value) for name, value in params.items()}

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        """The forward's arguments with their defaults."""
        parameters = inspect.signature(self.forward).parameters
        return {name: parameter.default for name, parameter in parameters.items()}

    @cached_property
    def _params(self) -> set[str] | None:
        """The params that the rules take; `None` where they take anything."""
        if isinstance(self.rules, Each):
            rule, skip = self.rules.rule, 3
        else:
            rule, skip = self.rules[0], 2 + len(self.rules)
        code = getattr(rule, "__code__", None)
        if code is None or code.co_flags & inspect.CO_VARKEYWORDS:
            return None
        return set(code.co_varnames[skip : code.co_argcount + code.co_kwonlyargcount])


def _constant(x: Any) -> Any:
    """A param is data: a Value that requires grad would lose its gradient there unseen."""
    if not isinstance(x, Handle):
        return x
    if x.node.requires_grad:
        raise TypeError("a Value that requires grad stands where only data may: .detach() it")
    return x.node.data


class Each:
    """The rules of a primitive of any number of operands, as one: `rule(i, g, out, *operands)`."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule

    def __getitem__(self, i: int) -> Rule:
        return partial(self.rule, i)


registry: dict[str, Primitive] = {}
"""Every declared primitive by its name."""

implementations: dict[Callable[..., Any], Callable[..., Any]] = {}
"""What runs when a NumPy function meets a Value."""


def implements(*functions: Callable[..., Any]) -> Callable[[F], F]:
    """Bind a primitive, or a function made of primitives, to NumPy functions."""

    def bind(implementation: F) -> F:
        for function in functions:
            implementations[function] = implementation
        return implementation

    return bind


def primitive(
    forward: Callable[..., Array],
    *rules: Any,
    name: str | None = None,
    notation: str | None = None,
    domain: Domain | None = None,
) -> Primitive:
    """Declare an operation: its forward in NumPy and the gradient formula of each operand.

    `rules`: one for each operand, `rule(g, out, *operands, **params)`; or a single `Each`.
    `name`: may be left out where the forward has one. `notation`: LaTeX, with {0} for the first
    operand. `domain`: what property tests may draw. If the forward is a NumPy function, that
    function is differentiable from now on. TypeError without a name or a rule.

    >>> from tensorgrad import Value
    >>> sinc = primitive(
    ...     np.sinc,
    ...     lambda g, out, x: g * (np.cos(np.pi * x) - out) / x,
    ...     notation=r"\\operatorname{{sinc}} {0}",
    ...     domain=Domain((0.1, 3.0)),
    ... )
    >>> x = Value(0.5)
    >>> np.sinc(x).backward()
    >>> x.grad.round(6)
    np.float64(-1.27324)
    """
    name = name or forward.__name__
    if not rules or name == "<lambda>":
        raise TypeError(f"primitive {name!r}: pass a rule for each operand, and a name=")
    first: Any = rules[0]
    by_operand = first if isinstance(first, Each) else rules
    op = Primitive(forward, by_operand, name, notation, domain or Domain())
    registry[name] = implementations[forward] = op
    return op
