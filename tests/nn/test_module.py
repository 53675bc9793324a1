"""Module: what counts as a parameter, and what happens to all of them."""

from __future__ import annotations

import copy
import gc
import inspect
import pickle
import weakref
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn, no_grad, optim
from tensorgrad.nn.module import module_of


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


def test_a_model_of_ones_own_prints_the_modules_in_it_by_their_paths() -> None:
    class Net(nn.Module):
        def __init__(self, n: int) -> None:
            self.body = nn.Sequential(nn.Linear(n, n), nn.ReLU())
            self.heads = [nn.Linear(n, 1, dtype=np.float32), nn.Linear(n, 1), nn.Linear(n, 2)]
            self.itself = {"x": self}

    written = """Net(3)
  body: Sequential(Linear(3, 3), ReLU())
  heads.0 to heads.1: Linear(3, 1)
  heads.2: Linear(3, 2)"""
    assert repr(Net(3)) == written
    long = nn.Sequential(*[nn.Linear(100, 100) for _ in range(12)], nn.ReLU())
    assert repr(long).splitlines() == [
        "Sequential(...)",
        "  layers.0 to layers.11: Linear(100, 100)",
        "  layers.12: ReLU()",
    ]
    outer = repr(nn.Sequential(Net(3), nn.Tanh())).splitlines()
    assert outer[:3] == ["Sequential(...)", "  layers.0: Net(3)", f"  {written.splitlines()[1]}"]


@pytest.mark.parametrize("record", [True, False])
def test_an_error_says_in_which_layer_it_came_up(record: bool) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.Sequential(nn.ReLU(), nn.Linear(9, 2)))
    x, deep = np.ones((3, 4)), r"takes 9\nin layer layers.1.layers.1, Linear\(9, 2\)$"
    with nullcontext() if record else tg.no_grad(), pytest.raises(ValueError, match=deep):
        model(x)
    with pytest.raises(ValueError, match=deep):
        tg.grad(lambda model: np.sum(model(x)))(model)
    with pytest.raises(ValueError, match=r"takes 9\nin layer Linear\(9, 2\)$"):
        nn.Linear(9, 2)(x)


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


@dataclass
class Pair:
    up: Any
    down: Any


def test_parameters_are_found_in_dataclasses_and_their_gradients_come_in_them() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            self.pair = Pair(Value(2.0), nn.Linear(1, 1, rng=0))

        def forward(self, x: Any) -> Any:
            return self.pair.up * self.pair.down(x)

    both = Both()
    assert names(both) == ["pair.up", "pair.down.weight", "pair.down.bias"]
    both(np.array([3.0])).sum().backward()
    grads = tg.grad(lambda m: np.sum(m(np.array([3.0]))))(both)
    for p, g in zip(both.parameters(), grads.parameters(), strict=True):
        np.testing.assert_array_equal(g.data, p.grad)


def test_a_module_that_is_a_dataclass_is_a_module_to_transforms_alone_and_in_a_list() -> None:
    @dataclass(eq=False)
    class Scale(nn.Module):
        factor: Any
        power: int = 2

        def forward(self, x: Any) -> Any:
            return np.sum(self.factor * x**self.power)

    x, model = np.array([3.0]), Scale(Value(2.0))
    assert tg.grad(lambda m: m(x))(model).factor.item() == 9
    assert tg.grad(lambda ms: ms[0](x))([model])[0].factor.item() == 9
    tg.testing.check_grads(lambda m: m(x), model)


def test_keys_of_a_dict_may_begin_with_an_underscore_and_a_list_may_hold_itself() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            self.table: Any = {"_kept": Value(1.0), 3: Value(2.0)}
            self.loop: Any = [Value(3.0)]
            self.loop.append(self.loop)

    assert names(Odd()) == ["table._kept", "table.3", "loop.0"]


def test_a_slice_of_a_sequential_is_one_of_the_same_modules() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    front = model[:-1]
    assert type(front) is nn.Sequential
    assert list(front) == [model[0], model[1]]
    assert front(np.zeros((4, 2))).shape == (4, 3)


@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("x", [np.ones((1, 2)), np.float32(1), 1.0])
def test_an_array_in_place_of_a_parameter_is_refused(x: Any, learns: bool) -> None:
    model = nn.Linear(2, 1).requires_grad_(learns)
    with pytest.raises(TypeError, match=r"Linear\.weight is a parameter.*\.weight\.data"):
        model.weight = x
    model.weight, model.bias = Value(np.ones((1, 2))), None
    assert names(model) == ["weight"]
    np.testing.assert_array_equal(model(np.ones((1, 2))).data, [[2]])


