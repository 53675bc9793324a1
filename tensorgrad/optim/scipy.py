"""SciPy's minimisers on a Module: `minimize`, and `SciPy`, an optimiser that runs one each step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tensorgrad.engine.node import Array
from tensorgrad.extras import missing
from tensorgrad.nn.module import Module
from tensorgrad.optim.search import Closure, Search
from tensorgrad.value import Value

BY_VALUES = {"nelder-mead", "powell", "cobyla", "cobyqa"}
BY_PRODUCTS = {"newton-cg", "trust-ncg", "trust-krylov", "trust-constr"}
BY_HESSIAN = {"dogleg", "trust-exact"}
"""What a method asks for besides the gradient. (The others ask for that alone.)"""


class SciPy(Search):
    """`scipy.optimize.minimize` to its end in each `step(closure)`; what it found is `.result`.

    `method`, `bounds`, `tol` and `options` are SciPy's; a pair of numbers bounds all parameters.
    Gradients are given to all methods that take them, Hessians, or their products with vectors, to
    those that ask for them. For whole batches. Needs the extra `scipy`.

    >>> from tensorgrad import Value
    >>> w = Value([2.0, 3.0])
    >>> optimizer = SciPy([w], method="trust-ncg")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((w - 1) ** 4 + w**2).sum()
    ...     loss.backward()
    ...     return loss
    >>> first = optimizer.step(closure)
    >>> optimizer.result.success, w.data.round(3)
    (True, array([0.41, 0.41]))
    """

    def __init__(
        self,
        params: Any,
        method: str = "L-BFGS-B",
        bounds: Any = None,
        tol: float | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(params, method=method, bounds=bounds, tol=tol, options=options)
        self.result: Any = None

    def step(self, closure: Closure | None = None) -> Any:
        """The loss from before. Parameters are at the best point that SciPy found."""
        try:
            from scipy import optimize
        except ImportError:
            raise missing("optim.SciPy needs SciPy", "scipy") from None
        s = self.param_groups[0]
        method, bounds, x0 = s["method"].lower(), s["bounds"], self.vector()
        if isinstance(bounds, tuple) and np.shape(bounds) == (2,):
            bounds = optimize.Bounds(np.full(x0.size, bounds[0]), np.full(x0.size, bounds[1]))
        first: Any = None

        def look(x: Array) -> tuple[float, Array]:
            nonlocal first
            self.put(x)
            loss, f, g = (self.begin if first is None else self.evaluate)(closure)
            first = loss if first is None else first
            return f, np.asarray(g, float)

        def hessian(x: Array) -> Callable[[Array], Array]:
            self.put(x)
            return self.curvature(self.evaluate(closure)[0])

        more: dict[str, Any] = {"jac": True, "bounds": bounds, "tol": s["tol"]}
        if method in BY_PRODUCTS:
            more["hessp"] = lambda x, v: hessian(x)(v)
        elif method in BY_HESSIAN:
            more["hess"] = lambda x: np.array([*map(hessian(x), np.eye(x.size))])
        fun: Any = look
        if method in BY_VALUES:
            fun, more["jac"] = (lambda x: look(x)[0]), None
        self.result = optimize.minimize(
            fun, np.asarray(x0, float), method=method, options=s["options"], **more
        )
        self.put(self.result.x)
        return first


def minimize(
    model: Module,
    loss: Callable[[Any], Value],
    method: str = "L-BFGS-B",
    bounds: Any = None,
    tol: float | None = None,
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Let `model` learn until `scipy.optimize.minimize` is done with `loss(model)`.

    Returns SciPy's result: `.fun` the loss, `.success`, `.message`, `.nit`, `.x` all parameters.
    Arguments are those of `SciPy`.

    >>> from tensorgrad import nn
    >>> x, y = np.array([[0.0], [1.0], [2.0]]), np.array([[1.0], [3.0], [5.0]])
    >>> line = nn.Linear(1, 1, rng=0).to(np.float64)
    >>> result = minimize(line, lambda line: nn.functional.mse_loss(line(x), y), method="BFGS")
    >>> print(f"{line.weight.item():.3f} {line.bias.item():.3f}")
    2.000 1.000
    """
    optimizer = SciPy(model.parameters(), method, bounds, tol, options)

    def closure() -> Value:
        optimizer.zero_grad()
        value = loss(model)
        value.backward()
        return value

    optimizer.step(closure)
    return optimizer.result
