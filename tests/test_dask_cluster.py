"""Chunked gradients on a real cluster: two processes of `dask.distributed`, one of which dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import data, nn, optim
from tensorgrad.nn import functional as F

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")
pytestmark = pytest.mark.nightly

rng = np.random.default_rng(0)
ROWS = rng.standard_normal((400, 3))
CLASSES = (ROWS[:, 0] > 0).astype(float)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def chunked() -> tuple[Any, Any]:
    return da.from_array(ROWS, chunks=(50, 3)), da.from_array(CLASSES, chunks=50)


def loss_on(X: Any, y: Any) -> Any:
    return lambda w: F.binary_cross_entropy_with_logits(X @ w, y)


def test_two_processes_find_loss_gradient_and_product(client: Any) -> None:
    w, v = np.ones(3), np.eye(3)[0]
    workers = {os.getpid(), *client.run(os.getpid).values()}
    assert len(workers) == 3
    f, g = loss_on(*chunked()), loss_on(ROWS, CLASSES)
    loss, gradient, product = tg.compute(*tg.value_and_grad(f)(w), tg.hvp(f, (w,), (v,)))
    expected = *tg.value_and_grad(g)(w), tg.hvp(g, (w,), (v,))
    for x, e in zip((loss, gradient, product), expected):
        np.testing.assert_allclose(x, e, rtol=1e-12)


def test_care_is_taken_on_the_workers(client: Any) -> None:
    x = da.from_array(np.array([0.0, 1.0, 4.0, 0.0]), chunks=2)
    with np.errstate(divide="ignore"):
        (g,) = tg.compute(tg.grad(lambda x: np.where(x > 0, np.sqrt(x), 0).sum())(x))
    np.testing.assert_array_equal(g, [0, 0.5, 0.25, 0])


def test_fit_and_a_search_on_the_cluster(client: Any) -> None:
    X, y = chunked()
    found = []
    for rows, classes in ((X, y), (ROWS, CLASSES)):
        w = tg.Value(np.zeros(3))
        optimizer = optim.SciPy([w], options={"maxiter": 4})

        def closure(
            w: Any = w, optimizer: Any = optimizer, rows: Any = rows, y: Any = classes
        ) -> Any:
            optimizer.zero_grad()
            loss = loss_on(rows, y)(w)
            loss.backward()
            return loss

        optimizer.step(closure)
        found.append(w.data)
    np.testing.assert_allclose(*found, rtol=1e-6)

    model = nn.Linear(3, 1, rng=0)
    history = tg.fit(
        *(model, data.Chunks(X, y[:, None], batch_size=10, shuffle=True)),
        *(F.binary_cross_entropy_with_logits, optim.SGD(model.parameters(), lr=1.0)),
        epochs=2,
        progress=False,
    )
    assert history[-1].loss < 0.2


def test_a_worker_dies_in_the_middle_of_a_step_and_the_result_is_right(
    client: Any, tmp_path: Path
) -> None:
    """It is killed while it computes a chunk; what it had is computed again by the others."""
    marker = str(tmp_path / "died")

    def dying(x: Any, block_id: Any = None) -> Any:
        if block_id and block_id[0] == 5:
            try:
                os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return x
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    X, y = chunked()
    X = X.map_blocks(dying, dtype=float)
    w = np.ones(3)
    before = set(client.run(os.getpid).values())
    loss, g = tg.compute(*tg.value_and_grad(loss_on(X, y))(w))
    assert Path(marker).exists()
    expected = tg.value_and_grad(loss_on(ROWS, CLASSES))(w)
    np.testing.assert_allclose(loss, expected[0], rtol=1e-12)
    np.testing.assert_allclose(g, expected[1], rtol=1e-12)
    client.wait_for_workers(2)
    assert set(client.run(os.getpid).values()) != before
