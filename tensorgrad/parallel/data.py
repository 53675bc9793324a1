"""data_parallel: a training step that many processes take together, each with a part of the batch.

Every rank has the whole model. Each computes the gradient of its part, weighted by the part's share
of the batch; the sum over the ranks is the batch's gradient, and the same update follows in each.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from tensorgrad.amp import infinite
from tensorgrad.compiler import compile
from tensorgrad.compiler.capture import SEVERED
from tensorgrad.compiler.tracer import writing
from tensorgrad.engine.arrays import kind_of
from tensorgrad.engine.backprop import observing
from tensorgrad.engine.node import Node, data_of
from tensorgrad.engine.short import kept
from tensorgrad.extras import whole
from tensorgrad.graph.debug import birth
from tensorgrad.nn.loss import divisors
from tensorgrad.nn.module import Module
from tensorgrad.nn.normalization import adders
from tensorgrad.optim import Optimizer
from tensorgrad.parallel.buckets import Bucket, Underway, add_up, buckets_of
from tensorgrad.parallel.collectives import allreduce
from tensorgrad.parallel.ranks import Ranks, digest, digest_of, everywhere, world
from tensorgrad.parallel.zero import ShardedState
from tensorgrad.random import default, generators_of
from tensorgrad.train.batches import rows
from tensorgrad.train.step import Accumulated, Step, origin
from tensorgrad.value import Value


class DataParallel(Step):
    """A step taken by many processes: what `data_parallel` makes of others."""

    peers: Ranks
    deterministic = False
    check_every = 100
    weigh: Callable[..., float] | None = None
    batch_norm = False
    overlap = True
    broadcast: bool | None = None
    compile: bool | str = False

    def __init__(
        self, model: Module, loss: Callable[..., Any], optimizer: Optimizer, **settings: Any
    ) -> None:
        super().__init__(model, loss, optimizer, **settings)
        self.begin(None)

    def begin(self, ranks: Ranks | None) -> None:
        """Before the first step."""
        self.plain = dict(self.__dict__)  # of the step that this was made of
        self.peers = ranks or world()
        self.taken, self.seen = 0, False
        self.weight = 0.0  # of this rank's part of the batch
        self.own: Any = None  # the part's loss
        self.found = ""  # where this rank found the first NaN or Inf
        self.programs: tuple[Any, Any] | None = None  # the gradients', and the update's
        self.swept = False
        self.nodes: list[Node] = []
        self.buckets: list[Bucket] = []

    def _take(self, loss_of: Callable[[bool], Any]) -> Any:
        if self.peers.size == 1:
            loss = super()._take(loss_of)
            return loss.value() if isinstance(loss, Pending) else loss
        if writing.get() is not None:
            raise TypeError(
                "many processes meet within a step, which is no single program: "
                "data_parallel(step, compile=True), not tg.compile(step)"
            )
        if not self.taken:
            self.start()
        elif self.taken % self.check_every == 0:
            self.compare(f"after step {self.taken}")
        loss = super()._take(loss_of)
        self.taken += 1
        for name, x in self.model.named_buffers():  # statistics of batches: rank 0's are kept
            put_buffer(self.model, name, self.peers.share(x))
        return loss.value() if isinstance(loss, Pending) else loss

    # The start.

    def start(self) -> None:
        """All begin with what rank 0 has. ValueError that names what cannot be the same."""
        self.peers.compare(self.described())
        if (odd := self.peers.odd(self.digests())) and self.broadcast is not True:
            said = f"at the start, {odd}: is it drawn by another seed (tg.manual_seed)?"
            if self.broadcast is False:
                raise everywhere(ValueError(said))
            if self.peers.rank == 0:
                warnings.warn(
                    f"{said} All begin with rank 0's; data_parallel(..., broadcast=True) says that "
                    "this is meant",
                    RuntimeWarning,
                    stacklevel=2,
                )
        for p in self.parameters().values():
            p.node.data = kept(self.peers.share(p.node.data)[()])
        for name, x in self.model.named_buffers():
            put_buffer(self.model, name, self.peers.share(x))
        self.peers.agree({"the optimiser's state": digest(self.optimizer_state())}, "at the start")
        self.spread()

    def parameters(self) -> dict[str, Value]:
        """Those of the model, by name, and what else the optimiser has."""
        named = dict(self.model.named_parameters())
        own = {p.node for p in named.values()}
        others = enumerate(self.optimizer.params)
        return named | {f"{i} of the optimiser": p for i, p in others if p.node not in own}

    def generators(self) -> dict[str, np.random.Generator]:
        """What draws, besides the program's generator."""
        holders: list[tuple[str, Any]] = [
            (f"layer {name}", module) for name, module in self.model.named_modules()
        ]
        holders += [("the loss", self.loss), ("the step", self), ("the optimiser", self.optimizer)]
        return {
            f"the {name} of {who}": rng
            for who, x in holders
            for name, rng in generators_of(x).items()
        }

    def digests(self) -> dict[str, bytes]:
        """Of the numbers that all begin with."""
        found = {
            f"parameter {name}": digest([p.node.data]) for name, p in self.parameters().items()
        }
        found |= {f"buffer {name}": digest([x]) for name, x in self.model.named_buffers()}
        return found | {
            name: digest_of(repr(rng.bit_generator.state))
            for name, rng in self.generators().items()
        }

    def described(self) -> dict[str, str]:
        """What is to be the same in all ranks, in words."""
        kinds = {"the optimiser": self.optimizer, "the step": self}
        kinds |= {
            f"layer {name}" if name else "the model": x for name, x in self.model.named_modules()
        }
        found = {name: f"a {type(x).__name__}" for name, x in kinds.items()}
        for name, p in self.parameters().items():
            if kind_of(p.node.data).rank:
                raise TypeError(
                    f"parameter {name} is of {type(p.node.data).__name__}: many processes train "
                    "NumPy's parameters"
                )
            frozen = "" if p.requires_grad else ", frozen"
            found[name] = f"{p.dtype} {p.shape}{frozen}"
        found |= {name: f"{x.dtype} {x.shape}" for name, x in self.model.named_buffers()}
        found["the precision"] = str(self.precision)
        for i, p in enumerate(self.optimizer.params):
            found[f"parameter {i} of the optimiser"] = f"{p.dtype} {p.shape}"
        for i, group in enumerate(self.optimizer.param_groups):
            settings = {k: str(x) for k, x in group.items() if k != "params"}
            found |= {f"{k} of the optimiser's group {i}": x for k, x in settings.items()}
        divided = isinstance(self.optimizer, ShardedState)
        found["the optimiser's state"] = "divided" if divided else "whole"
        names = ("deterministic", "check_every", "batch_norm", "overlap", "broadcast", "compile")
        for name in names:
            found[f"data_parallel's {name}"] = f"{getattr(self, name)}"
        found |= dict.fromkeys(self.generators(), "a generator")
        return found

    def optimizer_state(self) -> list[Any]:
        """What is to be the same in all ranks of it."""
        if isinstance(self.optimizer, ShardedState):  # each has its part
            return []
        state = self.optimizer.state
        return [x for p in self.optimizer.params if p in state for x in state[p]]

    def spread(self) -> None:
        """Generators that draw on from where rank 0's are, but far from each other: masks of
        dropout are not the same in all parts of a batch."""
        found = [default(), *self.generators().values()]
        for rng in {id(rng): rng for rng in found}.values():
            source = rng.bit_generator
            source.state = pickle.loads(self.peers.bytes_of_all(pickle.dumps(source.state))[0])
            if self.peers.rank and hasattr(source, "jumped"):
                source.state = source.jumped(self.peers.rank).state

    def compare(self, where: str) -> None:
        """ValueError in all ranks where their parameters have become different."""
        found = {
            f"parameter {name}": digest([p.node.data]) for name, p in self.parameters().items()
        }
        found["the optimiser's state"] = digest(self.optimizer_state())
        if self.scaler is not None:
            found["the scaler"] = digest(self.scaler.buffers())
        self.peers.agree(found, where)

    # The step.

    def once(self, again: bool) -> Callable[..., Any]:
        forward = super().once(again)
        if self.compile and not again and writing.get() is None:
            return self.pending
        return forward if self.peers.size == 1 else lambda *batch: self.weighed(forward, batch)

    def weighed(self, forward: Callable[..., Value], batch: tuple[Any, ...]) -> Value:
        """The loss of this rank's part, whose weight is by what the loss divides."""
        if not self.seen:
            self.look(batch)
        if not rows(batch[-1]) and not self.batch_norm:
            self.weight = 0.0
            return Value(0.0)
        adding = adders.set(partial(allreduce, ranks=self.peers) if self.batch_norm else None)
        try:
            if not rows(batch[-1]):  # the others wait for its sums, which are 0
                self.weight = 0.0
                return np.sum(self.model(*batch[:-1]))  # type: ignore[no-any-return]
            loss, heard = hearing(forward, batch)
        finally:
            adders.reset(adding)
        self.weight = self.weight_of(batch, heard)
        return loss

    def weight_of(self, batch: tuple[Any, ...], heard: list[Any]) -> float:
        """By what the loss of a part divides."""
        if self.weigh is not None:
            return float(self.weigh(*batch))
        if not heard:
            return float(np.size(data_of(batch[-1])))
        found = {*map(float, heard)}
        if len(found) > 1:
            raise ValueError(
                "the loss is made of means by several sums of weights: data_parallel(..., "
                "weight=f), f(*batch), says what a part weighs in its batch"
            )
        return found.pop()

    # Compiled: the gradients of the part are one program, the update another, and between them the
    # ranks meet.

    def pending(self, *batch: Any) -> Pending:
        """What `sweep` computes, loss and gradients at once."""
        if not self.seen and self.peers.size > 1:
            self.look(batch)
        return Pending(batch)

    def compiled(self) -> tuple[Any, Any]:
        """The two programs. They are not to depend on what a step keeps of itself here, which is
        another each time: so they are of a copy of the step that this was made of."""
        if self.programs is None:
            if self.batch_norm:
                raise everywhere(
                    ValueError("compile=True with batch_norm=True: choose one of them")
                )
            backend: Any = "numpy" if self.compile is True else self.compile
            inner: Any = object.__new__(type(self))
            optimizer = self.optimizer

            def gradients(*batch: Any) -> Any:
                loss, heard = hearing(inner.in_precision, batch)
                optimizer.zero_grad()
                loss.backward(inner.seed(loss))
                return loss, heard

            usual = type(optimizer).step is Optimizer.step
            self.inner = inner
            self.programs = (
                compile(gradients, backend=backend),
                compile(optimizer.step, backend=backend) if usual else None,
            )
        self.inner.__dict__.update((k, self.__dict__[k]) for k in self.plain)
        return self.programs

    def descend(self, evaluate: Callable[[], Value]) -> Any:
        update = self.compiled()[1] if self.compile and writing.get() is None else None
        if update is None:
            return super().descend(evaluate)
        loss = evaluate()
        update()
        return loss

    def look(self, batch: tuple[Any, ...]) -> None:
        """A warning where all ranks were given the same."""
        self.seen = True
        found = [data_of(x) for x in batch if isinstance(data_of(x), np.ndarray)]
        digests = self.peers.bytes_of_all(digest(found))
        if len({*digests}) == 1 and found and self.peers.rank == 0:
            warnings.warn(
                "every rank was given the same batch, so each does the work of all: "
                "parallel.Shards(batches) gives each its part",
                RuntimeWarning,
                stacklevel=2,
            )

    def backward(self, loss: Any) -> None:
        self.swept = False
        super().backward(loss)
        if not self.swept and self.peers.size > 1:
            raise TypeError(
                f"{type(self).__name__}.backward does not call super().backward(loss), which adds "
                "up the gradients of all ranks"
            )

    def sweep(self, loss: Any) -> None:
        """This rank's sweep, and the sum of all ranks' gradients, and losses."""
        if self.peers.size == 1 and not isinstance(loss, Pending):
            super().sweep(loss)
            self.swept = False  # nothing that others would have to be told
            return
        self.sort()
        hopes = self.overlap and len(self.buckets) > 1 and not isinstance(loss, Pending)
        underway = Underway(self.buckets, self.peers, self.deterministic)
        around = partial(observing, underway) if hopes else nullcontext
        scale = total = 1.0
        if isinstance(loss, Accumulated):
            loss.last = around
            super().sweep(loss)  # has the shares
        else:
            if isinstance(loss, Pending):
                self.run(loss)
            value = self.weight * loss.item() if self.weight else 0.0
            weight, total = self.peers.total(self.weight, value, at="a loss")
            if not weight > 0:
                raise everywhere(ValueError("a batch of which no target counts, in any rank"))
            total, scale = total / weight, self.weight / weight
            if not isinstance(loss, Pending) and (self.weight or self.batch_norm):
                with around():
                    loss.backward(self.seed(loss, scale))
                scale = 1.0
        if not (hopes and underway.finish()):
            # what needed care once will need it again; but a scale overflows now and then
            self.overlap = self.overlap and not (hopes and self.scaler is None)
            self.add_up(scale)
        if isinstance(loss, Accumulated):
            (total,) = self.peers.total(loss.data, at="the losses of accumulated batches")
            loss.data = np.float64(total)
        elif isinstance(loss, Pending):
            self.own, loss.data = loss.data, loss.data.dtype.type(total)
        else:
            self.own, loss.node.data = loss.node.data, loss.dtype.type(total)
        self.swept = True

    def run(self, loss: Pending) -> None:
        """The program of the gradients, where there are examples."""
        self.weight = 0.0
        if rows(loss.batch[-1]):
            found, heard = self.compiled()[0](*loss.batch)
            loss.data, self.weight = found.data, self.weight_of(loss.batch, heard)
            if found.node.op is not SEVERED:  # the function itself ran, with a graph to look into
                loss.node = found.node

    def sort(self) -> None:
        """The parameters that learn, into buckets."""
        nodes = [p.node for p in self.optimizer.params if p.node.requires_grad]
        if nodes != self.nodes:  # some were frozen, it may be
            self.nodes, self.buckets = nodes, buckets_of(nodes)

    def add_up(self, scale: float) -> None:
        if self.peers.size > 1:
            add_up(self.buckets, self.peers, self.deterministic, scale)

    def check(self, loss: Any) -> None:
        """As of any step. The loss and the gradients are all ranks', and so is the error, which
        says what the first rank has found that made a NaN or Inf."""
        if not self.swept:  # one of several batches: the others are told after the last
            if self.peers.size == 1:
                super().check(loss)
            elif not self.found and self.infinite(loss):
                self.found = origin(loss, self.model)
            return
        found, self.found = self.found, ""
        if not self.infinite(loss):
            return
        if not found and self.weight and loss.node is not None:
            loss.node.data = self.own  # what this rank computed
            if birth(loss.node) is not None:
                found = origin(loss, self.model)
        said = [text.decode() for text in self.peers.bytes_of_all(found.encode())]
        where = next((f"in rank {i}, {text}" for i, text in enumerate(said) if text), "on the way")
        raise everywhere(
            FloatingPointError(
                f"the loss or a gradient is not finite: {where}. The parameters are as they were "
                "before this step"
            )
        )

    def infinite(self, loss: Any) -> bool:
        """Whether a NaN or Inf is in the loss, or a gradient."""
        gradients = [data_of(p.node.grad) for p in self.optimizer.params if p.node.grad is not None]
        return any(map(infinite, [loss.data, *gradients]))


