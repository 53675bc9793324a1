"""A kind of array that is not NumPy's: the stand-in for CuPy. Others: `test_dask.py`,
`test_tracer.py`."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.engine import arrays
from tensorgrad.engine.arrays import created, kind_of, kinds, met, same_shape
from tensorgrad.engine.batching import Batched
from tensorgrad.nn import functional as F
from tests.stand_in import Array, StandIn, in_the_table

rng = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def table() -> Iterator[None]:
    """The table as it was, after each test."""
    with in_the_table():
        yield


def draw(*shape: int) -> Any:
    return rng.uniform(0.2, 0.8, shape)


X, Y = draw(4, 3), draw(4, 3)
CASES: dict[str, tuple[Callable[..., Any], list[Any]]] = {
    "arithmetic": (lambda x, y: x * y - x / y + x**2 - -y, [X, Y]),
    "broadcasting": (lambda x, y: x * y, [X, draw(3)]),
    "powers": (lambda x, y: x**y, [X, Y]),
    "elementwise": (lambda x: np.exp(x) * np.sin(x) + np.tanh(np.log(x)) + np.sqrt(x), [X]),
    "kinks": (lambda x, y: np.maximum(x, y) + np.abs(x - y) + np.clip(x, 0.3, 0.6), [X, Y]),
    "sigmoid, relu, softplus": (
        lambda x: F.sigmoid(x) + F.relu(x - 0.5) + F.softplus(x),
        [X],
    ),
    "where": (lambda x, y: np.where(x > 0.5, x, y), [X, Y]),
    "sums": (lambda x: np.sum(x, axis=0) + np.mean(x, axis=0) + np.sum(x), [X]),
    "variance": (lambda x: np.var(x, axis=1) + np.std(x, axis=1), [X]),
    "extrema": (lambda x: np.max(x, axis=0) - np.min(x, axis=0), [X]),
    "product": (lambda x: np.prod(x, axis=0), [X]),
    "product with a zero": (lambda x: np.prod(x, axis=0), [np.where(X[0, 0] == X, 0, X)]),
    "running": (lambda x: np.cumsum(x, axis=0) + np.cumprod(x, axis=1), [X]),
    "matmul": (lambda x, y: x @ y.T, [X, Y]),
    "matmul of stacks": (lambda x, y: x @ y, [draw(2, 4, 3), draw(3, 4)]),
    "einsum": (lambda x, y: np.einsum("ij,kj->ik", x, y), [X, Y]),
    "einsum of a sum": (lambda x: np.einsum("ij->i", x) + np.einsum("ii->", x[:3]), [X]),
    "shapes": (lambda x: np.swapaxes(x.reshape(2, 2, 3), 0, 2).ravel()[None], [X]),
    "joins": (lambda x, y: np.concatenate([x, y]) + np.stack([x, y]).reshape(8, 3), [X, Y]),
    "slices": (lambda x: x[1:, ::-1] * x[0, 0], [X]),
    "an index array": (lambda x: x[np.array([0, 0, 2])], [X]),
    "indices along": (lambda x: np.take_along_axis(x, np.array([[0], [1], [2], [0]]), 1), [X]),
    "sorted": (lambda x: np.sort(x, axis=0) * 2, [X]),
    "triangles": (lambda x: np.tril(x) + np.triu(x, 1) * 2, [X]),
    "softmax": (lambda x: F.softmax(x) * F.log_softmax(x, dim=0), [X]),
    "linear": (lambda x, w, b: F.linear(x, w, b), [X, draw(2, 3), draw(2)]),
    "linear_map": (lambda x, w: F.linear(x, w), [X, draw(2, 3)]),
    "convolution": (
        lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1, dilation=(1, 2)),
        [draw(2, 2, 5, 5), draw(3, 2, 3, 2), draw(3)],
    ),
    "transposed convolution": (
        lambda x, w: F.conv_transpose1d(x, w, stride=2, padding=1, groups=2),
        [draw(2, 4, 3), draw(4, 1, 3)],
    ),
    "mean square": (lambda x, y: F.mse_loss(x, y), [X, Y]),
    "quadratic": (lambda x, y: F.quadratic(x, y), [X, Y]),
    "binary cross-entropy": (lambda x: F.binary_cross_entropy(x, x * x), [X]),
    "cross-entropy of probabilities": (lambda x, y: F.cross_entropy(x, y), [X, Y]),
    "solve": (lambda x, y: np.linalg.solve(x, y), [draw(3, 3) + 2 * np.eye(3), draw(3, 2)]),
    "determinant": (lambda x: np.linalg.det(x) + np.linalg.slogdet(x)[1], [draw(3, 3) + np.eye(3)]),
    "slope 0": (lambda x: np.floor(x) + np.sign(x), [X]),
    "copies": (lambda x: np.copy(x) * x.copy(), [X]),
}


def gradients(f: Callable[..., Any], xs: list[Any]) -> list[Any]:
    values = [Value(x) for x in xs]
    out = f(*values)
    (out * out).sum().backward()
    return [out.data, *(v.grad for v in values)]


@pytest.mark.parametrize("name", CASES)
def test_a_strict_array_has_the_gradients_of_numpys(name: str) -> None:
    f, xs = CASES[name]
    for found, expected in zip(gradients(f, [Array(x.copy()) for x in xs]), gradients(f, xs)):
        assert type(found) is Array
        np.testing.assert_allclose(found.hidden, expected, rtol=1e-13 * ("convolution" in name))


def test_cross_entropy_of_class_numbers_on_strict_arrays() -> None:
    classes = np.array([0, 2, 1, 1])
    for reduction in ("mean", "sum", "none"):
        z, own = Value(X), Value(Array(X.copy()))
        F.cross_entropy(z, classes, reduction=reduction).sum().backward()
        F.cross_entropy(own, Array(classes), reduction=reduction).sum().backward()
        np.testing.assert_array_equal(own.grad.hidden, z.grad)
    with pytest.raises(ValueError, match="classes"):
        F.cross_entropy(own, Array(classes + 1))


def test_transforms_take_strict_arrays() -> None:
    def f(x: Any) -> Any:
        return (np.exp(x) * x).sum()

    np.testing.assert_array_equal(tg.grad(f)(Array(X.copy())).hidden, tg.grad(f)(X))
    hvp = tg.grad(lambda x: (tg.grad(f)(x) ** 2).sum())
    np.testing.assert_array_equal(hvp(Array(X.copy())).hidden, hvp(X))


def test_a_value_keeps_the_kind_of_its_array_in_a_copy_of_its_own() -> None:
    x = Array(X.copy())
    v = Value(x)
    assert type(v.data) is Array
    x[0] = 7.0
    np.testing.assert_array_equal(v.data.hidden, X)
    assert v.shape == (4, 3)
    assert v.dtype == np.float64
    assert v[0, 0].item() == float(v[0, 0]) == X[0, 0]
    np.testing.assert_array_equal(np.asarray(v.detach()), X)
    v.grad = Array(Y)
    v.data = Array(Y.copy())
    with tg.no_grad():
        v[0] = 1.0
    assert v.tolist()[0] == [1, 1, 1]


def test_gradients_of_strict_arrays_share_no_memory() -> None:
    a, b = Value(Array(X.copy())), Value(Array(Y.copy()))
    (a + b).sum().backward()
    a.grad[0] = 7.0
    np.testing.assert_array_equal(b.grad.hidden, np.ones((4, 3)))


def test_two_kinds_of_one_rank_do_not_mix() -> None:
    class Other(Array):
        pass

    kinds[Other] = StandIn("other")
    with pytest.raises(TypeError, match=r"add.*Array.*Other.*do not mix|add.*Other.*Array.*"):
        Value(Array(X)) + Other(X)
    del kinds[Other]


def test_vmap_over_strict_arrays() -> None:
    f = tg.vmap(tg.grad(lambda x: (np.exp(x) * x).sum()))
    np.testing.assert_array_equal(f(Array(X.copy())).hidden, f(X))


def test_who_looks_for_batched_arrays_does_so_while_there_are_any() -> None:
    leaked = []
    tg.vmap(lambda x: leaked.append(x) or x * x)(X)
    assert Batched in met
    leaked.clear()
    assert Batched not in met


def test_what_is_created_is_of_the_kind_it_meets() -> None:
    like = Value(Array(X))
    for made in (
        created(np.zeros, 3, like=like),
        created(np.eye, 3, dtype=np.float32, like=like),
        created(np.array, [1, 2], like=like),
        created(np.random.default_rng(0).random, (2, 3), like=like),
    ):
        assert type(made) is Array
    assert type(created(np.zeros, 3, like=[1.0])) is np.ndarray


def test_a_kind_is_a_row_and_what_is_in_none_is_numpys() -> None:
    assert kind_of(Array(X)) is kinds[Array]
    assert kind_of(X) is kind_of(1.0) is kind_of([1.0]) is arrays.NUMPY


def test_unknown_sizes_are_the_same_as_any() -> None:
    assert same_shape((2, math.nan), (2, 3))
    assert same_shape((2, float("nan")), (2, math.nan))
    assert not same_shape((2, math.nan), (2,))
    assert not same_shape((3, math.nan), (2, 3))


# Nobody else asks. The rooms that compute with arrays of any kind, read from their syntax:

ROOT = Path(__file__).parents[1] / "tensorgrad"
ROOMS = ["engine", "ops", "scipy", "transforms", "value.py"]
TABLE = {
    "engine/arrays.py",
    "engine/batching.py",
    "engine/chunked.py",
    "engine/device.py",
    "engine/levels.py",
    "engine/short.py",
    "engine/sparse.py",
}
"""The table itself, and the rows of batched, chunked, short and sparse arrays, and of a GPU's."""