def test_a_property_of_a_module_is_set_as_one() -> None:
    class Doubled(nn.Module):
        def __init__(self) -> None:
            self._x = Value(1.0)

        @property
        def x(self) -> Any:
            return self._x

        @x.setter
        def x(self, new: Any) -> None:
            self._x = Value(2 * new)

    model = Doubled()
    model.x = 3.0
    assert model.x.item() == 6
    assert names(model) == []


def test_modules_of_functions_are_copied_and_pickled() -> None:
    model = nn.Sequential(
        nn.Linear(2, 2, rng=0), nn.Softmax(0), nn.CrossEntropyLoss(reduction="sum")
    )
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert repr(twin) == repr(model)
        np.testing.assert_array_equal(twin[:2](np.eye(2)).data, model[:2](np.eye(2)).data)
        assert twin[2].reduction == "sum"


def test_frozen_parameters_get_no_gradient_until_they_are_let_learn() -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 1, rng=0))
    assert model[0].requires_grad_(False) is model[0]
    model(np.ones((1, 2))).sum().backward()
    assert [p.grad is None for p in model.parameters()] == [True, True, False, False]
    model.requires_grad_()
    assert all(p.requires_grad for p in model.parameters())


def test_to_converts_parameters_gradients_and_buffers_and_counts_stay() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            self.linear, self.phase = nn.Linear(2, 1, rng=0), Value(np.ones(1, np.complex64))
            self.mean, self.count = np.zeros(1, np.float32), np.array(3)
            self.table = Value(np.arange(2), requires_grad=False)

    model = Mixed()
    old = model.linear.weight.data
    model.linear(np.ones((1, 2), np.float32)).sum().backward()
    assert model.to(np.float64) is model
    assert {name: x.dtype.name for name, x in model.state_dict().items()} == {
        "linear.weight": "float64",
        "linear.bias": "float64",
        "phase": "complex128",
        "mean": "float64",
        "count": "int64",
        "table": "int64",
    }
    assert model.linear.weight.grad.dtype == np.float64
    np.testing.assert_array_equal(old, model.linear.weight.data)
    assert old.dtype == np.float32
    with pytest.raises(TypeError, match="not with int64"):
        model.to(int)


def test_a_converted_model_comes_back_from_disk_as_it_was(tmp_path: Any) -> None:
    model = nn.Linear(2, 1, rng=0).to(np.float64)
    model.weight.data = model.weight.data + 1e-12
    tg.io.save(model, tmp_path / "m")
    np.testing.assert_array_equal(tg.io.load(tmp_path / "m").weight.data, model.weight.data)  # type: ignore[attr-defined]


# Tied weights, and states that fit in part.


class Tied(nn.Module):
    def __init__(self) -> None:
        self.encoder, self.decoder = nn.Linear(2, 2, rng=0), nn.Linear(2, 2, rng=1)
        self.decoder.weight = self.encoder.weight


def test_tied_weights_are_saved_once_and_stay_tied(tmp_path: Any) -> None:
    model = Tied()
    assert list(model.state_dict()) == ["encoder.weight", "encoder.bias", "decoder.bias"]
    tg.io.save(model, tmp_path / "m")
    again: Any = tg.io.load(tmp_path / "m", [Tied])
    assert again.encoder.weight is again.decoder.weight
    grads = tg.grad(lambda m: np.sum(m.decoder(m.encoder(np.ones(2)))))(model)
    assert grads.encoder.weight is grads.decoder.weight


def test_a_state_may_name_a_tied_weight_and_a_shared_module_twice_as_pytorchs_do() -> None:
    model, shared = Tied(), nn.Linear(1, 1, rng=0)
    state = model.state_dict()
    assert model.load_state_dict(state | {"decoder.weight": state["encoder.weight"]}) == ([], [])
    twice = nn.Sequential(shared, shared)
    state = twice.state_dict()
    twice.load_state_dict(state | {"layers.1.bias": state["layers.0.bias"]})
    with pytest.raises(ValueError, match=r"unexpected 'layers\.2\.bias'"):
        twice.load_state_dict(state | {"layers.2.bias": state["layers.0.bias"]})


def test_a_state_that_fits_in_part_loads_in_part_if_that_is_meant() -> None:
    model = nn.Linear(2, 1, rng=0)
    bias = model.bias.data  # type: ignore[union-attr]
    keys = model.load_state_dict({"weight": np.ones((1, 2)), "scale": 1.0}, strict=False)
    assert keys.missing_keys == ["bias"]
    assert keys.unexpected_keys == ["scale"]
    np.testing.assert_array_equal(model.weight.data, [[1, 1]])
    np.testing.assert_array_equal(model.bias.data, bias)  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="'weight' has shape"):
        model.load_state_dict({"weight": np.ones(2)}, strict=False)


