"""PyTorch's samples of its own operations (OpInfo), given to tensorgrad.

    python benchmarks/opinfo.py [NAME OF AN OPERATION, OR nn.functional. FOR ALL OF THESE ...]

Wanted are PyTorch, with expecttest and pytest, and SciPy. Nothing is fetched. Of each operation
that is here too (in NumPy, `scipy.special`, `nn.functional`: opinfo_names.py) PyTorch's samples are
taken, real and complex, and compared: values, the gradient of Re<c, y> for a random c, and the
derivative of that gradient in a random direction. PyTorch's gradients by complex numbers are the
conjugates of ours. Each failure is a line; so is each reason to leave samples out, and each name of
`torch.nn.functional` that is not here, with the number of its samples (of dense floats; what draws
at random is not compared).
"""

from __future__ import annotations

import os
import re
import sys
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:1] = [str(HERE.parent), str(HERE)]  # measure this checkout
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import torch  # noqa: E402
from opinfo_names import HERMITIAN, LEFT_OUT, OUTCOME, RANDOM, function_of  # noqa: E402
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

import tensorgrad as tg  # noqa: E402

PACKAGE = str(Path(tg.__file__).parent)
CLOSE = {"rtol": 1e-5, "equal_nan": True}


class Different(Exception):
    """What does not agree."""


def numbers(x: Any) -> Any:
    """Tensors as arrays, in their containers."""
    if isinstance(x, torch.Tensor):
        return x.detach().numpy(force=True).copy()[()]
    if isinstance(x, torch.nn.Module):  # a distance function
        return getattr(tg.nn, type(x).__name__)()
    if isinstance(x, torch.dtype):
        return np.dtype(str(x).removeprefix("torch."))
    if isinstance(x, (list, tuple)):
        return type(x)(map(numbers, x)) if type(x) in (list, tuple) else [*map(numbers, x)]
    return {k: numbers(v) for k, v in x.items()} if isinstance(x, dict) else x


def leaves(x: Any) -> list[Any]:
    """The tensors or arrays of floats in a container."""
    if isinstance(x, (list, tuple, dict)):
        items = x.values() if isinstance(x, dict) else x
        return [leaf for item in items for leaf in leaves(item)]
    if isinstance(x, torch.Tensor):
        return [x] if x.is_floating_point() or x.is_complex() else []
    return [x] if getattr(x, "dtype", np.dtype(int)).kind in "fc" else []


def filled(x: Any, values: Iterator[Any]) -> Any:
    """The arguments as arrays, with `values` for the tensors that require grad."""
    if isinstance(x, torch.Tensor) and x.requires_grad:
        return next(values)
    if isinstance(x, (list, tuple)):
        return type(x)([filled(item, values) for item in x])
    return {k: filled(v, values) for k, v in x.items()} if isinstance(x, dict) else numbers(x)


def random(like: Any, rng: np.random.Generator) -> Any:
    c = rng.normal(size=like.shape)
    return c + 1j * rng.normal(size=like.shape) if np.iscomplexobj(like) else c


def agree(what: str, ours: list[Any], theirs: list[Any]) -> None:
    if len(ours) != len(theirs):
        raise Different(f"{what}: {len(ours)} arrays, PyTorch's {len(theirs)}")
    for a, b in zip(ours, theirs):
        if np.shape(a) != np.shape(b):
            raise Different(f"{what}: shape {np.shape(a)}, PyTorch's {np.shape(b)}")
        scale = np.max(np.abs(b[np.isfinite(b)]), initial=1e-3)
        wrong = np.ravel(~np.isclose(a, b, atol=1e-7 * scale, **CLOSE))
        if wrong.any():
            at = np.argmax(wrong)
            raise Different(f"{what}: {np.ravel(a)[at]:.6g}, PyTorch's {np.ravel(b)[at]:.6g}")


def their_gradients(y: Any, xs: list[Any]) -> list[Any]:
    found = torch.autograd.grad(y, xs, create_graph=True, allow_unused=True)
    return [torch.zeros_like(x) if g is None else g for x, g in zip(xs, found)]


