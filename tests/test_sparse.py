"""Sparse operands: their gradients are those of the dense computation, where there are entries."""

from __future__ import annotations

import importlib.util
import operator
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import Value

sp = pytest.importorskip("scipy.sparse")
from scipy.sparse import linalg as sla  # noqa: E402

from tensorgrad.scipy.sparse import coo_array, csc_array, csr_array  # noqa: E402
from tensorgrad.scipy.sparse import linalg as ours  # noqa: E402


def coo(a: Any) -> Any:
    return pytest.importorskip("sparse").COO.from_numpy(a)


def gcxs(a: Any) -> Any:
    sparse, s = pytest.importorskip("sparse"), sp.csr_array(a)  # its own way compiles, for seconds
    return sparse.GCXS((s.data, s.indices, s.indptr), shape=s.shape, compressed_axes=(0,))


rng = np.random.default_rng(0)
LAYOUTS = {"csr": sp.csr_array, "csc": sp.csc_array, "COO": coo, "GCXS": gcxs}
HERE = [n for n in LAYOUTS if n[0] == "c" or importlib.util.find_spec("sparse")]
SLOW = pytest.param("GCXS", marks=pytest.mark.nightly)  # compiles its checks, for seconds
every_layout = pytest.mark.parametrize("layout", ["csr", "csc", "COO", SLOW])


def matrix(n: int = 5, m: int = 4, share: float = 0.4, of: Any = rng) -> Any:
    """Random, and mostly 0."""
    return np.where(of.random((n, m)) < share, of.normal(size=(n, m)), 0.0)


def dense(x: Any) -> Any:
    x = Value(x, requires_grad=False).todense()
    return x.data


D, X, Y = matrix(), rng.normal(size=4), rng.normal(size=5)
W, Z = rng.normal(size=(4, 3)), rng.normal(size=(5, 4))
SMALL = np.array([[2.0, 0.0], [0.0, 0.0]])

EXPRESSIONS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "A @ x": lambda a, x, y, z: (a @ x) ** 2,
    "y @ A": lambda a, x, y, z: np.sin(y @ a),
    "A.T @ y": lambda a, x, y, z: (a.T @ y) * x,
    "A @ matrix": lambda a, x, y, z: a @ np.sin(z.T),
    "matrix @ A": lambda a, x, y, z: (z.T @ a) ** 2,
    "A @ stack": lambda a, x, y, z: a @ np.stack([z.T, z.T**2]),
    "stack @ A": lambda a, x, y, z: np.stack([z.T, z.T**2]) @ a,
    "A * row": lambda a, x, y, z: np.sum((a * x) ** 2, axis=0) * x,
    "column * A": lambda a, x, y, z: np.sum(y[:, None] * a, axis=1) * y,
    "A * matrix / matrix": lambda a, x, y, z: (a * z / (2 + z**2)).sum(),
    "A * 3 - A / 2": lambda a, x, y, z: (a * 3 - a / 2) @ x,
    "A * A": lambda a, x, y, z: (a * a) @ x,
    "A + A.T.T": lambda a, x, y, z: (a + a.T.T - 0.5 * a) @ x,
    "A @ A.T": lambda a, x, y, z: (a @ a.T) @ y,
    "sin, sqrt": lambda a, x, y, z: np.sin(a) @ x + np.sqrt(np.abs(a)) @ x,
    "A ** 3": lambda a, x, y, z: (a**3) @ x,
    "sum": lambda a, x, y, z: np.sum(a) * x + a.sum(axis=0, keepdims=True),
    "mean": lambda a, x, y, z: np.mean(a) * y + a.mean(axis=1),
    "rows": lambda a, x, y, z: a[1:4] @ x,
    "chosen rows": lambda a, x, y, z: a[[0, 2, 2]] @ x,
    "an entry": lambda a, x, y, z: a[0, 1] * x,
    "chosen entries": lambda a, x, y, z: a[[0, 2, 2], [1, 3, 3]] ** 2 * 3,
    "entries of a mask": lambda a, x, y, z: a[D > 0.2] ** 2,
    "concatenate": lambda a, x, y, z: np.concatenate([a, 2 * a]) @ x,
    "one row after another": lambda a, x, y, z: np.concatenate([a[0], a[2]]).todense() ** 2,
    "side by side": lambda a, x, y, z: np.concatenate([a, a * a], axis=1).sum(axis=1) * y,
    "A * list": lambda a, x, y, z: (a * [1.0, 2.0, 3.0, 4.0] / [[2.0]] * 5) @ x,
    "reshape": lambda a, x, y, z: a.reshape(4, 5) @ y,
    "norm": lambda a, x, y, z: np.linalg.norm(a) * x,
    "todense": lambda a, x, y, z: a.todense() + z,
    "linear": lambda a, x, y, z: tg.nn.functional.linear(a, z, y),
}


