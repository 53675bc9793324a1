"""Dask's arrays: lazy, in chunks. Nothing is computed before the user does."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings

import tensorgrad as tg
from tensorgrad import Value, data, nn, optim
from tensorgrad.engine import chunked as chunked_arrays
from tensorgrad.engine.arrays import Kind, kinds, run
from tensorgrad.engine.primitive import registry
from tensorgrad.nn import functional as F
from tensorgrad.testing.primitives import cases

dask = pytest.importorskip("dask")
Callback: Any = pytest.importorskip("dask.callbacks").Callback
da = pytest.importorskip("dask.array")
rng = np.random.default_rng(0)


def draw(*shape: int) -> Any:
    return rng.uniform(0.2, 0.8, shape)


X, Y = draw(4, 3), draw(4, 3)


@pytest.fixture(autouse=True)
def nothing_was_computed() -> Iterator[None]:
    """And in one thread, which starts at once."""
    chunked_arrays.made.clear()
    chunked_arrays.computed.clear()
    with dask.config.set(scheduler="synchronous"):
        yield


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
    np.testing.assert_allclose(
        w.grad.compute(), tg.grad(lambda w: ((X[keep] @ w.T) ** 2).sum())(W), rtol=1e-12
    )


OF_ROWS: list[Callable[..., Any]] = [
    lambda w, x: ((x * w) ** 2).mean(),
    lambda w, x: ((x * w).mean(axis=0) ** 2).sum(),
    lambda w, x: ((x * w).mean(axis=1) ** 2).sum(),
    lambda w, x: np.sum((x * w).var(axis=0, keepdims=True, ddof=1)),
    lambda w, x: (x * w).std(),
    lambda w, x: F.mse_loss((x * w).sum(axis=1), x[:, 0]),
    lambda w, x: F.cross_entropy(x * w, (x[:, 0] > 0.6).astype(int)),
    lambda w, x: np.sum(tg.hvp(lambda w: ((x * w) ** 3).mean(), (w,), (w,))),
    lambda w, x: np.sum(F.softmax(x * w)[:, 0]),
    lambda w, x: np.sum((x * w)[:, None, 1:] ** 2),
]


@pytest.mark.parametrize("f", OF_ROWS)
def test_rows_of_unknown_number_are_counted_when_they_are_computed(f: Callable[..., Any]) -> None:
    keep = X[:, 0] > np.median(X[:, 0])
    with dask.config.set(scheduler=refuse):
        x = chunked(X)
        g = tg.grad(f)(W[0], x[x[:, 0] > np.median(X[:, 0])])
    np.testing.assert_allclose(g.compute(), tg.grad(f)(W[0], X[keep]), rtol=1e-12)


def test_gradients_are_checked_at_the_border_and_lint_wants_numbers() -> None:
    x = chunked(X)
    assert not tg.testing.check_grads(lambda w: ((x @ w) ** 2).mean(), W[0], order=1).failures
    with pytest.raises(TypeError, match=r"lint looks at numbers.*compute"):
        tg.lint((x @ Value(W[0])).sum())


def test_two_kinds_that_do_not_mix_are_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class OnDevice(np.ndarray):
        def get(self) -> Any:
            return np.asarray(self)

    monkeypatch.setitem(kinds, OnDevice, Kind())
    words = r"multiply: .*Array \(x.compute\(\) is NumPy's\)"
    with pytest.raises(TypeError, match=words) as error:
        run(registry["multiply"], [chunked(X), X.view(OnDevice)], {})
    assert "OnDevice (x.get() is NumPy's)" in str(error.value)


def test_a_value_that_moves_to_numpy_is_computed_and_has_a_gradient() -> None:
    x = Value(chunked(X))
    (x.to("numpy") ** 2).sum().backward()
    np.testing.assert_array_equal(x.grad, 2 * X)


def test_a_frame_is_refused_before_it_is_computed() -> None:
    pd, dd = pytest.importorskip("pandas"), pytest.importorskip("dask.dataframe")
    frame = dd.from_pandas(pd.DataFrame({"a": X[:, 0], "b": X[:, 1]}), npartitions=2)
    with dask.config.set(scheduler=refuse):
        for x in (frame, frame.a):
            for use in (Value, lambda x: Value(W[0, :1]) * x, tg.grad(lambda x: (x**2).sum())):
                with pytest.raises(TypeError, match=r"to_dask_array\(lengths=True\)"):
                    use(x)
        model = tg.nn.Linear(2, 1)
        sgd = tg.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(TypeError, match=r"to_dask_array\(lengths=True\)"):
            tg.fit(model, (frame, X[:, :1]), tg.nn.functional.mse_loss, sgd, epochs=1)


def test_dasks_own_functions_take_no_values() -> None:
    """They would compute with the numbers, or with Values in chunks, and find no gradient."""
    x, w = chunked(X), Value(W[0])
    for f in (x.dot, da.sum, lambda w: da.dot(x, w), lambda w: da.add(x, w), da.asarray):
        with pytest.raises(TypeError, match="Dask takes the numbers"):
            f(w)
        with pytest.raises(TypeError, match="Dask takes the numbers"):
            tg.grad(lambda w, f=f: f(w * 1.0).sum())(w.data)
    task = dask.delayed(lambda w: w.sum().item(), pure=True)
    with dask.config.set(scheduler="sync"):
        assert task(w).compute() == task(w * 1.0).compute() == w.sum().item()
    assert dask.tokenize.tokenize(w) == dask.tokenize.tokenize(Value(W[0]))


def test_the_user_computes_at_the_border() -> None:
    with dask.config.set(scheduler=refuse):
        v = Value(chunked(X))
        assert repr(v.sum()).startswith("Value(dask.array<")
    assert v.sum().item() == v.detach().sum().data.compute() == float(v.sum())
    np.testing.assert_array_equal(np.asarray(v.detach()), X)


ROWS, FEATURES = rng.normal(size=(20, 3)), rng.integers(0, 4, 20)
USES: dict[str, tuple[Callable[..., Any], Any]] = {
    "classes": (lambda w, X, c: F.cross_entropy(X @ w, c), draw(3, 4)),
    "classes with weights": (
        lambda w, X, c: F.cross_entropy(X @ w, c - 1, weight=np.arange(1.0, 5), ignore_index=-1),
        draw(3, 4),
    ),
    "log-likelihood of classes": (
        lambda w, X, c: F.nll_loss(F.log_softmax(X @ w), c, reduction="sum"),
        draw(3, 4),
    ),
    "a number for each category": (lambda w, X, c: (w[c] * X[:, 0]).sum(), draw(4)),
    "rows for each category": (lambda w, X, c: (F.embedding(c, w) * X[:, :2]).sum(), draw(4, 2)),
    "a mask of rows": (lambda w, X, c: ((X @ w)[c == 1] ** 2).sum(), draw(3)),
    "a new axis": (lambda w, X, c: ((X * w[None]) ** 2).mean() + (X @ w)[:, None].var(), draw(3)),
    "rows by number": (lambda w, X, c: ((X @ w)[[0, 5, 5]] ** 2).sum(), draw(3)),
    "rows taken": (lambda w, X, c: (np.take(X @ w, [[0, 5], [5, -1]]) ** 2).sum(), draw(3)),
    "principal components": (
        lambda w, X, c: ((X - X @ w @ w.T) ** 2).sum(axis=1).mean(),
        draw(3, 2),
    ),
    "per example": (lambda w, X, c: tg.vmap(lambda x: (x @ w) ** 2)(X).mean(), draw(3)),
}


@pytest.mark.parametrize("name", USES)
def test_numpys_parameters_meet_chunked_data(name: str) -> None:
    """The result is chunked, and so is the gradient by what was NumPy's."""
    f, w = USES[name]
    with dask.config.set(scheduler=refuse):
        data = da.from_array(ROWS, chunks=(6, 2)), da.from_array(FEATURES, chunks=6)
        g = tg.grad(f)(w, *data)
    assert isinstance(g, da.Array)
    np.testing.assert_allclose(g.compute(), tg.grad(f)(w, ROWS, FEATURES), rtol=1e-10)


