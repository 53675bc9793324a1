"""JAX: `jax_function` for functions of ours, `from_jax` for its own.

JAX's arrays are read-only arrays of NumPy's in the same memory. The other way JAX takes memory that
begins at a multiple of 64 bytes, and copies what does not; NumPy's begins at one of 16.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any

import jax
import numpy as np
from jax.custom_derivatives import SymbolicZero

from tensorgrad.engine.arrays import is_array, to_numbers
from tensorgrad.engine.calls import forgetting_buffers
from tensorgrad.engine.dtypes import is_inexact
from tensorgrad.engine.node import NO_PARAMS, Array, data_of, recorder, within
from tensorgrad.engine.primitive import Primitive
from tensorgrad.interop.ours import Row, Run, constant, in_a_row, is_numbers, mapped, naming, pulled
from tensorgrad.interop.theirs import Pull, operation
from tensorgrad.nn.module import Module
from tensorgrad.transforms.custom import name_of
from tensorgrad.transforms.tree import flatten
from tensorgrad.transforms.vmap import vmap

Function = Callable[..., Any]
Struct = Any  # jax.ShapeDtypeStruct: a peer's types are not looked at


def jax_function(
    f: Function, result_shape_dtypes: Any = None, vmap_method: str = "expand_dims"
) -> Function:
    """A function of ours as one of JAX's: a `jax.custom_vjp` through `jax.pure_callback`, which
    works under `jax.jit`, `jax.grad`, `jax.vmap`, to any order of reverse mode.

    `f` takes and returns arrays in any containers that the transforms take; of floating arrays it
    is given Values, of others arrays, read-only. Numbers and what else is no array are passed on as
    they are. Parameters are arguments: `jax_function(lambda state, x: functional_call(model, state,
    x))` takes `model.state_dict()` first.

    `result_shape_dtypes`: arrays or `jax.ShapeDtypeStruct`s like those that `f` returns, in its
    containers. Without it `f` is called once for each new shape of its arguments, with arrays of
    1/2, 1 on the diagonal of matrices, and integers 0.
    `vmap_method`: as `jax.pure_callback` has it. By default all examples come at once, and `f` runs
    in `tg.vmap`; "sequential" calls it for each.

    A gradient computes `f` again. Forward mode (`jax.jvp`, `jax.jacfwd`, and so `jax.hessian`) is
    refused by JAX: write `jax.jacrev(jax.jacrev(f))`. TypeError for a float64, or an integer out of
    reach, where JAX has no 64 bits, and for Values that require grad.

    >>> import jax.numpy as jnp
    >>> energy = jax_function(lambda x: np.sum(x**3))
    >>> jax.jit(jax.grad(energy))(jnp.array([1.0, 2.0], "float32")).tolist()
    [3.0, 12.0]
    """
    if isinstance(f, Module):
        raise TypeError(
            "jax_function takes a function, and the parameters of a Module as an argument: "
            "jax_function(lambda state, x: nn.functional_call(model, state, x))"
        )
    if not callable(f):
        raise TypeError(f"jax_function takes a function, not a {type(f).__name__}")
    known: dict[Any, tuple[Function, Function]] = {}

    @wraps(f, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        row, arrays = in_a_row(f, args, kwargs, is_jax_or_array)
        xs = [entering(row.name, x) for x in arrays]
        key = signature(row, xs)
        found = known.get(key) if key else None
        if found is None:
            found = made(row, xs, result_shape_dtypes, vmap_method)
            if len(known) == MOST:
                known.clear()
            if key:
                known[key] = found
        crossed, put = found
        return put(crossed(*xs))

    return call


MOST = 100  # functions for other shapes, or numbers among the arguments, that are kept


def from_jax(f: Function) -> Function:
    """A function of JAX's as one of ours: on Values and arrays, with the gradients of `jax.vjp`, to
    any order.

    `f` is given JAX's arrays in place of Values and arrays, in any containers; it returns such in
    any. Other arguments (also JAX's own arrays, such as keys) are passed on as they are. In
    `tg.vmap` it runs in `jax.vmap`. Results and gradients have its dtypes; results are read-only.

    TypeError for a float64, or an integer out of reach, where JAX has no 64 bits.

    >>> import tensorgrad as tg
    >>> logsumexp = from_jax(jax.nn.logsumexp)
    >>> tg.grad(logsumexp)(np.zeros(2, np.float32))
    array([0.5, 0.5], dtype=float32)
    """
    if not callable(f) or isinstance(f, Module):
        ours = ", which is ours" * callable(f)
        raise TypeError(f"from_jax takes a function of JAX's, not a {type(f).__name__}{ours}")
    return operation(Jax(), name_of(f), f)


# Arrays.


def is_jax(x: Any) -> bool:
    return isinstance(x, jax.Array)


def is_jax_or_array(x: Any) -> bool:
    return is_jax(x) or is_array(x)


def entering(name: str, x: Any) -> Any:
    """The array as JAX's. TypeError where it would be another number there, or is one of a dtype
    that NumPy does not have."""
    if not is_jax(x):
        return jax.device_put(fitting(name, x))
    check(name, x)
    return x


def check(name: str, x: Any) -> None:
    if getattr(x.dtype, "kind", "V") not in "biufc":
        raise TypeError(f"{name}: NumPy has no {x.dtype}: x.astype('float32') for numbers")


def fitting(name: str, x: Any) -> Array:
    """The array in a dtype that JAX has: integers in fewer bits where these are enough."""
    x = np.asarray(to_numbers(data_of(x)))
    dtype = jax.dtypes.canonicalize_dtype(x.dtype)
    if dtype == x.dtype:
        return x
    reach = np.iinfo(dtype) if dtype.kind in "iu" else None
    if reach is None or (x.size and (x.min() < reach.min or x.max() > reach.max)):
        raise TypeError(
            f"{name}: {x.dtype} needs 64 bits in JAX: jax.config.update('jax_enable_x64', True) at "
            f"the start, or .astype(np.{dtype}) there"
        )
    return x.astype(dtype)


def leaving(name: str, y: Any) -> Array:
    """JAX's array as NumPy's, read-only."""
    check(name, y)
    return np.asarray(y)


# Ours in JAX.


def signature(row: Row, xs: Sequence[Any]) -> Any:
    """What the shapes of the result depend on; None where that cannot be compared."""
    leaves: list[Any] = [(type(x), x) for x in row.leaves]
    for i, x in zip(row.places, xs):
        leaves[i] = x.shape, str(x.dtype)
    key = tuple(leaves), getattr(row.rebuild, "__self__", None)
    try:
        hash(key)
    except TypeError:
        return None
    return key


def made(row: Row, xs: Sequence[Any], like: Any, method: str) -> tuple[Function, Function]:
    """The function of JAX's for arrays like `xs`, and what puts its results into containers."""
    put: Function
    if like is None:
        run = example(row, xs)
        ys, put = run.ys, run.put
        results = flatten(run.call.out)[0]
        if any(isinstance(y, (int, float, complex)) and not is_numbers(y) for y in results):
            raise TypeError(
                f"{row.name} returns a Python number, which JAX would take for a constant: return "
                "an array, or np.float32(number)"
            )
    else:
        ys, put = flatten(like)
    fit = [fitting(f"the result of {row.name}", np.empty(0, y.dtype)).dtype for y in ys]
    outs = [jax.ShapeDtypeStruct(y.shape, dtype) for y, dtype in zip(ys, fit)]
    return crossing(row.name, row, outs, method), put


def example(row: Row, xs: Sequence[Any]) -> Run:
    """A run on arrays of which only the shapes and dtypes count."""
    given = [halves(x.shape, x.dtype) for x in xs]
    try:
        with np.errstate(all="ignore"), jax.ensure_compile_time_eval():
            run: Run = forgetting_buffers([], Run, row.name, row, given, ())
            return run
    except Exception as error:
        error.add_note(
            f"in {row.name}, called with an example to learn the shape of its result: "
            "jax_function(f, result_shape_dtypes=...) tells it"
        )
        raise


def halves(shape: tuple[int, ...], dtype: Any) -> Array:
    """1/2, and 1 on the diagonal of matrices: positive, definite. Integers 0."""
    x = np.full(shape, 0.5).astype(dtype)
    if len(shape) > 1 and is_float(x):
        i = range(min(shape[-2:]))
        x[..., i, i] = 1
    return x


def crossing(name: str, f: Function, outs: Sequence[Struct], method: str) -> Function:
    """`f`, of arrays in a row, as a function of JAX's whose results are like `outs`."""

    def value(*xs: Any) -> Any:
        compute = partial(on_host, name, f, outs, [*map(np.ndim, xs)])
        return jax.pure_callback(compute, list(outs), *xs, vmap_method=method)

    crossed: Function = jax.custom_vjp(value)

    def fwd(*primals: Any) -> Any:
        xs = [jax.numpy.asarray(p.value) for p in primals]
        wanted = [p.perturbed and is_float(p.value) for p in primals]
        return crossed(*xs), (xs, [[()] * yes for yes in wanted])  # a flag may be traced: a length

    def bwd(kept: Any, gs: Any) -> Any:
        xs, asked = kept
        wanted = [i for i, length in enumerate(asked) if length]
        chosen = [i for i, g in enumerate(gs) if type(g) is not SymbolicZero and is_float(outs[i])]
        back = pulled(name, f, len(xs), wanted, chosen)
        likes = [jax.ShapeDtypeStruct(xs[i].shape, xs[i].dtype) for i in wanted]
        pull = crossing(f"the gradient of {name}", back, likes, method)
        found = dict(zip(wanted, pull(*xs, *(gs[i] for i in chosen)))) if wanted else {}
        return tuple(map(found.get, range(len(xs))))

    crossed.defvjp(fwd, bwd, symbolic_zeros=True)  # type: ignore[attr-defined]
    return crossed


def is_float(x: Any) -> bool:
    return is_inexact(x.dtype)


def on_host(
    name: str, f: Function, outs: Sequence[Struct], ndims: Sequence[int], *xs: Any
) -> list[Array]:
    """The results, in NumPy's arrays; of arrays of more axes than `ndims` those of each example."""
    xs = tuple(map(np.asarray, xs))
    k = xs[0].ndim - ndims[0] if xs else 0
    batch = tuple(max(sizes) for sizes in zip(*(x.shape[:k] for x in xs)))

    def plain(*xs: Any) -> list[Any]:
        return [y for y in flatten(f(*map(constant, xs)))[0] if is_numbers(y)]

    with naming(name, "JAX"):
        ys = within(recorder, None, mapped, (vmap, plain, k, xs), NO_PARAMS)
        return [
            fitting(f"the result of {name}", y).reshape(batch + out.shape)
            for y, out in zip(ys, outs)
        ]


# JAX's here.


class Jax:
    """What an operation of JAX's is asked: see `theirs.Library`."""

    name = "JAX"
    is_own = staticmethod(is_jax)

    @staticmethod
    def run(
        f: Function, xs: Sequence[Array], wanted: Sequence[int], k: int
    ) -> tuple[list[Array], Pull]:
        given = [entering("an operand", x) for x in xs]

        def of_wanted(*vs: Any) -> Any:
            filled = list(given)
            for i, v in zip(wanted, vs):
                filled[i] = v
            return mapped(jax.vmap, f, k, filled)

        if not wanted:
            ys = of_wanted()
        else:
            ys, back = jax.vjp(of_wanted, *(given[i] for i in wanted))

        def pull(gs: Sequence[Array]) -> list[Array]:
            rest = iter(gs)
            seeds = [
                entering("a cotangent", next(rest))
                if is_float(y)
                else np.zeros(y.shape, jax.dtypes.float0)
                for y in ys
            ]
            return [np.asarray(g) for g in back(seeds)]

        batch = tuple(max(sizes) for sizes in zip(*(x.shape[:k] for x in xs)))
        kept = sum(n != 1 for n in batch)
        return [leaving("the result", y).reshape(batch + y.shape[kept:]) for y in ys], pull

    @staticmethod
    def pulled(f: Function, n: int, wanted: Sequence[int], chosen: Sequence[int]) -> Function:
        def gradients(*args: Any) -> list[Any]:
            xs = args[:n]

            def of_wanted(*vs: Any) -> Any:
                filled = list(xs)
                for i, v in zip(wanted, vs):
                    filled[i] = v
                ys = f(*filled)
                return [ys[i] for i in chosen]

            _, back = jax.vjp(of_wanted, *(xs[i] for i in wanted))
            return list(back(list(args[n:])))

        return gradients

    @staticmethod
    def batch(
        op: Primitive, batch: tuple[int, ...], xs: list[Array], params: Mapping[str, Any]
    ) -> Array:
        return op.forward(*xs, k=len(batch))