def compare(op: Any, sample: Any) -> None:
    """Raise where values, gradients or second derivatives differ."""
    rng = np.random.default_rng(0)
    given = [sample.input, sample.args, sample.kwargs]
    variables = [t for t in leaves(given) if t.requires_grad]
    points = [numbers(t) for t in variables]
    by = tuple(range(len(points)))
    outcome = OUTCOME.get(op.name, lambda y: y)
    hermitian = op.name in HERMITIAN or sample.kwargs.get("hermitian")

    def income(x: Any) -> Any:
        if op.name == "nn.functional.ctc_loss":  # PyTorch's gradient is right for what comes
            home: Any = torch if isinstance(x, torch.Tensor) else tg.nn.functional  # of a softmax
            return home.log_softmax(x, -1)
        return (x + x.mT.conj()) / 2 if hermitian else x

    def outs(*xs: Any) -> Any:
        x, args, kwargs = filled(given, iter(xs))
        return leaves(outcome(function_of(op.name)(income(x), *args, **kwargs)))

    theirs = leaves(outcome(op(income(sample.input), *sample.args, **sample.kwargs)))
    agree("value", outs(*points), numbers(theirs))
    cs = [random(y, rng) for y in numbers(theirs)]
    vs = [random(x, rng) for x in points]

    def loss(*xs: Any) -> Any:
        return sum(np.sum(np.real(np.conj(c) * y)) for c, y in zip(cs, outs(*xs)))

    their_loss = sum((torch.tensor(c).conj() * y).real.sum() for c, y in zip(cs, theirs))
    if not variables or not their_loss.requires_grad:
        return
    once = their_gradients(their_loss, variables)
    agree("gradient", tg.grad(loss, by)(*points), [np.conj(g) for g in numbers(once)])

    def directional(*xs: Any) -> Any:
        return sum(np.sum(np.real(v * g)) for v, g in zip(vs, tg.grad(loss, by)(*xs)))

    along = sum((torch.tensor(v).conj() * g).real.sum() for v, g in zip(vs, once))
    try:
        twice = their_gradients(along, variables) if along.requires_grad else [0 * t for t in once]
    except (RuntimeError, NotImplementedError):  # PyTorch has no second derivative
        return
    second = tg.grad(directional, by)(*points)
    agree("second derivative", second, [np.conj(g) for g in numbers(twice)])


def shown(x: Any) -> str:
    """An argument in short."""
    if isinstance(x, torch.Tensor):
        return str(tuple(x.shape))
    if isinstance(x, (list, tuple)):
        return f"[{', '.join(map(shown, x))}]"
    return ", ".join(f"{k}={shown(v)}" for k, v in x.items()) if isinstance(x, dict) else str(x)


def reason(error: Exception, line: str) -> str | None:
    """Why a failure is none."""
    if why := next((why for why, how in LEFT_OUT.items() if re.search(how, line)), None):
        return why
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    numpys = not line.startswith("nn.") and not any(f.startswith(PACKAGE) for f in files)
    if not isinstance(error, Different) and numpys:
        return "NumPy refuses what PyTorch takes"
    return None


def main() -> int:
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    counts: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    for op in op_db:
        wanted = not sys.argv[1:] or any(
            op.name == given or (given.endswith(".") and op.name.startswith(given))
            for given in sys.argv[1:]
        )
        if not wanted or not op.supports_autograd:
            continue
        if op.name in RANDOM:
            counts["operations that draw at random"] += 1
            continue
        if function_of(op.name) is None:
            if op.name.startswith("nn.functional."):
                samples = [*op.sample_inputs("cpu", torch.float64, requires_grad=True)]
                print("MISSING", op.name, f"({len(samples)} samples)")
                counts["samples of missing functions"] += len(samples)
            continue
        counts["operations"] += 1
        for dtype in op.supported_backward_dtypes("cpu") & {torch.float64, torch.complex128}:
            torch.manual_seed(0)
            for sample in op.sample_inputs("cpu", dtype, requires_grad=True):
                try:
                    compare(op, sample)
                    counts["samples agree"] += 1
                except Exception as error:
                    said = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
                    call = ", ".join(map(shown, [sample.input, *sample.args, sample.kwargs]))
                    kind = "complex" if dtype.is_complex else "real"
                    line = f"{op.name} {op.variant_test_name} {kind} ({call[:80]}): {said}"
                    why = reason(error, line)
                    counts[f"samples left out: {why}" if why else "samples fail"] += 1
                    failures[line] += not why
    for line, n in (+failures).items():
        print("FAILED", line, f"({n} times)" if n > 1 else "")
    for what, n in counts.items():
        print(f"{n:6} {what}")
    return bool(+failures)


if __name__ == "__main__":
    sys.exit(main())