def agree(name: str, layout: str, a: Any, x: Any, y: Any, z: Any) -> None:
    """Value and gradients of an expression are those of the dense computation."""
    f = EXPRESSIONS[name]
    s = LAYOUTS[layout](a)
    found = [Value(s), *map(Value, (x, y, z))]
    expected = [Value(a), *map(Value, (x, y, z))]
    out, right = f(*found), f(*expected)
    np.testing.assert_allclose(dense(out), right.data, atol=1e-12)
    (out * 1.0).sum().backward()
    right.sum().backward()
    stored = np.zeros(a.size, bool)
    kept = found[0].data
    stored[np.flatnonzero(a)] = True
    for v, w in zip(found[1:], expected[1:]):
        assert (v.grad is None) == (w.grad is None)
        if w.grad is not None:
            np.testing.assert_allclose(v.grad, w.grad, atol=1e-10)
    g = found[0].grad
    assert type(g) is type(kept)
    assert len(g.data) == len(kept.data) == np.count_nonzero(a)
    np.testing.assert_allclose(dense(g), np.where(stored.reshape(a.shape), expected[0].grad, 0))


@pytest.mark.parametrize("name", EXPRESSIONS)
@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_gradients_are_those_of_the_dense_computation(layout: str, name: str) -> None:
    agree(name, layout, D, X, Y, Z)


@pytest.mark.parametrize("layout", ["COO", SLOW])
def test_of_pydata_too(layout: str) -> None:
    pytest.importorskip("sparse")
    for name in EXPRESSIONS:
        agree(name, layout, D, X, Y, Z)


@given(st.data())
def test_of_any_pattern(data: st.DataObject) -> None:
    of = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    a = matrix(5, 4, data.draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])), of)
    layout = data.draw(st.sampled_from([n for n in HERE if n != "GCXS"]))
    names = sorted(EXPRESSIONS.keys() - {"norm", "sin, sqrt"})
    name = data.draw(st.sampled_from(names))
    agree(name, layout, a, of.normal(size=4), of.normal(size=5), of.normal(size=(5, 4)))


