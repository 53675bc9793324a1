"""Counts by Newton's method over chunks: Poisson regression, with products of its Hessian.

    python examples/dask_poisson.py

The loss of a generalised linear model (P. McCullagh and J. Nelder, Generalized Linear Models, 1989,
ch. 6) over 300,000 rows that Dask draws anew each time it needs them. SciPy's Newton-CG asks for
loss and gradient, one pass over the data, and for the Hessian times a direction, `tg.hvp`, another:
the Hessian itself is never there. At the end it is, column by column, for the standard errors of
the coefficients, the roots of the diagonal of its inverse (needs `tensorgrad-engine[dask,scipy]`).
"""

import dask.array as da
import numpy as np
from scipy.optimize import minimize

import tensorgrad as tg

rng = da.random.default_rng(0)
truth = np.array([0.5, -0.3, 0.2, 0.0, 0.1])
X = rng.standard_normal((300_000, 5), chunks=(50_000, 5))
y = rng.poisson(np.exp(X @ truth), chunks=50_000)


def loss(w):
    z = X @ w
    return (np.exp(z) - y * z).mean()


passes = 0


def value_and_gradient(w):
    global passes
    passes += 1
    return tg.compute(*tg.value_and_grad(loss)(w))


def product(w, v):
    global passes
    passes += 1
    return tg.compute(tg.hvp(loss, (w,), (v,)))[0]


found = minimize(
    value_and_gradient, np.zeros(5), jac=True, hessp=product, method="Newton-CG", tol=1e-6
)
print(f"Newton's method: {found.nit} steps, {passes} passes over {len(X):,} rows.")

columns = tg.compute([tg.hvp(loss, (found.x,), (v,)) for v in np.eye(5)])[0]  # in one pass
errors = np.sqrt(np.diag(np.linalg.inv(len(X) * np.stack(columns))))
for estimate, error, true in zip(found.x, errors, truth):
    print(f"{estimate:8.4f} ± {error:.4f}, in truth {true}")
assert np.all(np.abs(found.x - truth) < 4 * errors)
