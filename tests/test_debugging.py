"""tg.debug(): who made the NaN, and whose arrays were changed too early."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn, optim
from tensorgrad.engine.node import record, recorder
from tensorgrad.engine.primitive import primitive
from tensorgrad.nn import functional as F

pytestmark = pytest.mark.usefixtures("own_primitives", "silence")


@pytest.fixture
def silence() -> Iterator[None]:
    """NumPy's own warnings would come first."""
    with np.errstate(all="ignore"):
        yield


def fault(f: Callable[[], Any]) -> str:
    """What is said when `f` runs in debug mode."""
    with pytest.raises(FloatingPointError) as caught, tg.debug():
        f()
    return str(caught.value)


def line_in(f: Callable[[], Any], text: str) -> str:
    """How the message names the first line of the body of `f`."""
    return f"test_debugging.py, line {f.__code__.co_firstlineno + 1}: {text}"


# NaN and Inf.


def test_forward_the_first_operation_that_makes_an_infinity_is_named_with_its_line() -> None:
    x = Value([[4.0, 1.0], [2.0, 0.0]])

    def compute() -> None:
        y = 2 * np.log(x)
        y.sum().backward()

    message = fault(compute)
    assert message.startswith("log made -inf at entry (1, 1), from 0.0, in ")
    assert message.endswith(line_in(compute, "y = 2 * np.log(x)"))
    assert x.grad is None


def test_forward_a_nan_is_found_too_and_of_a_scalar() -> None:
    assert fault(lambda: np.sqrt(Value(-1.0))).startswith(
        "sqrt made nan at entry (), from -1.0, in"
    )


def test_forward_an_operation_that_was_given_a_nan_is_not_blamed_for_making_it() -> None:
    message = fault(lambda: Value([1.0, 2.0]) * np.array([0.0, np.nan]))
    assert message.startswith("multiply was given nan in operand 1, in ")


def test_backward_the_operation_whose_rule_makes_an_infinity_is_named_with_its_line() -> None:
    x, w = Value([1.0, 0.0]), Value([3.0, 3.0])

    def compute() -> Value:
        return np.sqrt(x) * w

    with tg.debug():
        y = compute()
    message = fault(lambda: y.backward(np.ones(2)))
    assert message.startswith("the gradient rule of sqrt made inf at entry (1,), in ")
    assert message.endswith(line_in(compute, "return np.sqrt(x) * w"))
    assert x.grad is w.grad is None


def test_backward_also_of_a_sweep_that_is_itself_recorded() -> None:
    x = Value([1.0, 0.0])
    message = fault(lambda: np.sqrt(x).backward(np.ones(2), create_graph=True))
    assert message.startswith("divide made inf at entry (1,), from 1.0, 0.0, in ")  # 1 / 2√x
    assert x.grad is None


def test_the_line_is_the_users_and_not_the_librarys() -> None:
    model = nn.Sequential(nn.Linear(1, 1), np.log)
    model.load_state_dict({"layers.0.weight": [[0.0]], "layers.0.bias": [-1.0]})

    def compute() -> Value:
        return model(np.ones((1, 1)))

    assert fault(compute).endswith(line_in(compute, "return model(np.ones((1, 1)))"))


def test_a_computation_without_fault_gives_the_same_numbers() -> None:
    x = np.random.default_rng(0).normal(size=(5, 3))
    gradients = []
    for checked in (False, True):
        layer = nn.Linear(3, 2, rng=0)
        if checked:
            with tg.debug():
                F.cross_entropy(np.tanh(layer(x)), [0, 1, 0, 1, 1]).backward()
        else:
            F.cross_entropy(np.tanh(layer(x)), [0, 1, 0, 1, 1]).backward()
        gradients.append(layer.weight.grad)
    np.testing.assert_array_equal(*gradients)


# Arrays changed in place between the forward and the sweep.


def sweep_after(
    f: Any, change: str, x: Any = (1.0, 2.0, 3.0), w: Any = (0.5, -1.0, 2.0)
) -> tuple[Value, str]:
    """Compute f(x, w) in debug mode, overwrite an array, sweep. Returns x and the error, if any."""
    values = {"x": Value(np.array(x)), "w": Value(np.array(w))}
    with tg.debug():
        out = f(values["x"], values["w"])
    ({"out": out} | values)[change].data[0] = 7.0
    try:
        out.backward(np.ones(out.shape))
    except RuntimeError as error:
        return values["x"], str(error)
    return values["x"], ""


