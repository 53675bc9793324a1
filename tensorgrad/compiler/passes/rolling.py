"""Scalars that repeat become vectors.

micrograd's program says the same few lines again for each point and each neuron. Two scalars are of
one *kind* if the same function makes them of arguments of the same kinds, down to the leaves, where
all inputs are of one kind, and all numbers. Hashing finds the kinds in linear time; and as a kind
depends on kinds before it alone, all of a kind can be made at once, kind after kind: a vector, in
which each scalar has its *place*.

What a kind reads is of one kind too, so it reads one vector, at an array of places. In their order,
these are often all there are, or each of a few with each of a few others, which broadcasts. A chain
of additions is one sum, whose terms come in any order; where these are products of each of some
rows with each of some others, the sums are a product of matrices. So two moons, a hundred points in
a network of 337 scalars, become eighty lines. Parameters are gathered into one vector, and who is
left alone takes its part out of one.
"""

from __future__ import annotations

import math
import operator
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tensorgrad.compiler.passes.rewrite import changed, keyed, uses
from tensorgrad.compiler.passes.tidy import dead_code
from tensorgrad.compiler.program import (
    UFUNCS,
    Instruction,
    Program,
    converted,
    entries,
    replaced,
    users_of,
)

MANY = 16
"""How many of a kind are worth a vector: one costs some 2 µs, and a scalar 0.1 µs."""
NUMBERS = bool, int, float, complex, np.generic
Places = npt.NDArray[np.intp]


def rolling(program: Program) -> Program:
    """Scalars of one kind become a vector, chains of additions a sum, sums of products a product
    of matrices."""
    scalars = {*filter(is_scalar, program.body)}
    if len(scalars) < MANY:
        return program
    lean = dead_code(program)
    kinds = Kinds(lean, scalars | rates(lean, scalars))
    return Roll(lean, kinds).program if any(kinds.repeats) else program


@lru_cache(maxsize=512)
def is_vectorised(f: Any) -> bool:
    """Whether a function does with vectors, entry by entry, what it does with numbers."""
    f = UFUNCS.get(f, f)
    if isinstance(f, np.ufunc):
        return f.signature is None and f.nout == 1
    return f in (operator.pow, np.where, converted)


def is_scalar(i: Instruction) -> bool:
    """Whether it makes a number that an entry of a vector could be."""
    dtype = i.dtype
    return (
        not i.shape and getattr(dtype, "kind", "") in ("f", "b", "c") and is_vectorised(i.function)
    )


def rates(program: Program, scalars: Container[Instruction]) -> set[Instruction]:
    """Numbers of Python's, such as 1 - βᵗ in Adam's step of each parameter, which go into doubles
    alone, and so may be entries of a vector of these."""
    found = set[Instruction]()
    kept = {x for x in program.outputs if isinstance(x, Instruction)}
    weak = (i for i in program.body if isinstance(i.dtype, type) and i.dtype is not complex)
    numbers = [i for i in weak if is_vectorised(i.function)]
    users = users_of(program) if numbers else {}
    for i in reversed(numbers):
        if i not in kept:
            doubles = (
                x in found or (x in scalars and x.dtype in DOUBLES) for x in users.get(i, ())
            )
            if all(doubles):
                found.add(i)
    return found


BOOL = np.dtype(bool)
DOUBLES = np.dtype(np.float64), np.dtype(np.complex128), BOOL


def item(i: Instruction) -> tuple[Instruction, int] | None:
    """The array of which it is an entry, perhaps of a row, and its place there in C's order."""
    index: tuple[int, ...] = ()
    array: Any = i
    while isinstance(array, Instruction) and array.function is operator.getitem:
        here = array.args[1] if type(array.args[1]) is tuple else (array.args[1],)
        if not all(type(x) is int for x in here):
            break
        array, index = array.args[0], here + index
    if not index or not isinstance(array, Instruction) or len(index) != len(array.shape or ()):
        return None
    place = 0
    for k, n in zip(index, array.shape or ()):
        place = place * n + k % n
    return array, place


