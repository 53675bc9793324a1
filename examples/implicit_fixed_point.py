"""The derivative of a fixed point x = f(x, θ) needs x, not the way there: with `tg.custom_vjp`.

    python examples/implicit_fixed_point.py

Differentiate both sides: dx = ∂f/∂x dx + ∂f/∂θ dθ. So a cotangent g of x goes to θ in two steps,
first w = g + w ∂f/∂x, a linear system, then w ∂f/∂θ, and no memory is spent on the iterations. (The
implicit function theorem; S. Bai, J. Kolter and V. Koltun, Deep equilibrium models, 2019, theorem
1. The code follows the chapter on custom derivatives in JAX's documentation.) As w is itself a
fixed point, the gradient can be differentiated again.
"""

from functools import partial

import numpy as np

import tensorgrad as tg


@partial(tg.custom_vjp, nondiff_argnums=(0,))
def fixed_point(f, theta, x):
    """What iteration of f from x comes to. It is not recorded: it could be any program."""
    with tg.no_grad():
        before, x = x, f(x, theta)
        while np.max(np.abs(x - before)) > 1e-14 * np.max(np.abs(x)):
            before, x = x, f(x, theta)
    return x


def forward(f, theta, start):
    x = fixed_point(f, theta, start)
    return x, (theta, x)


def backward(f, residuals, g):
    theta, x = residuals
    w = fixed_point(partial(adjoint, f), (theta, x, g), g)
    _, pullback = tg.vjp(lambda theta: f(x, theta), theta)
    return *pullback(w), None  # where the iteration starts makes no difference


def adjoint(f, w, problem):
    """One iteration of w = g + w ∂f/∂x."""
    theta, x, g = problem
    _, pullback = tg.vjp(lambda x: f(x, theta), x)
    return g + pullback(w)[0]


fixed_point.defvjp(forward, backward)


def root(theta):
    """√θ as the Babylonians found it: the mean of x and θ/x is a better x."""
    return fixed_point(lambda x, theta: (x + theta / x) / 2, theta, 1.0)


print("At θ = 2:        implicit   closed form")
slope = tg.grad(root)
for name, f, known in (
    ("√θ", root, 2**0.5),
    ("1/(2√θ)", slope, 2**-0.5 / 2),
    ("-1/(4√θ³)", tg.grad(slope), -(2**-1.5) / 4),
):
    print(f"{name:9} {f(2.0):15.12f} {known:.12f}")
    assert abs(f(2.0) - known) < 1e-14

# An equilibrium network, x = tanh(Wx + b): a layer that feeds itself, deep without end.
n, rng = 30, np.random.default_rng(0)
W, b = 0.8 * rng.normal(size=(n, n)) / np.sqrt(n), rng.normal(size=n)


def layer(x, theta):
    return np.tanh(theta[0] @ x + theta[1])


def unrolled(f, theta, x):
    for _ in range(200):
        x = f(x, theta)
    return x


def cost(theta, solve):
    return np.sum(solve(layer, theta, np.zeros(n)) ** 2)


by_w, by_b = tg.grad(cost)((W, b), fixed_point)
deep_w, deep_b = tg.grad(cost)((W, b), unrolled)
x = fixed_point(layer, (W, b), np.zeros(n))
bend = np.diag(1 - x**2)  # tanh' at the fixed point
hand_b = bend @ np.linalg.solve(np.eye(n) - W.T @ bend, 2 * x)
hand_w = np.outer(hand_b, x)
print("Gradient of |x|² at the equilibrium of 30 neurons by W and b, largest difference")
for w, b, what in (
    (deep_w, deep_b, "from backpropagation through 200 layers"),
    (hand_w, hand_b, "from the linear system by hand"),
):
    difference = max(np.abs(by_w - w).max(), np.abs(by_b - b).max())
    print(f"  {what}: {difference:.0e}")
    assert difference < 1e-11
