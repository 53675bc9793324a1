"""Declare an operation of your own: NumPy forward, one gradient rule, and it is differentiable.

    python examples/custom_primitive.py

softclip(x) = ln(1 + e^x) - ln(1 + e^(x-1)) climbs smoothly from 0 to 1. By hand, its derivative is
σ(x) - σ(x-1). That line is all tensorgrad needs: as the rule is NumPy too, it has a derivative.
"""

import numpy as np

import tensorgrad as tg
from tensorgrad.nn.functional import sigmoid

softclip = tg.primitive(
    lambda x: np.logaddexp(x, 0) - np.logaddexp(x - 1, 0),
    lambda g, out, x: g * (sigmoid(x) - sigmoid(x - 1)),
    name="softclip",
)

# Use it: forward, backward, and backward through the backward.
points = np.linspace(-4, 5, 7)
x = tg.Value(points)
y = softclip(x)
y.sum().backward(create_graph=True)
slope, x.grad = x.grad, None
slope.sum().backward()
curvature = x.grad

# Check it: finite differences know nothing of the rule.
h = 1e-4
below, above = softclip(points - h), softclip(points + h)
differences = (above - below) / (2 * h), (above - 2 * y.data + below) / h**2

print("     x  softclip    slope  curvature")
for row in zip(points, y.data, slope.data, curvature):
    print("{:6.1f} {:9.4f} {:8.4f} {:10.4f}".format(*row))
for name, ours, theirs in zip(("Slope", "Curvature"), (slope.data, curvature), differences):
    print(f"{name}: within {np.abs(ours - theirs).max():.0e} of finite differences.")
    assert np.allclose(ours, theirs, rtol=0, atol=1e-6)