class Sum:
    """`terms` of a chain of additions, and the `additions`, which nobody else reads."""

    __slots__ = ("additions", "terms")

    def __init__(self, terms: list[Any], additions: list[Instruction]) -> None:
        self.terms, self.additions = terms, additions


def is_addition(i: Instruction) -> bool:
    """Whether a scalar is a sum of numbers of one dtype, or Python's and one of them."""
    if i.function is not operator.add and i.function is not np.add:
        return False
    dtype = i.dtype
    for x in i.args:
        if type(x) not in (int, float) and getattr(x, "dtype", 0) != dtype:
            return False
    return dtype != BOOL and not i.kwargs


def sums(
    program: Program, scalars: Container[Instruction]
) -> tuple[dict[Instruction, Sum], set[Instruction]]:
    """The sum that each last addition of a chain makes; and all the other additions."""
    read = uses(program)
    read.update(program.guards)
    found: dict[Instruction, Sum] = {}
    within: set[Instruction] = set()

    def begun(x: Any) -> Sum | None:
        if x.__class__ is not Instruction or x not in found or read[x] > 1:
            return None
        within.add(x)
        return found.pop(x)

    for i in program.body:
        if i in scalars and is_addition(i):
            (x, y), (long, short) = i.args, map(begun, i.args)
            if short and (not long or len(long.terms) < len(short.terms)):
                x, y, long, short = y, x, short, long  # the short one moves: no term moves often
            long = long or Sum([x], [])
            long.terms += short.terms if short else [y]
            long.additions += [*(short.additions if short else ()), i]
            found[i] = long
    return found, within


class Kinds:
    """`members` of each kind, in the order of the program, and whether it `repeats` and becomes a
    vector; the kind `of` an instruction; `sums`, and the `items` of arrays."""

    def __init__(self, program: Program, scalars: Container[Instruction]) -> None:
        self.scalars = scalars
        self.sums, within = sums(program, scalars)
        self.items: dict[Instruction, tuple[Instruction, int]] = {}
        self.of: dict[Instruction, int] = {}
        self.members: list[list[Instruction]] = []
        self.known: dict[Any, int] = {}
        for i in program.body:
            if i not in within:
                self.add(i, self.key(i))
        self.repeats: list[bool] = []
        for members in self.members:
            self.repeats.append(self.is_worth(members))

    def add(self, i: Instruction, key: Any) -> int:
        kind = self.of[i] = self.known.setdefault(key, len(self.members))
        if kind == len(self.members):
            self.members.append([i])
        else:
            self.members[kind].append(i)
        return kind

    def key(self, i: Instruction) -> Any:
        """What tells the kind: of a sum, which kinds its terms are of, however many. What is no
        scalar is of a kind of its own."""
        if i in self.sums:
            return "sum", i.dtype, frozenset(map(self.mark, self.sums[i].terms))
        if self.is_count(i):
            return "count"
        if i in self.scalars:
            settings = keyed(i.kwargs) if i.kwargs else ()
            return i.function, i.dtype, (*map(self.mark, i.args),), settings
        place = item(i) if i.function is operator.getitem and i.shape == () else None
        if place is None:
            return i
        self.items[i] = place
        return "item", place[0]

    def is_count(self, i: Instruction) -> bool:
        """Whether it is a number of Python's that is made of inputs, such as how many steps there
        were: it stays one, and goes into vectors."""
        known = self.known.get("count")
        made = (x.function is None or self.of[x] == known for x in i.operands)
        return i.dtype is int and bool(i.args) and all(made)

    def mark(self, x: Any) -> Any:
        """What an argument adds to a key."""
        if x.__class__ is not Instruction:
            return x.__class__ if isinstance(x, NUMBERS) else ("setting", keyed(x))
        kind = self.of.get(x)
        if kind is None:  # an input
            number = x.shape == () and (isinstance(x.dtype, np.dtype) or x.dtype in (int, float))
            kind = self.add(x, ("input", x.dtype) if number else x)
        return kind

    def is_worth(self, members: Sequence[Instruction]) -> bool:
        """Whether a vector is: of many scalars, or of sums of many terms that are in one."""
        first = members[0]
        if first not in self.sums:
            return len(members) >= MANY and first in self.scalars
        terms = (x for i in members for x in self.sums[i].terms)
        count = Counter(self.of[x] for x in terms if isinstance(x, Instruction))
        return len(members) >= MANY or any(
            n >= MANY and (self.repeats[k] or self.is_leaf(k)) for k, n in count.items()
        )

    def is_leaf(self, kind: int) -> bool:
        first = self.members[kind][0]
        return first.function is None or first in self.items


