"""PyTorch and JAX at the border: against their own functions, their own gradient checks, and by the
addresses of the memory that both sides see.

Without the libraries these tests are skipped, but they fail where CI is set.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.testing import check_grads

if find_spec("torch") is None or find_spec("jax") is None:
    if os.environ.get("CI"):
        pytest.fail("the tests of the border need torch and jax")
    pytest.skip("no tests of the border without torch and jax", allow_module_level=True)

import jax
import jax.numpy as jnp
import torch
from torch.autograd import gradcheck, gradgradcheck

from tensorgrad.interop import from_jax, from_torch, jax_function, torch_function

jax.config.update("jax_disable_most_optimizations", True)  # compiling is half of the time

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(3, 4)), rng.normal(size=(4, 2))
F = np.float32


def tensor(x: Any, grad: bool = True) -> Any:
    return torch.tensor(x, requires_grad=grad)


def address(x: Any) -> int:
    return int(np.asarray(x).__array_interface__["data"][0])


def close(a: Any, b: Any, tol: float = 1e-12) -> bool:
    return np.shape(a) == np.shape(b) and np.allclose(a, b, tol, tol)


@pytest.fixture
def x64() -> Any:
    """JAX with 64 bits."""
    with jax.enable_x64(True):
        yield


PRIMITIVES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "tanh": (np.tanh, torch.tanh, jnp.tanh),
    "exp": (np.exp, torch.exp, jnp.exp),
    "square": (np.square, torch.square, jnp.square),
    "sin": (np.sin, torch.sin, jnp.sin),
    "cumsum": (
        lambda x: np.cumsum(x, -1),
        lambda x: torch.cumsum(x, -1),
        lambda x: jnp.cumsum(x, -1),
    ),
    "softmax": (nn.functional.softmax, lambda x: torch.softmax(x, -1), jax.nn.softmax),
    "product": (lambda x: x @ x.T, lambda x: x @ x.T, lambda x: x @ x.T),
    "transposed": (lambda x: x.T, lambda x: x.T, lambda x: x.T),
}


# Ours in PyTorch.


@pytest.mark.parametrize(
    "f",
    [
        lambda x, y: np.sin(x) @ y,
        lambda x, y: (np.sum(x), {"a": y * y, "b": [x[0] * y[:, 0]]}),
        lambda x, y: x * 3,
        lambda x, y: np.linalg.svd(x @ y)[1],
    ],
)
def test_pytorch_checks_our_gradients_of_two_orders(f: Any) -> None:
    def flat(x: Any, y: Any) -> Any:
        return tuple(torch.utils._pytree.tree_leaves(torch_function(f)(x, y)))

    assert gradcheck(flat, (tensor(X), tensor(Y)))
    assert gradgradcheck(flat, (tensor(X), tensor(Y)))


def test_pytorch_checks_complex_gradients() -> None:
    """Ours are ∂/∂x - i ∂/∂y, PyTorch's the conjugate."""
    z = tensor(X[0] + 1j * X[1])
    for f in (lambda z: np.exp(z) * z, lambda z: np.abs(z) ** 2, lambda z: np.real(z * z)):
        assert gradcheck(torch_function(f), (z,))
        assert gradgradcheck(torch_function(f), (z,))
    ours, native = from_torch(lambda z: (z.conj() * z * z).abs()), lambda z: np.abs(z) ** 3
    assert close(
        tg.grad(lambda z: ours(z).sum())(z.detach().numpy()),
        tg.grad(lambda z: native(z).sum())(z.detach().numpy()),
    )
    check_grads(from_torch(lambda z: z.conj() * torch.exp(z)), z.detach().numpy())


def test_some_of_the_tensors_require_grad_and_some_results_depend_on_none() -> None:
    x, y, n = tensor(X), tensor(Y, grad=False), torch.tensor([2, 0])
    f = torch_function(lambda x, y, n, *, scale: (scale * x[n] @ y, np.argmax(x), None, "s", 1.5))
    out, i, *rest = f(x, y, n, scale=2.0)
    assert rest == [None, "s", 1.5]
    assert i.dtype == torch.int64
    assert not i.requires_grad
    out.sum().backward()
    native = tensor(X)
    (2.0 * native[n] @ y).sum().backward()
    assert close(x.grad, native.grad)
    assert y.grad is None
    _, b = torch_function(lambda x: (x * 2, x * 3))(x)
    (g,) = torch.autograd.grad(b.sum(), [x])  # no gradient comes by a
    assert close(g, np.full_like(X, 3))


