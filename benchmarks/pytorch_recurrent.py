"""RNN, LSTM, GRU and their cells against PyTorch's: outputs, states and gradients of everything, of
configurations drawn at random; of some also the gradient of a function of the gradients.

    python benchmarks/pytorch_recurrent.py [configurations]
"""

import sys

from beside import compare, report, rng

# isort: split
import numpy as np
import torch
from torch.nn.utils import rnn as theirs

from tensorgrad import nn
from tensorgrad.nn.utils import rnn as ours


def kinds():
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


def draw():
    name, given = kinds()
    size, hidden = int(rng.integers(1, 6)), int(rng.integers(2, 7))
    if name == "LSTM" and rng.random() < 0.3:
        given["proj_size"] = int(rng.integers(1, hidden))
    return name, size, hidden, given


def beside(second):
    """One configuration."""
    name, size, hidden, given = draw()
    dtype = np.float64 if second or rng.random() < 0.5 else np.float32
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

    def run(model, rnn, xs):
        given = rnn.pack_padded_sequence(xs[0], lengths, first, False) if packed else xs[0]
        states = tuple(xs[1:]) if len(hx) > 1 else xs[-1]
        return model(given, states) if with_states else model(given)

    compare(
        f"{name}, packed" if packed else name,
        lambda *xs: run(model, ours, xs),
        lambda *xs: run(other, theirs, xs),
        [x, *(hx if with_states else [])],
        f"{given} {dtype.__name__}",
        order=1 + second,
        parameters=[*zip(model.parameters(), other.parameters(), strict=True)],
    )


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    for i in range(count):
        beside(second=i % 5 == 0)
    sys.exit(report() > 0)
