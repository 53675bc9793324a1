"""What to say where the packages of an extra are not installed."""

from __future__ import annotations


def missing(what: str, extra: str) -> ImportError:
    """An error in one line, to be raised `from None`.

    >>> missing("figures need matplotlib", "viz")
    ImportError("figures need matplotlib: pip install 'tensorgrad-engine[viz]'")
    """
    return ImportError(f"{what}: pip install 'tensorgrad-engine[{extra}]'")
