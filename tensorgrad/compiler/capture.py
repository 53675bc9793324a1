"""A call of a function, written down: what it reads and writes, and the program between them.

What a call can reach, through its arguments and what the function closes over, is either *state*,
which is read at each call and written where the function changes it: the data and gradients of
Values, buffers, an optimiser's state and its learning rate; or *settled*, all else, which must be
what it was for the program to be used again.
"""

from __future__ import annotations

import ast
import builtins
import io
import linecache
import math
import operator
import os
import random
import re
import sys
import types
import warnings
from collections import deque
from collections.abc import (
    Callable,
    Collection,
    ItemsView,
    Iterator,
    KeysView,
    Sequence,
    ValuesView,
)
from contextvars import ContextVar, copy_context
from dis import opmap
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar
from weakref import ref

import numpy as np

from tensorgrad.compiler.names import Watch
from tensorgrad.compiler.program import Instruction, Program
from tensorgrad.compiler.tracer import (
    SPARSE,
    Drawing,
    Tracer,
    gaps_in,
    order_of,
    outline,
    refused,
    writing,
)
from tensorgrad.engine.arrays import elsewhere, is_lazy, kind_of, met
from tensorgrad.engine.backprop import observing
from tensorgrad.engine.node import Node, data_of
from tensorgrad.engine.primitive import Primitive
from tensorgrad.engine.rules import Each
from tensorgrad.engine.short import ShortArray
from tensorgrad.engine.sparse import is_sparse
from tensorgrad.random import default
from tensorgrad.transforms.tree import is_module
from tensorgrad.value import Value

GONE = object()
MADE_WITH = "_made_with"
"""What a Module remembers for its `repr` and for files, and no step reads."""
STORE_GLOBAL = opmap["STORE_GLOBAL"]
R = TypeVar("R")
PEERS = {"torch": "PyTorch", "jax": "JAX", "jaxlib": "JAX"}
"""Packages that compute by themselves: nobody can write down what they do."""
FOREIGN = sys.stdlib_module_names | {"numpy", "tensorgrad", "optree", "scipy", *PEERS}
"""Packages whose functions hold nothing of the user's."""
CLOCKS = ["time", "perf_counter", "monotonic", "process_time", "thread_time"]
FLEETING = {
    *(f"time.{name}{unit}" for name in CLOCKS for unit in ("", "_ns")),
    *("datetime.now", "datetime.utcnow", "date.today", "time.localtime", "time.gmtime"),
    *("_io.open", "io.open", "builtins.input", "builtins.eval", "builtins.exec"),
    *("builtins.globals", "builtins.locals"),
}
"""Python's functions that say something else at another time, or read what no name tells..."""
HOLDERS = {"time", "datetime", "date", "io", "builtins"}
"""... and the modules and classes that they are in."""


class Place:
    """Where state is: an item of a dict or list. `shared`: whether others may hold what is there,
    and would have to see what is written into it. `nonzero`: whether a program holds as long as its
    numbers are not 0."""

    def __init__(self, holder: Any, key: Any, name: str, shared: bool = False) -> None:
        self.holder, self.key, self.name, self.shared = holder, key, name, shared
        self.nonzero = False

    @property
    def identity(self) -> Any:
        """What tells whether two places are the same."""
        key = self.key if isinstance(self.key, (str, int)) else id(self.key)
        return type(self), id(self.holder), key

    @property
    def is_rate(self) -> bool:
        """Whether it is the learning rate of a group of parameters."""
        known = type(self.holder) is dict and type(self.key) is str
        return known and self.key == "lr" and "params" in self.holder

    def read(self, leaves: Sequence[Any]) -> Any:
        return self.holder[self.key]

    def write(self, x: Any, leaves: Sequence[Any]) -> None:
        self.holder[self.key] = x

    def admits(self, x: Any) -> bool:
        """Whether a program holds for such a number, which an optimiser itself may refuse."""
        rate = self.is_rate and type(x) is float
        return (not rate or 0 <= x < math.inf) and (not self.nonzero or x != 0)

    def there(self, leaves: Sequence[Any]) -> bool:
        """Whether something is there."""
        try:
            return self.read(leaves) is not None
        except LookupError:
            return False


class Rate(Place):
    """A learning rate, which the optimiser takes as a number of Python's: a float64 of NumPy's
    would make float64 of float32."""

    def read(self, leaves: Sequence[Any]) -> Any:
        x = self.holder[self.key]
        return x.item() if type(x) is np.float64 else x


class Attribute(Place):
    """An attribute: the data or gradient of a node."""

    def read(self, leaves: Sequence[Any]) -> Any:
        return getattr(self.holder, self.key)

    def write(self, x: Any, leaves: Sequence[Any]) -> None:
        setattr(self.holder, self.key, x)