def test_without_a_gradient_nothing_is_recorded() -> None:
    x = tensor(X)
    seen: list[Any] = []
    f = torch_function(lambda x: seen.append(x.requires_grad) or x.tanh())  # a Value's method
    with torch.no_grad():
        assert not f(x).requires_grad
    assert not f(x.detach()).requires_grad
    assert f(x).requires_grad
    assert seen == [False, False, True]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64, torch.complex64])
def test_dtypes_are_kept(dtype: Any) -> None:
    x = torch.ones(3, dtype=dtype, requires_grad=True)
    y = torch_function(lambda x: x * x)(x)
    y.backward(torch.ones(3, dtype=dtype))
    assert y.dtype == x.grad.dtype == dtype
    v = Value(x.detach().numpy())
    w = from_torch(lambda x: x * x)(v)
    w.backward(np.ones(3))
    assert v.dtype == w.dtype == v.grad.dtype


def test_16_bits_are_computed_with_in_32() -> None:
    v, seen = Value(np.full(3, 2, np.float16)), []
    y, i = from_torch(lambda x: seen.append(x.dtype) or (x * x, x.argmax() + 5000))(v)
    y.sum().backward()
    assert (y.dtype, v.grad.dtype, seen, int(i)) == (np.float16, np.float16, [torch.float32], 5000)


def test_tensors_that_do_not_lie_in_a_row() -> None:
    base = tensor(rng.normal(size=(6, 8)))
    f, native = (
        torch_function(lambda x: np.cumsum(np.tanh(x), 1)),
        lambda x: torch.tanh(x).cumsum(1),
    )
    for view in (
        lambda b: b.T,
        lambda b: b[::2, 1::3],
        lambda b: b[0].expand(4, 8),
        lambda b: b.conj(),
    ):
        ours, theirs = (torch.autograd.grad(g(view(base)).sum(), base)[0] for g in (f, native))
        assert close(ours, theirs)
    z = tensor(X[0] + 1j * X[1])
    assert close(torch_function(lambda z: 2 * z)(z.conj()).detach(), 2 * z.detach().numpy().conj())
    assert close(from_torch(lambda x: x * 2)(X[::-1, ::-1]), 2 * X[::-1, ::-1])
    assert close(from_torch(lambda x: x * 2)(X.astype(">f8")), 2 * X)


def test_memory_is_shared_with_pytorch_both_ways() -> None:
    places: dict[str, int] = {}

    def f(x: Any) -> Any:
        places["in"] = address(x.data)
        assert not x.data.flags.writeable
        y = np.exp(x)
        places["out"] = address(y.data)
        return y

    x = tensor(X)
    y = torch_function(f)(x)
    assert (places["in"], places["out"]) == (x.data_ptr(), y.data_ptr())

    def slope(g: Any, out: Any, x: Any) -> Any:
        places["g"], result = address(g), g * 2
        places["c"] = address(result)
        return result

    given = torch.ones(3, 4, dtype=torch.float64)
    double = tg.engine.primitive.Primitive(lambda x: x * 2, (slope,), "double")
    (g,) = torch.autograd.grad(torch_function(double)(x), x, given)
    assert (places["g"], places["c"]) == (given.data_ptr(), g.data_ptr())

    def back(x: Any) -> Any:
        places["x"] = x.data_ptr()
        y = x.exp()
        places["y"] = y.data_ptr()
        return y

    v = Value(X)
    w = from_torch(back)(v)
    assert (places["x"], places["y"]) == (address(v.data), address(w.data))


def test_what_may_not_be_written_into_is_not_and_nobody_warns() -> None:
    locked = X.copy()
    locked.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert close(from_torch(lambda x: x.add_(1))(locked), X + 1)  # of a copy
        v = Value(X)
        v.node.data = locked
        with pytest.raises(RuntimeError, match="in-place"):
            from_torch(lambda x: x.add_(1))(v)
        shared = from_torch(lambda x: x.data_ptr() == address(locked))
        assert shared(v)
        x = tensor(X, grad=False)
        with pytest.raises(ValueError, match="read-only"):
            torch_function(lambda x: np.add(x.data, 1, out=x.data))(x)
        y = torch_function(lambda x: x)(x)  # a copy: PyTorch would not know of a view
        y += 1
        z = torch_function(lambda x: np.broadcast_to(x, (2, 3, 4)))(x)
        z += 1
        a, b = torch_function(lambda x: (lambda y: (y, y.T))(x * 1))(x)
        a += 1
        assert close(b, X.T)
    assert close(locked, X)
    assert close(x, X)


