"""Reproduce what the sources report, on real data, and write it down beside what they say.

    python -m examples.reproduce                   all of it: hours, on one thread
    python -m examples.reproduce --only ch3        those whose names contain it
    python -m examples.reproduce --quick           a look at each, minutes in all

Each run is a line of a log, in the folder --log, from the moment it ends; what is in the log is not
run again, and so Ctrl-C loses one run at most, and an epoch of one that keeps checkpoints. At the
end reproduced.md is written to --out, with the figures. Set OPENBLAS_NUM_THREADS=1: with more
threads small matrix products wait for each other.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import pkgutil
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from examples.experiment import Experiment
from tensorgrad.extras import missing
from tensorgrad.files import check_writable

WORKS = ("nielsen", "three_blue_one_brown", "gonn", "colah", "beyond")


def experiments() -> Iterator[tuple[Any, list[Experiment]]]:
    """The modules of the works, in order, each with its experiments."""
    for work in WORKS:
        package = importlib.import_module(f"examples.{work}")
        names = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
        for name in names:
            module = importlib.import_module(f"examples.{work}.{name}")
            found = [x for x in vars(module).values() if isinstance(x, Experiment)]
            if found:
                yield module, found


def kernel() -> str:
    """The kernel that OpenBLAS chose, by which results of one seed differ; "" if unknown."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return os.environ.get("OPENBLAS_CORETYPE", "")
    return next((p.get("architecture", "") for p in threadpool_info()), "")


class Log:
    """The runs so far: a file of lines for each experiment, and its figures and checkpoints."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder / "log")
        self.kernel = kernel()

    def file(self, e: Experiment) -> Path:
        return self.folder / f"{e.name}.jsonl"

    def lines(self, e: Experiment, **of: Any) -> list[dict[str, Any]]:
        """Those with these entries; of a run that was made again, the last."""
        try:
            lines = [json.loads(line) for line in self.text(e).splitlines()]
            latest = {tuple(map(line.get, ("seed", "quick", "kernel"))): line for line in lines}
            return [line for line in latest.values() if of.items() <= line.items()]
        except (ValueError, AttributeError):
            raise ValueError(
                f"{self.file(e)} is no log of runs: delete it, or name another --log"
            ) from None

    def text(self, e: Experiment) -> str:
        """The lines; half a line at the end, of a process that was killed, is none."""
        path = self.file(e)
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        return text[: text.rfind("\n") + 1]

    def figure(self, e: Experiment, seed: int) -> Path:
        return self.folder / f"{e.name}-{seed}.png"

    def is_first(self, e: Experiment, seed: int) -> bool:
        """Whether no other kernel ran it before: the figure is the first one's."""
        before = self.lines(e, seed=seed, quick=False)
        return not before or before[0]["kernel"] == self.kernel

    def add(self, e: Experiment, **line: Any) -> None:
        whole = len(self.text(e).encode())
        with self.file(e).open("a", encoding="utf-8") as out:
            if out.tell() > whole:
                out.truncate(whole)
            out.write(json.dumps({**line, "kernel": self.kernel}) + "\n")


def run(e: Experiment, seed: int, log: Log, quick: bool) -> None:
    """Run it, and write down what it reached, how long it took, and its figure."""
    settings = dict(e.quick) if quick else {}
    checkpoint = log.folder / f"{e.name}-{seed}-{log.kernel}{'-quick' * quick}.ckpt"
    if e.resumes:
        settings["checkpoint"] = checkpoint
    resumed = any(log.folder.glob(f"{checkpoint.name}*"))  # one, or one for each network of it
    start = time.process_time()
    reached = e(seed, **settings)
    seconds = time.process_time() - start
    for claim, number in zip(e.claims, reached.numbers):
        print(f"  {claim.what}: {claim.written(number)}", end="")
        print("" if claim.reported is None else f"  (reported {claim.written(claim.reported)})")
    if reached.draw is not None and not quick and log.is_first(e, seed):
        try:
            reached.draw().savefig(log.figure(e, seed), dpi=100)
        except ImportError as error:
            print(f"  no figure: {error}")
    line = {"reached": reached.numbers, "seconds": seconds, "resumed": resumed}
    log.add(e, seed=seed, quick=quick, **line)
    for path in log.folder.glob(f"{checkpoint.name}*"):  # one for each part of it
        path.unlink(missing_ok=True)


