"""Twenty operations on an array of 1e7 floats, in NumPy by hand: cheap ones, and with
transcendental functions among them.

`cheap(np, a)` and `rich(np, a)` are written once, for every library's own `np`.
"""

from itertools import cycle

import numpy


def cheap(np, a):
    t = a * 1.1 + 0.3
    t = t * a - 0.5
    t = np.maximum(t, 0.0)
    t = t * t + 1.0
    t = t * 0.5 - a
    t = np.abs(t)
    t = t * a + 2.0
    t = np.minimum(t * 0.25, 1.0)
    t = -(t * t - 0.1)
    return (t * a + a) * 3.0


def rich(np, a):
    t = np.tanh(a * 1.1 + 0.3)
    t = t * a - 0.5
    t = np.log(np.exp(-(t * t)) + 1.0)
    t = t * a + 1.0
    t = np.sqrt(t * t) * 0.5
    return 1.0 / (1.0 + np.exp(-t)) * 2.0


def plain(f, arrays):
    arrays = cycle(arrays)
    return lambda: f(numpy, next(arrays))


def out(f, arrays):
    """In one array that is there."""
    made, arrays = numpy.empty_like(arrays[0]), cycle(arrays)
    run = {cheap: cheap_into, rich: rich_into}[f]
    return lambda: run(next(arrays), made)


def cheap_into(a, t):
    np = numpy
    np.multiply(a, 1.1, out=t)
    np.add(t, 0.3, out=t)
    np.multiply(t, a, out=t)
    np.subtract(t, 0.5, out=t)
    np.maximum(t, 0.0, out=t)
    np.multiply(t, t, out=t)
    np.add(t, 1.0, out=t)
    np.multiply(t, 0.5, out=t)
    np.subtract(t, a, out=t)
    np.abs(t, out=t)
    np.multiply(t, a, out=t)
    np.add(t, 2.0, out=t)
    np.multiply(t, 0.25, out=t)
    np.minimum(t, 1.0, out=t)
    np.multiply(t, t, out=t)
    np.subtract(t, 0.1, out=t)
    np.negative(t, out=t)
    np.multiply(t, a, out=t)
    np.add(t, a, out=t)
    return np.multiply(t, 3.0, out=t)


def rich_into(a, t):
    np = numpy
    np.multiply(a, 1.1, out=t)
    np.add(t, 0.3, out=t)
    np.tanh(t, out=t)
    np.multiply(t, a, out=t)
    np.subtract(t, 0.5, out=t)
    np.multiply(t, t, out=t)
    np.negative(t, out=t)
    np.exp(t, out=t)
    np.add(t, 1.0, out=t)
    np.log(t, out=t)
    np.multiply(t, a, out=t)
    np.add(t, 1.0, out=t)
    np.multiply(t, t, out=t)
    np.sqrt(t, out=t)
    np.multiply(t, 0.5, out=t)
    np.negative(t, out=t)
    np.exp(t, out=t)
    np.add(t, 1.0, out=t)
    np.divide(1.0, t, out=t)
    return np.multiply(t, 2.0, out=t)