class Numbers(Place):
    """The data, or gradients, of many nodes that hold a float64 each: a vector of them."""

    def __init__(self, nodes: Sequence[Node], key: str) -> None:
        super().__init__(tuple(nodes), key, "numbers" if key == "data" else "gradients")

    @property
    def identity(self) -> Any:
        return Numbers, self.holder, self.key

    def numbers(self) -> list[Any]:
        return [*map(operator.attrgetter(self.key), self.holder)]

    def read(self, leaves: Sequence[Any] = ()) -> Any:
        """None where one of them is no number of that kind."""
        numbers = self.numbers()
        return np.array(numbers) if {*map(type, numbers)} == {np.float64} else None

    def write(self, x: Any, leaves: Sequence[Any] = ()) -> None:
        write = getattr(Node, self.key).__set__  # at once: no Ctrl-C comes in between
        deque(map(write, self.holder, x.flat), 0)

    def there(self, leaves: Sequence[Any]) -> bool:
        return any(x is not None for x in self.numbers())


FEW = 50
"""So many numbers are read one by one, by their names."""


class Argument(Place):
    """A leaf of the arguments; with a `key`, that of the node of a Value there."""

    @property
    def identity(self) -> Any:
        return Argument, self.holder, self.key

    def read(self, leaves: Sequence[Any]) -> Any:
        x = leaves[self.holder]
        return getattr(x.node, self.key) if self.key else x

    def write(self, x: Any, leaves: Sequence[Any]) -> None:
        setattr(leaves[self.holder].node, self.key, x)


class Container(NamedTuple):
    """A dict or list that was reached, and what was in it; `state` says which items are state.
    Of the globals of a module only what the function names counts: they are not the `whole`."""

    holder: Any
    items: dict[Any, Any]
    name: str
    state: Callable[[Any, Any], bool]
    whole: bool = True


