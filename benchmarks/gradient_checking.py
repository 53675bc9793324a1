"""Who finds wrong gradients, and who doubts right ones: gradient checkers on tests/bug_zoo.

    python benchmarks/gradient_checking.py table               # all checkers, with their defaults
    python benchmarks/gradient_checking.py rates --seeds 1000  # tensorgrad alone, many seeds

Every checker is given the same NumPy function with the same hand-written gradient, as the kind of
custom function that its library has, at the same arguments. Whatever it raises counts: a wrong
gradient is then caught, a right one falsely accused. What the library cannot be given, or where
what is wrong does no harm in it (`HARMLESS`), is not applicable.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import Pool
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # measure this checkout
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # threads of small products wait for each other

import machine  # noqa: E402
import numpy as np  # noqa: E402
from result import time_text  # noqa: E402

from tensorgrad import testing  # noqa: E402
from tests.bug_zoo.bugs import BUGS  # noqa: E402
from tests.bug_zoo.cases import Bug, Difficult  # noqa: E402
from tests.bug_zoo.difficult import DIFFICULT  # noqa: E402

Case = Bug | Difficult
Check = Callable[[Case, tuple[Any, ...], int], None]
Outcome = dict[str, list[str]]
PATIENCE = 60.0  # seconds for a check
LARGEST = 200_000_000  # entries of a Jacobian: 1.6 GB
CONDUCT = (
    "mutates its input",
    "returns a view of its input",
    "depends on the cotangent's memory",
)
HARMLESS = {
    "torch": ("bias: not summed", "scale: a number broadcast"),  # its engine sums them
    "jax": (  # its arrays are contiguous, and nobody can write to them
        *("cotangent read in the order of its memory", "cotangent read as if contiguous"),
        *("returns its argument", "returns a view of its argument", "returns its own buffer"),
    ),
    "autograd": ("bias: axis of length 1 lost",),  # it adds it to zeros of the right shape
}


class NotApplicable(Exception):
    """The library cannot do this, whatever the gradient."""


def wanted(case: Case, args: tuple[Any, ...]) -> tuple[int, ...]:
    return case.argnums or tuple(range(len(args)))


def along(case: Case, args: tuple[Any, ...]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`f` and `vjp` as functions of the differentiable arguments alone."""
    nums = wanted(case, args)

    def filled(xs: tuple[Any, ...]) -> list[Any]:
        every = list(args)
        for i, x in zip(nums, xs, strict=True):
            every[i] = x
        return every

    def vjp(g: Any, *xs: Any) -> tuple[Any, ...]:
        gradients = case.vjp(g, *filled(xs))
        return tuple(gradients[i] for i in nums)

    return lambda *xs: case.f(*filled(xs)), vjp


# The checkers. Each raises something if it does not like a gradient.


def with_tensorgrad(case: Case, args: tuple[Any, ...], seed: int) -> None:
    testing.check_vjp(case.f, case.vjp, *args, argnums=case.argnums, rng=seed)


def with_torch(case: Case, args: tuple[Any, ...], seed: int, fast: bool) -> None:
    """Its gradient of complex numbers is the conjugate of ours."""
    import torch

    f, vjp = along(case, args)

    def tensor(array: Any) -> Any:
        array = np.asarray(array)
        if not array.flags.writeable or min(array.strides, default=0) < 0:
            array = array.copy()
        return torch.as_tensor(array)

    def conjugate(array: Any) -> Any:
        return np.conj(array) if np.iscomplexobj(array) else array

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            ctx.save_for_backward(*xs)
            return torch.as_tensor(np.array(f(*(x.detach().numpy() for x in xs))))

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            xs = [x.detach().numpy() for x in ctx.saved_tensors]
            gradients = vjp(conjugate(g.resolve_conj().numpy()), *xs)
            return tuple(None if d is None else tensor(conjugate(d)) for d in gradients)

    inputs = [tensor(args[i]).clone().requires_grad_() for i in wanted(case, args)]
    entries = sum(x.numel() for x in inputs) * np.size(case.f(*args))
    if not fast and entries > LARGEST:
        raise NotApplicable(f"a Jacobian of {entries:,} entries")
    if fast and len({x.dtype for x in inputs}) > 1:
        raise NotApplicable("arguments of two dtypes")
    torch.manual_seed(seed)
    torch.autograd.gradcheck(Function.apply, inputs, fast_mode=fast)