@pytest.mark.parametrize("form", ["array", "matrix"])
@pytest.mark.parametrize("layout", ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"])
def test_constants_of_scipy_multiply_values(layout: str, form: str) -> None:
    s = getattr(sp, f"{layout}_{form}")(D)
    for f in (lambda a, x: a @ x, lambda a, x: x @ a.T, lambda a, x: np.matmul(a, x)):
        g = tg.grad(lambda x, f=f: np.sum(f(s, x) ** 2))(X)
        np.testing.assert_allclose(g, 2 * D.T @ D @ X)
    times = tg.grad(lambda x: np.sum((s * x) ** 2))(X)  # of matrices a product of matrices
    expected = 2 * D.T @ D @ X if form == "matrix" else 2 * np.sum(D**2, axis=0) * X
    np.testing.assert_allclose(times, expected)
    held = Value(s)
    assert held.data.format == ("csc" if layout == "csc" else "csr")
    np.testing.assert_array_equal(held.todense().data, D)


@every_layout
def test_a_least_squares_fit_to_sparse_data(layout: str) -> None:
    s, w = LAYOUTS[layout](D), Value(np.zeros(4))
    ((s @ w - Y) ** 2).mean().backward()
    np.testing.assert_allclose(w.grad, -2 / 5 * D.T @ Y)


@every_layout
def test_derivatives_of_derivatives(layout: str) -> None:
    s = LAYOUTS[layout](D)

    def f(a: Any) -> Any:
        return np.sum((a @ X) ** 3)

    stored = D != 0
    product = tg.hvp(f, (s,), (s,))
    np.testing.assert_allclose(dense(product), stored * tg.hvp(f, (D,), (D,)))
    np.testing.assert_allclose(tg.jvp(lambda a: a @ X, (s,), (s,))[1], D @ X)
    np.testing.assert_allclose(dense(tg.jvp(lambda a: a * X, (s,), (s,))[1]), D * X)
    np.testing.assert_allclose(dense(tg.vjp(lambda a: a * X, s)[1](s)[0]), D * X)
    np.testing.assert_allclose(tg.hessian(lambda x: np.sum((s @ x) ** 2))(X), 2 * D.T @ D)
    if layout[0] == "c":  # PyData's own product compiles, for seconds
        tg.testing.check_grads(lambda x: s @ x, X)
    v = Value(s)
    f(v).backward(create_graph=True)
    (v.grad * v.grad).sum().backward()
    w = Value(D)
    f(w).backward(create_graph=True)
    (np.where(stored, w.grad, 0) ** 2).sum().backward()
    np.testing.assert_allclose(dense(v.grad), stored * w.grad.data)


def test_examples_are_further_columns() -> None:
    s, xs = sp.csr_array(D), rng.normal(size=(6, 4))
    np.testing.assert_allclose(tg.vmap(lambda x: s @ x)(xs), xs @ D.T)
    g = tg.vmap(tg.grad(lambda x: np.sum((s @ x) ** 2)))(xs)
    np.testing.assert_allclose(g, 2 * xs @ D.T @ D)
    with pytest.raises(NotImplementedError, match="inside vmap the entries"):
        tg.vmap(tg.grad(lambda x: np.sum(Value(s) * x)))(xs)


@every_layout
def test_an_entry_of_0_is_stored_and_stays(layout: str) -> None:
    v = Value(LAYOUTS[layout](D))
    for factor in (1.0, -1.0):
        (factor * (v @ X)).sum().backward()
    assert len(v.grad.data) == np.count_nonzero(D)
    np.testing.assert_allclose(v.grad.data, 0, atol=1e-15)
    zeros = (v - v) * np.zeros(4)
    assert len(zeros.data.data) == np.count_nonzero(D)
    zeros.sum().backward()


def test_what_is_not_stored_adds_0() -> None:
    with np.errstate(all="ignore"):
        x = Value(np.array([1.0, 0.0]))
        (sp.csr_array(SMALL) @ np.log(x)).sum().backward()  # log 0 meets no entry
        np.testing.assert_array_equal(x.grad, [2.0, 0.0])
        x = Value(np.array([1.0, 2.0]))
        out = sp.csr_array(np.array([[np.inf, 0.0], [1.0, 2.0]])) @ x
        out[1].backward()  # nobody asks for the infinity
        np.testing.assert_array_equal(x.grad, [1.0, 2.0])
        a = Value(sp.csr_array(np.array([[1.0, 0.0], [1.0, 1.0]])))
        (a @ np.array([np.inf, 2.0]))[np.array([False, False])].sum().backward()
        np.testing.assert_array_equal(a.grad.data, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.complex64, np.complex128])
def test_dtypes_stay(dtype: Any) -> None:
    a = D.astype(dtype) * (1 + (0.5j if np.dtype(dtype).kind == "c" else 0))
    s = sp.csr_array(a)
    v, x = Value(s), Value(X.astype(dtype))
    out = v @ x
    assert out.dtype == dtype
    np.abs(out).sum().backward()
    w, y = Value(a), Value(X.astype(dtype))
    np.abs(w @ y).sum().backward()
    assert v.grad.dtype == x.grad.dtype == dtype
    np.testing.assert_allclose(x.grad, y.grad, rtol=1e-5)
    np.testing.assert_allclose(dense(v.grad), np.where(a != 0, w.grad, 0), rtol=1e-5)
    real = Value(sp.csr_array(D))
    (real @ (1j * X)).imag.sum().backward()
    np.testing.assert_allclose(dense(real.grad), (D != 0) * X)


