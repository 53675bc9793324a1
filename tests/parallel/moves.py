"""Run by test_parallel.py under mpiexec: the gradients of collectives."""

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import parallel

ranks = parallel.world()
n, r = ranks.size, ranks.rank
rng = np.random.default_rng(0)
every = rng.normal(size=(n, 2 * n, 3))  # what each rank has; all know it
ring = [(i, (i + 1) % n) for i in range(n)]

# What they are, and the function of all ranks' arrays that each is.
whole = {
    "allreduce": (parallel.allreduce, lambda x: np.broadcast_to(x.sum(0), x.shape)),
    "allgather": (parallel.allgather, lambda x: np.stack([np.concatenate(list(x))] * n)),
    "allgather 1": (
        lambda x: parallel.allgather(x, axis=1),
        lambda x: np.stack([np.concatenate(list(x), 1)] * n),
    ),
    "reduce_scatter": (parallel.reduce_scatter, lambda x: x.sum(0).reshape(n, 2, 3)),
    "broadcast": (lambda x: parallel.broadcast(x, n - 1), lambda x: np.stack([x[-1]] * n)),
    "alltoall": (
        parallel.alltoall,
        lambda x: x.reshape(n, n, 2, 3).transpose(1, 0, 2, 3).reshape(x.shape),
    ),
    "permute": (lambda x: parallel.permute(x, ring), lambda x: np.roll(x, 1, axis=0)),
}

for name, (collective, meant) in whole.items():
    expected = meant(every)
    np.testing.assert_allclose(collective(every[r]), expected[r], rtol=1e-12, err_msg=name)

    # The gradient is that of the sum over the ranks, as one process computes it for `meant`.
    c = rng.normal(size=expected.shape)
    x = tg.Value(every[r])
    np.sum(collective(x) ** 2 * c[r]).backward()
    (wanted,) = tg.vjp(meant, tg.Value(every))[1](2 * expected * c)
    np.testing.assert_allclose(x.grad, tg.value.data_of(wanted)[r], rtol=1e-12, err_msg=name)

    # And to second order, of a function that is the same in all ranks, so that all draw alike.
    def f(x, collective=collective):
        alike = parallel.allreduce(x) / n  # the sum of what the ranks make of it
        return parallel.allgather(np.sin(collective(alike[r])))

    if name in ("allreduce", "allgather", "reduce_scatter", "alltoall"):
        tg.testing.check_grads(f, every[:, :, :1], modes=["rev"])

# Parts of other lengths.
x = tg.Value(np.arange(r + 1.0))
out = parallel.allgather(x)
np.sum(out * np.arange(len(out))).backward()
begin = r * (r + 1) // 2
np.testing.assert_array_equal(x.grad, n * np.arange(begin, begin + r + 1))

# A rank without a gradient of its own takes part in the sweep.
x = tg.Value(np.ones(2)) if r == 0 else np.ones(2)
np.sum(parallel.allreduce(x)).backward()
assert r or np.array_equal(x.grad, [n, n])

# An infinity in one rank: all make the sweep with care, and none waits.
x = tg.Value(np.array([0.0, 1.0]))
y = np.where(np.array([False, True]), np.log(x) if r == 0 else x, 0.0)
np.sum(parallel.allreduce(y)).backward()
np.testing.assert_array_equal(x.grad, [0, n])

with pytest.raises(RuntimeError, match="same shapes"):
    parallel.allreduce(np.ones(2 + r))
if r == 0:
    print("moved")
