"""What a benchmark reports: one line of the table."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """`measured` is for people, `numbers` for the JSON file; `met` is None without a target;
    `profile`: of a compiled step that missed one, its report."""

    benchmark: str
    what: str
    measured: str
    ratio: str = ""
    target: str = ""
    met: bool | None = None
    numbers: dict[str, float] = field(default_factory=dict)
    profile: str = ""


def ratio_text(low: float, middle: float, high: float) -> str:
    return f"{middle:.2f}x [{low:.2f}, {high:.2f}]"


def bytes_text(n: float) -> str:
    """
    >>> bytes_text(3_000_000)
    '2.9 MiB'
    """
    return f"{n / 1024:.0f} KiB" if n < 2**20 else f"{n / 2**20:.1f} MiB"


def time_text(seconds: float) -> str:
    """
    >>> time_text(0.0000425)
    '42.5 µs'
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"