@every_layout
def test_something_dense_is_refused(layout: str) -> None:
    v = Value(LAYOUTS[layout](D))
    calls = [
        *(lambda f=f: f(v) for f in (np.exp, np.cos, np.max, np.cumsum, np.linalg.svd, np.asarray)),
        *(lambda x=x: v + x for x in (1.0, X, Z)),
        lambda: 1 / v,
        lambda: v**0,
        lambda: X @ v,
        lambda: v @ Y,
        lambda: v.backward(),
        lambda: float(v),
        lambda: v.sum(axis=2),
        lambda: v.mean(axis=(0, -2)),
        *(lambda axis=axis: np.concatenate([v, v], axis=axis) for axis in (2, -3, None)),
        lambda: np.concatenate([v, v[0]]),
        lambda: np.take(v, [0, 1], axis=0),
        lambda: v.to("cupy"),
    ]
    for call in calls:
        with pytest.raises((NotImplementedError, TypeError, ValueError)):
            call()
    with pytest.raises(NotImplementedError, match=r"v\.todense\(\)"):
        np.exp(v)
    with pytest.raises(ValueError, match=r"shapes \[5, 4\] and \[5\]"):
        v @ Y


@every_layout
def test_a_gradient_is_set_of_numbers_and_of_dense_and_sparse_arrays(layout: str) -> None:
    v, stored = Value(LAYOUTS[layout](D)), D != 0
    two = np.full_like(D, 2.0)
    for g in (2.0, two, sp.csr_array(two), LAYOUTS[layout](two)):
        v.grad = g
        np.testing.assert_array_equal(dense(v.grad) * stored, two * stored)
    with pytest.raises(ValueError, match=r"of shape \(2, 2\) for .* of shape \(5, 4\)"):
        v.grad = LAYOUTS[layout](SMALL)
    with pytest.raises(NotImplementedError, match="check_grads of sparse arrays"):
        tg.testing.check_grads(lambda a: (a @ X).sum(), v)


def test_three_axes() -> None:
    sparse = pytest.importorskip("sparse")
    a = matrix(12, 5).reshape(3, 4, 5)
    for f in (
        lambda a: (a @ Y) ** 2,
        lambda a: (a * a.sum(axis=0) + a).sum(axis=(0, 2)) ** 2,
        lambda a: np.transpose(a * 2, (2, 0, 1)).sum(axis=0) ** 2,
        lambda a: (a.reshape(12, 5) @ Y) ** 2,
    ):
        v, w = Value(sparse.COO.from_numpy(a)), Value(a)
        np.testing.assert_allclose(f(v).data, f(w).data)
        f(v).sum().backward()
        f(w).sum().backward()
        np.testing.assert_allclose(dense(v.grad), np.where(a != 0, w.grad, 0))


def test_empty_ones() -> None:
    for shape in ((0, 4), (5, 0), (0, 0)):
        v, x = Value(sp.csr_array(shape)), Value(np.ones(shape[1]))
        (v @ x).sum().backward()
        np.testing.assert_array_equal(x.grad, 0)
        assert v.grad.shape == shape


def test_an_optimiser_changes_what_is_stored() -> None:
    for rule in (tg.optim.SGD, tg.optim.Adam):
        v, w = Value(sp.csr_array(D)), Value(D)
        optimisers = [rule([p], lr=0.01) for p in (v, w)]
        for _ in range(3):
            for p, o in zip((v, w), optimisers):
                o.zero_grad()
                ((p @ X - Y) ** 2).sum().backward()
            w.grad = w.grad * (D != 0)
            for o in optimisers:
                o.step()
        np.testing.assert_allclose(dense(v), w.data)