def with_jax(case: Case, args: tuple[Any, ...], seed: int) -> None:
    """Its direction is the same for every seed."""
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)
    logging.getLogger("jax").setLevel(logging.CRITICAL)  # what a callback raises is raised here too
    f, vjp = along(case, args)
    inputs = tuple(np.asarray(args[i]) for i in wanted(case, args))
    like = lambda array: jax.ShapeDtypeStruct(np.shape(array), np.asarray(array).dtype)
    result = like(case.f(*args))

    def on_host(*xs: Any) -> Any:
        return np.asarray(f(*map(np.asarray, xs)))

    def back_on_host(g: Any, *xs: Any) -> Any:
        gradients = vjp(np.asarray(g), *map(np.asarray, xs))
        return tuple(
            np.zeros_like(x) if d is None else np.asarray(d)
            for d, x in zip(gradients, xs, strict=True)
        )

    function = jax.custom_vjp(lambda *xs: jax.pure_callback(on_host, result, *xs))
    function.defvjp(
        lambda *xs: (function(*xs), xs),
        lambda xs, g: jax.pure_callback(back_on_host, tuple(map(like, inputs)), g, *xs),
    )
    check_grads(function, inputs, order=1, modes=["rev"])


def with_autograd(case: Case, args: tuple[Any, ...], seed: int) -> None:
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    f, vjp = along(case, args)
    function = primitive(f)
    inputs = [args[i] for i in wanted(case, args)]
    rules = [lambda out, *xs, i=i: lambda g: vjp(g, *xs)[i] for i in range(len(inputs))]
    defvjp(function, *rules)
    np.random.seed(seed)  # noqa: NPY002  (it draws its direction there)
    check_grads(function, argnum=tuple(range(len(inputs))), modes=["rev"], order=1)(*inputs)


