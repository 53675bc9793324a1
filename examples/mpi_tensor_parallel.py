"""A layer too wide for one process: tensor parallelism, of Shoeybi et al. (2019), Megatron-LM.

    mpiexec -n 2 python examples/mpi_tensor_parallel.py

Each rank has some of the hidden neurons: its rows of the first matrix, and its columns of the
second. What the ranks make of their neurons is added up by `allreduce`, whose rule gives each of
them the whole cotangent. All compute the same loss, so each counts for its part of it
(needs `tensorgrad-engine[mpi]`).
"""

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, parallel
from tensorgrad.nn import functional as F

HIDDEN, STEPS = 64, 30


class Wide(nn.Module):
    """linear, tanh, linear; of the hidden neurons those of this rank."""

    def __init__(self, whole, ranks):
        mine = parallel.ranks.part(HIDDEN, ranks.rank, ranks.size)
        self.inner = tg.Value(whole[0].weight.data[mine])
        self.inner_bias = tg.Value(whole[0].bias.data[mine])
        self.outer = tg.Value(whole[2].weight.data[:, mine])
        self.bias = tg.Value(whole[2].bias.data)  # rank 0's is meant

    def forward(self, x):
        h = np.tanh(x @ self.inner.T + self.inner_bias)
        return parallel.allreduce(h @ self.outer.T) + parallel.broadcast(self.bias)


def whole():
    """The same network in one process."""
    first, last = nn.Linear(8, HIDDEN, rng=1, dtype=float), nn.Linear(HIDDEN, 3, rng=2, dtype=float)
    return nn.Sequential(first, nn.Tanh(), last)


def train(model, x, y, parts):
    step = optim.SGD(model.parameters(), lr=0.5)
    for _ in range(STEPS):
        step.zero_grad()
        loss = F.cross_entropy(model(x), y)
        (loss / parts).backward()
        step.step()
    return loss.item()


def main():
    ranks, rng = parallel.world(), np.random.default_rng(0)
    x = rng.normal(size=(200, 8))
    y = (x @ rng.normal(size=(8, 3))).argmax(axis=1)
    one, many = train(whole(), x, y, 1), train(Wide(whole(), ranks), x, y, ranks.size)
    if ranks.rank == 0:
        print(f"loss of one process {one:.6f}, of {ranks.size} that share the neurons {many:.6f}")
        print("the same" if abs(one - many) < 1e-9 else "not the same")


if __name__ == "__main__":
    main()
