"""Optimisers that look at several points: L-BFGS, Newton-CG, and those of SciPy."""

from __future__ import annotations

import math
import pickle
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn, optim
from tensorgrad.optim.search import Point, inverse_hessian, strong_wolfe

close = partial(np.testing.assert_allclose, rtol=1e-9)


def valley(w: Any) -> Any:
    """Rosenbrock's, with its minimum at (1, 1)."""
    return 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2


def bowl(w: Any) -> Any:
    return ((w - 1) ** 4 + w**2).sum()


def closure_of(optimizer: Any, loss: Callable[[], Any], looks: Any = None) -> Callable[[], Any]:
    def closure() -> Any:
        if looks is not None:
            looks.append(1)
        optimizer.zero_grad()
        value = loss()
        value.backward()
        return value

    return closure


# L-BFGS: three steps of PyTorch 2.13, float64, and how often it had looked after each.
PYTORCH: list[tuple[Any, Any, dict[str, Any], list[tuple[int, list[float]]]]] = [
    (
        *(bowl, [0.3, -0.2], {"lr": 0.1, "max_iter": 5}),
        [
            (5, [0.3369429082927173, 0.012646672556630784]),
            (10, [0.36569264005616636, 0.13532514516423258]),
            (15, [0.38356306568191556, 0.22683009551690667]),
        ],
    ),
    (
        *(valley, [-1.2, 1.0], {"line_search_fn": "strong_wolfe"}),
        [
            (25, [0.38062264334648777, 0.12491013187293636]),
            (44, [0.9999814210791366, 0.9999619651810989]),
            (45, [0.9999814210791366, 0.9999619651810989]),
        ],
    ),
    (
        *(valley, [-1.2, 1.0]),
        {"lr": 0.5, "max_iter": 5, "history_size": 2, "line_search_fn": "strong_wolfe"},
        [
            (6, [-1.0183344661800167, 1.0645120891349213]),
            (12, [-1.0216595339923964, 1.0458806754712364]),
            (18, [-0.6791610385052176, 0.44954482648644795]),
        ],
    ),
]


@pytest.mark.parametrize(("loss", "start", "settings", "expected"), PYTORCH)
def test_three_steps_of_lbfgs_are_pytorchs(
    loss: Any, start: Any, settings: dict[str, Any], expected: Any
) -> None:
    w = Value(start)
    optimizer, looks = optim.LBFGS([w], **settings), []
    for n, after in expected:
        optimizer.step(closure_of(optimizer, lambda: loss(w), looks))
        close(w.data, after)
        assert len(looks) == n


def test_defaults_are_pytorchs() -> None:
    (group,) = optim.LBFGS([Value(1.0)]).param_groups
    assert list(group.values())[:-1] == [1.0, 20, 25, 1e-7, 1e-9, 100, None]


def test_two_loops_are_the_inverse_hessian_that_bfgs_updates() -> None:
    """Nocedal and Wright, equation 7.16, as a matrix."""
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    changes: list[Any] = []
    for _ in range(3):
        s = rng.normal(size=4)
        changes += [s, root @ root.T @ s]
    H = np.eye(4) * (changes[-2] @ changes[-1]) / (changes[-1] @ changes[-1])
    for s, y in zip(changes[::2], changes[1::2]):
        V = np.eye(4) - np.outer(y, s) / (y @ s)
        H = V.T @ H @ V + np.outer(s, s) / (y @ s)
    g = rng.normal(size=4)
    close(inverse_hessian(changes, g), H @ g)
    close(inverse_hessian([], g), g)


LINES: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "quartic": (lambda t: t**4 - 3 * t**2 - t, lambda t: 4 * t**3 - 6 * t - 1),
    "waves": (lambda t: -math.sin(3 * t) + t * t / 10, lambda t: -3 * math.cos(3 * t) + t / 5),
    "steep": (
        lambda t: math.exp(2 * t) - 4 * t - math.log1p(t),
        lambda t: 2 * math.exp(2 * t) - 4 - 1 / (1 + t),
    ),
    "wall": (  # looks that come too near to an end of the bracket
        lambda t: (1 - t) ** 1.2 if t < 1 else (t - 1) ** 1.2 + 20 * (t - 1),
        lambda t: -1.2 * (1 - t) ** 0.2 if t < 1 else 1.2 * (t - 1) ** 0.2 + 20,
    ),
}
# PyTorch 2.13: where it looks, from the first t on, and what it takes after at most so many.
LOOKS: list[tuple[str, int, list[float], float]] = [
    ("quartic", 25, [1e-3, 0.01, 0.1, 1.0, 1.4196129596249838, 1.299934112717194], -1),
    ("quartic", 3, [1e-3, 0.01, 0.1, 1.0], 1.0),
    ("quartic", 25, [3.0, 1.3737734478532144, 1.280584780307375], -1),
    ("quartic", 3, [30, 10.033887012635141, 3.4491071275203202, 1.4724496891272514], -1),
    ("waves", 25, [1e-3, 0.01, 0.1, 0.46718555507521276], -1),
    ("waves", 25, [30, 6.37619369133623, 1.2425483093707426, 0.44183601251342275], -1),
    ("steep", 25, [3.0, 1.5197747436486106, 0.5757839784528633], -1),
    (
        *("wall", 25),
        [2.0, 0.10714285714285698, 0.29642857142857126, 0.3535746606431962, 0.5182171945788766],
        -1,
    ),
    ("wall", 25, [9.0, 0.14515393559042167, 1.0306385420313795, 0.733646010879238], -1),
    ("steep", 3, [30, 19.655172413793103, 12.752246797119, 8.13980116078176], 0.0),
]