def test_complex_numbers_do_not_load_into_real_ones() -> None:
    model = nn.Linear(1, 1, rng=0)
    with pytest.raises(ValueError, match="'weight' is complex, expected float32"):
        model.load_state_dict({"weight": np.array([[1 + 2j]]), "bias": np.zeros(1)})


def test_a_loaded_array_is_c_ordered() -> None:
    model = nn.Linear(3, 2)
    model.load_state_dict({"weight": np.asfortranarray(np.ones((2, 3))), "bias": np.zeros(2)})
    assert model.weight.data.flags.c_contiguous


# The same Module around other numbers.


def test_a_functional_call_uses_other_numbers_and_changes_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 1, rng=0), nn.Tanh())
    before = model.state_dict()
    w = Value(np.array([[1.0, 10.0]]))
    out = nn.functional_call(model, {"layers.0.weight": w}, (np.array([2.0, 3.0]),))
    np.testing.assert_allclose(out.data, np.tanh(32 + before["layers.0.bias"]))
    out.sum().backward()
    assert w.grad is not None
    assert model[0].weight.grad is None
    assert model[0].bias.grad is not None
    for name, x in model.state_dict().items():
        np.testing.assert_array_equal(x, before[name])
    with pytest.raises(ValueError, match=r"Sequential has no 'layers\.0\.wight'"):
        nn.functional_call(model, {"layers.0.wight": w}, np.ones(2))


class Thrice(nn.Module):
    """One parameter of three names."""

    def __init__(self) -> None:
        self.encode = nn.Linear(2, 2, bias=False, rng=0)
        self.decode = [nn.Linear(2, 2, bias=False, rng=1)]
        self.decode[0].weight = self.weight = self.encode.weight

    def forward(self, x: Any) -> Any:
        return self.decode[0](self.encode(x)) + self.weight[0]


def test_a_functional_call_takes_a_shared_parameter_by_any_of_its_names() -> None:
    model, x, w = Thrice(), np.ones(2), np.array([[1.0, 2.0], [3.0, 4.0]])
    expected = w @ w @ x + w[0]
    names = ["encode.weight", "decode.0.weight", "weight"]
    for state in ({name: w} for name in names):
        np.testing.assert_allclose(nn.functional_call(model, state, x).data, expected)
    np.testing.assert_allclose(nn.functional_call(model, dict.fromkeys(names, w), x).data, expected)
    with pytest.raises(ValueError, match="is shared and got two values"):
        nn.functional_call(model, {names[0]: w, names[1]: 2 * w}, x)
    with pytest.raises(ValueError, match=r"Thrice has no 'decode\.0', 'decode\.1"):
        nn.functional_call(model, {"decode.0": w, "decode.1.weight": w}, x)


def test_a_model_that_keeps_an_activation_is_copied_with_it() -> None:
    class Keeping(nn.Module):
        def __init__(self) -> None:
            self.w = Value([2.0, 3.0])

        def forward(self, x: Any) -> Any:
            self._last = self.w * x
            self._seen = [self._last, {"again": self._last}]
            return self._last * 2

    model = Keeping()
    model(np.ones(2))
    twin = copy.deepcopy(model)
    np.testing.assert_array_equal(twin._last.data, [2, 3])
    assert twin._seen[0] is twin._seen[1]["again"] is twin._last  # type: ignore[index]
    twin._last.sum().backward()  # of the call that made it
    np.testing.assert_array_equal(model.w.grad, [1, 1])
    np.sum(twin(np.ones(2))).backward()
    np.testing.assert_array_equal(twin.w.grad, [2, 2])
    np.testing.assert_array_equal(model.w.grad, [1, 1])


def test_a_copy_around_other_parameters_shares_the_rest() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            self.w, self.rng = Value(1.0), np.random.default_rng(0)
            self._again = self.w

    model = Noisy()
    copy = model.with_parameters([Value(2.0)])
    assert copy.rng is model.rng  # a transform must not draw the same numbers each time
    assert copy._again is copy.w
    assert (model.w.data, copy.w.data) == (1, 2)
    with pytest.raises(ValueError, match="argument"):
        model.with_parameters([])


# Hooks.


