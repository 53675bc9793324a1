"""Programs on disk: another process has the code at once, and only of the same program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.compiler import store, version

X, Y = np.random.default_rng(0).random((2, 8, 5), dtype=np.float32)
BACKENDS = "numpy", pytest.param("llvm", marks=pytest.mark.filterwarnings("ignore:.*llvmlite"))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: Any) -> Path:
    monkeypatch.setenv("TENSORGRAD_CACHE", str(tmp_path / "kernels"))
    monkeypatch.setattr(store, "LEAST", 0)
    return tmp_path / "kernels"


@pytest.fixture
def made(monkeypatch: Any) -> list[Any]:
    """The programs whose code was made, not found."""
    programs: list[Any] = []

    def code_of(program: Any, *args: Any, f: Any = version.code_of, **kwargs: Any) -> Any:
        programs.append(program)
        return f(program, *args, **kwargs)

    monkeypatch.setattr(version, "code_of", code_of)
    return programs


def training(**options: Any) -> tuple[Callable[..., Any], nn.Module]:
    """A step that draws, has constants, and writes parameters, and an optimiser's state."""
    model = nn.Sequential(nn.Linear(5, 6, rng=0), nn.ReLU(), nn.Dropout(0.5, rng=1))
    model = nn.Sequential(model, nn.Linear(6, 5, rng=2))
    optimizer = optim.Adam(model.parameters(), lr=0.1)

    @tg.compile(**options)
    def step(x: Any, y: Any) -> Any:
        loss = np.mean((model(x) - y) ** 2 * np.arange(5, dtype=np.float32))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    return step, model


def trained(**options: Any) -> tuple[Any, list[Any], list[float]]:
    step, model = training(**options)
    losses = [step(X, Y).item() for _ in range(4)]
    return step, [p.data for p in model.parameters()], losses


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_program_is_made_once_and_then_found(backend: Any, made: list[Any]) -> None:
    first, parameters, losses = trained(backend=backend)
    assert len(made) == 1
    second, again, found = trained(backend=backend)
    assert len(made) == 1
    assert found == losses
    for x, y in zip(parameters, again, strict=True):
        np.testing.assert_array_equal(x, y)
    assert second.source == first.source
    assert second.report().flops == first.report().flops  # of the program after all passes
    assert second.stages() == first.stages()


def test_what_is_found_is_saved_as_what_was_made(tmp_path: Path) -> None:
    f = lambda x: np.sum(np.exp(x) @ np.arange(5.0))
    for name in ("a", "b"):
        step = tg.compile(f)
        step(X)
        step.save(tmp_path / f"{name}.py")
    assert (tmp_path / "a.py").read_text().replace("a.npz", "b.npz") == (
        tmp_path / "b.py"
    ).read_text()


DIFFERENT: list[Callable[[Any], Any]] = [
    lambda x: np.sum(np.exp(x) * np.arange(5.0)),
    lambda x: np.sum(np.exp(x) * np.arange(1.0, 6.0)),
    lambda x: np.sum(np.exp(x) * np.arange(5)),
    lambda x: np.sum(np.exp(x) * 2.0),
    lambda x: np.sum(np.exp(x) * 2),
    lambda x: np.sum(np.exp(x) * -0.0),
    lambda x: np.sum(np.exp(x) * 0.0),
    lambda x: np.exp(x) * np.nan,
    lambda x: np.exp(x) * -np.nan,
    lambda x: np.sum(np.exp(x), axis=0),
    lambda x: np.sum(np.exp(x), axis=(0,)),
    lambda x: (np.exp(x), np.sin(x)),
    lambda x: (np.sin(x), np.exp(x)),
    lambda x: np.exp(x)[1:],
    lambda x: np.exp(x)[:1],
    lambda x: np.add.reduce(np.exp(x)),
    lambda x: np.maximum.reduce(np.exp(x)),
    lambda x: np.exp(x).astype(np.float64),
    lambda x: np.exp(x).astype(">f8"),
    lambda x: nn.functional.conv2d(x[None, None], X[None, None, :3, :3], stride=2),
    lambda x: nn.functional.conv2d(x[None, None], X[None, None, :3, :3], stride=(2, 1)),
]


