"""One call of a function on fresh leaves, and the way back to them: what all transforms share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from operator import attrgetter
from typing import Any

import numpy as np

from tensorgrad.engine.arguments import ordinary
from tensorgrad.engine.arrays import copied, created, is_known, kind_of
from tensorgrad.engine.backprop import cotangents
from tensorgrad.engine.calls import Buffers, keeper, replace_buffers
from tensorgrad.engine.dtypes import is_inexact
from tensorgrad.engine.levels import alias
from tensorgrad.engine.node import (
    Array,
    Node,
    differentiating,
    leaf,
    record,
    recorded,
    recorder,
)
from tensorgrad.engine.short import bare, kept
from tensorgrad.transforms.tree import (
    Rebuild,
    flatten,
    is_module,
    map_leaves,
    modules_in,
    parameters_in,
    paths_of,
)
from tensorgrad.value import Value, as_constant, as_data, plain

Function = Callable[..., Any]
Argnums = int | tuple[int, ...]
FLOAT = np.dtype(float)


class Call:
    """What `f` returned for variables in place of the arguments `argnums`, and the way back.

    `leaves`: the arrays that those arguments hold. `out`, `aux`: the results.
    """

    def __init__(
        self,
        name: str,
        f: Function,
        args: Sequence[Any],
        argnums: Argnums,
        kwargs: dict[str, Any],
        has_aux: bool,
    ) -> None:
        self.since = now()
        given, args, self.single = args, list(args), not isinstance(argnums, tuple)
        self.leaves: list[Any] = []
        self.variables: list[Value | None] = []
        self.parts: list[tuple[int, Rebuild]] = []
        for i in positions(name, argnums, len(args)):
            leaves, rebuild = flatten(args[i])
            lone = len(leaves) == 1 and leaves[0] is args[i]
            leaves = as_arrays(args[i], leaves)
            # a name or a flag in a container is a setting; on its own it is a mistake
            values = [None if is_static(x) and not lone else variable(x) for x in leaves]
            args[i] = rebuild([x if v is None else v for x, v in zip(leaves, values)])
            self.leaves += leaves
            self.variables += values
            self.parts.append((len(leaves), rebuild))
        self.args = args  # the graph has but weak references to Modules among them
        self.nodes = [v.node for v in self.variables if v is not None]
        self.recorded = recorder.get() is not None
        keep = giving_back(args, given)
        try:
            result = copy_context().run(self._differentiated, f, args, kwargs, keep)
        except ValueError as error:
            if reason := hidden(error):
                raise reason from None
            raise
        if has_aux and not (isinstance(result, tuple) and len(result) == 2):
            raise TypeError(
                f"{name}: with has_aux=True the function returns a pair, not {result!r}"
            )
        self.out, aux = result if has_aux else (result, None)
        self.aux = map_leaves(self.outside, aux) if has_aux else None

    def _differentiated(
        self,
        f: Function,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        keep: Callable[[Any, Buffers], None],
    ) -> Any:
        """`f(*args, **kwargs)`, in a context of its own: recorded, also under `no_grad()`."""
        if differentiating.get() is None:
            differentiating.set(self.since)
        keeper.set(keep)
        recorder.set(recorder.get() or record)
        return f(*args, **kwargs)

    def gradients(self, ys: Sequence[Any], gs: Sequence[Array]) -> list[Array | None]:
        """The cotangent of each leaf, given those of `ys`; None for leaves that hold no numbers."""
        seeds = seeds_of(ys, gs)
        found, keep = self.sweep(seeds, ys, seeds.values(), self.nodes)
        return [v if v is None else self.result(found.get(v.node), v, keep) for v in self.variables]

    def sweep(
        self, seeds: dict[Node, Array], ys: Sequence[Any], givens: Iterable[Any], wrt: list[Node]
    ) -> tuple[dict[Node, Array], bool]:
        """The cotangents of `wrt`, and whether they were recorded: if outputs `ys` or what the
        caller gave depend on something outside of this call.
        """
        keep = self.recorded and (
            bool(outer_nodes(ys, self.since)) or any(map(requires_grad, givens))
        )
        return (cotangents(seeds, keep, wrt) if wrt else {}), keep

    def result(self, g: Array | None, x: Value, keep: bool) -> Array:
        """`g`, or zeros where there is none."""
        if g is None:
            g = created(np.zeros, x.shape, x.dtype, like=x)[()]
            return as_constant(g) if keep else g
        return g

    def outside(self, y: Any) -> Any:
        """What the caller gets of a result: data, or the Value where it depends on the outside."""
        if not isinstance(y, Value) or (self.recorded and outer_nodes([y], self.since)):
            return y
        return own(y.data)

    def like_args(self, results: Iterable[Any]) -> Any:
        """One result for each leaf, in the containers of the arguments."""
        rest = iter(results)
        made = [rebuild([next(rest) for _ in range(n)]) for n, rebuild in self.parts]
        return made[0] if self.single else tuple(made)


def hidden(error: ValueError) -> TypeError | None:
    """Our reason, which NumPy hides where a Value is written into an item of an array."""
    reason = error.__cause__
    if isinstance(reason, TypeError) and f"{error}".startswith("setting an array element"):
        return reason.with_traceback(error.__traceback__)
    return None


def giving_back(copies: Sequence[Any], given: Sequence[Any]) -> Callable[[Any, Buffers], None]:
    """What the Modules among `copies` remember, those that were given remember."""
    outer = keeper.get()
    originals: dict[int, Any] | None = None  # not looked for yet: most functions remember nothing

    def hand_on(module: Any, buffers: Buffers) -> None:
        nonlocal originals
        if originals is None:
            originals = {}
            pairs = zip(*(modules_in(list(tree)) for tree in (copies, given)))
            for copy, original in pairs:
                both = zip(copy.named_modules(), original.named_modules())
                originals.update((id(a), b) for (_, a), (_, b) in both)
        original = originals.get(id(module), module)
        if original is not module:
            replace_buffers(module, buffers)
        outer(original, buffers)

    return hand_on


def now() -> int:
    """A serial that is larger than those of all nodes so far."""
    return leaf(0).serial


def outer_nodes(ys: Iterable[Any], since: int) -> list[Node]:
    """The nodes from before `since` that Values `ys` were computed from, in order."""
    found: set[Node] = set()
    for y in filter(requires_grad, ys):
        newer = [y.node] if y.node.serial > since else []
        if not newer:
            found.add(y.node)
        seen = set(newer)
        for node in newer:
            for x in node.operands:
                if x is not None and x.requires_grad and x not in seen:
                    seen.add(x)
                    (newer.append if x.serial > since else found.add)(x)
    return sorted(found, key=attrgetter("serial"))


def positions(name: str, argnums: Argnums, n: int) -> list[int]:
    """The arguments that `argnums` names, of `n`."""
    chosen = []
    for i in argnums if isinstance(argnums, tuple) else (argnums,):
        if isinstance(i, bool) or not isinstance(i, (int, np.integer)):
            raise TypeError(f"{name}: argnums is an int or a tuple of ints, not {argnums!r}")
        if not -n <= i < n:
            raise ValueError(
                f"{name}: there is no argument {i}, the function was called with {n} by position "
                "(those by keyword are constants)"
            )
        if i % n in chosen:
            raise ValueError(f"{name}: argnums={argnums!r} names an argument twice")
        chosen.append(int(i % n))
    return chosen


def variable(x: Any) -> Value:
    """A leaf with the data of `x`, read-only; of a Value in a graph a new name for it."""
    if requires_grad(x):
        value: Value = recorded(alias, x)
        return value
    x = ordinary(x, "a transform")  # no masked arrays
    if not (isinstance(x, Value) or is_known(x)) or getattr(x, "weak", False):
        x = as_data(x)  # the numbers of a list, a table; an int, also while it is traced
    if not is_inexact(getattr(x, "dtype", FLOAT)):
        raise TypeError(
            f"{x.dtype} data carries no gradient: pass floats, or leave it out of argnums (and of "
            "the containers there)"
        )
    if isinstance(x, Value) or not hasattr(x, "dtype"):
        return Value(x)
    x = kept(x)
    return Value.of(leaf(kind_of(x).locked(x), requires_grad=True))


def requires_grad(x: Any) -> bool:
    return isinstance(x, Value) and x.requires_grad


def is_static(x: Any) -> bool:
    """Whether a leaf of a container is a setting rather than a number: a name, a flag, nothing."""
    return x is None or isinstance(x, (bool, str, bytes)) or callable(x)


def own(data: Any) -> Any:
    """A result of the caller's own: no variable, constant or other result shares its memory."""
    return copied(bare(data)) if kind_of(data).alone else plain(data)