def test_forward_hooks_see_and_may_replace_what_goes_in_and_comes_out() -> None:
    model, seen = nn.Linear(1, 1, bias=False, dtype=float, rng=0), []
    model.weight.data = [[3.0]]
    first = model.register_forward_pre_hook(lambda m, args: args[0] * 10)
    second = model.register_forward_hook(lambda m, args, out: seen.append((m, args[0].item())))
    third = model.register_forward_hook(lambda m, args, out: out + 1)
    x = np.array([2.0])
    assert model(x).item() == 61
    with no_grad():
        assert model(x).item() == 61
    assert seen == [(model, 20.0)] * 2
    for handle in (first, second, third, third):
        handle.remove()
    assert model(x).item() == 6


def test_backward_hooks_see_the_gradients_by_output_and_input_and_may_replace_the_latter() -> None:
    model, seen = nn.Sequential(nn.Tanh(), nn.Tanh()), []
    x = Value(np.array([0.5, -1.0]))
    model(x).sum().backward()
    y = np.tanh(x.data)
    outer = 1 - np.tanh(y) ** 2
    np.testing.assert_allclose(x.grad, outer * (1 - y**2))
    handle = model[0].register_full_backward_hook(lambda m, gi, go: seen.append((m, gi, go)))
    model[1].register_full_backward_hook(lambda m, gi, go: (10 * gi[0],))
    x.grad = None
    model(x).sum().backward()
    ((module, (by_input,), (by_output,)),) = seen
    assert module is model[0]
    np.testing.assert_allclose(by_output, 10 * outer)
    np.testing.assert_allclose(by_input, 10 * outer * (1 - y**2))
    np.testing.assert_allclose(x.grad, by_input)
    handle.remove()
    model(x).sum().backward()
    assert len(seen) == 1


def test_a_backward_hook_of_a_first_layer_sees_no_gradient_by_its_data() -> None:
    layer, seen = nn.Linear(2, 1, rng=0), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi, go[0].tolist())))
    layer(np.ones((1, 2), np.float32)).sum().backward()
    assert seen == [((None,), [[1.0]])]
    assert layer.weight.grad is not None


def test_backward_hooks_see_arrays_also_where_a_sweep_is_made_with_care() -> None:
    layer, seen = nn.Linear(1, 1, bias=False, rng=0), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.extend((gi[0], go[0])))
    np.sum(np.sqrt(layer(Value(np.zeros((1, 1)))))).backward()
    assert {type(g) for g in seen} == {np.ndarray}
    assert np.isinf(seen[-1])


def test_backward_hooks_see_arrays_and_an_infinity_once() -> None:
    model, seen = nn.Sequential(nn.Tanh()), []
    model[0].register_full_backward_hook(lambda m, gi, go: seen.append((gi[0], go[0])))
    with np.errstate(divide="ignore"):
        np.sum(np.sqrt(model(Value([0.0, 1.0])))).backward()
    assert [type(g) for pair in seen for g in pair] == [np.ndarray] * 2
    assert np.isinf(seen[0][0]).tolist() == [True, False]


def test_a_hook_may_remove_itself() -> None:
    model, seen = nn.ReLU(), []
    once = model.register_forward_hook(lambda *_: once.remove())
    model.register_forward_hook(lambda *_: seen.append("after"))
    before = model.register_forward_pre_hook(lambda *_: before.remove())
    model.register_forward_pre_hook(lambda *_: seen.append("before"))
    model(np.ones(1))
    assert seen == ["before", "after"]


class Keeping(nn.Module):
    """The square of its input, and the activation it came by."""

    def forward(self, x: Any) -> Any:
        self._h = 2 * x
        return self._h**2 / 4


def test_a_backward_hook_sees_no_gradient_of_a_sweep_before() -> None:
    model, seen, x = Keeping(), [], Value(3.0)
    model.register_full_backward_hook(lambda m, gi, go: seen.append((gi[0], go)))
    y = model(x)
    model._h.backward()  # past the inputs alone
    y.backward(5.0)
    model._h.backward()
    assert seen == [(2, (None,)), (30, (5,)), (2, (None,))]


def test_a_module_with_a_backward_hook_and_a_kept_activation_is_freed_without_gc() -> None:
    model = Keeping()
    model.register_full_backward_hook(lambda m, gi, go: None)
    model(Value(3.0)).backward()
    gone = weakref.ref(model)
    gc.disable()
    try:
        del model
        assert gone() is None
    finally:
        gc.enable()


