"""What to say where a package of the extra `viz` is not installed."""

from __future__ import annotations


def missing(what: str) -> ImportError:
    """An error in one line, to be raised `from None`.

    >>> missing("figures need matplotlib")
    ImportError("figures need matplotlib: pip install 'tensorgrad-engine[viz]'")
    """
    return ImportError(f"{what}: pip install 'tensorgrad-engine[viz]'")
