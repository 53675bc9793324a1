"""What nobody asks for adds 0, and an infinity that somebody asks for stays.

Each way to leave an entry out meets each singular function, at the same point twice: entry 0 is
left out, entry 1 is asked for; the last is the root of 0, whose slope is infinite.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.engine.backprop import contribution
from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.node import Node
from tensorgrad.engine.primitive import registry
from tensorgrad.engine.repair import repair
from tensorgrad.nn import functional as F
from tensorgrad.ops.nn.activation import relu, sigmoid
from tensorgrad.ops.nn.softmax import logsumexp, softmax
from tensorgrad.testing.primitives import Case, cases, checkable

Array = Any
Function = Callable[[Array], Array]

# A function, a point where its slope is not finite, and an ordinary one.
NAN: dict[str, tuple[Function, float, float]] = {
    "x log x": (lambda x: x * np.log(x), 0.0, 2.0),
    "log(sqrt)": (lambda x: np.log(np.sqrt(x)), -1.0, 2.0),
}
INFINITE: dict[str, tuple[Function, float, float]] = {
    "1 / x": (lambda x: 1 / x, 0.0, 2.0),
    "x ** -0.5": (lambda x: x**-0.5, 0.0, 2.0),
    "-log": (lambda x: -np.log(x), 0.0, 0.2),
    "log(1 + exp)": (lambda x: np.log(1 + np.exp(x)), 1000.0, 2.0),
}
ZERO: dict[str, tuple[Function, float, float]] = {
    "sqrt": (np.sqrt, 0.0, 2.0),
    "norm": (lambda x: np.sqrt(x * x), 0.0, 2.0),
    "arccos": (np.arccos, 1.0, 0.3),
}
ANY = NAN | INFINITE | ZERO

KEEP = np.array([False, True, True, True])
ONES = np.array([0.0, 1.0, 1.0, 1.0])
AGAIN = np.array([1, 2, 3])


def written(write: Callable[[Array], Any]) -> Function:
    """What `write` leaves of a copy."""

    def way(y: Array) -> Array:
        y = +y
        write(y)
        return y

    return way


def assigned(index: Any) -> Function:
    return written(lambda y: y.__setitem__(index, 0.0))


WAYS: dict[str, Function] = {
    # indices
    "y[1:]": lambda y: y[1:],
    "y[:0:-1]": lambda y: y[:0:-1],
    "y[1] + y[3]": lambda y: y[1] + y[3],
    "y[-1]": lambda y: y[-1],
    "y[None, 1:]": lambda y: y[None, 1:],
    "y[[3, 1, 1]]": lambda y: y[[3, 1, 1]],
    "y[mask]": lambda y: y[KEEP],
    "y[nonzero]": lambda y: y[np.nonzero(KEEP)],
    "iteration": lambda y: sum([*y][1:]),
    "unpacking": lambda y: (lambda first, *rest: sum(rest))(*y),
    "take": lambda y: np.take(y, [1, 2, 3]),
    "take, wrap": lambda y: np.take(y, [5, -1], mode="wrap"),
    "take, clip": lambda y: np.take(y, [1, 7], mode="clip"),
    "take_along_axis": lambda y: np.take_along_axis(y, AGAIN, 0),
    "compress": lambda y: np.compress(KEEP, y),
    "extract": lambda y: np.extract(KEEP, y),
    "delete": lambda y: np.delete(y, 0),
    "split": lambda y: np.split(y, [1])[1],
    "array_split": lambda y: np.array_split(y, 3)[1:][1],
    "hsplit": lambda y: np.hsplit(y, 2)[1],
    **({"unstack": lambda y: sum(np.unstack(y)[1:])} if hasattr(np, "unstack") else {}),
    "searchsorted": lambda y: y[np.searchsorted([0.0, 1.0, 2.0, 3.0], [0.5, 2.5])],
    "digitize": lambda y: y[np.digitize([0.5, 2.5], [0.0, 1.0, 2.0])],
    # choices
    "where": lambda y: np.where(KEEP, y, 0.0),
    "where, second": lambda y: np.where(~KEEP, 0.0, y),
    "choose": lambda y: np.choose([1, 0, 0, 0], [y, np.zeros(4)]),
    "select": lambda y: np.select([~KEEP, KEEP], [np.zeros(4), y]),
    "piecewise": lambda y: np.piecewise(y, [KEEP], [lambda v: 2 * v, 0.0]),
    "vmap of where": lambda y: tg.vmap(lambda v, k: np.where(k, v, 0.0))(y, KEEP),
    "vmap of choose": lambda y: tg.vmap(lambda v, k: np.choose(k, [0 * v, v]))(y, KEEP.astype(int)),
    # writing over it
    "y[0] = 0": assigned(0),
    "y[:1] = 0": assigned(slice(1)),
    "y[mask] = 0": assigned(~KEEP),
    "y[[0, 0]] = 0": assigned([0, 0]),
    "put": written(lambda y: np.put(y, [0], 0.0)),
    "put_along_axis": written(lambda y: np.put_along_axis(y, np.array([0]), 0.0, 0)),
    "place": written(lambda y: np.place(y, ~KEEP, [0.0])),
    "putmask": written(lambda y: np.putmask(y, ~KEEP, 0.0)),
    "copyto": written(lambda y: np.copyto(y, 0.0, where=~KEEP)),
    "fill_diagonal": lambda y: written(lambda m: np.fill_diagonal(m, 0.0))(y[:, None]),
    # triangles and diagonals
    "tril": lambda y: np.tril(y[:, None], -1),
    "triu": lambda y: np.triu(y[None], 1),
    "diag": lambda y: np.diag(y.reshape(2, 2), 1),
    "diagonal": lambda y: np.diagonal(y.reshape(4, 1), -3),
    "trace": lambda y: np.trace(y.reshape(2, 2), 1),
    "diag of a vector": lambda y: np.diag(y)[1:],
    # factors of 0, also within a sum of products
    "y * 0": lambda y: y * ONES,
    "0 * y": lambda y: ONES * y,
    "y / inf": lambda y: y / np.array([np.inf, 1, 1, 1]),
    "y @ 0": lambda y: y @ ONES,
    "0 @ y": lambda y: np.stack([ONES, 2 * ONES]) @ y,
    "dot": lambda y: np.dot(ONES, y),
    "inner": lambda y: np.inner(y, ONES),
    "vdot": lambda y: np.vdot(ONES, y),
    "vecdot": lambda y: np.vecdot(ONES, y),
    "tensordot": lambda y: np.tensordot(y[None], ONES[:, None], 1),
    "einsum": lambda y: np.einsum("i,i", y, ONES),
    "einsum, three": lambda y: np.einsum("i,i,j->j", y, ONES, [1.0, 2.0]),
    "average": lambda y: np.average(y, weights=ONES),
    "sum(where=)": lambda y: np.sum(y, where=KEEP),
    "mean(where=)": lambda y: np.mean(y, where=KEEP),
    # functions of which a result is left out
    "matmul": lambda y: np.where(KEEP[:, None], y[:, None] @ np.ones((1, 2)), 0.0),
    "matmul, stacked": lambda y: (y[:, None, None] @ np.ones((4, 1, 2)))[1:],
    "linear": lambda y: F.linear(y[:, None], np.ones((2, 1)), np.ones(2))[1:],
    "outer": lambda y: np.outer(y, [1.0, 2.0])[1:],
    "kron": lambda y: np.kron(y, [1.0, 2.0])[2:],
    "cross": lambda y: np.cross(y[:3], [1.0, 0.0, 0.0])[1:] + y[3],
    "convolve": lambda y: np.convolve(y, [1.0, 2.0])[2:],
    "convolve, valid": lambda y: np.convolve(y, [1.0, 2.0], "valid")[1:],
    "correlate": lambda y: np.correlate(y, [1.0, 2.0])[1:],
    "solve": lambda y: np.linalg.solve(2 * np.ones((4, 1, 1)), y[:, None, None])[1:],
    "inv": lambda y: np.linalg.inv(2 * np.ones((4, 1, 1)))[1:] @ y[1:, None, None],
    "cumsum": lambda y: np.cumsum(y[::-1])[:3],
    "cumprod": lambda y: np.cumprod(np.stack([y, [1.0, 1.0, 2.0, 3.0]]), axis=0)[1, 1:],
    "prod": lambda y: np.prod(np.stack([y, [1.0, 1.0, 2.0, 3.0]]), axis=0)[1:],
    "diff": lambda y: np.diff(y)[1:],
    "ediff1d": lambda y: np.ediff1d(y)[2:],
    "gradient": lambda y: np.gradient(y)[2:],
    "trapezoid": lambda y: np.trapezoid(np.stack([y, y], 1))[1:],
    "interp": lambda y: np.interp([1.5, 2.5], np.arange(4.0), y),
    "bincount": lambda y: np.bincount([0, 1, 2, 1], weights=y)[1:],
    "histogram": lambda y: np.histogram(np.arange(4), 4, weights=y)[0][1:],
    "reduceat": lambda y: np.add.reduceat(y, [0, 1])[1],
    "accumulate": lambda y: np.add.accumulate(y[::-1])[2],
    # moved, then left out
    "concatenate": lambda y: np.concatenate([y, y])[5:],
    "stack": lambda y: np.stack([y, y])[:, 1:],
    "block": lambda y: np.block([[y], [y]])[:, 1:],
    "roll": lambda y: np.roll(y, 1)[[0, 2, 3]],
    "flip": lambda y: np.flip(y)[:3],
    "pad": lambda y: np.pad(y, 2)[3:6],
    "pad, reflect": lambda y: np.pad(y, (0, 2), "reflect")[1:],
    "repeat": lambda y: np.repeat(y, 2)[2:],
    "tile": lambda y: np.tile(y, 2)[5:],
    "reshape": lambda y: y.reshape(2, 2)[:, 1],
    "transpose": lambda y: y.reshape(2, 2).T[1],
    "broadcast_to": lambda y: np.broadcast_to(y, (2, 4))[:, 1:],
    "insert": lambda y: np.insert(y, 1, 9.0)[1:],
    "append": lambda y: np.append(y, 9.0)[1:],
    "rot90": lambda y: np.rot90(y[None])[:3],
    "windows": lambda y: np.lib.stride_tricks.sliding_window_view(y, 2)[1:],
}
BY_NAN: dict[str, Function] = {
    "nansum": np.nansum,
    "nanmean": np.nanmean,
    "nanmax": lambda y: np.nanmax(y[[0, 1, 3]]),
    "nanmin": np.nanmin,
    "nanmedian": np.nanmedian,
    "nanpercentile": lambda y: np.nanpercentile(y, 30),
    "nanvar": np.nanvar,
    "nanstd": np.nanstd,
    "nancumsum": np.nancumsum,
    "nanprod": lambda y: np.nanprod(y),
    "nancumprod": lambda y: np.nancumprod(y),
    "nan_to_num": np.nan_to_num,
    "fmax": lambda y: np.fmax(y, -1.0),
    "fmin": lambda y: np.fmin(y, 9.0),
    "sort, last": lambda y: np.sort(y)[:2],
    "where(isnan)": lambda y: np.where(np.isnan(y), 0.0, y),
    "y[~isnan]": lambda y: y[~np.isnan(y)],
    "y[isnan] = 0": written(lambda y: y.__setitem__(np.isnan(y), 0.0)),
    "nanargmin": lambda y: y[np.nanargmin(y)],
}
BY_SIZE: dict[str, Function] = {
    "min": np.min,
    "min of -y": lambda y: -np.max(-y),
    "nanmin": np.nanmin,
    "min(initial=)": lambda y: np.min(y, initial=50.0, where=KEEP),
    "y[argmin]": lambda y: y[np.argmin(y)],
    "y[y < 50]": lambda y: y[y < 50],
    "y[y > 50] = 0": written(lambda y: y.__setitem__(y > 50, 0.0)),
    "where(y < 50)": lambda y: np.where(y < 50, y, 0.0),
    "minimum": lambda y: np.minimum(y, 50.0),
    "minimum, second": lambda y: np.minimum(50.0, y),
    "maximum": lambda y: np.maximum(-50.0, -y),
    "fmin": lambda y: np.fmin(y, 50.0),
    "clip": lambda y: np.clip(y, -1.0, 50.0),
    "nan_to_num": lambda y: np.nan_to_num(y, posinf=0.0),
    "sort": lambda y: np.sort(y)[:2],
    "argsort": lambda y: y[np.argsort(y)[:2]],
    "partition": lambda y: np.partition(y, 1)[:2],
    "median": lambda y: np.median(np.concatenate([y[[0, 2, 3]], [-1.0, -2.0]])),
    "percentile": lambda y: np.percentile(y, 10),
    "quantile": lambda y: np.quantile(y, 0.2, method="lower"),
    "minimum.accumulate": lambda y: np.minimum.accumulate(y[::-1]),
    "minimum.reduce": np.minimum.reduce,
    "relu": lambda y: relu(1 - y),
    # where the slope is 0 by underflow
    "exp": lambda y: np.exp(-y),
    "1 / (1 + y)": lambda y: 1 / (1 + y),
    "arctan": np.arctan,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "softmax": lambda y: softmax(-y)[3],
    "logsumexp": lambda y: logsumexp(-y),
    "logaddexp": lambda y: np.logaddexp(-y, 0.0),
}
BY_ZERO: dict[str, Function] = {"trim_zeros": lambda y: np.trim_zeros(y, "f")}
KINDS = [(WAYS, ANY), (BY_NAN, NAN), (BY_SIZE, INFINITE), (BY_ZERO, ZERO)]
TABLE = [(name, way, functions) for ways, functions in KINDS for name, way in ways.items()]
IDS = [name for name, _, _ in TABLE]


def entries(f: Function) -> Function:
    """Of f's point twice, an ordinary one, and 0: f, and the root of the last."""
    return lambda x: np.concatenate([f(x[:3]), np.sqrt(x[3:])])