TYPES = {"ndarray", "generic", "inexact", "floating", "Batched", "PLAIN", "SCALARS"}
MAKERS = {"array", "asarray", "empty", "eye", "full", "identity", "ones", "tri", "zeros"}
ASK = {
    "engine/primitive.py apply": "each operand in 0.04 µs, where kind_of takes 0.07, of 0.95",
    "engine/backprop.py hand_on": "each sum of a sweep: only what may be written into is",
    "engine/repair.py repair": "a bias in 1.5 µs instead of 4; rules may make a matrix",
    "engine/care.py finite": "a number in 0.2 µs instead of 6, a large array in a third",
    "engine/arguments.py ordinary": "NumPy's own subclasses, which compute in other ways",
    "engine/strangers.py is_stranger": "those again: they are no strangers",
    "engine/strangers.py speaks": "whether a protocol is NumPy's own",
    "ops/elementwise.py only": "a number in 0.1 µs instead of 2, a large array in a tenth",
    "ops/nn/activation.py rectified": "a number in 0.1 µs instead of 0.6",
    "ops/constant.py stand_in": "one example of a batched array",
}
MAKE = {
    "engine/arguments.py operand": "of lists and tables, which are no arrays yet",
    "engine/arguments.py ordinary": "of NumPy's own subclasses",
    "engine/repair.py repair": "of a rule that returns a Python number",
    "engine/care.py __array__": "the user asked for it",
    "value.py __array__": "the user asked for it",
    "ops/constant.py stand_in": "never meets an operand: NumPy is asked for a shape",
    "ops/linalg.py cross": "the same",
    "ops/shape.py rollaxis": "the same",
    "ops/shape.py rot90": "the same",
    "ops/sets.py read_values": "the same",
    "ops/write.py fill_diagonal": "a mask by shape, which is an index",
    "ops/nn/ctc.py states": "of labels, which are static data",
    "ops/nn/ctc.py short_targets": "what tests draw",
    "ops/fft.py multiplicity": "handed to `created`",
    "ops/decompositions.py": "what tests draw",
    "ops/decompositions.py kink": "what tests draw",
    "ops/decompositions.py spread": "what tests draw",
    "ops/index.py some_indices": "what tests draw",
    "ops/index.py takes_along": "what tests draw",
    "ops/index.py writable": "what tests draw",
    "ops/inverse.py": "what tests draw",
    "ops/inverse.py off_singular": "what tests draw",
    "scipy/linalg.py": "what tests draw",
}


