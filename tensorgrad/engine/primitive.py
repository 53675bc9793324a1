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

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from numpy import ndarray

from tensorgrad.engine.arguments import failure, operand, sort_arguments
from tensorgrad.engine.arrays import PLAIN, SCALARS, kind_of, kinds_in, met, readings_of, run
from tensorgrad.engine.batching import BatchingRule, rule_of, running
from tensorgrad.engine.care import OPAQUE, CareRule, cares
from tensorgrad.engine.domain import REAL, Domain
from tensorgrad.engine.node import NO_PARAMS, Array, Handle, Node, leaf, recorder
from tensorgrad.engine.rules import ONCE, Each, Reading, Rule, Together
from tensorgrad.engine.strangers import asked, is_stranger

F = TypeVar("F", bound=Callable[..., Any])
Notation = str | Callable[..., str] | None

_blank: Callable[[type[Handle]], Handle] = object.__new__


class Primitive:
    """A declared operation. Call it like its forward: operands by position, params by keyword."""

    def __init__(
        self,
        forward: Callable[..., Array],
        rules: Sequence[Rule] | Each,
        name: str,
        notation: Notation = None,
        domain: Domain = REAL,
        choice: str | None = None,
        signature: str | None = None,
        batch: BatchingRule | None = None,
        care: CareRule | None = None,
        adds: Callable[..., None] | None = None,
        readings: tuple[Reading, ...] = (),
        view: bool = False,
    ) -> None:
        self.forward, self.rules, self.name = forward, rules, name
        self.notation, self.choice, self.signature = notation, choice, signature
        self.domain = domain._replace(signature=domain.signature or signature)
        self.batch = batch or rule_of(forward, signature)
        self.arity = None if isinstance(rules, Each) else len(rules)
        together = (ONCE,) if isinstance(rules, Together) else ()
        self.care, self.adds, self.readings = care, adds, together + readings
        self.view = view

    def __call__(self, *args: Array, **params: Any) -> Array:
        if params or len(args) != self.arity:
            rule = self.formulas[0]
            args, params = sort_arguments(self.name, self.forward, rule, self.arity, args, params)
        return apply(self, args, params)

    @property
    def formulas(self) -> Sequence[Rule]:
        """The rules as they are written: one for each operand, or a single one for any number."""
        return (self.rules.rule,) if isinstance(self.rules, Each) else self.rules

    def pull(self, i: int, args: tuple[Array, ...], params: Mapping[str, Any]) -> Array:
        """What the rule of operand `i` answers to `args`: g, out and the operands."""
        return self.rules[i](*args, **params)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def apply(op: Primitive, operands: Sequence[Array], params: Mapping[str, Any]) -> Array:
    """Run `op` forward, and record it if an operand requires grad. Raw in, raw out.
    An operand with `__primitive__` answers itself, as with NumPy's protocols, and so does one of
    another library that defines the operation."""
    held: type[Handle] | None = None
    plain, wanted = True, False
    nodes: tuple[Node | None, ...]
    inputs: tuple[Array, ...]
    if len(operands) == 2:  # the loop below, unrolled: 0.5 µs for an operation instead of 0.7
        x, y = operands
        m = n = None
        if isinstance(x, Handle):
            held, m = type(x), x.node
            x, wanted = m.data, m.requires_grad
        elif type(x) not in PLAIN:
            plain = False
        if isinstance(y, Handle):
            held, n = type(y), y.node
            y, wanted = n.data, wanted or n.requires_grad
        elif type(y) not in PLAIN:
            plain = False
        if met and plain:
            plain = type(x) in PLAIN and type(y) in PLAIN and not running
        nodes, inputs = (m, n), (x, y)
    else:
        many = len(operands) > 8  # tuples are faster than lists, but for many
        nodes, inputs = ([], []) if many else ((), ())  # type: ignore[assignment]
        for x in operands:
            n = None
            if isinstance(x, Handle):
                held, n = type(x), x.node
                x, wanted = n.data, wanted or n.requires_grad
            elif type(x) not in PLAIN:
                plain = False
            nodes += (n,)
            inputs += (x,)
        if many:
            nodes, inputs = tuple(nodes), tuple(inputs)
        if met and plain:
            plain = all(type(x) in PLAIN for x in inputs) and not (running or kinds_in(params))
    if not plain:
        for x in inputs:
            if hasattr(type(x), "__primitive__"):
                return x.__primitive__(op, operands, params)
        for x in inputs:
            instead = kind_of(x).instead(op)
            if instead is not None:
                return instead(op, operands, params)
        if held and any(is_stranger(op, x) for x in inputs):
            return asked(op, operands, by_operator=params is NO_PARAMS)
        inputs = tuple(x if type(x) in PLAIN else operand(x, op.name) for x in inputs)
    try:
        data = op.forward(*inputs, **params) if plain else run(op, inputs, params)
    except (ValueError, TypeError, IndexError, NotImplementedError) as error:
        raise failure(op.name, error, inputs, params) from error
    made = type(data)
    if held is None:
        if kind_of(data).alone:
            return data
    elif made is ndarray:
        data = data if data.ndim else data[()]
    elif made not in SCALARS:
        data = kind_of(data).result(operand(data, op.name))
    new = recorder.get()
    result = _blank((held or Handle).kind)
    result.node = new(op, nodes, inputs, params, data) if wanted and new else leaf(data)
    if not plain:  # `as_examples` alone makes another kind of a plain array, and needs no reading
        result.node.readings += readings_of((data, *inputs))
    if (made is ndarray or not plain) and op.view and held and len(operands) == 1:
        return Handle.part(operands[0], op, params, result)
    return result