def test_gradients_are_clipped_and_cleared() -> None:
    v = Value(sp.csr_array(D))
    (v @ X).sum().backward()
    norm = np.linalg.norm(v.grad.data)
    assert tg.nn.utils.clip_grad_norm_([v], 0.5) == norm
    np.testing.assert_allclose(np.linalg.norm(v.grad.data), 0.5, rtol=1e-5)
    tg.nn.utils.clip_grad_value_([v], 0.1)
    assert np.abs(v.grad.data).max() == 0.1
    tg.optim.SGD([v], lr=0.1).zero_grad(set_to_none=False)
    np.testing.assert_array_equal(v.grad.data, np.zeros(np.count_nonzero(D)))
    v.grad = Z  # what is stored of it
    np.testing.assert_array_equal(dense(v.grad), np.where(D != 0, Z, 0))


@pytest.mark.parametrize("layout", ["csr", "csc", "COO"])
def test_batches_of_sparse_rows(layout: str) -> None:
    loader = tg.data.DataLoader(LAYOUTS[layout](D), Y, batch_size=2, shuffle=True, rng=0)
    for rows, targets in loader:
        np.testing.assert_array_equal(rows @ X, (D @ X)[[list(Y).index(y) for y in targets]])
    model = tg.nn.Linear(4, 1, rng=0)
    losses = []
    for rows, targets in tg.data.DataLoader(tg.data.TensorDataset(sp.csr_array(D), Y)):
        losses.append(tg.nn.functional.mse_loss(model(rows)[:, 0], targets).item())
    np.testing.assert_allclose(losses, np.mean((model(D).data[:, 0] - Y) ** 2))


def test_fit_takes_sparse_data() -> None:
    def losses(x: Any) -> list[float]:
        model = tg.nn.Linear(4, 2, rng=0)
        fitted = tg.fit(
            *(model, (x, classes), tg.nn.functional.cross_entropy),
            tg.optim.SGD(model.parameters(), lr=0.1),
            epochs=3,
            validation=(x, classes),
            progress=False,
        )
        return [epoch.validation_loss for epoch in fitted]

    classes = np.array([0, 1, 1, 0, 1])
    np.testing.assert_allclose(losses(sp.coo_array(D)), losses(D))
    model = tg.nn.Linear(4, 2, dtype=float)
    for layout in (sp.coo_array, sp.csr_matrix):
        answers = tg.train.predict(model, layout(D), batch_size=2)
        np.testing.assert_allclose(answers, tg.train.predict(model, D))
    with pytest.raises(TypeError, match=r"class numbers are a dense array.*write x\.toarray"):
        tg.nn.functional.cross_entropy(model(D), sp.coo_array(classes))


def test_what_is_not_there_says_so() -> None:
    v = Value(sp.csr_array(D))
    for call in (
        lambda: tg.hessian(lambda a: np.sum(a @ X))(v.data),
        lambda: tg.jacobian(np.sin)(v.data),
    ):
        with pytest.raises(NotImplementedError, match="differentiate by their entries"):
            call()
    with pytest.raises(NotImplementedError, match="diagonal: csr_array has none"):
        np.diagonal(v)
    for f in (lambda a: np.tensordot(a, X, 1), lambda a: a.mT @ Y, lambda a: a.transpose(1, 0) @ Y):
        np.testing.assert_allclose(f(v).data, f(Value(D)).data)
    model = tg.nn.Linear(1, 1)
    model.sparse = v
    with pytest.raises(TypeError, match="todense"):
        model.state_dict()


def test_pruning_a_gradient_prunes_no_value() -> None:
    s = sp.csr_array(D)
    v = Value(s)
    ((v - v) @ X).sum().backward()
    v.grad.eliminate_zeros()
    s.data[:] = 0
    s.eliminate_zeros()
    np.testing.assert_allclose((v @ X).data, D @ X)


def test_a_layer_takes_sparse_examples() -> None:
    model = tg.nn.Sequential(tg.nn.Linear(4, 3), tg.nn.Tanh(), tg.nn.Linear(3, 2))
    np.testing.assert_allclose(model(sp.csr_array(D)).data, model(D).data)


def test_tools_show_what_is_stored() -> None:
    v = Value(sp.csr_array(D), name="A")
    out = (v @ X).sum()
    assert "A = float64[" in str(tg.viz.explain(out, v))
    assert str(tg.lint(out)) == "nothing found"
    with tg.debug():
        (v @ X).sum().backward()
        with pytest.raises(FloatingPointError), np.errstate(all="ignore"):
            Value(sp.csr_array(SMALL)) / np.zeros(2)