class Roll:
    """Makes `program` of the kinds of another one. `vectors` are by kind; `made`: what stands for a
    scalar that is left alone."""

    def __init__(self, before: Program, kinds: Kinds) -> None:
        self.kinds = kinds
        self.body: list[Instruction] = []
        self.made: dict[Instruction, Any] = {}
        self.vectors: dict[int, Any] = {}
        self.place: dict[Instruction, int] = {}
        self.read: dict[int, list[tuple[Any, Any]]] = {}  # arguments of a kind: vectors, places
        self.views: dict[Any, Any] = {}
        self.gatherings: dict[Any, Any] = {}
        for kind, members in enumerate(kinds.members):
            self.first = members[0]
            if not kinds.repeats[kind]:
                for i in members:
                    self.keep(i)
            elif self.first in kinds.sums:
                self.vectors[kind] = self.total(members)
            else:
                self.vectors[kind] = self.elementwise(kind, members)
        outputs = [self.alone(x) for x in before.outputs]
        checks = [*self.checks(before)]
        self.program = replace(before, body=apart(self.body), outputs=outputs, checks=checks)

    def checks(self, before: Program) -> Iterator[Instruction]:
        """What must be finite: a vector, if all its entries must."""
        checked = set(before.checks)
        whole = {k for k in self.vectors if checked.issuperset(self.kinds.members[k])}
        for x in before.checks:
            kind = self.kinds.of.get(x)
            yield self.vectors[kind] if kind is not None and kind in whole else self.alone(x)

    def write(self, f: Any, args: Any, shape: Any, dtype: Any = None, **kwargs: Any) -> Instruction:
        dtype = np.dtype(dtype or self.first.dtype)  # of Python's numbers, too
        i = Instruction(f, args, kwargs, shape, dtype, scope=self.first.scope)
        self.body.append(i)
        return i

    def flat(self, x: Instruction) -> Instruction:
        size = (math.prod(x.shape or ()),)
        return x if x.shape == size else self.write(np.reshape, (x, size), size, x.dtype)

    # What is left alone

    def keep(self, i: Instruction) -> None:
        """What does not repeat stays, and finds what does in vectors."""
        if i in self.kinds.items:  # where it is needed
            return
        if (
            i.function is np.stack
            and not i.kwargs
            and len(i.args) == 1
            and self.is_in_one(i.args[0])
        ):
            self.made[i] = self.at(*self.where(i.args[0]))
            return
        if i.function is np.fromiter and type(i.args[0]) is list:
            self.made[i] = self.gathered(i.args[0], i.dtype)
            return
        for x in self.kinds.sums[i].additions if i in self.kinds.sums else [i]:
            now = {y: self.alone(y) for y in x.operands}
            new = x
            if any(y is not z for y, z in now.items()):
                new = self.made[x] = changed(x, x.function, *replaced((x.args, x.kwargs), now))
            if x.function is not None:
                self.body.append(new)

    def gathered(self, xs: Sequence[Any], dtype: Any) -> Any:
        """A vector of scalars of one dtype that are in several ones, or alone. What one function
        makes of all of them, such as an update, it makes of what it reads, gathered."""
        while all(map(is_converted_in_vain, xs)):
            xs = [x.args[0] for x in xs]
        key = *map(id, xs), dtype
        if key not in self.gatherings:
            self.gatherings[key] = self.together(xs, dtype)
        return self.gatherings[key]

    def together(self, xs: Sequence[Any], dtype: Any) -> Any:
        size = (len(xs),)
        if not any(isinstance(x, Instruction) for x in xs):
            return np.array(xs, dtype)
        if all(x is xs[0] for x in xs):
            return self.write(np.full, (size, self.alone(xs[0]), dtype), size, dtype)
        if len(call := {*map(self.call, xs)}) == 1 and None not in call:
            read = zip(*(x.args for x in xs))
            args = tuple(x[0] if is_constant(x) else self.gathered(x, xs[0].dtype) for x in read)
            return self.write(call.pop(), args, size, dtype)
        within: dict[int | None, list[Any]] = {}
        for x in xs:
            kind = self.kinds.of.get(x) if isinstance(x, Instruction) else None
            inside = kind in self.vectors or x in self.kinds.items
            within.setdefault(kind if inside else None, []).append(x)
        vectors, place, start = [], dict[Any, int](), 0
        for kind, members in within.items():
            if kind is None:
                n = len(members)
                place.update((x, start + k) for k, x in enumerate(members))
                made: Any = [*map(self.alone, members)], dtype, n
                vectors.append(self.write(np.fromiter, made, (n,), dtype))
            else:
                vectors.append(self.vector(kind))
                place.update((x, start + self.place[x]) for x in members)
            start += math.prod(vectors[-1].shape or ())
        whole = vectors[0]
        if len(vectors) > 1:
            whole = self.write(np.concatenate, (vectors,), (start,), dtype)
        return self.at(whole, np.array([place[x] for x in xs]))

    def call(self, x: Any) -> Any:
        """The ufunc of which a scalar is a call, if it could be one of vectors; None else."""
        known = isinstance(x, Instruction) and x in self.kinds.scalars and x not in self.kinds.sums
        f = UFUNCS.get(x.function, x.function) if known and x.operands and not x.kwargs else None
        alike = known and all(y.dtype in (x.dtype, float) for y in x.operands)
        return f if alike and isinstance(f, np.ufunc) else None

    def is_in_one(self, xs: Sequence[Any]) -> bool:
        """Whether these are entries of one vector, and not all the same one."""
        kinds = {self.kinds.of.get(x) if isinstance(x, Instruction) else None for x in xs}
        return len(kinds) == 1 and kinds <= self.vectors.keys() and any(x is not xs[0] for x in xs)

    def alone(self, x: Any) -> Any:
        """A scalar, taken out of a vector where it is in one."""
        if x.__class__ is not Instruction:
            return x
        if x in self.made:
            return self.made[x]
        kind = self.kinds.of.get(x)
        if x in self.kinds.items:
            array, place = self.kinds.items[x]
            index = tuple(map(int, np.unravel_index(place, array.shape or ())))
            part: tuple[Any, Any] = self.alone(array), index
        elif kind is not None and self.kinds.repeats[kind]:
            part = self.vectors[kind], self.place[x]
        else:
            return x
        made = self.made[x] = self.write(operator.getitem, part, (), x.dtype)
        made.name = x.name
        return made

    # What vectors read

    def vector(self, kind: int) -> Any:
        """All of a kind; leaves, and what was left alone, are put together where that is asked."""
        if kind not in self.vectors:
            members, items = self.kinds.members[kind], self.kinds.items
            if members[0] in items:
                self.place.update((x, items[x][1]) for x in members)
                self.vectors[kind] = self.flat(self.alone(items[members[0]][0]))
            else:
                dtype, n = members[0].dtype, len(members)
                self.place.update((x, k) for k, x in enumerate(members))
                args = [*map(self.alone, members)], dtype, n
                self.vectors[kind] = self.write(np.fromiter, args, (n,), dtype)
        return self.vectors[kind]

    def where(self, xs: Sequence[Any], dtype: Any = None) -> tuple[Any, Any]:
        """A vector that has these, all of one kind, and their places; or what all of them are."""
        if all(x is xs[0] for x in xs):
            return self.alone(xs[0]), None
        if isinstance(xs[0], Instruction):
            vector = self.vector(self.kinds.of[xs[0]])
            return vector, np.fromiter(map(self.place.__getitem__, xs), np.intp, len(xs))
        numbers = np.array(xs, dtype)
        bits = numbers.view(f"V{numbers.itemsize}").tolist()  # 0.0 is not -0.0
        known = {x: k for k, x in enumerate(dict.fromkeys(bits))}
        places = np.array([known[x] for x in bits])
        different = np.empty(len(known), numbers.dtype)
        different[places] = numbers
        return (different, places) if len(known) > 1 else (xs[0], None)

    def at(self, x: Any, places: Places) -> Any:
        """The entries of a vector at these places: a view, where that can be."""
        key = id(x), places.shape, places.tobytes()
        if key not in self.views:
            self.views[key] = self.taken(x, places), x
        return self.views[key][0]

    def taken(self, x: Any, places: Places) -> Any:
        if not isinstance(x, Instruction):
            return x[places]
        shape = places.shape
        all_places = np.arange(math.prod(x.shape or ()))
        if np.array_equal(places.ravel(), all_places):
            return x if len(shape) == 1 else self.write(np.reshape, (x, shape), shape, x.dtype)
        if np.array_equal(places.T.ravel(), all_places):
            turned = self.write(np.reshape, (x, shape[::-1]), shape[::-1], x.dtype)
            return self.write(np.transpose, (turned,), shape, x.dtype)
        start, stop = int(places.flat[0]), int(places.flat[-1]) + 1
        if np.array_equal(places, np.arange(start, stop)):
            return self.write(operator.getitem, (x, slice(start, stop)), shape, x.dtype)
        return self.write(np.take, (x, places), shape, x.dtype)

    # Vectors

    def elementwise(self, kind: int, members: Sequence[Instruction]) -> Instruction:
        """One operation, in the order of what it reads, and nothing twice."""
        i = members[0]
        dtype = np.result_type(*map(dtype_of, i.args))
        read = [self.where([m.args[k] for m in members], dtype) for k in range(len(i.args))]
        first, place = distinct([p for _, p in read if p is not None], len(members))
        self.place.update(zip(members, place.tolist()))
        read = self.read[kind] = [(x, p if p is None else p[first]) for x, p in read]
        args, shape = self.broadcast(read, len(first))
        f = UFUNCS.get(i.function, i.function)
        if f is converted and i.args[0].dtype == i.dtype and shape:
            return args[0]  # type: ignore[no-any-return]
        return self.flat(self.write(f, args, shape, **i.kwargs))

    def broadcast(self, read: Sequence[tuple[Any, Any]], n: int) -> tuple[Any, tuple[int, ...]]:
        """Arguments, and the shape that they make: a table of each with each, or a vector."""
        varied = [p for _, p in read if p is not None]
        if len(varied) == 2:
            rows, columns = map(np.unique, varied)
            if len(rows) * len(columns) == n and len(rows) > 1 < len(columns):
                tables = iter((rows[:, None], columns[None, :]))
                args = [x if p is None else self.at(x, next(tables)) for x, p in read]
                return tuple(args), (len(rows), len(columns))
        return tuple(x if p is None else self.at(x, p) for x, p in read), (n,) if varied else ()

    def total(self, members: Sequence[Instruction]) -> Instruction:
        """Sums: for each kind of terms a vector, and these added up. They are in the order of what
        they read of the kind of which they read most."""
        n, dtype = len(members), members[0].dtype
        numbers = np.zeros(n, dtype)
        parts: dict[int, tuple[list[int], list[Instruction]]] = {}
        for row, i in enumerate(members):
            for x in self.kinds.sums[i].terms:
                if isinstance(x, Instruction):
                    owners, xs = parts.setdefault(self.kinds.of[x], ([], []))
                    owners.append(row)
                    xs.append(x)
                else:
                    numbers[row] += x
        rank = np.arange(n)
        found: list[Any] = []
        for kind, (owners, xs) in sorted(parts.items(), key=lambda part: -len(part[1][0])):
            vector, places = self.where(xs)
            if places is None and len(xs) == n:
                found.append(vector)
                continue
            if places is None:  # the same one several times
                vector = self.vector(kind)
                places = np.full(len(xs), self.place[xs[0]])
            owner = np.array(owners)
            if not found:
                order = np.lexsort((places, owner))
                lowest = places[order][np.flatnonzero(np.diff(owner[order], prepend=-1))]
                rank = np.argsort(np.argsort(lowest, kind="stable"))
            owner = rank[owner]
            places = places[np.lexsort((places, owner))]
            found.append(self.added(kind, vector, places, np.bincount(owner)))
        self.place.update(zip(members, rank.tolist()))
        if numbers.any():
            found.append(numbers[np.argsort(rank)] if np.ptp(numbers) else numbers[0])
        whole = found[0]
        for x in found[1:]:
            whole = self.write(np.add, (whole, x), (n,))
        return whole if whole.shape == (n,) else self.write(np.full, ((n,), whole, dtype), (n,))

    def added(self, kind: int, vector: Any, places: Places, counts: Places) -> Any:
        """Sums of so many entries of a vector each, one after the other."""
        n, count = len(counts), int(counts[0])
        if (counts != count).any():
            starts = np.cumsum(counts) - counts
            return self.write(np.add.reduceat, (self.at(vector, places), starts), (n,))
        table = places.reshape(n, count)
        product = self.product(kind, table)
        if product is not None:
            return product
        if count > 3:
            return self.write(np.add.reduce, (self.at(vector, table),), (n,), axis=1)
        whole = self.at(vector, table[:, 0])
        for column in table.T[1:]:
            whole = self.write(np.add, (whole, self.at(vector, column)), (n,))
        return whole

    def product(self, kind: int, table: Places) -> Instruction | None:
        """The sums of the rows of a table of products, if these are of each of some rows with each
        of some others, in order."""
        f, read = self.kinds.members[kind][0].function, self.read.get(kind, [])
        if UFUNCS.get(f, f) is not np.multiply or table.shape[1] == 1 or len(read) != 2:
            return None
        (x, left), (y, right) = read
        if left is None or right is None:
            return None
        rows, which = rows_of(left[table])
        others, other = rows_of(right[table])
        each_with_each = np.arange(len(rows) * len(others))
        if not np.array_equal(which * len(others) + other, each_with_each):
            return None
        args = self.at(x, rows), self.at(y, others.T)
        return self.flat(self.write(np.matmul, args, (len(rows), len(others))))