def outputs_of(name: str, out: Any) -> tuple[list[Any], Rebuild]:
    """The leaves of what a function returned. TypeError for numbers that carry no gradient."""
    outs, rebuild = flatten(out)
    for y in outs:
        if isinstance(y, bool) and y is out:
            y = np.bool_(y)
        if not is_inexact(getattr(y, "dtype", FLOAT)):
            raise TypeError(
                f"{name} needs a function that returns floats, this one returned {y.dtype} data, "
                "which carries no gradient: return it beside them and pass has_aux=True, or choose "
                "between floats with np.where"
            )
    return outs, rebuild


def one_number(result: Any) -> Value:
    """The result of a function that has a gradient. TypeError or ValueError if it is none."""
    if isinstance(result, (tuple, list, dict)) or result is None:
        kind = type(result).__name__
        raise TypeError(
            f"grad needs a function that returns one number, this one returned a {kind}: "
            "return (number, the rest) and pass has_aux=True, or use tg.vjp or tg.jacobian"
        )
    outputs_of("grad", result)
    y = as_constant(result)
    if y.shape:
        raise ValueError(
            f"grad needs a function that returns one number, this one returned shape {y.shape}: "
            "sum it, or use tg.elementwise_grad, tg.jacobian or tg.vjp"
        )
    if y.dtype.kind == "c":
        raise TypeError(
            "grad needs a function that returns a real number, this one returned a complex one: "
            "take np.real, np.imag or np.abs of it, or use tg.vjp or tg.jacobian"
        )
    return y


