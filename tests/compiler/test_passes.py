"""Each pass alone: what it changes in a program, and that the numbers stay."""

from __future__ import annotations

import operator
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn, optim
from tensorgrad.compiler.costs import flops
from tensorgrad.compiler.lives import may_raise
from tensorgrad.compiler.passes import EXACT, PASSES, name_of
from tensorgrad.compiler.program import (
    Composite,
    Fused,
    Halves,
    Instruction,
    Loop,
    Program,
    Rule,
    is_part,
    shares,
)
from tensorgrad.nn import functional as F

PAGE = Path(__file__).parents[2] / "docs" / "compiling.md"
NAMES = [name_of(run) for run in PASSES]
EXACTLY = [name_of(run) for run in EXACT]
ODD = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-38, -1e-38, 1e-45, 3e38, -3e38, 1e19, 1.0, -2.0]


def alone(name: str, f: Any) -> Any:
    """`f` compiled with what a pass is prepared by, and that pass."""
    needed = {"ufuncs", "shapes", "reductions", "constants", "numbers", "dead code", name}
    return tg.compile(f, without=[x for x in NAMES if x not in needed])


def softmax(x: Any, y: Any) -> Any:
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True), np.log(np.sum(e, axis=1)), e @ y.T


def relu(x: Any, y: Any) -> Any:
    a = np.maximum(x, 0)
    return np.where(x > 0, y, 0), a, (a > 0) & (x > 1)


def scaled(x: Any, y: Any) -> Any:
    return 3 * (x * 0.5), (2 * y) / 7, 1e30 * (x * 1e-30), 1e-30 * (y * 1e30), 0 * (2 * x)


def powers(x: Any, y: Any) -> Any:
    return x**2, abs(y) ** 0.5, x**-1, y**3


def shapes(x: Any, y: Any) -> Any:
    return x.T.T, x.reshape(-1).reshape(y.shape), x.reshape(x.shape), np.swapaxes(x, -1, -2) @ y


def totals(x: Any, y: Any) -> Any:
    last = x.sum(axis=-1), y.sum(axis=-2), (x * y).sum(axis=-1, keepdims=True)
    return x.sum(axis=0), 0.5 * y.sum(axis=0), x.sum(axis=1, keepdims=True), y.sum(axis=(0,)), *last


def products(x: Any, y: Any) -> Any:
    c = x @ x.T
    return c - 0.1 * (y @ x.T), 0.9 * c + y @ y.T, y @ x.T + c, c - x @ y.T, x.T @ y - 2.0


def columns(x: Any, y: Any) -> Any:
    w = np.tanh((x @ x.T) @ y)
    z = (y.T @ np.tanh((x @ x.T).T)).T
    mirrored = (y.T @ np.tanh(x @ x.T)).T
    return w * np.where(z > 0, z, 0), w.T @ x, z - y, np.tanh(mirrored + mirrored[::-1])


def pooled(x: Any, y: Any) -> Any:
    """A bias, a ReLU, and the largest of windows side by side, and of some that overlap."""
    x, y = x[:12, :4].T[None], y[:6, :4].T[None]

    def loss(b: Any) -> Any:
        return np.sum(F.max_pool1d(np.maximum(F.relu(x + b[:, None]), 0.5), 2) * y)

    gradient = tg.grad(lambda x: np.sum(F.max_pool1d(F.relu(x), 2) * y))(x)
    bias = tg.grad(lambda b: np.sum(F.max_pool1d(F.relu(x + b), 2) * y))(y[:1, :1, :1])
    return gradient, bias, F.max_pool1d(x, 3, 1), tg.grad(loss)(y[0, :, 1])


FUNCTIONS = [softmax, relu, scaled, powers, shapes, totals, products, columns, pooled]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("f", FUNCTIONS)
def test_a_pass_alone_keeps_the_numbers(f: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(13, 5)).astype(dtype) for _ in range(2))
    odd = np.resize(np.array(ODD, np.float32), (13, 5)).astype(dtype)
    for name in [*NAMES, "all"]:
        g = tg.compile(f) if name == "all" else alone(name, f)
        for a, b in ((x, y), (odd, odd[::-1].copy())):
            with np.errstate(all="ignore"):
                wanted, found = f(a, b), g(a, b)
            for p, q in zip(found, wanted):
                assert (p.shape, p.dtype) == (q.shape, q.dtype)
                if name in EXACTLY and f is not products:  # BLAS may round by where an array lies
                    np.testing.assert_array_equal(p, q)
                elif a is x:
                    near = 1e-5 if dtype is np.float32 else 1e-12
                    np.testing.assert_allclose(p, q, rtol=near, atol=near)
                elif f is scaled:  # nothing overflows or vanishes that did not
                    fine = np.isfinite(q) & (abs(q) > 1e-37)
                    np.testing.assert_allclose(p[fine], q[fine], rtol=1e-5)
                elif f not in (products, columns):
                    np.testing.assert_array_equal(np.isnan(p), np.isnan(q))


def changed(name: str, f: Any) -> str:
    """The code of `f` after a pass, and after what comes before it."""
    g = tg.compile(f)
    g(np.ones((13, 5)), np.ones((13, 5)))
    return g.stages()[name].partition("def step")[2]


