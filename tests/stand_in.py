"""A stand-in for CuPy, where there is no GPU: arrays of a memory of their own, on NumPy's inside.

As strict as CuPy 14: it makes no array of NumPy's of its own accord, computes with its own kind and
with numbers only, gives arrays where NumPy gives numbers, and has the functions, arguments and
methods that CuPy has, and no others (`LACKS`, `LACKS_ARGUMENTS`, `METHODS` were read off CuPy
14.2). It is a row of the table as CuPy is, by the same class: what runs on it runs the same way
there, as far as Python goes.

What it does not show: speed; streams; that CuPy wraps indices that are out of range, where NumPy
and this raise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from tensorgrad.engine.device import Device


def words(text: str) -> list[str]:
    return text.split()


LACKS = words(
    """asmatrix block bmat busday_count busday_offset datetime_as_string datetime_data einsum_path
    frompyfunc fromregex geomspace getbufsize geterr geterrcall histogram_bin_edges info insert
    is_busday isnat matvec nanpercentile nanquantile nested_iters polyder polydiv polyint
    setbufsize seterr seterrcall spacing unstack vecdot vecmat as_strided linalg.diagonal
    linalg.matrix_norm linalg.multi_dot linalg.outer linalg.svdvals linalg.tensordot linalg.trace
    linalg.vecdot linalg.vector_norm"""
)
"""NumPy's functions that CuPy has not, or that do not ask it."""

REDUCES = {"add", "multiply"}
"""The ufuncs whose `reduce` is there, and `accumulate`."""

AT = {"add", "subtract", "maximum", "minimum", "bitwise_and", "bitwise_or", "bitwise_xor"}

SPECIAL = words(
    """bdtr bdtrc bdtri beta betainc betaincinv betaln binom boxcox boxcox1p btdtr btdtri cbrt chdtr
    chdtrc chdtri cosdg cosm1 cotdg digamma ellipeinc ellipj ellipk ellipkinc ellipkm1 entr erf erfc
    erfcinv erfcx erfinv exp1 exp10 exp2 expi expit expm1 expn exprel fdtr fdtrc fdtri gamma
    gammainc gammaincc gammainccinv gammaincinv gammaln gammasgn gdtr gdtrc huber i0 i0e i1 i1e
    inv_boxcox inv_boxcox1p j0 j1 k0 k0e k1 k1e kl_div lambertw log1p log_expit log_ndtr loggamma
    logit nbdtr nbdtrc nbdtri ndtr ndtri pdtr pdtrc pdtri poch polygamma pseudo_huber psi radian
    rel_entr rgamma round shichi sici sinc sindg spherical_yn tandg wright_bessel xlog1py xlogy y0
    y1 yn zeta zetac"""
)
"""SciPy's functions that CuPy has."""

LACKS_ARGUMENTS = {
    **dict.fromkeys(words("all any mean nanmean"), "where"),
    **dict.fromkeys(
        words("amax amin max min nanmax nanmin nanprod nansum prod sum"), "initial where"
    ),
    **dict.fromkeys(words("nanstd nanvar std var"), "where mean correction"),
    **dict.fromkeys(
        words(
            """array asarray asanyarray empty empty_like eye full full_like linspace ones ones_like
            zeros zeros_like astype fft.fftfreq fft.rfftfreq"""
        ),
        "device",
    ),
    **dict.fromkeys(words("broadcast_arrays broadcast_to copy"), "subok"),
    **dict.fromkeys(words("argsort sort"), "order stable"),
    **dict.fromkeys(words("argpartition partition"), "kind order"),
    **dict.fromkeys(words("flip fliplr flipud rot90 cov"), "m"),
    **dict.fromkeys(words("concat concatenate stack"), "arrays"),
    **dict.fromkeys(words("percentile quantile"), "weights"),
    "arange": "start_or_stop device",
    "clip": "min max",
    "count_nonzero": "keepdims",
    "indices": "sparse",
    "lexsort": "axis",
    "piecewise": "args kw",
    "reshape": "shape",
    "take": "mode",
    "take_along_axis": "arr",
    "trim_zeros": "axis",
    "unique": "sorted",
    "unravel_index": "shape",
    "linalg.cholesky": "upper",
    "linalg.matrix_rank": "A hermitian rtol",
    "linalg.pinv": "hermitian rtol",
    "linalg.svd": "hermitian",
}
"""Arguments of NumPy's functions that CuPy's have not, by name."""

METHODS = words(
    """all any argmax argmin argpartition argsort choose clip compress conj conjugate cumprod cumsum
    diagonal dot fill flatten max mean min nonzero partition prod ptp put ravel repeat round
    searchsorted sort squeeze std sum swapaxes take trace var"""
)

CONVERTS = {"array", "asarray", "asanyarray", "ascontiguousarray"}
"""What makes its own arrays of NumPy's."""