@pytest.mark.parametrize(("name", "most", "looks", "taken"), LOOKS)
def test_a_line_search_looks_where_pytorchs_does(
    name: str, most: int, looks: list[float], taken: float
) -> None:
    f, slope = LINES[name]
    seen: list[float] = []

    def at(t: float) -> Point:
        seen.append(t)
        return Point(t, f(t), np.zeros(1), slope(t))

    start = Point(0.0, f(0), np.zeros(1), slope(0))
    point, n = strong_wolfe(at, start, looks[0], 1e-9, most)
    close(seen, looks)
    assert n == len(looks)
    close(point.t, looks[-1] if taken < 0 else taken)
    if most > n:
        assert point.f <= start.f + 1e-4 * point.t * start.slope
        assert abs(point.slope) <= 0.9 * abs(start.slope)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.LBFGS(p, lr=100.0, line_search_fn="strong_wolfe"),
        lambda p: optim.NewtonCG(p, lr=100.0),
    ],
)
def test_a_line_search_steps_back_from_what_is_no_number(make: Any) -> None:
    w = Value([0.1])
    optimizer = make([w])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for _ in range(20):
            optimizer.step(closure_of(optimizer, lambda: (w - np.log(w)).sum()))
    close(w.data, 1.0, rtol=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.LBFGS(p, line_search_fn="strong_wolfe"),
        optim.NewtonCG,
        optim.SciPy,
        lambda p: optim.SciPy(p, "newton-cg"),
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.complex128])
def test_a_minimum_over_parameters_of_all_shapes(make: Any, dtype: Any) -> None:
    targets = [np.array([[1.0, 2.0], [3.0, 4.0]], dtype), np.array(0.5, dtype)]
    if dtype is np.complex128:
        targets[0] = targets[0] * (1 - 2j)
    params = [Value(np.zeros((2, 2), dtype)), Value(dtype(0)), Value(dtype(7), requires_grad=False)]
    optimizer = make(params)

    def loss() -> Any:
        parts = [np.abs(p - t) ** 2 for p, t in zip(params, targets)]
        return sum(np.sum(part + 0.1 * part**2) for part in parts)

    first = optimizer.step(closure_of(optimizer, loss))
    before = sum(np.sum(np.abs(t) ** 2 + 0.1 * np.abs(t) ** 4) for t in targets)
    close(first.item(), before, rtol=1e-6)
    for _ in range(9):
        optimizer.step(closure_of(optimizer, loss))
    for p, t in zip(params, targets):
        np.testing.assert_allclose(p.data, t, atol=1e-3)
        assert p.dtype == dtype
        assert type(p.data) is type(Value(t).data)
    assert params[2].data == 7


def test_lbfgs_goes_on_from_its_saved_state_as_if_nothing_had_been() -> None:
    one, other = Value([-1.2, 1.0]), Value([0.0, 0.0])
    settings = {"max_iter": 3, "line_search_fn": "strong_wolfe"}
    first, second = optim.LBFGS([one], **settings), optim.LBFGS([other], lr=7.0)
    for _ in range(3):
        first.step(closure_of(first, lambda: valley(one)))
    second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    other.data = one.data
    for _ in range(3):
        first.step(closure_of(first, lambda: valley(one)))
        second.step(closure_of(second, lambda: valley(other)))
    np.testing.assert_array_equal(one.data, other.data)


def test_a_state_of_lbfgs_is_of_as_many_numbers() -> None:
    w = Value([-1.2, 1.0])
    optimizer = optim.LBFGS([w])
    optimizer.step(closure_of(optimizer, lambda: valley(w)))
    with pytest.raises(ValueError, match=r"shape \(2,\) for parameter 0 of shape \(3,\)"):
        optim.LBFGS([Value(np.ones(3))]).load_state_dict(optimizer.state_dict())


# Newton's method.

A = np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]])
b = np.array([1.0, -2.0, 0.5])


def test_newtons_step_reaches_the_minimum_of_a_quadratic_at_once() -> None:
    w = Value([5.0, -4.0, 3.0])
    optimizer = optim.NewtonCG([w])
    for _ in range(2):  # the second for what conjugate gradients have left
        optimizer.step(closure_of(optimizer, lambda: 0.5 * (w @ A @ w) - b @ w))
    close(w.data, np.linalg.solve(A, b), rtol=1e-4)