def point(at: tuple[Function, float, float]) -> Array:
    return np.array([at[1], at[1], at[2], 0.0])


def expected(f: Function, way: Function, x: Array, order: int = 1) -> Array:
    """What the way asks of each entry, times the entry's own derivative; 0 where it asks nothing"""
    asked = tg.grad(lambda y: np.real(np.sum(way(y))))(entries(f)(x))
    assert asked[0] == 0
    assert np.any(asked[[1, 3]] != 0)
    slope = lambda h, at: np.sum(np.stack([tg.grad(lambda v: np.real(h(v)))(at)]))
    slopes = [slope(f, x[0]), slope(f, x[1]), slope(f, x[2]), slope(np.sqrt, x[3])]
    return np.where(asked == 0, 0, asked * np.where(asked == 0, 0, slopes))


def by_hand(f: Function) -> Function:
    """The same function, with its slope by hand."""
    g = tg.custom_vjp(lambda x: f(x))
    g.defvjp(lambda x: (f(x), x), lambda x, g: (g * tg.elementwise_grad(f)(x),))
    return g


def total(f: Function, way: Function) -> Function:
    return lambda x: np.real(np.sum(way(entries(f)(x))))


def in_vmap(f: Function, way: Function, x: Array) -> Array:
    """The first of two examples; the other one has no singular entry."""
    return tg.vmap(tg.grad(total(f, way)))(np.stack([x, np.full(4, x[2])]))[0]