def is_constant(xs: Sequence[Any]) -> bool:
    """Whether they are one number, which is known."""
    return not isinstance(xs[0], Instruction) and all(x is xs[0] for x in xs)


def is_converted_in_vain(x: Any) -> bool:
    same = isinstance(x, Instruction) and x.function is converted and not x.kwargs
    return same and getattr(x.args[0], "dtype", None) == x.dtype


def apart(body: Sequence[Instruction]) -> list[Instruction]:
    """The body, in which a vector is taken apart at once, where most of its entries are taken out:
    in a third of the time."""
    taken = {i: i.args[0] for i in body if is_part_of_vector(i)}
    counts, lists, found = Counter(taken.values()), dict[Instruction, Instruction](), []
    for i in body:
        vector = taken.get(i)
        if vector and counts[vector] >= max(MANY, math.prod(vector.shape or ()) // 2):
            if vector not in lists:
                lists[vector] = Instruction(entries, (vector,), None, None, scope=i.scope)
                found.append(lists[vector])
            i.call(operator.getitem, (lists[vector], i.args[1]), {})
        found.append(i)
    return found


def is_part_of_vector(i: Instruction) -> bool:
    taken = i.function is operator.getitem and type(i.args[1]) is int
    return taken and len(i.args[0].shape or ()) == 1


def dtype_of(x: Any) -> Any:
    """What an argument adds to the dtype of a result: Python's numbers little, settings nothing."""
    if isinstance(x, Instruction):
        return x.dtype(0) if isinstance(x.dtype, type) else x.dtype
    return x if isinstance(x, (*NUMBERS, np.ndarray)) else np.bool_


def distinct(columns: Sequence[Places], n: int) -> tuple[Places, Places]:
    """Which of `n` rows are different, in their order, and where in that each row is."""
    key = np.zeros(n, np.intp)
    for column in columns:
        key = key * (column.max() + 1) + column
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    return first, place


def rows_of(matrix: Places) -> tuple[Places, Places]:
    """The different rows of a matrix as they appear, and which of them each row is."""
    known: dict[bytes, int] = {}
    which = np.array([known.setdefault(row.tobytes(), len(known)) for row in matrix])
    return np.frombuffer(b"".join(known), matrix.dtype).reshape(len(known), -1), which
