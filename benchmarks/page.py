"""docs/performance.md and its chart, from what `run.py` has measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import threads
from result import bytes_text, time_text
from steps import (
    AUTOGRAD,
    COMPILED,
    COPY,
    HAND,
    JAX,
    LAST,
    LLVM,
    MICROGRAD,
    MYGRAD,
    OURS,
    OUT,
    ROWS,
    TORCH,
    TORCH_COMPILE,
)

PEERS = (OUT, OURS, COMPILED, LLVM, TORCH, TORCH_COMPILE, JAX, AUTOGRAD, MYGRAD)
HEADS = {OUT: "by hand, `out=`", OURS: "eager", COMPILED: "**compiled**", LLVM: "**llvm**"}
MARKS = {  # marker, colour (Okabe and Ito's), size, in the order in which they are drawn
    AUTOGRAD: ("x", "#999999", 40),
    MYGRAD: ("+", "#999999", 55),
    TORCH: ("s", "#d55e00", 45),
    LAST: ("s", "#e69f00", 30),
    TORCH_COMPILE: ("D", "#d55e00", 32),
    JAX: ("^", "#009e73", 50),
    OURS: ("o", "#56b4e9", 45),
    COMPILED: ("o", "#0072b2", 90),
    LLVM: ("*", "#cc0066", 150),
}
QUIET = 0.6  # what two threads took there of the time of one
PAGE = """# Performance

Written by `python benchmarks/run.py --page`, on {machine}.

![Time of a step beside NumPy by hand](performance.svg)

## What is measured

Each line is a step as a user writes it, in each library: forward, loss, gradients and update of a
network, the value and gradient of a function, or a chain of operations. "By hand" is a frozen file
of NumPy for each (`benchmarks/hand/`), one as a good programmer writes it, which is the yardstick,
and one in arrays that are there (`out=`). Inputs and parameters are others at each call. Before
the clock runs all must return what the first does, and compiled steps must have taken the
parameters where the eager ones do, along 100 steps.

Times are the processor's, of one thread and one BLAS thread, each library in a process of its own,
in turn; JAX is blocked on its results and pinned to one thread. A number is the median of the
ratios to NumPy by hand of the same turn: **below 1 is faster**. Kernels, processors and versions
differ: the ratios of another machine are others, and `python benchmarks/run.py` finds them.

{table}

{scalars}

## Targets

{targets}

## To compile

How much longer the slowest of the first calls took than others (the second one of a step with Adam
is traced again: its state is there then), and what a step keeps between calls; and again, in a
process that finds what another one has compiled.

{compilation}

{threads}## What is slower, and what bounds it

{slower}
"""


def write(report: dict[str, Any], folder: Path) -> None:
    """The page and the chart."""
    rows = by_row(report["results"])
    text = PAGE.format(
        machine=machine_text(report["machine"]),
        table="\n".join(table(rows)),
        scalars="\n".join(scalars(rows)),
        targets="\n".join(targets(rows)),
        compilation="\n".join(compilation(rows)),
        threads="\n".join(in_two_threads(report["results"])),
        slower="\n".join(slower(rows)),
    )
    (folder / "performance.md").write_text(text, "utf8")
    chart(rows, folder / "performance.svg")


def by_row(results: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The results of each row of `steps.py`, by contestants."""
    found: dict[str, dict[str, Any]] = {}
    for result in results:
        found.setdefault(result["benchmark"], {})[result["what"]] = result
    titles = [row.title for row in ROWS.values()]
    return {t: found[t] for t in titles if t in found}


def machine_text(machine: dict[str, Any]) -> str:
    peers = ", ".join(f"{k} {v}" for k, v in machine["peers"].items() if v)
    kernel = f", kernel {machine['kernel']}" if machine.get("kernel") else ""
    return (
        f"{machine['cpu']} ({machine['blas']}{kernel}), Python {machine['python']}, NumPy "
        f"{machine['numpy']}, {peers}, {machine['date'][:10]}"
    )