@pytest.mark.parametrize(
    ("name", "f", "change", "what"),
    [
        ("multiply", lambda x, w: x * w, "w", "operand 1"),
        ("multiply", lambda x, w: x * w, "x", "operand 0"),
        ("divide", lambda x, w: x / w, "w", "operand 1"),
        ("power", lambda x, w: x**w, "x", "operand 0"),
        ("square", lambda x, w: np.square(x), "x", "operand 0"),
        ("exp", lambda x, w: np.exp(x), "out", "the result"),
        ("tanh", lambda x, w: np.tanh(x), "out", "the result"),
        ("softmax", lambda x, w: F.softmax(x), "out", "the result"),
        ("einsum", lambda x, w: np.einsum("i,i->i", x, w), "w", "operand 1"),
        ("maximum", lambda x, w: np.maximum(x, w + 3), "x", "operand 0"),
    ],
)
def test_a_change_of_an_array_that_the_sweep_needs_is_found(
    name: str, f: Any, change: str, what: str
) -> None:
    x, error = sweep_after(f, change)
    assert error.startswith(f"{what} of {name} was changed in place after the operation used it")
    assert "test_debugging.py, line " in error
    assert x.grad is None


@pytest.mark.parametrize(
    ("f", "change"),
    [
        (lambda x, w: x + w, "x"),
        (lambda x, w: x + w, "out"),
        (lambda x, w: x * w, "out"),
        (lambda x, w: np.exp(x), "x"),
        (lambda x, w: np.tanh(x), "x"),
        (lambda x, w: np.square(x), "out"),
        (lambda x, w: F.relu(x), "out"),
        (lambda x, w: F.relu(x), "x"),  # from 1 to 7: on the same side of the corner
        (lambda x, w: x[1:], "out"),
        (lambda x, w: np.reshape(x, (3, 1)), "x"),
        (lambda x, w: np.concatenate([x, w]), "w"),
        (lambda x, w: np.stack([x, w]), "x"),
        (lambda x, w: np.where(np.array([True, False, True]), x, w), "out"),
        (lambda x, w: x.sum(keepdims=True), "x"),
        (lambda x, w: x * w.detach(), "x"),  # nobody asks for the gradient of the other
    ],
)
def test_a_change_that_makes_no_difference_to_the_sweep_is_nobodys_business(
    f: Any, change: str
) -> None:
    x, error = sweep_after(f, change)
    assert error == ""
    assert x.grad is not None


def test_the_line_of_a_changed_array_is_that_of_the_operation_which_needs_it() -> None:
    w = Value([1.0, 2.0])

    def compute() -> Value:
        return w * w

    with tg.debug():
        y = compute()
    w.data -= 0.1
    with pytest.raises(RuntimeError) as caught:
        y.backward(np.ones(2))
    assert str(caught.value).endswith(line_in(compute, "return w * w"))


def test_a_custom_rule_is_watched_like_any_other() -> None:
    cube = primitive(lambda x: x**3, lambda g, out, x: 3 * g * x**2, name="cube")
    _, error = sweep_after(lambda x, w: cube(x), "x")
    assert error.startswith("operand 0 of cube was changed in place")


def test_a_rule_that_makes_nan_either_way_is_not_explained_by_a_changed_array() -> None:
    broken = primitive(lambda x: 2 * x, lambda g, out, x: g * x * np.nan, name="broken")
    x = Value([1.0, 2.0])
    with tg.debug():
        y = broken(x)
    x.data[0] = 7.0
    message = fault(lambda: y.backward(np.ones(2)))
    assert message.startswith("the gradient rule of broken made nan at entry (0,), in ")


def test_the_usual_training_loop_is_not_accused() -> None:
    x, y = np.random.default_rng(0).normal(size=(8, 3)), np.arange(8) % 2
    model = nn.Linear(3, 2, rng=0)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    with tg.debug():
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        for _ in range(3):  # micrograd's way, in place
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()
            for p in model.parameters():
                p.data -= 0.1 * p.grad


def test_inside_vmap_an_entry_is_that_of_its_example() -> None:
    x = np.array([[1.0, 2.0], [3.0, 0.0]])
    with tg.debug():
        np.testing.assert_allclose(tg.vmap(tg.grad(lambda x: np.sum(x**3)))(x), 3 * x**2)
        assert tg.hessian(lambda x: np.sum(x**3))(x[0]).tolist() == [[6, 0], [0, 12]]
        with pytest.raises(FloatingPointError, match=r"log made -inf at entry \(1, 1\), from 0.0"):
            tg.vmap(tg.grad(lambda x: np.sum(np.log(x))))(x)
        with pytest.raises(FloatingPointError, match=r"rule of sqrt made inf at entry \(1, 1\)"):
            tg.vmap(tg.grad(lambda x: np.sum(np.sqrt(x))))(x)


# Afterwards.