class Reach:
    """All that can be reached from some roots: containers, and nodes of Values by their names.

    `moving`: settings of optimisers that have changed, by the id of the group and the name.
    """

    def __init__(self, moving: Collection[tuple[int, Any]] = ()) -> None:
        self.moving = moving
        self.containers: list[Container] = []
        self.cells: list[tuple[Any, Any, str]] = []
        self.nodes: dict[Node, str] = {}
        self.values: list[tuple[Value, Node, bool, bool]] = []
        self.settled: list[tuple[Any, Any, Any]] = []  # holder, key, what is there
        self.sizes: list[tuple[Any, int]] = []
        self.absent: list[tuple[dict[str, Any], str]] = []  # globals not assigned yet
        self.slots: list[tuple[Any, str, Any]] = []  # an attribute of an object or class
        self.several: list[tuple[Any, list[Any]]] = []  # sets and the like, and what is in them
        self.asked: list[tuple[Callable[[], Any], Any]] = []  # and what the answer was
        self.objects: list[Any] = []  # which may become of another class
        self.bases: list[tuple[type, Any]] = []  # of classes
        self.hidden: dict[tuple[str, int], dict[str, Any]] = {}  # by names of Python's own
        self.fleeting: dict[str, None] = {}  # names of functions
        self.generators: list[np.random.Generator] = []
        self.modules: set[Any] = set()
        self.called: dict[int, str] = {}  # what Modules are called, by their ids
        self.parts: dict[int, tuple[str, ...]] = {}  # and the parts of an optimiser's state
        self.seen: set[int] = set()
        self.held: list[Any] = []  # ids are of things that stay

    def function(self, f: Any) -> None:
        """What a function closes over, the globals that it names, and what it is bound to."""
        while isinstance(f, partial):
            code = getattr(f.func, "__code__", None)
            names = code.co_varnames[: code.co_argcount] if code else ()
            for i, x in enumerate(f.args):
                self.part(x, names[i] if i < len(names) else f"args.{i}")
            self.look(f.keywords, "")
            f = f.func
        if isinstance(f, types.MethodType):
            self.look(f.__self__, "")
            f = f.__func__
        if not isinstance(f, types.FunctionType):
            self.look(f, "")
            return
        if id(f) in self.seen:
            return
        self.seen.add(id(f))
        self.held.append(f)
        found = {}
        for name, cell in zip(f.__code__.co_freevars, f.__closure__ or ()):
            try:
                found[name] = x = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            self.cells.append((cell, x, name))
        used: dict[str, None] = {}
        own = not is_foreign(f.__globals__.get("__name__"))
        if own:
            used = dict.fromkeys(names_in(f.__code__))
            if "@pytest_ar" in used:  # by its asserts, which lead to all of pytest
                used = dict.fromkeys(n for n in used if n.isidentifier() and n != "locals")
            if used:
                self.named(used, f.__globals__)
                self.own(used, f.__globals__)
            if assigns(f.__code__):
                self.absent += [(f.__globals__, n) for n in used if n not in f.__globals__]
        self.meet(found, used)
        for key in ("__code__", "__defaults__", "__kwdefaults__") * own:
            if (x := getattr(f, key)) is not None:
                self.slots.append((f, key, x))  # another one where a module is loaded again
                self.look(x, "")
        if own or vars(f):
            self.container(vars(f), vars(f), f.__name__)

    def named(self, names: Collection[str], variables: dict[str, Any]) -> None:
        """What goes by these names in a module, and in modules that it names."""
        found = {n: variables[n] for n in names or [*variables] if n in variables}
        if found:
            self.containers.append(Container(variables, found, "", is_array, False))
        self.meet(found, names)

    def own(self, names: Collection[str], variables: dict[str, Any]) -> None:
        """What is Python's own by these names, which a variable may hide one day; and modules that
        are imported within the function."""
        known = vars(builtins)
        found = {n: known[n] for n in names if n in known and n not in variables}
        self.hidden.update({(n, id(variables)): variables for n in found})
        package = variables.get("__package__")
        for n in names:
            for whole in (n, f"{package}.{n}"):
                if whole in sys.modules and n not in variables:
                    found[n] = sys.modules[whole]
        self.meet(found, names)

    def meet(self, found: dict[str, Any], names: Collection[str]) -> None:
        """What a function in which these names stand finds in variables."""
        for name, x in names_first(found):
            if isinstance(x, types.ModuleType):
                self.module(x, names)
            elif not is_array(name, x):
                self.look(x, name)
            self.look_for_fleeting(x, names)

    def module(self, x: types.ModuleType, names: Collection[str]) -> None:
        """`names`: of what a function may look up in it; none if that is not known."""
        known = x.__name__, *sorted(names)
        if not is_foreign(x.__name__) and known not in self.modules:
            self.modules.add(known)
            self.named(names, vars(x))
        if x is os and not {"environ", "getenv"}.isdisjoint(names):
            self.look(os.environ, "os.environ")

    def look_for_fleeting(self, x: Any, names: Collection[str]) -> None:
        """Note what says something else at another time, and has one of these names in `x`."""
        holder = isinstance(x, (types.ModuleType, type)) and x.__name__ in HOLDERS
        for y in [getattr(x, n, None) for n in names] if holder else [x]:
            if isinstance(y, type) and y is not x:
                self.look_for_fleeting(y, names)
            elif isinstance(y, types.BuiltinFunctionType):
                said = f"{y.__module__}.{y.__name__}" if y.__module__ else y.__qualname__
                if said in FLEETING:
                    self.fleeting[said.removeprefix("_")] = None

    def type(self, kind: type) -> None:
        """What is in a class, and in those that it inherits from."""
        for c in kind.__mro__:
            if is_foreign(c.__module__) or id(c) in self.seen:
                continue
            self.seen.add(id(c))
            self.held.append(c)
            self.bases.append((c, c.__mro__))
            self.type(type(c))
            for name, x in vars(c).items():
                f = getattr(x, "fget", getattr(x, "__func__", x))
                if isinstance(f, types.FunctionType):
                    self.function(f)
                elif name.startswith("__") or isinstance(x, types.MemberDescriptorType):
                    continue
                else:
                    self.look(x, name)
                self.slots.append((c, name, x))

    def look(self, x: Any, name: str) -> None:
        """Follow what is in `x`."""
        if x is None or type(x) in (bool, int, float, complex, str, bytes):
            return
        if isinstance(x, (np.generic, np.ufunc)) or is_ours(x) or x is writing:
            return
        if isinstance(x, types.ModuleType):  # in a list, or an attribute
            self.module(x, ())
            return
        if isinstance(x, np.random.Generator):
            self.generators.append(x)
            return
        if isinstance(x, type):
            self.type(x)
            return
        if id(x) in self.seen:
            return
        if type(x).__module__ == "tensorgrad.compiler.compiled":
            self.function(x.f)
            return
        if isinstance(x, (types.FunctionType, types.MethodType, partial)):
            self.function(x)
            return
        numpys(x, name)
        self.seen.add(id(x))
        self.held.append(x)
        self.type(type(x))
        if isinstance(x, Value):
            self.value(x, name)
        elif isinstance(x, (types.BuiltinMethodType, types.MethodWrapperType)):
            self.look(x.__self__, name)
        elif isinstance(x, (ContextVar, ref)):
            ask = partial(x.get, GONE) if isinstance(x, ContextVar) else x
            self.held.append(ask())
            self.asked.append((lambda: id(ask()), id(self.held[-1])))
            self.look(self.held[-1], name)
        elif x is os.environ:
            copy = getattr(x, "_data", x).copy
            self.asked.append((copy, copy()))
        elif is_module(x):
            self.called[id(x)] = name
            self.objects.append(x)
            self.container(vars(x), vars(x), name, is_buffer)
        elif is_optimizer(x):
            self.optimizer(x, name)
        else:
            self.items(x, name)
            self.attributes(x, name)

    def part(self, x: Any, name: str) -> None:
        """Follow what is in a tuple or set, where nothing can stand for it."""
        if is_iterator(x):
            raise TypeError(ITERATOR.format(name))
        self.look(x, name)

    def items(self, x: Any, name: str) -> None:
        if hasattr(type(x), "tobytes"):  # Python has arrays, too
            self.asked.append((x.tobytes, x.tobytes()))
        elif isinstance(x, (tuple, set, frozenset, deque, bytearray)):
            if not isinstance(x, tuple):
                self.several.append((x, [*x]))
            for i, part in enumerate(x):
                self.part(part, joined(name, i))
        elif isinstance(x, types.MappingProxyType):
            self.several += [(y, [*y]) for y in (x, x.values())]
            for key, part in x.items():
                self.look(part, joined(name, key))
        elif isinstance(x, (KeysView, ValuesView, ItemsView)) and hasattr(x, "mapping"):
            self.items(x.mapping, name)
        elif isinstance(x, dict):
            self.several += [(x, [*x])] * (len(x) > 1)  # in their order
            self.container(x, x, name)
            for key in x:
                self.look(key, "")
        elif isinstance(x, list):
            self.container(x, dict(enumerate(x)), name)

    def attributes(self, x: Any, name: str) -> None:
        for key in slots_of(x):
            y = getattr(x, key, GONE)
            self.slots.append((x, key, y))
            self.look(y, joined(name, key))
        if hasattr(x, "__dict__"):
            self.objects.append(x)
            self.container(vars(x), vars(x), name)

    def container(
        self,
        holder: Any,
        items: dict[Any, Any],
        name: str,
        state: Callable[[Any, Any], bool] | None = None,
    ) -> None:
        state = state or is_array
        self.containers.append(Container(holder, dict(items), name, state))
        for key, x in names_first(items):
            if not state(key, x) and key is not MADE_WITH:
                self.look(x, joined(name, key))

    def optimizer(self, x: Any, name: str) -> None:
        items = {k: y for k, y in vars(x).items() if k not in ("state", "param_groups")}
        self.containers.append(Container(vars(x), vars(x).copy(), name, is_buffer))
        for key, y in items.items():
            if not is_buffer(key, y):
                self.look(y, joined(name, key))
        self.containers.append(
            Container(x.param_groups, dict(enumerate(x.param_groups)), name, is_buffer)
        )
        for group in x.param_groups:
            self.look(group["params"], "")
            moves = {key for holder, key in self.moving if holder == id(group)}
            state = partial(is_rate, moving=moves)
            self.containers.append(Container(group, dict(group), name, state))
        self.parts[id(x.state)] = parts_of(getattr(type(x), "rule", None))
        self.containers.append(Container(x.state, dict(x.state), joined(name, "state"), always))

    def forget(self) -> None:
        """Keep what is settled, and none of the arrays that are state."""
        for holder, items, _, state, whole in self.containers:
            if whole:
                self.sizes.append((holder, len(items)))
            self.settled += [
                (holder, k, x) for k, x in items.items() if not (state(k, x) or k is MADE_WITH)
            ]
        self.containers = []
        self.sizes += [(vars(c), len(vars(c))) for c, _ in self.bases]
        self.cells = [(cell, x, name) for cell, x, name in self.cells if not is_array(name, x)]

    def value(self, x: Value, name: str) -> None:
        if has_graph(x) and x.node.op:
            raise ValueError(
                f"the function reads a Value that was computed before ({x.node.op.name}, shape "
                f"{x.shape}), whose graph a compiled function does not know: detach() it, or "
                "compute it inside"
            )
        self.nodes.setdefault(x.node, x.node.name or name)
        self.values.append((x, x.node, x.node.requires_grad, x.node.grad is None))