def test_a_backward_hook_is_given_the_module_also_by_a_transform_and_none_once_it_is_gone() -> None:
    model, seen = nn.Linear(1, 1, rng=0), []
    model.register_full_backward_hook(lambda m, gi, go: seen.append(type(m)))
    x = np.ones((1, 1))
    tg.grad(lambda m: np.sum(m(x)))(model)
    tg.vjp(lambda m: np.sum(m(x)), model)[1](1.0)
    y = nn.functional_call(model, {"bias": Value(np.ones(1))}, x)
    y.sum().backward()
    assert seen == [nn.Linear, nn.Linear, type(None)]


def test_backward_hooks_act_under_grad_and_in_higher_orders() -> None:
    model = nn.Sequential(nn.Tanh())
    model[0].register_full_backward_hook(lambda m, gi, go: (2 * gi[0],))
    f = lambda x: model(x)
    assert tg.grad(f)(0.5) == pytest.approx(2 * (1 - np.tanh(0.5) ** 2))
    second = -2 * np.tanh(0.5) * (1 - np.tanh(0.5) ** 2)
    assert tg.grad(tg.grad(f))(0.5) == pytest.approx(2 * 2 * second)


# A function, as a Module.


def test_a_module_of_a_function_takes_its_settings_and_documentation() -> None:
    def stretched(x: Any, by: float = 2.0, *, shift: float = 0.0) -> Any:
        """by x + shift."""
        return by * x + shift

    kind = module_of("Stretched", stretched, 1)
    assert (kind.__doc__, kind.__name__, kind.__module__) == (
        "by x + shift.",
        "Stretched",
        __name__,
    )
    assert kind(3.0, shift=1.0)(2.0) == 7
    assert repr(kind(3.0, shift=1.0)) == "Stretched(3.0, shift=1.0)"
    assert kind().by == 2
    with pytest.raises(TypeError, match="'to'"):
        kind(to=3)


def test_every_activation_and_loss_has_a_function_a_module_and_a_documentation() -> None:
    F = nn.functional
    for kind, function in [
        *((nn.ReLU, F.relu), (nn.Softplus, F.softplus), (nn.Sigmoid, F.sigmoid)),
        *((nn.Tanh, F.tanh), (nn.Softmax, F.softmax), (nn.LogSoftmax, F.log_softmax)),
        *((nn.MSELoss, F.mse_loss), (nn.QuadraticLoss, F.quadratic), (nn.NLLLoss, F.nll_loss)),
    ]:
        assert kind.function is inspect.unwrap(function)  # type: ignore[attr-defined]
        assert kind.__doc__ == function.__doc__
    assert "np" not in dir(nn)
    assert "Softmax" not in dir(F)
    with pytest.warns(FutureWarning, match="use nn.Linear"):
        from tensorgrad.nn.layers import Linear
    assert Linear is nn.Linear


def test_a_frozen_module_does_not_learn() -> None:
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 1, rng=0))
    model[0].requires_grad_(False)
    before = model.state_dict()
    optimizer = optim.Adam(model.parameters(), lr=0.1, weight_decay=0.1)
    np.sum(model(np.ones((1, 2)))).backward()
    optimizer.step()
    changed = [name for name, x in model.state_dict().items() if np.any(x != before[name])]
    assert changed == ["layers.1.weight", "layers.1.bias"]


def test_two_parts_of_one_name_are_refused_by_whoever_goes_by_names() -> None:
    class Keyed(nn.Module):
        def __init__(self, parts: dict[Any, Any]) -> None:
            self.parts = parts

    one: dict[Any, Any] = {1: Value(1.0), "1": Value(2.0)}
    for parts in (one, {"a.b": Value(1.0), "a": {"b": Value(2.0)}}):
        model = Keyed(parts)
        for call in (
            model.state_dict,
            lambda model=model: model.load_state_dict({}),
            lambda model=model: nn.functional_call(model, {}, 1.0),
        ):
            with pytest.raises(ValueError, match=r"two parts of the name 'parts\.(1|a\.b)'.*keys"):
                call()


def test_a_class_with_a_call_of_its_own_has_scopes_and_hooks() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            self.w = Value(2.0)

        def __call__(self, x: Any) -> Any:
            return self.w * x

    class Shifted(Twice):
        def __call__(self, x: Any) -> Any:
            return super().__call__(x) + 1.0

    class Forward(Twice):
        def forward(self, x: Any) -> Any:
            return self(x) - 1.0

    for model, expected in ((Twice(), 6.0), (Shifted(), 7.0)):
        seen: list[Any] = []
        model.register_forward_hook(lambda module, args, out, seen=seen: seen.append(args))
        out = model(3.0)
        assert out.item() == expected
        assert seen == [(3.0,)]
        assert out.node.scope.module is model
    assert Forward()(3.0).item() == 6.0
    assert Forward().forward(3.0).item() == 5.0
