"""What every room says alike: of an extra that is missing, a stranger's words, a wrong number."""

from __future__ import annotations

import operator
from typing import Any


def missing(what: str, extra: str) -> ImportError:
    """An error in one line, to be raised `from None`.

    >>> missing("figures need matplotlib", "viz")
    ImportError("figures need matplotlib: pip install 'tensorgrad-engine[viz]'")
    """
    return ImportError(f"{what}: pip install 'tensorgrad-engine[{extra}]'")


def printable(text: str, most: int = 400) -> str:
    """`text` as a terminal may have it: in one line, without control characters, not endless.

    >>> printable("red: \x1b[31m")
    'red: \\\\x1b[31m'
    """
    if len(text) > most:
        text = text[: most - 3] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def whole(name: str, n: Any, least: int = 1) -> int:
    """`n` as an integer. TypeError, or ValueError below `least`.

    >>> whole("epochs", 0)
    Traceback (most recent call last):
    ValueError: epochs=0: must be 1 or more
    """
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"{name}={n!r:.60}: must be a whole number") from None
    if n < least:
        raise ValueError(f"{name}={n}: must be {least} or more")
    return int(n)
