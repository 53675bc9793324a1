"""tg.grad and its family: closed forms, agreement of the modes, nesting, containers, errors."""

from __future__ import annotations

import copy
import math
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.transforms.tree import flatten

X = np.array([0.3, 1.0, 2.0])
A = np.array([[1.0, 2.0, 0.5], [-1.0, 0.3, 2.0]])


def curved(x: Any) -> Any:
    return np.sum(np.sin(x) * x**2)


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


# Closed forms.


def test_gradient_of_a_sum_of_cubes() -> None:
    close(tg.grad(lambda x: np.sum(x**3))(X), 3 * X**2)


def test_derivatives_of_sine_go_round() -> None:
    f: Any = np.sin
    for derivative in (np.cos, lambda x: -np.sin(x), lambda x: -np.cos(x), np.sin, np.cos):
        f = tg.grad(f)
        close(f(0.7), derivative(0.7))


def test_hessian_of_a_quadratic_form_is_its_symmetric_part_doubled() -> None:
    q = np.arange(9.0).reshape(3, 3)
    close(tg.hessian(lambda x: x @ q @ x)(X), q + q.T)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_jacobian_of_a_linear_map_is_its_matrix(mode: str) -> None:
    close(tg.jacobian(lambda x: A @ x, mode=mode)(X), A)


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_jacobian_has_the_shape_of_the_output_then_that_of_the_argument(mode: str) -> None:
    found = tg.jacobian(lambda x: np.outer(x, x), mode=mode)(X)
    expected = np.einsum("ik,j->ijk", np.eye(3), X) + np.einsum("jk,i->ijk", np.eye(3), X)
    close(found, expected)
    assert tg.jacobian(lambda x: np.sum(x), mode=mode)(X).shape == (3,)
    assert tg.jacobian(lambda x: np.ones((2, 0)) * x[0], mode=mode)(X).shape == (2, 0, 3)
    assert tg.jacobian(lambda x: np.sum(x), mode=mode)(np.ones((0, 2))).shape == (0, 2)


def test_hvp_is_the_hessian_times_the_vector() -> None:
    v = np.array([1.0, -2.0, 0.5])
    close(tg.hvp(curved, (X,), (v,)), tg.hessian(curved)(X) @ v)
    f = lambda x, y: np.sum(np.sin(x * y))
    u, w = tg.hvp(f, (X, 2 * X), (v, v))
    (xx, xy), (yx, yy) = tg.hessian(f, argnums=(0, 1))(X, 2 * X)
    close(u, (xx + xy) @ v)
    close(w, (yx + yy) @ v)


def test_jvp_and_vjp_are_transposes() -> None:
    f = lambda x: np.tanh(A @ x) * x[0]
    t, g = np.array([1.0, -1.0, 0.4]), np.array([0.3, -2.0])
    _, forward = tg.jvp(f, (X,), (t,))
    _, pullback = tg.vjp(f, X)
    close(g @ forward, pullback(g)[0] @ t)


def test_elementwise_grad_of_sinc_at_many_points() -> None:
    close(tg.elementwise_grad(np.tanh)(A), 1 / np.cosh(A) ** 2)
    value = tg.elementwise_grad(lambda x: (x**2, "aux"), has_aux=True)(A)
    close(value[0], 2 * A)
    assert value[1] == "aux"


# Nesting.


def test_every_nesting_of_modes_gives_the_same_second_derivatives() -> None:
    expected = np.diag(2 * np.sin(X) + 4 * X * np.cos(X) - X**2 * np.sin(X))
    reverse, forward = (lambda f, m=m: tg.jacobian(f, mode=m) for m in ("reverse", "forward"))
    for outer in (reverse, forward):
        for inner in (reverse, forward):
            close(outer(inner(curved))(X), expected)


