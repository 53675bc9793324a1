"""Optimisers that look at several points for one step: L-BFGS, Newton's method by gradients.

To them all parameters are one vector. `step(closure)` asks `closure`, which forgets the gradients,
computes the loss, sweeps back and returns the loss, at each point; a `Step` passes it. `scipy.py`
has those of SciPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tensorgrad.engine.arrays import copied, in_place, kind_of
from tensorgrad.engine.node import Array, data_of
from tensorgrad.engine.short import kept
from tensorgrad.optim.optimizer import Optimizer, pairs, settle
from tensorgrad.value import Value

Closure = Callable[[], Any]


class Search(Optimizer):
    """Base class: the parameters, of one group, as one vector of real numbers."""

    entrywise = False

    def add_param_group(self, group: Any) -> None:
        super().add_param_group(group)
        if len(self.param_groups) > 1:
            self.param_groups.pop()
            raise ValueError(f"{type(self).__name__} has one group: its parameters are one vector")

    def fits(self, shape: tuple[int, ...], p: Value) -> bool:
        return bool(shape == self.vector().shape)

    def vector(self) -> Array:
        """A copy of all parameters; a complex one as pairs."""
        return np.concatenate([pairs(p.node.data).ravel() for p in self.params])

    def gradient(self) -> Array:
        """The direction of ascent, 0 for a parameter that has no gradient."""
        settle(None, self.params)
        parts = []
        for p in self.params:
            g = np.zeros_like(p.node.data) if p.node.grad is None else data_of(p.node.grad)
            parts.append(pairs(np.conj(g) if p.dtype.kind == "c" else g).ravel())
        return np.concatenate(parts)

    def put(self, x: Array) -> None:
        """Give the parameters the numbers of a vector."""
        for p, part in zip(self.params, self.split(x)):
            p.node.data = kept(part)

    def split(self, x: Array) -> list[Array]:
        """The parts of a vector as arrays like the parameters."""
        parts, start = [], 0
        for p in self.params:
            data = p.node.data
            n = data.size * (2 if data.dtype.kind == "c" else 1)
            part = in_place(copied(x[start : start + n], data.real.dtype)).view(data.dtype)
            parts.append(part.reshape(data.shape)[()])
            start += n
        return parts

    def evaluate(self, closure: Closure | None) -> tuple[Any, float, Array]:
        """The loss, its number, infinite if it is none, and the gradient, where it stands."""
        if closure is None:
            raise TypeError(
                f"{type(self).__name__} looks at several points: step(closure), where closure() "
                "calls zero_grad(), computes the loss, calls its backward() and returns it"
            )
        if not all(kind_of(p.node.data).numbers for p in self.params):
            raise TypeError(
                f"{type(self).__name__} decides by numbers how far it goes, and there are none yet "
                "while a compiled function is traced: compile the closure, not the step"
            )
        loss = closure()
        settle(loss, self.params)
        f = float(loss.item() if hasattr(loss, "item") else loss)
        return loss, math.inf if math.isnan(f) else f, self.gradient()

    def begin(self, closure: Closure | None) -> tuple[Any, float, Array]:
        """`evaluate`; FloatingPointError, before anything changes, unless all is finite."""
        loss, f, g = self.evaluate(closure)
        if not math.isfinite(f) or not np.isfinite(g).all():
            raise FloatingPointError(
                f"{type(self).__name__}: the loss is {loss.item()}, and it or its gradient is not "
                "finite. The parameters are as they were"
            )
        return loss, f, g

    def curvature(self, loss: Any) -> Callable[[Array], Array]:
        """The Hessian of a loss that was computed here, times a vector: two sweeps each."""
        if not hasattr(loss, "backward"):
            raise TypeError(f"{type(self).__name__} differentiates the loss twice: it is no Value")
        self.zero_grad()
        loss.backward(create_graph=True)
        gradients = [(i, p.node.grad) for i, p in enumerate(self.params)]
        varying = [(i, g) for i, g in gradients if isinstance(g, Value) and g.requires_grad]

        def times(v: Array) -> Array:
            self.zero_grad()
            parts = self.split(v)
            for i, g in varying:
                np.sum(np.real(g * parts[i])).backward()
            found = self.gradient()
            self.zero_grad()
            return found

        self.zero_grad()
        return times


class Point(NamedTuple):
    """Of a line: how far along, the loss, its gradient, and its slope along the line."""

    t: float
    f: float
    g: Array
    slope: float


def lowest(a: Point, b: Point, low: float, high: float) -> float:
    """Where the cubic through two points is lowest; within bounds. N&W equation 3.59."""
    a, b = (a, b) if a.t <= b.t else (b, a)
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not 0 <= square < math.inf:
        return (low + high) / 2
    d2 = math.sqrt(square)
    t = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    return min(max(t, low), high)


def strong_wolfe(
    at: Callable[[float], Point], start: Point, t: float, tolerance: float, most: int
) -> tuple[Point, int]:
    """A point lower by .0001 of what its slope promises, with .9 of the slope or less; and the
    number of looks. Nocedal and Wright, algorithms 3.5 and 3.6, with minFunc's safeguards.

    `tolerance`: of the width where it gives up, with the best so far, as after `most` looks.
    """

    def too_high(p: Point) -> bool:
        return p.f > start.f + 1e-4 * p.t * start.slope

    def flat(p: Point) -> bool:
        return abs(p.slope) <= -0.9 * start.slope

    before, new, looks = start, at(t), 0
    while True:  # until the two are around such a point
        if looks == most:
            before = start
            break
        if too_high(new) or (looks > 1 and new.f >= before.f):
            break
        if flat(new):
            return new, looks + 1
        if new.slope >= 0:
            break
        t = lowest(before, new, new.t + 0.01 * (new.t - before.t), 10 * new.t)
        before, new, looks = new, at(t), looks + 1

    low, high = (before, new) if before.f <= new.f else (new, before)
    stuck = False
    while looks < most and abs(high.t - low.t) >= tolerance:
        a, b = min(low.t, high.t), max(low.t, high.t)
        t = lowest(low, high, a, b)
        edge = 0.1 * (b - a)
        near = min(b - t, t - a) < edge
        if near and (stuck or t >= b or t <= a):
            t = b - edge if abs(t - b) < abs(t - a) else a + edge
            near = False
        stuck = near
        new, looks = at(t), looks + 1
        if too_high(new) or new.f >= low.f:
            low, high = (low, new) if low.f <= new.f else (new, low)
        elif flat(new):
            return new, looks + 1
        else:
            high = low if new.slope * (high.t - low.t) >= 0 else high
            low = new
    return low, looks + 1


class LBFGS(Search):
    """Limited-memory BFGS, up to `max_iter` steps each time: Nocedal and Wright, algorithm 7.5.

    PyTorch's. `line_search_fn`: None, steps of length lr, or "strong_wolfe". `max_eval`: looks, by
    default 5/4 of `max_iter`. It ends where no gradient is above `tolerance_grad`, or loss and
    parameters change by less than `tolerance_change`. For whole batches.

    >>> from tensorgrad import Value
    >>> w = Value([-1.2, 1.0])
    >>> optimizer = LBFGS([w], max_iter=100, line_search_fn="strong_wolfe")
    >>> def closure():  # Rosenbrock's valley
    ...     optimizer.zero_grad()
    ...     loss = 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2
    ...     loss.backward()
    ...     return loss
    >>> first = optimizer.step(closure)
    >>> print(w.data.round(3))
    [1. 1.]
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            max_iter=max_iter,
            max_eval=max_iter * 5 // 4 if max_eval is None else max_eval,
            tolerance_grad=tolerance_grad,
            tolerance_change=tolerance_change,
            history_size=history_size,
            line_search_fn=line_search_fn,
        )

    def _check(self, params: list[Any], **settings: Any) -> None:
        super()._check(params, **settings)
        if settings["line_search_fn"] not in (None, "strong_wolfe"):
            raise ValueError(
                f"line_search_fn={settings['line_search_fn']!r}: must be None or 'strong_wolfe'"
            )

    def step(self, closure: Closure | None = None) -> Any:
        """Up to `max_iter` steps; the loss from before."""
        s = self.param_groups[0]
        tolerance, most = s["tolerance_change"], s["max_eval"]
        first, f, g = self.begin(closure)
        looks = 1
        if np.max(np.abs(g)) <= s["tolerance_grad"]:
            return first
        x = self.vector()
        # Of the steps taken before: how many, the last one's length and direction, the gradient
        # there, and by how much each of the last changed the parameters and the gradient.
        n, t, d, g_before, *changes = self.state.get(self.params[0], (0, 0.0, g, g))
        for i in range(s["max_iter"]):
            if n:
                dx, dg = t * d, g - g_before
                if dg @ dx > 1e-10:
                    changes = [*changes, dx, dg][-2 * s["history_size"] :]
            n, f_before, g_before = n + 1, f, g
            d = -inverse_hessian(changes, g)
            slope = float(g @ d)
            t = s["lr"] * (min(1.0, 1 / float(np.sum(np.abs(g)))) if n == 1 else 1.0)
            if slope > -tolerance:
                break
            if s["line_search_fn"]:
                start, way = Point(0.0, f, g, slope), (x, d)

                def at(t: float, way: tuple[Array, Array] = way) -> Point:
                    self.put(way[0] + t * way[1])
                    _, f, g = self.evaluate(closure)
                    return Point(t, f, g, float(g @ way[1]))

                width = tolerance / float(np.max(np.abs(d)))
                (t, f, g, _), k = strong_wolfe(at, start, t, width, most - looks)
                looks += k
            x = x + t * d
            self.put(x)
            if i + 1 == s["max_iter"]:
                break
            if not s["line_search_fn"]:
                _, f, g = self.evaluate(closure)
                looks += 1
            if looks >= most or np.max(np.abs(g)) <= s["tolerance_grad"]:
                break
            if np.max(np.abs(t * d)) <= tolerance or abs(f - f_before) < tolerance:
                break
        self.state[self.params[0]] = (n, t, d, g_before, *changes)
        return first