def test_what_was_written_into_since_is_an_error_of_pytorchs() -> None:
    for i in range(2):
        x = tensor(X) * 1
        y = torch_function(np.exp)(x)
        (x, y)[i].add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_the_graph_is_let_go_by_a_backward() -> None:
    x = tensor(X)
    held: list[Any] = []

    def f(x: Any) -> Any:
        y = np.exp(x)
        held.append(weakref.ref(y.node))
        return np.sum(y)

    loss = torch_function(f)(x)
    loss.backward(retain_graph=True)
    loss.backward()
    assert close(x.grad, 2 * np.exp(X))
    assert held[0]() is None
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
    loss = torch_function(f)(x)
    del loss
    assert held[1]() is None


def test_nothing_goes_in_circles() -> None:
    gc.collect()
    gc.disable()
    try:
        v = Value(X)
        y = np.sum(from_torch(torch.sin)(v))
        y.backward()
        node = weakref.ref(y.node)
        tensors = [torch_function(np.sin)(tensor(X)), tensor(X)]
        net = weakref.ref(tensors[0].grad_fn)
        del y, tensors
        assert node() is None
        assert net() is None
    finally:
        gc.enable()


def test_gradients_of_gradients_draw_the_same_numbers() -> None:
    layers = nn.Linear(4, 50, bias=False, rng=0), nn.Dropout(0.5, rng=1), nn.Linear(50, 1, False)
    net, x = torch_function(nn.Sequential(*layers).double()), tensor(X)
    y = net(x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    assert close((g * x).sum(1, keepdim=True).detach(), y.detach())  # linear, but for the mask
    last = net.layers.get_submodule("2").weight
    (h,) = torch.autograd.grad((g * x).sum(), last)
    assert close((h * last).sum().detach(), y.sum().detach())
    assert not close(net(x).detach(), y.detach())


def test_checkpointed_by_pytorch() -> None:
    from torch.utils.checkpoint import checkpoint

    x = tensor(X)
    f = torch_function(lambda x: np.sum(np.tanh(x) ** 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoint(f, x, use_reentrant=False).backward()
    assert close(x.grad, tg.grad(lambda x: np.sum(np.tanh(x) ** 2))(X))


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # PyTorch's own use of it
def test_under_torch_func() -> None:
    f, native = (lambda m: lambda x: (x**3 * m.sin(x)).sum() for _ in range(2))
    ours, theirs, x = torch_function(f(np)), native(torch), torch.tensor(X)
    func = torch.func
    row = x[0]
    assert close(func.grad(ours)(row), func.grad(theirs)(row))
    assert close(func.jacrev(func.grad(ours))(row), func.hessian(theirs)(row))
    assert close(func.vmap(ours)(x), func.vmap(theirs)(x))
    assert close(func.vmap(func.grad(ours))(x), func.vmap(func.grad(theirs))(x))
    assert close(func.grad(lambda x: func.vmap(ours)(x).sum())(x), func.grad(theirs)(x))


def test_what_numpy_has_not_is_refused_with_what_to_do() -> None:
    def double(x: Any) -> Any:
        return x * 2

    f = torch_function(double)
    with pytest.raises(TypeError, match=r"double: NumPy has no torch.bfloat16: pass x.float\(\)"):
        f(torch.ones(2, dtype=torch.bfloat16))
    with pytest.raises(TypeError, match=r"double: a tensor on meta.*pass x.cpu\(\)"):
        f(torch.ones(2, device="meta"))
    with pytest.raises(TypeError, match=r"double: .*to_dense"):
        f(torch.eye(2).to_sparse())
    with pytest.raises(TypeError, match=r"<lambda>.*NumPy has no torch.bfloat16"):
        from_torch(lambda x: x.bfloat16())(X)
    with pytest.raises(TypeError, match="PyTorch has no"):
        from_torch(double)(X.astype(np.longdouble))
    for make, its in ((torch_function, torch.nn.Tanh()), (from_torch, nn.Tanh())):
        for x in (3, its):
            with pytest.raises(TypeError, match=f"function or a Module.*{type(x).__name__}"):
                make(x)
    with pytest.raises(TypeError, match=r"a tensor of PyTorch's: tg\.interop\.from_torch"):
        tg.optim.SGD(torch.nn.Linear(1, 1).parameters(), lr=0.1)
    with pytest.raises(TypeError, match=r"x\.numpy\(\)"):
        Value(X) + tensor(X, grad=False)
    with pytest.raises(RuntimeError) as caught:
        np.tanh(nn.Linear(3, 1)(tensor(np.ones((2, 3), F))))
    assert "linear was given torch.Tensor: tg.interop.torch_function" in caught.value.__notes__[0]


def test_a_loader_of_pytorchs_feeds_our_fit() -> None:
    x, y = torch.from_numpy(X.astype(F)), torch.arange(len(X))
    model = nn.Linear(X.shape[1], len(X), rng=0)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=2)
    sgd = tg.optim.SGD(model.parameters(), lr=0.1)
    assert tg.fit(model, loader, nn.functional.cross_entropy, sgd, epochs=1)[0].loss > 0
    z = X[:, :3].astype(F)
    mse = nn.functional.mse_loss
    assert mse(model(x), torch.from_numpy(z)).data == mse(model(x), z).data


def test_a_gradient_that_would_be_lost_is_an_error() -> None:
    w = Value(Y)
    for make, x in ((torch_function, tensor(X)), (jax_function, jnp.array(X.astype(F)))):
        with pytest.raises(ValueError, match=r"reads a Value of shape \(4, 2\)"):
            make(lambda x: x @ w)(x)
        with pytest.raises(TypeError, match="would not hear of its gradient"):
            make(lambda x, w: x @ w)(x, w)


def test_errors_inside_name_the_function() -> None:
    def wrong(x: Any) -> Any:
        raise KeyError("inside")

    with pytest.raises(KeyError) as error:
        torch_function(wrong)(tensor(X))
    assert error.value.__notes__ == ["in wrong, at the border to PyTorch"]
    with pytest.raises(KeyError) as error:
        from_torch(wrong)(X)
    assert error.value.__notes__ == ["in wrong, at the border to PyTorch"]
    with pytest.raises(KeyError) as error:
        jax_function(wrong)(X.astype(F))
    assert "in wrong" in error.value.__notes__[0]


# Models.


def mlp(**how: Any) -> Any:
    return nn.Sequential(nn.Linear(4, 8, rng=0), nn.Tanh(), nn.Linear(8, 2, rng=1)).to(np.float64)


def data() -> tuple[Any, Any]:
    draws = np.random.default_rng(1)
    return draws.normal(size=(5, 16, 4)), draws.integers(0, 2, (5, 16))


def trained(model: Any, make: Callable[[Any], Any]) -> Any:
    """After five steps here."""
    optimizer = make(model.parameters())
    for x, y in zip(*data()):
        model.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


def trained_there(net: Any, make: Callable[[Any], Any]) -> Any:
    """After five steps in PyTorch."""
    optimizer = make(net.parameters())
    for x, y in zip(*data()):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
    return net


OPTIMIZERS = {
    "sgd": (
        lambda p: tg.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    ),
    "adam": (lambda p: tg.optim.Adam(p, lr=0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loop_of_pytorchs_trains_our_model_as_ours_does(name: str) -> None:
    ours, theirs = OPTIMIZERS[name]
    expected = trained(mlp(), ours).state_dict()
    model = mlp()
    net = trained_there(torch_function(model), theirs)
    assert list(net.state_dict()) == list(expected)
    for key, x in expected.items():
        assert close(model.state_dict()[key], x)
        assert address(model.get_parameter(key).data) == net.get_parameter(key).data_ptr()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_our_loop_trains_a_model_of_pytorchs_as_theirs_does(name: str) -> None:
    ours, theirs = OPTIMIZERS[name]
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 2)
    ).double()
    expected = trained_there(copy.deepcopy(net), theirs)
    model = trained(from_torch(net), ours)
    assert list(model.state_dict()) == list(net.state_dict())
    x = torch.tensor(X)
    assert close(net(x).detach(), expected(x).detach())  # it sees what was trained here
    for key, y in expected.state_dict().items():
        assert close(net.state_dict()[key], y)


def test_each_side_sees_what_the_other_one_replaces() -> None:
    model = mlp()
    net = torch_function(model)
    x = torch.tensor(X)

    def agree() -> None:
        assert close(
            net(x.to(net.layers.get_submodule("0").weight.dtype)).detach(), model(X).data, 1e-5
        )

    model.load_state_dict(trained(mlp(), OPTIMIZERS["sgd"][0]).state_dict())
    agree()
    net.load_state_dict({k: 2 * v for k, v in net.state_dict().items()})
    agree()
    net.float()
    net(x.float())
    assert model.parameters()[0].dtype == np.float32
    agree()
    for p in model.parameters():
        p.data = p.data * 3
    assert close(net.state_dict()["layers.0.bias"], model.parameters()[1].data)
    model.extra = Value([1.0])
    with pytest.raises(ValueError, match="'extra' is on one side of the border only"):
        net(x.float())
    del model.extra
    twin = copy.deepcopy(net)
    pickled = pickle.loads(pickle.dumps(net))
    with torch.no_grad():
        for p in net.parameters():
            p += 1
    agree()
    for other in (twin, pickled):
        assert close(other(x.float()).detach(), twin._bond.ours(X.astype(F)).data, 1e-6)
        assert not close(other(x.float()).detach(), net(x.float()).detach())


@pytest.mark.parametrize("how", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_what_is_written_into_a_copy_before_its_first_call_is_seen(how: Any) -> None:
    there = torch.nn.Linear(4, 3)
    for made, net in ((torch_function(mlp()), lambda m: m), (from_torch(there), lambda m: m._net)):
        there.load_state_dict({k: v + 1 for k, v in there.state_dict().items()}, assign=True)
        twin = how(made)
        with torch.no_grad():
            for p, q in zip(net(twin).parameters(), net(made).parameters(), strict=True):
                assert torch.equal(p, q)
                p.zero_()
        y = twin(torch.tensor(X)).detach() if net(made) is made else twin(X.astype(F)).data
        assert not y.any()


def test_a_model_of_ours_with_parameters_that_it_is_lent() -> None:
    model = mlp()
    net, before = torch_function(model), model.state_dict()
    lent = {name: 2 * p.detach() for name, p in net.named_parameters()}
    x = torch.tensor(X)
    slopes = torch.func.grad(lambda p: torch.func.functional_call(net, p, (x,)).sum())(lent)
    tg_slopes = tg.grad(lambda s: nn.functional_call(model, s, X).sum())
    expected = tg_slopes({name: p.numpy() for name, p in lent.items()})
    assert all(close(slopes[name], g) for name, g in expected.items())
    assert all(close(model.state_dict()[name], y) for name, y in before.items())


def test_buffers_and_the_mode_of_training_are_one_as_well() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            self.norm, self.scale = nn.BatchNorm1d(4), Value(2.0)
            self.register_buffer("mask", np.ones(4), persistent=False)

        def forward(self, x: Any) -> Any:
            return self.norm(x) * self.scale * self.mask

    model, native = Model(), torch.nn.BatchNorm1d(4)
    net = torch_function(model)
    x = torch.tensor(X.astype(F))
    for _ in range(3):
        y, z = net(x), 2 * native(x)
    assert close(y.detach(), z.detach(), 1e-5)
    assert close(net.norm.running_var, native.running_var, 1e-6)
    assert int(net.norm.num_batches_tracked) == 3
    assert address(model.norm.running_mean) == net.norm.running_mean.data_ptr()
    assert "mask" not in net.state_dict()
    assert not net.eval().training
    assert not model.norm.training
    assert close(net(x).detach(), 2 * native.eval()(x).detach(), 1e-5)
    y.sum().backward()
    assert net.scale.grad.shape == ()
    with torch.no_grad():
        net.scale.fill_(3)  # a number: handed over at the next call
    net(x)
    assert model.scale.data == 3
    model.requires_grad_(False)
    assert not torch_function(model).scale.requires_grad


def test_a_parameter_under_two_names_is_one() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.first = self.last = nn.Linear(4, 4, rng=0)

        def forward(self, x: Any) -> Any:
            return self.last(self.first(x))

    class TiedThere(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = self.last = torch.nn.Linear(4, 4)

        forward = Tied.forward

    x = X.astype(F)
    model, net = Tied(), TiedThere()
    for ours, theirs in ((model, torch_function(model)), (from_torch(net), net)):
        assert [name for name, _ in ours.named_parameters()] == ["first.weight", "first.bias"]
        ours(x).sum().backward()
        theirs(torch.tensor(x)).sum().backward()
        pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
        assert all(close(p.grad, q.grad, 1e-5) for p, q in pairs)


def test_a_model_of_pytorchs_with_buffers() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5))
    twin, model = copy.deepcopy(net), from_torch(net)
    x = X.astype(F)
    model(x)
    twin(torch.tensor(x))
    key = "1.running_mean"
    assert close(model.state_dict()[key], twin.state_dict()[key], 1e-6)
    assert model.state_dict()["1.num_batches_tracked"] == 1
    model.eval()
    assert not net[1].training
    model.load_state_dict({k: v * 0 for k, v in model.state_dict().items()})
    assert not net.state_dict()[key].any()
    assert not model(x).data.any()
    v, t = Value(x), tensor(x)
    from_torch(twin.eval())(v).sum().backward()
    twin(t).sum().backward()
    assert close(v.grad, t.grad, 1e-6)
    assert repr(model).startswith("from_torch(Sequential(")


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_in_mixed_precision_a_model_of_pytorchs_keeps_its_masters(name: str) -> None:
    pytest.importorskip("ml_dtypes")
    net = torch.nn.Linear(4, 3)
    before, model = net.weight.detach().clone(), from_torch(net)
    with tg.amp.autocast(model, name):
        y = model(X.astype(F))
    assert torch.equal(net.weight, before)
    y.sum().backward()
    assert model.weight.grad.dtype == F


# PyTorch's functions here.


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_their_functions_are_checked_as_ours_are(library: str, x64: None) -> None:
    module, make = (torch, from_torch) if library == "torch" else (jnp, from_jax)

    def f(x: Any, y: Any, scale: float = 1.0) -> Any:
        return {"a": scale * module.sin(x) @ y, "b": (module.exp(y), 7)}

    h = make(f)
    assert h.__name__ == "f"
    check_grads(lambda x, y: (lambda d: (d["a"], d["b"][0]))(h(x, y, scale=2.0)), X[:2], Y)
    assert h(X, Y)["b"][1] == 7
    native = tg.hessian(lambda x: np.sum((np.sin(x) @ Y) ** 2))(X)
    assert close(tg.hessian(lambda x: np.sum(h(x, Y)["a"] ** 2))(X), native)
    assert close(tg.jacobian(lambda x: h(x, Y)["a"])(X), tg.jacobian(lambda x: np.sin(x) @ Y)(X))
    out = tg.jvp(lambda x: h(x, Y)["a"], (X,), (X,))[1]
    assert close(out, tg.jvp(lambda x: np.sin(x) @ Y, (X,), (X,))[1])
    stack = rng.normal(size=(2, 3, 4))
    assert close(tg.vmap(lambda x: h(x, Y)["a"])(stack), np.sin(stack) @ Y)
    slopes = tg.vmap(tg.grad(lambda x: np.sum(h(x, Y)["a"])))(stack)
    assert close(slopes, np.cos(stack) * Y.sum(1))
    assert tg.vmap(lambda x: h(x, Y)["a"])(stack[:1]).shape == (1, 3, 2)
    assert tg.vmap(tg.vmap(make(lambda x, y: x * y), (None, 0)), (0, None))(X[0], X[1]).shape == (
        4,
        4,
    )


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_integers_have_no_gradient_and_results_may_be_such(library: str) -> None:
    make = from_torch if library == "torch" else from_jax
    h = make(lambda x, i: (x[i] * 2, i + 1, x.argmax()))
    v, i = Value(X.astype(F)), np.array([2, 0])
    y, j, k = h(v, i)
    assert list(np.asarray(j)) == [3, 1]
    assert int(k) == X.argmax()
    assert np.asarray(k).dtype.kind == "i"
    y.sum().backward()
    assert close(v.grad.sum(1), [8, 0, 8])
    assert v.grad.dtype == F
    assert isinstance(make(lambda x: x.argmax())(v), np.integer)
    with tg.no_grad():
        assert not h(v, i)[0].requires_grad
    assert isinstance(h(v.data, i)[0], np.ndarray)
    unused = make(lambda x, y: x * 1.0)
    w = Value(F(3.0))
    unused(v, w).sum().backward()
    assert w.grad == 0


def test_in_a_compiled_function_the_border_is_refused() -> None:
    with pytest.raises(TypeError, match=r"call it outside of tg.compile"):
        tg.compile(from_torch(torch.sin))(X)
    net, x = torch.nn.Linear(3, 2), np.ones((4, 3), np.float32)
    ours = from_torch(net)
    sgd, mse = tg.optim.SGD(ours.parameters(), lr=0.1), nn.functional.mse_loss
    for call, said in (
        (lambda: tg.compile(lambda x: ours(x) * 2)(x), r"ours \(Linear\) is PyTorch's"),
        (lambda: tg.compile(net)(torch.ones(3)), r"PyTorch's, .* before and after it"),
        (lambda: tg.compile(lambda x: x * net.bias.detach().numpy())(x), r"net \(Linear\) is"),
        (lambda: tg.fit(ours, [(x, x)], mse, sgd, epochs=1, compile=True), "leave compile= out"),
    ):
        with pytest.raises(TypeError, match=said):
            call()


# JAX.


def ours(x: Any, y: Any) -> Any:
    return np.sum(np.sin(x) @ y)


def native(x: Any, y: Any) -> Any:
    return jnp.sum(jnp.sin(x) @ y)


def alike(a: Any, b: Any, tol: float = 1e-5) -> bool:
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    return all(close(p, q, tol) and p.dtype == q.dtype for p, q in pairs)


def test_jax_jits_differentiates_and_maps_ours() -> None:
    f, x, y = jax_function(ours), jnp.array(X, F), jnp.array(Y, F)
    assert alike(f(x, y), native(x, y))
    assert alike(f(X.astype(F), Y.astype(F)), native(x, y))
    both = (0, 1)
    assert alike(jax.jit(jax.grad(f, both))(x, y), jax.grad(native, both)(x, y))
    curves = jnp.einsum("ij,j,ik,jl->ijkl", -jnp.sin(x), y.sum(1), jnp.eye(3), jnp.eye(4))
    assert alike(jax.jacrev(jax.jacrev(f))(x, y), curves)
    xs, ys = jnp.stack([x, 2 * x, -x]), jnp.stack([y, 2 * y])
    first = (0, None)
    values, slopes = jnp.sum(jnp.sin(xs) @ y, (1, 2)), jnp.cos(xs) * y.sum(1)
    for method in ("expand_dims", "broadcast_all", "sequential"):
        g = jax_function(ours, vmap_method=method)
        assert alike(jax.vmap(g, first)(xs, y), values)
    assert alike(jax.vmap(jax.grad(f), first)(xs, y), slopes)
    table = jax.jit(jax.vmap(jax.vmap(f, first), (None, 0)))(xs, ys)
    assert alike(table, jnp.stack([values, 2 * values]))
    assert alike(jax.vmap(f, first)(xs[:1], y), values[:1])
    with pytest.raises(TypeError, match="forward-mode autodiff"):
        jax.hessian(f)(x, y)


def test_jax_asks_for_the_gradients_that_it_needs() -> None:
    asked: list[str] = []
    rules = (
        lambda g, out, x, y: asked.append("x"),
        lambda g, out, x, y: asked.append("y") or g * x,
    )
    f = jax_function(tg.engine.primitive.Primitive(lambda x, y: x * y, rules, "product"))
    x, y = jnp.array(X, F), jnp.array(2 * X, F)
    assert alike(jax.jit(jax.grad(lambda y, x: f(x, y).sum()))(y, x), x)
    assert asked == ["y"]


def test_containers_settings_and_integers_under_jax() -> None:
    def f(p: Any, i: Any, *, scale: Any, name: str) -> Any:
        assert name == "n"
        return {"out": scale * p["w"][i], "at": np.argmax(p["w"], 1), "name": name}

    g = jax_function(f)
    p, i = {"w": jnp.array(X, F), "b": (jnp.ones(2, F),)}, jnp.array([1, 1])
    out = g(p, i, scale=2.0, name="n")
    assert out["name"] == "n"
    assert alike(out["out"], 2 * p["w"][i])
    assert out["at"].shape == (3,)
    slope = jax.jit(jax.grad(lambda p: g(p, i, scale=2.0, name="n")["out"].sum()))(p)
    assert alike(slope, {"w": jnp.zeros((3, 4), F).at[1].set(4), "b": (jnp.zeros(2, F),)})
    assert alike(jax.grad(jax_function(lambda x, k: x**k))(3.0, 2), jnp.array(6.0))


def test_the_shape_of_a_result_is_learned_or_told() -> None:
    spd = jnp.array(X @ X.T + np.eye(3), F)
    assert alike(jax.jit(jax_function(np.linalg.cholesky))(spd), jnp.linalg.cholesky(spd), 1e-4)
    with pytest.raises(TypeError, match="<lambda> returns a Python number"):
        jax_function(lambda x: float(x.data.sum()))(spd)
    with pytest.raises(KeyError) as error:
        jax_function(lambda x: {}["no"])(spd)
    assert "result_shape_dtypes" in error.value.__notes__[-1]
    told = jax_function(
        lambda x: x[: int(x.data[0])] * 2, result_shape_dtypes=jax.ShapeDtypeStruct((2,), F)
    )
    assert alike(told(jnp.array([2.0, 1.0, 0.0], F)), jnp.array([4.0, 2.0], F))
    calls: list[Any] = []
    counted = jax_function(lambda x: calls.append(x.shape) or x * 2)
    for _ in range(3):
        counted(spd)
    assert len(calls) == 4


def test_a_model_of_ours_takes_its_parameters_as_an_argument_in_jax() -> None:
    model = mlp().float()
    apply = jax_function(lambda state, x: nn.functional_call(model, state, x))
    state, x = model.state_dict(), X.astype(F)
    slopes = jax.grad(lambda s: apply(s, x).sum())({k: jnp.array(v) for k, v in state.items()})
    model(x).sum().backward()
    for name, p in model.named_parameters():
        assert close(slopes[name], p.grad, 1e-5)
    with pytest.raises(TypeError, match="functional_call"):
        jax_function(model)


def test_no_number_is_cut_silently_without_64_bits() -> None:
    x = jnp.array(X, F)
    with pytest.raises(
        TypeError, match=r"result of <lambda>.*jax_enable_x64.*astype\(np.float32\)"
    ):
        jax_function(lambda x: x * np.ones(4))(x)
    for h in (jax_function(np.sin), from_jax(jnp.sin)):
        with pytest.raises(TypeError, match=r"float64 needs 64 bits in JAX.*jax_enable_x64"):
            h(X)
    h = from_jax(lambda x, i: x[i])
    assert close(h(X.astype(F), np.array([1, 0])), X.astype(F)[[1, 0]])
    with pytest.raises(TypeError, match="int64 needs 64 bits"):
        h(X.astype(F), np.array([1, 2**40]))
    with pytest.raises(TypeError, match="sin: NumPy has no bfloat16"):
        jax_function(np.sin)(x.astype("bfloat16"))
    with pytest.raises(TypeError, match="NumPy has no bfloat16"):
        from_jax(lambda x: x.astype("bfloat16"))(X.astype(F))


def test_with_64_bits_float64_stays(x64: None) -> None:
    x, y = jnp.array(X), jnp.array(Y)
    f = jax_function(ours)
    assert alike(jax.grad(f)(x, y), jax.grad(native)(x, y), 1e-12)
    assert from_jax(jnp.sin)(X).dtype == np.float64
    z = x[0] + 1j * x[1]
    assert alike(
        *(
            jax.grad(lambda z, g=g: jnp.sum(jnp.abs(g(z)) ** 2))(z)
            for g in (jax_function(np.exp), jnp.exp)
        ),
        1e-12,
    )


def test_memory_is_shared_with_jax_where_xla_can() -> None:
    raw = np.empty(1000 * 4 + 64, np.uint8)
    start = -address(raw) % 64
    x = raw[start : start + 4000].view(F)
    x[:] = 1
    places: list[int] = []

    def f(x: Any) -> Any:
        places.append(x.unsafe_buffer_pointer())
        y = x * 2
        places.append(y.unsafe_buffer_pointer())
        return y

    y = from_jax(f)(x)
    assert places == [address(x), address(y)]
    assert not y.flags.writeable


def test_across_the_border_and_back() -> None:
    there_and_back = jax_function(from_jax(lambda x: jnp.sin(x) * x))
    x = jnp.array(X[0], F)
    slope = jax.jit(jax.grad(lambda x: there_and_back(x).sum()))(x)
    assert alike(slope, jnp.sin(x) + jnp.cos(x) * x)
    back_and_there = from_torch(torch_function(lambda x: np.sin(x) * x))
    curve = tg.hessian(lambda x: back_and_there(x).sum())(X[0])
    assert close(curve, np.diag(2 * np.cos(X[0]) - X[0] * np.sin(X[0])))


def test_a_large_array_does_not_wait_for_itself() -> None:
    """A callback that asks JAX for its argument may wait for the thread that it runs in."""
    x = jnp.ones((500, 500), F)
    f = jax.jit(lambda x: jax_function(lambda x: np.sum(x * x))(x @ x) + jnp.sum(x))
    assert float(jax.grad(f)(x)[0, 0]) == 2 * 500 * 500 * 2 + 1


# All three.


@settings(max_examples=20)
@given(st.data())
def test_three_libraries_agree(data: Any) -> None:
    f, there, in_jax = PRIMITIVES[data.draw(st.sampled_from(sorted(PRIMITIVES)))]
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    numbers = st.floats(-2, 2, width=32)
    x = np.array(
        data.draw(st.lists(numbers, min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])),
        dtype,
    ).reshape(shape)
    tol = 1e-4 if dtype is np.float32 else 1e-10
    v = Value(x)
    y = f(v)
    g = np.cos(np.arange(y.size)).reshape(y.shape).astype(dtype)
    y.backward(g)
    crossings = [from_torch(there)]
    if dtype is np.float32:
        crossings.append(from_jax(in_jax))
    for h in crossings:
        w = Value(x)
        z = h(w)
        z.backward(g)
        assert close(z.data, y.data, tol)
        assert close(w.grad, v.grad, tol)
        assert z.dtype == w.grad.dtype == dtype
    t = tensor(x)
    torch_function(f)(t).backward(torch.from_numpy(g))
    assert close(t.grad, v.grad, tol)
    if dtype is np.float32:
        _, back = jax.vjp(jax_function(f), jnp.array(x))
        assert close(back(jnp.array(g))[0], v.grad, tol)


def test_importing_the_room_loads_neither_library() -> None:
    code = "import sys, tensorgrad as tg; tg.interop; print(sys.modules.keys() & {'torch', 'jax'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("library", ["torch", "jax"])
def test_a_library_that_is_missing_is_named_in_one_line(library: str, monkeypatch: Any) -> None:
    monkeypatch.delitem(sys.modules, f"tensorgrad.interop.{library}")
    monkeypatch.setitem(sys.modules, library, None)
    names = {"torch": ("torch_function", "from_torch"), "jax": ("jax_function", "from_jax")}
    for name in names[library]:
        with pytest.raises(ImportError) as error:
            getattr(tg.interop, name)
        assert str(error.value) == f"interop.{name} needs {library}: pip install {library}"
    gc.collect()