MODES: dict[str, Callable[[Function, Function, Array], Array]] = {
    "checkpoint": lambda f, way, x: tg.grad(total(tg.checkpoint(f), way))(x),
    "checkpoint of the way": lambda f, way, x: tg.grad(total(f, tg.checkpoint(way)))(x),
    "checkpoint of all": lambda f, way, x: tg.grad(tg.checkpoint(total(f, way)))(x),
    "custom_vjp": lambda f, way, x: tg.grad(total(by_hand(f), way))(x),
    "vmap": in_vmap,
    "jacobian": lambda f, way, x: tg.jacobian(lambda x: [total(f, way)(x)])(x)[0],
    "float32": lambda f, way, x: tg.grad(total(f, way))(x.astype(np.float32)),
}
ONE_BY_ONE = {"y[y < 50]", "y[y > 50] = 0", "y[~isnan]", "y[isnan] = 0", "trim_zeros"}
"""Shapes differ from example to example: vmap refuses."""


def wrong(found: Array, want: Array, rtol: float = 1e-12) -> bool:
    return not np.allclose(found, want, rtol, atol=1e-12, equal_nan=True)


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with np.errstate(all="ignore"):
        yield


@pytest.mark.parametrize(("name", "way", "functions"), TABLE, ids=IDS)
def test_what_is_left_out_adds_0_and_what_is_asked_for_its_slope(
    name: str, way: Function, functions: Any
) -> None:
    failed = {}
    for of, at in functions.items():
        f, x = at[0], point(at)
        found, want = tg.grad(total(f, way))(x), expected(f, way, x)
        if wrong(found, want):
            failed[of] = found.tolist(), want.tolist()
    assert not failed


