"""PyTorch: `torch_function` for functions and Modules of ours, `from_torch` for its own.

The CPU's tensors and NumPy's arrays are the same memory, both ways. A function of ours is given
read-only arrays. A function of PyTorch's is given a read-only array itself only where PyTorch
refuses to write into it, which it does where a gradient is wanted; else a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from functools import wraps
from typing import Any, Self

import numpy as np
import torch

from tensorgrad.engine.arrays import to_numbers
from tensorgrad.engine.batching import one_by_one
from tensorgrad.engine.node import Array, data_of, leaf
from tensorgrad.engine.short import kept
from tensorgrad.interop.ours import Run, in_a_row, naming, pulled
from tensorgrad.interop.theirs import Pull, operation
from tensorgrad.nn.module import Module, replace
from tensorgrad.transforms.custom import name_of
from tensorgrad.transforms.vmap import vmap
from tensorgrad.value import Value

Function = Callable[..., Any]
Tensor = Any  # torch.Tensor: a peer's types are not looked at


def torch_function(f: Any) -> Any:
    """A function of ours as one of PyTorch's: of tensors, differentiated by `backward()`,
    `torch.autograd` and `torch.func`, to any order. Of a Module a `torch.nn.Module`.

    `f` takes and returns arrays in any containers that the transforms take; of floating tensors it
    is given Values, of others arrays, read-only, and what it makes is handed out as it is. What no
    tensor is, is passed on. Gradients are computed for the tensors that require grad.

    The parameters of a Module become `torch.nn.Parameter`s that share its memory, under the same
    names, and so do its buffers: `torch.optim` trains it, `state_dict` saves it, `train()` and
    `eval()` reach it. (A parameter that is a number has no memory to share: it is handed over at
    each call.)

    A gradient of a gradient computes `f` again. Forward mode is refused by PyTorch.
    TypeError for tensors that are not on the CPU, or of a dtype that NumPy does not have, and for a
    Value that requires grad and is no argument.

    >>> import torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> torch_function(lambda x: np.sum(x**3))(x).backward()
    >>> x.grad
    tensor([ 3., 12.])
    """
    if isinstance(f, Module):
        return TorchModule(f)
    if not callable(f) or isinstance(f, torch.nn.Module):
        theirs = ", which is PyTorch's" * callable(f)
        raise TypeError(
            f"torch_function takes a function or a Module of ours, not a {type(f).__name__}{theirs}"
        )

    @wraps(f, updated=())
    def call(*args: Any, **kwargs: Any) -> Any:
        row, xs = in_a_row(f, args, kwargs, is_tensor)
        ys, put = crossed(row.name, row, xs)
        return put(ys)

    return call


def from_torch(f: Any) -> Any:
    """A function of PyTorch's as one of ours: on Values and arrays, with the gradients of
    `torch.autograd`, to any order. Of a `torch.nn.Module` a Module.

    `f` is given tensors, of the same memory, in place of Values and arrays, in any containers; it
    returns tensors in any. What it closes over is a constant. In `tg.vmap` it is called for each
    example. Results and gradients have its dtypes.

    The parameters of a `torch.nn.Module` become Values that share its memory, under the same names,
    and so do its buffers: optimisers here train it.

    TypeError where it returns tensors that NumPy does not have, or that are not on the CPU.

    >>> import torch
    >>> import tensorgrad as tg
    >>> softplus = from_torch(torch.nn.functional.softplus)
    >>> tg.grad(lambda x: np.sum(softplus(x) * x))(np.array([0.0, 1.0])).round(3)
    array([0.693, 2.044])
    """
    if isinstance(f, torch.nn.Module):
        return OurModule(f)
    if not callable(f) or isinstance(f, Module):
        ours = ", which is ours" * callable(f)
        raise TypeError(
            f"from_torch takes a function or a Module of PyTorch's, not a {type(f).__name__}{ours}"
        )
    return operation(PyTorch(), name_of(f), f)


# Tensors and arrays.


def is_tensor(x: Any) -> bool:
    return isinstance(x, torch.Tensor)


def check(name: str, x: Tensor) -> None:
    """TypeError for a tensor that NumPy has no array for."""
    if x.device.type != "cpu":
        raise TypeError(
            f"{name}: a tensor on {x.device}, and tensorgrad computes on the CPU: pass x.cpu(), "
            f"and move the result with .to({str(x.device)!r})"
        )
    if x.layout != torch.strided:
        raise TypeError(f"{name}: a tensor of layout {x.layout}: pass x.to_dense()")
    if x.dtype not in DTYPES:
        raise TypeError(f"{name}: NumPy has no {x.dtype}: pass x.float()")


DTYPES = {
    torch.from_numpy(np.zeros(1, dtype)).dtype
    for dtype in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", *"efdFD")
}
"""The dtypes that both have."""


def array_of(x: Tensor) -> Array:
    """The array in a tensor's memory, copied only where that holds conjugates or negatives."""
    return x.detach().resolve_conj().resolve_neg().numpy()