def test_what_meets_chunks_becomes_chunked() -> None:
    """In either order, numbers too; where NumPy's array is to be written into, that is an error."""
    lazy, w = chunked(X), Value(draw(3))
    with dask.config.set(scheduler=refuse):
        for out in (
            lazy * w,
            w * lazy,
            np.add(lazy, w),
            lazy @ w,
            draw(4) @ (lazy * w),
            w * lazy[0, 0],
        ):
            assert isinstance(out.data, da.Array)
            w.grad = None
            out.sum().backward()
            assert isinstance(w.grad, da.Array)
        assert isinstance(tg.grad(lambda a: (lazy * a).sum())(2.0), da.Array)
        with pytest.raises(NotImplementedError, match="out parameter"):
            w.data -= w.grad
        with pytest.raises(TypeError, match="is an array of Dask"):
            tg.compile(lambda w: (lazy @ w).sum())(draw(3))
        with pytest.raises(TypeError, match="takes batches"):
            tg.compile(np.sum)(lazy)
        with pytest.raises(TypeError, match="scan: its steps are NumPy's"):
            tg.scan(lambda c, x: (c + x, c), np.zeros(3), lazy)


def test_hessians_and_forward_mode() -> None:
    f, w = logistic(ROWS, (FEATURES > 1) * 1.0), draw(3)
    g = logistic(da.from_array(ROWS, chunks=(8, 2)), da.from_array((FEATURES > 1) * 1.0, chunks=5))
    with dask.config.set(scheduler=refuse):
        found = tg.hessian(g)(w), tg.jvp(g, (w,), (w,))[1], tg.hvp(g, (w,), (w,))
    expected = tg.hessian(f)(w), tg.jvp(f, (w,), (w,))[1], tg.hvp(f, (w,), (w,))
    for x, e in zip(tg.compute(*found), expected):
        np.testing.assert_allclose(x, e, rtol=1e-10)


