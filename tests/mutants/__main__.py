"""`python -m tests.mutants`: the score of the rules' tests, and who survived them."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tensorgrad.engine.primitive import registry
from tests.mutants.equivalents import EQUIVALENT
from tests.mutants.verdict import SURVIVED, Verdict, judge_all, load, table


def main() -> int:
    parser = argparse.ArgumentParser("tests.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="primitives; by default all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--examples", type=int, default=100, help="for each test of a mutant")
    parser.add_argument("--seed", type=int, help="other examples than always")
    parser.add_argument("--write", type=Path, metavar="FILE", help="the table, as Markdown")
    args = parser.parse_args()
    load()
    names = args.names or sorted(registry)
    if unknown := set(names) - registry.keys():
        parser.error(f"no primitive is called {', '.join(sorted(unknown))}")
    verdicts: list[Verdict] = []
    for name, found in zip(names, judge_all(names, args.jobs, args.examples, args.seed)):
        verdicts += found
        if sys.stderr.isatty():
            print(f"\r\033[K{name}", end="", file=sys.stderr, flush=True)
    rows = table(verdicts)
    for first, *rest in rows:
        print(f"{first:32}", *(f"{cell:>10}" for cell in rest))
    survivors = [v.mutant for v in verdicts if v.fate == SURVIVED]
    print("", *survivors or ["No mutant survived that is not the same function."], sep="\n")
    if args.write:
        args.write.write_text(document(rows), encoding="utf8")
    return 1 if survivors else 0


def document(rows: list[tuple[str, ...]]) -> str:
    """docs/mutants.md."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" + "|---:" * (len(rows[0]) - 1) + "|")
    reasons = [
        f"### {reason}\n\n" + "\n".join(f"- `{mutant}`" for mutant in mutants)
        for reason, mutants in EQUIVALENT.items()
    ]
    return INTRODUCTION + "\n".join(lines) + HEADING + "\n\n".join(reasons) + "\n"


INTRODUCTION = """\
# Mutants

A test of gradients is worth what it notices. So every rule of every primitive is broken on purpose,
one slip at a time: its answer (another sign, a factor 2, 0.1 % too much, squared, constant, the
gradient of another operand, transposed, wrong in one entry, wrong only for broadcast operands, for
axes of size 1, in float32, at ties), and its formula (a sign flipped, a factor dropped or squared,
operands swapped, a transpose or a sum dropped, another axis, another number). `check_rule`, which
tests each primitive from its declaration alone, has to fail for each of these mutants; those at
ties have to fail the test of the choice that the primitive states.

    python -m tests.mutants --write docs/mutants.md

wrote this page. Not mutated are helper functions that a rule calls, comparisons that choose between
its branches, and complex conjugates.

"""
HEADING = """

## Mutants that nothing can kill

They are the same function in other words, or as right as the rule.

"""

if __name__ == "__main__":
    sys.exit(main())
