"""checkpoint and custom_vjp: nodes that bring their own backward pass."""

from __future__ import annotations

import gc
import math
import tracemalloc
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.special

import tensorgrad as tg
from tensorgrad import nn

X = np.array([0.3, 1.0, 2.0])


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def bump(x: Any) -> Any:
    return np.sin(x) * np.exp(-x) + x**2


# checkpoint


def test_a_checkpoint_changes_no_derivative_of_any_order_or_mode() -> None:
    f = tg.checkpoint(bump)
    plain, forgetful = lambda x: np.sum(bump(bump(x))), lambda x: np.sum(f(f(x)))
    for transform in (
        tg.grad,
        tg.hessian,
        lambda f: tg.jacobian(f, mode="forward"),
        lambda f: tg.grad(lambda x: tg.grad(lambda y: tg.grad(f)(y)[0])(x)[0]),
    ):
        close(transform(forgetful)(X), transform(plain)(X))
    rows = np.stack([X, 2 * X])
    close(tg.vmap(tg.grad(forgetful))(rows), tg.vmap(tg.grad(plain))(rows))


def test_a_checkpointed_layer_reaches_its_own_parameters() -> None:
    layers = [nn.Linear(3, 3, rng=i) for i in range(3)]
    found = []
    for wrap in (lambda f: f, tg.checkpoint):
        x = tg.Value(X.astype(np.float32))
        h = x
        for layer in layers:
            h = wrap(lambda h, layer=layer: np.tanh(layer(h)))(h)
        h.sum().backward()
        found.append([x.grad, *(p.grad for layer in layers for p in layer.parameters())])
        for layer in layers:
            layer.zero_grad()
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_may_return_containers_and_take_anything() -> None:
    f = lambda tree, flag, scale=1.0: ({"y": scale * tree["a"] * tree["b"][0]}, tree["a"].sum(), 3)
    loss = lambda tree, f: f(tree, True, scale=2.0)[0]["y"].sum() * f(tree, True)[1]
    tree = {"a": X, "b": [2.0]}
    found, expected = (tg.grad(loss)(tree, g) for g in (tg.checkpoint(f), f))
    close(found["a"], expected["a"])
    close(found["b"][0], expected["b"][0])
    assert tg.checkpoint(lambda x: 3.0)(X) == 3
    assert type(tg.checkpoint(np.sin)(X)) is np.ndarray


def test_a_checkpoint_of_float32_and_complex_results() -> None:
    f = tg.checkpoint(lambda x: (np.sin(x), np.exp(1j * x)))
    loss = lambda x: np.sum(np.real(f(x)[0] * np.conj(f(x)[1])))
    close(tg.grad(loss)(X), np.cos(X) * np.cos(X) - np.sin(X) ** 2)
    single = tg.checkpoint(np.sin)(tg.Value(X.astype(np.float32)))
    assert single.dtype == np.float32


def activations(wrap: Any, layers: int = 64, width: int = 256, batch: int = 64) -> int:
    """Bytes held between the forward and the backward of a deep network."""
    rng = np.random.default_rng(0)
    weights = [tg.Value(rng.normal(size=(width, width)) / width**0.5) for _ in range(layers)]
    x = tg.Value(rng.normal(size=(batch, width)))

    def block(x: Any, ws: Any) -> Any:
        for w in ws:
            x = np.tanh(x @ w) + x
        return x

    gc.collect()
    tracemalloc.start()
    h = x
    for i in range(0, layers, 8):
        h = wrap(lambda h, ws=weights[i : i + 8]: block(h, ws))(h)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    h.sum().backward()
    assert all(w.grad is not None for w in weights)
    return held


def test_checkpoints_hold_under_a_quarter_of_the_activations() -> None:
    assert activations(tg.checkpoint) < 0.25 * activations(lambda f: f)


# custom_vjp


@pytest.fixture
def product() -> Any:
    """sin(x) y, with its gradient by hand."""

    @tg.custom_vjp
    def f(x: Any, y: Any = 1.0) -> Any:
        return np.sin(x) * y

    f.defvjp(
        lambda x, y: (f(x, y), (x, y)), lambda r, g: (g * np.cos(r[0]) * r[1], g * np.sin(r[0]))
    )
    return f


def test_a_custom_gradient_is_used_at_every_order(product: Any) -> None:
    assert product(0.3, 2.0) == 2 * np.sin(0.3)
    close(tg.grad(product, (0, 1))(0.3, 2.0), (2 * np.cos(0.3), np.sin(0.3)))
    close(tg.grad(tg.grad(product))(0.3, 2.0), -2 * np.sin(0.3))
    close(tg.grad(tg.grad(tg.grad(product)))(0.3, 2.0), -2 * np.cos(0.3))
    close(tg.hessian(product, (0, 1))(0.3, 2.0)[0][1], np.cos(0.3))
    close(tg.jvp(product, (0.3, 2.0), (1.0, 1.0))[1], 2 * np.cos(0.3) + np.sin(0.3))
    close(tg.vmap(tg.grad(product))(X, X), X * np.cos(X))
    close(tg.vmap(tg.grad(tg.grad(product)))(X, X), -X * np.sin(X))
    close(tg.grad(lambda x: product(x))(0.3), np.cos(0.3))
    close(tg.grad(lambda x: product(y=x, x=1.0))(0.3), np.sin(1.0))