def test_nothing_of_it_is_left_after_the_block() -> None:
    x = Value(4.0)
    with tg.debug():
        checked = np.sqrt(x)
    unchecked = np.sqrt(x)
    assert recorder.get() is record
    assert checked.node.readings
    assert not unchecked.node.readings
    np.log(Value(0.0))  # nobody looks


def test_nothing_of_it_is_left_after_an_error() -> None:
    with pytest.raises(FloatingPointError), tg.debug():
        np.log(Value(0.0))
    assert recorder.get() is record


def test_no_grad_within_records_and_checks_nothing() -> None:
    with tg.debug(), tg.no_grad():
        y: Any = np.log(Value(0.0))
    assert y.data == -np.inf
    assert not y.requires_grad


# Around and inside of transforms.

ROWS = np.arange(1.0, 7.0).reshape(2, 3)
V = ROWS[0]


def checkpointed(f: Any) -> Any:
    return tg.checkpoint(f)


def with_own_gradient(f: Any) -> Any:
    mine = tg.custom_vjp(f)
    mine.defvjp(lambda x: (mine(x), x), lambda x, g: (g * tg.elementwise_grad(f)(x),))
    return mine


def in_a_module(f: Any) -> Any:
    class Holder(nn.Module):
        def forward(self, x: Any) -> Any:
            return f(x)

    return Holder()


WRAPPED: dict[str, Any] = {
    "as it is": lambda f: f,
    "checkpoint": checkpointed,
    "custom_vjp": with_own_gradient,
    "Module": in_a_module,
}
AROUND: dict[str, Any] = {
    "grad": lambda f: tg.grad(lambda x: np.sum(f(x)))(V),
    "grad of grad": lambda f: tg.grad(lambda x: np.sum(tg.elementwise_grad(f)(x)))(V),
    "vjp": lambda f: tg.vjp(f, V)[1](V)[0],
    "jvp": lambda f: tg.jvp(f, (V,), (V,))[1],
    "jacobian": lambda f: tg.jacobian(f)(V),
    "jacobian forward": lambda f: tg.jacobian(f, mode="forward")(V),
    "hessian": lambda f: tg.hessian(lambda x: np.sum(f(x)))(V),
    "hvp": lambda f: tg.hvp(lambda x: np.sum(f(x)), (V,), (V,)),
    "vmap": lambda f: tg.vmap(f)(Value(ROWS)).data,
    "vmap of grad": lambda f: tg.vmap(tg.grad(lambda x: np.sum(f(x))))(ROWS),
    "vmap of hessian": lambda f: tg.vmap(tg.hessian(lambda x: np.sum(f(x))))(ROWS),
    "vmap of vjp": lambda f: tg.vmap(lambda x, g: tg.vjp(f, x)[1](g)[0])(ROWS, ROWS),
    "vmap of jvp": lambda f: tg.vmap(lambda x, t: tg.jvp(f, (x,), (t,))[1])(ROWS, ROWS),
    "jacobian of vmap": lambda f: tg.jacobian(tg.vmap(f))(ROWS),
    "grad of vmap": lambda f: tg.grad(lambda x: np.sum(tg.vmap(f)(x)))(ROWS),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_debug_changes_no_derivative_and_finds_what_each_makes(around: Any, wrap: Any) -> None:
    clean = wrap(lambda x: np.sin(x) * x)
    expected = around(clean)
    with tg.debug():
        np.testing.assert_array_equal(around(clean), expected)
    broken = wrap(lambda x: np.log(x - x) * x)
    assert "made -inf" in fault(lambda: around(broken))
    assert recorder.get() is record


def test_debug_around_fit_changes_nothing() -> None:
    losses = []
    for block in (contextlib.nullcontext(), tg.debug()):
        model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Tanh())
        optimizer = optim.Adam(model.parameters())
        with block:
            history = tg.fit(
                *(model, (ROWS, np.array([0, 1])), F.cross_entropy, optimizer), epochs=3
            )
        losses.append([line.loss for line in history])
    assert losses[0] == losses[1]


def test_a_second_derivative_that_follows_from_a_choice_is_told() -> None:
    def two_lengths(x: Any) -> Any:
        return np.linalg.norm(x) * np.linalg.norm(x)  # |x|², but its Hessian at 0 follows from 0·0

    with (
        tg.debug(),
        pytest.warns(UserWarning, match=r"norm is .* a choice, ‖x‖' = 0 at 0.*np\.linalg"),
    ):
        tg.hessian(two_lengths)(np.zeros(2))
    with tg.debug():  # elsewhere, and at first order, nobody is warned
        tg.hessian(two_lengths)(np.ones(2))
        tg.grad(two_lengths)(np.zeros(2))
