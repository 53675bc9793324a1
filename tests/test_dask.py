"""Dask's arrays: lazy, in chunks. Nothing is computed before the user does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.nn import functional as F

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
rng = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return rng.uniform(0.2, 0.8, shape)


X, Y = draw(4, 3), draw(4, 3)


def refuse(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("computed before the user did")


def chunked(x: Any) -> Any:
    return da.from_array(x, chunks=(2,) * x.ndim)


T, W, B = draw(4, 2), draw(2, 3), draw(2)
LOSSES: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "a network": (lambda x, w, b, t: ((np.tanh(x @ w.T + b) - t) ** 2).mean(), [X, W, B, T]),
    "cross-entropy": (lambda x, w, b, t: F.cross_entropy(F.linear(x, w, b), t), [X, W, B, T]),
    "binary cross-entropy": (lambda x: F.binary_cross_entropy(x, x * x), [X]),
    "logits": (lambda x, y: F.binary_cross_entropy_with_logits(F.relu(x), y), [X, Y]),
    "quadratic": (lambda x, y: F.quadratic(F.sigmoid(x), F.softplus(y)), [X, Y]),
    "softmax": (lambda x: (F.softmax(x) * F.log_softmax(x, dim=0)).sum(), [X]),
    "extrema": (lambda x, y: x.max(axis=0).sum() + np.maximum(x, y).min(), [X, Y]),
    "variance": (lambda x: x.var(axis=0).sum() + x.std(), [X]),
    "slices": (lambda x: (x[1:, ::-1] ** 2).sum() + x[0, 1], [X]),
    "products": (lambda x: x.prod(axis=0).sum() + (x.cumsum(axis=1) ** 2).sum(), [X]),
    "joins": (lambda x, y: (np.concatenate([x, y]) * np.stack([x, y]).reshape(8, 3)).sum(), [X, Y]),
    "where": (lambda x: np.where(x > 0.5, x, x * x).sum() + np.tril(x).sum(), [X]),
    "einsum": (lambda x, w: np.einsum("ij,kj->ik", x, w).max(), [X, W]),
    "norm": (lambda x: np.linalg.norm(x), [X]),
    "a Hessian-vector product": (
        lambda x: (tg.grad(lambda y: (np.tanh(y) * y).sum())(x) ** 2).sum(),
        [X],
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_of_a_chunked_array_is_lazy_and_numpys(name: str) -> None:
    f, xs = LOSSES[name]
    expected = tg.grad(f, argnums=tuple(range(len(xs))))(*xs)
    with dask.config.set(scheduler=refuse):
        values = [Value(chunked(x)) for x in xs]
        f(*values).backward()
        again = tg.grad(f, argnums=tuple(range(len(xs))))(*map(chunked, xs))
    for v, g, e in zip(values, again, expected):
        assert isinstance(v.grad, da.Array)
        np.testing.assert_allclose(v.grad.compute(), e, rtol=1e-12)
        np.testing.assert_allclose(g.compute(), e, rtol=1e-12)


def test_what_nobody_asks_for_adds_0_in_chunks_too() -> None:
    x = np.array([0.0, 1.0, 4.0])
    with dask.config.set(scheduler=refuse):
        v = Value(da.from_array(x, chunks=2))
        np.where(v > 0, np.sqrt(v), 0).sum().backward()
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(v.grad.compute(), [0, 0.5, 0.25])


def test_unknown_sizes() -> None:
    keep = X[:, 0] > np.median(X[:, 0])
    with dask.config.set(scheduler=refuse):
        x = chunked(X)
        rows, w = x[x[:, 0] > np.median(X[:, 0])], Value(da.from_array(W))
        ((rows @ w.T) ** 2).sum().backward()
        with pytest.raises(ValueError, match="not known yet"):
            (rows @ w.T).mean().backward()
    np.testing.assert_allclose(
        w.grad.compute(), tg.grad(lambda w: ((X[keep] @ w.T) ** 2).sum())(W), rtol=1e-12
    )


def test_the_user_computes_at_the_border() -> None:
    with dask.config.set(scheduler=refuse):
        v = Value(chunked(X))
        assert repr(v.sum()).startswith("Value(dask.array<")
    assert v.sum().item() == v.detach().sum().data.compute() == float(v.sum())
    np.testing.assert_array_equal(np.asarray(v.detach()), X)


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda v: np.sort(v, axis=0), "sort"),
        (lambda v: v[np.array([0, 0, 1])].sum().backward(), "scatter_add"),
    ],
)
def test_what_dask_cannot_do_is_named(f: Callable[..., Any], name: str) -> None:
    with (
        dask.config.set(scheduler=refuse),
        pytest.raises((TypeError, NotImplementedError), match=name),
    ):
        f(Value(chunked(X)))
