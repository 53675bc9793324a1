"""Optimizer: applies an update rule to parameters, and keeps the state of each."""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from tensorgrad.engine.arrays import (
    all_to_numbers,
    beside,
    elsewhere,
    is_array,
    is_lazy,
    kind_of,
    met,
    on_entries,
    to_numbers,
)
from tensorgrad.engine.node import Array, data_of
from tensorgrad.engine.short import kept
from tensorgrad.engine.sparse import entries_at, is_sparse, with_entries
from tensorgrad.engine.strangers import called
from tensorgrad.extras import printable
from tensorgrad.value import Value

State = tuple[Array, ...]
NO_STATE = "{}: a rule answers the new parameter and its state, a tuple of arrays, not a {}"
Rule = Callable[..., tuple[Array, State]]

# Adam makes half a dozen arrays on its way. Of a large parameter it makes them block by block:
# 4,000,000 float32 numbers take 10.8 ms where one after the other takes 12.5.
LARGE = BLOCK = 1 << 20  # bytes
REAL = frozenset((np.float64, np.float32, np.float16, np.longdouble))
NUMBERS = frozenset((float, int, bool, type(None), str))


class Optimizer:
    """Applies an update rule to parameters.

    `params`: Values, or groups as dicts `{"params": Values, **other settings}`. The settings are
    the keyword arguments of the rule, and `maximize`, to climb. They are data:
    `param_groups[0]["lr"] = 0.1` counts from the next step on, and what the rule does not have,
    such as a scheduler's `initial_lr`, is kept there and in `state_dict`. `state`: of each
    parameter what the rule returned last.

    ValueError where there are no parameters, for one given twice and for a bad setting, TypeError
    where one is no leaf and a setting no number. Frozen parameters (`requires_grad=False`) get no
    gradient and stay as they are.

    A rule sees real numbers: complex parameters are pairs of them, and the gradient of a real
    function by x + iy, ∂f/∂x - i ∂f/∂y here, is conjugated to the direction of ascent.
    """

    rule: ClassVar[Rule]
    entrywise: ClassVar[bool] = True
    """Whether the rule works entry by entry. Otherwise it sees whole parameters, complex ones too.
    """
    ranges: ClassVar[Mapping[str, float]] = {
        **dict.fromkeys(("lr", "momentum", "weight_decay", "eps", "alpha", "lambd"), math.inf),
        **dict.fromkeys(("lr_decay", "initial_accumulator_value", "momentum_decay"), math.inf),
        "step_sizes": math.inf,
        **dict.fromkeys(("betas", "rho"), 1),
    }
    """Where the range from 0 of a setting, or of each of several, ends."""
    blockwise: ClassVar[bool] = False
    """Whether a large parameter is updated block by block: it pays for rules of many operations."""

    def __init_subclass__(cls) -> None:
        rule = getattr(cls, "rule", None)
        if rule is not None:  # otherwise the class has a step and an __init__ of its own
            _, _, _, *settings = inspect.signature(rule).parameters.values()
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
            arguments = [s.replace(kind=kind) for s in settings if s.kind is s.KEYWORD_ONLY]
            climb = inspect.Parameter("maximize", inspect.Parameter.KEYWORD_ONLY, default=False)
            signature = inspect.Signature([inspect.Parameter("params", kind), *arguments, climb])
            cls.__signature__ = signature  # type: ignore[attr-defined]

    def __init__(self, params: Iterable[Any], *args: Any, **settings: Any) -> None:
        signature = inspect.signature(type(self))
        try:
            given = signature.bind(params, *args, **settings)
        except TypeError as error:
            known = ", ".join(list(signature.parameters)[1:])
            raise TypeError(f"{type(self).__name__}: {error}; it has {known}") from None
        given.apply_defaults()
        if isinstance(params, Value) or not isinstance(params, Iterable):
            raise TypeError(
                f"{type(self).__name__} takes parameters, such as model.parameters() or [w], not "
                f"{type(params).__name__}"
            )
        self.defaults = {k: v for k, v in given.arguments.items() if k != "params"}
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Value, State] = {}
        entries = list(params)
        for group in entries if entries and isinstance(entries[0], dict) else [{"params": entries}]:
            self.add_param_group(group)
        if not self.params:
            raise ValueError(f"{type(self).__name__} got no parameters")

    @property
    def params(self) -> list[Value]:
        """The parameters of all groups."""
        return [p for group in self.param_groups for p in group["params"]]

    @property
    def looks_once(self) -> bool:
        """Whether `step` calls its closure once, before it changes anything."""
        return type(self).step is Optimizer.step

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """More parameters, with settings of their own where the group has some.

        Errors as for the optimiser itself; nothing has changed then.
        """
        if "params" not in group:
            raise ValueError(f"a group is a dict with its 'params', not {dict(group)!r:.60}")
        params = group["params"]
        params = [params] if isinstance(params, Value) else list(params)
        params = [p[1] if isinstance(p, tuple) else p for p in params]  # of named_parameters()
        new = {**self.defaults, **group, "params": params}
        if unknown := group.keys() - self.defaults.keys() - {"params"}:
            raise ValueError(f"{type(self).__name__} has no {', '.join(sorted(unknown))}")
        self._check(**new)
        nodes = [p.node for p in (*self.params, *params)]
        if len(set(nodes)) < len(nodes):
            raise ValueError(
                f"{type(self).__name__} got a parameter twice: each step takes it once"
            )
        self.param_groups.append(new)

    def _check(self, params: list[Any], **settings: Any) -> None:
        for p in params:
            if not isinstance(p, Value) or p.op is not None:
                theirs = "a tensor of PyTorch's: tg.interop.from_torch(model) has Values"
                what = theirs if called(p).startswith("torch.") else repr(p)
                raise TypeError(f"an optimiser changes leaves, not {what}")
            if is_lazy(p.node.data):
                raise TypeError(
                    f"parameters are NumPy's, not {p!r}: a graph of all steps would grow with each "
                    "(chunked data meet NumPy's parameters; p.data.compute() makes them so)"
                )
        for name, setting in inspect.signature(type(self)).parameters.items():
            if name not in settings:
                continue
            given, usual = settings[name], setting.default
            several = isinstance(usual, tuple)
            if several and np.shape(given) != (len(usual),):
                raise ValueError(f"{name}={given}: must be {len(usual)} numbers")
            for x in given if several else [given]:
                if name in self.ranges and not (x is None and several):  # None: of the dtype, say
                    self._check_number(name, given, x)

    def _check_number(self, name: str, given: Any, x: Any) -> None:
        x, end = number(x) if np.size(x) == 1 else x, self.ranges[name]
        if not isinstance(x, (int, float)):
            raise TypeError(f"{name}={given!r:.60}: must be a number")
        if not 0 <= x < end or x > sys.float_info.max:
            wanted = f"at least 0 and below {end}" if end < math.inf else "0 or more, and finite"
            raise ValueError(f"{name}={given!s:.60}: must be {wanted}")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient, each with one new array.

        `closure`: computes the loss and its gradients, and returns the loss; so does `step` then.
        Optimisers that look at several points call it at each; these call it once, before.
        """
        loss = None if closure is None else closure()
        if met:
            settle(loss, self.params)
            follow(self.state)
        rule, states, blockwise = self.rule, self.state, self.blockwise
        ndarray = np.ndarray  # for whose parameters each look-up counts
        for group in self.param_groups:
            settings = {
                k: v if type(v) in NUMBERS else number(v)
                for k, v in group.items()
                if k in self.defaults
            }
            lr = settings.get("lr", 0.0)
            if type(lr) in NUMBERS and not (type(lr) is float and 0 <= lr < math.inf):
                self._check(**{**group, "params": []})  # set since, by a schedule, say
            climb = settings.pop("maximize", False)
            for p in group["params"]:
                node = p.node
                g = node.grad
                if g is None:
                    continue
                if isinstance(g, Value):  # after backward(create_graph=True)
                    g = g.data
                if climb:
                    g = -g
                data, state = node.data, states.get(p, ()) if states else ()
                kind = type(data)
                if kind in REAL:  # a number: 0.1 µs less than to ask for its dtype
                    new, state = rule(data, g, state, **settings)
                    node.data = new if type(new) is kind else kind(new)
                elif kind is not ndarray and is_sparse(data):  # of what is stored
                    given = data.data, entries_at(g, data)
                    new, state = self._update(*given, state, settings)
                    node.data = with_entries(data, new)
                elif data.dtype.kind == "c" or (
                    blockwise and data.nbytes > LARGE and kind is ndarray
                ):
                    node.data, state = self._update(data, g, state, settings)
                else:
                    if kind is ndarray or not self.entrywise:
                        new, state = rule(data, g, state, **settings)
                    else:
                        by_entries = kind_of(data).by_entries
                        new, state = by_entries(rule, (data, g, state), settings)
                    right = type(new) is kind and new.dtype is data.dtype and new.flags.c_contiguous
                    node.data = new if right else kept(new.astype(data.dtype, order="C"))
                if state:
                    if not isinstance(state, tuple):
                        node.data = data
                        raise TypeError(NO_STATE.format(type(self).__name__, type(state).__name__))
                    states[p] = state
        return loss

    def _update(
        self, p: Array, g: Array, state: State, settings: dict[str, Any]
    ) -> tuple[Array, State]:
        """The new parameter, C-ordered, and state: of a large one, or a complex one."""
        rule, shape, dtype = self.rule, p.shape, p.dtype
        if dtype.kind == "c":
            g = np.conj(g)
        if self.entrywise:
            p, g = pairs(p), pairs(g)
            if self.blockwise and state and p.nbytes > LARGE:
                new, state = in_blocks(rule, p, g, state, settings)
            else:
                new, state = rule(p, g, state, **settings)
            new = new.astype(p.dtype, order="C", copy=False).view(dtype).reshape(shape)
        else:
            new, state = rule(p, g, state, **settings)
        return kept(new.astype(dtype, order="C", copy=False)[()]), state

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or set those that there are to 0."""
        for group in self.param_groups:  # .2 µs less than `self.params`
            for p in group["params"]:
                g = p.node.grad
                gone = set_to_none or g is None
                p.node.grad = None if gone else on_entries(np.zeros_like, p.node.data)

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            lines += [f"Parameter Group {i}"]
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        return "\n".join([f"{type(self).__name__} (", *lines, ")"])

    def state_dict(self) -> dict[str, Any]:
        """A copy of all settings and states, the parameters by their numbers, as in PyTorch.

        Its arrays are NumPy's, wherever the parameters' are.

        >>> from tensorgrad import Value, optim
        >>> w = Value(1.0)
        >>> w.grad = 2.0
        >>> optimizer = optim.SGD([w], lr=0.5, momentum=0.9)
        >>> optimizer.step()
        >>> optimizer.state_dict()["state"]
        {0: (np.float64(2.0),)}
        """
        number_of = {p.node: i for i, p in enumerate(self.params)}
        groups = [
            {**group, "params": [number_of[p.node] for p in group["params"]]}
            for group in self.param_groups
        ]
        states = {
            i: tuple(np.array(to_numbers(x)) if is_array(x) else x for x in self.state[p])
            for i, p in enumerate(self.params)
            if p in self.state
        }
        return {"state": states, "param_groups": groups}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where an optimiser of as many parameters was when `state_dict()` was called.

        ValueError, before anything changes, where groups or shapes are others, or it is no state.
        """
        try:
            new = self._states_of(state)
        except (KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
            said = f"{type(error).__name__}: {error}"
            raise ValueError(
                printable(f"this is no state of {type(self).__name__}: {said}")
            ) from error
        for group, given in zip(self.param_groups, state["param_groups"]):
            group.update({k: v for k, v in given.items() if k != "params"})
        self.state = new

    def _states_of(self, state: Mapping[str, Any]) -> dict[Value, State]:
        groups, own = state["param_groups"], self.param_groups
        sizes = [[len(g["params"]) for g in gs] for gs in (groups, own)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"state has groups of {sizes[0]} parameters, expected {sizes[1]}")
        for group in groups:
            self._check(**{**self.defaults, **group, "params": []})
        numbers = [i for group in groups for i in group["params"]]
        new: dict[Value, State] = {}
        for i, p in zip(numbers, self.params):
            if i not in state["state"]:
                continue
            for x in state["state"][i]:
                if np.shape(x) and not self.fits(np.shape(x), p):
                    raise ValueError(
                        f"state of shape {np.shape(x)} for parameter {i} of shape {p.shape}"
                    )
            new[p] = tuple(
                beside(np.array(x), p.data) if np.ndim(x) else x if is_like(x, p) else number(x)
                for x in state["state"][i]
            )
        return new

    def fits(self, shape: tuple[int, ...], p: Value) -> bool:
        """Whether an array of a parameter's state may have this shape."""
        return shape == ((*p.shape, 2) if self.entrywise and p.dtype.kind == "c" else p.shape)