def table(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    shown = [p for p in PEERS if any(p in row for row in rows.values())]
    yield "| | by hand | " + " | ".join(HEADS.get(p, p) for p in shown) + " |"
    yield "|---" * (len(shown) + 2) + "|"
    for title, row in rows.items():
        if HAND not in row:
            continue
        cells = [ratio(row.get(p), bold=p in (COMPILED, LLVM)) for p in shown]
        yield f"| {title} | {row[HAND]['measured']} | {' | '.join(cells)} |"


def ratio(result: dict[str, Any] | None, bold: bool) -> str:
    if result is None:
        return "–"
    text = f"{result['numbers']['ratio']:.2f}"
    return f"**{text}**" if bold else text


def scalars(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Of scalar graphs, how many times as fast as micrograd; and copies."""
    for title, row in rows.items():
        if MICROGRAD in row:
            base = row[MICROGRAD]["numbers"]["seconds"]
            each = (
                f"{name} {time_text(r['numbers']['seconds'])} "
                f"({base / r['numbers']['seconds']:,.0f} times as fast)"
                for name, r in row.items()
                if name.startswith(OURS) and "to compile" not in name
            )
            yield f"{title}: micrograd {row[MICROGRAD]['measured']}, {', '.join(each)}."
        if COPY in row:
            yield f"\n{title}: a copy of the array, as many bytes, takes {row[COPY]['measured']}."


def targets(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "| step | what | target (reached) | |"
    yield "|---|---|---|---|"
    for title, row in rows.items():
        for name, result in row.items():
            if result["met"] is not None and "to compile" not in name:
                met = "met" if result["met"] else "**missed**"
                r = result["numbers"]["ratio"]
                first = f"{r:.2f}x" if r >= 0.01 else f"1/{1 / r:,.0f}"
                yield f"| {title} | {name}, {first} | {result['target']} | {met} |"


def compilation(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    yield "| step | NumPy | NumPy, again | llvm | llvm, again |"
    yield "|---|---|---|---|---|"
    for title, row in rows.items():
        whats = [f"{name}: to compile{x}" for name in (COMPILED, LLVM) for x in ("", ", again")]
        cells = [costs(row.get(what)) for what in whats]
        yield f"| {title} | {' | '.join(cells)} |"


def costs(result: dict[str, Any] | None) -> str:
    if result is None:
        return "–"
    late = "" if result["met"] else " (**late**)"
    numbers = result["numbers"]
    return f"{time_text(numbers['seconds'])}{late}, {bytes_text(numbers['bytes'])}"


def in_two_threads(results: list[dict[str, Any]]) -> Iterator[str]:
    """Where the machine had a second core for it."""
    found = [r for r in results if r["benchmark"] == threads.TITLE]
    found = [r for r in found if r["numbers"]["machine"] < QUIET]
    if not found:
        return
    yield "## Two threads"
    yield ""
    yield "Wall time of `tg.compile(step, threads=2)` in times of one thread's, and both threads'"
    yield "processor time in the same."
    yield ""
    yield "| step | one thread | wall time | processor time |"
    yield "|---|---|---|---|"
    for r in found:
        one, wall, processor = (r["numbers"][k] for k in ("one", "wall", "processor"))
        yield f"| {r['what']} | {time_text(one)} | **{wall:.2f}** | {processor:.2f} |"
    yield "\n"


def slower(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Where a compiled step is slower than PyTorch, or missed a target, with its profile."""
    for title, row in rows.items():
        for name in (COMPILED, LLVM):
            result = row.get(name)
            if result is None:
                continue
            seconds = result["numbers"]["seconds"]
            peers = [p for p in (TORCH, LAST, TORCH_COMPILE) if p in row]
            ahead = [p for p in peers if row[p]["numbers"]["seconds"] < seconds]
            if result["met"] is not False and not ahead:
                continue
            times = [f"{seconds / row[p]['numbers']['seconds']:.2f} times {p}" for p in ahead]
            missed = "" if result["met"] is not False else f"; target {result['target']}: missed"
            yield f"**{title}**, {name}: {', '.join([result['measured'], *times])}{missed}."
            if result.get("profile"):
                below = result["profile"].rpartition("─\n")[2]  # of the table of parts
                yield f"\n```text\n{below}\n```\n"


def chart(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """A line for each step, a mark for each library; left is faster."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.hashsalt": "tensorgrad", "font.family": "DejaVu Sans"})
    rows = {title: row for title, row in rows.items() if HAND in row}
    figure = Figure((11, 0.62 * len(rows) + 1.9), layout="constrained", facecolor="white")
    axes = figure.subplots()
    axes.axvline(1, color="#333333", linewidth=1.5, zorder=1)
    for y, row in enumerate(rows.values()):
        axes.axhline(y, color="#dddddd", linewidth=1, zorder=0)
        for name in (COMPILED, LLVM):
            at = row.get(name, {"numbers": {}})["numbers"].get("target")
            if at:
                colour = MARKS[name][1]
                axes.plot([at, at], [y - 0.28, y + 0.28], color=colour, linewidth=2, zorder=2)
        for name, (marker, colour, size) in MARKS.items():
            if name in row:
                x = row[name]["numbers"]["ratio"]
                axes.scatter(x, y, size, colour, marker, zorder=3, linewidths=1.2)
    for name, (marker, colour, size) in reversed(MARKS.items()):
        if any(name in row for row in rows.values()):
            axes.scatter([], [], size, colour, marker, label=name)
    axes.plot([], [], color="#555555", linewidth=2, label="target of that colour")
    axes.set_xscale("log")
    ticks = [t for t in TICKS if axes.get_xlim()[0] <= t <= axes.get_xlim()[1]]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks], fontsize=12)
    axes.minorticks_off()
    axes.set_yticks(range(len(rows)), [*rows], fontsize=12)
    axes.invert_yaxis()
    axes.set_xlabel("time of a step beside NumPy by hand: left is faster", fontsize=13)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(left=False)
    figure.legend(loc="outside upper center", ncols=4, fontsize=11, frameon=False)
    figure.savefig(path, metadata={"Date": None})


TICKS = (0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 10, 20)
