"""Formulas: what a rule computes, as a person writes it; read off the rule itself.

`rule_of(op, i, ...)` runs a rule on symbols. A `Formula` is then text that `evaluate` can compute
again, LaTeX or MathML, of the letters in the rule or of the names and numbers at hand.
"""

from __future__ import annotations

import inspect
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.engine.node import NO_PARAMS, Array, Node
from tensorgrad.engine.primitive import Primitive
from tensorgrad.formula import latex as latex_
from tensorgrad.formula import text as text_
from tensorgrad.formula.parse import evaluate
from tensorgrad.formula.symbol import (
    Applied,
    Constant,
    Expression,
    Name,
    Symbol,
    expression_of,
    shapes_of,
)

SEMICOLON = r";\; "
SHORT = 12  # characters: what is shorter is written twice rather than given a name
LETTERS = "tuvwpqrs"


class Formula(NamedTuple):
    """An expression; parts of it that occur more than once have names, `where` they are defined."""

    expression: Expression
    where: tuple[tuple[str, Expression], ...] = ()

    def text(self, names: Mapping[str, str] | None = None) -> str:
        """In NumPy's spelling. `names`: what to write for the letters, numbers for example."""
        words = self.apart(names or {})
        lines = [text_.render(self.expression, words)]
        lines += [f"{words.get(n, n)} = {text_.render(part, words)}" for n, part in self.where]
        return lines[0] + (f" (where {', '.join(lines[1:])})" if self.where else "")

    def latex(self, names: Mapping[str, str] | None = None) -> str:
        """LaTeX, for math mode. `names`: LaTeX for the letters."""
        words = self.apart(names or {})
        lines = [latex_.render(self.expression, words)]
        lines += [
            f"{words.get(n, n)} = {latex_.within(part, latex_.SUM, words)}"
            for n, part in self.where
        ]
        where = rf" \;\left(\text{{where }} {SEMICOLON.join(lines[1:])}\right)"
        return lines[0] + (where if self.where else "")

    def apart(self, names: Mapping[str, str]) -> Mapping[str, str]:
        """`names`, with others for the parts whose name is one of them."""
        taken = {*names.values(), *(name for name, _ in self.where)}
        free = (f"t_{i}" for i in itertools.count(1) if f"t_{i}" not in taken)
        return {n: next(free) for n, _ in self.where if n in names.values()} | dict(names)

    def mathml(self, names: Mapping[str, str] | None = None) -> str:
        """MathML, which browsers draw. `names`: LaTeX for the letters."""
        return latex_.to_mathml(self.latex(names))

    def rounded(self, words: Mapping[str, str]) -> bool:
        """Whether a number in it, or one of `words` that it uses, is rounded for a reader."""
        return any(rounded(part, words) for part in (self.expression, *dict(self.where).values()))

    def evaluate(self, **values: Array) -> Array:
        """What the text says for these values of the letters."""
        for name, part in reversed(self.where):
            values[name] = evaluate(text_.render(part, {}), values)
        return evaluate(text_.render(self.expression, {}), values)


def rule_of(
    op: Primitive | Callable[..., Any],
    i: int,
    operands: Sequence[Array],
    params: Mapping[str, Any] = NO_PARAMS,
    g: Array | None = None,
    out: Array | None = None,
) -> Formula:
    """The rule of operand `i`, in the rule's own letters: `g` comes in, `out` is the result.

    `op`: a primitive, or a NumPy function that is one.

    Python numbers among the operands (the 2 in x**2) stay numbers, as in the rule. The formula is
    that for these shapes and params; where a rule has a branch for singular entries, for these
    numbers.

    >>> from tensorgrad.ops.elementwise import tanh
    >>> rule_of(tanh, 0, [np.array(0.5)]).text()
    'g * (1 - out * out)'
    """
    op, result = asked(op, i, operands, params, g, out)
    return formula(expression_of(result), {"g", "out", *letters(op, len(operands))})


def asked(
    op: Primitive | Callable[..., Any],
    i: int,
    operands: Sequence[Array],
    params: Mapping[str, Any] = NO_PARAMS,
    g: Array | None = None,
    out: Array | None = None,
) -> tuple[Primitive, Any]:
    """The primitive, and what the rule of operand `i` answers to symbols."""
    known = text_.primitive_of(op)
    if known is None:
        raise TypeError(f"{op!r:.60} is no primitive: it has no rule of its own")
    op = known
    out = op.forward(*operands, **params) if out is None else out
    g = np.ones_like(out) if g is None else g
    names = letters(op, len(operands))
    symbols = [
        x
        if isinstance(x, (bool, int, float, complex)) and not hasattr(x, "dtype")
        else Symbol(x, Name(name))
        for x, name in zip(operands, names)
    ]
    with np.errstate(all="ignore"):
        args = (Symbol(g, Name("g")), Symbol(out, Name("out")), *symbols)
        return op, op.pull(i, args, params)