def time_by_hand(e: Experiment, log: Log, rounds: int = 3) -> None:
    """The processor's time of the training here and by hand, in turn, medians."""
    times: dict[str, list[float]] = {"ours": [], "by_hand": []}
    for _ in range(rounds):
        for who, function in (("ours", e), ("by_hand", e.by_hand)):
            start = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                function(0, **e.timed)
            times[who].append(time.process_time() - start)
    log.add(e, timed=True, **{who: statistics.median(t) for who, t in times.items()})


def table(module: Any, found: list[Experiment], log: Log, quick: bool) -> list[str]:
    """A section: the module's first line, and a row for each claim that was measured."""
    title, _, _ = (module.__doc__ or module.__name__).partition("\n")
    name = module.__name__.removeprefix("examples.")
    lines = [
        f"### {title}\n\n`python -m examples.reproduce --only {name}`\n",
        "| experiment | reported | ours | each seed | CPU s | by hand |",
        "|---|---|---|---|---|---|",
    ]
    notes, figures = [], []
    for e in found:
        runs = log.lines(e, quick=quick)
        here = [r for r in runs if r["kernel"] == log.kernel] or runs
        if not here:
            continue
        timed = log.lines(e, timed=True)
        ratio = f"{timed[-1]['ours'] / timed[-1]['by_hand']:.2f}x" if timed else ""
        for i, claim in enumerate(e.claims):
            best = claim.best([r["reached"][i] for r in here])
            each = ", ".join(claim.written(r["reached"][i]) for r in here) if len(here) > 1 else ""
            for other in sorted({r["kernel"] for r in runs} - {here[0]["kernel"]}):
                there = [claim.written(r["reached"][i]) for r in runs if r["kernel"] == other]
                each += "; " * bool(each) + f"{other}: {', '.join(there)}"
            said = f"**{claim.written(best)}**" + " (missed)" * (not claim.met(best, quick))
            lines.append(
                f"| {in_cell(claim.what)} | {claim.written(claim.reported)} | {said} | {each} "
                f"| {'' if i else seconds_of(here)} | {'' if i else ratio} |"
            )
        if e.note:
            notes.append(f"\n{e.claims[0].what}: {e.note}")
        if log.figure(e, 0).exists():
            figures.append(f"\n![{e.claims[0].what}](reproduced/{e.name}.png)")
    return [*lines, *notes, *figures, ""] if len(lines) > 3 else []


def in_cell(text: str) -> str:
    """As it stands in a table, where | ends a cell."""
    return text.replace("|", "\\|")


def seconds_of(runs: list[dict[str, Any]]) -> str:
    """Their median; of runs that all went on from a checkpoint only the last part is known."""
    whole = [r["seconds"] for r in runs if not r.get("resumed")]
    if whole:
        return f"{statistics.median(whole):.1f}"
    return f"> {max(r['seconds'] for r in runs):.1f}"


def report(log: Log, quick: bool) -> str:
    blas = f"kernel {log.kernel}, " if log.kernel else ""
    parts = [HEAD.format(numpy=np.__version__, blas=blas)]
    work = ""
    for module, found in experiments():
        section = table(module, found, log, quick)
        package = importlib.import_module(module.__package__)
        if section and package.__name__ != work:
            work = package.__name__
            parts.append(f"## {(package.__doc__ or work).strip()}\n")
        parts.extend(section)
    return "\n".join(parts)


HEAD = """# Reproduced

What the sources report, and what the files of examples/ reach; written by
`python -m examples.reproduce`. Accuracies are the best epoch of a run, as in the sources, on
MNIST's 10,000 test images where nothing else is said; *ours* is the best of the seeds, *each seed*
all of them in order. Measured with NumPy {numpy}, {blas}one thread. *CPU s* is the processor's time
of a run, its measuring included (> : of one that was interrupted, after that), and *by hand* the
ratio to the same training in plain NumPy, in the same process.
"""