@cache
def peer(kind: type) -> str:
    """Whose the arrays and models of a class are, or of one that it inherits from."""
    owners = (PEERS.get(c.__module__.partition(".")[0], "") for c in kind.__mro__)
    return next(filter(None, owners), "")


def numpys(x: Any, name: str) -> None:
    """TypeError for an array that is Dask's, on a GPU, or another library's, and for a model of
    such a one: a program is one of NumPy's."""
    kind: Any = type(x)
    if owner := peer(kind):
        held = re.split(r"(?:^|\.)_", name)[0] or "what it reaches"  # by a Module of ours
        raise TypeError(
            f"{held} ({kind.__name__}) is {owner}'s, and a program is one of NumPy's: pass its "
            "numbers, or do not compile what calls it (leave compile= out in tg.fit), but the "
            "functions before and after it"
        )
    if isinstance(x, Value) and is_sparse(x):
        raise TypeError(SPARSE)
    if is_lazy(x):
        raise TypeError(
            f"{name} is an array of Dask, and a program is one of NumPy's: compile a step that "
            "takes batches (tg.data.Chunks), or do not compile"
        )
    if elsewhere(data_of(x)):
        raise TypeError(
            f"{name} is an array of {kind_of(data_of(x)).name}'s, and a program is one of NumPy's: "
            "do not compile, or move it, .to('numpy')"
        )


