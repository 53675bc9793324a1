"""Strangers beside a Value: objects of other libraries, which compute in ways of their own.

Whoever defines the operation is asked. Then a gradient is right, or there is an error that says
what to write; never another number.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from benchmarks.other_libraries import LIBRARIES, WRONG, table
from tensorgrad import Value

A = np.array([1.0, 2.0, 3.0])
ARITHMETIC = [
    *(operator.add, operator.sub, operator.mul, operator.truediv, operator.pow),
    *(operator.floordiv, operator.mod, operator.matmul),
]


def message(call: Callable[[], Any]) -> str:
    """What the error says, with its notes."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any error, with the right words
        call()
    return "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])


# Classes that need no library.


class Labelled:
    """Defines every operator, on both sides, and says who was asked."""

    __array_ufunc__: Any = None

    def __radd__(self, other: Any) -> Any:
        return "asked", other

    __rsub__ = __rmul__ = __rtruediv__ = __rpow__ = __rfloordiv__ = __rmod__ = __rmatmul__ = (
        __radd__
    )

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.ones(3)


class Reflected:
    """Has no protocol of NumPy's: Python's alone."""

    def __rmul__(self, other: Any) -> Any:
        return "asked", other

    __rmatmul__ = __rmul__


class Tagged:
    """Answers NumPy's two protocols, and keeps what it computed with."""

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return "asked", ufunc, *args

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return "asked", function, *args


class Silent:
    """Declines everything."""

    def __mul__(self, other: Any) -> Any:
        return NotImplemented

    __rmul__ = __mul__


class Circular:
    """Hands an operator to NumPy, which comes back to a Value."""

    def __rmul__(self, other: Any) -> Any:
        return np.multiply(other, self)


class Counts:
    """Computes with the number that it is given."""

    def __mul__(self, other: Any) -> Any:
        return 3 * float(other)

    __rmul__ = __mul__


@pytest.mark.parametrize("f", ARITHMETIC)
@pytest.mark.parametrize("data", [A, 2.0])
def test_the_right_operand_is_asked_if_it_defines_the_operator(f: Any, data: Any) -> None:
    v = Value(data)
    assert f(v, Labelled()) == ("asked", v)


def test_in_place_a_value_does_not_become_a_stranger() -> None:
    v, n = Value(A) * 1, Value(2.0)
    assert "write v = v + x" in message(lambda: operator.iadd(v, Labelled()))
    np.testing.assert_array_equal(v.data, A)
    assert operator.iadd(n, Labelled())[0] == "asked"  # a name of a number moves


def test_a_class_with_reflected_operators_alone_is_asked() -> None:
    v = Value(A)
    assert v * Reflected() == v @ Reflected() == ("asked", v)
    assert "subtract computes with numbers" in message(lambda: v - Reflected())


def test_numpys_functions_ask_too() -> None:
    v, t = Value(A), Tagged()
    assert np.multiply(v, t) == v * t == ("asked", np.multiply, v, t)
    assert np.hypot(v, t) == ("asked", np.hypot, v, t)
    assert np.divmod(v, t)[1] == ("asked", np.remainder, v, t)
    assert np.dot(v, t) == ("asked", np.dot, v, t)
    assert np.stack([v, t])[:2] == ("asked", np.stack)


def test_who_declines_is_named_and_so_is_the_way_out() -> None:
    v = Value(2.0)
    for call in (lambda: v * Silent(), lambda: Silent() * v):
        assert "multiply: tests.Silent" in message(call).replace("test_strangers.", "tests.")
    assert "does not support ufuncs" in message(lambda: np.multiply(v, Labelled()))
    assert "computes with numbers" in message(lambda: np.dot(v, Silent()))


def test_who_hands_the_operator_back_does_not_go_round_in_circles() -> None:
    assert "Circular does not compute with a Value" in message(lambda: Value(A) * Circular())


def test_a_number_asked_of_a_value_would_lose_its_gradient() -> None:
    assert "Counts does not compute with a Value" in message(lambda: Value(2.0) * Counts())
    assert Value(2.0, requires_grad=False) * Counts() == 6


@pytest.mark.parametrize("x", [Fraction(1, 2), Decimal("0.5")])
def test_a_number_of_another_kind_says_float(x: Any) -> None:
    v = Value(2.0)
    for call in (lambda: v * x, lambda: x * v, lambda: v - x, lambda: x / v, lambda: Value(x)):
        assert "float(x)" in message(call)