CONTRACTIONS: dict[str, tuple[Callable[..., Any], Any]] = {
    "linear": (lambda w, X: F.linear(X, w), draw(2, 3)),
    "einsum": (lambda w, X: np.einsum("ni,ji->nj", X, w), draw(2, 3)),
    "tensordot": (lambda w, X: np.tensordot(X, w, 1), draw(3, 2)),
    "convolution": (lambda w, X: F.conv1d(X[:, None], w), draw(2, 1, 2)),
    "attention": (lambda w, X: F.scaled_dot_product_attention(X * w, X, X), draw(3)),
}


@pytest.mark.nightly
@pytest.mark.parametrize("name", CONTRACTIONS)
def test_products_with_hessians_of_sums_of_products(name: str) -> None:
    f, w = CONTRACTIONS[name]
    products = [
        tg.hvp(lambda w, X=X: (f(w, X) ** 3).mean(), (w,), (np.cos(w),))
        for X in (da.from_array(ROWS, chunks=(11, 2)), ROWS)
    ]
    np.testing.assert_allclose(products[0].compute(), products[1], rtol=1e-10)


def test_care_is_taken_inside_of_chunks() -> None:
    """As without chunks: 0 adds 0 where a factor is infinite, in products and sums of products."""

    @np.errstate(all="ignore")
    def f(a: Any, b: Any, mask: Any) -> Any:
        return np.where(mask, a @ b, 0).sum() + (np.where(mask, np.log(a), a) ** 2).sum()

    a, mask = np.array([[0.0, 1, 2], [3, 0, 1], [1, 1, 1]]), np.array([[False], [False], [True]])
    b = np.array([[np.inf, 1, 0], [1, -np.inf, 0], [np.nan, 1, 2.0]])
    expected = tg.grad(f, argnums=(0, 1))(a, b, mask)
    found = tg.grad(f, argnums=(0, 1))(chunked(a), chunked(b), mask)
    for x, y in zip(found, expected):
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(x.compute(scheduler="synchronous"), y)


# All results in one pass.


serials = itertools.count()


