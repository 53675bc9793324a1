"""Newton's method down Rosenbrock's valley: with `tg.hessian`, seven steps reach the last digit.

    python examples/newton_rosenbrock.py

The valley f(x, y) = 100 (y - x²)² + (1 - x)² ends at (1, 1) (H. Rosenbrock, An automatic method for
finding the greatest or least value of a function, 1960). Newton's step x - H⁻¹ ∇f jumps to the
bottom of the parabola that fits best, once up the far side, then home. Near the goal it squares the
error, |error| <= C |error before|²: the right digits double (J. Nocedal and S. Wright, Numerical
Optimization, 2006, theorem 3.5). Gradient descent takes thousands of steps for three digits.
"""

import numpy as np

import tensorgrad as tg


def rosenbrock(p):
    x, y = p
    return 100 * (y - x**2) ** 2 + (1 - x) ** 2


start, minimum = np.array([-1.2, 1.0]), np.array([1.0, 1.0])
gradient, hessian = tg.grad(rosenbrock), tg.hessian(rosenbrock)


def error(p):
    return np.linalg.norm(p - minimum)


print("step          x          y         f     error  error / (error before)²")
p, before = start, np.inf
for step in range(8):
    ratio = f"{error(p) / before**2:.2g}" if step else ""
    print(f"{step:4} {p[0]:10.6f} {p[1]:10.6f} {rosenbrock(p):9.1e} {error(p):9.1e} {ratio:>24}")
    before, p = error(p), p - np.linalg.solve(hessian(p), gradient(p))
assert before < 1e-14

# By hand, the Hessian is [[1200 x² - 400 y + 2, -400 x], [-400 x, 200]].
by_hand = np.array([[802.0, -400.0], [-400.0, 200.0]])
print(f"Hessian at (1, 1): {hessian(minimum).tolist()}, by hand {by_hand.tolist()}.")
assert np.allclose(hessian(minimum), by_hand, rtol=1e-12)

p, steps = start, 0
while error(p) > 1e-3:
    p, steps = p - 0.0015 * gradient(p), steps + 1
print(f"Gradient descent takes {steps:,} steps to come within 0.001.")