def test_numbers_and_lists_are_no_strangers() -> None:
    class Metres(float):
        pass

    class Rows(np.ndarray):
        pass

    v = Value(A)
    for x in (Metres(2.0), [1.0, 2.0, 3.0], (1.0, 2.0, 3.0), range(3), A.view(Rows), True):
        for g in (operator.mul, operator.sub):
            np.testing.assert_array_equal(g(v, x).data, g(A, x))
            np.testing.assert_array_equal(g(x, v).data, g(x, A))


class Units(np.ndarray):
    """NumPy's arrays in a class that answers itself."""

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return "asked", *args


def test_a_class_of_arrays_that_answers_itself_is_asked() -> None:
    v, x = Value(A), A.view(Units)
    assert (v * x)[0] == np.multiply(v, x)[0] == "asked"
    assert (x * v)[0] == np.hypot(x, v)[0] == "asked"


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
def test_masked_arrays_and_matrices_say_what_to_write() -> None:
    v = Value(A)
    for f in (operator.mul, operator.matmul, np.multiply):
        assert "x.filled()" in message(lambda f=f: f(v, np.ma.array(A)))
        assert "np.asarray(x)" in message(lambda f=f: f(v, np.asmatrix(np.eye(3))))
    assert ".data" in message(lambda: np.ma.array(A) * v)
    assert "np.asarray(x)" in message(lambda: np.asmatrix(np.eye(3)) * v)


# The real libraries.