def test_third_derivatives_by_three_jvps() -> None:
    def along(f: Any) -> Any:
        return lambda x: tg.jvp(f, (x,), (1.0,))[1]

    close(along(along(along(np.exp)))(0.5), np.exp(0.5))
    close(tg.grad(along(along(np.sin)))(0.5), -np.cos(0.5))
    close(along(tg.grad(along(np.sin)))(0.5), -np.cos(0.5))


def test_an_inner_derivative_does_not_confuse_its_variable_with_the_outer_one() -> None:
    """d/dx (x d/dy (x + y)) = 1, not 2 (Siskind and Pearlmutter 2005)."""
    inner = lambda x: x * tg.grad(lambda y: x + y)(1.0)
    assert tg.grad(inner)(1.0) == 1
    assert tg.jvp(lambda x: x * tg.jvp(lambda y: x * y, (2.0,), (1.0,))[1], (3.0,), (1.0,))[1] == 6
    assert tg.grad(lambda x: x * tg.jvp(lambda y: x + y, (1.0,), (1.0,))[1])(1.0) == 1


def test_the_gradient_reaches_values_that_the_function_closes_over() -> None:
    w = tg.Value(3.0)
    slope = tg.grad(lambda x: np.sin(w * x))(0.5)
    slope.backward()
    close(slope.data, 3 * np.cos(1.5))
    close(w.grad, np.cos(1.5) - 1.5 * np.sin(1.5))
    w.grad = None
    tg.grad(lambda x: x * 2.0 + w.data)(1.0)
    assert w.grad is None


def test_without_the_outside_the_results_are_plain_arrays() -> None:
    value, gradient = tg.value_and_grad(curved)(X)
    assert type(value) is np.float64
    assert type(gradient) is np.ndarray
    with tg.no_grad():
        w = tg.Value(2.0)
        assert tg.grad(lambda x: w * x)(1.0) == 2
        assert type(tg.grad(lambda x: w * x)(1.0)) is np.float64


def test_values_are_differentiated_under_no_grad_too() -> None:
    b = tg.Value(0.3)
    with tg.no_grad():
        close(tg.grad(np.sin)(b), np.cos(0.3))
        close(tg.jacobian(np.sin)(b), np.cos(0.3))
        close(tg.hvp(np.sin, (b,), (1.0,)), -np.sin(0.3))


def test_stop_gradient_looks_into_containers() -> None:
    assert tg.grad(lambda x: tg.stop_gradient([x])[0] * x)(3.0) == 3
    assert tg.grad(lambda x: tg.stop_gradient({"a": (x, 2.0)})["a"][0] * x)(3.0) == 3
    assert tg.stop_gradient(3.0) == 3


# Calls.


def test_argnums_keywords_and_aux() -> None:
    f = lambda a, b, scale=1.0: (scale * a**2 * b, {"seen": a + b})
    (da, db), aux = tg.grad(f, argnums=(0, 1), has_aux=True)(3.0, 5.0, scale=2.0)
    assert (da, db) == (60, 18)
    assert aux == {"seen": 8.0}
    assert type(aux["seen"]) is np.float64
    assert tg.grad(lambda a, b: a * b, argnums=-1)(3.0, 5.0) == 3
    (value, aux), slope = tg.value_and_grad(f, has_aux=True)(3.0, 5.0)
    assert (value, slope) == (45, 30)
    value, pullback, aux = tg.vjp(f, 3.0, 5.0, has_aux=True)
    assert pullback(1.0) == (30, 9)
    value, tangent, aux = tg.jvp(f, (3.0, 5.0), (1.0, 0.0), has_aux=True)
    assert (value, tangent, aux["seen"]) == (45, 30, 8)
    assert tg.jacobian(f, has_aux=True)(3.0, 5.0)[0] == 30
    assert tg.hessian(f, has_aux=True)(3.0, 5.0)[0] == 10


