"""The changes of a formula: classic slips, each made in one place.

A sign flipped, a factor dropped or squared, operands swapped, a transpose or a reduction dropped,
another axis, another number.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, TypeVar

Definition = ast.Lambda | ast.FunctionDef
Edit = tuple[str, str, str, Definition]
"""The kind of the change, the expression before and after it, and the changed function."""

TRANSPOSES = {"T", "H", "swapaxes", "transpose", "moveaxis"}
REDUCTIONS = {"sum", "mean"}
Tree = TypeVar("Tree")


def edits(definition: Definition) -> Iterator[Edit]:
    """Every change of one expression of the body, and every pair of operands swapped."""
    for old in expressions(definition.body):
        for kind, new in changes(old):
            yield kind, ast.unparse(old), ast.unparse(new), replaced(definition, old, new)
    for x, y in pairs(definition):
        body: Any = swapped(definition.body, {x: y, y: x})
        changed = replaced(definition, definition.body, body)
        yield "operands swapped", f"{x}, {y}", f"{y}, {x}", changed


def pairs(definition: Definition) -> Iterator[tuple[str, str]]:
    """Two operands; where there is one only, that and the output."""
    args = definition.args
    names = [arg.arg for arg in args.args][: len(args.args) - len(args.defaults)]
    if "out" not in names:  # the derivative of a step, which the rule of many steps wraps
        return
    out, *xs = names[names.index("out") :]
    if len(xs) == 1:
        yield xs[0], out
    for i, x in enumerate(xs):
        yield from ((x, y) for y in xs[i + 1 :])


def expressions(tree: Any) -> Iterator[ast.expr]:
    """All of them, but for comparisons and what stands alone, such as a docstring."""
    for node in tree if isinstance(tree, list) else [tree]:
        if isinstance(node, (ast.Compare, ast.Expr)) or not isinstance(node, ast.AST):
            continue
        if isinstance(node, ast.expr):
            yield node
        for field, part in ast.iter_fields(node):
            if field not in ("annotation", "targets", "target"):
                yield from expressions(part)


def changes(e: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """What may stand in the place of `e`."""
    match e:
        case ast.UnaryOp(ast.USub(), x) if not isinstance(x, ast.Constant):
            yield "sign flipped", x
        case ast.BinOp(x, ast.Add(), y):
            yield "sign flipped", ast.BinOp(x, ast.Sub(), y)
        case ast.BinOp(x, ast.Sub(), y):
            yield "sign flipped", ast.BinOp(x, ast.Add(), y)
        case ast.BinOp(x, ast.Mult() | ast.Div() | ast.MatMult(), y):
            yield from factors(e)
        case ast.Attribute(x, "T"):
            yield "transpose dropped", x
        case ast.Call(f, [x, *_]) if name_of(f) in TRANSPOSES:
            yield "transpose dropped", x
        case ast.Call(ast.Name("sum") | ast.Attribute(ast.Name("np"), "sum"), [x, *_]):
            yield "reduction dropped", x
        case ast.Constant(bool()):
            return
        case ast.Constant(int() | float() | complex() as number):
            yield "number changed", ast.Constant(number + 1)
    if isinstance(e, ast.Call):
        yield from other_axes(e)


def name_of(f: ast.expr) -> str:
    """`sum` of `sum`, `np.sum`."""
    return f.id if isinstance(f, ast.Name) else f.attr if isinstance(f, ast.Attribute) else ""


def factors(e: ast.BinOp) -> Iterator[tuple[str, ast.expr]]:
    """`e`, a product or a quotient, with one of its factors dropped or squared.

    A chain x * y / z is a tree on the left: of that only its end is a factor here.
    """
    x, y, op = e.left, e.right, e.op
    yield "factor dropped", x
    if not is_truth(y) and not isinstance(op, ast.MatMult):
        yield "factor squared", ast.BinOp(x, op, ast.BinOp(y, ast.Mult(), y))
    if isinstance(x, ast.BinOp) and isinstance(x.op, (ast.Mult, ast.Div, ast.MatMult)):
        return
    yield "factor dropped", ast.BinOp(ast.Constant(1), op, y) if isinstance(op, ast.Div) else y
    if not is_truth(x) and not isinstance(op, ast.MatMult):
        yield "factor squared", ast.BinOp(ast.BinOp(x, ast.Mult(), x), op, y)


def is_truth(e: ast.expr) -> bool:
    """Whether `e` is 0 or 1, which are their squares."""
    logical = isinstance(e, ast.BinOp) and isinstance(e.op, (ast.BitAnd, ast.BitOr))
    return logical or isinstance(e, ast.Compare) or (isinstance(e, ast.Constant) and e.value == 1)


def other_axes(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """The call along another axis."""
    for i, arg in enumerate(call.args):
        if isinstance(arg, ast.Name) and arg.id == "axis":
            args: list[ast.expr] = [*call.args]
            args[i] = ast.Constant(0)
            yield "wrong axis", ast.Call(call.func, args, call.keywords)
    for k, keyword in enumerate(call.keywords):
        if keyword.arg != "axis":
            continue
        given = ast.unparse(keyword.value)
        keywords = [*call.keywords]
        keywords[k] = ast.keyword("axis", ast.Constant(-1 if given == "0" else 0))
        yield "wrong axis", ast.Call(call.func, call.args, keywords)


# Syntax is changed in copies.


def replaced(tree: Any, old: Any, new: Any) -> Any:
    """A copy of `tree` with `new` in the place of `old`."""
    if tree is old:
        return new
    if isinstance(tree, list):
        return [replaced(part, old, new) for part in tree]
    if isinstance(tree, ast.AST):
        return type(tree)(**{name: replaced(x, old, new) for name, x in ast.iter_fields(tree)})
    return tree


def swapped(tree: Any, names: dict[str, str]) -> Any:
    """A copy of `tree` with other names."""
    if isinstance(tree, list):
        return [swapped(part, names) for part in tree]
    if isinstance(tree, ast.Name):
        return ast.Name(names.get(tree.id, tree.id), tree.ctx)
    if isinstance(tree, ast.AST):
        return type(tree)(**{name: swapped(x, names) for name, x in ast.iter_fields(tree)})
    return tree