def words(tree: ast.AST) -> set[str]:
    """The names in a piece of code."""
    return {str(getattr(n, "attr", getattr(n, "id", ""))) for n in ast.walk(tree)}


def asks(node: ast.AST) -> bool:
    """Whether code asks for the type of an array."""
    match node:
        case ast.Call(ast.Name("isinstance" | "issubclass"), [_, types]):
            return bool(words(types) & TYPES)
        case ast.Compare(comparators=[types]):
            return bool(words(types) & TYPES)
    return False


def makes(node: ast.AST) -> bool:
    """Whether code makes one of NumPy's arrays."""
    match node:
        case ast.Call(ast.Attribute(ast.Name("np"), name)):
            return name in MAKERS
    return False


def places(tree: ast.AST, seen: Callable[[ast.AST], bool], function: str = "") -> Iterator[str]:
    """The functions where such code stands."""
    for node in ast.iter_child_nodes(tree):
        if seen(node):
            yield function
        named = isinstance(node, ast.FunctionDef)
        yield from places(node, seen, f" {node.name}" if named else function)


@pytest.mark.parametrize(("seen", "reasons"), [(asks, ASK), (makes, MAKE)])
def test_the_table_is_the_only_place(seen: Callable[[ast.AST], bool], reasons: Any) -> None:
    found = {
        path + place
        for path in {p.relative_to(ROOT).as_posix() for p in ROOT.rglob("*.py")} - TABLE
        if path.split("/")[0] in ROOMS
        for place in places(ast.parse((ROOT / path).read_text(encoding="utf8")), seen)
    }
    assert found == reasons.keys()
