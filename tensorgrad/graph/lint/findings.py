"""What the linter returns: findings, and the list of them that prints as a report."""

from __future__ import annotations

from typing import Literal, NamedTuple

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
HINT = (
    "For source lines pass a function, tg.lint(lambda: loss(...), params), or record the loss "
    "under tg.debug()."
)


class Finding(NamedTuple):
    """One thing to look at.

    `kind`: which check found it. `severity`: "error" for what cannot learn, "warning" for what is
    most likely a mistake, "note" for what to know. `mend`: what to do about it. `node`: the
    operation with its operands, or the parameter. `line`: where the user wrote it, or None where
    that was not recorded; `path`: the operations from the loss down to the node.
    """

    kind: str
    severity: Severity
    message: str
    mend: str
    node: str
    line: str | None = None
    path: str = ""

    def __str__(self) -> str:
        lines = [f"{self.severity}: {self.kind}", self.message]
        place = self.line or self.path
        lines += [f"in {place}"] if place else []
        return "\n    ".join([*lines, f"mend: {self.mend}"])


class Findings(list[Finding]):
    """A list of findings, the worst first. It prints as a report; empty, as "nothing found"."""

    def __repr__(self) -> str:
        if not self:
            return "nothing found"
        lost = any(finding.path and not finding.line for finding in self)
        return "\n".join([*map(str, self), *([HINT] if lost else [])])
