"""Training on many processes, by MPI (extra `mpi`): `mpiexec -n 4 python train.py`.

`data.py` has the step that all take together, `shards.py` who learns from which examples, `zero.py`
optimisers whose state is divided, `collectives.py` sums and moves of arrays between ranks, with
gradients; `ranks.py` is MPI.
"""

from tensorgrad.parallel.collectives import (
    allgather,
    allreduce,
    alltoall,
    broadcast,
    permute,
    reduce_scatter,
)
from tensorgrad.parallel.data import data_parallel
from tensorgrad.parallel.ranks import Ranks, world
from tensorgrad.parallel.shards import Sharded, Shards
from tensorgrad.parallel.zero import shard_state

__all__ = [
    "Ranks",
    "Sharded",
    "Shards",
    "allgather",
    "allreduce",
    "alltoall",
    "broadcast",
    "data_parallel",
    "permute",
    "reduce_scatter",
    "shard_state",
    "world",
]
