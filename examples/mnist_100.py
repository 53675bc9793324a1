"""The same with 100 hidden neurons: 96 % and more. See `mnist_30.py` for the network.

    python examples/mnist_100.py [seed [epochs]]

Some seeds end at 87 % or below: early steps drive an output neuron to 0 for every image, where σ'
is 0 too, and its digit is lost. Nielsen's chapter 3 is about that. `docs/results.md` has the runs.
On a busy machine set OPENBLAS_NUM_THREADS=1: threads that wait for a core take 20 times as long.
"""

import sys

from mnist_30 import train

if __name__ == "__main__":
    train(100, *map(int, sys.argv[1:]))
