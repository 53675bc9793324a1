"""Run by test_parallel.py under mpiexec: what is wrong in one rank is told in all, and named."""

import os
import signal
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import data, nn, optim, parallel
from tensorgrad.engine.arrays import Kind, kinds
from tensorgrad.nn import functional as F

ranks = parallel.world()
last = ranks.size - 1  # the rank in which something is wrong
wrong = ranks.rank == last
rng = np.random.default_rng(0)
x, y = rng.normal(size=(64, 5)).astype(np.float32), rng.integers(0, 3, 64)


class At5(tg.train.Callback):
    """What happens in the last rank, after the fifth step."""

    def __init__(self, happens):
        self.happens = happens

    def on_step(self, run):
        if run.steps == 5 and wrong:
            self.happens(run)


def fit(
    happens=lambda run: None,
    width=8,
    lr=0.01,
    seed=0,
    batches=None,
    first=1,
    middle=nn.Tanh,
    epochs=2,
    freeze=False,
    path=None,
    accumulate=1,
    divide=lambda adam: adam,
    **settings,
):
    net = nn.Sequential(nn.Linear(5, width, rng=first), middle(), nn.Linear(width, 3, rng=2))
    net[2].bias.requires_grad = not freeze
    adam = divide(optim.Adam(net.parameters(), lr=lr))
    loader = data.DataLoader(x, y, batch_size=8, shuffle=True, rng=seed)
    step = parallel.data_parallel(net, F.cross_entropy, adam, check_every=4, **settings)
    batches = parallel.Shards(loader) if batches is None else batches
    return tg.fit(
        net,
        batches,
        F.cross_entropy,
        adam,
        epochs=epochs,
        step=lambda *_: step,
        accumulate=accumulate,
        callbacks=[At5(happens), *([tg.train.Checkpoint(path)] if path else [])],
    )


def refused(kind, words, *args, **kwargs):
    with pytest.raises(kind, match=words):
        fit(*args, **kwargs)


if ranks.size > 1:
    net = nn.Linear(5, 3)
    with pytest.raises(ValueError, match=r"step=parallel\.data_parallel"):
        tg.fit(
            net,
            parallel.Shards(data.DataLoader(x, y)),
            F.cross_entropy,
            optim.SGD(net.parameters(), lr=0.1),
            epochs=1,
        )


def spoil(value):
    def happens(run):
        run.model[2].bias.data = run.model[2].bias.data + np.float32(value)

    return happens


def drop():
    return nn.Sequential(nn.Dropout(0.1, rng=0), nn.Dropout(0.1, rng=int(wrong)))


shape = rf"layers.0.weight is float32 \(9, 5\) in rank {last}, and float32 \(8, 5\) in rank 0"
refused(ValueError, shape, width=8 + wrong)
refused(
    ValueError, f"layer layers.1 is a ReLU in rank {last}", middle=nn.ReLU if wrong else nn.Tanh
)
refused(ValueError, rf"layers.2.bias is float32 \(3,\), frozen in rank {last}", freeze=wrong)
refused(ValueError, f"number of epochs is 3 in rank {last}, and 2 in rank 0", epochs=2 + wrong)
refused(ValueError, f"deterministic is .* in rank {last}", deterministic=wrong)
odd = f"at the start, parameter layers.0.weight and 1 more of rank {last} is not"
refused(ValueError, odd, first=1 + wrong, broadcast=False)
refused(
    ValueError,
    f"the rng of layer layers.1.layers.1 of rank {last} is",
    middle=drop,
    broadcast=False,
)
with warnings.catch_warnings(record=True) as heard:
    warnings.simplefilter("always")
    fit(first=1 + wrong)
    fit(first=1 + wrong, broadcast=True)
assert [str(w.message).partition(":")[0] for w in heard] == [odd + " that of rank 0"] * (
    not ranks.rank
)
refused(ValueError, "lr of the optimiser's group 0 is", lr=0.01 + wrong)
refused(ValueError, f"a seed's, of rank {last} is not", seed=0 + wrong)
refused(ValueError, rf"step 8, parameter layers.2.bias.* of rank {last} is not", spoil(0.5))
nan = rf"epoch 1, batch 6: .* in rank {last}, parameter layers.2.bias is nan"
refused(FloatingPointError, nan, spoil(np.nan))
refused(FloatingPointError, nan, spoil(np.nan), compile=True)
nan = rf"epoch 2, batch 3: .* in rank {last}, parameter layers.2.bias is nan"
refused(FloatingPointError, nan, spoil(np.nan), accumulate=2)


class Elsewhere(np.ndarray):
    """Of another kind, on a GPU, say."""


kinds[Elsewhere] = Kind()

net = nn.Linear(5, 3, rng=0)
step = parallel.data_parallel(net, F.cross_entropy, optim.SGD(net.parameters(), lr=0.1))
net.weight.node.data = net.weight.data.view(Elsewhere)
with pytest.raises(TypeError, match="parameter weight is of Elsewhere"):
    step(x, y)
alone = "elsewhere: .* call the same"
refused(RuntimeError, alone, lambda run: run.optimizer.state_dict(), divide=parallel.shard_state)
whole = f"state is whole in rank {last}, and divided in rank 0"
refused(ValueError, whole, divide=(lambda adam: adam) if wrong else parallel.shard_state)
few = [(x[:2], y[:2]), (x[2:4], y[2:4])][: 2 - wrong]
refused(RuntimeError, "others are elsewhere: do all have as many", batches=few)

for name in ("SIGINT", "SIGTERM"):
    path = Path(sys.argv[1], name)
    interrupted = fit(lambda run, name=name: os.kill(os.getpid(), getattr(signal, name)), path=path)
    assert interrupted.interrupted
    assert "after batch 5" in interrupted.stopped
    ranks.total(at="the file is there")
    assert tg.io.load_checkpoint(path)["steps"] == 5
ended = fit(lambda run: run.stop("enough"))
assert ended.stopped == ("enough" if wrong else "another rank ended it")

if ranks.rank == 0:
    print("refused")