def test_functions_that_ignore_an_input_or_return_a_constant() -> None:
    assert tg.grad(lambda x, y: y**2)(3.0, 2.0) == 0
    close(tg.grad(lambda x: 4.0)(X), np.zeros(3))
    assert tg.grad(lambda x: sum(()))(1.0) == 0  # Python's numbers are weak
    close(tg.jacobian(lambda x: np.ones(2))(X), np.zeros((2, 3)))
    close(tg.jacobian(lambda x: np.ones(2), mode="forward")(X), np.zeros((2, 3)))
    close(tg.hessian(lambda x: np.sum(x))(X), np.zeros((3, 3)))
    assert tg.jvp(lambda x: (x, 1.0), (2.0,), (3.0,)) == ((2.0, 1.0), (3.0, 0.0))
    _, tangent = tg.jvp(lambda x: np.ones(2), (X,), (X,))
    assert type(tangent) is np.ndarray  # no Value
    w = tg.Value(2.0)
    close(tg.grad(lambda x: w * w)(X), np.zeros(3))
    assert tg.grad(tg.grad(lambda x: 2 * x))(1.0) == 0


def test_float32_stays_float32() -> None:
    x = X.astype(np.float32)
    assert tg.grad(curved)(x).dtype == np.float32
    assert tg.hessian(curved)(x).dtype == np.float32
    assert tg.jvp(np.sin, (x,), (x,))[1].dtype == np.float32
    assert tg.jacobian(np.sin, mode="forward")(x).dtype == np.float32


def test_the_callers_arrays_and_values_stay_as_they_were() -> None:
    x, v = X.copy(), tg.Value(X)
    tg.grad(curved)(x)
    tg.grad(curved)(v)
    assert (x == X).all()
    assert v.grad is None
    first = tg.grad(lambda x, y: np.sum(x + y), argnums=(0, 1))(x, x)
    first[0][0] = 7
    assert first[1].tolist() == [1, 1, 1]


# Containers.

Pair = namedtuple("Pair", "w b")


@dataclass(frozen=True)
class Layer:
    weight: Any
    bias: Any
    name: str = "dense"
    frozen: bool = False


@pytest.mark.parametrize(
    "tree",
    [
        (A, (X, 2.0)),
        [A, [X, 2.0]],
        {"b": X, "a": A, "c": {"d": 2.0}},
        Pair(A, {"x": X}),
        Layer(A, X),
        [Layer(A, Layer(X, 2.0)), None],
    ],
)
def test_gradients_come_in_the_containers_of_the_argument(tree: Any) -> None:
    def squares(tree: Any) -> Any:
        return sum(np.sum(x**2) for x in flatten(tree)[0] if not isinstance(x, (str, bool)))

    found = tg.grad(squares)(tree)
    assert type(found) is type(tree)
    numbers = [x for x in flatten(tree)[0] if not isinstance(x, (str, bool))]
    for g, x in zip(flatten(found)[0], numbers, strict=True):  # None is no leaf
        close(g, 2 * np.asarray(x))


def test_settings_in_a_container_have_no_gradient() -> None:
    found = tg.grad(lambda layer: np.sum(layer.weight @ X + layer.bias))(Layer(A, np.ones(2)))
    close(found.weight, np.stack([X, X]))
    assert (found.name, found.frozen) == (None, None)


def test_a_module_gets_a_module_of_gradients() -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.ReLU(), nn.Linear(4, 1, rng=1))
    loss = lambda model, x: np.sum(model(x) ** 2)
    grads = tg.grad(loss)(model, A)
    loss(model, A).backward()
    for p, g in zip(model.parameters(), grads.parameters(), strict=True):
        close(g.data, p.grad)
    assert len(model.parameters()) == 4


def test_shared_parameters_of_a_module_have_one_gradient() -> None:
    shared = nn.Linear(3, 3, rng=0)
    model = nn.Sequential(shared, shared)
    grads = tg.grad(lambda m: np.sum(m(X)))(model)
    model(X).sum().backward()
    close(grads.layers[0].weight.data, shared.weight.grad)
    assert grads.layers[0] is grads.layers[1]


