"""The same with 100 hidden neurons: 96 % and more. See `mnist_30.py` for the network.

    python examples/mnist_100.py [seed [epochs]]

Some seeds end near 87 %: an output neuron that starts saturated never learns, and one digit is
lost. N(0, 1) weights under a quadratic cost do that; Nielsen's chapter 3 says why.
"""

import sys

from mnist_30 import train

if __name__ == "__main__":
    train(100, *map(int, sys.argv[1:]))
