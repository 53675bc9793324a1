"""Buffers: what a Module remembers, and that it does so once a step."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, io, nn, optim
from tensorgrad.train import Step

X = np.array([[1.0, 2.0], [3.0, 6.0]])


class RunningMean(nn.Module):
    """The input less the mean of what it has seen, and how often it has."""

    def __init__(self) -> None:
        self.mean, self.count = np.zeros(2), np.array(0)
        self.scale = Value(np.ones(2))

    def forward(self, x: Any) -> Any:
        if self.training:
            self.remember(mean=self.mean + np.mean(x, axis=0), count=self.count + 1)
        return (x - self.mean) * self.scale


def loss(model: Any, x: Any = X) -> Any:
    return np.sum(model(x) ** 2)


def test_an_array_attribute_is_a_buffer_wherever_it_stands_and_settings_are_not() -> None:
    class Holder(nn.Module):
        def __init__(self) -> None:
            self.table = np.arange(3)
            self.parts = [np.ones(1), {"deep": np.zeros(1)}, "name", 3, np.float64(2.0)]
            self.labels, self._scratch = np.array(["a"]), np.ones(1)
            self.inner = RunningMean()

    holder = Holder()
    names = [name for name, _ in holder.named_buffers()]
    assert names == ["table", "parts.0", "parts.1.deep", "inner.mean", "inner.count"]
    assert [name for name, _ in holder.named_parameters()] == ["inner.scale"]
    assert list(holder.state_dict()) == [*names, "inner.scale"]
    assert holder.buffers()[0] is holder.table


def test_a_forward_in_training_remembers_and_one_in_use_does_not() -> None:
    model = RunningMean()
    model(X)
    np.testing.assert_array_equal(model.mean, [2, 4])
    model.eval()(X)
    assert model.count == 1
    assert (model.mean.dtype, model.count.dtype) == (np.float64, np.dtype(int))


class Pair(NamedTuple):
    weight: Any
    mean: Any


class Shared(nn.Module):
    """One buffer at five places, two of them in tuples."""

    def __init__(self) -> None:
        self.a = self.b = np.zeros(2)
        self.pair, self.inner = Pair(Value(np.ones(2)), self.a), RunningMean()
        self.inner.mean, self.parts = self.a, [{"deep": (1, self.a)}]

    def places(self) -> list[Any]:
        return [self.a, self.b, self.pair.mean, self.inner.mean, self.parts[0]["deep"][1]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_shared_buffer_is_replaced_wherever_it_stands_also_in_tuples(dtype: Any) -> None:
    model = Shared()
    weight, before = model.pair.weight, model.a
    before.flags.writeable = False
    model.load_state_dict({**model.state_dict(), "a": [1.0, 2.0]})
    model.to(dtype)
    assert {id(x) for x in model.places()} == {id(model.a)}
    np.testing.assert_array_equal(model.a, [1, 2])
    np.testing.assert_array_equal(before, [0, 0])
    assert model.a.dtype == weight.dtype == dtype
    assert type(model.pair) is Pair
    assert model.pair.weight is weight


def test_a_module_remembers_a_buffer_under_all_names_that_it_has_for_it() -> None:
    model = Shared()
    model.remember(a=[1.0, 2.0])
    assert model.a is model.b
    np.testing.assert_array_equal(model.b, [1, 2])


def test_tuples_without_a_buffer_stay_themselves() -> None:
    model = Shared()
    model.sizes = sizes = (1, (2, 3))  # type: ignore[attr-defined]
    assert model.to(np.float32).sizes is sizes  # type: ignore[attr-defined]


def test_what_is_remembered_replaces_the_array_and_who_held_the_old_one_keeps_it() -> None:
    model = RunningMean()
    before = model.mean
    model(X)
    np.testing.assert_array_equal(before, [0, 0])


@pytest.mark.parametrize("wrap", [lambda m: tg.checkpoint(m), lambda m: tg.checkpoint(m.forward)])
def test_a_checkpoint_that_computes_again_does_not_remember_again(wrap: Any) -> None:
    model = RunningMean()
    out = np.sum(wrap(model)(Value(X)) ** 2)
    out.backward()
    assert model.count == 1
    np.testing.assert_array_equal(model.mean, [2, 4])


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: tg.grad(f),
        lambda f: tg.value_and_grad(f),
        lambda f: tg.grad(tg.checkpoint(f)),
        lambda f: lambda m: tg.vjp(f, m)[1](1.0),
        lambda f: lambda m: tg.grad(lambda s: tg.grad(lambda m: s * f(m))(m).scale.sum())(2.0),
        lambda f: tg.grad(lambda m: tg.checkpoint(lambda: f(m))()),
    ],
)
def test_under_a_transform_the_model_that_it_was_given_remembers_once(transform: Any) -> None:
    model = nn.Sequential(RunningMean(), nn.Tanh())
    model.scale = model[0].scale  # type: ignore[attr-defined]
    transform(loss)(model)
    assert model[0].count == 1
    np.testing.assert_array_equal(model[0].mean, [2, 4])
    assert type(model[0].mean) is np.ndarray


def test_a_model_that_a_transform_closes_over_remembers_too() -> None:
    model = RunningMean()
    tg.grad(lambda x: loss(model, x))(X)
    assert model.count == 1


def test_a_transform_looks_for_the_modules_that_it_was_given_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = []
    looking = lambda tree: looked.append(tree) or []
    monkeypatch.setattr("tensorgrad.transforms.call.modules_in", looking)
    model = RunningMean()
    tg.grad(lambda x: loss(model, x) + loss(model, x))(X)
    assert model.count == 2
    assert len(looked) == 2  # the copies and the originals


def test_a_transform_within_a_checkpoint_remembers_once() -> None:
    model = RunningMean()

    @tg.checkpoint
    def inner(x: Any) -> Any:
        return x * tg.value_and_grad(loss)(model)[0]

    inner(Value(2.0)).backward()
    assert model.count == 1


def test_a_checkpoint_computes_again_with_the_buffers_that_were_there_the_first_time() -> None:
    class Late(RunningMean):
        def forward(self, x: Any) -> Any:
            out = (x - self.mean) * self.scale  # the mean of what came before
            self.remember(mean=self.mean + np.mean(x, axis=0))
            return out

    for twice in (lambda m: loss(m), lambda m: loss(m) + loss(m, 2 * X)):
        plain, thrifty = Late(), Late()
        twice(plain).backward()
        out = tg.checkpoint(lambda m: twice(m))(thrifty)  # noqa: B023
        left = thrifty.mean
        out.backward()
        np.testing.assert_array_equal(thrifty.scale.grad, plain.scale.grad)
        np.testing.assert_array_equal(thrifty.mean, plain.mean)
        assert thrifty.mean is left
        grads = tg.grad(tg.checkpoint(twice))(thrifty.with_parameters([plain.scale]))
        assert grads.mean.shape == (2,)
        again = Late()
        by_grad = tg.grad(tg.checkpoint(twice))(again)
        np.testing.assert_array_equal(by_grad.scale.data, plain.scale.grad)
        np.testing.assert_array_equal(again.mean, plain.mean)


def test_a_gradient_of_ones_own_that_is_computed_again_remembers_once() -> None:
    model = RunningMean()
    square = tg.custom_vjp(lambda x: np.sum(x**2))

    def forward(x: Any) -> Any:
        model.remember(count=model.count + 1)
        return np.sum(x**2), x

    square.defvjp(forward, lambda x, g: (g * 2 * x,))
    tg.grad(lambda x: np.sum(tg.grad(square)(x)))(X)
    assert model.count == 1


def test_the_gradient_is_that_of_the_mean_that_the_forward_left() -> None:
    model, other = RunningMean(), RunningMean()
    loss(model).backward()
    grads = tg.grad(loss)(other)
    np.testing.assert_array_equal(grads.scale.data, model.scale.grad)


def test_two_calls_in_one_forward_both_count() -> None:
    model = RunningMean()
    tg.grad(lambda m: loss(m) + loss(m))(model)
    assert model.count == 2


def test_a_step_that_looks_twice_remembers_once() -> None:
    class Twice(optim.SGD):
        def step(self, closure: Any = None) -> Any:
            closure()
            return super().step(closure)

    model = RunningMean()
    step = Step(model, lambda a, y: np.sum(a**2), Twice(model.parameters(), lr=0.1))
    step(X, None)
    assert model.count == 1


def test_buffers_have_names_in_explanations() -> None:
    model = RunningMean().eval()
    assert "norm.mean" in str(tg.viz.explain(loss(model, Value(X)), model.scale, {"norm": model}))


def test_lint_leaves_buffers_alone() -> None:
    model = RunningMean()
    tg.lint(lambda: loss(model), model)
    assert model.count == 0


def test_inside_vmap_there_is_no_one_mean_to_remember() -> None:
    with pytest.raises(TypeError, match="all examples at once"):
        tg.vmap(RunningMean())(X[:, None])


@pytest.mark.parametrize(
    ("buffers", "error", "message"),
    [
        ({"men": 1.0}, TypeError, "RunningMean has no buffer 'men'"),
        ({"scale": np.ones(2)}, TypeError, "no buffer 'scale', but Value"),
        ({"mean": 1.0}, ValueError, r"mean has shape \(2,\), not \(\)"),
        ({"count": 0.5}, TypeError, "Cannot cast"),
        ({"mean": np.ones(2) * 1j}, TypeError, "Cannot cast"),
    ],
)
def test_what_does_not_fit_is_not_remembered(
    buffers: Any, error: type[Exception], message: str
) -> None:
    model = RunningMean()
    with pytest.raises(error, match=message):
        model.remember(count=5, **buffers) if "count" not in buffers else model.remember(**buffers)
    assert model.count == 0


def test_buffers_are_saved_loaded_copied_and_pickled(tmp_path: Path) -> None:
    model = RunningMean()
    model(X)
    io.save(model, tmp_path / "m.safetensors")
    again = [
        io.load(tmp_path / "m.safetensors", [RunningMean]),
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        RunningMean(),
    ]
    again[-1].load_state_dict(model.state_dict())
    for other in again:
        np.testing.assert_array_equal(other.mean, [2, 4])
        assert (other.count, other.count.dtype) == (1, model.count.dtype)
        other(X)
    assert model.count == 1


def test_a_file_from_before_there_were_buffers_loads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = tmp_path / "m.safetensors", RunningMean()
    model.scale.data = [5.0, 6.0]
    with monkeypatch.context() as old:
        scale = {"scale": model.scale.data}
        old.setattr(RunningMean, "state_dict", lambda self: scale)
        old.setattr(RunningMean, "load_state_dict", lambda self, state, assign: None)
        io.save(model, path)
    path.write_bytes(path.read_bytes().replace(b'format\\"', b'former\\"'))
    again = io.load(path, [RunningMean])
    np.testing.assert_array_equal(again.state_dict()["scale"], [5, 6])
    np.testing.assert_array_equal(again.state_dict()["mean"], [0, 0])