def test_results_may_be_containers() -> None:
    f = lambda x: {"sin": np.sin(x), "pair": (x**2, x[0])}
    value, pullback = tg.vjp(f, X)
    close(value["sin"], np.sin(X))
    (g,) = pullback({"sin": np.ones(3), "pair": (X, 5.0)})
    close(g, np.cos(X) + 2 * X**2 + [5, 0, 0])
    _, tangent = tg.jvp(f, (X,), (np.ones(3),))
    close(tangent["pair"][0], 2 * X)
    for mode in ("reverse", "forward"):
        jacobian = tg.jacobian(f, mode=mode)(X)
        close(jacobian["sin"], np.diag(np.cos(X)))
        close(jacobian["pair"][1], [1, 0, 0])
    nested = tg.jacobian(lambda p: p["a"] * p["b"])({"a": X, "b": 2.0})
    close(nested["a"], 2 * np.eye(3))
    close(nested["b"], X)


# Complex numbers: the gradient of a real function of x + iy is df/dx - i df/dy.


def test_gradient_of_the_squared_modulus_is_twice_the_conjugate() -> None:
    z = 1.0 + 2.0j
    assert tg.grad(lambda z: np.real(z * np.conj(z)))(z) == 2 * np.conj(z)
    close(tg.grad(lambda z: np.abs(z))(z), np.conj(z) / abs(z))


@given(st.complex_numbers(max_magnitude=2, allow_nan=False))
def test_complex_gradient_is_df_dx_minus_i_df_dy(z: complex) -> None:
    f = lambda z: np.real(np.exp(z) * np.conj(np.sin(z)))
    fx = tg.grad(lambda x: f(x + 1j * z.imag))(z.real)
    fy = tg.grad(lambda y: f(z.real + 1j * y))(z.imag)
    np.testing.assert_allclose(tg.grad(f)(z), fx - 1j * fy, rtol=1e-9, atol=1e-9)


def test_analytic_functions_have_their_derivative_in_both_modes() -> None:
    z = np.array([0.3 + 0.4j, -1.0 + 2.0j])
    for mode in ("reverse", "forward"):
        close(tg.jacobian(np.exp, mode=mode)(z), np.diag(np.exp(z)))
    close(tg.jvp(np.exp, (z,), (1j * z,))[1], 1j * z * np.exp(z))


def test_forward_mode_of_a_function_that_is_not_analytic() -> None:
    z, t = 1.0 + 2.0j, 0.5 - 1.0j
    assert tg.jvp(np.conj, (z,), (t,))[1] == np.conj(t)
    close(tg.jvp(lambda z: np.abs(z) ** 2, (z,), (t,))[1], 2 * (z.conjugate() * t).real)


# Errors.


@pytest.mark.parametrize(
    ("f", "kind", "says"),
    [
        (lambda x: x, ValueError, r"shape \(3,\).*elementwise_grad.*jacobian"),
        (lambda x: (np.sum(x), 1), TypeError, "tuple.*has_aux"),
        (lambda x: None, TypeError, "NoneType"),
        (lambda x: np.sum(x) * 1j, TypeError, r"complex.*np\.real"),
    ],
)
def test_what_has_no_gradient_names_the_way_out(f: Any, kind: type, says: str) -> None:
    with pytest.raises(kind, match=says):
        tg.grad(f)(X)


def test_integers_have_no_gradient() -> None:
    with pytest.raises(TypeError, match="int64 data carries no gradient"):
        tg.grad(np.sum)(np.arange(3))
    with pytest.raises(TypeError, match="carries no gradient"):
        tg.grad(lambda x: 1.0 * x)(True)
    assert tg.grad(lambda x: x**2)(3) == 6  # Python's numbers become floats