def test_another_program_is_not_taken_for_it(made: list[Any]) -> None:
    for n, f in enumerate(DIFFERENT, start=1):
        for _ in range(2):
            got, want = tg.compile(f)(X), f(X)
            for x, y in zip(got, want) if isinstance(got, tuple) else [(got, want)]:
                np.testing.assert_allclose(x, y, rtol=1e-6)  # a sum may be a product, by BLAS
                np.testing.assert_array_equal(np.signbit(x), np.signbit(y))
                assert np.asarray(x).dtype == np.asarray(y).dtype
            assert len(made) == n
    f = DIFFERENT[0]
    for options in ({"exact": True}, {"without": "constants"}):
        tg.compile(f, **options)(X)
    for x in (X[1:], X.astype(np.float64)):
        tg.compile(f)(x)
    assert len(made) == len(DIFFERENT) + 4
    wide = np.repeat(X, 2, axis=1)
    for x in (X, wide[:, ::2]):  # with gaps in memory, of which a copy has none
        tg.compile(lambda x: np.sum(x.astype(np.float32)), exact=True)(x)
    assert len(made) == len(DIFFERENT) + 6


@pytest.mark.usefixtures("own_primitives")
def test_what_no_text_tells_from_others_is_made_each_time(made: list[Any], folder: Path) -> None:
    words = store.Words()
    with pytest.raises(store.Unknown):
        words.text(np.frompyfunc(lambda x: 2 * x, 1, 1))
    with pytest.raises(store.Unknown):
        words.text(training)
    assert words.text(np.add.reduce) != words.text(np.maximum.reduce)
    turned = np.arange(6.0).reshape(2, 3).T  # lies otherwise in memory
    with pytest.raises(store.Unknown):
        words.recipe(turned)
    words.text(turned)
    assert words.recipe(turned) == ("given", 0)
    own = tg.primitive(np.exp, lambda g, out, x: g * out, name="own")
    for f in (own, np.exp):
        tg.compile(lambda x, f=f: f(x))(X)
    assert len(made) == 1  # what is written down is NumPy's


@pytest.mark.parametrize("rubbish", [b"", b"rubbish" * 99, None])
def test_a_file_that_was_changed_is_not_run(rubbish: Any, made: list[Any], folder: Path) -> None:
    f = DIFFERENT[0]
    tg.compile(f)(X)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] + bytes(20) if rubbish is None else rubbish)
    assert tg.compile(f)(X) == f(X)
    assert len(made) == 2
    assert path.read_bytes() == whole


def test_a_package_that_was_replaced_while_it_runs_keeps_nothing(
    made: list[Any], folder: Path, monkeypatch: Any
) -> None:
    store.depends.cache_clear()
    monkeypatch.setattr(store, "LOADED", 0)
    for _ in range(2):
        tg.compile(DIFFERENT[0])(X)
    assert len(made) == 2
    assert not folder.exists()


def test_a_folder_of_others_or_none_is_no_error(made: list[Any], folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    f = DIFFERENT[0]
    for _ in range(2):
        assert tg.compile(f)(X) == f(X)
    folder.rmdir()
    folder.touch()
    assert tg.compile(f)(X) == f(X)
    assert len(made) == 3


def test_kernels_that_are_gone_are_made_again_and_those_found_take_other_layouts(
    made: list[Any], folder: Path
) -> None:
    pytest.importorskip("llvmlite")
    f = lambda x: np.exp(x) * 2 + np.sum(x, axis=0)
    g = [tg.compile(f, backend="llvm") for _ in range(3)]
    g[0](X)
    np.testing.assert_allclose(g[1](X), f(X), rtol=1e-6)
    np.testing.assert_allclose(g[1](np.asfortranarray(X)), f(X), rtol=1e-6)
    np.testing.assert_allclose(g[1](X[::-1]), f(X[::-1]), rtol=1e-6)
    assert len(made) == 1
    for path in folder.glob("*.o"):
        path.unlink()
    np.testing.assert_allclose(g[2](X), f(X), rtol=1e-6)
    assert len(made) == 2
    total, wide = lambda x: np.sum(np.exp(x) * np.tanh(x)), np.tile(X, (250, 20))
    for step in [tg.compile(total, backend="llvm", microbatches=2) for _ in range(2)]:
        step(wide[:, :50].copy())
        assert "for t in range(2)" in step.source
        np.testing.assert_allclose(step(wide[:, ::2]), total(wide[:, ::2]), rtol=1e-5)
    assert len(made) == 3
    assert [*folder.glob("*.o")]


def test_another_process_finds_it(folder: Path) -> None:
    code = """
import numpy as np, tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.compiler import store
store.LEAST = 0
model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.ReLU(), nn.LayerNorm(4))
optimizer = optim.AdamW(model.parameters())
@tg.compile
def step(x):
    optimizer.zero_grad()
    np.sum(model(x) ** 2).backward()
    optimizer.step()
step(np.ones((2, 3)))
step(np.ones((2, 3)))
"""
    found = []
    for seed in "01":
        env = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code], check=True, env=env)
        found.append(sorted(folder.iterdir()))
    assert found[0] == found[1] != []
