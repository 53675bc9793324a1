"""Value: a scalar or tensor that remembers how it was computed.

A Value is a name for a node of the graph. It behaves like a NumPy array, through operators, methods
and NumPy's own functions, and each operation makes a new node. `v[i] = x` is such an operation too:
it moves the name `v` to the node of the updated array, and whoever used the old one still has it.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.engine.arguments import as_param, ordinary
from tensorgrad.engine.arrays import (
    Kind,
    as_array,
    beside,
    copied,
    created,
    destination,
    elsewhere,
    in_dtype,
    innermost,
    is_known,
    is_numpy,
    kind_of,
    met,
    place_of,
    same_shape,
    spread,
    to_numbers,
    total,
)
from tensorgrad.engine.backprop import cotangents
from tensorgrad.engine.device import transfer
from tensorgrad.engine.dtypes import is_inexact, is_numeric
from tensorgrad.engine.levels import alias
from tensorgrad.engine.node import (
    NO_PARAMS,
    Array,
    Handle,
    Node,
    data_of,
    differentiated,
    leaf,
    opaque,
    recorder,
    recording,
)
from tensorgrad.engine.primitive import Primitive, apply, implementation_of, implementations
from tensorgrad.engine.short import kept
from tensorgrad.engine.sparse import (
    Declines,
    as_object,
    is_asked_by_operator,
    is_asked_by_sparse,
    is_sparse,
)
from tensorgrad.engine.strangers import called, is_asked_by_dask, is_foreign, note, way_out
from tensorgrad.engine.words import ARGUMENTS, ATTRIBUTES, Instead, as_in_pytorch
from tensorgrad.ops import complex as complex_
from tensorgrad.ops import elementwise, index, linalg, rounding, shape, sparse
from tensorgrad.ops.elementwise import add, divide, multiply, negative, power, subtract
from tensorgrad.ops.former import forget, forget_whole, recall
from tensorgrad.ops.methods import method_of
from tensorgrad.ops.nn import activation, softmax

NEW = Kind.creators - {np.full} | {np.identity}
"""What makes an array `like=` another. (`np.full` is an operation: of a Value, to fill with.)"""

run: Callable[..., Value] = apply  # an operation on a Value makes a Value
Operator = Callable[[Any, Any], Any]


def method(name: str) -> Callable[..., Any]:
    """An array's method `name`, which is NumPy's function of that name, of a Value."""
    function = getattr(np, name)

    @wraps(getattr(np.ndarray, name), assigned=("__name__", "__doc__"))
    def call(self: Value, *args: Any, **kwargs: Any) -> Any:
        try:
            return implementations[function](self, *args, **kwargs)
        except TypeError:
            if not kwargs.keys() & ARGUMENTS.keys():
                raise
        return as_in_pytorch(self, name, args, kwargs)

    return call


def in_place(operation: Operator) -> Operator:
    """`v += x`, of the operation `v + x`."""
    return lambda self, other: self._in_place(operation(self, other))


def comparison(ufunc: np.ufunc) -> Operator:
    """`v < x`, a plain array: of sparse ones, where another library's operator would ask for the
    numbers, as of NumPy's function."""
    operation = getattr(operator, SHORT[ufunc])

    def compare(self: Value, other: Any) -> Any:
        if met and is_sparse(self):
            return implementations[ufunc](self, other)
        return plain(operation(self.data, data_of(other)))

    return compare


SHORT: dict[Any, str] = {np.equal: "eq", np.not_equal: "ne", np.less: "lt", np.less_equal: "le"}
SHORT |= {np.greater: "gt", np.greater_equal: "ge"}
"""What Python calls NumPy's comparisons."""


def both_orders(function: Callable[..., Any]) -> tuple[Operator, Operator]:
    """The operator of a NumPy function: of `v ? x`, and of `x ? v`."""
    return lambda self, other: function(self, other), lambda self, other: function(other, self)


