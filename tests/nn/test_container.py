"""Modules made of Modules, and what a Module says of its parts."""

from __future__ import annotations

import copy
import pickle
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, io, nn
from tests.numerical import assert_gradient

rng = np.random.default_rng(0)
X = rng.normal(size=(4, 3))


def linear(n: int, m: int, seed: int = 0) -> nn.Linear:
    return nn.Linear(n, m, rng=seed)


def test_a_sequential_is_changed_as_a_list_is_and_saved_as_it_is_then(tmp_path: Any) -> None:
    a, b, c, d = (linear(3, 3, i) for i in range(4))
    model = nn.Sequential(a)
    assert model.append(c).insert(1, b).extend([nn.Tanh(), d]) is model
    model[0] = d
    del model[-1]
    assert list(model)[:3] == [d, b, c]
    assert repr(model) == "Sequential(Linear(3, 3), Linear(3, 3), Linear(3, 3), Tanh())"
    wanted = np.tanh(c(b(d(X))).data)
    np.testing.assert_allclose(model(X).data, wanted)
    io.save(model, tmp_path / "model.safetensors")
    np.testing.assert_allclose(io.load(tmp_path / "model.safetensors")(X).data, wanted)
    assert list(nn.Sequential(a, b, c)[1:]) == [b, c]


def test_a_dict_names_the_layers_of_a_sequential(tmp_path: Any) -> None:
    first, last = linear(3, 2), linear(2, 1)
    model = nn.Sequential(OrderedDict(first=first, act=nn.Tanh(), last=last))
    assert model.last is model[2] is last
    assert next(n for n, _ in model.named_parameters()) == "layers.first.weight"
    np.testing.assert_allclose(model(X).data, last(np.tanh(first(X))).data)
    model.append(linear(1, 1))
    assert list(model.layers) == ["first", "act", "last", "3"]
    io.save(model, tmp_path / "model.safetensors")
    loaded = io.load(tmp_path / "model.safetensors")
    assert list(loaded.layers) == list(model.layers)
    np.testing.assert_allclose(loaded(X).data, model(X).data)
    with pytest.raises(AttributeError, match="'Sequential' object has no attribute 'other'"):
        _ = model.other


class Net(nn.Module):
    def __init__(self) -> None:
        self.blocks = nn.ModuleList(linear(3, 3, i) for i in range(2))
        self.heads = nn.ModuleDict({"a": linear(3, 1), "b": linear(3, 2)})
        self.shifts = nn.ParameterList([np.ones(3)])
        self.scales = nn.ParameterDict({"s": nn.Parameter(np.full(3, 2.0))})

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = np.tanh(block(x)) * self.scales["s"] + self.shifts[0]
        return np.concatenate([head(x) for head in self.heads.values()], axis=-1)


def test_lists_and_dicts_of_modules_and_parameters_learn_and_are_copied() -> None:
    net = Net()
    names = [name for name, _ in net.named_parameters()]
    assert "blocks.layers.1.weight" in names
    assert "heads.layers.b.bias" in names
    assert names[-2:] == ["shifts.layers.0", "scales.layers.s"]
    loss = lambda model: np.sum(model(X) ** 2)
    loss(net).backward()
    for p, g in zip(net.parameters(), tg.grad(loss)(net).parameters()):
        np.testing.assert_allclose(p.grad, g.data, rtol=1e-5)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        np.testing.assert_array_equal(twin(X).data, net(X).data)
    other = Net()
    other.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(other(X).data, net(X).data)


def test_a_module_dict_is_changed_as_a_dict_is() -> None:
    heads = nn.ModuleDict({"a": nn.Tanh()})
    heads["b"] = nn.ReLU()
    heads.update([("c", nn.Identity())])
    assert repr(heads.pop("a")) == "Tanh()"
    assert list(heads) == list(heads.keys()) == ["b", "c"]
    assert "b" in heads
    assert "a" not in heads
    assert len(heads) == len(heads.items()) == 2
    del heads["b"]
    assert repr(heads) == "ModuleDict({'c': Identity()})"
    assert len(nn.ModuleList()) == len(nn.ModuleDict()) == 0


def test_a_residual_adds_what_goes_in() -> None:
    inner = linear(3, 3)
    np.testing.assert_allclose(nn.Residual(inner, np.tanh)(X).data, X + np.tanh(inner(X).data))
    with pytest.raises(ValueError, match=r"make \(4, 2\) of \(4, 3\), which cannot be added"):
        nn.Residual(linear(3, 2))(X)
    np.testing.assert_array_equal(nn.Lambda(np.flip)(X), np.flip(X))


