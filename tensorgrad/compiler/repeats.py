"""Lines that come again and again with other names, such as an update for each parameter or what a
recurrent layer does at each time, become a function, which is called with these names: there is
less to read, and to compile.
"""

from __future__ import annotations

import keyword
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from itertools import count, groupby
from typing import Any, NamedTuple

import numpy as np

LEAST, MOST, TIMES = 6, 80, 3
"""How many lines a function has, and how often it is called at least."""
LONG = 10_000
"""From so many lines on, as of a graph of thousands of scalars, none are looked for: for each
function all lines after it are read."""
NAME = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?<![\w.])[^\W\d]\w*(?![\w=]))""")
"""What may differ from block to block: names, but for attributes and keywords, and whole texts."""
SEVERAL = re.compile(r"[^(\[]*(, .* = | [^\s\w=<>!]+= )")  # targets, or what is added to one
CALL = re.compile(r"\w\(")
SPECIAL = "for ", "if ", "def ", "with ", "return ", "#", " "
GIVEN = re.compile(r"(\w+) = (.*)")


class Names(NamedTuple):
    """`numbers`: names of what has no axes; `static`: names that functions know; `new` makes a name
    that nothing has yet."""

    numbers: Collection[str]
    static: Collection[str]
    new: Callable[[str], str]


def folded(lines: Sequence[str], after: str, names: Names) -> tuple[list[str], list[str]]:
    """Lines that define functions, and these lines, where they are called. `after`: the line that
    stands after all of them."""
    if len(lines) > LONG:
        return [], [*lines]
    functions: list[str] = []
    body: list[str] = []
    heading, done = "", 0
    for plain, group in groupby(lines, is_plain):
        run = [*group]
        done += len(run)
        if plain and len(run) >= LEAST * TIMES:
            run = numbers_first(run, names.numbers) if "update" in heading else run
            kinds = kinds_of(run)
            run = fold(run, kinds, [*lines[done:], after], heading, names, functions)
        elif not plain:
            heading = next((x for x in run[::-1] if x.startswith("# --- ")), heading)
        body += run
    return functions, body


def is_plain(line: str) -> bool:
    """Whether it is a statement of its own, which may stand in another function."""
    return bool(line) and not line.startswith(SPECIAL) and "vacant(" not in line


def names_in(lines: Sequence[str]) -> list[str]:
    """The names in some code, from left to right."""
    return [x for line in lines for x in NAME.findall(line) if is_name(x)]


def is_name(x: str) -> bool:
    """Whether it is none of Python's words, nor a text."""
    return x.isidentifier() and not keyword.iskeyword(x)


def numbers_first(run: Sequence[str], numbers: Collection[str]) -> list[str]:
    """The lines, those first that compute a number of numbers from before: the first of several
    updates makes what all need. A name stands for one number in all lines."""
    given = {line: x for line in run if not line.startswith("np.") and (x := GIVEN.fullmatch(line))}
    ready = {*numbers}.difference(x[1] for x in given.values())
    several = Counter(NAME.sub("", line) for line in given)
    first = []
    for line, x in given.items():
        used = [] if CALL.search(x[2]) or several[NAME.sub("", line)] > 1 else names_in([x[2]])
        first += [line] if used and ready.issuperset(used) else []
    return [*first, *(line for line in run if line not in first)] if first else [*run]


def kinds_of(run: Sequence[str]) -> Any:
    """Numbers of lines: those that may be alike but for names have the same."""
    known: dict[Any, int] = {}
    return np.array([known.setdefault(outline(line), len(known)) for line in run])


def fold(
    run: list[str],
    kinds: Any,
    rest: Sequence[str],
    heading: str,
    names: Names,
    functions: list[str],
) -> list[str]:
    """The lines, in which what is repeated most is a call of a function that is new."""
    found = repeated(kinds)
    if found is None:
        return run
    start, length, times = found
    end = start + length * times
    blocks = [run[k : k + length] for k in range(start, end, length)]
    rest = [*run[end:], *rest]
    made = function_of(blocks, rest, "update" if "update" in heading else "part", names)
    if made is None:
        return run
    function, calls = made
    more = heading, names, functions
    before = fold(run[:start], kinds[:start], [*calls, *rest], *more)
    functions += function
    after = fold(run[end:], kinds[end:], rest[len(run) - end :], *more)
    return [*before, *calls, *after]


