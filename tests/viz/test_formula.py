"""The formulas that are read off the rules say what the rules compute."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tensorgrad import Value, primitive
from tensorgrad.engine.primitive import registry
from tensorgrad.formula.formula import Formula, forward_of, letters, rule_of
from tensorgrad.formula.parse import ExpressionError, evaluate
from tensorgrad.formula.symbol import Applied, Constant, Name
from tensorgrad.ops.elementwise import multiply, power, tanh
from tensorgrad.testing.primitives import Case, cases, checkable, drawn

with suppress(ImportError):  # their primitives are checked too, where there is SciPy
    import tensorgrad.scipy.linalg
    import tensorgrad.scipy.special  # noqa: F401

SOME = settings(
    max_examples=settings().max_examples // 10,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def operands_of(case: Case, operands: list[Any]) -> list[Any]:
    return list(case.domain.make(*operands) if case.domain.make else operands)


def others(case: Case) -> list[Any]:
    """Operands of the same shapes and dtypes, with other numbers."""
    return [
        drawn(case.rng, case.domain.of(i), x.shape, x.dtype) for i, x in enumerate(case.operands)
    ]


@pytest.mark.hypothesis
@pytest.mark.parametrize("name", sorted(name for name, op in registry.items() if checkable(op)))
def test_the_text_of_each_rule_computes_what_the_rule_computes(name: str) -> None:
    op = registry[name]

    @SOME
    @given(case=cases(op))
    def check(case: Case) -> None:
        assume(all(np.size(x) for x in case.operands))
        xs = operands_of(case, case.operands)
        out = op.forward(*xs, **case.params)
        for i in case.free:
            formula = rule_of(op, i, xs, case.params)
            assert formula.mathml().startswith("<math")
            for ys in (xs, operands_of(case, others(case))):
                out = op.forward(*ys, **case.params)
                assume(np.shape(out) == np.shape(op.forward(*xs, **case.params)))
                g = case.rng.standard_normal(np.shape(out)).astype(out.dtype)[()]
                want = op.rules[i](g, out, *ys, **case.params)
                got = formula.evaluate(g=g, out=out, **dict(zip(letters(op, len(ys)), ys)))
                tolerance = 1e-4 if np.result_type(want).itemsize % 8 else 1e-8
                np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check()


def test_formulas_are_those_of_the_book() -> None:
    x, y = np.array(0.5), np.array(2.0)
    assert rule_of(tanh, 0, [x]).text() == "g * (1 - out * out)"
    assert rule_of(multiply, 0, [x, y]).latex() == r"g \odot y"
    assert rule_of(registry["log"], 0, [x]).text() == "g / x"
    assert rule_of(registry["sigmoid"], 0, [x]).text() == "g * out * (1 - out)"
    assert rule_of(registry["relu"], 0, [x]).text() == "where(x > 0, g, 0)"
    assert rule_of(power, 0, [x, 3]).text() == "g * (3 * x ** 2)"
    assert rule_of(registry["sqrt"], 0, [x]).latex() == r"\frac{g}{2 \odot \text{out}}"
    A, B = np.ones((2, 3)), np.ones((3, 4))
    assert rule_of(registry["matmul"], 0, [A, B]).text() == "g @ y.mT"
    assert rule_of(registry["matmul"], 1, [A, B]).latex() == r"x^{\top} g"


def test_a_notation_may_show_params() -> None:
    x = np.ones((2, 3))
    node = np.sum(Value(x) * 2, axis=1).node
    assert forward_of(node).latex({"x": "v"}) == r"\sum_{j} {v}_{ij}"
    assert forward_of(np.sum(Value(x) * 2).node).latex({"x": "v"}) == r"\sum_{i, j} {v}_{ij}"


def test_the_formula_is_the_same_where_entries_are_singular() -> None:
    g = np.array([0.0, 1.0])
    assert rule_of(registry["log"], 0, [np.array([1.0, 2.0])], g=g).text() == "g / x"
    out = np.array([-np.inf, 0.7])
    assert rule_of(registry["log"], 0, [np.array([0.0, 2.0])], g=g, out=out).text() == "g / x"


def test_what_occurs_twice_is_written_once() -> None:
    x = np.ones((2, 3))
    formula = rule_of(registry["max"], 0, [x], {"axis": 1})
    assert [name for name, _ in formula.where] == ["t"]
    assert formula.text().endswith(" (where t = x == expand_dims(out, 1))")
    x[0, 0] = np.nan
    formula = rule_of(registry["max"], 0, [x], {"axis": 1})
    assert formula.text().endswith(" (where t = (x == expand_dims(out, 1)) | (x != x))")


@pytest.mark.usefixtures("own_primitives")
def test_a_primitive_of_ones_own_is_explained() -> None:
    cube = primitive(lambda x: x**3, lambda g, out, x: 3 * g * x**2, name="cube", notation="{0}^3")
    formula = rule_of(cube, 0, [np.array(2.0)])
    assert formula.text() == "3 * g * x ** 2"
    assert formula.latex() == r"3 \odot g \odot x^{2}"
    assert formula.evaluate(g=1.0, out=8.0, x=2.0) == 12
    v = cube(Value(1.0) + 1)
    assert forward_of(v.node).latex({"x": "a + b"}) == r"\left(a + b\right)^3"


@pytest.mark.parametrize("name", sorted(registry))
def test_each_forward_renders(name: str) -> None:
    """In LaTeX that another program understands, with each operand in it."""
    op = registry[name]
    n = op.arity or 2
    formula = Formula(Applied(op, [Name(f"x{i}") for i in range(n)], {}))
    assert all(f"x_{{{i}}}" in formula.latex() for i in range(n))
    assert formula.mathml().startswith("<math")
    assert all(f"x{i}" in formula.text() for i in range(n))


SUMS = st.recursive(
    st.sampled_from(["a", "b", "c", "2", "0.5"]),
    lambda parts: st.one_of(
        st.tuples(parts, st.sampled_from("+-*/"), parts).map(
            lambda t: Applied(SIGNS[t[1]], (t[0], t[2]), {})
        ),
        parts.map(lambda t: Applied(registry["negative"], (t,), {})),
        parts.map(lambda t: Applied(registry["exp"], (t,), {})),
    ),
)
NUMBERS = {"a": np.float64(0.3), "b": np.float64(-1.7), "c": np.float64(2.9)}
SIGNS = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}


def as_expression(x: Any) -> Any:
    if isinstance(x, str):
        return Name(x) if x.isalpha() else Constant(float(x))
    return Applied(x.function, [as_expression(arg) for arg in x.args], {})


def computed(x: Any, values: dict[str, Any]) -> Any:
    if isinstance(x, Name):
        return values[x.text]
    if isinstance(x, Constant):
        return x.value
    return x.function(*(computed(arg, values) for arg in x.args))


def both(tree: Any, written: Callable[[Formula], str]) -> tuple[Any, Any]:
    """What an expression computes, and what is computed by what is `written` of it."""
    expression = as_expression(tree)
    with np.errstate(all="ignore"):
        want = computed(expression, NUMBERS)
        try:
            return want, evaluate(written(Formula(expression)), NUMBERS)
        except ExpressionError as error:  # 2 / (2 - 2), of Python's own numbers
            assume("division by zero" not in str(error))
            raise


@given(tree=SUMS)
def test_brackets_are_where_they_must_be(tree: Any) -> None:
    """Text, read again, computes what the expression computes."""
    want, got = both(tree, Formula.text)
    np.testing.assert_array_equal(got, want)


@given(tree=SUMS)
def test_brackets_of_latex_too(tree: Any) -> None:
    """SymPy's notation would differ: LaTeX is read by a reader of ten lines."""
    want, got = both(tree, lambda formula: from_latex(formula.latex()))
    np.testing.assert_allclose(got, want, rtol=1e-12)


def from_latex(latex: str) -> str:
    """Sums, products, quotients and powers of e, in Python's spelling."""
    text = latex.replace(r"\left", "").replace(r"\right", "").replace(r"\odot", "*")
    while r"\frac" in text or "e^{" in text:
        text = re.sub(r"\\frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", text)
        text = re.sub(r"e\^\{([^{}]*)\}", r"exp(\1)", text)
    return text


def test_a_complex_number_may_be_repeated() -> None:
    repeated = evaluate("repeat(z, 2)", {"z": Value(1 + 2j)})
    assert repeated.data.tolist() == [1 + 2j, 1 + 2j]