registry: dict[str, Primitive] = {}
"""Every declared primitive by its name."""

implementations: dict[Callable[..., Any], Callable[..., Any]] = {}
"""What runs when a NumPy function meets a Value."""

homes: dict[str, str] = {}
"""Modules of functions of other libraries, and those of ours that declare them when first met."""


def implementation_of(function: Callable[..., Any]) -> Callable[..., Any] | None:
    """What runs when this function meets a Value; None if nobody declared it."""
    while function not in implementations:
        library = next((name for name in homes if name in sys.modules), None)
        if library is None:
            return None
        importlib.import_module(homes.pop(library))
    return implementations[function]


def implements(*functions: Callable[..., Any], care: CareRule | None = None) -> Callable[[F], F]:
    """Bind a primitive, or a function made of primitives, to NumPy functions. `care`: as of a
    primitive, which has its own.
    """

    def bind(implementation: F) -> F:
        rule = getattr(implementation, "care", care)
        for function in functions:
            implementations[function] = implementation
            if rule is not None:
                cares[function] = rule
        return implementation

    return bind


def primitive(
    forward: Callable[..., Array],
    *rules: Any,
    name: str | None = None,
    notation: Notation = None,
    domain: Domain | None = None,
    choice: str | None = None,
    signature: str | None = None,
    batch: BatchingRule | None = None,
    care: CareRule | None = None,
    adds: Callable[..., None] | None = None,
    view: bool = False,
) -> Primitive:
    """Declare an operation: its forward in NumPy and the gradient formula of each operand.

    `rules`: one for each operand, `rule(g, out, *operands, **params)`; or a single `Each`.
    `name`: may be left out where the forward has one. `notation`: LaTeX, with {0} for the first
    operand, {axis} for a param; or what makes it of the operands' shapes. `domain`: what property
    tests may draw. `choice`: the value that the rules choose where calculus names none, such as
    "|x|' = 0 at 0". `signature`: core
    dimensions in NumPy's gufunc notation, `(n,n),(n,k)`, of a function that works on stacks of
    these. `batch`: how `vmap` computes it, one of the rules in `batching.py`; by default what
    follows from forward and signature.
    `care`: how it meets a cotangent of 0, one of the rules in `care.py`; needed where it multiplies
    operands with each other. `adds`: adds its operand's cotangent to a sum in place, with less work
    than its rule, `adds(total, g, **params)`. `view`: whether NumPy's may be a view of its operand,
    so that what is written into one is seen in the other.
    If the forward is a NumPy function, that function is differentiable from now on. TypeError
    without a name or a rule. A rule returns a new array, or `g` or a view of it; an array that it
    keeps would become somebody's `.grad`.

    >>> import numpy as np
    >>> softsign = primitive(
    ...     lambda x: x / (1 + np.abs(x)),
    ...     lambda g, out, x: g / (1 + np.abs(x)) ** 2,
    ...     name="softsign",
    ...     notation=r"\\frac{{{0}}}{{1 + \\lvert {0} \\rvert}}",
    ... )
    >>> from tensorgrad import Value
    >>> x = Value(1.0)
    >>> softsign(x).backward()
    >>> x.grad
    np.float64(0.25)
    """
    name = name or str(getattr(forward, "__name__", "<lambda>"))
    if (
        name == "<lambda>"
        or not rules
        or not all(isinstance(r, Each) or callable(r) for r in rules)
    ):
        raise TypeError(f"primitive {name}: pass a callable rule for each operand, and a name=")
    first: Any = rules[0]
    by_operand = first if isinstance(first, Each) else rules
    readings = () if is_ours(first) else (OPAQUE,)
    registry[name] = op = Primitive(
        forward,
        by_operand,
        name,
        notation,
        domain or Domain(),
        choice,
        signature,
        batch,
        care,
        adds,
        readings,
        view,
    )
    return implements(forward)(op)


def is_ours(rule: Rule | Each) -> bool:
    """Whether a rule is one of this package: such a rule hides no infinity."""
    rule = rule.rule if isinstance(rule, Each) else rule
    return str(getattr(rule, "__module__", None) or type(rule).__module__).startswith("tensorgrad.")