def settle(loss: Any, params: Iterable[Value]) -> None:
    """Give the loss and the gradients, where they are lazy, their numbers, all in one pass."""
    nodes = [p.node for p in params]
    found = [data_of(node.grad) for node in nodes] + [getattr(loss, "data", None)]
    if not any(map(is_lazy, found)):
        return
    *gradients, value = all_to_numbers(found)
    for node, g in zip(nodes, gradients):
        node.grad = g
    if isinstance(loss, Value):
        loss.node.data = value


def follow(states: dict[Value, State]) -> None:
    """Move what is remembered of a parameter to where that has been moved since."""
    for p, state in states.items():
        data = p.node.data
        if elsewhere(data) or any(map(elsewhere, state)):
            states[p] = tuple(beside(x, data) if is_array(x) else x for x in state)


def number(x: Any) -> Any:
    """A setting or a count as Python's: a NumPy float64 would turn float32 into float64."""
    if isinstance(x, (tuple, list)):
        return tuple(map(number, x))
    return x.item() if issubclass(type(x), (np.generic, np.ndarray)) else x


def is_like(x: Any, p: Value) -> bool:
    """Whether a number is of the parameter's dtype: as Python's it would be rounded otherwise."""
    return isinstance(x, np.floating) and x.dtype == p.dtype