@pytest.mark.parametrize(("name", "way", "functions"), TABLE, ids=IDS)
def test_in_every_mode(name: str, way: Function, functions: Any) -> None:
    """Each way in each mode, with one function after the other."""
    failed, turn = {}, IDS.index(name)
    for i, (mode, derivative) in enumerate(MODES.items()):
        if mode == "vmap" and name in ONE_BY_ONE:
            continue
        of = [*functions][(turn + i) % len(functions)]
        f, x = functions[of][0], point(functions[of])
        want = expected(f, way, x)
        found = derivative(f, way, x)
        if wrong(found, want, 1e-5 if mode == "float32" else 1e-12):
            failed[of, mode] = found.tolist(), want.tolist()
    assert not failed


def next_function(name: str, functions: Any) -> tuple[Function, Array]:
    """Another one for each way."""
    at = [*functions.values()][IDS.index(name) % len(functions)]
    return at[0], point(at)


@pytest.mark.parametrize(("name", "way", "functions"), TABLE, ids=IDS)
def test_at_second_order(name: str, way: Function, functions: Any) -> None:
    f, x = next_function(name, functions)
    want = expected(f, way, x)
    n = 4 if name in WAYS else 3  # a way that is not linear mixes the infinity with the others
    found = tg.grad(lambda x: np.sum(tg.grad(total(f, way))(x)[:n]))(x)
    assert found[0] == 0
    assert np.isfinite(found[2])
    if n == 4:
        assert np.array_equal(np.isfinite(found), np.isfinite(want))


@pytest.mark.parametrize(("name", "way", "functions"), TABLE, ids=IDS)
def test_in_forward_mode(name: str, way: Function, functions: Any) -> None:
    """Infinities of opposite sign may meet on the way: then NaN stands for what was asked for."""
    f, x = next_function(name, {of: at for of, at in functions.items() if of != "norm"})
    want = expected(f, way, x)
    found = tg.jacobian(total(f, way), mode="forward")(x)
    assert not wrong(found[np.isfinite(want)], want[np.isfinite(want)])
    assert not np.isfinite(found[~np.isfinite(want)]).any()


@pytest.mark.parametrize("name", sorted(WAYS.keys() - {"bincount", "histogram"}))
def test_for_complex_numbers(name: str) -> None:
    f, x = next_function(name, ANY)
    found = tg.grad(total(f, WAYS[name]))(x.astype(complex))
    want = expected(f, WAYS[name], x.astype(complex))
    assert found[0] == 0
    assert np.array_equal(np.isfinite(found), np.isfinite(want))
    assert np.allclose(found[2], want[2])


# Every rule of the registry.

