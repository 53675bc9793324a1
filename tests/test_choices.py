"""docs/choices.md: each choice that an operation declares is a row there, and is tested here."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import nn
from tensorgrad.engine.primitive import registry

DOCUMENT = Path(__file__).parents[1] / "docs" / "choices.md"
CHOICES = {name: op.choice for name, op in registry.items() if op.choice}
TIE = [1.0, 3.0, 3.0]
HALVES = [0.0, 0.5, 0.5]
ROW, ROW_OF_ZEROS, NOWHERE = [TIE], np.zeros((1, 3)), np.array([[False]])

# name: a function, the point, and its gradient (of the sum) there.
ROWS: dict[str, tuple[Any, Any, Any]] = {
    "absolute": (np.abs, 0.0, 0.0),
    "fabs": (np.fabs, 0.0, 0.0),
    "relu": (registry["relu"], 0.0, 0.0),
    "leaky_relu": (lambda x: registry["leaky_relu"](x[0], x[1]), [0.0, 0.2], [0.2, 0]),
    "elu": (lambda x: registry["elu"](x, alpha=0.5), 0.0, 0.5),
    "selu": (registry["selu"], 0.0, 1.0507009873554805 * 1.6732632423543772),
    "hardtanh": (registry["hardtanh"], [-1.0, 1.0], [0, 0]),
    "hardsigmoid": (registry["hardsigmoid"], [-3.0, 3.0], [0, 0]),
    "hardswish": (registry["hardswish"], [-3.0, 3.0], [0, 1]),
    "softshrink": (registry["softshrink"], [-0.5, 0.5], [0, 0]),
    "hardshrink": (registry["hardshrink"], [-0.5, 0.5], [0, 0]),
    "threshold": (lambda x: registry["threshold"](x, threshold=1.0, value=0.0), 1.0, 0.0),
    "sign": (np.sign, 0.0, 0.0),
    "floor": (np.floor, 2.0, 0.0),
    "ceil": (np.ceil, 2.0, 0.0),
    "trunc": (np.trunc, 2.0, 0.0),
    "rint": (np.rint, 2.5, 0.0),
    "round": (np.round, 2.5, 0.0),
    "floor_divide": (lambda x: x[0] // x[1], [4.0, 2.0], [0, 0]),
    "spacing": (np.spacing, 2.0, 0.0),
    "heaviside": (lambda x: np.heaviside(x[0], x[1]), [0.0, 0.5], [0, 1]),
    "remainder": (lambda x: x[0] % x[1], [4.0, 2.0], [1, -2]),
    "fmod": (lambda x: np.fmod(x[0], x[1]), [4.0, 2.0], [1, -2]),
    "fraction": (lambda x: np.modf(x)[0], 2.0, 1.0),
    "mantissa": (lambda x: np.frexp(x)[0], 0.0, 1.0),
    "nextafter": (lambda x: np.nextafter(x[0], x[1]), [2.0, 9.0], [1, 0]),
    "copysign": (lambda x: np.copysign(x[0], x[1]), [0.0, -1.0], [0, 0]),
    "maximum": (lambda x: np.maximum(x[0], x[1]), [1.0, 1.0], [0.5, 0.5]),
    "minimum": (lambda x: np.minimum(x[0], x[1]), [1.0, 1.0], [0.5, 0.5]),
    "fmax": (lambda x: np.fmax(x[0], x[1]), [1.0, 1.0], [0.5, 0.5]),
    "fmin": (lambda x: np.fmin(x[0], x[1]), [1.0, 1.0], [0.5, 0.5]),
    "max": (np.max, TIE, HALVES),
    "min": (lambda x: np.min(-x), TIE, np.negative(HALVES)),
    "nanmax": (np.nanmax, [np.nan, 3.0, 3.0], HALVES),
    "nanmin": (np.nanmin, [np.nan, 3.0, 3.0], HALVES),
    "max_pool": (lambda x: nn.functional.max_pool1d(x[None], 3), TIE, HALVES),
    "maximum.accumulate": (lambda x: np.maximum.accumulate(x)[-1], TIE, [0, 0, 1]),
    "minimum.accumulate": (lambda x: np.minimum.accumulate(-x)[-1], TIE, [0, 0, -1]),
    "sort": (lambda x: np.sort(x)[2], TIE, [0, 0, 1]),
    "partition": (lambda x: np.partition(x, 2)[2], TIE, [0, 0, 1]),
    "clip": (lambda x: np.clip(x[:2], x[2], x[3]), [0.0, 1.0, 0.0, 1.0], [1, 1, 0, 0]),
    "hypot": (lambda x: np.hypot(x[0], x[1]), [0.0, 0.0], [0, 0]),
    "arctan2": (lambda x: np.arctan2(x[0], x[1]), [0.0, 0.0], [0, 0]),
    "norm": (np.linalg.norm, [0.0, 0.0], [0, 0]),
    "std": (np.std, [2.0, 2.0], [0, 0]),
    "power": (lambda x: x[0] ** x[1], [0.0, 2.0], [0, 0]),
    "float_power": (lambda x: np.float_power(x[0], x[1]), [0.0, 2.0], [0, 0]),
    "interp": (  # by two points, three knots and their heights
        lambda x: np.interp(x[:2], x[2:5], x[5:]),
        [1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0, 5.0],
        [4, 4, 0, -4, -4, 0, 1, 1],
    ),
    "eig": (lambda a: np.sum(np.real(np.linalg.eig(a)[1])), np.eye(2), np.zeros((2, 2))),
    "eigh": (lambda a: np.sum(np.linalg.eigh(a)[1]), np.eye(2), np.zeros((2, 2))),
    "svd": (lambda a: np.sum(np.linalg.svd(a)[0]), np.eye(2), np.zeros((2, 2))),
    # pinv(diag(2, 0)): the second row and column stay empty
    "pinv": (lambda a: np.linalg.pinv(a)[0, 0], np.diag([2.0, 0.0]), np.diag([-0.25, 0.0])),
    "attention_weights": (
        lambda x: registry["attention_weights"](x, x, NOWHERE),
        ROW,
        ROW_OF_ZEROS,
    ),
    "attention": (lambda x: registry["attention"](x, x, x, NOWHERE), ROW, ROW_OF_ZEROS),
}


def test_every_choice_has_a_row_in_the_document_and_in_this_table() -> None:
    stated: dict[str, str] = {}
    for names, choice in re.findall(r"^\| (`.*?`) \| (.*) \|$", DOCUMENT.read_text("utf8"), re.M):
        stated |= {name: choice.replace("\\|", "|") for name in re.findall("`(.*?)`", names)}
    assert stated == CHOICES
    assert set(ROWS) == set(CHOICES)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_the_choice_is_what_it_is_said_to_be(name: str) -> None:
    f, at, slope = ROWS[name]
    found = tg.grad(lambda x: 2 * np.sum(f(x)))(np.asarray(at, float)[()])
    np.testing.assert_array_equal(found, 2 * np.asarray(slope))
    # and stays finite when it is differentiated again
    second = tg.grad(lambda x: np.sum(tg.grad(lambda y: np.sum(f(y)))(x)))
    assert np.isfinite(second(np.asarray(at, float)[()])).all() or np.isnan(at).any()


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("n", [2, 5, 12, 30])
def test_ties_up_to_rounding_are_ties(n: int, dtype: str) -> None:
    """No 1/(λi - λj) of rounding errors: the gradient has the size that a gap of 1 gives."""
    functions = {
        "eigh": lambda a: np.sum(np.linalg.eigh(a)[1][0]),
        "eig": lambda a: np.sum(np.real(np.linalg.eig(a)[1][0])),
        "svd": lambda a: np.sum(np.linalg.svd(a)[0][0]),
        "svd of a tall one": lambda a: np.sum(np.linalg.svd(a[:, : n // 2 + 1])[2][0]),
        "hermitian svd": lambda a: np.sum(np.linalg.svd(a, hermitian=True)[0][0]),
    }
    for seed in range(5):
        rng = np.random.default_rng(seed)
        q = np.linalg.qr(rng.standard_normal((n, n)))[0]
        scale = 10.0 ** rng.integers(-8, 8)
        a = (q * rng.integers(1, 3, n)) @ q.T * scale
        a = ((a + a.T) / 2).astype(dtype)
        for name, f in functions.items():
            if name != "eig" or dtype == "f8":  # of float32 it may find complex pairs
                assert np.max(np.abs(tg.grad(f)(a))) * scale < 100 * n, name


def test_a_gap_that_is_no_rounding_is_none_of_the_choice() -> None:
    a = np.diag([1.0, 1 + 1e-9, 2.0])
    by_a = tg.grad(lambda a: np.linalg.eigh(a)[1][0, 1])(a)
    assert np.isclose(abs(by_a[0, 1]), 0.5e9, rtol=1e-6)


def test_a_determinant_of_a_singular_matrix_has_the_adjugate_as_gradient() -> None:
    a = np.array([[1.0, 2.0], [2.0, 4.0]])
    np.testing.assert_allclose(tg.grad(np.linalg.det)(a), [[4, -2], [-2, 1]], atol=1e-12)
    assert not tg.grad(np.linalg.det)(np.zeros((3, 3))).any()


def test_products_with_zeros_are_exact() -> None:
    assert tg.grad(np.prod)(np.array([0.0, 3.0, 4.0])).tolist() == [12, 0, 0]
    assert tg.grad(lambda x: np.cumprod(x)[2])(np.array([0.0, 3.0, 4.0])).tolist() == [12, 0, 0]


def test_singularities_that_are_asked_for_are_honest() -> None:
    with np.errstate(divide="ignore"):
        assert tg.grad(np.sqrt)(0.0) == np.inf
        assert tg.grad(np.log)(0.0) == np.inf


def test_finite_answers_that_follow_from_a_cotangent_of_0() -> None:
    x_itself = {
        "np.exp(np.log(x))": lambda x: np.exp(np.log(x)),
        "np.sqrt(x) ** 2": lambda x: np.sqrt(x) ** 2,
        "1 / (1 / x)": lambda x: 1 / (1 / x),
    }
    stated = re.findall(r"^  \| `(.*)` \| (\S+) \|$", DOCUMENT.read_text("utf8"), re.M)
    assert dict(stated) == dict.fromkeys(x_itself, "0")
    with np.errstate(all="ignore"):
        for f in x_itself.values():
            assert tg.grad(f)(0.0) == 0
            assert np.isclose(tg.grad(f)(2.0), 1)
        assert tg.grad(lambda x: 1 / (1 + np.exp(-x)))(-800.0) == 0
        norm = lambda x: np.sqrt(x * x)
        assert np.isnan(tg.grad(norm)(0.0))
        assert tg.jvp(norm, (0.0,), (1.0,))[1] == 0
