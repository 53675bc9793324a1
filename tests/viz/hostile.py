"""Hostile expressions, as many as wanted: `python tests/viz/hostile.py 10000 SEED`.

Calls of whatever the language has, of large numbers, shapes, arrays and words, in each other.
Prints what was found wrong, a line each: another error than ExpressionError, an expression that
took over ten seconds of computing, or more memory than 700 MB in all.
"""

import os
import random
import resource
import sys
import time
import warnings

import numpy as np

import tensorgrad as tg
from tensorgrad.formula.parse import OPERATORS, ExpressionError, evaluate, functions

LEAVES = [
    "a",
    "v",
    "M",
    "0",
    "1",
    "-1",
    "2",
    "7",
    "300000000",
    "1e9",
    "1.5e8",
    "1e-9",
    "inf",
    "nan",
]
LEAVES += ["(100000, 100000)", "[100000, 100000]", "((300000000, 0),)", "array([300000000, 1])"]
LEAVES += [
    "10**9",
    "9**9",
    "2**64",
    "'ij,jk->ik'",
    "'U999999999'",
    "'99999999f8'",
    "'f8'",
    "'edge'",
]
LEAVES += ["zeros((1000, 1000))", "arange(100000)", "zeros((1, 3000))", "arange(9.0)", "None"]
LEAVES += [
    "v > 1",
    "[v, v, v]",
    "[1, 2]",
    "(0, 1)",
    "...",
    "True",
    "1:2",
    "array([0, 1])",
    "'full'",
]
KEYWORDS = ["axis", "shape", "n", "num", "stop", "x", "repeats", "reps", "bins", "dtype", "k", "N"]
KEYWORDS += [
    "indices",
    "pad_width",
    "minlength",
    "deg",
    "m",
    "offset",
    "s",
    "decimals",
    "self",
    "mode",
]
SIGNS = ["+", "-", "*", "/", "//", "%", "@", "**", "&", "|", "<", "==", "^", "<<"]
NAMES = sorted(functions())


def expression(draw, depth):
    """A random expression."""
    kind = draw.random()
    if depth == 0 or kind < 0.2:
        return draw.choice(LEAVES).replace("1:2", "slice(1, 2)")
    if kind < 0.4:
        return f"({expression(draw, depth - 1)} {draw.choice(SIGNS)} {expression(draw, depth - 1)})"
    if kind < 0.5:
        return f"{expression(draw, depth - 1)}[{expression(draw, depth - 1)}]"
    arguments = [expression(draw, depth - 1) for _ in range(draw.randint(0, 3))]
    for keyword in draw.sample(KEYWORDS, draw.choice([0, 0, 1, 2])):
        arguments.append(f"{keyword}={expression(draw, depth - 1)}")
    return f"{draw.choice(NAMES)}({', '.join(arguments)})"


def main(n, seed):
    assert OPERATORS
    warnings.simplefilter("ignore")
    draw = random.Random(seed)
    values = {"a": tg.Value(1.5), "v": tg.Value(np.arange(3.0)), "M": tg.Value(np.eye(3))}
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open("/proc/self/statm") as file:
        limit = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + (3 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    good = 0
    for _ in range(n):
        text, before = expression(draw, draw.randint(1, 3)), time.process_time()
        try:
            with np.errstate(all="ignore"):
                evaluate(text, values)
            good += 1
        except ExpressionError as error:
            if "allocate" in str(error):
                print(f"{text}: {error}", flush=True)
        except BaseException as error:
            print(f"{text}: {type(error).__name__}: {error}", flush=True)
        if (seconds := time.process_time() - before) > 10:
            print(f"{text}: {seconds:.1f} s", flush=True)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) // 1024
        if grown > 700:
            print(f"{text}: {grown} MB", flush=True)
            break
    print(f"{n} expressions, {good} of them computed, {grown} MB", file=sys.stderr)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
