"""What is the wall made of? Conductivities from temperatures, through a sparse linear system.

A plate of 30 x 30 cells is heated in many places, -div(k grad u) = f, and cold around. Between two
cells heat flows in proportion to their conductivity: A(k) u = f, with a sparse, symmetric A whose
entries are Values. `spsolve` has the derivative by these: -λᵢ uⱼ, where Aᵀ λ = g. From the
temperatures L-BFGS finds a hidden pane that conducts ten times worse.
Run: python examples/sparse_heat.py (needs `tensorgrad-engine[scipy]`)
"""

import numpy as np
from scipy.optimize import minimize

import tensorgrad as tg
from tensorgrad.scipy.sparse import coo_array
from tensorgrad.scipy.sparse.linalg import spsolve

N = 30
cells = np.arange(N * N).reshape(N, N)
one = np.concatenate([cells[:, :-1].ravel(), cells[:-1].ravel()])  # of each pair of neighbours
other = np.concatenate([cells[:, 1:].ravel(), cells[1:].ravel()])
edges = np.concatenate([cells[0], cells[-1], cells[:, 0], cells[:, -1]])  # beside the cold

places = (
    np.concatenate([one, other, one, other, edges]),
    np.concatenate([one, other, other, one, edges]),
)
rng = np.random.default_rng(0)
heat = rng.random(N * N)


def temperatures(log_k):
    """u for the logarithm of each cell's conductivity."""
    k = np.exp(log_k)
    between = 2 * k[one] * k[other] / (k[one] + k[other])  # resistances in a row
    entries = np.concatenate([between, between, -between, -between, 2 * k[edges]])
    return spsolve(coo_array((entries, places), shape=(N * N, N * N)), heat)


pane = np.zeros((N, N))
pane[8:20, 12:18] = -np.log(10)
measured = temperatures(pane.ravel()) * (1 + 1e-4 * rng.normal(size=N * N))


def misfit(log_k):
    difference = temperatures(log_k) - measured
    rough = log_k[one] - log_k[other]
    return np.mean(difference**2) + 1e-3 * np.mean(np.sqrt(rough**2 + 1e-4))


def loss_and_gradient(log_k):
    return tg.value_and_grad(misfit)(log_k)


found = minimize(
    loss_and_gradient, np.zeros(N * N), jac=True, method="L-BFGS-B", options={"maxiter": 300}
)
error = np.exp(found.x) - np.exp(pane.ravel())
print(f"{found.nit} iterations; conductivities within {np.sqrt(np.mean(error**2)):.3f} on average")
for row in found.x.reshape(N, N)[::2]:
    print("".join(" ░▒▓█"[min(4, max(0, round(-4 * x / np.log(10))))] for x in row))