def test_newtons_direction_solves_for_the_gradient_or_stops_at_negative_curvature() -> None:
    g = 1e-9 * b  # small: then to many digits
    close(optim.NewtonCG.direction(lambda v: A @ v, g, 50), -np.linalg.solve(A, g), rtol=1e-5)
    close(optim.NewtonCG.direction(lambda v: -A @ v, b, 50), -b)
    close(optim.NewtonCG.direction(lambda v: A @ v, b, 1), -b * (b @ b) / (b @ A @ b))


def test_products_with_the_hessian_are_those_of_hvp() -> None:
    rng = np.random.default_rng(0)
    a, c = rng.normal(size=(2, 3)), rng.normal(size=3)
    pa, pc = Value(a), Value(c)
    optimizer = optim.NewtonCG([pa, pc])

    def loss(a: Any, c: Any) -> Any:
        return np.sum(np.tanh(a @ c) ** 2) + np.sum(c)

    times = optimizer.curvature(loss(pa, pc))
    va, vc = rng.normal(size=(2, 3)), rng.normal(size=3)
    expected = tg.hvp(loss, (a, c), (va, vc))
    close(times(np.concatenate([va.ravel(), vc])), np.concatenate([x.ravel() for x in expected]))
    assert pa.grad is pc.grad is None


def test_newton_escapes_where_the_curvature_is_negative() -> None:
    w = Value([0.1, 0.1])
    optimizer = optim.NewtonCG([w])
    for _ in range(30):
        optimizer.step(closure_of(optimizer, lambda: np.sum(w**4 - w**2)))
    close(np.abs(w.data), 0.5**0.5, rtol=1e-6)


# SciPy's.

METHODS = [
    *("Nelder-Mead", "Powell", "CG", "BFGS", "Newton-CG", "L-BFGS-B", "TNC", "COBYLA", "SLSQP"),
    *("trust-constr", "dogleg", "trust-ncg", "trust-exact", "trust-krylov"),
]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_scipy_trains_a_module(method: str) -> None:
    x, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([[1.0], [3.0], [5.0], [7.5]])
    model = nn.Linear(1, 1, rng=0).to(np.float64)
    result = optim.minimize(model, lambda model: nn.functional.mse_loss(model(x), y), method)
    slope, offset = np.polyfit(x[:, 0], y[:, 0], 1)
    np.testing.assert_allclose([model.weight.item(), model.bias.item()], [slope, offset], atol=3e-3)
    assert result.success
    close(result.fun, nn.functional.mse_loss(model(x), y).item())
    assert result.x.shape == (2,)


@pytest.mark.parametrize("bounds", [(0.0, 1.5), [(0.0, 1.5)] * 2])
def test_bounds_are_a_pair_or_scipys(bounds: Any) -> None:
    w = Value([1.0, 1.0])
    optimizer = optim.SciPy([w], bounds=bounds, options={"maxiter": 100})
    optimizer.step(closure_of(optimizer, lambda: ((w - [2.0, -1.0]) ** 2).sum()))
    close(w.data, [1.5, 0.0], atol=1e-9)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.LBFGS(p, line_search_fn="strong_wolfe"),
        optim.NewtonCG,
        lambda p: optim.SciPy(p, "BFGS"),
    ],
)
def test_fit_trains_with_optimisers_that_look_at_several_points(make: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 2))
    y = (x[:, 0] > x[:, 1]).astype(int)
    model = nn.Sequential(nn.Linear(2, 4, rng=0), nn.Tanh(), nn.Linear(4, 2, rng=1))
    optimizer = make(model.parameters())
    history = tg.fit(model, [(x, y)], nn.functional.cross_entropy, optimizer, epochs=9)
    assert history[-1].loss < 0.15


@pytest.mark.parametrize("make", [optim.LBFGS, optim.NewtonCG, optim.SciPy])
def test_what_begins_with_no_number_ends_there_and_changes_nothing(make: Any) -> None:
    for start in (-1.0, 0.0):  # a logarithm that is none, and a slope that is infinite
        p = Value([start])
        optimizer = make([p])
        with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match="as they were"):
            optimizer.step(closure_of(optimizer, lambda p=p: np.sqrt(p).sum()))
        assert p.data == start


def test_a_missing_scipy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match=r"optim.SciPy needs SciPy: pip install .*\[scipy\]"):
        optim.SciPy([w]).step(lambda: w.sum())


w = Value([1.0, 2.0])
groups = [{"params": [Value(1.0)]}, {"params": [Value(1.0)]}]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.LBFGS(groups), ValueError, "LBFGS has one group"),
        (lambda: optim.LBFGS([w], line_search_fn="x"), ValueError, "line_search_fn='x'"),
        (lambda: optim.LBFGS([w], lr=-1), ValueError, "lr=-1"),
        (lambda: optim.LBFGS([w]).step(), TypeError, r"several points: step\(closure\)"),
        (lambda: optim.NewtonCG([w]).step(), TypeError, "several points"),
        (lambda: optim.SciPy([w], "x").step(lambda: w.sum()), ValueError, "Unknown solver"),
    ],
)
def test_mistakes_are_named(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