class Pending:
    """The loss of a part of a batch whose gradient a compiled function computes with it."""

    node: Any = None

    def __init__(self, batch: tuple[Any, ...]) -> None:
        self.batch, self.data = batch, np.float64(0.0)

    def item(self) -> float:
        return float(self.data)

    def value(self) -> Value:
        """For the caller."""
        return Value(self.data, requires_grad=False)


def hearing(forward: Callable[..., Value], batch: tuple[Any, ...]) -> tuple[Value, list[Any]]:
    """The loss, and by which sums of weights its means divide."""
    heard: list[Any] = []
    before = divisors.set(heard)
    try:
        return forward(*batch), [*map(data_of, heard)]
    finally:
        divisors.reset(before)


def put_buffer(model: Module, name: str, x: Any) -> None:
    """A buffer has new numbers, in place: others may hold it."""
    model.get_buffer(name)[...] = x


def data_parallel(
    step: Any,
    loss: Callable[..., Any] | None = None,
    optimizer: Optimizer | None = None,
    *,
    weight: Callable[..., float] | None = None,
    deterministic: bool = False,
    check_every: int = 100,
    batch_norm: bool = False,
    overlap: bool = True,
    broadcast: bool | None = None,
    compile: bool | str = False,
    ranks: Ranks | None = None,
) -> Any:
    """A training step that all processes of an MPI job take, each with its part of the batch.

    `step`: a Step; a class of steps, such as `clipped(norm=1.0)`, and a class comes back; or a
    model, with its loss and optimiser, as `fit(..., step=data_parallel)` calls it. The steps are
    those that one process takes with the whole batch, to rounding. The loss that is returned is the
    whole batch's, too.

    The loss is a mean over the batch. A part weighs what its mean divides by: the sum of the
    weights that the losses of `nn` divide by (`ignore_index`, class weights), otherwise how many
    targets it has. `weight(*batch)`: says it, where the loss divides by something else. A part may
    be empty.

    At the start all have rank 0's parameters and buffers, and its generators, each at a place of
    its own. Where others had other numbers, a RuntimeWarning names the first: `broadcast=True` says
    that this is meant, False makes it a ValueError. Every `check_every` steps parameters are
    compared. Buffers, such as running statistics, are rank 0's after each step.

    `deterministic`: gradients are added in the order of the ranks, bit for bit as `Step.accumulate`
    adds the parts' in one process; it takes the memory and time of as many gradients as there are
    ranks. `batch_norm`: batch norms have the mean and variance of the whole batch, not of their
    part. `overlap`: of more than a megabyte of gradients the last layers' travel while the first
    layers' are computed, of accumulated batches the last one's; not with `batch_norm`, nor after a
    step in which a slope was not finite. `compile`: the gradients of a part are a program of
    `tg.compile`, the update is another, and what the ranks exchange is between them, without
    overlap; or by which `backend`, "llvm". `ranks`: those that take part, by default all of the
    job.

    ImportError without mpi4py (extra `mpi`). ValueError, in all ranks and before any step, where
    models, their parameters' shapes and dtypes, optimisers or settings are not the same, which
    names the first; later, where parameters have become different. TypeError for parameters that
    are not NumPy's. FloatingPointError in all ranks, where a loss or gradient is not finite in one.
    Any other error in one rank ends all.

    Li et al. (2020), PyTorch Distributed.
    """
    settings: Mapping[str, Any] = {
        "weigh": weight if weight is None else staticmethod(weight),
        "deterministic": deterministic,
        "batch_norm": batch_norm,
        "overlap": overlap and not batch_norm,
        "broadcast": broadcast,
        "compile": compile,
        "check_every": whole("check_every", check_every),
    }
    if isinstance(step, type) and issubclass(step, Step) and loss is None:
        return type(step.__name__, (DataParallel, step), dict(settings))
    if isinstance(step, Module):
        if loss is None or optimizer is None:
            raise TypeError("data_parallel takes a Step, or a model, its loss and its optimiser")
        step = Step(step, loss, optimizer)
    if not isinstance(step, Step):
        raise TypeError(f"data_parallel takes a Step, not {step!r:.60}")
    kind = type(type(step).__name__, (DataParallel, type(step)), dict(settings))
    made: Any = object.__new__(kind)
    made.__dict__.update(step.__dict__)
    made.begin(ranks)
    return made
