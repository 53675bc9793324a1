"""A Gaussian process learns its hyperparameters: gradient and Hessian through a Cholesky factor.

    python examples/gaussian_process.py

Noisy points y come from a random function with covariance k(s, t) = a² exp(-(s - t)² / 2l²) plus
noise of variance b². How probable a choice of (a, l, b) makes them is, with K = LLᵀ,

    ln p(y) = -½ yᵀ K⁻¹ y - Σ ln L_ii - ½ n ln 2π

(C. Rasmussen and C. Williams, Gaussian Processes for Machine Learning, 2006, algorithm 2.1). Their
eq. 5.9 is its gradient by hand, ½ tr((ααᵀ - K⁻¹) ∂K/∂θ) with α = K⁻¹ y. Here `tg.grad` of the line
above gives the same. `tg.hessian` gives Newton's steps to the optimum and, as -H⁻¹, the covariance
of what was found: the (a, l, b) that we sampled with must lie within a few error bars.
"""

import numpy as np

import tensorgrad as tg

NAMES, TRUTH = ("amplitude a", "length l", "noise b"), np.array([1.5, 0.8, 0.3])


def covariance(theta):
    """The matrix K for theta = ln (a, l, b): logarithms keep all three positive."""
    amplitude, length, noise = np.exp(theta)
    smooth = amplitude**2 * np.exp(-(distance**2) / (2 * length**2))
    return smooth + noise**2 * np.eye(n)


def log_likelihood(theta):
    factor = np.linalg.cholesky(covariance(theta))
    z = np.linalg.solve(factor, y)
    return -z @ z / 2 - np.sum(np.log(np.diag(factor))) - n / 2 * np.log(2 * np.pi)


n, rng = 100, np.random.default_rng(0)
t = np.sort(rng.uniform(0, 20, n))
distance = t[:, None] - t
y = np.linalg.cholesky(covariance(np.log(TRUTH))) @ rng.normal(size=n)

gradient, hessian = tg.grad(log_likelihood), tg.hessian(log_likelihood)


def gradient_by_hand(theta):
    """Eq. 5.9, with each ∂K/∂θ derived on paper."""
    amplitude, length, noise = np.exp(theta)
    smooth = amplitude**2 * np.exp(-(distance**2) / (2 * length**2))
    by_theta = 2 * smooth, smooth * distance**2 / length**2, 2 * noise**2 * np.eye(n)
    inverse = np.linalg.inv(covariance(theta))
    alpha = inverse @ y
    return np.array([np.trace((np.outer(alpha, alpha) - inverse) @ d) / 2 for d in by_theta])


theta = np.log([1.0, 1.0, 1.0])
print("At a = l = b = 1, the gradient of ln p by (ln a, ln l, ln b):")
print("  tensorgrad:", *(f"{x:18.12f}" for x in gradient(theta)))
print("  eq. 5.9:   ", *(f"{x:18.12f}" for x in gradient_by_hand(theta)))
difference = np.abs(gradient(theta) - gradient_by_hand(theta)).max()
print(f"  difference: {difference:.0e}")
assert difference < 1e-10

# Newton upwards: of a negative curvature take the size, of a step that goes down the half.
for step in range(20):
    g = gradient(theta)
    print(f"Step {step}: ln p = {log_likelihood(theta):.6f}, |gradient| = {np.linalg.norm(g):.1e}")
    if np.linalg.norm(g) < 1e-8:
        break
    curvature, axes = np.linalg.eigh(hessian(theta))
    move = axes @ (axes.T @ g / np.abs(curvature))
    while log_likelihood(theta + move) < log_likelihood(theta):
        move = move / 2
    theta = theta + move

# Near its top ln p is a parabola: p is a Gaussian, with covariance -H⁻¹.
spread = np.sqrt(np.diag(np.linalg.inv(-hessian(theta))))
for name, truth, best, bar in zip(NAMES, TRUTH, np.exp(theta), np.exp(theta) * spread):
    print(f"{name:12}  found {best:.3f} ± {bar:.3f}, sampled with {truth}")
assert np.all(np.abs(theta - np.log(TRUTH)) < 3 * spread)
