"""Module: something with parameters that can be called. Layers, networks and your own models.

There is nothing to register. Of what is found among the attributes of a Module, and those of the
Modules, lists, tuples, dicts and dataclasses that it holds, a leaf Value is a *parameter*: it
learns. An array of numbers is a *buffer*: it is remembered, not learned. All else is configuration.
Attributes whose name begins with an underscore are yours: keep there what is neither, such as an
activation to look at later.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial, wraps
from itertools import groupby
from reprlib import recursive_repr
from types import NoneType
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arrays import (
    all_to_numbers,
    beside,
    copied,
    destination,
    in_dtype,
    in_place,
    is_array,
    moved,
    to_numbers,
)
from tensorgrad.engine.calls import call_of, forgetting_buffers, keeper
from tensorgrad.engine.dtypes import dtype_called, is_inexact, is_numeric
from tensorgrad.engine.levels import alias
from tensorgrad.engine.node import Array, data_of, differentiated, entered, recorder, within
from tensorgrad.engine.primitive import Primitive
from tensorgrad.engine.short import kept
from tensorgrad.nn.hooks import Hooks, RemovableHandle
from tensorgrad.ops.elementwise import cast
from tensorgrad.random import generator
from tensorgrad.value import Value

State = dict[str, np.ndarray[Any, Any]]


class Keys(NamedTuple):
    """What `load_state_dict(strict=False)` did not find, and what it had no place for."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base class. Subclasses set attributes in `__init__` and compute in `forward`.

    >>> class Affine(Module):
    ...     def __init__(self):
    ...         self.slope, self.offset = Value(2.0), Value(1.0)
    ...     def forward(self, x):
    ...         return self.slope * x + self.offset
    >>> model = Affine()
    >>> model(3.0)
    Value(7.0, op=add)
    >>> [name for name, _ in model.named_parameters()]
    ['slope', 'offset']
    """

    training = True
    _made_with: tuple[tuple[Any, ...], dict[str, Any]]
    _hooks: Hooks | None = None
    _transient: frozenset[str] = frozenset()  # the buffers that are not saved

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self._made_with = args, kwargs  # how to make it again: what `io.save` writes
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """micrograd's classes define `__call__`: that is their forward, with scope and hooks."""
        super().__init_subclass__(**kwargs)
        own = vars(cls).get("__call__")
        if own is None or not (cls.forward is Module.forward or cls.forward.__name__ == "__call__"):
            return

        @wraps(own)
        def call(self: Module, *args: Any, **kwargs: Any) -> Any:
            whole = type(self).forward is own  # else a subclass asks for this part by super()
            return (Module.__call__ if whole else own)(self, *args, **kwargs)

        cls.forward, cls.__call__ = own, call  # type: ignore[method-assign]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        run = self.forward if self._hooks is None else partial(self._hooks.run, self)
        outer = recorder.get()
        try:
            if outer is None:
                return run(*args, **kwargs)
            return copy_context().run(entered, recorder, call_of(self, outer), run, args, kwargs)
        except Exception as error:
            locate(error, self)
            raise

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __setattr__(self, name: str, x: Any) -> None:
        old = self.__dict__.get(name)
        if type(old) is Value and is_parameter(old) and is_number_or_array(x):
            raise TypeError(
                f"{type(self).__name__}.{name} is a parameter, and an array would not learn: set "
                f".{name}.data, or assign tg.Value(array)"
            )
        super().__setattr__(name, x)

    def __getattr__(self, name: str) -> Any:
        """A parameter that is computed of others: see `nn.utils.parametrize`."""
        computed = vars(self).get("parametrizations")
        if computed and name in computed:
            return computed[name]()
        place = {"cuda": "cupy", "cpu": "numpy"}.get(name)
        way = f": write .to({place!r})" if place else ""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{way}")

    @recursive_repr()
    def __repr__(self) -> str:
        """The call that makes it; below, the Modules in it that this does not show, or not well."""
        args, kwargs = self._made_with
        kwargs = {
            k: x for k, x in kwargs.items() if k != "rng" and not (k == "dtype" and is_usual(x))
        }
        children = [(name, x, repr(x)) for name, x in self.named_children()]
        texts = {id(x): text for _, x, text in children}  # each written once, however deep
        given = [texts.get(id(x)) or repr(x) for x in (*args, *kwargs.values())]
        given[len(args) :] = [f"{k}={text}" for k, text in zip(kwargs, given[len(args) :])]
        call = f"{type(self).__name__}({', '.join(given)})"
        shown: list[Part] = []
        collect((args, kwargs), "", set(), shown)
        if texts.keys() <= {id(x) for _, x in shown} and plain(call):
            return call
        head = ", ".join(text if plain(text) and "(" not in text else "..." for text in given)
        lines = [f"{type(self).__name__}({re.sub(r'[.]{3}(, [.]{3})+', '...', head)})"]
        for text, alike in groupby(children, lambda child: child[2]):
            names = [name for name, _, _ in alike]
            lines += f"{' to '.join(dict.fromkeys([names[0], names[-1]]))}: {text}".splitlines()
        return "\n  ".join(lines)

    # What it holds.

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This Module and all Modules in it, each once, with their attribute paths."""
        return ((name, x) for name, x in parts_of(self, prefix) if isinstance(x, Module))

    def named_parameters(self) -> Iterator[tuple[str, Value]]:
        """Every parameter once, with its attribute path such as `layers.0.weight`."""
        return ((name, x) for name, x in parts_of(self) if isinstance(x, Value))

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """Every buffer once, with its attribute path."""
        return ((name, x) for name, x in parts_of(self) if not isinstance(x, (Value, Module)))

    def parameters(self) -> list[Value]:
        """Every parameter once, in the order of the attributes."""
        return [x for _, x in parts_of(self) if isinstance(x, Value)]

    def buffers(self) -> list[Array]:
        """Every buffer once, in the order of the attributes."""
        return [x for _, x in self.named_buffers()]

    def modules(self) -> list[Module]:
        """This Module and all Modules in it, each once."""
        return [x for _, x in self.named_modules()]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The Modules in it that are in no other of them, with their attribute paths."""
        inside: set[int] = set()
        for name, x in self.named_modules():
            if x is not self and id(x) not in inside:
                inside |= {id(y) for y in x.modules()}
                yield name, x

    def children(self) -> list[Module]:
        """The Modules in it that are in no other of them."""
        return [x for _, x in self.named_children()]

    def get_submodule(self, target: str) -> Module:
        """The Module at an attribute path, "" for this one; AttributeError where there is none."""
        found: Module = self._found(target, Module, "Module") if target else self
        return found

    def get_parameter(self, target: str) -> Value:
        """The parameter at an attribute path; AttributeError where there is none."""
        found: Value = self._found(target, Value, "parameter")
        return found

    def get_buffer(self, target: str) -> Array:
        """The buffer at an attribute path; AttributeError where there is none."""
        return self._found(target, None, "buffer")

    def _found(self, path: str, kind: type[Any] | None, what: str) -> Any:
        found = at(self, path)
        if not (isinstance(found, kind) if kind else is_array(found)):
            raise AttributeError(f"{type(self).__name__} has no {what} {path!r}")
        return found

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Remember an array, as `self.name = array` does; or not in files, if not `persistent`.

        None stands for a buffer to come. A buffer that is not persistent is converted and copied as
        others are, but is in no `state_dict`: a mask, say, that the constructor makes again.

        >>> model = Module()
        >>> model.register_buffer("mask", np.tri(3), persistent=False)
        >>> len(model.buffers()), model.state_dict()
        (1, {})
        """
        transient = self._transient - {name}
        self._transient = transient if persistent else transient | {name}
        setattr(self, name, tensor if tensor is None else in_place(copied(data_of(tensor))))

    def register_parameter(self, name: str, param: Value | None) -> None:
        """Let a Value learn, as `self.name = value` does; None for none."""
        setattr(self, name, param)

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` with every Module in it, inner ones first, and itself the last.

        >>> from tensorgrad import nn
        >>> def start(module):
        ...     if isinstance(module, nn.Linear):
        ...         nn.init.ones_(module.weight)
        >>> nn.Sequential(nn.Linear(2, 1)).apply(start)[0].weight.data
        array([[1., 1.]], dtype=float32)
        """
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def activations(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """What each Module within answers when this one is called so: arrays, by attribute path.

        Nothing is recorded or remembered. Of a Module that is called several times: the last.

        >>> from tensorgrad import nn
        >>> model = nn.Sequential(nn.Identity(), nn.ReLU())
        >>> model.activations(np.array([-1.0, 2.0]))
        {'layers.0': array([-1.,  2.]), 'layers.1': array([0., 2.])}
        """
        found: dict[str, Any] = {}
        handles = []
        for name, module in list(self.named_modules())[1:]:

            def keep(module: Module, args: Any, out: Any, name: str = name) -> None:
                found[name] = data_of(out)

            handles.append(module.register_forward_hook(keep))
        try:
            within(recorder, None, forgetting_buffers, ((), self, *args), kwargs)
        finally:
            for handle in handles:
                handle.remove()
        return found

    def with_parameters(
        self, values: Iterable[Any], parameters: Iterable[Value] | None = None
    ) -> Self:
        """The same Module around other parameters: `values`, in the order of `parameters()`.

        It shares everything else with this one, but a buffer that it remembers is its own.
        `parameters`: those to replace, by default all. ValueError unless there is a value for each.
        """
        parameters = self.parameters() if parameters is None else parameters
        made = {id(p): x for p, x in zip(parameters, values, strict=True)}
        copy: Self = rebuilt(self, made)
        return copy

    # All parameters at once.

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for p in self.parameters():
            p.grad = None

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let all parameters learn, or freeze them."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def train(self, mode: bool = True) -> Self:
        """Tell every Module within that it is being trained (dropout and the like act)."""
        for _, module in self.named_modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Tell every Module within that it is being used."""
        return self.train(False)

    def to(self, *to: Any) -> Self:
        """Move parameters and buffers, `to("cupy")`, convert them, `to(np.float32)`, or both,
        `to("cupy", np.float32)`; in place, and their gradients too.

        Places are "numpy" and "cupy", a GPU. What an optimiser remembers follows with its next
        step; what is drawn, such as dropout, is drawn there, seeded by the same generator. Integers
        and booleans keep their dtype, and what is complex stays complex, of the precision of the
        new one. TypeError for what is neither a place nor a type of real or complex numbers,
        ImportError without the library and RuntimeError without a device, before anything changes.

        >>> from tensorgrad import nn
        >>> nn.Linear(2, 1).to(np.float64).weight.dtype
        dtype('float64')
        """
        place, dtype = destination(to, type(self).__name__)
        new = None if dtype is None else learning(dtype)
        if place is not None:
            moved(np.zeros(()), place)  # or an error, before anything changes

        def there(x: Any) -> Any:
            if isinstance(x, Value):  # a recorded gradient
                return x.to(*to)
            x = x if place is None else moved(x, place)
            return x if new is None or not is_inexact(x.dtype) else x.astype(like(x, new))

        buffers = {}
        for _, x in parts_of(self):
            if isinstance(x, Value):
                x.node.data = kept(there(x.data))
                x.node.grad = None if x.grad is None else there(x.grad)
            elif not isinstance(x, Module):
                buffers[id(x)] = in_place(there(x))
        replace(self, buffers)
        return self

    def float(self) -> Self:
        """Convert parameters and buffers to float32, in place."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Convert parameters and buffers to float64, in place."""
        return self.to(np.float64)

    def half(self) -> Self:
        """Convert parameters and buffers to float16, in place."""
        return self.to(np.float16)

    # Its state.

    def remember(self, **buffers: Any) -> None:
        """Give buffers new numbers, from `forward`: once a step, however often that is computed.

        What `tg.checkpoint` and the like compute again does not count, and under `tg.grad` and its
        relatives the Module that they were given remembers, not only the copy they work with.
        A buffer that this Module holds under several names gets them under all. Values are taken as
        data. ValueError for another shape, TypeError for what is no buffer, or another kind of
        number, or differs from example to example inside `tg.vmap`.

        >>> class Centred(Module):
        ...     def __init__(self):
        ...         self.mean = np.zeros(1)
        ...     def forward(self, x):
        ...         self.remember(mean=0.9 * self.mean + 0.1 * np.mean(x))
        ...         return x - self.mean
        >>> model = Centred()
        >>> _ = model(np.array([1.0, 3.0]))
        >>> model.state_dict()
        {'mean': array([0.2])}
        """
        new: State = {}
        for name, x in zip(buffers, all_to_numbers([*map(data_of, buffers.values())])):
            old = vars(self).get(name)
            if old is None or not is_array(old):
                raise TypeError(f"{type(self).__name__} has no buffer {name!r}, but {old!r:.60}")
            array = in_place(copied(beside(x, old)))
            if array.shape != old.shape:
                raise ValueError(f"{name} has shape {old.shape}, not {array.shape}")
            array = in_dtype(array, old.dtype)
            new |= {other: array for other, y in vars(self).items() if y is old}
        keeper.get()(self, new)

    def state_dict(self) -> State:
        """A copy of every parameter's data and of every buffer, by name; a shared one once.

        They are NumPy's arrays, wherever the Module's are. TypeError inside of a transform that
        differentiates by them; ValueError where two have the same name, as under the keys 1 and
        "1" of a dict.
        """
        parts = saved_of(self)
        for name, x in parts.items():
            if differentiated(x):
                raise TypeError(
                    f"{name!r} is being differentiated and would lose its gradient in a "
                    "state_dict: use copy.deepcopy(model), or nn.functional_call"
                )
        return {name: np.array(to_numbers(data_of(x)), order="C") for name, x in parts.items()}

    def load_state_dict(
        self, state: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Keys:
        """Set every parameter's data, and every buffer.

        ValueError, before anything changes, unless the names and shapes are exactly this Module's,
        and for complex numbers where there are real ones. A shared parameter may also come under
        its other names. With `strict=False` names may be missing or too many: they are returned.
        With `assign=True` numbers keep the dtype that they have in `state`. They go where this
        Module's are, whichever place they come from.
        """
        arrays = saved_of(self)
        parts, ids = list(arrays.items()), {id(x) for x in arrays.values()}
        state = {name: to_numbers(data_of(x)) for name, x in state.items()}
        missing = [name for name in arrays if name not in state]
        extra = [name for name in state if name not in arrays]
        unexpected = [name for name in extra if id(at(self, name)) not in ids]
        wrong = [f"missing {name!r}" for name in missing if strict]
        wrong += [f"unexpected {name!r}" for name in unexpected if strict]
        for name, x in parts:
            if name not in state:
                continue
            if np.shape(state[name]) != x.shape:
                wrong.append(f"{name!r} has shape {np.shape(state[name])}, expected {x.shape}")
            elif assign and isinstance(x, Value) and not is_inexact(np.asarray(state[name]).dtype):
                wrong.append(f"{name!r} is {np.asarray(state[name]).dtype}, which does not learn")
            elif not assign and np.iscomplexobj(state[name]) and x.dtype.kind != "c":
                wrong.append(f"{name!r} is complex, expected {x.dtype}")
        if wrong:
            raise ValueError(f"state does not fit {type(self).__name__}: {'; '.join(wrong)}")
        new = {
            name: beside(np.array(state[name], None if assign else x.dtype, order="C"), data_of(x))
            for name, x in parts
            if name in state
        }
        buffers = {}
        for name, x in parts:
            if name in new and isinstance(x, Value):
                x.node.data = kept(new[name][()])
            elif name in new:
                buffers[id(x)] = new[name]
        replace(self, buffers)
        return Keys(missing, unexpected)

    # Hooks.

    def register_forward_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, args)` before each forward; what it returns, if anything, replaces the
        arguments."""
        return self._hooked("before", hook)

    def register_forward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, args, output)` after each forward; what it returns, if anything,
        replaces the output. `.remove()` of the result removes it.

        >>> from tensorgrad import nn
        >>> model = nn.Sequential(nn.ReLU())
        >>> handle = model[0].register_forward_hook(lambda module, args, out: print(module, out))
        >>> _ = model(np.array([-1.0, 2.0]))
        ReLU() [0. 2.]
        """
        return self._hooked("after", hook)

    def register_full_backward_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` when a sweep has passed this Module.

        Both are tuples, of the gradients by the arguments of the forward and by its output, with
        None for what needs none or was not on the sweep's way; what it returns, if anything,
        replaces `grad_input`. `module` is None if that is gone by then. A sweep whose result is not
        finite is made again with care, and may call the hook again.
        """
        return self._hooked("backward", hook)

    def _hooked(self, kind: str, hook: Callable[..., Any]) -> RemovableHandle:
        if self._hooks is None:
            self._hooks = Hooks()
        return RemovableHandle(getattr(self._hooks, kind), hook)


class Function(Module):
    """A Module that is a function; what that takes besides its operands are its settings."""

    function: Callable[..., Any]
    settings: tuple[str, ...] = ()

    def forward(self, *operands: Any) -> Any:
        given = {name: getattr(self, name) for name in self.settings}
        return type(self).function(*operands, **given)


def module_of(
    name: str, function: Callable[..., Any], operands: int, doc: str | None = None
) -> type[Function]:
    """The Module class `name` of a function of so many operands: a layer in one declaration.

    Its arguments are those of `function` after the operands, its documentation is `doc` or that of
    the function. A primitive without a documentation of its own gets `doc`. `training` is what the
    Module knows, `rng` is kept as a generator, `inplace` has no effect.

    >>> Power = module_of("Power", lambda x, exponent=2: x**exponent, 1, "x to the exponent.")
    >>> Power(exponent=3)(2.0), Power(3)
    (8.0, Power(3))
    """
    if doc is not None and isinstance(function, Primitive):
        function.__doc__ = doc
    forward = function.forward if isinstance(function, Primitive) else function
    parameters = list(inspect.signature(forward).parameters.values())[operands:]
    settings = tuple(p.name for p in parameters if p.name != "inplace")
    parameters = [p for p in parameters if p.name != "training"]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    signature = inspect.Signature([itself, *parameters])

    def __init__(self: Function, *args: Any, **kwargs: Any) -> None:
        given = signature.bind(self, *args, **kwargs)
        given.apply_defaults()
        for setting, x in given.arguments.items():
            if setting in settings:
                draws = setting == "rng" and x is not None
                setattr(self, setting, generator(x) if draws else x)

    vars(__init__)["__signature__"] = signature
    body = {
        "__doc__": doc or function.__doc__,
        "__init__": __init__,
        "__module__": sys._getframe(1).f_globals["__name__"],
        "function": staticmethod(function),
        "settings": settings,
    }
    if not settings:
        body["forward"] = staticmethod(function)
    return type(name, (Function,), body)


def dimensions(function: Callable[..., Any]) -> Any:
    """`function(n, x, ...)` of n axes as three functions: `_max_pool` as `max_pool1d`, ..."""

    def of(n: int) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(n, *args, **kwargs)

        parameters = [*inspect.signature(function).parameters.values()][1:]
        vars(call)["__signature__"] = inspect.Signature(parameters)
        call.__name__ = call.__qualname__ = f"{function.__name__.strip('_')}{n}d"
        call.__doc__, call.__module__ = function.__doc__, function.__module__
        return call

    return map(of, (1, 2, 3))


def layers(name: str, *functions: Callable[..., Any]) -> Iterator[type[Function]]:
    """The Modules `name`1d, ... of functions of one, two and three axes."""
    for n, function in enumerate(functions, 1):
        made = module_of(f"{name}{n}d", function, 1)
        made.__module__ = function.__module__
        yield made


@contextmanager
def in_mode(model: Module, training: bool) -> Iterator[None]:
    """The model in training or evaluation mode, and then each Module within as it was."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


def only(names: dict[str, Any], wanted: Callable[[Any], bool]) -> list[str]:
    """Delete from a namespace what is not wanted there, and return the names that stay."""
    for name in [name for name in names if name[:1] != "_" and not wanted(names[name])]:
        del names[name]
    return sorted(name for name in names if name[:1] != "_")


def is_usual(dtype: Any) -> bool:
    """Whether that is float32, what a layer computes in where nothing is said."""
    return dtype in (np.float32, np.dtype(np.float32), "float32")


def plain(text: str) -> bool:
    """Whether it is a line, and short."""
    return len(text) <= 100 and "\n" not in text


def locate(error: Exception, module: Module) -> None:
    """Note with an error in which Module it came up: the innermost, by its path in `module`."""
    inner = vars(error).setdefault("_inner", id(module))
    found = next(((name, x) for name, x in module.named_modules() if id(x) == inner), None)
    if found is None:  # made anew for this call
        return
    path, text = found[0], repr(found[1]).splitlines()[0]
    notes = [note for note in getattr(error, "__notes__", ()) if not note.startswith("in layer ")]
    error.__notes__ = [*notes, f"in layer {path}, {text}" if path else f"in layer {text}"]


# What a Module is made of.

Part = tuple[str, Any]  # its path, and itself
# Also of a frozen dataclass. By __dict__, attributes would be slower.
set_attribute = object.__setattr__
CONFIGURATION = frozenset((bool, int, float, complex, str, bytes, NoneType))


def parts_of(module: Module, prefix: str = "") -> list[Part]:
    """The Modules, parameters and buffers in `module`, itself the first, each once."""
    found: list[Part] = [(prefix, module)]
    collect(module, prefix, {id(module)}, found)
    return found


def arrays_of(module: Module) -> dict[str, Any]:
    """The parameters and buffers in `module`, each once, by names of which none stands for two."""
    found: dict[str, Any] = {}
    for name, x in parts_of(module):
        if isinstance(x, Module):
            continue
        if name in found:
            raise ValueError(
                f"{type(module).__name__} has two parts of the name {name!r}: give the keys of its "
                "dicts other names"
            )
        found[name] = x
    return found


def saved_of(module: Module) -> dict[str, Any]:
    """Those that are saved: not the buffers that their Modules said are not persistent."""
    left_out = {id(getattr(m, name, None)) for m in module.modules() for name in m._transient}
    return {name: x for name, x in arrays_of(module).items() if id(x) not in left_out}


def collect(holder: Any, path: str, seen: set[int], found: list[Part]) -> None:
    """Append what `holder` holds; `path` is where that is."""
    for name, x in items_of(holder):
        if type(x) in CONFIGURATION or id(x) in seen:
            continue
        seen.add(id(x))
        where = f"{path}.{name}" if path else str(name)
        if isinstance(x, Value):
            if is_parameter(x):
                found.append((where, x))
        elif isinstance(x, np.ndarray) or is_array(x):
            if is_numeric(x.dtype):  # numbers
                found.append((where, x))
        else:
            if isinstance(x, Module):
                found.append((where, x))
            collect(x, where, seen, found)


def items_of(x: Any) -> Iterable[tuple[Any, Any]]:
    """What is in a Module, a container or a dataclass, by name or number."""
    if isinstance(x, Module):
        return [item for item in vars(x).items() if item[0][0] != "_"]
    if isinstance(x, dict):
        return x.items()
    if isinstance(x, (list, tuple)):
        return enumerate(x)
    if is_dataclass(x):
        return [(name, getattr(x, name)) for name in x.__dataclass_fields__]
    return ()


def is_dataclass(x: Any) -> bool:
    return hasattr(type(x), "__dataclass_fields__")  # of an instance, not of the class


def is_parameter(x: Value) -> bool:
    """Whether a Value is a leaf. (While a transform differentiates by it, an alias is in its
    place; in `amp.autocast` what it is in another dtype.)"""
    op = x.node.op
    return op is None or op is alias or op is cast


def is_number_or_array(x: Any) -> bool:
    return isinstance(x, (np.generic, int, float, complex)) or is_array(x)


def at(x: Any, path: str) -> Any:
    """What is at an attribute path, None where there is nothing."""
    for name in path.split("."):
        if isinstance(x, (list, tuple)):  # of a hundred thousand neurons, say: no search
            x = x[int(name)] if name.isdecimal() and len(name) < 10 and int(name) < len(x) else None
        else:
            x = next((part for key, part in items_of(x) if str(key) == name), None)
    return x


def rebuilt(x: Any, made: dict[int, Any]) -> Any:
    """A copy of `x`, and of the containers in it, around what is `made` of its parts, by id."""
    if id(x) in made:
        return made[id(x)]
    copy: Any = x
    if isinstance(x, Module):
        copy = made[id(x)] = object.__new__(type(x))
        for name, part in x.__dict__.items():
            fixed = type(part) in CONFIGURATION or name == "_made_with"
            set_attribute(copy, name, part if fixed else rebuilt(part, made))
    elif isinstance(x, list):
        copy = made[id(x)] = x.copy()
        copy[:] = [rebuilt(part, made) for part in x]
    elif isinstance(x, dict):
        copy = made[id(x)] = x.copy()
        copy.update([(key, rebuilt(part, made)) for key, part in x.items()])
    elif isinstance(x, tuple):
        copy = tuple_like(x, [rebuilt(part, made) for part in x])
    elif is_dataclass(x):
        copy = made[id(x)] = object.__new__(type(x))
        for name, part in items_of(x):
            set_attribute(copy, name, rebuilt(part, made))
    return copy


def replace(x: Any, made: dict[int, Any]) -> Any:
    """Put what is `made` of its parts, by id, into `x` and the containers in it, at every place.

    Returns what stands for `x` now: a new tuple for one that such a part was in.
    """
    if id(x) in made:
        return made[id(x)]
    made[id(x)] = x
    parts = [(name, part, replace(part, made)) for name, part in items_of(x)]
    changed = {name: new for name, part, new in parts if new is not part}
    if changed and isinstance(x, tuple):
        made[id(x)] = tuple_like(x, [new for _, _, new in parts])
    elif isinstance(x, (list, dict)):
        for key, new in changed.items():
            x[key] = new
    else:
        for name, new in changed.items():
            set_attribute(x, name, new)
    return made[id(x)]


def tuple_like(x: Any, parts: list[Any]) -> Any:
    """A tuple, or named tuple, of other parts."""
    return type(x)(*parts) if hasattr(x, "_fields") else type(x)(parts)


def learning(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """`dtype` as NumPy's; TypeError unless parameters can learn in it."""
    new = dtype_called(dtype)
    if not is_inexact(new):
        raise TypeError(
            f"{new} carries no gradient: a model computes with real or complex numbers, "
            f"not with {new}"
        )
    return new


def like(x: Array, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """`dtype`, complex if `x` is."""
    return np.result_type(dtype, np.complex64) if x.dtype.kind == "c" else dtype


def functional_call(
    module: Module,
    state: Mapping[str, Any],
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
) -> Any:
    """`module(*args, **kwargs)` with parameters and buffers of `state` in place of its own.

    `state`: Values or arrays by name; what it lacks is the Module's. As in PyTorch a lone argument
    needs no tuple. A shared one goes by any of its names. Nothing is changed. ValueError for a name
    that the Module does not have, and for two values of one that is shared.

    >>> from tensorgrad import nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> functional_call(model, {"weight": np.array([[1.0, 10.0]])}, np.array([2.0, 3.0]))
    array([32.])
    """
    owner = type(module).__name__
    ids = {id(x) for x in arrays_of(module).values()}
    places = {name: id(at(module, name)) for name in state}
    if unknown := [name for name in state if places[name] not in ids]:
        raise ValueError(f"{owner} has no {', '.join(map(repr, unknown))}")
    made = {places[name]: x for name, x in state.items()}
    for name, x in state.items():
        if x is not made[places[name]]:
            raise ValueError(f"{owner}: {name!r} is shared and got two values: give it one")
    copy = rebuilt(module, made)
    result: Any = copy(*args if isinstance(args, tuple) else (args,), **(kwargs or {}))
    return result