class Value(Handle):
    """A scalar or tensor in the graph.

    `data`: a number or array (copied). Python numbers become float64; NumPy's dtypes stay.
    `requires_grad`: whether `backward()` computes a gradient for it. TypeError for integers and
    booleans, which have none.
    `name`: for error messages, drawings and explanations.

    >>> a, b = Value(2.0), Value(1.0)
    >>> e = (a + b) * (b + 1)
    >>> e.backward()
    >>> a.grad, b.grad
    (np.float64(2.0), np.float64(5.0))
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True, name: str | None = None) -> None:
        self.node = leaf(as_data(data), name=name)
        self.requires_grad = requires_grad

    @staticmethod
    def of(node: Node) -> Value:
        """The Value that names `node`."""
        value = object.__new__(Value)
        value.node = node
        return value

    # What it holds.

    @property
    def data(self) -> Any:
        """The array (for a scalar, a NumPy scalar)."""
        return self.node.data

    @data.setter
    def data(self, data: Any) -> None:
        if data is self.node.data:  # v.data -= ... has changed it in place: let who read it know
            self.node.data = data[...] if self.ndim else data
            return
        if self.node.op is not None:
            raise ValueError(
                "only a leaf's data can be set: the sweep needs those of a result as they were"
            )
        if differentiated(data):
            raise TypeError(
                "data of a Value that is being differentiated would lose its gradient: use the "
                "Value itself; a Module with other parameters is nn.functional_call"
            )
        data = as_array(data_of(data))
        if not same_shape(data.shape, self.shape):
            raise ValueError(f"data of shape {data.shape} for a Value of shape {self.shape}")
        data = in_place_of(self.node.data, data, "data")
        self.node.data = kept(copied(in_dtype(data, self.dtype)))

    @property
    def grad(self) -> Any:
        """The gradient that `backward()` left here, of the same shape; None until computed."""
        return self.node.grad

    @grad.setter
    def grad(self, grad: Any) -> None:
        if isinstance(grad, Value) and not same_shape(grad.shape, self.shape):
            raise ValueError(f"grad of shape {grad.shape} for a Value of shape {self.shape}")
        if grad is not None and not isinstance(grad, Value):
            grad = in_place_of(self.node.data, grad, "grad")
            grad = copied(spread(grad, self.data), self.dtype)
        self.node.grad = grad

    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are recorded."""
        return self.node.requires_grad

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        if self.node.op is not None:
            raise ValueError("only a leaf's requires_grad can be set: .detach() this Value")
        if wanted and not is_inexact(self.dtype):
            raise TypeError(
                f"{self.dtype} data carries no gradient: pass floats, or requires_grad=False"
            )
        self.node.requires_grad = bool(wanted)

    @property
    def name(self) -> str | None:
        """What errors, drawings and explanations call it."""
        return self.node.name

    @name.setter
    def name(self, name: str | None) -> None:
        self.node.name = name

    @property
    def op(self) -> Primitive | None:
        """The primitive that made it; None for a leaf."""
        return self.node.op

    @property
    def operands(self) -> tuple[Any, ...]:
        """What that primitive was applied to, in order: Values, and arrays for constants."""
        recall([self.node])
        pairs = zip(self.node.operands, self.node.inputs)
        return tuple(a if x is None else Value.of(x) for x, a in pairs)

    @property
    def params(self) -> dict[str, Any]:
        """The static arguments of that primitive, such as `axis`."""
        return dict(self.node.params)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        shape: tuple[int, ...] = self.node.data.shape
        return shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """NumPy's type of the elements."""
        dtype: np.dtype[Any] = self.node.data.dtype
        return dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return int(self.node.data.ndim)

    @property
    def size(self) -> int:
        """The number of elements. ValueError where Dask does not know it yet."""
        n = self.node.data.size
        return int(n) if n == n else total(self.node.data.shape)

    @property
    def itemsize(self) -> int:
        """The bytes of an element."""
        return int(self.dtype.itemsize)

    @property
    def nbytes(self) -> int:
        """The bytes of all elements."""
        return self.size * self.itemsize

    @property
    def flat(self) -> Flat:
        """The entries in one row, to go through, to index and to write into."""
        return Flat(self)

    @property
    def T(self) -> Value:
        """All axes in reverse order."""
        return self.transpose()

    @property
    def mT(self) -> Value:
        """The last two axes exchanged."""
        return self.swapaxes(-1, -2)

    @property
    def real(self) -> Value:
        """The real part."""
        return run(complex_.real, (self,), NO_PARAMS)

    @property
    def imag(self) -> Value:
        """The imaginary part."""
        return run(complex_.imag, (self,), NO_PARAMS)

    def __repr__(self) -> str:
        made = f", op={self.op.name}" if self.op else ""
        named = f", name={self.name!r}" if self.name else ""
        if kind_of(self.data).rank:  # an array of another library
            return f"Value({self.data!r}{made}{named})"
        if self.ndim == 0:
            dtype = "" if self.dtype == np.float64 else f", dtype={self.dtype}"
            return f"Value({self.data!s}{dtype}{made}{named})"
        text = np.array2string(self.data, separator=", ", prefix="Value(")
        return f"Value({text}, shape={self.shape}, dtype={self.dtype}{made}{named})"

    # Gradients.

    def backward(self, seed: Any = None, create_graph: bool = False) -> None:
        """Add to `.grad` of every leaf the derivative of this Value by it.

        `seed`: the cotangent to start with, of this Value's shape: the result is then
        d(sum(seed * self)). May be left out (1) where there is one element only.
        `create_graph`: record the sweep, so that `.grad` is a Value and can be differentiated.

        Raises ValueError without a graph, without a needed seed, or for a seed of another shape;
        no `.grad` has changed then.

        >>> x = Value([1.0, 2.0, 3.0])
        >>> (x * x).backward(np.ones(3))
        >>> x.grad
        array([2., 4., 6.])
        """
        data = self.node.data
        if not kind_of(data).alone:
            raise TypeError("backward() inside vmap: differentiate with tg.grad or tg.vjp there")
        if not self.node.requires_grad:
            raise ValueError(
                "backward() on a Value without a graph: it is a constant, was detached, or was "
                "made under no_grad() or from constants only"
                + ("" if is_inexact(data.dtype) else f" ({data.dtype} data carries no gradient)")
            )
        if seed is None:
            if data.shape.count(1) != data.ndim:
                raise ValueError(
                    f"backward() on a Value of shape {data.shape}: pass a seed of that shape "
                    "(ones for the gradient of the sum), or reduce it to one number first"
                )
            seed = ones_like(data)
        elif not same_shape(np.shape(data_of(seed)), data.shape):
            shape = np.shape(data_of(seed))
            raise ValueError(f"seed of shape {shape} for a Value of shape {data.shape}")
        elif not (create_graph and isinstance(seed, Value)):
            seed = copied(in_place_of(data, data_of(seed), "seed"), data.dtype)
        for node, g in cotangents({self.node: seed}, create_graph).items():
            node.grad = g if node.grad is None else kind_of(node.data).plus(node.grad, g)

    def retain_grad(self) -> None:
        """Let `backward()` leave the gradient here too, though this is no leaf."""
        self.node.retains_grad = True

    def detach(self) -> Value:
        """The same data (not copied) as a constant: no gradient flows through."""
        return Value.of(leaf(self.data))

    # Operators. Everything broadcasts as in NumPy; arrays and numbers are constants.

    def __add__(self, other: Array) -> Value:
        return run(add, (self, other), NO_PARAMS)

    def __radd__(self, other: Array) -> Value:
        return run(add, (other, self), NO_PARAMS)

    def __sub__(self, other: Array) -> Value:
        return run(subtract, (self, other), NO_PARAMS)

    def __rsub__(self, other: Array) -> Value:
        return run(subtract, (other, self), NO_PARAMS)

    def __mul__(self, other: Array) -> Value:
        return run(multiply, (self, other), NO_PARAMS)

    def __rmul__(self, other: Array) -> Value:
        return run(multiply, (other, self), NO_PARAMS)

    def __truediv__(self, other: Array) -> Value:
        return run(divide, (self, other), NO_PARAMS)

    def __rtruediv__(self, other: Array) -> Value:
        return run(divide, (other, self), NO_PARAMS)

    def __pow__(self, other: Array) -> Value:
        return run(power, (self, other), NO_PARAMS)

    def __rpow__(self, other: Array) -> Value:
        return run(power, (other, self), NO_PARAMS)

    def __floordiv__(self, other: Array) -> Value:
        return run(rounding.floor_divide, (self, other), NO_PARAMS)

    def __rfloordiv__(self, other: Array) -> Value:
        return run(rounding.floor_divide, (other, self), NO_PARAMS)

    def __mod__(self, other: Array) -> Value:
        return run(rounding.remainder, (self, other), NO_PARAMS)

    def __rmod__(self, other: Array) -> Value:
        return run(rounding.remainder, (other, self), NO_PARAMS)

    def __divmod__(self, other: Array) -> tuple[Value, Value]:
        return self // other, self % other

    def __rdivmod__(self, other: Array) -> tuple[Value, Value]:
        return other // self, other % self

    def __matmul__(self, other: Array) -> Value:
        return run(linalg.matmul, (self, other), NO_PARAMS)

    def __rmatmul__(self, other: Array) -> Value:
        return run(linalg.matmul, (other, self), NO_PARAMS)

    # In place. A number cannot change: the name moves to another, as in NumPy.

    __iadd__ = in_place(operator.add)
    __isub__ = in_place(operator.sub)
    __imul__ = in_place(operator.mul)
    __itruediv__ = in_place(operator.truediv)
    __ifloordiv__ = in_place(operator.floordiv)
    __imod__ = in_place(operator.mod)
    __ipow__ = in_place(operator.pow)
    __imatmul__ = in_place(operator.matmul)

    def __neg__(self) -> Value:
        return run(negative, (self,), NO_PARAMS)

    def __pos__(self) -> Value:
        return run(elementwise.positive, (self,), NO_PARAMS)

    def __abs__(self) -> Value:
        return run(elementwise.absolute, (self,), NO_PARAMS)

    # Comparisons give plain boolean arrays: a truth value has no derivative.

    __hash__ = object.__hash__

    __eq__, __ne__ = comparison(np.equal), comparison(np.not_equal)
    __lt__, __le__ = comparison(np.less), comparison(np.less_equal)
    __gt__, __ge__ = comparison(np.greater), comparison(np.greater_equal)

    # Bits, of masks.

    __and__, __rand__ = both_orders(np.bitwise_and)
    __or__, __ror__ = both_orders(np.bitwise_or)
    __xor__, __rxor__ = both_orders(np.bitwise_xor)
    __lshift__, __rlshift__ = both_orders(np.left_shift)
    __rshift__, __rrshift__ = both_orders(np.right_shift)

    def __invert__(self) -> Any:
        return np.invert(self)

    # Indexing and conversion.

    def __getitem__(self, i: Any) -> Value:
        entries = run(index.getitem, (self,), {"index": as_param(i)})
        if self.node.op is index.setitem:
            forget_whole(entries.node)
        return entries

    def __setitem__(self, i: Any, x: Array) -> None:
        """`v[i] = x`, differentiable: a new node under the same name, and under those of its views.

        Under `no_grad()` a leaf gets new data. Whoever computed with the old ones still has them.
        """
        self._may_change()
        self._become(run(index.setitem, (self, x), {"index": as_param(i)}))

    def _in_place(self, updated: Value) -> Value:
        """`self`, which is now `updated`, in the shape and dtype that it has; of numbers, that."""
        return self._changed_to(updated) if self.ndim else updated

    def _changed_to(self, updated: Value) -> Value:
        if not isinstance(updated, Value):
            raise TypeError(f"a Value cannot become {called(updated)}: write v = v + x for v += x")
        if updated.shape != self.shape:
            raise ValueError(f"a result of shape {updated.shape} does not fit into {self.shape}")
        if not np.can_cast(updated.dtype, self.dtype, "same_kind"):
            raise TypeError(f"a result of {updated.dtype} would be cut off in {self.dtype}")
        self._may_change()
        self._become(updated if updated.dtype == self.dtype else updated.astype(self.dtype))
        return self

    def _may_change(self) -> None:
        """ValueError where a change would cut this Value off from its gradient."""
        if not self.requires_grad:
            return
        if self.op is None or self.op is alias:
            if recorder.get() is not None or self.op is alias:
                raise ValueError(
                    "changing a leaf that requires grad would hide the leaf: change a copy "
                    "(v = v.copy()), write v = v + 1 instead of v += 1, or change it under "
                    "no_grad(), where it gets new data"
                )
        elif recorder.get() is None:
            raise ValueError(
                f"changing the result of {self.op.name} under no_grad() would lose its gradient: "
                "change a copy, v = v.detach().copy()"
            )

    def _become(self, updated: Value) -> None:
        """Let this name mean `updated`."""
        node, new = self.node, updated.node
        if node.requires_grad and node.op is None:
            if not kind_of(new.data).alone:
                raise ValueError("a leaf that requires grad cannot hold the examples of a vmap")
            node.data = new.data
            return
        new.name, new.retains_grad = node.name, node.retains_grad
        self.node = new
        forget(new)

    def __len__(self) -> int:
        if not self.ndim:
            raise TypeError("a Value of shape () has no len()")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Value]:
        return (self[i] for i in range(len(self)))

    def __contains__(self, x: Any) -> bool:
        return data_of(x) in self.data

    def __bool__(self) -> bool:
        return bool(self.data)

    def __float__(self) -> float:
        return float(self._number())

    def __int__(self) -> int:
        return int(self.data)

    def __index__(self) -> int:
        try:
            return operator.index(self.data)
        except TypeError as error:
            raise TypeError(
                f"{error}, and this Value is none (for the larger of two arrays np.maximum(a, b))"
            ) from None

    def __complex__(self) -> complex:
        return complex(self._number())

    def _number(self) -> Any:
        """The data; TypeError where a transform would lose its gradient, as in `array[0] = v`."""
        if differentiated(self):
            raise TypeError(
                "float() of a Value that is being differentiated would lose its gradient; so would "
                "assigning it to an item of an array, and a function of `math`: write into "
                "np.zeros(shape, like=value), np.stack the items, use np.sin for math.sin, "
                ".item() for the number"
            )
        return to_numbers(self.data)

    def __round__(self, ndigits: int = 0) -> Value:
        return run(rounding.round, (self,), {"decimals": ndigits})

    def __format__(self, spec: str) -> str:
        return format(to_numbers(self.data), spec) if spec else repr(self)

    def item(self, *i: int) -> Any:
        """The element as a Python number."""
        return to_numbers(self.data).item(*i)

    def tolist(self) -> Any:
        """The data as Python numbers in nested lists."""
        return to_numbers(self.data).tolist()

    def __copy__(self) -> Value:
        """A leaf of its own; where a transform differentiates this Value, a differentiable copy."""
        return self.copy() if differentiated(self) else _restore(*self.__reduce__()[1])

    def __deepcopy__(self, memo: Any) -> Value:
        """The same; also of a result, such as one that a Module keeps, a differentiable copy."""
        return self.copy() if self.op is not None else self.__copy__()

    def __reduce__(self) -> Any:
        """For `copy` and `pickle`: a leaf is its data; a graph cannot be pickled."""
        if differentiated(self):
            raise TypeError(
                "a Value that is being differentiated would lose its gradient in a pickle: pickle "
                "value.data"
            )
        if self.op is not None:
            raise TypeError(
                f"only leaves can be copied or pickled, this Value is the result of {self.op.name}:"
                " use .data for its numbers (in a plot), .detach(), or .copy() to go on with it"
            )
        return _restore, (self.data, self.requires_grad, self.name, self.grad)

    def __dask_tokenize__(self) -> Any:
        """What Dask names its arrays and tasks by."""
        from uuid import uuid4

        from dask.tokenize import normalize_token

        if is_asked_by_dask(sys._getframe(1)):
            raise TypeError(
                "Dask takes the numbers of its operands, and would lose a gradient: write NumPy's "
                "functions and operators, X @ v or np.dot(X, v) for X.dot(v) and da.dot(X, v), or "
                "v.data for the numbers"
            )
        leaf = self.op is None and not differentiated(self)
        return normalize_token(self.__reduce__()[1] if leaf else uuid4().hex)

    # NumPy's protocols.

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        if is_asked_by_sparse(sys._getframe(1)):
            return as_object(self)  # type: ignore[no-any-return]
        if self.requires_grad:
            if is_asked_by_operator(sys._getframe(1)):
                raise TypeError(
                    "SciPy's LinearOperator takes the numbers of its operand, and would lose a "
                    "gradient: write tensorgrad.scipy.sparse.linalg.aslinearoperator(L) @ v"
                )
            raise TypeError(
                "turning a Value that requires grad into an array would lose its gradient: leave "
                "np.asarray(v) out, write tg.array([v, w]) for np.array([v, w]), np.stack or "
                "np.full(n, v, like=v) to make arrays of Values, x.to_numpy() or x.toarray() of a "
                "table or sparse matrix x beside it, np.func(value) to compute on "
                "(tensorgrad.scipy for SciPy's functions), .data for the numbers; to fill an array "
                "with Values write into np.zeros(shape, like=v)"
            )
        return np.array(to_numbers(self.data), dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if kwargs and kwargs.get("out") is not None:
            raise TypeError(
                f"np.{ufunc.__name__}: out= and in-place operators on an array cannot be "
                f"differentiated: write a = a + value instead of a += value, or v[...] = "
                f"np.{ufunc.__name__}(v) instead of out=v"
            )
        if method == "__call__":
            return run_numpy(ufunc, inputs, kwargs)
        made_of_it = method_of(ufunc, method)
        if made_of_it is None:
            raise TypeError(f"np.{ufunc.__name__}.{method} has no gradient rule")
        return made_of_it(*inputs, **kwargs)

    def __array_function__(
        self, func: Callable[..., Any], types: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        if len(types) > 1 and is_foreign(types):
            return NotImplemented
        if func in NEW and elsewhere(self.node.data):  # like=
            kwargs.pop("device", None)
            return Value.of(leaf(created(func, *args, like=self.node.data, **kwargs)))
        return run_numpy(func, args, kwargs)

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        """The functions that take Values: NumPy's. (SciPy, under SCIPY_ARRAY_API=1, has a module of
        its own for them, and mixes it with no other.)"""
        names = "scipy._external.array_api_compat.numpy", "scipy._lib.array_api_compat.numpy"
        return next((sys.modules[name] for name in names if name in sys.modules), np)

    fill_value = Declines()
    __pandas_priority__ = 5000  # higher than a DataFrame's: pandas leaves operators to a Value

    # The usual methods, as NumPy spells them. What has no gradient, such as an index, is plain.

    all = method("all")
    any = method("any")
    argmax = method("argmax")
    argmin = method("argmin")
    argpartition = method("argpartition")
    argsort = method("argsort")
    choose = method("choose")
    clip = method("clip")
    cumprod = method("cumprod")
    cumsum = method("cumsum")
    diagonal = method("diagonal")
    dot = method("dot")
    max = method("max")
    mean = method("mean")
    min = method("min")
    nonzero = method("nonzero")
    prod = method("prod")
    put = method("put")
    ravel = method("ravel")
    repeat = method("repeat")
    round = method("round")
    searchsorted = method("searchsorted")
    squeeze = method("squeeze")
    std = method("std")
    sum = method("sum")
    take = method("take")
    trace = method("trace")
    var = method("var")

    def reshape(self, *shape_: Any, order: str = "C", copy: bool | None = None) -> Value:
        """The same entries in another shape: `v.reshape(2, -1)` or `v.reshape((2, -1))`."""
        new = shape_[0] if len(shape_) == 1 else shape_
        if order == "C" and copy is None:
            return run(shape.reshape, (self,), {"shape": new})
        how = {} if copy is None else {"copy": copy}  # since NumPy 2.1
        value: Value = run_numpy(np.reshape, (self, new), {"order": order, **how})
        return value

    def todense(self) -> Value:
        """The entries of a sparse array in a dense one, 0 where none is stored; or this Value."""
        value: Value = sparse.todense(self)
        return value

    def flatten(self, order: str | int = "C", end_dim: int = -1) -> Value:
        """The entries in one axis, a copy; `v.flatten(1)`: all axes but the first, as in PyTorch.

        >>> Value(np.ones((2, 3, 4))).flatten(1).shape
        (2, 12)
        """
        if isinstance(order, str):
            return Value.of(self.ravel(order).node)  # and no view
        place = np.lib.array_utils.normalize_axis_index
        first, last = place(order, self.ndim), place(end_dim, self.ndim)
        if last < first:
            raise ValueError(f"flatten({order}, {end_dim}) of shape {self.shape}: no such axes")
        size = math.prod(self.shape[first : last + 1])
        return self.reshape(*self.shape[:first], size, *self.shape[last + 1 :])

    def transpose(self, *axes: Any) -> Value:
        """The axes in another order: `v.transpose(2, 0, 1)`, reversed by default."""
        order = axes[0] if len(axes) == 1 else axes or None
        if len(axes) == 2 < self.ndim:
            raise ValueError(
                f"transpose{axes} of shape {self.shape} takes all axes, in their new order; to "
                f"exchange two, as PyTorch's does, write v.swapaxes{axes}"
            )
        return run(shape.transpose, (self,), {"axes": order})

    def swapaxes(self, axis1: int, axis2: int) -> Value:
        """Two axes exchanged."""
        return run(shape.swapaxes, (self,), {"axis1": axis1, "axis2": axis2})

    def conj(self) -> Value:
        """The complex conjugate; of real numbers itself, as in NumPy."""
        return self if self.dtype.kind != "c" else run(complex_.conjugate, (self,), NO_PARAMS)

    def conjugate(self) -> Value:
        """The complex conjugate."""
        return self.conj()

    def compress(self, condition: Any, axis: int | None = None, out: None = None) -> Value:
        """The entries along `axis` where the condition holds."""
        value: Value = run_numpy(np.compress, (condition, self, axis, out), {})
        return value

    def sort(self, *args: Any, **kwargs: Any) -> None:
        """Arrays are sorted in place; a TypeError, with the way out."""
        raise TypeError("a Value is not sorted in place: write v = np.sort(v)")

    def partition(self, *args: Any, **kwargs: Any) -> None:
        """As `sort`."""
        raise TypeError("a Value is not partitioned in place: write v = np.partition(v, kth)")

    def resize(self, *args: Any, **kwargs: Any) -> None:
        """As `sort`."""
        raise TypeError("a Value is not resized in place: write v = np.resize(v, shape)")

    def fill(self, value: Array) -> None:
        """`v[...] = value`."""
        self[...] = value

    def copy(self, order: str = "C") -> Value:
        """A differentiable copy, its entries in memory in `order`."""
        flags = getattr(self.data, "flags", None)
        as_it_is = flags is None or (order == "C" and flags.c_contiguous)
        return run(elementwise.copy, (self,), NO_PARAMS if as_it_is else {"order": order})

    def astype(
        self,
        dtype: npt.DTypeLike,
        order: str = "K",
        casting: Any = "unsafe",
        subok: bool = True,
        copy: bool = True,
    ) -> Value:
        """In another dtype; a constant if that carries no gradient."""
        if casting != "unsafe" and not np.can_cast(self.dtype, dtype, casting):
            raise TypeError(f"cannot cast {self.dtype} to {np.dtype(dtype)}, casting={casting!r}")
        if not copy and self.dtype == dtype:
            return self
        if not is_inexact(np.dtype(dtype)):
            return Value.of(leaf(self.data.astype(dtype)))
        return run(elementwise.astype, (self,), {"dtype": dtype})

    def to(self, *to: Any) -> Value:
        """At a place, `v.to("cupy")` or "numpy", in a dtype, or both, `v.to("cupy", np.float32)`.

        Differentiable: the gradient comes back to where this Value is. TypeError for what is no
        place and no dtype.
        """
        place, dtype = destination(to, "Value")
        there = self
        if place is not None and place_of(self.data) is not place:
            there = run(transfer, (self,), {"to": place.name})
        return there if dtype is None or dtype == there.dtype else there.astype(dtype)

    def exp(self) -> Value:
        """e to the power of each element."""
        return run(elementwise.exp, (self,), NO_PARAMS)

    def log(self) -> Value:
        """The natural logarithm of each element."""
        return run(elementwise.log, (self,), NO_PARAMS)

    def tanh(self) -> Value:
        """The hyperbolic tangent of each element."""
        return run(elementwise.tanh, (self,), NO_PARAMS)

    def sigmoid(self) -> Value:
        """1 / (1 + e⁻ˣ) of each element."""
        return run(activation.sigmoid, (self,), NO_PARAMS)

    def relu(self) -> Value:
        """max(0, x) of each element, with gradient 0 at 0."""
        return run(activation.relu, (self,), NO_PARAMS)

    def softmax(self, axis: int = -1, dim: int | None = None) -> Value:
        """e^x / Σ e^x along an axis, which PyTorch calls `dim`."""
        return run(softmax.softmax, (self,), {"axis": axis if dim is None else dim})

    def log_softmax(self, axis: int = -1, dim: int | None = None) -> Value:
        """The logarithm of `softmax`, without underflow."""
        return run(softmax.log_softmax, (self,), {"axis": axis if dim is None else dim})


class Flat:
    """The entries of a Value in one row: `v.flat[i] = x` is written into `v`, however it lies."""

    def __init__(self, value: Value) -> None:
        self.value = value

    def __len__(self) -> int:
        return int(self.value.size)

    def __iter__(self) -> Iterator[Value]:
        return iter(self.value.ravel())

    def __getitem__(self, i: Any) -> Value:
        found: Value = self.value.ravel()[i]
        return found

    def __setitem__(self, i: Any, x: Any) -> None:
        shape = self.value.shape
        self.value[np.unravel_index(np.arange(len(self))[i], shape)] = x


for missing in ATTRIBUTES.keys() - set(dir(Value)):
    setattr(Value, missing, Instead(missing, ATTRIBUTES[missing]))


def as_constant(x: Any) -> Value:
    """A Value as it is; numbers and arrays as a Value without a gradient."""
    if isinstance(x, Value):
        return x
    x = ordinary(x, "tensorgrad")
    return Value.of(leaf(kept(x) if is_known(x) and hasattr(x, "dtype") else as_data(x)))


def plain(data: Any) -> Any:
    """A result without a gradient: an array; inside vmap a Value, which has the manners of one."""
    return data if kind_of(data).alone else Value.of(leaf(data))


Handle.kind = Value


def ones_like(data: Any) -> Any:
    """The cotangent of a sum."""
    if is_numpy(data) and not data.ndim:
        return data.dtype.type(1)  # 0.2 µs instead of 1.5
    return created(np.ones, data.shape, data.dtype, like=data)[()]


def in_place_of(old: Any, new: Any, what: str) -> Any:
    """`new`, to be set in a Value that holds `old`. TypeError for an array at another place, or for
    a dense one instead of a sparse one."""
    if met and is_sparse(new) != is_sparse(old) and (what == "data" or is_sparse(new)):
        kind, other = ("sparse", "dense") if is_sparse(new) else ("dense", "sparse")
        raise TypeError(f"{what} is {kind}, and the Value's is {other}: make another Value of it")
    if not (elsewhere(new) or elsewhere(old)) or kind_of(new) is kind_of(innermost(old)):
        return new
    if np.ndim(new):
        theirs, mine = (kind_of(innermost(x)).name or type(x).__name__ for x in (new, old))
        raise TypeError(
            f"{what} is an array of {theirs}'s, and the Value's are {mine}'s: move it, "
            f"tg.Value({what}).to({mine!r}).data, or the Value's Module, .to({theirs!r})"
        )
    return beside(new, old)


def learns(x: Any) -> bool:
    """Whether a Value that requires grad is in an argument."""
    if isinstance(x, Value):
        return x.requires_grad
    return type(x) in (list, tuple) and any(map(learns, x))


def run_numpy(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What a NumPy function does with a Value: its implementation, or an error that names it."""
    implementation = implementation_of(function)
    if implementation is None:
        if opaque.get() and not learns([*args, *kwargs.values()]):
            return function(*data_of(args), **{k: data_of(x) for k, x in kwargs.items()})
        name = function.__name__
        ours = getattr(np, name, None) is function
        home = "numpy" if ours else getattr(function, "__module__", None)
        name = f"{home}.{name}" if home else name
        raise TypeError(
            f"{name} has no gradient rule. Declare one, tg.primitive({name}, rule, ...), or give "
            "it value.data to compute without a gradient"
        )
    return implementation(*args, **kwargs)


def as_data(data: Any) -> Any:
    """A copy of `data` as an array; NumPy scalars for single numbers, floats for Python's ints."""
    if isinstance(data, (list, tuple)) and holds_a_value(data):
        raise TypeError("a Value of Values would lose their gradients: join them with tg.array")
    if differentiated(data):
        raise TypeError(
            "a new Value of one that is being differentiated would lose its gradient: use it as it "
            "is, v.copy(), or v.detach() for a constant"
        )
    data = data_of(data)
    try:
        array = copied(data if is_numpy(data) else ordinary(data, "a Value"))
    except Exception as error:
        note(error, "a Value", data)
        raise
    dtype = getattr(array, "dtype", None) if is_known(array) else None  # no copy of a stranger
    if dtype is None or not is_numeric(dtype):
        of = f" of dtype {dtype}" if dtype else ""
        raise TypeError(f"a Value holds numbers, not {called(data)}{of}; {way_out(data)}")
    if dtype.kind == "i" and (not hasattr(data, "dtype") or getattr(data, "weak", False)):
        array = array.astype(np.float64)
    return kept(array)


def holds_a_value(x: Any) -> bool:
    """Whether there is a Value in these lists and tuples."""
    return isinstance(x, Value) or (isinstance(x, (list, tuple)) and any(map(holds_a_value, x)))


def _restore(data: Any, requires_grad: bool, name: str | None, grad: Any) -> Value:
    value = Value(data, requires_grad, name)
    value.grad = grad
    return value


def no_grad() -> recording:
    """Record nothing inside: a `with` block, or a decorated function; for this thread only.

    >>> x = Value(3.0)
    >>> with no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """
    return recording(None)
