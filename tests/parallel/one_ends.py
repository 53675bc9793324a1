"""Run by test_parallel.py under mpiexec: one rank ends, in the way that the argument says, while
the others wait for it."""

import os
import signal
import sys

import numpy as np

import tensorgrad as tg
from tensorgrad import nn, optim, parallel

ranks = parallel.world()
net = nn.Linear(1, 1, rng=0)
step = tg.Step(net, nn.functional.mse_loss, optim.SGD(net.parameters(), lr=0.1))
step = parallel.data_parallel(step)
x = np.full((1, 1), ranks.rank, np.float32)
for i in range(10):
    if i == 5 and ranks.rank == 1:
        if sys.argv[1] == "error":
            raise KeyError("what happened")
        if sys.argv[1] == "exit":
            sys.exit(3)
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
    step(x, x)