def test_a_clipped_gradient_is_not_the_true_one() -> None:
    @tg.custom_vjp
    def clipped(x: Any, low: float, high: float) -> Any:
        return x

    clipped.nondiff_argnums = (1, 2)
    clipped.defvjp(lambda x, low, high: (x, None), lambda low, high, _, g: (np.clip(g, low, high),))
    assert tg.grad(lambda x: 100 * clipped(x, -1.0, 2.0))(3.0) == 2


def test_opaque_forwards_and_containers() -> None:
    @tg.custom_vjp
    def f(p: Any) -> Any:
        return {"out": np.array(p["a"].data if isinstance(p["a"], tg.Value) else p["a"]) ** 2}

    f.defvjp(
        lambda p: (f({"a": p["a"], "b": 0}), p["a"]),
        lambda a, g: ({"a": 2 * a * g["out"], "b": None},),
    )
    with pytest.raises(TypeError, match="gradients for an argument"):
        tg.grad(lambda p: f(p)["out"].sum())({"a": X, "b": 1.0})
    f.bwd = lambda a, g: ({"a": 2 * a * g["out"], "b": 0.0},)
    found = tg.grad(lambda p: f(p)["out"].sum())({"a": X, "b": 1.0})
    close(found["a"], 2 * X)
    assert found["b"] == 0


def newton_root(a: Any) -> Any:
    """√a, by steps until they do nothing: a loop that looks at the numbers."""
    x = 1.0
    while abs(x * x - a) > 1e-14 * a:
        x = (x + a / x) / 2
    return x


@pytest.fixture
def root() -> Any:
    f = tg.custom_vjp(newton_root)

    def bwd(x: Any, g: Any) -> Any:
        step = newton_root(np.asarray(float(tg.stop_gradient(x)) ** 2))  # looks at the numbers too
        return (g / (2 * x) * (float(step) / float(tg.stop_gradient(x))),)

    f.defvjp(lambda a: (f(a),) * 2, bwd)
    return f


def test_a_backward_pass_may_look_at_the_numbers(root: Any) -> None:
    close(tg.grad(root)(4.0), 0.25)
    close(tg.hessian(root)(4.0), -1 / 32)
    rows = lambda a: np.stack([root(a[0]) * a[1], root(a[1]), a[0]])
    close(tg.jacobian(rows)(np.array([4.0, 9.0])), [[9 / 4, 2], [0, 1 / 6], [1, 0]])


def test_a_backward_pass_may_use_transforms() -> None:
    """c' = √(1 - sin²), by a vjp inside of bwd, differentiated again."""

    @tg.custom_vjp
    def c(b: Any) -> Any:
        return np.sin(b)

    def bwd(r: Any, g: Any) -> Any:
        return tg.vjp(lambda t: t, r[1])[1](g * np.sqrt(1 - r[0] ** 2))

    c.defvjp(lambda b: (c(b), (c(b), b)), bwd)
    close(tg.grad(tg.grad(c))(0.3), -np.sin(0.3))
    close(tg.grad(tg.grad(tg.grad(c)))(0.3), -np.cos(0.3))


def test_mistakes_are_named(product: Any) -> None:
    w = tg.Value(2.0)

    @tg.custom_vjp
    def closing(x: Any) -> Any:
        return w * x

    with pytest.raises(TypeError, match="closing has no gradient yet"):
        closing(1.0)
    closing.defvjp(lambda x: (w * x, None), lambda r, g: (g,))
    with pytest.raises(ValueError, match="closing reads a Value"):
        tg.grad(closing)(1.0)
    product.bwd = lambda r, g: g
    with pytest.raises(TypeError, match="tuple of 2"):
        tg.grad(product)(0.3, 2.0)
    product.bwd = lambda r, g: (np.ones(7), g)
    with pytest.raises(ValueError, match=r"must have shapes"):
        tg.grad(product)(0.3, 2.0)


def test_arguments_of_custom_vjp_are_bound_by_name_and_position() -> None:
    @tg.custom_vjp
    def f(x: Any, *, k: float = 2.0) -> Any:
        return k * x

    f.defvjp(lambda x: (2 * x, None), lambda r, g: (g,))
    with pytest.raises(TypeError, match="by keyword only"):
        f(3.0, k=5.0)
    g = tg.custom_vjp(lambda x, **settings: settings["k"] * x)
    g.defvjp(lambda x: (2 * x, None), lambda r, g: (g,))
    with pytest.raises(TypeError, match="by keyword only"):
        g(tg.Value(3.0), k=5.0)

    def scaled(x: Any, k: float) -> Any:
        return k * x

    h = tg.custom_vjp(scaled, nondiff_argnums=(-1,))
    h.defvjp(lambda x, k: (k * x, None), lambda k, r, g: (k * g,))
    assert tg.grad(h)(3.0, 5.0) == 5