def tensor_of(x: Any) -> Tensor:
    """The tensor in an array's memory; of a copy where tensors cannot lie as it does. TypeError for
    a dtype that PyTorch does not have.
    """
    x = np.asarray(to_numbers(x))
    if any(stride < 0 or stride % x.itemsize for stride in x.strides) or not x.dtype.isnative:
        x = x.astype(x.dtype.newbyteorder("="), order="C")
    try:
        return torch.from_dlpack(x)
    except BufferError:
        raise TypeError(f"PyTorch has no {x.dtype}: pass x.astype(np.float64)") from None


def handed_out(y: Any, others: Sequence[Array]) -> Tensor:
    """A result as a tensor; a copy where it may not be written into, or is a view of another array,
    as PyTorch would not know."""
    y = np.asarray(to_numbers(data_of(y)))
    if not y.flags.writeable or any(np.may_share_memory(y, x) for x in others):
        y = y.copy()
    return tensor_of(y)


def turned(g: Any) -> Any:
    """A cotangent as the other library has it: by x + iy PyTorch's is ours conjugated. (Of arrays,
    Values and tensors.)"""
    return g.conj() if g.dtype in COMPLEX else g


COMPLEX = {torch.complex64, torch.complex128, np.dtype("c8"), np.dtype("c16")}


def differs(x: Tensor) -> bool:
    """Whether a tensor may have a gradient."""
    return bool(x.is_floating_point() or x.is_complex())


# Ours in PyTorch.


class Ours:
    """A function of ours about to be run on tensors. `wanted`: those that want a gradient."""

    def __init__(self, name: str, f: Function, wanted: Sequence[int]) -> None:
        self.name, self.f, self.wanted = name, f, wanted
        self.run: Run | None = None
        self.buffers: list[Any] = []
        self.put: Function = list


def crossed(name: str, f: Function, xs: Sequence[Tensor]) -> tuple[tuple[Tensor, ...], Function]:
    """The tensors that `f` makes of `xs`, and what puts them into its containers."""
    for x in xs:
        check(name, x)
    recorded = torch.is_grad_enabled()
    wanted = [i for i, x in enumerate(xs) if recorded and x.requires_grad and differs(x)]
    ours = Ours(name, f, wanted)
    ys: tuple[Tensor, ...] = Crossing.apply(ours, *xs)
    return ys, ours.put


class Crossing(torch.autograd.Function):  # type: ignore[misc]
    """A function of ours in PyTorch's graph."""

    @staticmethod
    def forward(ours: Ours, *xs: Tensor) -> tuple[Tensor, ...]:
        seen = [array_of(x) for x in xs]
        with naming(ours.name, "PyTorch"):
            run = Run(ours.name, ours.f, [*map(kept, seen)], ours.wanted)
            ys = []
            for y in run.ys:
                ys.append(handed_out(y, seen))
                seen.append(array_of(ys[-1]))
        ours.run, ours.buffers, ours.put = run, run.buffers, run.put
        return tuple(ys)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ours, *xs = inputs
        # our graph is kept and let go with what PyTorch saves, which sees who writes into it
        graph: Any = torch.empty(0)
        graph.run, ours.run = ours.run, None
        ctx.ours, ctx.n = ours, len(xs)
        ctx.save_for_backward(graph, *xs, *output)
        ctx.mark_non_differentiable(*(y for y in output if not differs(y)))
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, *gs: Any) -> Any:
        graph, *saved = ctx.saved_tensors
        run, ours, n = getattr(graph, "run", None), ctx.ours, ctx.n
        wanted = [i for i in ours.wanted if ctx.needs_input_grad[1 + i]]
        chosen = [i for i, g in enumerate(gs) if g is not None]
        if not wanted or not chosen:
            return (None,) * (1 + n)
        name = f"the gradient of {ours.name}"
        if run is not None and not torch.is_grad_enabled():
            with naming(name, "PyTorch"):
                found = run.pull([None if g is None else turned(kept(array_of(g))) for g in gs])
            made = (None if g is None else tensor_of(turned(g)) for g in found)
            grads: dict[int, Any] = dict(zip(ours.wanted, made))
        else:
            back = turned_back(pulled(ours.name, ours.f, n, wanted, chosen, ours.buffers), n)
            cotangents = [gs[i] for i in chosen]
            grads = dict(zip(wanted, crossed(name, back, [*saved[:n], *cotangents])[0]))
        return None, *map(grads.get, range(n))

    @staticmethod
    def vmap(info: Any, in_dims: Any, ours: Ours, *xs: Tensor) -> Any:
        ys, ours.put = crossed(ours.name, vmap(ours.f, tuple(in_dims[1:])), xs)
        return ys, (0,) * len(ys)