# What is assembled of Values.


def test_matrices_are_assembled_of_values() -> None:
    places = np.array([0, 2, 2, 0]), np.array([1, 0, 0, 3])
    for assembled, scipys in ((coo_array, sp.coo_array), (csr_array, sp.csr_array)):
        values = Value(np.arange(1.0, 5))
        a = assembled((values, places), shape=(3, 4))
        np.testing.assert_array_equal(
            dense(a), scipys((values.data, places), shape=(3, 4)).toarray()
        )
        (a @ X).sum().backward()
        np.testing.assert_allclose(values.grad, X[places[1]])
        assert assembled((values, places), dtype=np.float32).dtype == np.float32
    s = sp.csc_array(D)
    values = Value(s.data)
    a = csc_array((values, s.indices, s.indptr), shape=s.shape)
    assert a.data.format == "csc"
    (Y @ a).sum().backward()
    np.testing.assert_allclose(values.grad, Y[s.indices])
    assert type(csr_array(D)) is sp.csr_array
    with pytest.raises(ValueError, match="the values have one axis"):
        csr_array((Value(W), places))


# Systems.


def regular(dtype: Any = float) -> Any:
    a = matrix(6, 6, 0.3).astype(dtype) + 6 * np.eye(6, dtype=dtype)
    return a + 0.5j * np.where(a != 0, 1, 0) if np.dtype(dtype).kind == "c" else a


def positive(dtype: Any = float) -> Any:
    a = regular(dtype)
    return a @ a.conj().T


