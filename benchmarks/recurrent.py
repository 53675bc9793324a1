"""RNN, LSTM, GRU and their cells against PyTorch's: outputs, states and gradients of everything, of
configurations drawn at random; of some also the gradient of a function of the gradients.

    python benchmarks/recurrent.py [configurations [seed]]
"""

import sys

import numpy as np
import torch
from torch.nn.utils import rnn as theirs

from tensorgrad import Value, nn
from tensorgrad.nn.utils import rnn as ours


def kinds(rng):
    """A class, and what it is made with."""
    name = rng.choice(["RNN", "LSTM", "GRU"])
    given = {"bias": bool(rng.integers(2))}
    if name == "RNN":
        given["nonlinearity"] = str(rng.choice(["tanh", "relu"]))
    if rng.random() < 0.3:
        return f"{name}Cell", given
    given |= {"num_layers": int(rng.integers(1, 4)), "batch_first": bool(rng.integers(2))}
    given["bidirectional"] = bool(rng.integers(2))
    return name, given


def draw(rng):
    name, given = kinds(rng)
    size, hidden = int(rng.integers(1, 6)), int(rng.integers(2, 7))
    if name == "LSTM" and rng.random() < 0.3:
        given["proj_size"] = int(rng.integers(1, hidden))
    return name, size, hidden, given


def scalar(outs, weights):
    return sum((w * (y * y + y)).sum() for w, y in zip(weights, outs, strict=True))


def flat(out):
    """The arrays of nested results."""
    if hasattr(out, "batch_sizes"):
        return [out.data]
    return [y for part in out for y in flat(part)] if isinstance(out, tuple) else [out]


def compare(rng, second):
    """One configuration: the largest differences of values, of gradients and of second ones."""
    name, size, hidden, given = draw(rng)
    dtype, close = (np.float64, 1e-9) if second or rng.random() < 0.5 else (np.float32, 2e-4)
    other = getattr(torch.nn, name)(size, hidden, **given, dtype=getattr(torch, dtype.__name__))
    model = getattr(nn, name)(size, hidden, **given, dtype=dtype)
    state = {key: p.detach().numpy() for key, p in other.named_parameters()}
    assert list(state) == [key for key, _ in model.named_parameters()], (name, given)
    model.load_state_dict(state)

    cell, n, times = name.endswith("Cell"), int(rng.integers(1, 5)), int(rng.integers(1, 7))
    alone = rng.random() < 0.2
    features = (given.get("proj_size") or hidden, hidden)[: 1 + name.startswith("LSTM")]
    layers = () if cell else (given["num_layers"] * (1 + given["bidirectional"]),)
    batch = () if alone else (n,)
    shapes = [(*layers, *batch, k) for k in features]
    first = given.get("batch_first")
    shape = batch if cell else (times,) if alone else (n, times) if first else (times, n)
    x = rng.normal(size=(*shape, size)).astype(dtype)
    hx = [rng.normal(size=s).astype(dtype) for s in shapes]
    packed = not cell and not alone and rng.random() < 0.4
    lengths = rng.integers(1, times + 1, n)
    with_states = rng.random() < 0.7

    def run(model, rnn, leaf):
        xs = [leaf(x), *map(leaf, hx if with_states else [])]
        given = rnn.pack_padded_sequence(xs[0], lengths, first, False) if packed else xs[0]
        states = tuple(xs[1:]) if len(hx) > 1 else xs[-1]
        return xs, flat(model(given, states) if with_states else model(given))

    tensor = lambda a: torch.tensor(a, requires_grad=True)
    xs, outs = run(model, ours, Value)
    ys, expected = run(other, theirs, tensor)
    weights = [rng.normal(size=y.shape).astype(dtype) for y in outs]
    label = f"{name}({size}, {hidden}, {given}) {dtype.__name__} x {x.shape} packed {packed}"
    check = lambda a, b, what: np.testing.assert_allclose(
        a, b, rtol=close, atol=close, err_msg=f"{what} of {label}"
    )
    for out, y in zip(outs, expected, strict=True):
        check(out.data, y.detach().numpy(), "output")
        assert out.dtype == dtype
    leaves, tensors = [*xs, *model.parameters()], [*ys, *other.parameters()]
    cost, theirs_cost = scalar(outs, weights), scalar(expected, map(torch.tensor, weights))
    cost.backward(create_graph=second)
    gradients = torch.autograd.grad(theirs_cost, tensors, create_graph=second)
    for p, g in zip(leaves, gradients, strict=True):
        check(np.asarray(p.grad.data if second else p.grad), g.detach().numpy(), "gradient")
    if second:
        directions = [rng.normal(size=p.shape) for p in leaves]
        along = sum((d * p.grad).sum() for d, p in zip(directions, leaves, strict=True))
        for p in leaves:
            p.grad = None
        along.backward()
        again = sum((torch.tensor(d) * g).sum() for d, g in zip(directions, gradients, strict=True))
        for p, g in zip(leaves, torch.autograd.grad(again, tensors), strict=True):
            check(p.grad, g.numpy(), "second gradient")
    return name, packed, second


if __name__ == "__main__":
    count, seed, *_ = *map(int, sys.argv[1:]), *(500, 0)[len(sys.argv) - 1 :]
    torch.set_num_threads(1)
    rng = np.random.default_rng(seed)
    made = [compare(rng, second=i % 5 == 0) for i in range(count)]
    for name in sorted({name for name, *_ in made}):
        of = [(packed, second) for kind, packed, second in made if kind == name]
        packed, second = (sum(found) for found in zip(*of, strict=True))
        print(f"{name}: {len(of)} alike, {packed} packed, {second} to second order")
