"""Mutants of a rule's source: one small change of the formula, compiled in the rule's place.

The formula is found in its module's source, by the positions that its code carries. Of a rule that
wraps a function (`conjugated`, `slopes`), it is the formula of that one. Left alone are helpers
that a rule calls, and comparisons, which choose between branches. What each change is stands in
`edits.py`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from tensorgrad.engine.rules import Rule
from tests.mutants.edits import Definition, edits


def mutants_of_source(rule: FunctionType) -> Iterator[tuple[str, str, str, FunctionType]]:
    """Of every change: its kind, the expression before and after, and the changed rule."""
    inner = wrapped(rule)
    if inner is not None:
        name, function = inner
        for kind, before, after, mutant in mutants_of_source(function):
            yield kind, before, after, rewrapped(rule, name, mutant)
        return
    definition = definition_of(rule)
    seen = {ast.dump(definition)}
    for kind, before, after, changed in edits(definition):
        if (dump := ast.dump(changed)) not in seen:
            seen.add(dump)
            yield kind, before, after, compiled(changed, rule)


# Rules that wrap a function.


def wrapped(rule: FunctionType) -> tuple[str, FunctionType] | None:
    """The function that `rule` closes over, and its name there."""
    for name, cell in zip(rule.__code__.co_freevars, rule.__closure__ or ()):
        if isinstance(cell.cell_contents, FunctionType):
            return name, cell.cell_contents
    return None


def innermost(rule: Rule) -> Rule:
    """The function in which the formula of `rule` stands."""
    inner = wrapped(rule) if isinstance(rule, FunctionType) else None
    return innermost(inner[1]) if inner else rule


def rewrapped(rule: FunctionType, name: str, inner: FunctionType) -> FunctionType:
    """`rule`, with `inner` under this name in its closure."""
    code, cells = rule.__code__, rule.__closure__ or ()
    closure = tuple(
        type(cell)(inner) if free == name else cell for free, cell in zip(code.co_freevars, cells)
    )
    copy = FunctionType(code, rule.__globals__, rule.__name__, rule.__defaults__, closure)
    copy.__kwdefaults__ = rule.__kwdefaults__
    return copy


# From a function to its syntax, and back.


@cache
def definitions(path: str) -> list[Definition]:
    """The functions in a file."""
    with open(path, encoding="utf8") as file:
        tree = ast.parse(file.read())
    return [node for node in ast.walk(tree) if isinstance(node, (ast.Lambda, ast.FunctionDef))]


def definition_of(function: FunctionType) -> Definition:
    """The syntax of `function`."""
    code = function.__code__
    found = [node for node in definitions(code.co_filename) if holds(node, code)]
    return min(found, key=lambda node: len(ast.unparse(node)))


def holds(node: Definition, code: CodeType) -> bool:
    """Whether `code` was compiled from `node`, or from a function around which `node` is."""
    if isinstance(node, ast.FunctionDef):
        first = node.decorator_list[0] if node.decorator_list else node
        return (node.name, first.lineno) == (code.co_name, code.co_firstlineno)
    start, end = place(node.body)
    spans = [((a, c), (b, d)) for a, b, c, d in code.co_positions() if c != d]
    return code.co_name == "<lambda>" and all(start <= s and e <= end for s, e in spans)


def place(node: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Line and column of its first character, and of the one after its last."""
    return (node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset)


def compiled(definition: Definition, original: FunctionType) -> FunctionType:
    """The function of this syntax, with the globals, closure and defaults of `original`."""
    code = original.__code__
    module = ast.parse(f"def factory({', '.join(code.co_freevars)}):\n    return rule")
    factory: Any = module.body[0]
    if isinstance(definition, ast.Lambda):
        factory.body[0].value = definition
    else:
        fields = dict(ast.iter_fields(definition)) | {"name": "rule", "decorator_list": []}
        factory.body.insert(0, ast.FunctionDef(**fields))
    namespace: dict[str, Any] = {}
    ast.fix_missing_locations(module)
    exec(compile(module, f"<mutant of {code.co_name}>", "exec"), original.__globals__, namespace)
    cells = [cell.cell_contents for cell in original.__closure__ or ()]
    mutant: FunctionType = namespace["factory"](*cells)
    mutant.__defaults__, mutant.__kwdefaults__ = original.__defaults__, original.__kwdefaults__
    return mutant
