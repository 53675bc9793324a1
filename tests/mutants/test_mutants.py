"""Mutants of the rules: each is what it says, and the tests of the primitives notice it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad.engine.primitive import Primitive, registry
from tensorgrad.engine.rules import Each, flat
from tensorgrad.ops.adjoint import T, conjugated
from tests.mutants import Mutant, mutants_of
from tests.mutants.equivalents import REASONS
from tests.mutants.results import AT_TIES
from tests.mutants.source import mutants_of_source
from tests.mutants.verdict import QUICK, SURVIVED, Verdict, family, judge, load, table

X, Y = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[2.0, 7.0], [1.0, 3.0]])
G = np.array([[1.0, -1.0], [0.5, 2.0]])


def declared(forward: Any, *rules: Any, **more: Any) -> Primitive:
    """A primitive that is in no registry."""
    return Primitive(forward, rules[0] if isinstance(rules[0], Each) else rules, "mine", **more)


def changed(op: Primitive, kind: str, *operands: Any, operand: int = 0, **params: Any) -> Any:
    """What rule `operand` of the mutant of this kind returns."""
    (mutant,) = (m.op for m in mutants_of(op) if m.kind == kind and m.operand in (operand, None))
    out = op.forward(*operands, **params)
    return mutant.rules[operand](G, out, *operands, **params)


def formulas(rule: Any, kind: str) -> set[str]:
    """The changes of this kind in the source of a rule."""
    return {f"{before} → {after}" for k, before, after, _ in mutants_of_source(rule) if k == kind}


PRODUCT = declared(
    np.multiply, lambda g, out, x, y: g * y, lambda g, out, x, y: g * x, choice="none, really"
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("sign flipped", -G * Y),
        ("factor 2", 2 * G * Y),
        ("off by 0.1 %", 1.001 * G * Y),
        ("squared", (G * Y) ** 2),
        ("constant gradient", np.ones((2, 2))),
        ("transposed where square", (G * Y).T),
        ("wrong in its first entry", G * Y * [[2, 1], [1, 1]]),
        ("wrong in its last entry", G * Y * [[1, 1], [1, 2]]),
        ("gradient of another operand", G * X),
        ("wrong only for broadcast operands", G * Y),
        ("wrong only for size-1 axes", G * Y),
        ("wrong only in float32", G * Y),
        (AT_TIES, G * Y + 1),  # X and Y share entries
    ],
)
def test_the_answer_of_a_rule_is_changed_as_the_kind_says(kind: str, expected: Any) -> None:
    np.testing.assert_allclose(changed(PRODUCT, kind, X, Y), expected, rtol=1e-14)


def test_some_mutants_are_wrong_in_special_cases_only() -> None:
    def ratio(kind: str, x: Any, y: Any) -> Any:
        return np.unique(np.round(changed(PRODUCT, kind, x, y) / (G * y), 12))

    assert ratio("wrong only for broadcast operands", X[0], Y) == 1.001
    assert ratio("wrong only for size-1 axes", X[:1], Y) == 1.001
    assert ratio("wrong only in float32", X.astype(np.float32), Y) == 1.001
    assert ratio("wrong only in float32", X, Y.astype(np.float32)) == 1
    assert ratio(AT_TIES, X + 0.1, Y + 0.25) == 1  # no two are equal, none is whole


def test_a_gradient_of_0_is_made_to_leak() -> None:
    op = declared(np.floor, flat)
    assert (changed(op, "off by 0.1 %", X) == 0.001 * G).all()
    assert (changed(op, "wrong in its last entry", X) == [[0, 0], [0, 2]]).all()
    assert not {"sign flipped", "squared"} & {m.kind for m in mutants_of(op)}


def test_one_rule_for_each_operand_has_one_set_of_mutants() -> None:
    op = declared(lambda *xs: sum(xs), Each(lambda i, g, out, *xs: g * (i + 1)))
    assert {m.operand for m in mutants_of(op)} == {None}
    assert (changed(op, "factor 2", X, Y, operand=1) == 4 * G).all()


def test_the_rules_of_the_registry_stay_as_they_are() -> None:
    before = {name: (op, op.rules) for name, op in registry.items()}
    for op in [*registry.values()]:
        assert all(m.op is not op and m.op.rules is not op.rules for m in mutants_of(op))
    assert before == {name: (op, op.rules) for name, op in registry.items()}


two = (lambda g, out, x: g * x - out, lambda g, out, x: g + x)  # two rules in one line


def test_the_source_of_a_lambda_is_told_from_its_neighbours() -> None:
    assert formulas(two[0], "sign flipped") == {"g * x - out → g * x + out"}
    assert formulas(two[1], "sign flipped") == {"g + x → g - x"}


SQUARED = {
    "g * (x * 2) → g * g * (x * 2)",
    "g * (x * 2) → g * (x * 2 * (x * 2))",
    "x * 2 → x * x * 2",
    "x * 2 → x * (2 * 2)",
}


@pytest.mark.parametrize(
    ("rule", "kind", "expected"),
    [
        (lambda g, out, x: -g * 2, "sign flipped", {"-g → g"}),
        (lambda g, out, x: g * x, "factor dropped", {"g * x → g", "g * x → x"}),
        (lambda g, out, x: g * (x * 2), "factor squared", SQUARED),
        (lambda g, out, x: g / x, "factor dropped", {"g / x → g", "g / x → 1 / x"}),
        (lambda g, out, x: g / x, "factor squared", {"g / x → g / (x * x)", "g / x → g * g / x"}),
        (lambda g, out, x: g * (x > 1), "factor squared", {"g * (x > 1) → g * g * (x > 1)"}),
        (lambda g, out, x: g @ x.T, "transpose dropped", {"x.T → x"}),
        (lambda g, out, x: g @ T(x), "transpose dropped", {"T(x) → x"}),
        (lambda g, out, x: np.sum(g * x, -1), "reduction dropped", {"np.sum(g * x, -1) → g * x"}),
        (lambda g, out, x: g * x**3, "number changed", {"3 → 4"}),
        (lambda g, out, x: g * x, "operands swapped", {"x, out → out, x"}),
        (lambda g, out, x, y, n=1: g * x, "operands swapped", {"x, y → y, x"}),
        (
            lambda g, out, x, axis=0: np.flip(np.cumsum(g, axis=axis), axis),
            "wrong axis",
            {
                "np.cumsum(g, axis=axis) → np.cumsum(g, axis=0)",
                "np.flip(np.cumsum(g, axis=axis), axis) → np.flip(np.cumsum(g, axis=axis), 0)",
            },
        ),
    ],
)  # fmt: skip
def test_the_formula_of_a_rule_is_changed_as_the_kind_says(
    rule: Callable[..., Any], kind: str, expected: set[str]
) -> None:
    assert formulas(rule, kind) == expected


@conjugated
def adjoint(g: Any, out: Any, x: Any, *, scale: float = 3.0) -> Any:
    """A rule with a decorator, a docstring and a default."""
    total: Any = g * x
    return total * scale + T(out)


def test_a_mutant_of_the_source_keeps_defaults_and_what_wraps_the_formula() -> None:
    mutants = {f"{b} → {a}": f for _, b, a, f in mutants_of_source(adjoint)}
    mutant = mutants["total * scale + T(out) → total * scale - T(out)"]
    assert (mutant(G, X, Y) == 3 * G * Y - X.T).all()
    assert (mutant(G, X, Y, scale=1) == G * Y - X.T).all()


def test_a_mutant_of_the_source_keeps_what_its_rule_closes_over() -> None:
    def scaled(k: float) -> Callable[..., Any]:
        return lambda g, out, x: g * k + x

    (mutant,) = (f for kind, *_, f in mutants_of_source(scaled(4)) if kind == "sign flipped")
    assert (mutant(G, X, X) == 4 * G - X).all()


def test_a_mutant_can_be_differentiated_as_its_rule_can() -> None:
    cube = declared(lambda x: x**3, lambda g, out, x: g * 3 * x * x)
    second = lambda op: tg.grad(tg.grad(lambda x: 5 * op(x)))(2.0)
    assert second(cube) == 60
    for mutant in mutants_of(cube):
        if mutant.kind != "transposed where square" and "only" not in mutant.kind:
            assert second(mutant.op) != 60, mutant


LONGER = ("softmax", "cumsum", "transpose", "rfft")
SAMPLE = ["tanh", *(pytest.param(name, marks=pytest.mark.nightly) for name in LONGER)]


@pytest.mark.parametrize("name", SAMPLE)
def test_the_tests_of_a_primitive_kill_its_mutants(name: str) -> None:
    alive = [v.mutant for v in judge(name, examples=100, seed=None) if v.fate == SURVIVED]
    assert not alive, "\n".join(alive)


def test_a_test_that_fails_for_the_rules_themselves_kills_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = declared(lambda x: x * x, lambda g, out, x: g * x)
    monkeypatch.setitem(registry, "mine", wrong)
    (verdict,) = judge("mine", examples=QUICK, seed=None)
    assert (verdict.mutant, verdict.fate) == ("mine: its own rules fail 20 examples", SURVIVED)


def test_every_equivalent_mutant_exists() -> None:
    pytest.importorskip("scipy")
    load()
    names = {mutant.partition(",")[0] for mutant in REASONS}
    assert REASONS.keys() <= {str(m) for name in names for m in mutants_of(registry[name])}


def test_the_table_counts_by_family() -> None:
    verdicts = [
        Verdict("ops.a", "1", "killed"),
        Verdict("ops.a", "2", "survived"),
        Verdict("ops.b", "3", "equivalent"),
    ]
    assert table(verdicts) == [
        ("family", "mutants", "killed", "equivalent", "survived", "score"),
        ("ops.a", "2", "1", "0", "1", "50 %"),
        ("ops.b", "1", "0", "1", "0", "100 %"),
        ("all", "3", "1", "1", "1", "50 %"),
    ]


def test_a_family_is_the_module_that_declares() -> None:
    names = {"tanh": "elementwise", "floor": "rounding", "cholesky": "decompositions"}
    assert {name: family(registry[name]) for name in names} == {
        name: f"ops.{module}" for name, module in names.items()
    }


def test_a_mutant_says_what_was_changed() -> None:
    said = {str(m) for m in mutants_of(registry["subtract"])}
    assert "subtract, operand 1, sign flipped: -g → g" in said
    assert "subtract, operand 0, factor 2" in said
    assert isinstance(next(mutants_of(registry["stack"])), Mutant)


def test_the_command_of_old_says_in_one_line_where_it_went_and_answers() -> None:
    command = [sys.executable, "-m", "tensorgrad.testing.mutants", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout.startswith("usage: tests.mutants")
    (line,) = done.stderr.splitlines()
    assert "FutureWarning: python -m tensorgrad.testing.mutants is python -m tests.mutants" in line