@contextlib.contextmanager
def leaving() -> Iterator[None]:
    """Ctrl-C leaves a training too: of a KeyboardInterrupt `fit` makes its end, and half of a run
    would stand in the log.
    """

    def leave(*arrived: Any) -> None:
        raise SystemExit(130)

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # else it is ignored, as in the background
        signal.signal(signal.SIGINT, leave)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, before)


def selected(only: list[str]) -> list[Experiment]:
    """Those whose names contain one of the words. ValueError for a word that is in none."""
    every = [e for _, found in experiments() for e in found]
    for word in only:
        if not any(word in e.name for e in every):
            raise ValueError(f"no experiment's name contains {word!r}; see --list")
    return [e for e in every if not only or any(word in e.name for word in only)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m examples.reproduce", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="such as ch3 or gonn")
    parser.add_argument("--quick", action="store_true", help="a few epochs of each, one seed")
    parser.add_argument("--seeds", type=int, help="runs of each (default: what it says, mostly 3)")
    parser.add_argument("--again", action="store_true", help="what is in the log too")
    parser.add_argument("--list", action="store_true", help="the names, and nothing else")
    parser.add_argument("--log", type=Path, default=Path("reproduced"), help="the folder of runs")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="for reproduced.md")
    given = parser.parse_args(arguments)
    left_out: dict[str, str] = {}
    try:
        if given.seeds is not None and given.seeds < 1:
            raise ValueError(f"--seeds {given.seeds}: at least 1")
        chosen = selected(given.only)
        if given.list:
            print("\n".join(e.name for e in chosen))
            return 0
        log = Log(given.log)
        if not given.quick:
            check_writable(given.out / "reproduced.md")
        with leaving():
            for e in chosen:
                try:
                    measure(e, log, given)
                except ImportError as error:
                    print(f"  left out: {error}")
                    left_out[e.name] = f"{e.name}, left out: {error}"
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, ModuleNotFoundError):
            error = missing(str(error), "cli,viz")
        print(f"examples.reproduce: {error}", file=sys.stderr)
        return 1
    missed = [*left_out.values()]
    return finish([e for e in chosen if e.name not in left_out], log, given, missed)


def measure(e: Experiment, log: Log, given: argparse.Namespace) -> None:
    """Those of its runs that are not in the log."""
    for seed in range(given.seeds or (1 if given.quick else e.seeds)):
        if given.again or not log.lines(e, seed=seed, quick=given.quick, kernel=log.kernel):
            print(f"{e.name}, seed {seed}", flush=True)
            run(e, seed, log, given.quick)
    if e.by_hand and not given.quick and (given.again or not log.lines(e, timed=True)):
        time_by_hand(e, log)


def finish(chosen: list[Experiment], log: Log, given: argparse.Namespace, missed: list[str]) -> int:
    """Write the page, and say what was missed: 1 if there is any, in what was chosen."""
    if not given.quick:
        show_figures(log, given.out / "reproduced")
        page = given.out / "reproduced.md"
        page.write_text(report(log, False), encoding="utf-8")
        print(f"written: {page}")
    for e in chosen:
        runs = log.lines(e, quick=given.quick, kernel=log.kernel)
        for i, claim in enumerate(e.claims):
            best = claim.best([r["reached"][i] for r in runs])
            if not claim.met(best, given.quick):
                missed.append(f"{e.name}, {claim.what}: {claim.written(best)}")
    good = "all as far as a quick run gets" if given.quick else "all reproduced"
    print("\n".join(["missed:", *missed]) if missed else good)
    return 1 if missed else 0


def show_figures(log: Log, folder: Path) -> None:
    """Those of the first seeds, in 256 colours: a third of the bytes."""
    folder.mkdir(exist_ok=True)
    for picture in log.folder.glob("*-0.png"):
        from PIL import Image  # as matplotlib has it, which drew them

        small = Image.open(picture).convert("RGB").quantize(256)
        small.save(folder / picture.name.replace("-0.png", ".png"), optimize=True)


if __name__ == "__main__":
    sys.exit(main())
