"""How long is the pendulum, and how damped? Gauss-Newton through a Runge-Kutta integrator.

    python examples/ode_pendulum.py

The angle obeys θ'' = -(g/l) sin θ - c θ' and is measured ten times a second, with noise. The
integrator (the classical Runge-Kutta method; E. Hairer, S. Nørsett and G. Wanner, Solving Ordinary
Differential Equations I, 1993, section II.1) is a loop in NumPy, so `tg.jacobian` differentiates
each angle by p = (l, c). On paper, these sensitivities S = ∂y/∂p have an equation of their own,
S' = ∂f/∂y S + ∂f/∂p (section I.14): given that, the same integrator comes to the same numbers.

For a gradient over a long time all steps are kept, until the sweep comes by. `tg.checkpoint` keeps
one state in ten and computes the others again.
"""

import tracemalloc

import numpy as np

import tensorgrad as tg

G, H, NOISE = 9.81, 0.1, 0.02
START = np.array([1.5, 0.0])  # angle and speed, in radians and seconds
TRUTH = np.array([1.2, 0.15])  # length in metres, damping in 1/s


def swing(y, p):
    """f(y, p): how fast angle and speed change."""
    (angle, speed), (length, damping) = y, p
    return np.stack([speed, -G / length * np.sin(angle) - damping * speed])


def after(y, p, steps=1, f=swing):
    """Runge-Kutta steps from state y."""
    for _ in range(steps):
        k1 = f(y, p)
        k2 = f(y + H / 2 * k1, p)
        k3 = f(y + H / 2 * k2, p)
        k4 = f(y + H * k3, p)
        y = y + H / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


def angles(p):
    """The angle after each of 60 steps."""
    states = [START]
    for _ in range(60):
        states.append(after(states[-1], p))
    return np.stack(states[1:])[:, 0]


measured = angles(TRUTH) + NOISE * np.random.default_rng(2).normal(size=60)
p = np.array([1.0, 0.0])
for iteration in range(4):
    misfit = angles(p) - measured
    print(
        f"Iteration {iteration}: l = {p[0]:.5f}, c = {p[1]:.5f}, |misfit|² = {misfit @ misfit:.5f}"
    )
    sensitivities = tg.jacobian(angles, mode="forward")(p)
    p = p - np.linalg.lstsq(sensitivities, misfit)[0]

bars = NOISE * np.sqrt(np.diag(np.linalg.inv(sensitivities.T @ sensitivities)))
for name, found, bar, truth in zip(("Length", "Damping"), p, bars, TRUTH):
    print(f"{name:7} found {found:.4f} ± {bar:.4f}, built in {truth}.")
    assert abs(found - truth) < 3 * bar


def swing_and_sensitivities(y, p):
    """The same for [y | S], with the derivatives of f by hand."""
    (angle, speed), (length, damping) = y[:, 0], p
    by_y = np.array([[0, 1], [-G / length * np.cos(angle), -damping]])
    by_p = np.array([[0, 0], [G / length**2 * np.sin(angle), -speed]])
    return np.column_stack([swing(y[:, 0], p), by_y @ y[:, 1:] + by_p])


end = after(np.column_stack([START, np.zeros((2, 2))]), p, 60, swing_and_sensitivities)
found = tg.jacobian(after, argnums=1)(START, p, steps=60)
print(f"Sensitivities after 6 s: {found.round(6).tolist()}")
print(f"   by their own equation {end[:, 1:].round(6).tolist()}")
assert np.allclose(found, end[:, 1:], rtol=1e-10)


def last_angle(p, segment):
    y = START
    for _ in range(20):
        y = segment(y, p, steps=10)
    return y[0]


for name, segment in (("all steps kept", after), ("checkpointed", tg.checkpoint(after))):
    tracemalloc.start()
    gradient = tg.grad(last_angle)(p, segment)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    print(f"200 steps, {name:14}: gradient {gradient.round(8).tolist()}, {peak:.1f} MB")