def test_what_the_passes_are_for() -> None:
    assert "np.square(" in changed("ufuncs", powers)
    assert "np.sqrt(" in changed("ufuncs", powers)
    assert changed("dead code", shapes).count("reshape") == 0
    assert "swapaxes" not in changed("shapes", shapes)
    assert changed("common subexpressions", softmax).count("np.add.reduce(") == 1
    after = changed("masks", relu)
    assert after.count("np.greater(x, ") == 1  # x > 1
    assert changed("dead code", scaled).count("np.multiply(") == 6  # 0 * (2 x) stays
    assert "np.divide" not in changed("dead code", scaled)
    after = changed("dead code", pooled)
    assert re.search(r"to_largest\(\w+, x_2, ", after)
    assert after.count("to_largest(") == 2  # one was for a sum
    assert " largest(" not in changed("windows", pooled)
    assert "reduce" not in changed("sums", totals)
    assert changed("accumulation", products).count("plus_product(") == 2  # others need the product


def test_the_page_names_all_passes_in_their_order() -> None:
    rows = re.findall(r"^\| ([a-z ]+) \| .* \|( ✓)? \|$", PAGE.read_text("utf8"), re.M)
    names = [name for name, _ in rows]
    assert [name for name in names if name in NAMES] == NAMES
    assert [name for name, exact in rows if exact] == EXACTLY
    assert {*names} == {*NAMES, *EXACTLY, "machine code"}


def test_a_product_that_meets_columns_lies_by_columns() -> None:
    def f(x: Any, y: Any) -> Any:
        a = np.maximum((y.T @ x.T).T, 0)
        return np.where(a > 0, x @ y, 0) * 2

    g = tg.compile(f)
    x = np.random.default_rng(0).normal(size=(5, 5))
    np.testing.assert_allclose(g(x, x), f(x, x))
    assert g.stages()["layouts"].count(".T") > g.stages()["factors"].count(".T")


def test_what_one_call_makes_of_what_is_kept_is_made_again() -> None:
    def f(x: Any) -> Any:
        s = 1 + np.exp(-x)
        y = x / s  # read here, and again at the end, as x and s are
        z = np.sum(np.abs(x * np.sum(y)))
        for _ in range(70):
            z = np.sum(np.sin(x[:9] * z))
        return np.sum(np.cos(y * z)) + np.sum(x * s)

    x = np.random.default_rng(0).normal(size=200_000)
    kept, again = tg.compile(f, without=["rematerialisation"]), tg.compile(f)
    assert kept(x) == again(x)
    assert (kept.source.count("np.divide"), again.source.count("np.divide")) == (1, 2)
    assert again.last.code.nbytes < kept.last.code.nbytes


def test_what_the_forward_pass_took_the_mean_of_is_not_taken_again() -> None:
    f = lambda x: tg.grad(lambda x: np.sum(np.sin(nn.functional.layer_norm(x, (32,)))))(x)
    x = np.random.default_rng(0).normal(size=(3, 32))
    step = tg.compile(f, exact=True)
    assert np.array_equal(step(x), f(x))
    assert step.source.count("np.vecdot") == 4  # of x, its square; of the gradient, by both


def test_of_a_layer_norm_x_less_its_mean_alone_is_kept() -> None:
    """What it answers is made again from that, as is that of a GELU."""
    layers = [
        nn.Sequential(nn.LayerNorm(256), nn.Linear(256, 256, rng=k), nn.GELU("tanh"))
        for k in range(4)
    ]
    model = nn.Sequential(*layers)
    sgd = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any) -> Any:
        loss = np.mean(model(x) ** 2)
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        sgd.zero_grad()
        return loss

    x = np.random.default_rng(0).normal(size=(512, 256)).astype(np.float32)
    kept, again = tg.compile(step, without=["rematerialisation"]), tg.compile(step)
    for compiled in (kept, again):
        compiled(x)
        compiled(x)
    held, less = (compiled.last.code.nbytes for compiled in (kept, again))
    assert less <= held - len(layers) * x.nbytes


@pytest.mark.parametrize("other", [-np.inf, 1, np.arange(300.0)])
def test_a_choice_goes_into_a_buffer(other: Any) -> None:
    f = lambda x: np.sum(np.exp(np.where(x > other, x * 2, other) / 2) + x, axis=0)
    step, xs = tg.compile(f, exact=True), np.random.default_rng(0).normal(size=(2, 200, 300))
    assert all(np.array_equal(step(x), f(x)) for x in xs)
    assert "where=" in step.source
    assert "np.where" not in step.source


COMPOSITES = {
    Fused: Fused,
    Rule: Rule,
    Loop: lambda program: Loop(program, 1, 0, 2, False),
    Halves: lambda program: Halves(program, [None]),
}


@pytest.mark.parametrize("kind", Composite.__subclasses__())
def test_what_an_instruction_has_within_is_seen(kind: Any) -> None:
    """What it costs, whether it raises, and that its results are its own: of each kind there is."""
    square = np.dtype(np.float64)
    x, y = (Instruction(None, (), None, (3, 3), square) for _ in range(2))
    inverse = Instruction(np.linalg.inv, (x,), None, (3, 3), square)
    product = Instruction(np.matmul, (inverse, x), None, (3, 3), square)
    function = COMPOSITES[kind](Program([x], [inverse, product], [product]))
    whole = Instruction(function, (y,), None, None)
    part = Instruction(operator.getitem, (whole, 0), {}, (3, 3), square)
    assert flops(whole) == function.times * (flops(inverse) + flops(product)) > 0
    assert may_raise(whole)
    assert is_part(part)
    assert not shares(whole)
    assert not shares(part)
