"""A function of ours as another library sees it: of arrays in a row, with the way back to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from tensorgrad.engine.arrays import kind_of
from tensorgrad.engine.backprop import cotangents
from tensorgrad.engine.calls import forgetting_buffers, keeper, noting_buffers
from tensorgrad.engine.dtypes import is_inexact
from tensorgrad.engine.node import Array, leaf, within
from tensorgrad.engine.short import kept
from tensorgrad.transforms.call import Call, giving_back, outer_nodes, requires_grad
from tensorgrad.transforms.custom import name_of
from tensorgrad.transforms.tree import Rebuild, flatten, modules_in
from tensorgrad.value import Value, as_constant

Function = Callable[..., Any]


class Row:
    """A function of the arrays in its arguments, which another library calls: `row(*arrays)`.

    `leaves` are the other leaves of the containers: settings. It keeps no array of the call.
    """

    def __init__(self, f: Function, rebuild: Rebuild, leaves: list[Any], places: list[int]) -> None:
        self.name, self.f, self.rebuild = name_of(f), f, rebuild
        self.leaves, self.places = leaves, places
        self.modules: list[Any] = []

    def __call__(self, *arrays: Any) -> Any:
        args, kwargs = put(self.rebuild, self.places, self.leaves, arrays)
        if not self.modules:
            return self.f(*args, **kwargs)
        keep = giving_back(modules_in([args, kwargs]), self.modules)
        return within(keeper, keep, self.f, args, kwargs)


def in_a_row(
    f: Function,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    is_theirs: Callable[[Any], bool],
    instead: Mapping[int, Any] | None = None,
) -> tuple[Row, list[Any]]:
    """The call `f(*args, **kwargs)` as a function of the arrays in it, and these.

    `is_theirs` tells which leaves are such arrays; `instead`: what stands in place of leaves, by
    their ids. TypeError for a Value that requires grad: it would not hear of its gradient.
    """
    leaves, rebuild = flatten((args, kwargs))
    leaves = [(instead or {}).get(id(x), x) for x in leaves]
    places = [i for i, x in enumerate(leaves) if is_theirs(x)]
    arrays = [leaves[i] for i in places]
    row = Row(f, rebuild, leaves, places)
    if any(map(requires_grad, leaves)):
        raise TypeError(
            f"{row.name} is called by another library, and a Value that requires grad among its "
            "arguments would not hear of its gradient: pass that library's array"
        )
    row.modules = modules_in([args, kwargs])
    for i in places:
        leaves[i] = None
    return row, arrays


class Run:
    """One run of `f` on arrays: the arrays `ys` that it returned, and the way back from them. `put`
    makes its result again around other ones.

    `f` is given Values of floats, and integers as they are; all of them read-only, and not copied.
    `wanted`: the arrays whose gradients may be asked for. ValueError where the result depends on
    another Value that requires grad.
    """

    def __init__(self, name: str, f: Function, xs: Sequence[Array], wanted: Sequence[int]) -> None:
        self.buffers: list[Any] = []
        args = [x if i in wanted else constant(x) for i, x in enumerate(xs)]
        self.call = noting_buffers(
            self.buffers, Call, name, f, args, tuple(wanted), {}, has_aux=False
        )
        results, rebuild = flatten(self.call.out)
        places = [i for i, y in enumerate(results) if is_numbers(y)]
        self.ys = [results[i] for i in places]
        if lost := outer_nodes(self.ys, self.call.since):
            raise ValueError(
                f"{name} reads a Value of shape {lost[0].data.shape} that requires grad and is no "
                "argument, so its gradient would be lost: pass it as an argument"
            )
        self.put = partial(put, rebuild, places, [None if is_numbers(y) else y for y in results])

    def pull(self, gs: Sequence[Array | None]) -> list[Array | None]:
        """The gradients of the wanted arrays, for the cotangents of `ys`. None stands for 0."""
        seeds: dict[Any, Array] = {}
        for y, g in zip(self.ys, gs):
            if g is not None and requires_grad(y):
                g = g[()]
                seeds[y.node] = seeds[y.node] + g if y.node in seeds else g
        found = cotangents(seeds, wrt=self.call.nodes) if seeds else {}
        return [found.get(node) for node in self.call.nodes]


def put(rebuild: Rebuild, places: Sequence[int], leaves: Sequence[Any], xs: Sequence[Any]) -> Any:
    """A container with `xs` in these places of its leaves."""
    filled = list(leaves)
    for i, x in zip(places, xs):
        filled[i] = x
    return rebuild(filled)


def pulled(
    name: str,
    f: Function,
    n: int,
    wanted: Sequence[int],
    chosen: Sequence[int],
    buffers: Sequence[Any] = (),
) -> Function:
    """The way back as a function: of `n` arrays, and the cotangents of the `chosen` of `ys`.

    `f` computes again, from the `buffers` that were replaced and the numbers that were drawn.
    """

    def gradients(*args: Any) -> list[Array]:
        primals, argnums = args[:n], tuple(wanted)
        call = forgetting_buffers(buffers, Call, name, f, primals, argnums, {}, has_aux=False)
        ys = [as_constant(y) for y in flatten(call.out)[0] if is_numbers(y)]
        found: list[Array] = call.gradients([ys[i] for i in chosen], args[n:])
        return found

    return gradients


def constant(x: Any) -> Any:
    """What a function of ours is given of an array without a gradient."""
    if isinstance(x, Value):
        return x
    x = kept(x)
    x = kind_of(x).locked(x)
    return Value.of(leaf(x)) if is_inexact(x.dtype) else x


def is_numbers(x: Any) -> bool:
    """Whether a result is an array, or a number of NumPy; Python's stay what they are."""
    return hasattr(x, "dtype")


def mapped(vmap: Function, f: Function, k: int, xs: Sequence[Any]) -> Any:
    """`f` of each example, by a library's `vmap`: the arrays have `k` leading axes, of size 1 where
    they do not vary. The result has those axes over which any of them does.
    """
    for j in reversed(range(k)):
        axes = tuple(None if x.shape[j] == 1 else 0 for x in xs)
        if any(axis is not None for axis in axes):
            f = vmap(f, axes)
    return f(*(x.reshape([n for n in x.shape[:k] if n != 1] + [*x.shape[k:]]) for x in xs))


@contextmanager
def naming(name: str, library: str) -> Iterator[None]:
    """What goes wrong inside says where."""
    try:
        yield
    except Exception as error:
        note = f"in {name}, at the border to {library}"
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        raise