def test_wrong_calls_say_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="no argument 2"):
        tg.grad(lambda x: x, argnums=2)(1.0)
    with pytest.raises(TypeError, match="int or a tuple"):
        tg.grad(lambda x: x, argnums="x")(1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="tangents must have shapes"):
        tg.jvp(np.sin, (X,), (1.0,))
    with pytest.raises(TypeError, match="takes tuples"):
        tg.jvp(np.sin, X, X)
    with pytest.raises(TypeError, match="takes tuples"):
        tg.hvp(curved, X, X)
    with pytest.raises(ValueError, match="cotangent must have shapes"):
        tg.vjp(np.sin, X)[1](1.0)
    with pytest.raises(TypeError, match="has_aux=True"):
        tg.grad(lambda x: x, has_aux=True)(1.0)
    with pytest.raises(ValueError, match="mode='backward'"):
        tg.jacobian(np.sin, mode="backward")


def test_a_number_that_would_lose_its_gradient_is_refused() -> None:
    def into_an_array(x: Any) -> Any:
        z = np.zeros(3)
        z[0] = x[0]
        return np.sum(z)

    for f in (into_an_array, lambda x: math.sin(x[0]), lambda x: float(x[0]) * x[1]):
        with pytest.raises((TypeError, ValueError)) as caught:  # NumPy raises from our error
            tg.grad(f)(X)
        assert "lose its gradient" in str(caught.value.__cause__ or caught.value)
    assert tg.grad(lambda x: x[0] if x[0].item() > 0 and int(x[1]) == 1 else x[1])(X)[0] == 1
    assert float(tg.Value(2.0)) == 2


def test_changing_an_argument_in_place_is_an_error() -> None:
    def item(x: Any) -> Any:
        x[0] = 0.0
        return np.sum(x)

    def data(x: Any) -> Any:
        x.data *= 2
        return np.sum(x)

    with pytest.raises(ValueError, match="copy"):
        tg.grad(item)(X)
    with pytest.raises(ValueError, match="copy"):
        tg.grad(lambda x: tg.grad(item)(x)[1])(X)
    with pytest.raises(ValueError, match="read-only"):
        tg.grad(data)(X)
    x = X.copy()
    with pytest.raises(ValueError, match="copy"):
        tg.grad(item)(x)
    assert (x == X).all()

    def on_a_copy(x: Any) -> Any:
        x = x.copy()
        x[0] = x[1] ** 2
        return np.sum(x)

    close(tg.grad(on_a_copy)(X), [0, 1 + 2 * X[1], 1])


def test_transforms_keep_names_and_docstrings() -> None:
    for transform in (tg.grad, tg.value_and_grad, tg.jacobian, tg.hessian, tg.elementwise_grad):
        assert transform(curved).__name__ == "curved"
    assert copy.copy(tg.grad(curved))(X).shape == (3,)


def test_the_pullback_keeps_the_primals_and_gives_arrays_of_its_own() -> None:
    x, g = np.array([1.0, 2.0]), np.ones(2)
    _, pullback = tg.vjp(lambda x: x**3, x)
    x[:] = 10
    assert pullback(g)[0].tolist() == [3, 12]
    (same,) = tg.vjp(lambda x: x, x)[1](g)
    same[0] = 7
    assert g.tolist() == [1, 1]
    v = tg.Value(x)
    with tg.no_grad():
        a, b = tg.grad(lambda x, y: np.sum(x + y), argnums=(0, 1))(v, v)
    assert not np.shares_memory(a, b)
    value, _ = tg.vjp(lambda x: x[:1], x)
    value[0] = 3.0
    assert x[0] == 10


def test_a_new_value_of_a_variable_would_lose_its_gradient() -> None:
    with pytest.raises(TypeError, match=r"v\.copy\(\)"):
        tg.grad(lambda x: tg.Value(x) ** 2)(2.0)
    with pytest.raises(TypeError, match=r"tg\.array"):
        tg.grad(lambda x: np.sum(tg.Value([[x, x], [x, x]])))(2.0)


