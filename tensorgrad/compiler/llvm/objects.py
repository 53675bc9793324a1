"""What Python's objects hold, looked at by machine code in 1 or 2 ns each: Python takes 20 to 60.

A program over many scalar Values looks whether hundreds of them are what they were, and reads and
writes a number in each. Python's lock is held meanwhile, so that nobody sees half of it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import numpy as np

from tensorgrad.compiler.cache import cached
from tensorgrad.compiler.capture import Numbers
from tensorgrad.compiler.llvm.call import HEAD
from tensorgrad.compiler.llvm.load import depends, holding, made
from tensorgrad.engine.node import Handle, Node

KIND, SIZE, ITEMS = HEAD - 8, HEAD, HEAD + 8
"""Where an object has its type, and a list how long it is and where its items are."""
Row = tuple[int, int, int]
"""The address of an object, where in it to look, and what is to be there. A negative place is that
of an item of a list, counted from -8 down."""

CODE = f"""
define i1 @same(ptr %table, ptr %end) {{
entry:
  br label %row
row:
  %t = phi ptr [%table, %entry], [%t.next, %look]
  %done = icmp eq ptr %t, %end
  br i1 %done, label %yes, label %object
object:
  %x = load ptr, ptr %t
  %place.at = getelementptr i64, ptr %t, i64 1
  %place = load i64, ptr %place.at
  %is.item = icmp slt i64 %place, 0
  br i1 %is.item, label %item, label %look
item:
  %items.at = getelementptr i8, ptr %x, i64 {ITEMS}
  %items = load ptr, ptr %items.at
  %up = sub i64 -8, %place
  br label %look
look:
  %from = phi ptr [%x, %object], [%items, %item]
  %by = phi i64 [%place, %object], [%up, %item]
  %found.at = getelementptr i8, ptr %from, i64 %by
  %found = load i64, ptr %found.at
  %wanted.at = getelementptr i64, ptr %t, i64 2
  %wanted = load i64, ptr %wanted.at
  %t.next = getelementptr i64, ptr %t, i64 3
  %alike = icmp eq i64 %found, %wanted
  br i1 %alike, label %row, label %no
yes:
  ret i1 true
no:
  ret i1 false
}}
""" + "".join(
    f"""
define i1 @{name}(ptr %table, ptr %array) {{
entry:
  %n = load i64, ptr %table
  %place.at = getelementptr i64, ptr %table, i64 1
  %place = load i64, ptr %place.at
  %type.at = getelementptr i64, ptr %table, i64 2
  %type = load i64, ptr %type.at
  %nodes = getelementptr i64, ptr %table, i64 3
  %data.at = getelementptr i8, ptr %array, i64 {HEAD}
  %data = load ptr, ptr %data.at
  br label %number
number:
  %k = phi i64 [0, %entry], [%k.next, %right]
  %done = icmp eq i64 %k, %n
  br i1 %done, label %yes, label %node
node:
  %node.at = getelementptr ptr, ptr %nodes, i64 %k
  %node.is = load ptr, ptr %node.at
  %x.at = getelementptr i8, ptr %node.is, i64 %place
  %x = load ptr, ptr %x.at
  %gone = icmp eq ptr %x, null
  br i1 %gone, label %no, label %there
there:
  %kind.at = getelementptr i8, ptr %x, i64 {KIND}
  %kind = load i64, ptr %kind.at
  %alike = icmp eq i64 %kind, %type
  %count = load i32, ptr %x
  %alone = icmp eq i32 %count, 1
  %fits = and i1 %alike, {alone}
  br i1 %fits, label %right, label %no
right:
  %own.at = getelementptr i8, ptr %x, i64 {HEAD}
  %entry.at = getelementptr double, ptr %data, i64 %k
  {work}
  %k.next = add i64 %k, 1
  br label %number
yes:
  ret i1 true
no:
  ret i1 false
}}
"""
    for name, alone, work in (
        ("read", "true", "%v = load double, ptr %own.at\n  store double %v, ptr %entry.at"),
        ("own", "%alone", ""),
        ("write", "true", "%v = load double, ptr %entry.at\n  store double %v, ptr %own.at"),
    )
)
CODE += """
define i1 @replace(ptr %table, ptr %array) {
  %mine = call i1 @own(ptr %table, ptr %array)
  br i1 %mine, label %yes, label %no
yes:
  %done = call i1 @write(ptr %table, ptr %array)
  ret i1 true
no:
  ret i1 false
}
"""
"""Whether all rows of a table are as they say. Of the numbers that nodes hold, if all are of one
type: read them into an array; or write an array's into them, if nobody else holds one of them."""


@cache
def functions() -> Any:
    """What holds the code, and its functions. RuntimeError if objects of this Python are not as
    they expect."""

    def word(address: int, kind: Any = ctypes.c_size_t) -> int:
        found: int = kind.from_address(address).value
        return found

    number = [np.float64(1.5)]
    found = (
        word(id(number) + SIZE) == 1
        and word(word(id(number) + ITEMS)) == id(number[0])
        and word(id(number[0]), ctypes.c_int32) == 1
    )
    if not found:
        raise RuntimeError("objects of this Python lie otherwise in memory")
    engine = holding({b"": cached("\n".join([CODE, *depends()]), partial(made, lambda: CODE))})
    kind: Any = ctypes.PYFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_void_p)
    address = engine.get_function_address
    return engine, kind(address("same")), kind(address("read")), kind(address("replace"))


@cache
def place_of(kind: type, key: str) -> int:
    """Where in its objects a slot of a class is."""
    holder: Any = object.__new__(kind)
    x = object()
    vars(kind)[key].__set__(holder, x)
    words = (ctypes.c_size_t * (kind.__basicsize__ // 8)).from_address(id(holder))
    return 8 * words[:].index(id(x))


def row(x: Any, key: Any, wanted: Any) -> Row:
    """Where a field of an object is, and what is to be there."""
    if isinstance(key, str):
        return id(x), place_of(Handle if key == "node" else Node, key), id(wanted)
    if isinstance(key, int):
        return id(x), -8 * (key + 1), id(wanted)
    return id(x), *((SIZE, wanted) if key is len else (KIND, id(wanted)))


def is_same(fields: Sequence[Any]) -> Callable[[], bool]:
    """Whether fields are what they were, of objects that somebody else holds."""
    rows = [row(*field) for field in fields]
    rows.sort(key=lambda row: row[1] < 0)  # how long a list is before what is in it
    _, same, *_ = functions()
    table = address_of(rows)
    return partial(same, table, table.value + 24 * len(rows))


def address_of(words: Any) -> Any:
    """A pointer to an array of them, which it holds."""
    return np.array(words, np.int64).ctypes.data_as(ctypes.c_void_p)


def table_of(place: Numbers) -> Any:
    words = len(place.holder), place_of(Node, place.key), id(np.float64)
    return address_of([*words, *map(id, place.holder)])


def reader(place: Numbers) -> Callable[[], Any]:
    """`place.read`."""
    table = table_of(place)
    _, _, read, _ = functions()

    def numbers() -> Any:
        x = np.empty(len(place.holder))  # which are there as long as the table of them
        return x if read(table, id(x)) else None

    return numbers


def writer(place: Numbers) -> Callable[[Any], None]:
    """`place.write`, into the numbers that are there where nobody else holds one of them."""
    table = table_of(place)
    *_, replace = functions()

    def write(x: Any) -> None:
        if not (x.flags.c_contiguous and replace(table, id(x))):
            place.write(x)

    return write
