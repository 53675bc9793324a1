"""An ODE solver with a gradient of its own: the adjoint method, by `tg.custom_vjp`.

T. Chen, Y. Rubanova, J. Bettencourt and D. Duvenaud, "Neural ordinary differential equations"
(2018), algorithm 1: the state runs back in time beside its cotangent, a' = -a ∂f/∂y, and nothing of
the way there is kept, where backpropagation through the Runge-Kutta steps keeps all of them.
"""

import numpy as np

import tensorgrad as tg


def step(f, state, h):
    """A step of the classical Runge-Kutta method for y' = f(y), both lists of arrays."""

    def after(h, k):
        return [y + h * slope for y, slope in zip(state, k)]

    k1 = f(state)
    k2 = f(after(h / 2, k1))
    k3 = f(after(h / 2, k2))
    k4 = f(after(h, k3))
    return after(h / 6, [a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4)])


def solve(f, y, theta, h, steps):
    """Where y is after so many steps of y' = f(y, theta)."""
    for _ in range(steps):
        (y,) = step(lambda state: [f(*state, theta)], [y], h)
    return y


# The same, whose gradient runs the other way in as many steps.
flow = tg.custom_vjp(solve, nondiff_argnums=(0, 3, 4))


def forward(f, y, theta, h, steps):
    y = flow(f, y, theta, h, steps)
    return y, (y, theta)


def backward(f, h, steps, residuals, a):
    y, theta = residuals

    def back(state):
        y, a, *_ = state
        slope, pullback = tg.vjp(f, y, theta)
        by_y, by_theta = pullback(a)
        return [slope, *(-g for g in (by_y, *by_theta))]

    state = [y, a, *map(np.zeros_like, theta)]
    for _ in range(steps):
        state = step(back, state, -h)
    _, by_y, *by_theta = state
    return by_y, tuple(by_theta)


flow.defvjp(forward, backward)