def outline(line: str) -> Any:
    """What lines have in common that are alike but for names; and maybe others, in a fifth of the
    time."""
    call, _, given = line.partition("(")
    return (call, given.count(",")) if line.startswith("np.") else NAME.sub("", line)


def repeated(kinds: Any) -> tuple[int, int, int] | None:
    """Where blocks begin that are alike but for names, how long they are, and how many."""
    best, spared = None, 0
    for length in range(LEAST, min(MOST, len(kinds) // TIMES) + 1):
        same = kinds[length:] == kinds[:-length]
        if np.count_nonzero(same) <= max(spared, length):
            continue
        same = np.concatenate([[False], same, [False]])
        starts, ends = np.flatnonzero(same[1:] != same[:-1]).reshape(-1, 2).T
        k = int(np.argmax(ends - starts))
        times = int(ends[k] - starts[k]) // length + 1
        if times >= TIMES and (times - 1) * length > spared:
            best, spared = (int(starts[k]), length, times), (times - 1) * length
    return best


def function_of(
    blocks: Sequence[Sequence[str]], rest: Sequence[str], wish: str, names: Names
) -> tuple[list[str], list[str]] | None:
    """A function of what the blocks do, and their calls of it. None where that is not the same, or
    a name is made in it that is another's as well. `rest`: the lines after them."""
    parted = [NAME.split("\n".join(block)) for block in blocks]
    between = parted[0][::2]
    if any(x[::2] != between for x in parted) or any(map(SEVERAL.match, blocks[0])):
        return None
    columns = [*zip(*(x[1::2] for x in parted))]
    own = [*dict.fromkeys(columns)]
    made: dict[Any, bool] = {}  # what is assigned to, and whether it was not there before
    for k, column in enumerate(columns):
        if between[k + 1].startswith(" = ") and (k == 0 or between[k].endswith("\n")):
            end = next((n for n in range(k + 1, len(columns)) if "\n" in between[n]), len(columns))
            made.setdefault(column, column not in columns[:k] + columns[k + 1 : end])
    for column in made:
        for k, x in enumerate(column):
            if any(other[k] == x for other in own if other != column):
                return None
    later = {*re.findall(r"\w+", "\n".join(rest))} if made else {*()}
    each = [{*x[1::2]} for x in parted]
    outs = [
        column
        for column in made
        if any(
            x in later or any(x in other for other in each[:k] + each[k + 1 :])
            for k, x in enumerate(column)
        )
    ]
    same = [x for x in own if len({*x}) == 1]
    known = {x: x[0] for x in same if x[0] in names.static or not is_name(x[0])}
    given = [x for x in own if x not in known and not made.get(x)]
    taken = {*known.values(), *keyword.kwlist, "range", "slice"}
    for x in own:
        if x not in known:
            known[x] = free(called(x, "p" if wish == "update" else "x"), taken)
            taken.add(known[x])
    body = "".join(x + y for x, y in zip(between, [*(known[x] for x in columns), ""]))
    name = names.new(wish)
    answer = [f"    return {', '.join(known[x] for x in outs)}"] if outs else []
    function = [
        f"def {name}({', '.join(known[x] for x in given)}):",
        *(f"    {line}" for line in body.split("\n")),
        *answer,
    ]
    calls = []
    for k in range(len(blocks)):
        call = f"{name}({', '.join(x[k] for x in given)})"
        calls.append(f"{', '.join(x[k] for x in outs)} = {call}" if outs else call)
    return function, calls


def free(name: str, taken: Collection[str]) -> str:
    """A name like that, which is not taken."""
    return next(x for n in count(1) if (x := f"{name}_{n}" if n > 1 else name) not in taken)


def called(column: Sequence[str], otherwise: str) -> str:
    """What a name of a function is, after the names that it stands for."""
    words = [x.split("_") for x in column]
    (first, often), *_ = Counter(x[0] for x in words).most_common(1)
    last = words[0][-1]
    if all(x == column[0] for x in column):
        return column[0]
    if last.isalpha() and all(x[-1] == last for x in words):
        return f"new_{last}" if often == len(words) and first == "new" else last
    return first if first in ("b", "d", "v") and 2 * often > len(words) else otherwise