CHECKERS: dict[str, tuple[Check, str]] = {
    "tensorgrad.testing.check_vjp": (with_tensorgrad, "tensorgrad"),
    "torch.autograd.gradcheck": (partial(with_torch, fast=False), "torch"),
    "torch.autograd.gradcheck, fast_mode": (partial(with_torch, fast=True), "torch"),
    "jax.test_util.check_grads": (with_jax, "jax"),
    "autograd.test_util.check_grads": (with_autograd, "autograd"),
}


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise NotApplicable(f"not done after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def verdict(check: Check, case: Case, seed: int) -> tuple[str, str, float]:
    """ "passed", "stopped" or "not applicable"; why; and how long it took."""
    args = case.draw(np.random.default_rng(seed))
    start = time.perf_counter()
    word, why = "passed", ""
    try:
        with patience(PATIENCE), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            check(case, args, seed)
    except NotApplicable as error:
        word, why = "not applicable", str(error)
    except Exception as error:  # of any kind: see above
        word, why = "stopped", f"{type(error).__name__}: {error}"
    return word, why, time.perf_counter() - start


def judge(check: Check, library: str, cases: list[Any], seeds: int) -> tuple[Outcome, float]:
    """The names of the cases by what became of them, and the seconds of a seed."""
    outcome: Outcome = defaultdict(list)
    seconds = 0.0
    for case in cases:
        if case.name in HARMLESS.get(library, ()):
            outcome["not applicable"].append(f"{case.name}: does no harm")
            continue
        words: Counter[str] = Counter()
        taken = []
        for seed in range(seeds):
            word, why, t = verdict(check, case, seed)
            words[word] += 1
            taken.append(t)
            if word == "not applicable":
                break
        if words["not applicable"]:
            outcome["not applicable"].append(f"{case.name}: {why}")
            continue
        seconds += float(np.median(taken))
        if len(words) == 2:
            outcome["sometimes stopped"].append(case.name)
        else:
            outcome[word].append(case.name)
    return dict(outcome), seconds


def table(seeds: int) -> dict[str, Any]:
    """Everybody on everything. Prints Markdown."""
    groups = {
        "wrong numbers": [bug for bug in BUGS if bug.kind not in CONDUCT],
        "wrong conduct": [bug for bug in BUGS if bug.kind in CONDUCT],
        "right": DIFFICULT,
    }
    results: dict[str, Any] = {}
    for name, (check, library) in CHECKERS.items():
        if library != "tensorgrad" and not machine.installed(library):
            print(f"skipped: {library} (not installed)", file=sys.stderr)
            continue
        results[name] = {"seconds": 0.0}
        for group, cases in groups.items():
            print(f"running: {name}, {group}", file=sys.stderr)
            results[name][group], seconds = judge(check, library, cases, seeds)
            results[name]["seconds"] += seconds
    heads = [f"{group} ({len(cases)})" for group, cases in groups.items()]
    print(f"\n| | {heads[0]} | | | {heads[1]} | | | {heads[2]} | | time |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    n_a = "not applicable"
    parts = ["caught", "missed", n_a] * 2 + ["falsely accused", n_a, "of one seed"]
    print(f"| {seeds} seeds | {' | '.join(parts)} |")
    for name, result in results.items():
        cells: list[Any] = []
        for group in groups:
            n = Counter({word: len(names) for word, names in result[group].items()})
            if group == "right":
                cells += [n["stopped"] + n["sometimes stopped"], n[n_a]]
            else:
                cells += [n["stopped"], n["passed"] + n["sometimes stopped"], n[n_a]]
        cells.append(time_text(result["seconds"]))
        print(f"| `{name}` | {' | '.join(map(str, cells))} |")
    return {"seeds": seeds, "checkers": results}


def rate(case: Case, seeds: int) -> tuple[int, int, float, str]:
    """Of our checker: how often it stopped, how often under another name, seconds; an example."""
    stopped = misnamed = 0
    seconds, example = 0.0, ""
    for seed in range(seeds):
        args = case.draw(np.random.default_rng(seed))
        start = time.perf_counter()
        try:
            testing.check_vjp(case.f, case.vjp, *args, argnums=case.argnums, rng=seed)
        except testing.GradientError as error:
            stopped += 1
            if isinstance(case, Difficult):
                example = example or f"seed {seed}: {error}"
            elif not case.is_told_by(error):
                misnamed += 1
        seconds += time.perf_counter() - start
    return stopped, misnamed, seconds, example


def rates(seeds: int, bug_seeds: int, names: list[str]) -> dict[str, Any]:
    """Misses and false alarms of our checker, over many seeds. Names what is not perfect."""
    chosen = [c for c in (*BUGS, *DIFFICULT) if not names or any(n in c.name for n in names)]
    counts = [bug_seeds if isinstance(c, Bug) else seeds for c in chosen]
    with Pool() as pool:
        jobs = [pool.apply_async(numbered_rate, (c.name, n)) for c, n in zip(chosen, counts)]
        found = [job.get() for job in jobs]
    missed: dict[str, int] = {}
    misnamed: dict[str, int] = {}
    alarms: dict[str, int] = {}
    for case, n, (stopped, other, _, example) in zip(chosen, counts, found, strict=True):
        if isinstance(case, Bug):
            missed |= {case.name: n - stopped} if stopped < n else {}
            misnamed |= {case.name: other} if other else {}
        elif stopped:
            alarms[case.name] = stopped
            print(f"{case.name}: {stopped} false alarms in {n} seeds; {example}\n")
    bugs = sum(n for c, n in zip(chosen, counts, strict=True) if isinstance(c, Bug))
    right = sum(counts) - bugs
    print(f"{sum(missed.values())} of {bugs} wrong gradients missed: {missed}")
    print(f"{sum(misnamed.values())} caught under another name: {misnamed}")
    print(f"{sum(alarms.values())} false alarms for {right} right ones: {alarms}")
    print(f"{sum(seconds for *_, seconds, _ in found) / sum(counts) * 1e3:.1f} ms a check")
    return {
        "wrong": {"checks": bugs, "missed": missed, "misnamed": misnamed},
        "right": {"checks": right, "false alarms": alarms},
    }


def numbered_rate(name: str, seeds: int) -> tuple[int, int, float, str]:
    """By name: functions without one do not travel to another process."""
    return rate(next(c for c in (*BUGS, *DIFFICULT) if c.name == name), seeds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("table", "rates"))
    parser.add_argument("names", nargs="*", help="for rates: parts of the names of cases")
    parser.add_argument("--seeds", type=int, help="default: 3 for the table, 1000 for the rates")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "gradient_checking.json")
    options = parser.parse_intermixed_args()
    seeds = options.seeds or {"table": 3, "rates": 1000}[options.what]
    if options.what == "table":
        result = table(seeds)
    else:
        result = rates(seeds, max(1, seeds // 10), options.names)
    if options.names:
        return
    report = json.loads(options.json.read_text()) if options.json.exists() else {}
    report[options.what] = {"machine": machine.describe(), **result}
    options.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
