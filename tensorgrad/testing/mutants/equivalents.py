"""Mutants that are the same function as their rule, or one as right, each with the reason.

Nothing can kill them. They are left out of the score, and counted.
"""

from __future__ import annotations

EQUIVALENT: dict[str, tuple[str, ...]] = {}
"""The mutants, as they are printed, by the reason."""

REASONS = {mutant: reason for reason, mutants in EQUIVALENT.items() for mutant in mutants}