def test_settings_pass_through_every_transform() -> None:
    layer = Layer(A, np.ones(2), "first")
    f = lambda layer: Layer(layer.weight * 2, layer.bias, layer.name)
    value, pullback = tg.vjp(f, layer)
    assert value.name == "first"
    close(pullback(layer)[0].weight, 2 * A)
    value, tangent = tg.jvp(f, (layer,), (layer,))
    close(tangent.weight, 2 * A)
    assert tangent.name is None
    for mode in ("reverse", "forward"):
        jacobian = tg.jacobian(f, mode=mode)(layer)
        assert jacobian.name.name is None
        close(jacobian.bias.bias, np.eye(2))
    product = tg.hvp(lambda layer: np.sum(layer.weight**3), (layer,), (layer,))
    close(product.weight, 6 * A * A)
    rows = Layer(np.stack([A, A]), np.ones((2, 2)))
    found = tg.vmap(f)(rows)
    assert found.name == "dense"
    close(found.weight, np.stack([2 * A, 2 * A]))


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_jacobians_between_real_and_complex(mode: str) -> None:
    fourier = np.exp(-2j * np.pi * np.outer(np.arange(3), np.arange(3)) / 3)
    close(tg.jacobian(np.fft.fft, mode=mode)(X), fourier)
    close(tg.jacobian(lambda x: x[0] * 1j + x[1] ** 2, mode=mode)(X), [1j, 2, 0])
    z = X + 1j
    close(tg.jacobian(lambda z: np.abs(z) ** 2, mode=mode)(z), np.diag(2 * np.conj(z)))
    by_x, by_z = tg.jacobian(lambda x, z: x * z, argnums=(0, 1), mode=mode)(X, z)
    close(by_x, np.diag(z))
    close(by_z, np.diag(X.astype(complex)))


def test_containers_kinds_and_positions_must_fit() -> None:
    with pytest.raises(ValueError, match="names an argument twice"):
        tg.grad(lambda x, y: x * y, argnums=(1, -1))(1.0, 2.0)
    with pytest.raises(ValueError, match="containers"):
        tg.jvp(lambda d: d["a"] + d["b"], ({"b": 1.0, "a": 10.0},), ((1.0, 2.0),))
    with pytest.raises(ValueError, match="containers"):
        tg.vjp(lambda x: {"a": x, "b": 2 * x}, X)[1]((X, X))
    with pytest.raises(TypeError, match="must be real"):
        tg.jvp(np.sin, (X,), (1j * X,))
    with pytest.raises(TypeError, match="must be real"):
        tg.vjp(np.sin, X)[1](1j * X)


def test_second_derivatives_by_a_module() -> None:
    model = nn.Linear(3, 1, rng=0)
    x = X.astype(np.float32)
    loss = lambda m: np.sum(m(x) ** 2)
    w, b = model.weight.data, model.bias.data
    by_dict = lambda p: np.sum((x @ p["w"].T + p["b"]) ** 2)
    expected = tg.hessian(by_dict)({"w": w, "b": b})
    found = tg.hessian(loss)(model)
    np.testing.assert_allclose(found.weight.weight.data, expected["w"]["w"], rtol=1e-5)
    np.testing.assert_allclose(found.weight.bias.data, expected["w"]["b"], rtol=1e-5)
    product = tg.hvp(loss, (model,), (model,))
    along = tg.hvp(by_dict, ({"w": w, "b": b},), ({"w": w, "b": b},))
    np.testing.assert_allclose(product.weight.data, along["w"], rtol=1e-5)
    value, tangent = tg.jvp(loss, (model,), (model,))
    assert type(tangent) is np.float32
    np.testing.assert_allclose(tangent, 2 * value, rtol=1e-5)


def test_masked_arrays_are_refused_and_not_unmasked() -> None:
    masked = np.ma.array([1.0, 2.0], mask=[0, 1])
    for transform in (tg.grad, tg.jacobian, tg.hessian, tg.vmap):
        with pytest.raises(TypeError, match="MaskedArray"):
            transform(lambda v: np.sum(v**2))(masked)