def severed(*args: Any, **params: Any) -> Any:
    raise ValueError(
        "what a compiled function returned has no graph: compute gradients within it, as "
        "tg.compile(tg.grad(f)) does, or detach() what it returned; to look at the graph, call it "
        "under tg.debug(), where the function itself runs"
    )


SEVERED = Primitive(data_of, Each(severed), "compiled")
"""What made a result that had a graph, if the function had not been compiled."""


def has_graph(x: Value) -> bool:
    """Whether a Value was computed, by what differentiates."""
    return x.requires_grad and x.node.op is not None and x.node.op is not SEVERED


def is_iterator(x: Any) -> bool:
    """Whether it goes on from call to call, and nobody sees where it is."""
    plain = hasattr(type(x), "__next__") and is_foreign(type(x).__module__)
    return plain and not isinstance(x, io.IOBase)


ITERATOR = (
    "a compiled function takes the next of {!r}, an iterator, which would go on only now, while it "
    "is traced: take it outside, and pass what it gives as an argument"
)


class Iterating:
    """In place of an iterator, which would go on while a function is traced, and never after."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __iter__(self) -> Iterating:
        return self

    def __next__(self) -> Any:
        raise refused(ITERATOR.format(self.name))


def stand_in(x: Any, name: str) -> Any:
    """What is there, instead of what goes on by itself, while a function is traced; None of all
    else."""
    if isinstance(x, np.random.Generator):
        return Drawing(x)
    return Iterating(name) if is_iterator(x) else None


def is_array(key: Any, x: Any) -> bool:
    """Whether it is read at each call, wherever it is."""
    return type(x) in (np.ndarray, np.memmap, Tracer)


def is_buffer(key: Any, x: Any) -> bool:
    """The same in a Module or an optimiser, whose own it is."""
    return is_array(key, x)


def is_foreign(module: Any) -> bool:
    """Whether what is defined in a module holds nothing of the user's."""
    return isinstance(module, str) and module.partition(".")[0] in FOREIGN


def is_ours(x: Any) -> bool:
    """Whether it is an operation that this package declares."""
    return isinstance(x, Primitive) and all(
        is_foreign(getattr(f, "__module__", None) or "numpy") for f in (x.forward, *x.formulas)
    )


def slots_of(x: Any) -> Iterator[str]:
    """The attributes of an object that are in no `__dict__`."""
    for c in type(x).__mro__:
        own = "__slots__" in vars(c) and not is_foreign(c.__module__)  # what C defines has none
        for name, y in vars(c).items() if own else ():
            if isinstance(y, types.MemberDescriptorType):
                yield name


