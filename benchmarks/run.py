"""Run the benchmarks: `python benchmarks/run.py [name ...]`. See README.md for how to read them."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # measure this checkout, not another one that is installed
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")])
)
# One thread, before NumPy is loaded: two of them spin on a busy machine and measure the neighbours.
for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import chain  # noqa: E402
import chapter  # noqa: E402
import checkpoint  # noqa: E402
import derivatives  # noqa: E402
import imports  # noqa: E402
import machine  # noqa: E402
import memory  # noqa: E402
import page  # noqa: E402
import scalar  # noqa: E402
import steps  # noqa: E402
import threads  # noqa: E402
from result import Result  # noqa: E402

BENCHMARKS: dict[str, Callable[..., Iterator[Result]]] = {
    "import": imports.run,
    **{name: partial(steps.run, row) for name, row in steps.ROWS.items()},
    "peak": memory.peak,
    "threads": threads.run,
    "scalar": scalar.run,
    "chain": chain.run,
    "memory": memory.run,
    **{name: partial(derivatives.run, p) for name, p in derivatives.PROBLEMS.items()},
    "checkpoint": checkpoint.run,
    "chapter": chapter.run,
}
WIDTHS = (40, 34, 22, 22)


def line(result: Result) -> str:
    """A row of the table, which is printed when it is known."""
    met = {None: "", True: "met", False: "MISSED"}[result.met]
    cells = result.benchmark, result.what, result.measured, result.ratio
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)]
    return "  ".join([*padded, result.target, met]).rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--rounds", type=int, default=40, help="turns of each contestant")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "latest.json")
    parser.add_argument(
        "--page", action="store_true", help="measure compiled steps, and write docs/performance.md"
    )
    parser.add_argument(
        "--again", action="store_true", help="write it of what --json has, without measuring"
    )
    parser.add_argument("--list", action="store_true", help="only name the benchmarks")
    options = parser.parse_args()
    if options.list:
        print(*BENCHMARKS, sep="\n")
        return
    unknown = set(options.names) - BENCHMARKS.keys()
    if unknown:
        parser.error(
            f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    docs = HERE.parent / "docs"
    if options.again:
        page.write(json.loads(options.json.read_text()), docs)
        return
    about: dict[str, Any] = machine.describe()
    results: list[Result] = []
    wrong: list[str] = []
    usual = [*steps.ROWS, "peak", "threads"] if options.page else BENCHMARKS.keys() - {"chapter"}
    for name in options.names or [n for n in BENCHMARKS if n in usual]:
        try:
            for result in BENCHMARKS[name](rounds=options.rounds):
                results.append(result)
                print(line(result), flush=True)
        except AssertionError as error:
            wrong.append(name)
            print(f"{name} is void: {error}", file=sys.stderr, flush=True)
    print(", ".join(f"{key} {value}" for key, value in about.items() if key != "peers"))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    report = {"machine": about, "results": [asdict(result) for result in results]}
    text = json.dumps(report, indent=1, ensure_ascii=False, default=lambda x: x.item())  # NumPy's
    options.json.write_text(text + "\n")
    if options.page:
        page.write(report, docs)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