# What the caller gets.

M = np.arange(1.0, 7.0).reshape(2, 3)
CONSTANT = np.arange(3.0)
OUTER = tg.Value(np.arange(3.0), requires_grad=False)


def twice(y: Any) -> Any:
    return y, {"again": [y, y]}


STRUCTURES: dict[str, Any] = {
    "itself": lambda x: x,
    "a view": lambda x: x.T[::-1],
    "all of it broadcast": lambda x: np.broadcast_to(x, (2, *x.shape)),
    "itself in a container": lambda x: {"a": x, "b": [x, x.T]},
    "one result several times": lambda x: twice(np.sin(x)),
    "a part": lambda x: (x[0], x[..., 1]),
    "a product": lambda x: x * x,
    "constants": lambda x: (x * 2, tg.Value(CONSTANT, requires_grad=False), OUTER, 3.0),
    "zeros": lambda x: 0 * x + OUTER[:1],
}
TRANSFORMS: dict[str, Any] = {
    "grad": lambda f: tg.grad(lambda x: total(f(x)))(M),
    "value_and_grad": lambda f: tg.value_and_grad(lambda x: (total(f(x)), f(x)), has_aux=True)(M),
    "vjp": lambda f: (lambda y, back: (y, back(y), back(y)))(*tg.vjp(f, M)),
    "vjp of two": lambda f: tg.vjp(lambda x, y: (f(x), f(y)), M, M)[0],
    "jvp": lambda f: tg.jvp(f, (M,), (M,)),
    "jacobian": lambda f: tg.jacobian(f)(M),
    "jacobian forward": lambda f: tg.jacobian(f, mode="forward")(M),
    "jacobian with more": lambda f: tg.jacobian(lambda x: (f(x), f(x)), has_aux=True)(M),
    "hessian": lambda f: tg.hessian(lambda x: total(f(x)))(M),
    "hvp": lambda f: tg.hvp(lambda x: total(f(x)), (M,), (M,)),
    "vmap": lambda f: tg.vmap(f)(STACK),
    "vmap of the last axis": lambda f: tg.vmap(f, in_axes=2, out_axes=-1)(STACK),
    "vmap of jacobian": lambda f: tg.vmap(tg.jacobian(f))(STACK),
    "vmap of vmap": lambda f: tg.vmap(tg.vmap(f))(np.stack([STACK, STACK])),
    "jacobian of vmap": lambda f: tg.jacobian(tg.vmap(f))(STACK),
}
STACK = np.stack([M, M + 1, M, M])


def total(tree: Any) -> Any:
    return sum(np.sum(x * x) for x in flatten(tree)[0])


@pytest.mark.parametrize("f", STRUCTURES.values(), ids=STRUCTURES)
@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_results_are_the_callers_own_and_writable(transform: Any, f: Any) -> None:
    arrays = [x for x in flatten(transform(f))[0] if isinstance(x, np.ndarray)]
    expected = [x.copy() for x in arrays]
    others = [M, STACK, CONSTANT, OUTER.data]
    kept = [x.copy() for x in others]
    for i, x in enumerate(arrays):
        x += 1e3 * (i + 1)  # would be seen in whatever shares it
    for i, (x, old) in enumerate(zip(arrays, expected, strict=True)):
        np.testing.assert_array_equal(x, old + 1e3 * (i + 1))
    for x, old in zip(others, kept, strict=True):
        np.testing.assert_array_equal(x, old)


def test_what_a_vmap_makes_the_same_for_all_is_the_callers_own_too() -> None:
    found = tg.vmap(lambda x: (CONSTANT, OUTER, x), out_axes=(None, None, 0))(M)
    for x in found:
        x += 1
    np.testing.assert_array_equal(CONSTANT, np.arange(3.0))
    np.testing.assert_array_equal(OUTER.data, np.arange(3.0))