def names_first(items: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """In the order in which names are found that say most: an optimiser has none for parameters."""
    return sorted(items.items(), key=lambda x: (is_optimizer(x[1]), str(x[0]).startswith("_")))


def is_optimizer(x: Any) -> bool:
    return (
        not isinstance(x, type) and {"param_groups", "state"} <= getattr(x, "__dict__", {}).keys()
    )


def written_at(code: Any) -> ast.AST | None:
    """The definition of a function, as its file has it: `inspect` takes 7 ms longer to find it."""
    try:
        whole = ast.parse("".join(linecache.getlines(code.co_filename)))
    except (AttributeError, SyntaxError):
        return None
    return next(
        (
            x
            for x in ast.walk(whole)
            if isinstance(x, ast.FunctionDef) and x.name == code.co_name
            if code.co_firstlineno == min([x.lineno, *(y.lineno for y in x.decorator_list)])
        ),
        None,
    )


@cache
def parts_of(rule: Any) -> tuple[str, ...]:
    """What a rule, or the one that it hands its state to, calls the parts of that:
    `m, v, t = state or ...` says so."""
    code = written_at(getattr(rule, "__code__", None))
    if code is None:
        return ()
    for line in ast.walk(code):
        match line:
            case ast.Assign([ast.Tuple(names)], ast.BoolOp(values=[ast.Name("state"), *_])):
                return tuple(name.id for name in names if isinstance(name, ast.Name))
    for line in ast.walk(code):
        match line:
            case ast.Call(ast.Name(f), [_, _, ast.Name("state")]):
                return parts_of(rule.__globals__.get(f))
    return ()


def attribute(holder: Any, key: str) -> Any:
    """What is in a slot of an object, or in a class."""
    return vars(holder).get(key) if isinstance(holder, type) else getattr(holder, key, GONE)


def chance(generators: Sequence[np.random.Generator]) -> list[Any]:
    """The states of all that draws."""
    legacy: Any = np.random.get_state()  # noqa: NPY002
    states = [random.getstate(), *(g.bit_generator.state for g in generators)]
    return [legacy[1].tobytes(), legacy[2], *map(repr, states)]


def is_rate(key: Any, x: Any, moving: Collection[Any] = ()) -> bool:
    """Whether a setting of an optimiser is read at each call: a learning rate, and what a schedule
    moves, such as a momentum."""
    if key in moving:
        return all(type(part) is Tracer or may_move(part) for part in parts(x))
    return key == "lr" and isinstance(x, (float, Tracer))


def may_move(x: Any) -> bool:
    """Whether a setting may be computed with: a number that turns nothing off."""
    return type(x) is float and x != 0


def moved(holder: Any, key: Any, x: Any) -> bool:
    """Whether what was a setting `x` of an optimiser is another one now."""
    if not isinstance(holder, dict) or "params" not in holder:
        return False
    now = holder.get(key)
    return now != x and type(now) is type(x) and all(map(may_move, (*parts(now), *parts(x))))


def always(key: Any, x: Any) -> bool:
    return True


def joined(name: str, key: Any) -> str:
    return f"{name}.{key}" if name and isinstance(key, (str, int)) else f"{name or key}"


def names_in(code: types.CodeType) -> Iterator[str]:
    """The names that a function, and those within it, may look up among the globals."""
    yield from code.co_names
    for x in code.co_consts:
        if isinstance(x, types.CodeType):
            yield from names_in(x)


def assigns(code: types.CodeType) -> bool:
    """Whether a function, or one within it, assigns to a global variable."""
    within = (x for x in code.co_consts if isinstance(x, types.CodeType))
    return STORE_GLOBAL in code.co_code[::2] or any(map(assigns, within))


def parts(x: Any) -> tuple[Any, ...]:
    """The numbers of an item of state: a tuple holds several."""
    return x if type(x) is tuple else (x,)


def entire(x: Any) -> Any:
    """What a tracer of `y[...]` is all of: y."""
    while isinstance(x, Tracer) and x.part is not None and x.part[1] is ...:
        x = x.part[0]
    return x


def sample(x: Any) -> Any:
    """Of the kind and dtype of an item of state, without its numbers."""
    if type(x) is tuple:
        return tuple(map(sample, x))
    if type(x) in (np.ndarray, ShortArray):
        return np.empty(0, x.dtype).view(type(x))
    return x


class Capture:
    """Runs a function once on tracers, in place of its state, and puts everything back."""

    def __init__(
        self,
        reach: Reach,
        leaves: Sequence[Any],
        traced: Sequence[str],
        names: Sequence[str],
        program: Program,
    ) -> None:
        self.program, self.reach = program, reach
        self.reads: list[Place] = []
        self.items: dict[Any, Instruction] = {}  # of `Numbers`, by the places that they are at
        self.intact = set[Instruction]()
        self.kept: list[tuple[Place, Any, Any]] = []  # place, what was there, what stands there
        self.given = list(leaves)
        for i, kind in enumerate(traced):
            x, name = leaves[i], names[i]
            if kind == "generator":
                instruction = self.input(Argument(i, "", name), (), np.dtype(object))
                self.given[i] = Drawing(instruction)
            elif kind == "array":
                self.given[i] = self.stand_for(Argument(i, "", name), x)
            elif kind == "value" and not any(x is y for y in leaves[:i]):
                reach.nodes.pop(x.node, None)
                self.put(Argument(i, "data", name), x.node.data)
                self.put(Argument(i, "grad", f"{name}.grad"), x.node.grad)
        self.gather("data")
        self.gather("grad")
        for node, name in reach.nodes.items():
            self.put(Attribute(node, "data", name or "value"), node.data)
            self.put(Attribute(node, "grad", f"{name}.grad"), node.grad)
        for holder, items, name, state, _ in reach.containers:
            for key, x in items.items():
                whose = reach.nodes.get(key.node) if isinstance(key, Value) else None
                strong = type(x) is np.float64 and is_rate(key, x)
                place = (Rate if strong else Place)(
                    holder, key, whose or joined(name, key), state is is_array
                )
                if stand := stand_in(x, place.name):
                    self.kept.append((place, x, stand))
                elif state(key, x):
                    place.nonzero = (id(holder), key) in reach.moving
                    self.put(place, x)
        for cell, x, name in reach.cells:
            place = Attribute(cell, "cell_contents", name, True)
            if stand := stand_in(x, name):
                self.kept.append((place, x, stand))
            elif is_array(name, x):
                self.put(place, x)
        self.leaves = leaves

    def input(self, place: Place, shape: Any, dtype: Any, x: Any = None) -> Instruction:
        order = order_of(x)
        instruction = Instruction(None, (), None, shape, dtype, place.name, order=order)
        self.program.inputs.append(instruction)
        self.reads.append(place)
        if gaps_in(x) if isinstance(place, Argument) else place.shared:
            self.program.gaps.add(instruction)
        return instruction

    def gather(self, key: str) -> None:
        """Read what nodes hold that are many numbers as one vector, of which each is an item."""
        nodes = [node for node in self.reach.nodes if type(getattr(node, key)) is np.float64]
        if len(nodes) <= FEW:
            return
        place = Numbers(nodes, key)
        vector = self.input(place, (len(nodes),), np.dtype(np.float64))
        for k, node in enumerate(nodes):
            item = Instruction(operator.getitem, (vector, k), None, (), vector.dtype)
            self.items[Attribute(node, key, "").identity] = item
            self.intact.add(item)
            self.program.body.append(item)

    def stand_for(self, place: Place, x: Any) -> Any:
        """A tracer for each number of `x`."""
        if isinstance(x, Value):
            raise TypeError(
                f"{place.name} is a Value, as backward(create_graph=True) leaves it, and a "
                "compiled function reads and writes arrays: set it to None, or to its .data"
            )
        if type(x) is tuple:
            made = [
                Instruction(None, (), None, *outline(y), name, order=order_of(y))
                for name, y in zip(self.names_of(place, x), x)
            ]
            self.program.inputs += made
            self.reads.append(place)
            return tuple(map(Tracer, made))
        if item := self.items.get(place.identity):
            item.name = place.name
            return Tracer(item)
        x = x.item() if isinstance(place, Rate) else x
        return Tracer(self.input(place, *outline(x), x))

    def names_of(self, place: Place, x: Any) -> list[str]:
        """What the numbers at a place are called."""
        if type(x) is not tuple:
            return [place.name]
        known = self.reach.parts.get(id(place.holder), ())
        ends = [*known[: len(x)], *map(str, range(len(known), len(x)))]
        return [f"{place.name}.{end}" for end in ends]

    def put(self, place: Place, x: Any) -> None:
        """Tracers where `x` is."""
        stand = x if x is None else self.stand_for(place, x)
        self.kept.append((place, x, stand))
        if place.nonzero:
            self.program.nonzero.update(y.instruction for y in parts(stand))

    def run(
        self, call: Callable[[Sequence[Any]], Any], made: Callable[[Any], R], watch: Watch
    ) -> tuple[R, list[tuple[Place, Any, bool]]]:
        """What is made of the call's answer, and what it changed; all is as it was, whatever
        happens."""

        def traced() -> tuple[R, list[tuple[Place, Any, bool]]]:
            try:
                with observing(watch):
                    result = call(self.given)
            except Exception as error:
                self.tell_the_line(error)
                if self.program.refused not in (None, error):  # NumPy says less about it
                    raise self.program.refused from error
                raise
            if self.program.refused is not None:
                raise self.program.refused
            return made(result), [*self.changes()]

        generators = [*self.reach.generators, default()]
        try:
            before = chance(generators)
            for place, _, stand in self.kept:
                if stand is not None:
                    place.write(stand, self.leaves)
            context = copy_context()
            context.run(writing.set, self.program)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is tried has numbers that nobody gave
                found = context.run(traced)
            self.program.check_what_was_hoped()
            if chance(generators) != before:
                raise TypeError(
                    "a compiled function drew while it was traced, and would draw the same ever "
                    "after: draw from a numpy.random.Generator that is an argument, a variable or "
                    "an attribute"
                )
            return found
        finally:
            self.restore()
            self.program.alike.clear()
            met.discard(Tracer)

    @staticmethod
    def tell_the_line(error: Exception) -> None:
        """Add which line of the function led to an error, where that is not its own."""
        from tensorgrad.graph.debug import INTERNAL, quoted

        trace, line, own = error.__traceback__, "", True
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            own = not file.startswith(INTERNAL)
            line = quoted(file, trace.tb_lineno) if own else line
            trace = trace.tb_next
        if line and not own:
            error.add_note(f"while tg.compile wrote down {line}")

    def as_array(self, x: Any) -> Any:
        """What is an array stays one, also without axes, where an operation makes a number."""
        if not isinstance(x, Tracer) or x.ndim:
            return x
        made = Instruction(np.asarray, (x.instruction,), None, (), x.dtype)
        self.program.body.append(made)
        return Tracer(made)

    def written(self, stand: Any) -> bool:
        """Whether something was written into what stands for an input."""
        made = isinstance(stand, Tracer) and stand.instruction.function is not None
        return made and stand.instruction not in self.intact

    def changes(self) -> Iterator[tuple[Place, Any, bool]]:
        """Places, what is there now, and whether it was written into the array that was there."""
        for x, stand in zip(self.leaves, self.given):
            if x is not stand and self.written(stand):
                raise TypeError(
                    "a compiled function writes into an array that it was given: copy it, and "
                    "return it"
                )
        known: set[Any] = set()
        for place, x, stand in self.kept:
            if not isinstance(place, (Attribute, Argument)):
                known.add((id(place.holder), place.key))
            now = entire(place.read(self.leaves))
            if isinstance(stand, (Drawing, Iterating)) and now is not stand:
                raise TypeError(f"a compiled function replaces {place.name!r}, which goes on")
            if place.shared and now is stand and any(self.written(y) for y in parts(stand)):
                raise TypeError(
                    f"a compiled function writes into {place.name!r}, an array that others may "
                    "hold: assign a new one, or return it"
                )
            if now is not stand or any(self.written(y) for y in parts(stand)):
                inside = now is stand and isinstance(x, np.ndarray)
                if inside and any(y is x for other, y, _ in self.kept if other is not place):
                    raise TypeError(
                        f"a compiled function writes into {place.name!r}, an array that is "
                        "elsewhere too: assign a new one"
                    )
                now = now.data if isinstance(now, Value) else now
                yield place, self.as_array(now) if isinstance(x, np.ndarray) else now, inside
        for holder, items, name, state, whole in self.reach.containers:
            everything = dict(enumerate(holder)) if isinstance(holder, list) else holder
            for key in [*(everything if whole else items)]:
                now, x = everything.get(key, GONE), items.get(key, GONE)
                if now is x or (id(holder), key) in known:
                    continue
                if state is always:
                    yield Place(holder, key, joined(name, key)), now, False
                    continue
                raise TypeError(
                    f"a compiled function changes {joined(name, key)!r}, which is no state of a "
                    "model or an optimiser and would be changed only now, while it is traced: "
                    "return it, or change it outside, where the step() of a schedule belongs, too"
                )
        self.refuse_other_changes()

    def refuse_other_changes(self) -> None:
        """TypeError where what is no place of state is another than before."""
        stands = (Tracer, Drawing, Iterating)
        for cell, x, name in self.reach.cells:
            now = cell.cell_contents
            if now is not x and not (is_array(name, x) or isinstance(now, stands)):
                raise TypeError(
                    "a compiled function assigns to a variable of the function around it: return it"
                )
        for variables, name in self.reach.absent:
            if name in variables:
                raise TypeError(f"a compiled function assigns to the variable {name!r}: return it")
        for holder, key, x in self.reach.slots:
            if attribute(holder, key) is not x:
                raise TypeError(f"a compiled function changes {key!r} of {holder!r:.60}: return it")
        for ask, answer in self.reach.asked:
            if ask() != answer:
                raise TypeError(
                    "a compiled function changes a ContextVar, the environment, or an array that "
                    "is no variable's own: return it, or change it outside"
                )

    def restore(self) -> None:
        for place, x, _ in self.kept:
            place.write(x, self.leaves)
        for cell, x, _ in self.reach.cells:
            if cell.cell_contents is not x:
                cell.cell_contents = x
        for variables, name in self.reach.absent:
            variables.pop(name, None)
        for holder, key, x in self.reach.slots:
            if attribute(holder, key) is not x:
                delattr(holder, key) if x is GONE else setattr(holder, key, x)
        for holder, items, _, _, whole in self.reach.containers:
            if isinstance(holder, list):
                if len(holder) != len(items) or any(
                    a is not b for a, b in zip(holder, items.values())
                ):
                    holder[:] = items.values()
            elif not whole:
                holder.update({k: x for k, x in items.items() if holder.get(k, GONE) is not x})
            else:
                for key in [k for k in holder if k not in items]:
                    del holder[key]
                for key, x in items.items():
                    if holder.get(key, GONE) is not x:
                        holder[key] = x
