"""tensorgrad without vmap: a Python loop that pulls the rows back one by one."""

import numpy as np

import tensorgrad as tg


def jacobian(f, variables, constants):
    return by_rows(lambda x: f(np, x, *constants), *variables)


def hessian(f, variables, constants):
    return by_rows(tg.grad(lambda x: f(np, x, *constants)), *variables)


def by_rows(f, x):
    def step():
        y, pullback = tg.vjp(f, x)
        return np.stack([pullback(row)[0] for row in np.eye(y.size)])

    return step