RULES = sorted(name for name, op in registry.items() if checkable(op))
BAD = st.sampled_from([0.0, 1.0, -1.0, np.inf, -np.inf, np.nan])
some = settings(max_examples=max(settings().max_examples // 10, 5))


def recorded(case: Case, *operands: Array) -> Node:
    """The node of the call."""
    made = case.domain.make(*operands) if case.domain.make else operands
    values = [Value(x) if np.asarray(x).dtype.kind in "fc" else x for x in made]
    out = case.op(*values, **case.params)
    assume(isinstance(out, Value) and out.node.op is case.op)
    return out.node


def cotangent(case: Case, node: Node) -> Array:
    g = case.rng.standard_normal(node.data.shape)
    g = g + 1j * case.rng.standard_normal(g.shape) if node.data.dtype.kind == "c" else g
    return np.asarray(g, node.data.dtype)


@pytest.mark.parametrize("name", RULES)
@some
@given(data=st.data())
def test_care_changes_no_bit_of_a_finite_gradient(name: str, data: st.DataObject) -> None:
    """Also where some of the cotangents are 0."""
    case = data.draw(cases(registry[name], complex=True))
    node = recorded(case, *case.operands)
    g = (cotangent(case, node) * (case.rng.random(node.data.shape) < 0.6))[()]
    for i in [i for i in case.free if node.operands[i] is not None]:
        rule = node.op.rules[i]
        plain = repair(rule(g.copy(), node.data, *node.inputs, **node.params), node, i)
        careful = contribution(node, i, g.copy())
        assert careful.dtype == plain.dtype
        assert np.array_equal(careful, plain, equal_nan=True)


@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")
@pytest.mark.parametrize("name", RULES)
@some
@given(data=st.data())
def test_whatever_an_operand_holds_a_cotangent_of_0_asks_nothing(
    name: str, data: st.DataObject
) -> None:
    """Of functions of entries also for some of the entries alone: the others keep every bit."""
    case = data.draw(cases(registry[name], complex=True))
    which, bad = data.draw(st.integers(-1, len(case.operands) - 1)), data.draw(BAD)
    node = recorded(case, *case.operands)
    g = cotangent(case, node)
    by_entry = case.op.batch is elementwise and all(x.shape == g.shape for x in case.operands)
    left_out: Any = case.rng.random(g.shape) < 0.5 if by_entry else True
    g = np.where(left_out, 0, g)[()]
    singular = spoilt(case, left_out, which, bad, case.operands)
    for i in [i for i in case.free if singular.operands[i] is not None]:
        assert np.array_equal(contribution(singular, i, g), contribution(node, i, g))


def spoilt(case: Case, left_out: Any, which: int, bad: float, operands: list[Array]) -> Node:
    """The node of the call with a bad entry in one operand, or in all of them."""
    assume(case.op.name != "hyp1f1" or bad != np.inf)  # SciPy's never returns from there
    bads = [np.where(left_out, bad, x).astype(x.dtype)[()] for x in operands]
    try:
        return recorded(
            case, *(b if which in (-1, i) else x for i, (x, b) in enumerate(zip(operands, bads)))
        )
    except (ValueError, np.linalg.LinAlgError):  # what not even the forward takes
        reject()


@pytest.mark.filterwarnings("ignore:All-NaN:RuntimeWarning")
@pytest.mark.parametrize("name", RULES)
@some
@given(data=st.data())
def test_a_singular_example_of_a_vmap_adds_0_and_leaves_the_others_alone(
    name: str, data: st.DataObject
) -> None:
    case = data.draw(cases(registry[name]))
    which, bad = data.draw(st.integers(-1, len(case.operands) - 1)), data.draw(BAD)
    spoilt(case, True, which, bad, case.operands)
    bads = [
        x if which not in (-1, i) else np.full_like(x, bad) for i, x in enumerate(case.operands)
    ]
    out = case.run(*case.operands)
    g = case.rng.standard_normal(np.shape(out)).astype(out.dtype)
    pull = lambda g, *xs: tg.vjp(lambda *xs: case.run(*xs), *xs)[1](g)
    rows = [np.stack([b, x]) for b, x in zip(bads, case.operands)]
    single = any(x.dtype == np.float32 for x in case.operands)
    close = {"rtol": 1e-4 if single else 1e-10, "atol": 1e-5 if single else 1e-12}
    want = pull(g, *case.operands)
    for i, found in enumerate(tg.vmap(pull)(np.stack([0 * g, g]), *rows)):
        assert not found[0].any()
        np.testing.assert_allclose(found[1], want[i], **close)


# Zeros of a Jacobian, as of an entry that was not chosen: 0 even where an infinity is asked for.

INF = np.inf
NOT_CONNECTED: dict[str, tuple[Function, list[float], Any, list[float]]] = {
    # √(f(x) - c) has an infinite slope where f(x) is c
    "relu": (relu, [-1.0, 0.25], 0.0, [0, 1]),
    "clip": (lambda x: np.clip(x, 0, 1), [-1, 0.25, 2], [0, 0, 1], [0, 1, 0]),
    "maximum": (lambda x: np.maximum(x, 0), [-1, 0.25], 0.0, [0, 1]),
    "where": (lambda x: np.where([True, False], x, 0.0), [0, 9], 0.0, [INF, 0]),
    "select": (lambda x: np.select([x < 1], [x], 0.0), [0, 9], 0.0, [INF, 0]),
    "piecewise": (lambda x: np.piecewise(x, [x < 1], [lambda v: v, 0.0]), [0, 9], 0.0, [INF, 0]),
    "max": (np.max, [1, 3, 2], 3.0, [0, INF, 0]),
    "nanmin": (np.nanmin, [1, np.nan, 2], 1.0, [INF, 0, 0]),
    "median": (np.median, [3, 1, 2], 2.0, [0, 0, INF]),
    "percentile": (lambda x: np.percentile(x, 50), [3, 1, 2], 2.0, [0, 0, INF]),
    "quantiles": (lambda x: np.quantile(x, [0, 1]), [3, 1, 2], [1, 3], [INF, INF, 0]),
    "partition": (lambda x: np.partition(x, 1)[1], [3, 1, 2], 2.0, [0, 0, INF]),
    "accumulate": (np.maximum.accumulate, [0.25, 0, 1], [0, 0, 1], [2, 0, INF]),
    "nan_to_num": (np.nan_to_num, [0.25, np.nan], 0.0, [1, 0]),
    "interp, outside": (lambda x: np.interp(x, [0, 1], [1, 2]), [-1, 0.25], 1.0, [0, 1]),
    "interp, heights": (lambda y: np.interp([1], [0, 1, 2], y), [5, 0, 7], 0.0, [0, INF, 0]),
    "index": (lambda x: x[[0, 0]], [0, 9], 0.0, [INF, 0]),
    "sort": (lambda x: np.sort(x)[:2], [1.25, 1, 9], 1.0, [1, INF, 0]),
    "tril": (lambda x: np.tril(x.reshape(2, 2)), [0.25, 9, 0, 0.25], 0.0, [1, 0, INF, 1]),
    "diagonal": (
        lambda x: np.einsum("ii->i", x.reshape(2, 2)),
        [0, 9, 9, 4],
        0.0,
        [INF, 0, 0, 0.25],
    ),
    "trace": (lambda x: np.einsum("ii", x.reshape(2, 2)), [1, 9, 9, 4], 5.0, [INF, 0, 0, INF]),
    "pad": (lambda x: np.pad(x, 1), [0.25, 1], 0.0, [1, 0.5]),
}


@pytest.mark.parametrize("name", sorted(NOT_CONNECTED))
@pytest.mark.parametrize("wrap", [lambda f: f, tg.checkpoint], ids=["", "checkpoint"])
def test_what_is_not_connected_receives_0_of_an_infinity(name: str, wrap: Any) -> None:
    f, at, c, slopes = NOT_CONNECTED[name]
    x = np.array(at, float)
    loss = lambda x: np.sum(np.sqrt(wrap(f)(x) - c))
    assert tg.grad(loss)(x).tolist() == slopes
    masked = lambda x: np.sum(np.where(np.ones(np.shape(c) or 1, bool), np.sqrt(f(x) - c), 0.0))
    assert tg.grad(masked)(x).tolist() == slopes
    if name != "piecewise":  # which vmap refuses
        assert tg.vmap(tg.grad(loss))(np.stack([x, x + 1]))[0].tolist() == slopes


def test_a_mask_hides_no_infinity_of_a_kept_entry() -> None:
    keep, x = np.array([True, False, True, False, True]), np.array([1.2, 0.9, 2.3, 0.0, 0.5])
    found = tg.grad(lambda x: np.sum(np.where(keep, np.sqrt(np.sort(x)), 0.0)))(x)
    np.testing.assert_allclose(found, [0, 0.5 / np.sqrt(0.9), 0.5 / np.sqrt(2.3), np.inf, 0])


# Sums, products and systems.


def test_a_gradient_does_not_depend_on_the_order_of_terms() -> None:
    x = np.array([0.0, 2.0])
    a, b = lambda x: (x * np.log(x))[1], lambda x: np.sum(np.where(x > 9, x, 0))
    for loss in (lambda x: a(x) + b(x), lambda x: b(x) + a(x)):
        np.testing.assert_allclose(tg.grad(loss)(x), [0, np.log(2) + 1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_left_out_adds_0_to_the_weights_too(bad: float) -> None:
    x, w = np.array([[bad, bad], [1.0, 2.0]]), np.array([[3.0, 5.0], [7.0, 9.0]])
    keep = np.array([[False], [True]])
    products: dict[str, Function] = {
        "@": lambda w: x @ w,
        "einsum": lambda w: np.einsum("ij,jk->ik", x, w),
        "tensordot": lambda w: np.tensordot(x, w, 1),
        "linear": lambda w: F.linear(x, w.T, np.zeros(2)),
        "stacks": lambda w: (x[:, None] @ w)[:, 0],
        "sum of *": lambda w: np.sum(x[:, :, None] * w, axis=1),
    }
    for name, product in products.items():
        kept = lambda w, p=product: np.sum(np.where(keep, p(w), 0))
        assert tg.grad(kept)(w).tolist() == [[1, 1], [2, 2]], name
        asked = tg.grad(lambda w, p=product: np.sum(p(w)))(w)
        np.testing.assert_array_equal(asked, np.full((2, 2), bad), name)


def test_an_infinity_among_the_terms_of_a_product_stays_one_of_its_sign() -> None:
    """Where both kinds of terms meet: 0 · NaN adds nothing, 2 · -∞ is -∞."""
    x = np.array([[np.nan, 1.0], [-np.inf, 1.0], [3.0, 1.0]])
    g = np.array([[0.0], [2.0], [1.0]])
    found = tg.grad(lambda w: np.sum(g * (x @ w)))(np.ones((2, 1)))
    assert found.tolist() == [[-np.inf], [3]]
    for h in (g + 1e-300, [[1], [0], [0]]):
        found = tg.grad(lambda w, h=h: np.sum(np.where(True, h * (x @ w), 0)))(np.ones((2, 1)))
        assert np.isnan(found[0, 0])
        assert np.isfinite(found[1, 0])


def test_infinities_of_both_signs_are_no_number() -> None:
    """One comes with the cotangent, the other one with the data."""
    x = np.array([[1.0], [-np.inf]])
    loss = lambda w: np.sum(np.sqrt((x @ w)[:1] - 1)) + np.sum(np.where(w > 0, (x @ w)[1:], 0))
    both = lambda w: np.sum(np.array([np.inf, 1.0]) * (x @ w)[:, 0])
    assert np.isnan(tg.grad(both)(np.ones((1, 1)))).all()
    assert np.isnan(tg.grad(loss)(np.ones((1, 1)))).all()


def test_a_vector_product_has_terms_of_both_signs() -> None:
    y = np.array([np.inf, 1.0, 2.0])
    asked = lambda *i: tg.grad(lambda x: np.sum(np.cross(x, y)[[*i]]))(np.array([3.0, 4.0, 5.0]))
    assert asked(0).tolist() == [0, 2, -1]  # x₁ y₂ - x₂ y₁
    assert asked(1).tolist() == [-2, 0, np.inf]  # x₂ y₀ - x₀ y₂
    assert asked(2).tolist() == [1, -np.inf, 0]


GOOD = np.array([[4.0, 1, 0, 0], [1, 5, 2, 0], [0, 1, 6, 1], [0, 0, 1, 3]])
MATRICES: dict[str, tuple[Function, Array]] = {
    "inv": (lambda a: np.linalg.inv(a)[..., 0, 0], np.full((4, 4), np.nan)),
    "solve": (lambda a: np.linalg.solve(a, np.ones((4, 1)))[..., 0, 0], np.full((4, 4), np.nan)),
    "slogdet": (lambda a: np.linalg.slogdet(a)[1], np.ones((4, 4))),
    "det": (np.linalg.det, np.full((4, 4), np.inf)),
    "svdvals": (lambda a: np.linalg.svdvals(a)[..., 0], np.full((4, 4), np.inf)),
    "eigvals": (
        lambda a: np.real(np.sum(np.linalg.eigvals(a) ** 2, axis=-1)),
        np.diag([1.0, 1.0, 1.0], 1),
    ),
}


@pytest.mark.parametrize("name", sorted(MATRICES))
@pytest.mark.parametrize("wrap", [lambda f: f, tg.checkpoint], ids=["", "checkpoint"])
def test_a_singular_matrix_of_a_stack_that_is_left_out_adds_0(name: str, wrap: Any) -> None:
    f, bad = MATRICES[name]
    if name == "svdvals":
        try:
            f(bad)
        except np.linalg.LinAlgError:
            pytest.skip("this LAPACK finds no singular values of infinities")
    want = tg.grad(f)(GOOD)
    for order in ([GOOD, bad], [bad, GOOD]):
        keep = np.array([a is GOOD for a in order])
        loss = lambda a, keep=keep: np.sum(np.where(keep, wrap(f)(a), 0.0))
        found = tg.grad(loss)(np.stack(order))
        np.testing.assert_allclose(found[keep][0], want, rtol=1e-9, atol=1e-12)
        assert not found[~keep].any()


def test_a_singular_matrix_that_is_asked_for_raises() -> None:
    with pytest.raises(np.linalg.LinAlgError):
        tg.grad(lambda a: np.sum(np.linalg.slogdet(a)[1]))(np.stack([GOOD, np.ones((4, 4))]))


def test_functions_of_scipy_that_are_left_out_add_0() -> None:
    linalg = pytest.importorskip("tensorgrad.scipy.linalg")
    bad = np.full((2, 2), np.nan)
    for f in (
        linalg.expm,
        lambda a: linalg.solve_triangular(a, np.ones((2, 1)), check_finite=False),
    ):
        left_out = lambda a, f=f: np.sum(np.where(False, f(a), 0.0))
        assert not tg.grad(left_out)(bad).any()
        assert not tg.hessian(left_out)(bad).any()
        assert np.isnan(tg.grad(lambda a, f=f: np.sum(f(a)))(bad)).any()


# Rules that are not ours, and how often a rule is asked.


@pytest.mark.usefixtures("own_primitives")
@pytest.mark.parametrize(
    "rule",
    [
        lambda g, out, x: g * (np.log(x) + 1),
        lambda g, out, x: np.multiply(g, np.log(x) + 1),
        lambda g, out, x: g @ np.diag(np.log(x) + 1),
        lambda g, out, x: g.dot(np.diag(np.log(x) + 1)),
        lambda g, out, x: np.linalg.multi_dot([g, np.diag(np.log(x) + 1), np.eye(2)]),
        lambda g, out, x: np.diagonal(np.multiply.outer(g, np.log(x) + 1)),
        lambda g, out, x: -g / (-1 / (np.log(x) + 1)),
    ],
)
def test_a_rule_of_yours_is_a_plain_formula(rule: Any) -> None:
    op = tg.primitive(lambda x: x * np.log(x), rule, name="x log x")
    for f in (op, tg.checkpoint(op)):
        found = tg.grad(lambda x, f=f: np.sum(np.where(x > 0, f(x), 0)))(np.array([0.0, 2.0]))
        np.testing.assert_allclose(found, [0, np.log(2) + 1])


@pytest.mark.usefixtures("own_primitives")
def test_a_rule_of_yours_that_hides_infinities_is_given_none_that_nobody_asks_for() -> None:
    hidden = []

    def rule(g: Array, out: Array, x: Array) -> Array:
        hidden.append(bool(np.any(~np.isfinite(np.asarray(g)))))
        return np.where(np.isfinite(g), g, 7.0)

    same = tg.primitive(lambda x: +x, rule, name="same")
    x = np.array([0.0, 2.0])
    loss = lambda x: np.sum(np.where(x > 0, (lambda y: y * np.log(y))(same(x)), 0))
    np.testing.assert_allclose(tg.grad(loss)(x), [0, np.log(2) + 1])
    assert hidden == [False]


def by_out(g: Array, x: Array) -> Array:
    made = np.empty_like(x)
    np.multiply(g, 2, out=made)
    return made


def by_row(g: Array, x: Array) -> Array:
    made = g.copy()
    rest = made[1:]
    rest *= 2
    made[0] *= 2
    return made


def by_dot(g: Array, x: Array) -> Array:
    made = np.empty_like(x)
    np.dot(g, np.diag([2.0, 2.0]), out=made)
    return np.where(np.isnan(made), 2 * g, made)  # inf times 0


WRITING = [by_out, by_row, by_dot, lambda g, x: (f"{g}", 2 * g)[1], lambda g, x: 2 * g]


@pytest.mark.usefixtures("own_primitives")
@pytest.mark.parametrize("rule", WRITING)
def test_a_rule_of_yours_is_given_infinities_that_somebody_asks_for(rule: Any) -> None:
    """Also one that writes into arrays; and by a bwd."""
    double = tg.primitive(lambda x: 2 * x, lambda g, out, x: rule(g, x), name="double")
    twice = tg.custom_vjp(lambda x: 2 * x)
    twice.defvjp(lambda x: (2 * x, x), lambda x, g: (rule(g, x),))
    for f in (double, twice, tg.checkpoint(double)):
        found = tg.grad(lambda x, f=f: np.sum(np.sqrt(f(x))))(np.array([0.0, 2.0]))
        np.testing.assert_allclose(found, [np.inf, 0.5])


@pytest.mark.usefixtures("own_primitives")
def test_a_rule_of_yours_may_write_into_the_cotangent() -> None:
    def rule(g: Array, out: Array, x: Array) -> Array:
        g *= 2
        return g

    double = tg.primitive(lambda x: 2 * x, rule, name="double")
    x = np.array([1.0, 4.0])
    found = tg.grad(lambda x: np.sum((x + double(x)) ** 2))(x)  # x is given the same cotangent
    np.testing.assert_allclose(found, 18 * x)
    assert tg.grad(lambda x: np.sum(double(x)))(x).tolist() == [2, 2]


def test_a_bwd_of_yours_is_given_the_infinities_of_a_hessian() -> None:
    twice = tg.custom_vjp(lambda x: 2 * x)
    twice.defvjp(lambda x: (2 * x, None), lambda _, g: (2 * g,))
    found = tg.hessian(lambda x: np.sum(np.sqrt(twice(x))))(np.array([0.0, 2.0]))
    np.testing.assert_allclose(np.diag(found), [-np.inf, -0.125])


@pytest.mark.parametrize(("f", "sign"), [(np.arcsin, 1), (np.arccos, -1), (np.arctanh, 1)])
@pytest.mark.parametrize("x", [-1.0, 1.0])
def test_an_infinite_slope_has_its_sign(f: Function, sign: int, x: float) -> None:
    assert tg.grad(f)(x) == sign * np.inf


@pytest.mark.usefixtures("own_primitives")
@pytest.mark.parametrize("depth", [0, 1, 2, 3])
@pytest.mark.parametrize("masked", [True, False])
def test_a_rule_is_asked_at_most_twice_at_any_nesting(depth: int, masked: bool) -> None:
    asked = []

    def rule(g: Array, out: Array, x: Array) -> Array:
        asked.append("rule")
        return g * (np.log(x) + 1)

    def counted(f: Function) -> Function:
        h = tg.custom_vjp(lambda x: f(x))

        def bwd(x: Array, g: Array) -> tuple[Array]:
            asked.append("bwd")
            return (g * (np.log(x) + 1),)

        h.defvjp(lambda x: (f(x), x), bwd)
        return h

    op = tg.primitive(lambda x: x * np.log(x), rule, name="x log x")
    x = np.array([0.0, 2.0])
    for wraps in itertools.product([tg.checkpoint, counted, tg.vmap], repeat=depth):
        f, at = op, x
        for wrap in wraps:
            f, at = wrap(f), at[None] if wrap is tg.vmap else at
        asked.clear()
        loss = lambda x, f=f: np.sum(np.where(x > 0, f(x), 0) if masked else f(x))
        found = tg.grad(loss)(at)
        np.testing.assert_allclose(found.ravel(), [0 if masked else -np.inf, np.log(2) + 1])
        assert 1 <= len(asked) <= 2
        assert len(set(asked)) == 1


@pytest.mark.usefixtures("own_primitives")
@pytest.mark.parametrize("around", [lambda f: f, tg.checkpoint, tg.vmap])
def test_a_rule_of_yours_is_given_the_infinity_that_somebody_asks_for(around: Function) -> None:
    op = tg.primitive(lambda x: 2 * x, lambda g, out, x: 2 * g, name="twice")
    by_hand = tg.custom_vjp(lambda x: 2 * x)
    by_hand.defvjp(lambda x: (2 * x, None), lambda _, g: (2 * g,))
    for f in (op, by_hand):
        g = tg.grad(lambda x, f=f: np.sum(np.sqrt(around(f)(x))))(np.array([0.0, 2.0]))
        np.testing.assert_array_equal(g, [np.inf, 0.5])
    x = Value([0.0, 2.0])
    assert contribution(op(x).node, 0, np.array([np.inf, 1.0])).tolist() == [np.inf, 2]


def test_without_an_infinity_a_rule_is_asked_once() -> None:
    x = Value([1.0, 2.0])
    y = np.sum(np.exp(x) * np.log(x))
    asked = []
    log = registry["log"]
    with patch.object(log, "rules", (lambda g, out, x: asked.append(1) or g / x,)):
        y.backward()
    assert asked == [1]


def test_a_retained_gradient_is_taken_with_care_too() -> None:
    """Of the leaf alone the first sweep would do."""
    x = Value([0.0, 2.0])
    y = np.log(x)
    y.retain_grad()
    z = np.sqrt(y)
    z.retain_grad()
    np.sum(np.where(x > 1, z, 0)).backward()
    assert y.grad[0] == z.grad[0] == x.grad[0] == 0
    assert np.isclose(y.grad[1], 0.5 / np.sqrt(np.log(2)))


def test_debug_takes_a_masked_infinite_slope_for_no_mistake() -> None:
    x = Value([0.0, 4.0])
    with tg.debug():
        y = np.sum(np.where(x > 0, np.sqrt(x), 0))
    y.backward()
    assert x.grad.tolist() == [0, 0.25]
    with tg.debug():
        y = np.sum(np.sqrt(Value([0.0, 4.0])))
    with pytest.raises(FloatingPointError, match="sqrt"):
        y.backward()


def test_examples_of_a_vmap_have_their_own_infinities() -> None:
    x = np.array([[0.0, 4.0], [4.0, 0.0], [4.0, 4.0]])
    loss = lambda x: np.sum(np.where(np.array([True, False]), np.sqrt(x), 0))
    rows = np.stack([tg.grad(loss)(row) for row in x])
    np.testing.assert_array_equal(tg.vmap(tg.grad(loss))(x), rows)
    assert rows.tolist() == [[np.inf, 0], [0.25, 0], [0.25, 0]]


def test_what_lint_calls_harmless_does_no_harm() -> None:
    x = Value(np.array([0.0, 1.0, 2.0]), name="x")
    loss = lambda: np.sum((x * np.log(x))[1:])
    (finding,) = tg.lint(loss, [x])
    assert finding.message.endswith("masked out, it does no harm")
    loss().backward()
    np.testing.assert_allclose(x.grad, [0, 1, np.log(2) + 1])


def test_pythons_own_zero_divides_as_numpys_does() -> None:
    x = np.array([1.0, 2.0])
    np.testing.assert_array_equal(tg.grad(lambda x: np.sum((x / 0)[1:]))(x), [0, np.inf])
    np.testing.assert_array_equal(tg.grad(lambda x: x / 0)(1.0), np.inf)