def pairs(x: Array) -> Array:
    """The numbers in C order; complex ones as pairs of real ones along a last axis."""
    x = x.astype(x.dtype, order="C", copy=False)
    return x[..., None].view(x.real.dtype) if x.dtype.kind == "c" else x


def in_blocks(
    rule: Rule, p: Array, g: Array, state: State, settings: dict[str, Any]
) -> tuple[Array, State]:
    """What `rule` makes of arrays in C order, one block after the other.

    The parameter is a new array, the state's are written over.
    """
    shape, p, g = p.shape, p.reshape(-1), g.reshape(-1)
    old = [x.reshape(-1) if isinstance(x, np.ndarray) else x for x in state]
    new, kept = np.empty_like(p), old
    n = BLOCK // p.itemsize
    for i in range(0, p.size, n):
        block = slice(i, i + n)
        before = tuple([x[block] if isinstance(x, np.ndarray) else x for x in old])
        new[block], after = rule(p[block], g[block], before, **settings)
        if not i:
            kept = [room(x, y, p.size) for x, y in zip(after, old)]
        for x, y in zip(kept, after):
            if isinstance(x, np.ndarray):
                x[block] = y
    arrays = (x.reshape(shape) if isinstance(x, np.ndarray) else x for x in kept)
    return new.reshape(shape), tuple(arrays)


def room(x: Array, old: Array, n: int) -> Array:
    """Where `n` numbers like those of block `x` go: over the old ones. A count stays a count."""
    if not isinstance(x, np.ndarray):
        return x
    fits = isinstance(old, np.ndarray) and old.dtype == x.dtype
    return old if fits else np.empty(n, x.dtype)