def inverse_hessian(changes: list[Array], g: Array) -> Array:
    """The inverse Hessian that steps and changes of gradients, in turn, suggest, times g."""
    steps = list(zip(changes[::2], changes[1::2]))
    parts = []
    for dx, dg in reversed(steps):
        part = (dx @ g) / (dg @ dx)
        g = g - part * dg
        parts.append(part)
    if steps:
        dx, dg = steps[-1]
        g = g * ((dg @ dx) / (dg @ dg))
    for (dx, dg), part in zip(steps, reversed(parts)):
        g = g + (part - (dg @ g) / (dg @ dx)) * dx
    return g


class NewtonCG(Search):
    """Newton's method, its equation solved by conjugate gradients: Nocedal and Wright, alg. 7.1.

    The Hessian is never there, only its products with vectors, two sweeps each: at most `max_iter`
    a step, as many as the gradient's size deserves, or until the curvature is negative. Then `lr`
    of the way, halved until the loss falls. For whole batches, of twice differentiable losses.

    >>> from tensorgrad import Value
    >>> w = Value([-1.2, 1.0])
    >>> optimizer = NewtonCG([w])
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = 100 * (w[1] - w[0] ** 2) ** 2 + (1 - w[0]) ** 2
    ...     loss.backward()
    ...     return loss
    >>> losses = [optimizer.step(closure).item() for _ in range(30)]
    >>> print(w.data.round(3))
    [1. 1.]
    """

    def __init__(
        self, params: Any, lr: float = 1.0, max_iter: int = 50, tolerance_grad: float = 1e-9
    ) -> None:
        super().__init__(params, lr=lr, max_iter=max_iter, tolerance_grad=tolerance_grad)

    def step(self, closure: Closure | None = None) -> Any:
        """One step of Newton's method; the loss from before."""
        s = self.param_groups[0]
        first, f, g = self.begin(closure)
        if np.max(np.abs(g)) <= s["tolerance_grad"]:
            return first
        x = self.vector()
        d = self.direction(self.curvature(first), g, s["max_iter"])
        slope, t = float(g @ d), s["lr"]
        for _ in range(40):
            self.put(x + t * d)
            if self.evaluate(closure)[1] <= f + 1e-4 * t * slope:
                return first
            t = t / 2
        self.put(x)  # as low as its numbers can tell
        return first

    @staticmethod
    def direction(hessian: Callable[[Array], Array], g: Array, most: int) -> Array:
        """-H⁻¹ g, nearly."""
        z, r = np.zeros_like(g), g
        d = -g
        square = g @ g
        enough = min(1e-4, float(square) ** 0.5) * square  # of |r|²: a hundredth of |g|, or less
        for _ in range(most):
            along = hessian(d)
            curvature = d @ along
            if curvature <= 0:
                return z if z.any() else d
            z = z + (square / curvature) * d
            r = r + (square / curvature) * along
            new = r @ r
            if new <= enough:
                break
            d = -r + (new / square) * d
            square = new
        return z