def is_complex(x: Any) -> bool:
    return (x.dtype.kind == "c") if hasattr(x, "dtype") else np.iscomplexobj(x)


def matching(what: str, tree: Any, like: Any) -> list[Any]:
    """The numbers of `tree`, which has the containers, shapes and kinds of those of `like`.

    ValueError otherwise; TypeError for complex numbers that belong to real ones.
    """
    found, expected = numbers_of(tree), numbers_of(like)
    places = [
        [p for p, x in zip(paths_of(t), flatten(t)[0]) if not is_static(x)] for t in (tree, like)
    ]
    shapes = [np.shape(x) for x in found], [np.shape(x) for x in expected]
    if shapes[0] != shapes[1] or places[0] != places[1]:
        raise ValueError(
            f"{what} must have shapes {shapes[1]}, in the containers of what they belong to, not "
            f"{shapes[0]}"
        )
    if any(is_complex(x) and not is_complex(y) for x, y in zip(found, expected)):
        raise TypeError(f"{what} must be real where what it belongs to is")
    return found


def numbers_of(tree: Any) -> list[Any]:
    """The leaves of `tree` that are no settings."""
    return [x for x in as_arrays(tree, flatten(tree)[0]) if not is_static(x)]


def as_arrays(tree: Any, leaves: list[Any]) -> list[Any]:
    """The leaves of `tree`, with the data of a Module's parameters: it is a container of arrays.

    (Of the parameters themselves where a transform around this one differentiates by them.)
    """
    if differentiating.get() is not None or (len(leaves) == 1 and leaves[0] is tree):
        return leaves
    if is_module(tree):
        return [x.data for x in leaves]
    parameters = parameters_in(tree)
    return [x.data if id(x) in parameters else x for x in leaves]


def seeds_of(ys: Sequence[Any], gs: Sequence[Any]) -> dict[Node, Array]:
    """The cotangent of each node among `ys`; in the dtype of its data."""
    seeds: dict[Node, Array] = {}
    for y, g in zip(ys, gs):
        if requires_grad(y):
            g = g if isinstance(g, Value) else copied(g, y.dtype)
            seeds[y.node] = seeds[y.node] + g if y.node in seeds else g
    return seeds
