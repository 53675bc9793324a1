"""What every room says alike: that an extra is not installed, and what a stranger wrote."""

from __future__ import annotations


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