INDICES = {"take", "take_along_axis", "put", "put_along_axis", "getitem", "at"}
"""Whose further arguments are indices: these may be NumPy's."""


class Place:
    """A device: `with array.device:` is where arrays are created."""

    now: Any = None

    def __init__(self, number: int) -> None:
        self.number = number

    def __enter__(self) -> Place:
        self.before, Place.now = Place.now, self
        return self

    def __exit__(self, *error: object) -> None:
        Place.now = self.before

    def __repr__(self) -> str:
        return f"<place {self.number}>"


FIRST, SECOND = Place(0), Place(1)
Place.now = FIRST


class Array(np.lib.mixins.NDArrayOperatorsMixin):
    """An array of the stand-in's."""

    __slots__ = ("base", "device", "hidden")
    __hash__ = None  # type: ignore[assignment]
    calls = 0

    def __init__(self, hidden: Any, base: Any = None) -> None:
        self.hidden, self.base, self.device = np.asarray(hidden), base, Place.now

    shape = property(lambda self: self.hidden.shape)
    dtype = property(lambda self: self.hidden.dtype)
    ndim = property(lambda self: self.hidden.ndim)
    size = property(lambda self: self.hidden.size)
    itemsize = property(lambda self: self.hidden.itemsize)
    nbytes = property(lambda self: self.hidden.nbytes)
    strides = property(lambda self: self.hidden.strides)
    T = property(lambda self: self.transpose())
    mT = property(lambda self: np.swapaxes(self, -1, -2))
    real = property(lambda self: Array(self.hidden.real, self))
    imag = property(lambda self: Array(self.hidden.imag))
    flags = property(lambda self: Flags(self.hidden.flags))

    def get(self) -> Any:
        return self.hidden.copy()

    def item(self) -> Any:
        return self.hidden.item()

    def tolist(self) -> Any:
        return self.hidden.tolist()

    def __bool__(self) -> bool:
        return bool(self.hidden)

    def __float__(self) -> float:
        return float(self.hidden)

    def __int__(self) -> int:
        return int(self.hidden)

    def __complex__(self) -> complex:
        return complex(self.hidden)

    def __len__(self) -> int:
        return len(self.hidden)

    def __iter__(self) -> Iterator[Array]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return repr(self.hidden)

    def __format__(self, spec: str) -> str:
        return format(self.hidden, spec)

    def __reduce__(self) -> Any:
        return library.array, (self.get(),)

    def __copy__(self) -> Array:
        return self.copy()

    def __deepcopy__(self, memo: Any) -> Array:
        return self.copy()

    def copy(self, order: str = "C") -> Array:
        return Array(self.hidden.copy(order))

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, copy: bool = True) -> Array:
        if casting is not None:
            raise TypeError("casting is not supported yet")
        if not copy and self.dtype == dtype:
            return self
        return Array(self.hidden.astype(dtype, order))

    def view(self, dtype: Any = None) -> Array:
        return Array(self.hidden.view() if dtype is None else self.hidden.view(dtype), self)

    def reshape(self, *shape: Any, order: str = "C", copy: Any = None) -> Array:
        return Array(self.hidden.reshape(*shape, order=order), self)

    def transpose(self, *axes: Any) -> Array:
        return Array(self.hidden.transpose(*axes), self)

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(f"'Array' object has no attribute {name!r}")
        if name == "conj":
            return lambda: np.conjugate(self)
        if name in ("fill", "sort", "partition"):
            return getattr(self.hidden, name)
        function = getattr(library, name if name != "flatten" else "ravel")
        return lambda *args, **kwargs: function(self, *args, **kwargs)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        out = kwargs.get("out", ())
        operands = args[::2] if method == "at" else args
        if not all(known(x) or isinstance(x, np.ndarray) for x in (*operands, *out)):
            return NotImplemented
        if out:
            kwargs["out"] = out[0]
        if method == "__call__":
            own = getattr(library, name, None) or getattr(library.special, name, None)
            return NotImplemented if own is None else own(*args, **kwargs)
        if (method in ("reduce", "accumulate", "reduceat") and name not in REDUCES) or (
            method == "at" and name not in AT
        ):
            raise NotImplementedError(f"`{name}.{method}` is not supported yet")
        return Function(f"{name}.{method}", getattr(ufunc, method), method)(*args, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if not all(kind in (Array, np.ndarray) for kind in types):
            return NotImplemented
        home: Any = library
        for part in function.__module__.split(".")[1:]:
            home = getattr(home, part, None)
        own = getattr(home, function.__name__, None)
        return NotImplemented if own is None else own(*args, **kwargs)

    def __getitem__(self, index: Any) -> Array:
        Array.calls += 1
        found = self.hidden[bare(index)]
        return Array(found, self if np.may_share_memory(found, self.hidden) else None)

    def __setitem__(self, index: Any, x: Any) -> None:
        if isinstance(x, np.ndarray) and x.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        self.hidden[bare(index)] = bare(x)


class Flags:
    """What CuPy has of an array's flags."""

    def __init__(self, flags: Any) -> None:
        self.c_contiguous, self.f_contiguous = flags.c_contiguous, flags.f_contiguous
        self.owndata, self.fnc, self.forc = flags.owndata, flags.fnc, flags.forc


NUMBERS = (bool, int, float, complex, np.generic)


def known(x: Any) -> bool:
    return type(x) is Array or isinstance(x, NUMBERS)


class Function:
    """A function of the library: NumPy's, on what is inside."""

    def __init__(self, name: str, function: Any, alone: str | None = None) -> None:
        self.name, self.function, self.alone = name, function, alone or name.rpartition(".")[2]
        self.__name__ = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        Array.calls += 1
        lacks = LACKS_ARGUMENTS.get(self.name, "").split()
        for name in kwargs:
            if name in lacks:
                raise TypeError(f"{self.name}() got an unexpected keyword argument {name!r}")
        if self.name == "where" and args and not isinstance(args[0], (Array, np.ndarray)):
            raise AttributeError(f"{type(args[0]).__name__!r} object has no attribute 'astype'")
        if self.name == "searchsorted" and not isinstance(args[0], (Array, np.ndarray)):
            raise NotImplementedError("Only int or ndarray are supported for a")
        if self.alone not in CONVERTS:
            refuse(args[:1] if self.alone in INDICES else (*args, *kwargs.values()))
        inside = [bare(x) for x in args]
        return wrapped(self.function(*inside, **{name: bare(x) for name, x in kwargs.items()}))


def refuse(xs: Any) -> None:
    for x in xs:
        if isinstance(x, np.ndarray):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        if isinstance(x, (list, tuple)):
            refuse(x)


def bare(x: Any) -> Any:
    if isinstance(x, Array):
        return x.hidden
    return type(x)(map(bare, x)) if type(x) in (list, tuple) else x


def wrapped(x: Any) -> Any:
    if isinstance(x, (np.ndarray, np.generic)):
        return Array(x, getattr(x, "base", None))
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        return type(x)(*map(wrapped, x))
    return type(x)(map(wrapped, x)) if type(x) in (list, tuple) else x


HOST = {"shape", "ndim", "size", "result_type", "can_cast", "broadcast_shapes", "iscomplexobj"}
"""What says something of arrays, and is none."""


class Library:
    """The module, or a part of it."""

    def __init__(self, module: Any, name: str = "") -> None:
        self._module, self._name = module, name

    def __getattr__(self, name: str) -> Any:
        full, made = f"{self._name}{name}", getattr(self._module, name, None)
        if full in LACKS or name[:1] == "_" or made is None:
            raise AttributeError(name)
        if isinstance(made, ModuleType):
            return Library(made, "" if name in ("lib", "stride_tricks") else f"{name}.")
        if not callable(made) or isinstance(made, type):
            return made
        if name in HOST:
            return lambda *args, **kwargs: made(*map(bare, args), **kwargs)
        return Function(full, made)

    def asnumpy(self, x: Any) -> Any:
        return x.get() if isinstance(x, Array) else np.asarray(x)

    @property
    def random(self) -> Any:
        return Draws

    @property
    def special(self) -> Any:
        return Special()


class Special:
    """The functions of SciPy."""

    def __getattr__(self, name: str) -> Any:
        if name not in SPECIAL:
            raise AttributeError(name)
        import scipy.special

        return Function(name, getattr(scipy.special, name))


class Generator:
    """A generator of the library's own: few methods, and its own arrays."""

    def __init__(self, seed: Any) -> None:
        self._rng = np.random.default_rng(seed)

    def random(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Array:
        return Array(self._rng.random(size, dtype))

    def standard_normal(self, size: Any = None, dtype: Any = np.float64, out: Any = None) -> Array:
        return Array(self._rng.standard_normal(size, dtype))

    def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Array:
        return Array(self._rng.uniform(low, high, size))

    def integers(self, low: int, high: Any = None, size: Any = None) -> Array:
        return Array(self._rng.integers(low, high, size))


class Draws:
    """Its random numbers."""

    Generator = Generator
    default_rng = Generator
    Philox4x3210 = staticmethod(lambda seed: seed)


library = Library(np)


class StandIn(Device):
    """The row."""

    def namespace(self) -> Any:
        return library


STAND_IN = StandIn("stand-in")


@contextlib.contextmanager
def in_the_table() -> Iterator[StandIn]:
    """The row in the table, as long as the block runs."""
    from tensorgrad.engine.arrays import kinds, met, places

    kinds[Array], places["stand-in"] = STAND_IN, STAND_IN
    try:
        yield STAND_IN
    finally:
        del kinds[Array], places["stand-in"]
        met.discard(Array)