NUMBERS: dict[str, Any] = {
    "grad": lambda f, x: tg.grad(f)(x),
    "value_and_grad": lambda f, x: tg.value_and_grad(f)(x),
    "grad of grad": lambda f, x: tg.grad(tg.grad(f))(x),
    "grad of grad of grad": lambda f, x: tg.grad(tg.grad(tg.grad(f)))(x),
    "elementwise_grad": lambda f, x: tg.elementwise_grad(f)(x),
    "jacobian": lambda f, x: tg.jacobian(f)(x),
    "jacobian forward": lambda f, x: tg.jacobian(f, mode="forward")(x),
    "hessian": lambda f, x: tg.hessian(f)(x),
    "hessian of grad": lambda f, x: tg.hessian(tg.grad(f))(x),
    "hvp": lambda f, x: tg.hvp(f, (x,), (x,)),
    "jvp": lambda f, x: tg.jvp(f, (x,), (x,)),
    "jvp of grad": lambda f, x: tg.jvp(tg.grad(f), (x,), (x,)),
    "vjp": lambda f, x: (tg.vjp(f, x)[0], tg.vjp(f, x)[1](x)),
}
OF_A_NUMBER: dict[str, Any] = {
    "a power": lambda x: x**2.0,
    "a slope of 0": lambda x: 3 * x,
    "a constant": lambda x: np.float64(4.0),
    "a step": np.sign,
    "a sum of one": lambda x: np.sum(np.stack([x, x])),
}


@pytest.mark.parametrize("f", OF_A_NUMBER.values(), ids=OF_A_NUMBER)
@pytest.mark.parametrize("transform", NUMBERS.values(), ids=NUMBERS)
def test_derivatives_by_a_number_are_numpy_scalars_at_every_order(transform: Any, f: Any) -> None:
    for x in (0.0, np.float64(0.0), np.array(0.0)):
        found = transform(f, x)
        for y in found if isinstance(found, tuple) else (found,):
            assert type(flatten(y)[0][0]) is np.float64


WITHOUT_SLOPE: dict[str, Any] = {
    "a comparison": lambda x: x > 0,
    "a number of NumPy's": lambda x: np.argmax(x),
    "its method": lambda x: np.sin(x).argmax(),
    "a conversion": lambda x: x.astype(int),
    "a count": lambda x: np.sum(x > 0),
    "an array": lambda x: np.arange(3),
    "Python's own": lambda x: True,
}
DERIVATIVES: dict[str, Any] = {
    "grad": lambda f: tg.grad(f)(2.0),
    "value_and_grad": lambda f: tg.value_and_grad(f)(2.0),
    "elementwise_grad": lambda f: tg.elementwise_grad(f)(2.0),
    "hessian": lambda f: tg.hessian(f)(2.0),
    "hvp": lambda f: tg.hvp(f, (2.0,), (2.0,)),
    "vjp": lambda f: tg.vjp(f, 2.0),
    "jvp": lambda f: tg.jvp(f, (2.0,), (1.0,)),
    "jacobian": lambda f: tg.jacobian(f)(2.0),
    "jacobian forward": lambda f: tg.jacobian(f, mode="forward")(2.0),
    "vmap of grad": lambda f: tg.vmap(tg.grad(f))(X),
    "a part of a vjp": lambda f: tg.vjp(lambda x: {"a": x, "b": [np.asarray(f(x))]}, 2.0),
}


@pytest.mark.parametrize("f", WITHOUT_SLOPE.values(), ids=WITHOUT_SLOPE)
@pytest.mark.parametrize("transform", DERIVATIVES.values(), ids=DERIVATIVES)
def test_integers_and_booleans_have_no_derivative_not_a_silent_0(transform: Any, f: Any) -> None:
    with pytest.raises(TypeError, match="carries no gradient"):
        transform(f)
