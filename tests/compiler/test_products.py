"""Products that are added to what is there: one call of BLAS, the same numbers to rounding."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn, optim
from tensorgrad.compiler import blas
from tests.compiler.test_compile import assert_same, run_alone

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(16, 6)), np.arange(16) % 3


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("whose", ["NumPy", "SciPy", "none"])
def test_a_product_is_added_in_place(
    dtype: str, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if whose != "NumPy":
        monkeypatch.setattr(blas, "routine", lambda char: (None, None))
    if whose == "none":
        monkeypatch.setitem(sys.modules, "scipy.linalg", None)
    for x_turned, y_turned, beta in itertools.product([0, 1], [0, 1], [None, -0.5]):
        c, x, y = (RNG.normal(size=shape).astype(dtype) for shape in ((2, 5), (2, 3), (3, 5)))
        wanted = (1.0 if beta is None else beta) * c + 0.25 * (x @ y)
        x, y = (z.T.copy() if turned else z for z, turned in ((x, x_turned), (y, y_turned)))
        x.flags.writeable = False
        add = blas.adder((2, 5), 3, dtype, bool(x_turned), bool(y_turned))
        for array in (c.copy(), np.asfortranarray(c)):
            add(array, np.array(0.25, dtype), x, y, *([] if beta is None else [beta]))
            np.testing.assert_allclose(array, wanted, rtol=1e-5 if dtype == "f4" else 1e-13)


@pytest.mark.parametrize("x_turned", [False, True])
def test_a_product_of_parts_of_wider_matrices_is_added(x_turned: bool) -> None:
    wide = RNG.normal(size=(3, 8) if x_turned else (2, 8))
    x, y, c = wide[:, 4:6] if x_turned else wide[:, 4:7], RNG.normal(size=(3, 9))[:, 4:], 1.5
    add = blas.adder((2, 5), 3, "f8", x_turned, x_step=8, y_step=9)
    for new in (x, x.copy(), np.asfortranarray(x)):  # and what lies otherwise than was said
        out = np.full((2, 5), c)
        add(out, 0.5, new, y)
        np.testing.assert_allclose(out, c + 0.5 * ((x.T if x_turned else x) @ y), rtol=1e-13)


def test_numpys_own_blas_is_found() -> None:
    config: Any = np.show_config("dicts")
    if config["Build Dependencies"]["blas"]["name"] == "scipy-openblas":
        assert None not in (*blas.routine("f"), *blas.routine("d"))


def training(optimizer: Any, dtype: Any, wrap: Callable[..., Any], clip: bool = False) -> Any:
    layers = nn.Linear(6, 5, rng=0, dtype=dtype), nn.ReLU(), nn.Linear(5, 3, rng=1, dtype=dtype)
    model = nn.Sequential(*layers)
    rule = optimizer(model.parameters())

    @wrap
    def step(x: Any, y: Any) -> Any:
        loss = nn.functional.cross_entropy(model(x), y)
        rule.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        rule.step()
        rule.zero_grad()
        return loss

    return model, step


RULES = {
    "SGD": lambda p: optim.SGD(p, lr=0.1),
    "decay": lambda p: optim.SGD(p, lr=0.1, weight_decay=0.01),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "Nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "Adam": lambda p: optim.Adam(p, lr=0.01),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", [*RULES, "clip"])
def test_after_100_steps_parameters_are_those_of_the_function(name: str, dtype: Any) -> None:
    ends = []
    for wrap in (lambda f: f, tg.compile):
        model, step = training(RULES.get(name, RULES["SGD"]), dtype, wrap, name == "clip")
        for k in range(100):
            step(X.astype(dtype) * (1 + k % 3), Y)
        ends.append([p.data for p in model.parameters()])
    added = len(re.findall(r"  add_product\w*\(", step.source))
    assert added == (2 if name in ("SGD", "decay", "momentum") else 0)  # others need g itself
    # Adam divides by the root of what is all rounding where a gradient is
    near = 1e-11 if dtype is np.float64 else 2e-4
    for x, y in zip(*ends):
        np.testing.assert_allclose(x, y, rtol=near, atol=near)


def test_a_step_that_adds_products_is_saved_for_numpy_alone(tmp_path: Path) -> None:
    _, step = training(RULES["momentum"], np.float32, tg.compile)
    x = X.astype(np.float32)
    for _ in range(2):
        step(x, Y)
    step.save(tmp_path / "step.py")
    np.savez(tmp_path / "batch.npz", x=x, y=Y)
    code = "import numpy as np; from step import step; b = np.load('batch.npz')\n"
    code += "print(*(float(step(b['x'], b['y'])) for _ in range(3)))"
    found = [*map(float, run_alone(tmp_path, code).split())]
    np.testing.assert_allclose(found, [step(x, Y).item() for _ in range(3)], rtol=1e-5)


@pytest.mark.parametrize("x", [np.inf, np.nan, 1e25, 1e30])
def test_what_is_not_finite_or_near_it_goes_as_the_function_does(x: float) -> None:
    ends = []
    for wrap in (lambda f: f, tg.compile):
        model, step = training(RULES["SGD"], np.float32, wrap)
        batch = X.astype(np.float32)
        step(batch, Y)
        batch = batch.copy()
        batch[0, 0] = x
        with np.errstate(all="ignore"):
            step(batch, Y)
        ends.append([p.data for p in model.parameters()])
    assert_same(ends[1], ends[0], bits=False)


def test_a_bound_that_fails_leaves_the_numbers_to_the_function() -> None:
    """|x|² is no float32, but x d is."""
    w = Value(np.ones((2, 2), np.float32))

    def descend(x: Any, w: Any = w) -> None:
        np.sum((x @ w) * np.float32(1e-30)).backward()
        w.data = w.data - 0.1 * w.grad
        w.grad = None

    x = np.full((3, 2), 1e30, np.float32)
    tg.compile(descend)(x)
    np.testing.assert_allclose(w.data, 1 - 0.3, rtol=1e-5)


def test_a_parameter_that_others_hold_keeps_its_numbers_there() -> None:
    model, step = training(RULES["SGD"], np.float32, tg.compile)
    p = model.parameters()[0]
    held, before = p.data, p.data.copy()
    step(X.astype(np.float32), Y)
    assert np.array_equal(held, before)
    assert not np.array_equal(p.data, before)


@pytest.mark.parametrize(("n", "k", "m"), [(0, 2, 3), (2, 0, 3), (2, 3, 0)])
def test_a_product_without_entries_is_added(n: int, k: int, m: int) -> None:
    found = tg.compile(lambda x, y, c: c * 2 + x @ y)(
        np.ones((n, k)), np.ones((k, m)), np.eye(n, m)
    )
    np.testing.assert_array_equal(found, 2 * np.eye(n, m))


def test_what_is_multiplied_by_0_or_needed_is_not_left_to_blas() -> None:
    def f(x: Any, y: Any, c: Any) -> Any:
        g = x @ y
        return c * 0.0 + x @ y.T, g + c, g

    c = np.full((3, 3), np.nan)
    found = tg.compile(f)(np.ones((3, 3)), np.ones((3, 3)), c)
    assert np.isnan(found[0]).all()
    np.testing.assert_array_equal(found[2], 3)
    x = np.full((200, 200), np.nan, np.float32)
    times_0 = tg.compile(lambda c, x, s: c + s * (x @ c))
    assert np.isnan(times_0(np.ones_like(x), x, 0.0)).all()


def test_products_of_no_rows_are_added() -> None:
    for n, k, m in ((0, 3, 2), (3, 0, 2), (3, 2, 0), (0, 0, 0)):
        f = tg.compile(lambda c, x, y: c + 0.5 * (x.T @ y))
        c = np.ones((n, m))
        assert_same(f(c, np.ones((k, n)), np.ones((k, m))), c)


def test_a_parameter_that_its_own_product_reads_is_not_written_meanwhile() -> None:
    w = Value(np.random.default_rng(0).normal(size=(40, 40)))
    wanted = w.data - 0.1 * (w.data @ w.data)

    def step(w: Any = w) -> None:
        w.data = w.data - 0.1 * (w.data @ w.data)

    tg.compile(step)()
    np.testing.assert_allclose(w.data, wanted)


def test_a_product_of_much_larger_matrices_is_made() -> None:
    w = Value(np.ones((2, 2)))

    def descend(x: Any, w: Any = w) -> None:
        np.sum((x @ w) ** 2).backward()
        w.data = w.data - 0.1 * w.grad
        w.grad = None

    for rows in 5, 10_000:
        step = tg.compile(descend)
        step(np.ones((rows, 2)))
        assert ("add_product" in step.source) == (rows == 5)


def test_fit_makes_no_gradient_that_nobody_looks_at() -> None:
    class Looks(tg.train.Callback):
        def on_step(self, run: Any) -> None:
            seen.append(run.model[0].weight.grad is not None)

    ends, seen = [], list[bool]()
    for compile, callbacks in ((False, []), (True, []), (True, [Looks()])):
        model = nn.Sequential(nn.Linear(6, 3, rng=0, dtype=np.float64))
        batches = tg.data.DataLoader(X, Y, batch_size=8)
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        loss = nn.functional.cross_entropy
        tg.fit(model, batches, loss, optimizer, epochs=3, callbacks=callbacks, compile=compile)
        ends.append(model[0].weight.data)
        assert (model[0].weight.grad is None) == (compile and not callbacks)
    assert seen == [True] * 6
    for end in ends[1:]:
        np.testing.assert_allclose(end, ends[0], rtol=1e-12)


INNER: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "squares": (lambda x, y: np.sum(x**2), 1),
    "a mean": (lambda x, y: np.mean((x - y) ** 2), 1),
    "a product": (lambda x, y: np.sum(x * np.sin(y)), 1),
    "a product with a number": (lambda x, y: np.sum(3 * (x * y)), 1),
    "several": (lambda x, y: np.sum(100 * x**2 + (1 - y) ** 2 + x * y), 3),
    "a difference, which may be small": (lambda x, y: np.sum(x**2 - y**2), 0),
    "a product that others read": (lambda x, y: (lambda p: np.sum(p) + p)(x * y), 0),
    "of what is broadcast": (lambda x, y: np.sum(x * y[0]), 0),
    "of numbers": (lambda x, y: np.sum(x[0, 0] * y[0]), 0),
    "of integers": (lambda x, y: np.sum(x.astype(int) ** 2), 0),
}


@pytest.mark.parametrize("case", INNER)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_sum_of_products_is_an_inner_product(case: str, dtype: str) -> None:
    f, times = INNER[case]
    x, y = np.random.default_rng(0).normal(size=(2, 5, 7)).astype(dtype)
    step = tg.compile(f)
    found, wanted = step(x, y), f(x, y)
    assert np.asarray(found).dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-5 if dtype == "f4" else 1e-13)
    assert step.source.count("vdot(") + step.source.count(".dot(") == times
    turned = np.asfortranarray(x)
    np.testing.assert_allclose(step(turned, y), wanted, rtol=1e-5 if dtype == "f4" else 1e-13)