def turned_back(back: Function, n: int) -> Function:
    """The way back, of cotangents as PyTorch has them."""
    return lambda *args: [turned(g) for g in back(*args[:n], *map(turned, args[n:]))]


class Bond:
    """A Module of ours and one of PyTorch's with parameters and buffers of the same names: in one
    memory. What one of them replaced, the other takes; `ours` first."""

    def __init__(self, ours: Module, theirs: torch.nn.Module) -> None:
        self.ours, self.theirs = ours, theirs
        self.seen: dict[str, Array] = {}
        self.busy = False

    def renew(self) -> dict[int, Tensor]:
        """Let both hold the same again. The tensors, by the ids of what is theirs here."""
        there: dict[int, Tensor] = {}
        buffers: dict[int, Array] = {}
        tensors = dict(arrays_of(self.theirs))
        for name, x in arrays_of(self.ours):
            if name not in tensors:
                made = "from_torch" if hasattr(self.ours, "_net") else "torch_function"
                raise ValueError(f"{name!r} is on one side of the border only: call {made} again")
            data, tensor = data_of(x), tensors[name]
            there[id(x)] = tensor
            if isinstance(x, Value) and (
                x.node.op is not None or not isinstance(tensor, torch.nn.Parameter)
            ):
                continue  # lent for a call: by amp.autocast, by torch.func.functional_call
            check(name, tensor)
            held = array_of(tensor)
            if not same(data, held):
                if data is not self.seen.get(name):
                    tensor.data = tensor_of(data if data.flags.writeable else data.copy())
                    held = array_of(tensor)
                if isinstance(x, Value):
                    x.node.data = data = kept(held[()])
                else:
                    buffers[id(x)] = data = held
            self.seen[name] = data
        if buffers:
            replace(self.ours, buffers)
        return there


def arrays_of(module: Any) -> Iterator[tuple[str, Any]]:
    """The parameters and buffers of a Module, ours or PyTorch's, by name."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def same(x: Array, y: Array) -> bool:
    """Whether two arrays are the same memory, in the same way. (A number never is.)"""
    places = [a.__array_interface__["data"][0] for a in (x, y)]
    return (x.dtype, x.shape, x.strides, places[0]) == (y.dtype, y.shape, y.strides, places[1])


class TorchModule(torch.nn.Module):  # type: ignore[misc]
    """A Module of ours among PyTorch's."""

    def __init__(self, model: Module) -> None:
        super().__init__()
        transient = {id(x) for m in model.modules() for x in map(vars(m).get, m._transient)}
        for name, x in arrays_of(model):
            *path, last = name.split(".")
            holder: torch.nn.Module = self
            for part in path:
                if part not in holder._modules:
                    holder.add_module(part, torch.nn.Module())
                holder = holder.get_submodule(part)
            empty = torch.empty(0, dtype=tensor_of(np.empty(0, x.dtype)).dtype)
            if isinstance(x, Value):
                holder.register_parameter(last, torch.nn.Parameter(empty, x.requires_grad))
            else:
                holder.register_buffer(last, empty, persistent=id(x) not in transient)
        self.training, self._remembers = model.training, bool(model.buffers())
        self._bond = Bond(model, self)
        self._bond.renew()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        model, there = self._bond.ours, self._bond.renew()
        row, xs = in_a_row(called(model), (model, *args), kwargs, is_tensor, there)
        ys, put = crossed(row.name, row, xs)
        if self._remembers:
            self._bond.renew()
        return put(ys)

    def train(self, mode: bool = True) -> TorchModule:
        self._bond.ours.train(mode)
        super().train(mode)
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        self._bond.renew()
        return super().state_dict(*args, **kwargs)

    def __getstate__(self) -> Any:
        self._bond.renew()
        return vars(self)

    def __setstate__(self, state: Any) -> None:
        super().__setstate__(state)
        self._bond.renew()  # a copy is one memory as well, before anybody writes into it

    def extra_repr(self) -> str:
        return repr(self._bond.ours)