class Read:
    """Counts how often a chunk is read."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, x: Any, block_id: Any = None) -> Any:
        self.times += block_id is not None
        return x


def counted() -> tuple[Read, Any, Any]:
    """Two chunks, and who counts how often they are read."""
    read = Read()
    X = da.from_array(ROWS, chunks=(10, 3)).map_blocks(
        read, dtype=float, name=f"read-{next(serials)}"
    )
    read.times = 0
    return read, X, da.from_array((FEATURES > 1) * 1.0, chunks=10)


def logistic(X: Any, y: Any) -> Callable[[Any], Any]:
    return lambda w: F.binary_cross_entropy_with_logits(X @ w, y)


def test_loss_and_gradients_are_computed_in_one_pass() -> None:
    read, X, y = counted()
    w = {"w": np.zeros(3)}
    loss, g = tg.compute(*tg.value_and_grad(lambda p: logistic(X, y)(p["w"]))(w))
    assert read.times == 2
    np.testing.assert_allclose(loss, np.log(2))
    np.testing.assert_allclose(g["w"], tg.grad(logistic(ROWS, (FEATURES > 1) * 1.0))(w["w"]))
    assert type(g["w"]) is np.ndarray


class Held(Callback):
    """The most chunks of data that were there at once: arrays of `size` entries and more."""

    def __init__(self, size: int) -> None:
        super().__init__(pretask=self.look)
        self.size, self.most = size, 0

    def look(self, key: Any, graph: Any, state: Any) -> None:
        found = set()
        for x in state["cache"].values():
            while getattr(x, "base", None) is not None:
                x = x.base
            found |= {id(x)} if getattr(x, "size", 0) >= self.size else set()
        self.most = max(self.most, len(found))


@pytest.mark.parametrize("chunks", [4, 16])
def test_a_pass_holds_one_chunk_at_a_time(chunks: int) -> None:
    """Of loss and gradient, and of a product with the Hessian: no chunk waits for another."""
    draw = dask.delayed(lambda i: np.random.default_rng(i).random((20, 4)))
    parts = [da.from_delayed(draw(i), (20, 4), float) for i in range(chunks)]
    rows = da.concatenate(parts)
    f, w = logistic(rows[:, :3], rows[:, 3]), np.ones(3)
    for compute in (lambda: tg.value_and_grad(f)(w), lambda: [tg.hvp(f, (w,), (w,))]):
        with Held(80) as held:
            tg.compute(*compute())
        assert held.most == 1


def test_what_is_computed_twice_warns() -> None:
    w, v = np.ones(3), np.eye(3)[0]
    read, X, y = counted()
    loss, g = tg.value_and_grad(logistic(X, y))(w)
    tg.compute(loss)
    with pytest.warns(UserWarning, match="computes again"):
        tg.compute(g)

    read, X, y = counted()
    p = Value(w)
    loss = logistic(X, y)(p)
    loss.item()
    loss.backward()
    with pytest.warns(UserWarning, match="computes again"):
        tg.compute(p.grad)

    read, X, y = counted()
    for _ in range(3):
        w = w - 1.0
        tg.compute(*tg.value_and_grad(logistic(X, y))(w))
        tg.compute(tg.hvp(logistic(X, y), (w,), (v,)))  # of a direction that may be new
    assert read.times == 2 * 6


def test_a_step_reads_the_data_once() -> None:
    read, X, y = counted()
    model = nn.Linear(3, 1, rng=0)
    loss = F.binary_cross_entropy_with_logits
    step = tg.Step(model, lambda a, y: loss(a[:, 0], y), optim.Adam(model.parameters()))
    for n in range(1, 4):
        assert type(step(X, y).data) is np.float64
        assert read.times == 2 * n
    assert type(model.weight.data) is np.ndarray

    w = Value(np.zeros(3))
    optimizer = optim.SGD([w], lr=0.1)
    logistic(X, y)(w).backward()
    optimizer.step()
    assert read.times == 2 * 4
    assert type(w.data) is np.ndarray


@pytest.mark.nightly
def test_searches_over_chunked_data_find_what_they_find_in_memory() -> None:
    for method in (
        lambda p: optim.LBFGS(p, max_iter=3, line_search_fn="strong_wolfe"),
        lambda p: optim.NewtonCG(p, max_iter=2),
        lambda p: optim.SciPy(p, options={"maxiter": 2}),
        lambda p: optim.SciPy(p, "trust-ncg", options={"maxiter": 1}),
    ):
        found = []
        for rows in (counted()[1:], (ROWS, (FEATURES > 1) * 1.0)):
            w = Value(np.zeros(3))
            optimizer = method([w])

            def closure(w: Any = w, optimizer: Any = optimizer, rows: Any = rows) -> Any:
                optimizer.zero_grad()
                loss = logistic(*rows)(w)
                loss.backward()
                return loss

            optimizer.step(closure)
            found.append(w.data)
        np.testing.assert_allclose(*found, rtol=1e-6)


def test_parameters_are_numpys() -> None:
    with pytest.raises(TypeError, match="parameters are NumPy's"):
        optim.SGD([Value(chunked(X))], lr=0.1)


# Batches by chunk.


def test_chunks_are_computed_one_at_a_time_and_shuffled() -> None:
    read, X, _ = counted()
    batches = data.Chunks(X, np.arange(20), batch_size=2, shuffle=True)
    assert len(batches) == 2 * 5
    one = next(iter(batches))
    assert read.times == 1
    assert [part.shape for part in one] == [(2, 3), (2,)]
    first, second = ([*batches] for _ in range(2))
    for epoch in (first, second):
        x, i = map(np.concatenate, zip(*epoch))
        np.testing.assert_array_equal(np.sort(i), np.arange(20))
        np.testing.assert_array_equal(x, ROWS[i])
    assert not np.array_equal(*(np.concatenate([i for _, i in e]) for e in (first, second)))
    ahead = [i for _, i in data.Chunks(X, np.arange(20), batch_size=2, shuffle=True, prefetch=2)]
    np.testing.assert_array_equal(
        np.concatenate(ahead),
        np.concatenate(
            [
                one[1],
                *[  # again
                    i for _, i in [*data.Chunks(X, np.arange(20), batch_size=2, shuffle=True)][1:]
                ],
            ]
        ),
    )


def test_chunks_say_what_does_not_fit() -> None:
    X = da.from_array(ROWS, chunks=(5, 3))
    with pytest.raises(TypeError, match="DataLoader takes NumPy's"):
        data.Chunks(ROWS)
    with pytest.raises(TypeError, match=r"data\.Chunks"):
        data.DataLoader(X, FEATURES)
    with pytest.raises(ValueError, match="equally long"):
        data.Chunks(X, FEATURES[1:])
    keep = X[:, 0] > 0
    unknown = data.Chunks(X[keep], da.from_array(FEATURES, chunks=5)[keep])
    with pytest.raises(TypeError, match="not known yet"):
        len(unknown)
    assert sum(len(y) for _, y in unknown) == (ROWS[:, 0] > 0).sum()
    with pytest.raises(ValueError, match="rechunk the arrays alike"):
        [*data.Chunks(X[keep], da.from_array(FEATURES, chunks=5)[keep[::-1]])]


@pytest.mark.nightly
def test_fit_learns_from_chunks_and_from_all_at_once() -> None:
    X, c = da.from_array(ROWS, chunks=(5, 3)), da.from_array((ROWS[:, 0] > 0) * 1, chunks=5)
    for batches in ((X, c), [(X, c)]):
        model = nn.Linear(3, 2, rng=0)
        optimizer = optim.Adam(model.parameters(), lr=1.0)
        history = tg.fit(
            model, batches, F.cross_entropy, optimizer, epochs=5, validation=(X, c), progress=False
        )
        assert history[-1].accuracy > 0.9


def test_batch_norm_remembers_numbers() -> None:
    X = da.from_array(ROWS, chunks=(5, 3))
    norms = [nn.BatchNorm1d(3) for _ in range(2)]
    for norm, x in zip(norms, (X, ROWS)):
        norm(x)
    assert type(norms[0].running_mean) is np.ndarray
    np.testing.assert_allclose(norms[0].running_var, norms[1].running_var, rtol=1e-6)


def test_dasks_own_progress_bar_shows_the_pass(capsys: Any) -> None:
    from dask.diagnostics import ProgressBar

    _, X, y = counted()
    with ProgressBar():
        tg.compute(*tg.value_and_grad(logistic(X, y))(np.zeros(3)))
    assert "100%" in capsys.readouterr().out


# What Dask has not.


@pytest.mark.parametrize(
    ("f", "name"),
    [
        (lambda v: np.sort(v, axis=0), "sort.*tg.compute"),
        (lambda v: np.linalg.det(v[:3]), "det.*tg.compute"),
        (lambda v: np.linalg.svd(v[:1]), "svd.*tg.compute"),
        (lambda v: np.maximum.accumulate(v), "maximum.accumulate.*tg.compute"),
        (lambda v: tg.scipy.linalg.expm(v[:3]), "expm.*tg.compute"),
        (lambda v: v[da.from_array(X > 0.5, chunks=2)].sum().backward(), "mask of rows"),
    ],
)
def test_what_dask_cannot_do_is_named_with_the_way_out(f: Callable[..., Any], name: str) -> None:
    with (
        dask.config.set(scheduler=refuse),
        pytest.raises((TypeError, NotImplementedError), match=name),
    ):
        f(Value(chunked(X)))


def test_cholesky_is_numpys_lower_one() -> None:
    a = X.T @ X
    g = tg.grad(lambda a: (np.linalg.cholesky(a) ** 3).sum())
    np.testing.assert_allclose(g(da.from_array(a)).compute(), g(a), rtol=1e-9)


REFUSED = {
    *("convolve", "convolve_valid", "cross", "ctc", "det", "eig", "eigh", "eigvalsh", "interp"),
    *("maximum.accumulate", "minimum.accumulate", "partition", "pinv", "slogdet", "sort", "svd"),
    *("svdvals", "unwrap"),
}
"""What Dask has not, in whatever chunks."""


def everything_of(case: Any, like: Callable[[Any], Any]) -> list[Any]:
    """The result of a primitive's case and the gradients of its squares, of arrays made by `like`.

    Refused rules aside.
    """
    free = [i for i in case.free if case.operands[i].dtype.kind in "fc"]
    xs = [Value(like(x)) if i in free else like(x) for i, x in enumerate(case.operands)]
    out = case.run(*xs)
    (np.abs(out) ** 2).sum().backward()
    return [out.data, *(xs[i].grad for i in free)]


@pytest.mark.nightly
@pytest.mark.parametrize("name", sorted(registry))
def test_every_primitive_works_in_chunks_or_is_refused_by_name(name: str) -> None:
    """Of operands with entries, in two chunks each way or else in one, lazily."""
    done = []

    @given(cases(registry[name]))
    @settings(max_examples=4, derandomize=True, database=None, phases=[Phase.generate])
    def each(case: Any) -> None:
        if case.domain.make:
            operands = [*map(np.asarray, case.domain.make(*case.operands))]
            case = case._replace(operands=operands, domain=case.domain._replace(make=None))
        assume(case.free and all(np.size(x) and np.ndim(x) for x in case.operands))
        with np.errstate(all="ignore"):
            expected = everything_of(case, np.array)
            for size in (0.5, 1):
                like = lambda x, size=size: da.from_array(
                    x, chunks=tuple(math.ceil(n * size) for n in x.shape)
                )
                try:
                    with dask.config.set(scheduler=refuse):
                        found = everything_of(case, like)
                except (NotImplementedError, TypeError, ValueError, IndexError) as error:
                    found = re.match(r"[\w.]+\(", f"{error}") and []
                    assert found == [], error  # noqa: PT017 - it is named
                pairs = [(x, e) for x, e in zip(found, expected) if e is not None]
                for x, (_, e) in zip(dask.compute(*(x for x, _ in pairs)), pairs):
                    close = 1e-3 if any(x.dtype == np.float32 for x in case.operands) else 1e-8
                    np.testing.assert_allclose(x, e, rtol=close, atol=close)
                if found:
                    done.append(case)
                    break  # one chunk is for what wants that

    each()
    assert bool(done) is (name not in REFUSED)


def test_pictures_say_of_chunked_numbers_that_they_are_to_be_computed() -> None:
    v = Value(da.ones((4, 3), chunks=2), name="v")
    some = v[da.from_array(np.array([True, False, True, True]), chunks=2)]
    for loss in ((v * da.ones(3, chunks=2)).sum(), (some * 2).sum()):
        loss.backward()
        assert "to be computed" in tg.viz.graph(loss).plain
    tg.viz.stepper(v.sum())
    assert "float64 ?×3" in tg.viz.graph((some * 2).sum()).plain
    with pytest.raises(TypeError, match="chunked data have not yet"):
        tg.viz.zoom(v.sum(), ())