def exactly(solve: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, b: solve(a, b, rtol=1e-13)[0]


SOLVERS = {
    "spsolve": (ours.spsolve, regular),
    "splu": (lambda a, b: ours.splu(a).solve(b), regular),
    "cg": (exactly(ours.cg), positive),
    "bicgstab": (exactly(ours.bicgstab), regular),
    "gmres": (exactly(ours.gmres), regular),
}


@pytest.mark.parametrize("dtype", [float, complex])
@pytest.mark.parametrize("name", SOLVERS)
def test_solutions_have_the_derivatives_of_dense_ones(name: str, dtype: Any) -> None:
    solve, make = SOLVERS[name]
    a, b = make(dtype), rng.normal(size=6).astype(dtype)
    for layout in (sp.csr_array, sp.csc_matrix):
        v, x = Value(layout(a)), Value(b)
        np.abs(solve(v, x) - 1).sum().backward()
        w, y = Value(a), Value(b)
        np.abs(np.linalg.solve(w, y) - 1).sum().backward()
        np.testing.assert_allclose(x.grad, y.grad, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(dense(v.grad), np.where(a != 0, w.grad, 0), rtol=1e-6, atol=1e-9)
    if dtype is float:
        s = sp.csr_array(a)
        if name != "bicgstab":  # which breaks down where g has one entry
            tg.testing.check_grads(lambda b: solve(s, b), b)
    if dtype is float and name == "spsolve":
        s = sp.csr_array(a)
        entries = lambda v: csr_array((v, s.indices, s.indptr), shape=s.shape)
        tg.testing.check_grads(lambda v: solve(entries(v), b), s.data)
    if dtype is float and name in ("spsolve", "splu"):
        fixed = Value(sp.csr_array(a), requires_grad=False)
        h = tg.hessian(lambda d: np.sum(solve(fixed * d, b) ** 2))(np.ones(6))
        right = tg.hessian(lambda d: np.sum(np.linalg.solve(a * d, b) ** 2))(np.ones(6))
        np.testing.assert_allclose(h, right, rtol=1e-6, atol=1e-9)


def test_one_factorisation_serves_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    made, splu = [], sla.splu
    monkeypatch.setattr(sla, "splu", lambda *args, **how: made.append(1) or splu(*args, **how))
    a = sp.csr_array(regular())
    v, b = Value(a), Value(np.ones(6))
    ours.spsolve(v, b).sum().backward()
    assert len(made) == 1
    lu = ours.splu(a)
    for _ in range(3):
        lu.solve(b).sum().backward()
    assert len(made) == 2
    bs = rng.normal(size=(4, 6))
    found = tg.vmap(lambda b: lu.solve(b))(bs)
    np.testing.assert_allclose(found, np.linalg.solve(a.toarray(), bs.T).T)
    np.testing.assert_allclose(lu.solve(bs.T, trans="H"), np.linalg.solve(a.toarray().T, bs.T))
    assert len(made) == 2


def test_plain_arrays_give_what_scipy_gives() -> None:
    a, b = sp.csc_array(positive()), rng.normal(size=6)
    np.testing.assert_allclose(ours.spsolve(a, b), sla.spsolve(a, b))
    assert ours.spsolve(a, b[:, None]).shape == sla.spsolve(a, b[:, None]).shape == (6,)
    np.testing.assert_allclose(ours.factorized(a)(b), sla.factorized(a)(b))
    for name in ("cg", "bicgstab", "gmres"):
        x, info = getattr(ours, name)(a, b)
        np.testing.assert_array_equal(x, getattr(sla, name)(a, b)[0])
        assert info == 0
    assert ours.spsolve(a.astype(np.float32), b.astype(np.float32)).dtype == np.float32


def test_systems_that_have_no_solution() -> None:
    b = Value(np.ones(2))
    with pytest.raises(np.linalg.LinAlgError, match="singular"):
        ours.spsolve(sp.csr_array(SMALL), b)
    with pytest.raises(ValueError, match=r"\(2, 2\), and b of shape \[3\]"):
        ours.spsolve(sp.csr_array(np.eye(2)), np.ones(3))
    with pytest.raises(ValueError, match="a square matrix"):
        ours.spsolve(sp.csr_array(D), b)
    with pytest.raises(TypeError, match=r"np\.linalg\.solve"):
        ours.spsolve(np.eye(2), b)
    with pytest.raises(NotImplementedError, match="sparse right side"):
        ours.spsolve(sp.csr_array(np.eye(2)), sp.csr_array(np.eye(2)))
    with pytest.raises(ValueError, match=r"tg\.vmap"):
        ours.cg(sp.csr_array(np.eye(2)), np.ones((2, 2)))


def test_iterations_say_how_they_ended() -> None:
    n = 40
    a = sp.csr_array(sp.diags_array(np.linspace(1, 1e4, n)))
    b = Value(np.ones(n))
    x, info = ours.cg(a, b, maxiter=3)
    assert info == 3
    with pytest.warns(RuntimeWarning, match="did not converge .* in a gradient"):
        (x * np.arange(n)).sum().backward()
    M = sla.aslinearoperator(sp.diags_array(1 / np.linspace(1, 1e4, n)))
    b = Value(np.ones(n))
    x, info = ours.cg(a, b, M=M, x0=np.ones(n))
    assert info == 0
    (1e-9 * x).sum().backward()  # the tolerance is relative to this
    np.testing.assert_allclose(b.grad, 1e-9 / np.linspace(1, 1e4, n), rtol=1e-4)
    b = Value(np.ones(n))
    (1e-9 * ours.cg(a, b, rtol=0.0, atol=1e-8)[0]).sum().backward()
    np.testing.assert_allclose(b.grad, 1e-9 / np.linspace(1, 1e4, n), rtol=1e-4)


def test_linear_operators() -> None:
    s = sp.csr_array(D + 1j * D)
    L = ours.aslinearoperator(s)
    for f, x in ((lambda a, x: a @ x, X), (lambda a, x: x @ a, Y), (lambda a, x: a.T @ x, Y)):
        v, w = Value(x), Value(x)
        np.abs(f(L, v)).sum().backward()
        np.abs(f(s.toarray(), w)).sum().backward()
        np.testing.assert_allclose(v.grad, w.grad)
    np.testing.assert_allclose((L @ Value(W)).data, s @ W)
    np.testing.assert_allclose(tg.hessian(lambda x: np.sum((L @ x).real ** 2))(X), 2 * D.T @ D)
    np.testing.assert_allclose(tg.vmap(lambda x: L @ x)(np.stack([X, X]))[1], s @ X)
    one_way = sla.LinearOperator((2, 2), lambda x: 2 * x, dtype=float)
    with pytest.raises(NotImplementedError, match="rmatvec="):
        (ours.aslinearoperator(one_way) @ Value(np.ones(2))).sum().backward()
    with pytest.raises(NotImplementedError, match="rmatvec"):
        ours.gmres(one_way, Value(np.ones(2)))[0].sum().backward()
    b = Value(np.ones(2))
    ours.cg(one_way, b)[0].sum().backward()  # Hermitian
    np.testing.assert_allclose(b.grad, 0.5)
    with pytest.raises(TypeError, match="aslinearoperator"):
        one_way @ Value(np.ones(2))
    for call in (lambda: L + Value(X), lambda: L @ Value(Y), lambda: Value(L)):
        with pytest.raises((TypeError, ValueError, NotImplementedError)):
            call()


@pytest.mark.parametrize("layout", ["csr", "COO"])
def test_questions_are_answered_where_zero_says_no_and_refused_by_name_elsewhere(
    layout: str,
) -> None:
    a = Value(LAYOUTS[layout](D))
    for ask in (np.isnan, np.isinf, lambda x: x > 0, lambda x: x == D.max(), lambda x: x > 0.1):
        assert not isinstance(ask(a), Value)
        np.testing.assert_array_equal(dense(ask(a)), ask(D))
    refused: list[tuple[str, Any]] = [
        *[("isfinite", np.isfinite), ("any", np.any), ("all", lambda x: x.all())],
        *[("allclose", lambda x: np.allclose(x, x)), ("equal", lambda x: x == x)],
        *[("less", lambda x: x < D), ("greater", lambda x: x > D), ("less", lambda x: x < 1)],
        *[("count_nonzero", np.count_nonzero), ("zeros_like", np.zeros_like)],
        ("array_equal", lambda x: np.array_equal(x, D)),
    ]
    for name, ask in refused:
        with pytest.raises(NotImplementedError, match=rf"^{name} .*write (v|x)\.todense"):
            ask(a)
    assert np.shape(a) == D.shape


def test_data_stay_sparse_or_dense() -> None:
    a, v = Value(sp.csr_array(D)), Value(D)
    for x, new, said in ((a, D, "data is dense"), (v, a.data, "data is sparse")):
        before = x.data
        with pytest.raises(TypeError, match=said):
            x.data = new
        assert x.data is before
    with pytest.raises(TypeError, match="grad is sparse"):
        v.grad = a.data


def test_compile_refuses_them() -> None:
    held = Value(sp.csr_array(D))
    with pytest.raises(TypeError, match=r"tg\.compile writes no sparse arrays down"):
        tg.compile(lambda x: held @ x)(X)
    s = sp.csr_array(D)
    for f in (lambda x: s @ x, tg.grad(lambda x: np.sum(s @ x)), lambda x: Value(s) @ x):
        with pytest.raises(TypeError, match=r"tg\.compile writes no sparse arrays down"):
            tg.compile(f)(X)


def test_of_a_number_beside_sparse_arrays() -> None:
    s, v = sp.csr_array(D), Value(3.0)
    for f in (lambda a, v: a * v, lambda a, v: v * a, lambda a, v: a / v):
        found, right = (
            tg.grad(lambda v, f=f: np.sum(f(s, v)))(3.0),
            tg.grad(lambda v, f=f: np.sum(f(D, v)))(3.0),
        )
        np.testing.assert_allclose(found, right)
    np.testing.assert_allclose(s.dot(Value(X)).data, D @ X)
    assert (v * s).data.format == "csr"


def test_scipys_operators_still_take_numbers() -> None:
    s, v = sp.csr_array(D), Value(X, requires_grad=False)
    for f in (operator.matmul, operator.mul):
        np.testing.assert_allclose(dense(f(s, v)), dense(f(s, X)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.testing.assert_allclose(sla.spsolve(sp.csc_array(np.eye(4)), v), X)