def rule_at(node: Node, i: int, g: Array, like: Array) -> Formula:
    """The rule of operand `i` of a recorded node, with what the sweep makes of its answer to give
    it the shape of `like`.
    """
    assert node.op is not None
    op, result = asked(node.op, i, node.inputs, node.params, g, node.data)
    with np.errstate(all="ignore"):
        result = repaired(result, like)
    return formula(expression_of(result), {"g", "out", *letters(op, len(node.inputs))})


def repaired(c: Any, like: Array) -> Any:
    """As `engine.repair`: summed over axes that were broadcast, repeated along those summed."""
    c, shape = c if isinstance(c, Symbol) else Symbol(np.asarray(c)[()], Constant(c)), like.shape
    if np.iscomplexobj(c.data) and not np.iscomplexobj(like):
        c = np.real(c)
    if (more := c.ndim - len(shape)) > 0:
        c = np.sum(c, axis=0 if more == 1 else tuple(range(more)))
    pairs = zip(c.shape, shape[len(shape) - c.ndim :])
    if stretched := tuple(axis for axis, (n, m) in enumerate(pairs) if m == 1 != n):
        c = np.sum(c, axis=stretched[0] if len(stretched) == 1 else stretched, keepdims=True)
    if c.shape == shape:
        return c
    return c * Symbol(np.ones(shape, c.dtype), ones_of(like))


def ones_of(like: Array) -> Applied:
    """An array of ones, in the shape of `like`."""
    shape = np.shape(like)
    return Applied(np.ones, [Constant(shape[0] if len(shape) == 1 else shape)], {})


def forward_of(node: Node, moved: int | None = None) -> Formula:
    """What a recorded node computes from its operands, in its rule's letters; or from `g` in place
    of the operand that is `moved`."""
    assert node.op is not None
    names = [Name(name) for name in letters(node.op, len(node.inputs))]
    if moved is not None:
        names[moved] = Name("g")
    usual = text_.usual(node.op)
    params = {k: v for k, v in node.params.items() if v is not usual.get(k, usual)}
    return Formula(Applied(node.op, names, constants(params), shapes_of(node.inputs)))


def rounded(x: Any, words: Mapping[str, str]) -> bool:
    """Whether an expression has a number, or a word, that is rounded for a reader."""
    if isinstance(x, Name):
        return isinstance(words.get(x.text), text_.Rounded)
    if isinstance(x, Constant):
        return isinstance(text_.of_constant(x.value, True)[0], text_.Rounded)
    parts = (*x.args, *x.params.values()) if isinstance(x, Applied) else x
    return any(rounded(part, words) for part in parts)


def constants(params: Mapping[str, Any]) -> dict[str, Expression]:
    return {name: Constant(value) for name, value in params.items()}


def letters(op: Primitive, n: int) -> list[str]:
    """What the rules of `op` call its `n` operands, apart from `g` and `out`."""
    if op.arity is None:
        return [f"x{i}" for i in range(n)] if n > 1 else ["x"]
    for rule in op.formulas:
        try:
            found = list(inspect.signature(rule).parameters.values())[2 : 2 + n]
        except (TypeError, ValueError):
            continue
        if len(found) == n and all(p.kind is p.POSITIONAL_OR_KEYWORD for p in found):
            return [p.name + "_" * (p.name in ("g", "out")) for p in found]
    return ["x", "y", "z"][:n] if n <= 3 else [f"x{i}" for i in range(n)]


def formula(expression: Expression, taken: set[str]) -> Formula:
    """`expression`, with a name for each long part that occurs more than once."""
    uses: Counter[int] = Counter()
    calls: list[Applied] = []  # each after its parts

    def count(x: Any) -> None:
        if isinstance(x, (tuple, list)) and type(x) in (tuple, list):
            for part in x:
                count(part)
        elif isinstance(x, Applied):
            uses[id(x)] += 1
            if uses[id(x)] == 1:
                for part in (*x.args, *x.params.values()):
                    count(part)
                calls.append(x)

    count(expression)
    endless = itertools.chain(LETTERS, (f"t{i}" for i in itertools.count(1)))
    free = (name for name in endless if name not in taken)
    renamed: dict[int, Expression] = {}
    where: list[tuple[str, Expression]] = []

    def replaced(x: Any) -> Any:
        if type(x) in (tuple, list):
            return type(x)(map(replaced, x))
        return renamed.get(id(x), x)

    for call in calls:
        args = [replaced(x) for x in call.args]
        params = {k: replaced(v) for k, v in call.params.items()}
        new = Applied(call.function, args, params, call.shapes)
        shared = uses[id(call)] > 1 and len(text_.render(new, {})) > SHORT
        if shared and call is not expression:
            name = next(free)
            where.append((name, new))
            renamed[id(call)] = Name(name)
        else:
            renamed[id(call)] = new
    return Formula(replaced(expression), tuple(reversed(where)))
