"""Module: what counts as a parameter, and what happens to all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tensorgrad import Value, nn, no_grad


class Block(nn.Module):
    """Parameters in every place where one may stand."""

    def __init__(self) -> None:
        self.first = Value([1.0, 2.0])
        self.rows = [Value(3.0), (Value(4.0), nn.Linear(2, 1, rng=0))]
        self.by_key = {"up": Value(5.0), "inner": {"down": Value(6.0)}}
        self.width, self.title, self.table = 3, "a block", np.ones(4)


def names(module: nn.Module) -> list[str]:
    return [name for name, _ in module.named_parameters()]


def test_parameters_are_found_in_attributes_lists_tuples_dicts_and_modules() -> None:
    assert names(Block()) == [
        *("first", "rows.0", "rows.1.0", "rows.1.1.weight", "rows.1.1.bias"),
        *("by_key.up", "by_key.inner.down"),
    ]


def test_parameters_come_in_the_order_of_the_attributes() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 1, bias=False))
    assert names(model) == ["layers.0.weight", "layers.0.bias", "layers.2.weight"]
    assert [p.shape for p in model.parameters()] == [(2, 3), (2,), (1, 2)]


def test_a_shared_parameter_is_one_parameter() -> None:
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, shared)
    model.extra = shared.bias  # type: ignore[attr-defined]
    assert names(model) == ["layers.0.weight", "layers.0.bias"]
    assert [name for name, _ in model.named_modules()] == ["", "layers.0"]


def test_the_gradient_of_a_shared_parameter_is_the_sum_over_its_uses() -> None:
    shared = nn.Linear(1, 1, bias=False, dtype=np.float64, rng=0)
    nn.Sequential(shared, shared)(np.array([3.0])).backward()
    w = shared.weight.item()
    np.testing.assert_allclose(shared.weight.grad, [[2 * w * 3.0]])  # (w² x)' = 2 w x


def test_equal_parameters_are_not_the_same_parameter() -> None:
    class Twins(nn.Module):
        def __init__(self) -> None:
            self.a, self.b = Value(1.0), Value(1.0)

    assert names(Twins()) == ["a", "b"]


def test_a_module_holds_what_is_assigned_later_and_forgets_what_is_removed() -> None:
    model = nn.Sequential(nn.Linear(1, 1))
    model.scale = Value(1.0)  # type: ignore[attr-defined]
    del model.layers[0]
    assert names(model) == ["scale"]


def test_a_module_that_holds_its_parent_is_walked_once() -> None:
    parent, child = nn.Sequential(nn.Linear(1, 1)), nn.Identity()
    parent.layers.append(child)
    child.parent = parent  # type: ignore[attr-defined]
    assert names(parent) == ["layers.0.weight", "layers.0.bias"]


def test_zero_grad_forgets_every_gradient() -> None:
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))
    model(np.ones((1, 3))).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_gradients_add_up_until_they_are_forgotten() -> None:
    model, x = nn.Linear(2, 1, rng=0), np.array([[1.0, 2.0]])
    model(x).sum().backward()
    model(x).sum().backward()
    np.testing.assert_array_equal(model.weight.grad, 2 * x)


def test_train_and_eval_reach_every_module_within_and_return_the_module() -> None:
    model = nn.Sequential(nn.Linear(1, 1), nn.Sequential(nn.Tanh()))
    modules = [module for _, module in model.named_modules()]
    assert len(modules) == 4
    assert all(module.training for module in modules)
    assert model.eval() is model
    assert not any(module.training for module in modules)
    assert nn.Tanh().training  # of another module, nothing was said
    assert model.train() is model
    assert all(module.training for module in modules)


def test_a_module_without_forward_says_so() -> None:
    with pytest.raises(NotImplementedError, match=r"Block does not define forward\(\)"):
        Block()(1.0)


def test_it_prints_as_it_was_made() -> None:
    assert repr(nn.Linear(2, 1, bias=False, rng=0)) == "Linear(2, 1, bias=False)"
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Softmax(dim=0))
    assert repr(model) == "Sequential(Linear(2, 3), ReLU(), Softmax(dim=0))"


# state_dict


def test_the_state_is_a_copy() -> None:
    model = nn.Linear(2, 1, rng=0)
    state = model.state_dict()
    before = {name: x.copy() for name, x in state.items()}
    model.weight.data += 1.0
    assert list(state) == ["weight", "bias"]
    for name, x in state.items():
        np.testing.assert_array_equal(x, before[name])


def test_a_state_loads_into_another_model_which_then_computes_the_same() -> None:
    ours, theirs = nn.Linear(3, 2, rng=0), nn.Linear(3, 2, rng=1)
    x = np.random.default_rng(0).normal(size=(4, 3))
    theirs.load_state_dict(ours.state_dict())
    np.testing.assert_array_equal(theirs(x).data, ours(x).data)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_loaded_state_is_copied_and_cast(dtype: type) -> None:
    model, state = nn.Linear(2, 1), {"weight": np.ones((1, 2), dtype), "bias": np.zeros(1, dtype)}
    model.load_state_dict(state)
    state["weight"][:] = 7
    np.testing.assert_array_equal(model.weight.data, [[1, 1]])
    assert model.weight.dtype == np.float32


def test_scalars_are_saved_and_loaded() -> None:
    model = nn.MLP(2, [1], rng=0)
    other = nn.MLP(2, [1], rng=1)
    other.load_state_dict(model.state_dict())
    assert other([0.3, 0.4]).item() == model([0.3, 0.4]).item()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bias": None}, "missing 'bias'"),
        ({"scale": np.ones(1)}, "unexpected 'scale'"),
        ({"bias": np.ones(3)}, r"'bias' has shape \(3,\), expected \(1,\)"),
        ({"bias": np.ones((1, 1))}, r"'bias' has shape \(1, 1\), expected \(1,\)"),
        ({"bias": np.array(["one"])}, "could not convert"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change: Any, message: str) -> None:
    model = nn.Linear(2, 1, rng=0)
    before = model.state_dict()
    state = {"weight": np.full((1, 2), 9.0), "bias": np.ones(1)} | change
    with pytest.raises(ValueError, match=message):
        model.load_state_dict({name: x for name, x in state.items() if x is not None})
    for name, x in model.state_dict().items():
        np.testing.assert_array_equal(x, before[name])


def test_all_that_is_wrong_with_a_state_is_said_at_once() -> None:
    with pytest.raises(
        ValueError, match=r"fit Linear: missing 'weight'; unexpected 'w'; 'bias' has"
    ):
        nn.Linear(2, 1).load_state_dict({"w": 1.0, "bias": np.ones(2)})


def test_an_activation_kept_in_an_attribute_is_no_parameter() -> None:
    class Watched(nn.Module):
        def __init__(self) -> None:
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            self.hidden = self._kept = self.linear(x)
            return self.hidden

    model = Watched()
    model(np.zeros((1, 2)))
    assert [name for name, _ in model.named_parameters()] == ["linear.weight", "linear.bias"]
    with no_grad():
        model(np.zeros((1, 2)))
    assert "_kept" not in model.state_dict()