DOCUMENT = Path(__file__).parents[1] / "docs" / "other-libraries.md"


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_gradient_beside_another_library_is_wrong(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLBACKEND", "agg")
    pytest.importorskip(library)
    said = dict(table(library))
    assert not [e for e, what in said.items() if what.startswith(WRONG)]
    sections = DOCUMENT.read_text(encoding="utf-8").split("## ")
    section = next((s for s in sections if s.startswith(f"{library} {version(library)}")), "")
    rows = dict(re.findall(r"\| `(.*)` \| (works|refuses|no gradient)", section))
    if rows:  # written for this version
        assert rows == {e: what.partition(":")[0] for e, what in said.items()}


def test_pandas_aligns_or_refuses() -> None:
    pd = pytest.importorskip("pandas")
    s, t = (pd.Series(A, index=list(letters)) for letters in ("abc", "cba"))
    frame = pd.DataFrame(np.eye(3) + A)
    for v in (Value(2.0), Value(A)):
        calls: list[Callable[[], Any]] = [
            lambda v=v: v * s * t,
            lambda v=v: s * v,
            lambda v=v: s - v,
            lambda v=v: frame * v,
            lambda v=v: np.multiply(v, s),
            lambda v=v: np.multiply(s, v),
            lambda v=v: np.hypot(v, s),
            lambda v=v: v**s,
            lambda v=v: tg.nn.functional.mse_loss(v + 0 * A, s),
        ]
        for call in calls:
            assert "x.to_numpy()" in message(call)
    w = Value(A)
    for call in (lambda: frame @ w, lambda: w @ frame, lambda: w @ s, lambda: s @ w):
        assert "x.to_numpy()" in message(call)
    np.testing.assert_array_equal(tg.grad(lambda w: (frame.to_numpy() @ w).sum())(A), [4, 7, 10])


def test_pandas_compares_with_labels() -> None:
    pd = pytest.importorskip("pandas")
    s = pd.Series(A, index=list("abc"))
    pd.testing.assert_series_equal(Value(2.0) > s, s < 2.0)
    pd.testing.assert_series_equal(s > Value(A[::-1]), s > A[::-1])


def test_numpys_functions_take_a_tables_numbers_as_they_do_beside_arrays() -> None:
    pd = pytest.importorskip("pandas")
    s = pd.Series([1.0, -2.0, 3.0], index=list("abc"))
    chosen = tg.grad(lambda x: np.where(s > 0, x, 0).sum())(A)
    np.testing.assert_array_equal(chosen, [1, 0, 1])
    np.testing.assert_array_equal(tg.grad(lambda x: np.stack([s, x])[1] @ A)(A), A)
    np.testing.assert_array_equal(tg.grad(lambda x: (x**2).sum())(s), 2 * s.to_numpy())
    assert tg.vmap(lambda x: x * 2)(s).tolist() == [2, -4, 6]


@pytest.mark.parametrize("order", [lambda v, x: v * x, lambda v, x: x * v, np.multiply])
def test_xarray_aligns_and_the_gradient_is_right(order: Any) -> None:
    xr = pytest.importorskip("xarray")
    x = xr.DataArray(A, dims="i", coords={"i": [0, 1, 2]})
    y = xr.DataArray([10.0, 20.0, 30.0], dims="i", coords={"i": [2, 1, 0]})

    def f(v: Any) -> Any:
        return (order(v, x) * y).sum().data

    expected = float((2.0 * x * y).sum())
    value, slope = tg.value_and_grad(f)(2.0)
    assert (value, slope) == (expected, expected / 2)
    np.testing.assert_array_equal(tg.grad(f)(A), A * [30, 20, 10])


def test_xarray_broadcasts_by_name() -> None:
    xr = pytest.importorskip("xarray")
    x, y = xr.DataArray(A, dims="i"), xr.DataArray([1.0, 10.0, 100.0], dims="j")

    def f(v: Any) -> Any:
        product = (v * x) * y
        assert product.dims == ("i", "j")
        return product.sum().data

    np.testing.assert_array_equal(tg.grad(f)(A), 111 * A)


def test_what_holds_a_value_is_no_result() -> None:
    xr = pytest.importorskip("xarray")
    x = xr.DataArray(A, dims="i")
    for f in (tg.grad, tg.jacobian, tg.elementwise_grad):
        assert "use its .data" in message(lambda f=f: f(lambda v: (v * x).sum())(2.0))
    assert "use its .data" in message(lambda: tg.vjp(lambda v: v * x, 2.0)[1](A))
    assert "use its .data" in message(lambda: Value(2.0) + Value(Value(2.0) * x))


def test_pint_keeps_its_units() -> None:
    pint = pytest.importorskip("pint")
    unit = pint.UnitRegistry().metre
    v = Value(A)
    for q in (
        v * (A * unit),
        (A * unit) * v,
        np.multiply(v, A * unit),
        np.dot(v, A * unit),
        v * unit,
    ):
        assert q.units == unit
        assert isinstance(q.magnitude, Value)
    assert ((A * unit) * v * (2 * unit)).units == unit**2
    slope = tg.grad(lambda v: ((v * A * unit) ** 2).sum().magnitude)(A)
    np.testing.assert_array_equal(slope, 2 * A**3)
    assert "x.magnitude" in message(lambda: v - A * unit)
    assert "x.magnitude" in message(lambda: Value(A * unit))
    assert "use its .magnitude" in message(lambda: tg.grad(lambda v: v * unit)(2.0))
    assert "dimensionless" in message(lambda: np.stack([v, A * unit]))


def test_sparse_matrices_say_toarray() -> None:
    sp = pytest.importorskip("scipy.sparse")
    v = Value(A)
    for s in (sp.csr_array(np.eye(3)), sp.csr_matrix(np.eye(3)), sp.coo_array(np.eye(3))):
        for f in (operator.add, operator.sub, np.hypot, np.add):
            assert "x.toarray()" in message(lambda f=f, s=s: f(v, s))
        assert "requires grad into an array" in message(lambda s=s: s.multiply(v))
        for f in (operator.add, operator.sub, np.subtract):
            assert "toarray()" in message(lambda f=f, s=s: f(s, v))


def test_pydata_sparse_says_todense() -> None:
    sparse = pytest.importorskip("sparse")
    v, s = Value(A), sparse.COO.from_numpy(np.eye(3))
    for call in (lambda: v + s, lambda: s - v, lambda: v / s, lambda: np.hypot(v, s)):
        assert "todense()" in message(call)
    for function in (np.where, np.stack):
        message(lambda function=function: function(v, s))


def test_uncertain_numbers_are_refused() -> None:
    un = pytest.importorskip("uncertainties")
    v, x = Value(2.0), un.ufloat(1.0, 0.1)
    for call in (lambda: v * x, lambda: x * v, lambda: np.multiply(v, x), lambda: np.dot(v, x)):
        assert "x.nominal_value" in message(call) or "1.0+/-0.1" in message(call)


def test_polars_refuses() -> None:
    pl = pytest.importorskip("polars")
    s = pl.Series(A)
    for v in (Value(A), Value(2.0)):
        for f in (operator.mul, operator.sub, operator.pow, np.multiply):
            assert "x.to_numpy()" in message(lambda f=f, v=v: f(v, s))
    for x in (A, 2.0):
        for g in (lambda v: v * s, lambda v: s * v):
            message(lambda g=g, x=x: tg.grad(lambda v: np.sum(g(v)))(x))


def test_a_plot_says_data() -> None:
    plt = pytest.importorskip("matplotlib.pyplot")
    v = Value(A)
    for draw in (plt.plot, plt.hist, plt.bar, plt.errorbar):
        for x in (v, v * 2):
            assert ".data" in message(
                lambda draw=draw, x=x: draw(A, x) if draw != plt.hist else draw(x)
            )
    assert ".data" in message(lambda: plt.plot(v * 2))
    assert ".data" in message(lambda: plt.imshow(Value(np.eye(3))))
    plt.close("all")