@pytest.mark.parametrize("lead", [(), (4,), (2, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_bilinear_layer_is_a_sum_over_pairs(lead: Any, bias: bool) -> None:
    layer = nn.Bilinear(3, 2, 4, bias=bias, dtype=np.float64, rng=0)
    x, y = rng.normal(size=(*lead, 3)), rng.normal(size=(*lead, 2))
    wanted = np.zeros((*lead, 4))
    for o in range(4):
        for i in range(3):
            for j in range(2):
                wanted[..., o] += layer.weight.data[o, i, j] * x[..., i] * y[..., j]
        wanted[..., o] += layer.bias.data[o] if bias else 0
    np.testing.assert_allclose(layer(x, y).data, wanted, rtol=1e-12)
    f = lambda x, y, w: nn.functional.bilinear(x, y, w)
    assert_gradient(f, x, y, layer.weight.data, order=2)
    assert np.abs(layer.weight.data).max() < 3**-0.5
    with pytest.raises(ValueError, match=r"for a weight \(out, 3, 2\)"):
        layer(x, x)


# What a Module says of its parts.


def test_parts_are_found_by_their_paths() -> None:
    net = Net()
    assert [name for name, _ in net.named_children()] == ["blocks", "heads", "shifts", "scales"]
    assert net.children()[0] is net.blocks
    assert net.get_submodule("heads.layers.b") is net.heads["b"]
    assert net.get_submodule("") is net
    assert net.get_parameter("heads.layers.b.bias") is net.heads["b"].bias
    assert nn.BatchNorm1d(2).get_buffer("running_mean").shape == (2,)
    assert len(net.modules()) == 9
    for get in (net.get_submodule, net.get_parameter, net.get_buffer):
        with pytest.raises(AttributeError, match=r"Net has no .* 'heads.layers.z'"):
            get("heads.layers.z")


def test_apply_reaches_every_module_inner_ones_first() -> None:
    seen: list[Any] = []
    net = nn.Sequential(nn.Sequential(nn.Tanh(), nn.ReLU()), nn.Identity())
    assert net.apply(seen.append) is net
    assert list(map(repr, seen[:2])) == ["Tanh()", "ReLU()"]
    assert seen[2:] == [net[0], net[1], net]


class Masked(nn.Module):
    def __init__(self) -> None:
        self.register_buffer("mask", np.tri(3), persistent=False)
        self.register_buffer("seen", np.zeros(3, np.float32))
        self.register_buffer("later", None)
        self.register_parameter("weight", Value(np.ones(3)))

    def forward(self, x: Any) -> Any:
        self.remember(seen=self.seen + 1)
        return x @ self.mask * self.weight


def test_a_buffer_that_is_not_persistent_is_copied_and_converted_and_not_saved() -> None:
    model = Masked()
    assert list(model.state_dict()) == ["seen", "weight"]
    assert [name for name, _ in model.named_buffers()] == ["mask", "seen"]
    assert model.load_state_dict(model.state_dict()) == ([], [])
    with pytest.raises(ValueError, match="unexpected 'mask'"):
        model.load_state_dict({**model.state_dict(), "mask": np.eye(3)})
    twin = pickle.loads(pickle.dumps(copy.deepcopy(model))).float()
    assert twin.mask.dtype == np.float32
    assert list(twin.state_dict()) == ["seen", "weight"]
    out = nn.functional_call(model, {"mask": np.zeros((3, 3))}, X)
    assert not out.data.any()
    assert (model.double().weight.dtype, model.half().weight.dtype) == (np.float64, np.float16)


def test_activations_are_what_each_layer_answers_and_nothing_is_remembered() -> None:
    model = nn.Sequential(linear(3, 2), nn.Sequential(nn.Tanh(), nn.BatchNorm1d(2)))
    found = model.activations(X)
    assert list(found) == ["layers.0", "layers.1.layers.0", "layers.1.layers.1", "layers.1"]
    np.testing.assert_allclose(found["layers.1.layers.0"], np.tanh(found["layers.0"]))
    assert all(type(x) is np.ndarray for x in found.values())
    assert model[1][1].num_batches_tracked == 0
    assert model[0]._hooks.after == []


def test_a_sequential_refuses_what_is_no_layer() -> None:
    with pytest.raises(TypeError, match=r"ReLU is a class: write ReLU\(\)"):
        nn.Sequential(nn.Tanh(), nn.ReLU)
    with pytest.raises(TypeError, match=r"\[Tanh\(\)\] is no Module: .* Sequential\(\*layers\)"):
        nn.Sequential([nn.Tanh()])
