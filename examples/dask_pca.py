"""Principal components of rows that do not fit, by gradient: the plane that loses least.

    python examples/dask_pca.py

Of the planes through the mean, that of the principal components loses least of the rows' squares
(K. Pearson, On lines and planes of closest fit to systems of points in space, 1901). Down the
gradient of that loss, one pass over the data for each step, and back to orthogonal directions by a
QR factorisation of a matrix of 30 x 2. What is found is compared with the eigenvectors of the
covariance (needs `tensorgrad-engine[dask]`).
"""

import dask.array as da
import numpy as np

import tensorgrad as tg

rng = da.random.default_rng(0)
sizes = np.concatenate([[4, 3], np.linspace(1.5, 0.1, 28)])
mixing = np.random.default_rng(0).standard_normal((30, 30)) * sizes[:, None]
X = rng.standard_normal((200_000, 30), chunks=(20_000, 30)) @ mixing


def lost(w):
    """The mean square of what is left of a row beside the plane that the columns of w span."""
    rows = X - mean
    return ((rows - rows @ w @ w.T) ** 2).sum(axis=1).mean()


mean, covariance = tg.compute(X.mean(axis=0), X.T @ X / len(X))
covariance -= np.outer(mean, mean)
eigenvalues, vectors = np.linalg.eigh(covariance)
best = eigenvalues[:-2].sum()

w = np.linalg.qr(np.random.default_rng(1).standard_normal((30, 2)))[0]
for step in range(31):
    value, g = tg.compute(*tg.value_and_grad(lost)(w))
    if step % 6 == 0:
        print(f"step {step:2}: {value:9.4f} lost, {value / best - 1:.1e} above the least")
    w, _ = np.linalg.qr(w - g / eigenvalues[-1] / 2)
angle = np.linalg.svd(w.T @ vectors[:, -2:])[1].min()
print(f"the cosine of the angle to the eigenvectors' plane is {angle:.6f}")
assert angle > 0.999