def called(model: Any) -> Function:
    """The call of a Module, as a function of it."""

    def call(model: Any, *args: Any, **kwargs: Any) -> Any:
        return model(*args, **kwargs)

    call.__name__ = type(model).__name__
    return call


# PyTorch's here.


class PyTorch:
    """What an operation of PyTorch's is asked: see `theirs.Library`."""

    name = "PyTorch"
    is_own = staticmethod(is_tensor)
    batch = staticmethod(one_by_one)

    @staticmethod
    def run(
        f: Function, xs: Sequence[Array], wanted: Sequence[int], k: int
    ) -> tuple[list[Array], Pull]:
        tensors = [entering(x, i in wanted) for i, x in enumerate(xs)]
        with torch.enable_grad() if wanted else nullcontext():
            ys = f(*tensors)
        for y in ys:
            check("the result", y)

        def pull(gs: Sequence[Array]) -> list[Array]:
            floats = [y for y in ys if differs(y)]
            seeds = [turned(tensor_of(g)) for g in gs]
            found = slopes(floats, [tensors[i] for i in wanted], seeds, retain_graph=True)
            return [0.0 if g is None else array_of(turned(g)) for g in found]

        return [array_of(y) for y in ys], pull

    @staticmethod
    def pulled(f: Function, n: int, wanted: Sequence[int], chosen: Sequence[int]) -> Function:
        def gradients(*args: Tensor) -> list[Tensor]:
            xs, seeds = list(args[:n]), [turned(g) for g in args[n:]]
            again = any(x.requires_grad for x in args)
            with torch.enable_grad():
                for i in wanted:
                    if not xs[i].requires_grad:
                        xs[i] = xs[i].detach().requires_grad_()
                ys = f(*xs)
                of = [xs[i] for i in wanted]
                found = slopes([ys[i] for i in chosen], of, seeds, create_graph=again)
            return [torch.zeros_like(x) if g is None else turned(g) for x, g in zip(of, found)]

        return gradients


def entering(x: Array, wanted: bool) -> Tensor:
    """An operand. One that may not be written into enters itself only where PyTorch refuses to."""
    x = np.asarray(x)
    if wanted:
        return tensor_of(x).requires_grad_()
    return tensor_of(x if x.flags.writeable else x.copy())


def slopes(ys: Sequence[Tensor], xs: Sequence[Tensor], gs: Sequence[Tensor], **how: bool) -> Any:
    """The gradients of `xs`, None where no y depends on one."""
    pairs = [(y, g) for y, g in zip(ys, gs) if y.requires_grad]
    if not pairs:
        return [None] * len(xs)
    ys, gs = zip(*pairs)
    return torch.autograd.grad(ys, xs, gs, allow_unused=True, **how)


class OurModule(Module):
    """A Module of PyTorch's among ours."""

    def __init__(self, net: torch.nn.Module) -> None:
        for name, x in arrays_of(net):
            check(name, x)
            *path, last = name.split(".")
            holder: Module = self
            for part in path:
                if part not in vars(holder):
                    setattr(holder, part, Module())
                holder = vars(holder)[part]
            data = array_of(x)
            if isinstance(x, torch.nn.Parameter):
                data = Value.of(leaf(kept(data[()]), x.requires_grad))
            setattr(holder, last, data)
        self._net, self.training = net, net.training
        self._bond = Bond(self, net)
        net.register_forward_pre_hook(self._renewed)
        net.register_state_dict_pre_hook(self._renewed)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self._bond.renew()

        def call(state: Any, *args: Any, **kwargs: Any) -> Any:
            self._bond.busy = True
            try:
                return torch.func.functional_call(self._net, state, args, kwargs)
            finally:
                self._bond.busy = False

        call.__name__ = type(self._net).__name__
        return operation(PyTorch(), call.__name__, call)(dict(arrays_of(self)), *args, **kwargs)

    def __repr__(self) -> str:
        return f"from_torch({self._net!r})"

    def _renewed(self, *args: Any, **kwargs: Any) -> None:
        """What was trained here is there where PyTorch asks for it."""
        if not self._bond.busy:
            self._bond.renew()

    def __getstate__(self) -> Any:
        self._bond.renew()
        return vars(self)

    def __setstate__(self, state: Any) -> None:
        vars(self).update(state)
        if vars(self._net):  # else the copy is one of the net, which is not there yet
            self._bond.renew()

    def train(self, mode: bool = True) -> Self:
        self._net.train(mode)
        return super().train(mode)