def test_a_checkpoint_notices_data_that_were_replaced() -> None:
    w = tg.Value(2.0)
    y = tg.checkpoint(lambda x: w * x)(tg.Value(3.0))
    w.data = 5.0
    with pytest.raises(RuntimeError, match="changed since"):
        y.backward()


@pytest.mark.parametrize("wrap", ["checkpoint", "custom_vjp"])
def test_own_backward_passes_leave_no_cycles(wrap: str) -> None:
    def once() -> None:
        f: Any = tg.checkpoint(np.sin)
        if wrap == "custom_vjp":
            f = tg.custom_vjp(lambda x: np.sin(x))
            f.defvjp(lambda x: (np.sin(x), x), lambda x, g: (g * np.cos(x),))
        tg.hvp(lambda x: np.sum(f(x) * x), (X,), (X,))
        tg.grad(lambda x: np.sum(f(x) * x))(X)

    once()
    gc.collect()
    gc.disable()
    try:
        once()
        assert gc.collect() == 0
    finally:
        gc.enable()


# Functions of every kind.


def damped(x: Any, k: float = 0.5) -> Any:
    return np.sin(x) * k


class Damped:
    """An object that is called, with attributes that are named as those of a `custom_vjp`."""

    def __init__(self) -> None:
        self.name, self.fwd, self.value, self.forward, self.by_position = "mine", 1, 0.5, 2, 3

    def __call__(self, x: Any) -> Any:
        return damped(x, self.value)


class DampedModule(nn.Module):
    def forward(self, x: Any) -> Any:
        return damped(x)


FUNCTIONS: dict[str, Any] = {
    "a ufunc": np.sin,
    "a function of NumPy's": np.sinc,
    "one of several arguments": np.sum,
    "a ufunc of SciPy's": scipy.special.expit,
    "a partial function": partial(damped, k=0.25),
    "a partial ufunc": partial(np.multiply, 0.5),
    "an object": Damped(),
    "a method": Damped().__call__,
    "a Module": DampedModule(),
    "a builtin": abs,
    "a function with a default": damped,
}
WITHOUT_A_RULE: dict[str, Any] = {
    "a ufunc of SciPy's": scipy.special.zetac,
    "a partial one": partial(scipy.special.eval_legendre, 0.5),
    "a function that calls one": lambda x: scipy.special.zetac(x) + 1,
}
WITHOUT_ARRAYS: dict[str, Any] = {
    "a function of math": math.sin,
    "a class": float,
    "a builtin without a signature": math.log,
    "a vectorized one": np.vectorize(math.erf),
}


@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS)
def test_a_checkpoint_of_any_kind_of_function(f: Any) -> None:
    g = tg.checkpoint(f)
    assert g(2.0) == f(2.0)
    for transform in (tg.grad, tg.hessian):
        close(transform(g)(2.0), transform(f)(2.0))
    x = tg.Value(2.0)
    g(x).backward()
    close(x.grad, tg.grad(f)(2.0))


@pytest.mark.parametrize(
    "f",
    [*FUNCTIONS.values(), *WITHOUT_A_RULE.values(), *WITHOUT_ARRAYS.values()],
    ids=[*FUNCTIONS, *WITHOUT_A_RULE, *WITHOUT_ARRAYS],
)
def test_a_custom_gradient_of_any_kind_of_function(f: Any) -> None:
    mine = tg.custom_vjp(f)
    mine.defvjp(lambda x: (mine(x), x), lambda x, g: (g * x**2,))
    assert mine(2.0) == f(2.0)
    close(tg.value_and_grad(mine)(2.0), (f(2.0), 4.0))
    close(tg.hessian(mine)(2.0), 4.0)
    close(tg.jvp(mine, (2.0,), (10.0,)), (f(2.0), 40.0))
    x = tg.Value(2.0)
    (mine(x) * 3).backward()
    close(x.grad, 12.0)
    with tg.no_grad():
        close(np.asarray(mine(x)), f(2.0))
    if f not in WITHOUT_ARRAYS.values():
        close(tg.vmap(tg.grad(mine))(X), X**2)


def test_what_a_function_without_a_rule_reads_besides_its_arguments_is_not_lost_in_silence() -> (
    None
):
    w = tg.Value(2.0)
    mine = tg.custom_vjp(lambda x: scipy.special.zetac(w) * x)
    mine.defvjp(lambda x: (mine(x), x), lambda x, g: (g,))
    with pytest.raises(TypeError, match="zetac has no gradient rule"):
        tg.grad(mine)(1.0)
    mine.f, mine.fwd = (lambda x: x), (lambda x: (x, scipy.special.zetac(x)))
    with pytest.raises(TypeError, match="zetac has no gradient rule"):  # fwd is differentiated
        tg.grad(mine)(1.0)


def test_a_builtin_that_does_not_tell_its_arguments_takes_them_by_position() -> None:
    mine = tg.custom_vjp(max)
    mine.defvjp(lambda a, b: (mine(a, b), None), lambda r, g: (g, 0 * g))
    assert tg.grad(mine, (0, 1))(1.0, 2.0) == (1.0, 0.0)
    with pytest.raises(TypeError, match="max takes its arguments by position only"):
        mine(1.0, 2.0, key=None)
