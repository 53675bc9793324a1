"""The choices where calculus is silent, and the branches that are masked out.

At a corner, a tie or an edge of its domain a function has no derivative; the engine states one
(docstrings of `tensorgrad/ops`). A branch that `np.where` does not choose adds 0, never 0/0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.ops.nn.activation import relu
from tensorgrad.ops.nn.cost import binary_cross_entropy
from tensorgrad.ops.nn.softmax import softmax


def slopes(f: Callable[..., Any], *xs: Any) -> list[Any]:
    """The gradient of the sum of `f` by each operand, as lists."""
    values = [Value(x) for x in xs]
    np.sum(f(*values)).backward()
    return [v.grad.tolist() for v in values]


def second(f: Callable[..., Any], *xs: Any) -> list[Any]:
    """The gradient, by each operand, of the sum of all first gradients."""
    values = [Value(x) for x in xs]
    np.sum(f(*values)).backward(create_graph=True)
    total = sum(np.sum(v.grad) for v in values)
    for v in values:
        v.grad = None
    if getattr(total, "requires_grad", False):
        total.backward()
    return [np.zeros(v.shape).tolist() if v.grad is None else v.grad.tolist() for v in values]


@pytest.mark.parametrize(
    ("f", "at", "slope"),
    [
        (relu, 0.0, 0.0),
        (np.absolute, 0.0, 0.0),
        (np.fabs, 0.0, 0.0),
        (np.sign, 0.0, 0.0),
        (np.floor, 2.0, 0.0),
        (np.ceil, 2.0, 0.0),
        (np.trunc, 2.0, 0.0),
        (np.rint, 2.5, 0.0),
        (lambda x: np.clip(x, 0, 1), 0.0, 1.0),  # clip passes at its edges
        (lambda x: np.clip(x, 0, 1), 1.0, 1.0),
        (lambda x: np.clip(x, 0, 1), -0.1, 0.0),
        (lambda x: np.maximum(x, 0), 0.0, 0.5),  # a tie with a constant is a tie
        (lambda x: np.minimum(x, 0), 0.0, 0.5),
        (lambda x: np.maximum(x, x), 3.0, 1.0),
        (np.std, 3.0, 0.0),
        (lambda x: x**0, 0.0, 0.0),
        (lambda x: x**0.0, 2.0, 0.0),
        (lambda x: x**1, 0.0, 1.0),
        (lambda x: x**2, 0.0, 0.0),
        (lambda x: x**3, -2.0, 12.0),
        (lambda x: x * x**-1.0, 2.0, 0.0),
        (lambda y: 0.0**y, 2.0, 0.0),  # 0^y = 0 for every y > 0
        (lambda y: 0.0**y, 0.0, 0.0),
        (lambda y: 1.0**y, 5.0, 0.0),
    ],
)
def test_at_a_corner_the_stated_slope(f: Any, at: float, slope: float) -> None:
    assert slopes(f, at) == [slope]
    assert slopes(f, [at, at]) == [[slope, slope]] or f is np.std


@pytest.mark.parametrize("f", [lambda x, y: x**y, np.power, np.float_power])
def test_the_hessian_of_a_power_at_exponent_0(f: Any) -> None:
    """y xʸ⁻¹ is 0 there, and its slope by y is 1/x."""
    hessian = tg.hessian(lambda v: f(v[0], v[1]))
    np.testing.assert_allclose(hessian(np.array([2.0, 0.0])), [[0, 0.5], [0.5, np.log(2) ** 2]])
    np.testing.assert_array_equal(hessian(np.zeros(2)), [[0, 1], [1, 0]])
    nth = lambda x: f(x, x)
    for value in (1, 2, 3, 8):  # of the derivatives of xˣ at 1
        nth = tg.grad(nth)
        assert np.isclose(nth(1.0), value)


def test_counts_as_exponents() -> None:
    for y in (np.array([0, 1, 2], "u1"), np.array([0, 1, 2]), np.array([0.0, 1.0, 2.0])):
        assert slopes(lambda x, y=y: x**y, [3.0, 3.0, 3.0]) == [[0, 1, 6]]
        assert slopes(lambda x, y=y: x**y, [0.0, 0.0, 0.0]) == [[0, 1, 0]]
    assert slopes(lambda x: x ** np.array([True, False]), [3.0, 3.0]) == [[1, 0]]


@pytest.mark.parametrize("f", [np.maximum, np.minimum])
def test_a_tie_of_two_shares_equally(f: Any) -> None:
    assert slopes(f, [1.0, 2.0], [1.0, 2.0]) == [[0.5, 0.5], [0.5, 0.5]]
    assert slopes(f, 1.0, [1.0, 1.0]) == [1.0, [0.5, 0.5]]


@pytest.mark.parametrize("f", [np.max, np.min])
def test_entries_that_tie_for_an_extremum_share_equally(f: Any) -> None:
    assert slopes(f, [2.0, 2.0, 2.0, 2.0]) == [[0.25] * 4]
    assert slopes(lambda x: f(x, axis=1), [[1.0, 1.0], [3.0, 4.0]])[0][0] == [0.5, 0.5]


def test_ties_for_a_maximum_ignore_the_others() -> None:
    assert slopes(np.max, [3.0, 1.0, 3.0]) == [[0.5, 0, 0.5]]
    assert slopes(np.min, [3.0, 1.0, 1.0]) == [[0, 0.5, 0.5]]


norm = np.linalg.norm
EVEN: dict[str, tuple[Any, float]] = {
    "‖x‖²": (lambda x: norm(x) ** 2, 2),
    "‖x‖² by float": (lambda x: norm(x) ** 2.0, 2),
    "‖x‖² by NumPy's float": (lambda x: norm(x) ** np.float64(2), 2),
    "‖x‖² by an array": (lambda x: norm(x) ** np.array(2), 2),
    "‖x‖² by power": (lambda x: np.power(norm(x), 2), 2),
    "‖x‖² by square": (lambda x: np.square(norm(x)), 2),
    "r r": (lambda x: (lambda r: r * r)(norm(x)), 2),
    "‖x‖⁴": (lambda x: norm(x) ** 4, 0),
    "rows": (lambda x: np.sum(norm(x.reshape(-1, 1), axis=1) ** 2), 2),
    "rows, kept": (lambda x: np.mean(norm(x.reshape(-1, 1), axis=-1, keepdims=True) ** 2), 1),
    "Frobenius": (lambda x: norm(x.reshape(1, -1), "fro") ** 2, 2),
    "hypot": (lambda x: np.hypot(x[0], x[1]) ** 2, 2),
    "abs": (lambda x: np.sum(np.abs(x) ** 2), 2),
    "fabs": (lambda x: np.sum(np.fabs(x) ** 2), 2),
    "abs of complex": (lambda x: np.abs(x[0] + 1j * x[1]) ** 2, 2),
    "Gaussian": (lambda x: np.exp(-(norm(x) ** 2) / 2), -1),
    "rational": (lambda x: 1 / (1 + norm(x) ** 2), -2),
    "multiquadric": (lambda x: np.sqrt(1 + norm(x) ** 2), 1),
    "weights": (lambda x: (lambda r: 3 * r * r - r**2 / 2 + r**6)(norm(x)), 5),
}


@pytest.mark.parametrize("name", EVEN)
def test_an_even_function_of_a_length_is_smooth_where_it_is_0(name: str) -> None:
    f, curvature = EVEN[name]
    origin = np.zeros(2)
    for dtype in ("f8", "f4"):
        x = origin.astype(dtype)
        np.testing.assert_allclose(tg.grad(f)(x), 0)
        np.testing.assert_allclose(tg.hessian(f)(x), curvature * np.eye(2), atol=1e-6)
    forward = tg.jacobian(tg.grad(f), mode="forward")(origin)
    np.testing.assert_allclose(forward, curvature * np.eye(2), atol=1e-12)
    some = np.array([origin, [0.3, -0.4]])
    each = [tg.hessian(f)(x) for x in some]
    np.testing.assert_allclose(tg.vmap(tg.hessian(f))(some), each, rtol=1e-12, atol=1e-15)


def test_a_squared_standard_deviation_is_the_variance_where_it_is_0_too() -> None:
    for x in (np.zeros(3), np.full(3, 2.0), np.array([1.0, 2.0, 4.0])):
        for ddof in (0, 1):
            of_square = tg.hessian(lambda x, ddof=ddof: np.std(x, ddof=ddof) ** 2)(x)
            of_variance = tg.hessian(lambda x, ddof=ddof: np.var(x, ddof=ddof))(x)
            np.testing.assert_allclose(of_square, of_variance, atol=1e-12)


@pytest.mark.parametrize("f", [norm, lambda x: norm(x, 3) ** 2, lambda x: norm(x) * norm(x)])
def test_where_a_length_is_not_smooth_its_hessian_stays_a_choice(f: Any) -> None:
    np.testing.assert_array_equal(tg.hessian(f)(np.zeros(2)), np.zeros((2, 2)))


def test_hypot_and_arctan2_are_flat_at_the_origin() -> None:
    assert slopes(np.hypot, 0.0, 0.0) == [0, 0]
    assert slopes(np.arctan2, 0.0, 0.0) == [0, 0]
    assert slopes(np.hypot, 3.0, 4.0) == [0.6, 0.8]


@pytest.mark.parametrize("at", [[3.0, 3.0, 3.0], [[0.0, 0.0]], [5.0]])
def test_a_standard_deviation_of_0_has_gradient_0(at: Any) -> None:
    assert slopes(np.std, at) == [np.zeros_like(at).tolist()]
    assert second(np.std, at) == [np.zeros_like(at).tolist()]
    assert slopes(lambda x: np.std(x, axis=-1, keepdims=True), at) == [np.zeros_like(at).tolist()]


@pytest.mark.parametrize(
    ("at", "first", "hessian"),
    [
        ([2.0, 3.0, 4.0], [12, 8, 6], [[0, 4, 3], [4, 0, 2], [3, 2, 0]]),
        ([0.0, 3.0, 4.0], [12, 0, 0], [[0, 4, 3], [4, 0, 0], [3, 0, 0]]),
        ([0.0, 0.0, 4.0], [0, 0, 0], [[0, 4, 0], [4, 0, 0], [0, 0, 0]]),
        ([0.0, 0.0, 0.0], [0, 0, 0], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
    ],
)
def test_a_product_with_zeros_is_exact_at_both_orders(at: Any, first: Any, hessian: Any) -> None:
    """∂(xyz)/∂x = yz and ∂²(xyz)/∂x∂y = z need no division by an entry."""
    assert slopes(np.prod, at) == [first]
    for row, seed in zip(hessian, np.eye(3), strict=True):
        x = Value(at)
        np.prod(x).backward(create_graph=True)
        g, x.grad = x.grad, None
        g.backward(seed)
        assert x.grad.tolist() == row


def test_products_along_axes_with_zeros() -> None:
    x = [[0.0, 2.0], [3.0, 4.0]]
    assert slopes(lambda x: np.prod(x, axis=1), x) == [[[2, 0], [4, 3]]]
    assert slopes(lambda x: np.prod(x, axis=0, keepdims=True), x) == [[[3, 4], [0, 2]]]
    assert slopes(lambda x: np.prod(x[None], axis=(0, -1)), x) == [[[2, 0], [4, 3]]]


def test_clip_with_crossed_limits_answers_the_upper_one() -> None:
    """np.clip(x, 2, 1) = 1 whatever x is."""
    assert slopes(lambda x, low, high: np.clip(x, low, high), 1.5, 2.0, 1.0) == [0, 0, 1]
    assert slopes(lambda x, low, high: np.clip(x, low, high), 5.0, 2.0, 1.0) == [0, 0, 1]
    assert slopes(lambda x, low, high: np.clip(x, low, high), -5.0, 2.0, 3.0) == [0, 1, 0]


def test_probabilities_of_0_and_1_cost_no_infinity() -> None:
    """As in PyTorch, log 0 counts as -100 and the gradient is held finite."""
    a = Value([0.0, 1.0, 0.0, 1.0])
    cost = binary_cross_entropy(a, np.array([0.0, 1.0, 1.0, 0.0]))
    cost.sum().backward()
    assert cost.data.tolist() == [0, 0, 100, 100]
    assert a.grad.tolist() == [0, 0, -1e12, 1e12]


# Masked branches. In each pair `f` is singular where `safe` is false; np.where does not choose it.

OUTSIDE = [-2.0, -1.0, 0.0]
MASKED: dict[str, tuple[Any, Any, list[float]]] = {
    "log": (np.log, lambda x: x > 0, OUTSIDE),
    "log2": (np.log2, lambda x: x > 0, OUTSIDE),
    "log10": (np.log10, lambda x: x > 0, OUTSIDE),
    "log1p": (np.log1p, lambda x: x > -1, [-2.0, -1.0]),
    "sqrt": (np.sqrt, lambda x: x > 0, OUTSIDE),
    "cbrt": (np.cbrt, lambda x: x > 0, [0.0]),
    "x ** 0.5": (lambda x: x**0.5, lambda x: x > 0, OUTSIDE),
    "x ** -0.5": (lambda x: x**-0.5, lambda x: x > 0, OUTSIDE),
    "x ** -1": (lambda x: x**-1.0, lambda x: x > 0, [0.0]),
    "x ** -2": (lambda x: x**-2, lambda x: x > 0, [0.0]),
    "x ** x": (lambda x: x**x, lambda x: x > 0, [-0.5, -1.5, 0.0]),
    "x ** 1.5": (lambda x: x**1.5, lambda x: x > 0, OUTSIDE),
    "1 / x": (lambda x: 1 / x, lambda x: x > 0, [0.0]),
    "x / x": (lambda x: x / x, lambda x: x > 0, [0.0]),
    "1 / x²": (lambda x: 1 / (x * x), lambda x: x > 0, [0.0]),
    "reciprocal": (np.reciprocal, lambda x: x > 0, [0.0]),
    "sqrt(log)": (lambda x: np.sqrt(np.log(x)), lambda x: x > 1, [*OUTSIDE, 0.5, 1.0]),
    "arcsin": (np.arcsin, lambda x: abs(x) < 1, [-2.0, -1.0, 1.0, 2.0]),
    "arccos": (np.arccos, lambda x: abs(x) < 1, [-2.0, -1.0, 1.0, 2.0]),
    "arctanh": (np.arctanh, lambda x: abs(x) < 1, [-2.0, -1.0, 1.0, 2.0]),
    "arccosh": (np.arccosh, lambda x: x > 1, [*OUTSIDE, 0.5, 1.0]),
    "norm": (lambda x: np.sqrt(np.square(x)), lambda x: x > 0, [0.0]),
    "logaddexp": (lambda x: np.logaddexp(x, -np.inf), lambda x: x > 0, [-1.0, 0.0]),
}
# Two operations in a row, the inner one already NaN or infinite: the product rule meets 0 · NaN.
CHAINED: dict[str, tuple[Any, Any, list[float]]] = {
    "log(sqrt)": (lambda x: np.log(np.sqrt(x)), lambda x: x > 0, [-2.0, -1.0]),
    "1 / sqrt": (lambda x: 1 / np.sqrt(x), lambda x: x > 0, [-2.0, -1.0]),
    "x log x": (lambda x: x * np.log(x), lambda x: x > 0, OUTSIDE),
    "exp": (lambda x: np.exp(1000 * x), lambda x: x < 0.5, [1.0, 2.0]),
}


@pytest.mark.parametrize("name", sorted(MASKED))
@pytest.mark.parametrize("derivatives", [slopes, second])
def test_a_masked_branch_adds_0_never_nan(name: str, derivatives: Any) -> None:
    f, safe, outside = MASKED[name]
    masked = lambda x: np.where(safe(x), f(x), 0.0)
    with np.errstate(all="ignore"):  # the forward computes both branches
        assert derivatives(masked, outside) == [[0.0] * len(outside)]
        for x in outside:
            assert derivatives(masked, x) == [0.0]


@pytest.mark.parametrize("name", sorted(CHAINED))
@pytest.mark.parametrize("derivatives", [slopes, second])
def test_a_masked_chain_adds_0_never_nan(name: str, derivatives: Any) -> None:
    f, safe, outside = CHAINED[name]
    masked = lambda x: np.where(safe(x), f(x), 0.0)
    with np.errstate(all="ignore"):
        assert derivatives(masked, outside) == [[0.0] * len(outside)]
        for x in outside:
            assert derivatives(masked, x) == [0.0]


@pytest.mark.parametrize("name", sorted(MASKED | CHAINED))
def test_a_masked_branch_adds_0_in_every_mode_and_to_third_order(name: str) -> None:
    f, safe, outside = (MASKED | CHAINED)[name]
    masked = lambda x: np.sum(np.where(safe(x), f(x), 0.0))
    x = np.array(outside)
    inside = next(at for at in (1.5, 0.3) if safe(at))
    with np.errstate(all="ignore"):
        for order in (
            tg.hessian(masked),
            tg.jacobian(tg.grad(masked), mode="forward"),
            tg.jacobian(tg.hessian(masked)),
            lambda x: tg.jvp(masked, (x,), (np.ones_like(x),))[1],
            tg.vmap(tg.grad(masked)),
        ):
            assert not np.any(order(x))
        third = tg.grad(tg.grad(tg.grad(masked)))(inside)
        expected = tg.grad(tg.grad(tg.grad(f)))(inside)
        np.testing.assert_allclose(third, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(MASKED | CHAINED))
def test_an_entry_beside_a_masked_one_keeps_its_gradient(name: str) -> None:
    f, safe, outside = (MASKED | CHAINED)[name]
    inside = next(at for at in (1.5, 0.3) if safe(at))
    with np.errstate(all="ignore"):
        (found,) = slopes(lambda x: np.where(safe(x), f(x), 0.0), [inside, *outside])
        np.testing.assert_allclose(found, [*slopes(f, inside), *(0 * at for at in outside)], 1e-14)


def test_entries_that_a_mask_leaves_out_add_0() -> None:
    x = np.array([-1.0, 0.0, 2.0])
    entropy = lambda x: np.sum((x * np.log(x))[x > 0])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(tg.grad(entropy)(x), [0, 0, 1 + np.log(2)])
        np.testing.assert_array_equal(tg.hessian(entropy)(x), np.diag([0, 0, 0.5]))


ROWS = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
BY_ROW: dict[str, Any] = {
    "vecdot": lambda x: np.vecdot(x, np.log(x)),
    "einsum": lambda x: np.einsum("ij,ij->i", x, np.log(x)),
    "prod": lambda x: np.prod(np.log(x), axis=1),
    "std": lambda x: np.std(np.log(x), axis=1),
    "softmax": lambda x: softmax(np.log(x))[:, 0],
    "matmul": lambda x: (np.log(x)[:, None, :] @ np.log(x)[:, :, None])[:, 0, 0],
    "norm": lambda x: np.linalg.norm(np.log(x), axis=-1),
}


@pytest.mark.parametrize("name", sorted(BY_ROW))
def test_rows_that_are_masked_out_add_0_behind_functions_of_rows_too(name: str) -> None:
    if name == "vecdot" and not hasattr(np, "vecdot"):
        pytest.skip("no np.vecdot")
    f = BY_ROW[name]
    masked = lambda x: np.sum(np.where([False, True], f(x), 0.0))
    with np.errstate(all="ignore"):
        found = tg.grad(masked)(ROWS)
        assert not found[0].any()
        expected = tg.grad(lambda x: np.sum(f(x)))(ROWS[1:])
        np.testing.assert_allclose(found[1:], expected, rtol=1e-12)
        second = tg.hessian(masked)(ROWS)
        assert not second[0].any()
        assert not second[:, :, 0].any()
        expected = tg.hessian(lambda x: np.sum(f(x)))(ROWS[1:])
        np.testing.assert_allclose(second[1:, :, 1:], expected, rtol=1e-9, atol=1e-12)


def test_forward_mode_is_honest_where_reverse_mode_is() -> None:
    """Its inner cotangents must not cancel by chance: a 0 would be taken for a mask."""
    centred = lambda x: (lambda y: y - np.mean(y))(np.sqrt(x))
    with np.errstate(divide="ignore", invalid="ignore"):
        assert not np.isfinite(tg.jacobian(centred)(np.array([0.0, 1.0]))[0, 0])
        assert not np.isfinite(tg.jacobian(centred, mode="forward")(np.array([0.0, 1.0]))[0, 0])
        tangent = tg.jvp(lambda x: np.sqrt(x) * np.array([1.0, -1.0]), (0.0,), (1.0,))[1]
    assert tangent.tolist() == [np.inf, -np.inf]


def test_a_masked_result_of_a_matrix_function_adds_0() -> None:
    def f(a: Any) -> Any:
        return np.where(np.all(np.isfinite(a)), np.sum(np.exp(a @ a)), 0.0)

    with np.errstate(all="ignore"):
        assert not tg.grad(f)(np.array([[np.inf, 1.0], [0.0, 1.0]])).any()


@pytest.mark.parametrize("derivatives", [slopes, second])
def test_a_masked_power_spares_its_exponent_too(derivatives: Any) -> None:
    """An exponent that is shared by good and masked entries hears of the good ones only."""
    x = np.array([-1.5, 0.0, 2.0])
    power = lambda x, y: np.where(x > 0, x**y, 0.0)
    with np.errstate(all="ignore"):
        for y in (0.5, -0.5):
            expected = derivatives(power, 2.0, y)
            found = derivatives(power, x, y)
            np.testing.assert_allclose(found[0], [0, 0, expected[0]], rtol=1e-14)
            np.testing.assert_allclose(found[1], expected[1], rtol=1e-14)


@pytest.mark.parametrize("name", sorted(MASKED))
def test_the_chosen_branch_keeps_its_derivative(name: str) -> None:
    f, safe, outside = MASKED[name]
    inside = next(x for x in (1.5, 0.3) if safe(x))
    masked = lambda x: np.where(safe(x), f(x), 0.0)
    with np.errstate(all="ignore"):
        for derivatives in (slopes, second):
            expected = derivatives(f, inside)[0]
            found = derivatives(masked, [inside, *outside])[0]
            np.testing.assert_allclose(found, [expected] + [0.0] * len(outside), rtol=1e-12)


@pytest.mark.parametrize("derivatives", [slopes, second])
def test_a_quotient_of_two_values_masked_at_0(derivatives: Any) -> None:
    ratio = lambda x, y: np.where(y != 0, x / y, 0.0)
    with np.errstate(all="ignore"):
        assert derivatives(ratio, [1.0, 0.0], [0.0, 0.0]) == [[0, 0], [0, 0]]
        assert derivatives(ratio, 1.0, 0.0) == [0, 0]
    assert slopes(ratio, [6.0], [2.0]) == [[0.5], [-1.5]]


@pytest.mark.parametrize("derivatives", [slopes, second])
def test_the_norm_of_the_zero_vector_masked(derivatives: Any) -> None:
    norm = lambda x: np.where(np.sum(x * x) > 0, np.sqrt(np.sum(x * x)), 0.0)
    assert derivatives(norm, [0.0, 0.0]) == [[0, 0]]


def test_where_a_cotangent_arrives_numpys_infinity_stands() -> None:
    """An honest singularity is not hidden: √x has slope ∞ at 0, log x too."""
    with np.errstate(all="ignore"):
        assert slopes(np.sqrt, 0.0) == [np.inf]
        assert slopes(np.log, [0.0]) == [[np.inf]]
        assert slopes(lambda x: 1 / x, 0.0) == [-np.inf]
        assert np.isnan(slopes(np.sqrt, -1.0)[0])


def test_an_infinite_slope_behind_a_maximum_that_was_not_chosen_adds_0() -> None:
    x = Value([-1.0, 4.0])
    with np.errstate(divide="ignore"):
        np.sqrt(np.maximum(x, 0)).sum().backward()
    np.testing.assert_array_equal(x.grad, [0, 0.25])


def test_a_product_that_underflows_has_the_product_of_the_others_as_slope() -> None:
    x = Value([1e-200, 1e-200, 1e200])
    np.prod(x).backward()
    np.testing.assert_allclose(x.grad, [1, 1, 0])
