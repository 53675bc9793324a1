"""Damaged and malicious model files, as many as wanted: `python tests/io/hostile.py 10000 SEED`.

Each is a saved model with a few changes: of bytes, of the header of safetensors, of the
architecture. It is loaded, and if it loads, run. Prints what was found wrong, a line each: another
error than ModelFileError, one that is not a printable line or does not name the file, a file that
took over a second of computing, or more memory than 200 MB in all.
"""

import copy
import json
import os
import random
import resource
import struct
import sys
import tempfile
import time
from contextlib import suppress

import numpy as np

from tensorgrad import io, nn

NAMES = ["class", "arguments", "tuple", "again", "dtype", "layers", "rng", "neuron", "", "__init__"]
WORDS = [*NAMES, "Layer", "Linear", "MLP", "Sequential", "Module", "Neuron", "tanh", "he", "F64"]
WORDS += ["\x1b[2J", "\ud800", "\u202e", "a\nb", "9" * 5000, "float128", "O", "9999999f8", "m8[s]"]
NUMBERS = [0, 1, -1, 2, 3, 7, 1.5, 1e300, float("nan"), float("inf"), 2**31, 2**63, 10**12, 10**400]
LEAVES = [*WORDS, *NUMBERS, True, False, None, [], {}, {"again": 0}, {"again": 1}, {"tuple": []}]
LEAVES *= 4  # what follows takes longer to be refused
LEAVES += [{"class": "Layer", "arguments": {"nin": 1, "nout": 10**12}}]
LEAVES += [{"class": "MLP", "arguments": {"nin": 10**5, "nouts": [10**5] * 9}}]
LEAVES += [{"class": "Linear", "arguments": {"in_features": 10**4, "out_features": 10**4}}]


class Own(nn.Module):
    def __init__(self, inner, *more, names=(), **other):
        self.inner, self.more, self.names, self.other = inner, more, names, other

    def forward(self, x):
        return self.inner(x)


def models():
    shared = nn.Linear(3, 3, dtype=np.float64, rng=0)
    yield nn.Sequential(nn.Linear(3, 2, rng=0), nn.Tanh(), nn.Linear(2, 1, False, init="he", rng=0))
    yield nn.Sequential(shared, nn.Softmax(-1), nn.Sequential(shared, nn.Identity()))
    yield nn.MLP(3, [2, 1], activation="tanh", rng=0)
    yield nn.Layer(3, 2, nonlin=False, rng=0)
    yield Own(nn.Linear(3, 1, rng=0), nn.ReLU(), names=["a", (1, None)], deep=[nn.Softplus()])


def parts(content):
    """Header and numbers of a file."""
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def whole(header, data):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def places(x, found):
    """All (holder, key) in JSON data."""
    for key in list(x) if isinstance(x, dict) else range(len(x)):
        found.append((x, key))
        if isinstance(x[key], (dict, list)):
            places(x[key], found)
    return found


def change_data(draw, data):
    """One change of JSON data, anywhere."""
    holder, key = draw.choice(places(data, []) or [(data, "a")])
    kind = draw.randrange(7)
    if kind < 3:
        holder[key] = copy.deepcopy(draw.choice(LEAVES))
    elif kind == 3:
        other, where = draw.choice(places(data, []))
        holder[key] = copy.deepcopy(other[where])
    elif kind == 4:
        nested = draw.choice([lambda x: [x], lambda x: {"tuple": [x]}, lambda x: {"a": x}])
        for _ in range(draw.choice([1, 2, 5, 60, 150])):
            holder[key] = nested(holder[key])
    elif kind == 5 and isinstance(holder, dict):
        holder[draw.choice(WORDS)] = holder.pop(key)
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(draw.choice(LEAVES)))
    else:
        holder.pop(key)


def change_bytes(draw, content):
    i = draw.randrange(len(content) + 1)
    kind = draw.randrange(4)
    if kind == 0:
        return content[:i]
    if kind == 1:
        return content[:i] + draw.randbytes(draw.choice([1, 8, 100])) + content[i:]
    if kind == 2:
        return content[:i] + content[i + draw.choice([1, 8, 100]) :]
    return content[:i] + bytes([draw.randrange(256)]) + content[i + 1 :]


def mutated(draw, content):
    kind = draw.randrange(4)
    if kind == 0:
        for _ in range(draw.randint(1, 3)):
            content = change_bytes(draw, content)
        return content
    header, data = parts(content)
    if kind == 1:
        for _ in range(draw.randint(1, 2)):
            change_data(draw, header)
        return whole(header, data)
    text = json.loads(header["__metadata__"]["tensorgrad"])
    for _ in range(draw.randint(1, 3)):
        change_data(draw, text)
    written = json.dumps(text)
    if draw.random() < 0.1:  # a key twice
        written = written.replace('"class"', f'"{draw.choice(NAMES)}": 1, "class"', 1)
    header["__metadata__"]["tensorgrad"] = written
    return whole(header, data)


def faults(path):
    """What is wrong with how the file is read."""
    before = time.process_time()
    try:
        model = io.load(path, classes=[Own])
    except io.ModelFileError as error:
        said = str(error)
        if not said.isprintable() or path not in said or len(said) > 700 or "Memory" in said:
            yield f"it says {said!r}"
    except BaseException as error:
        yield f"{type(error).__name__}: {error}"
    else:
        with suppress(Exception), np.errstate(all="ignore"):
            model(np.ones((2, 3)))
        with suppress(Exception):
            repr(model)
        io.read_metadata(path)
    if (seconds := time.process_time() - before) > 1:
        yield f"it took {seconds:.1f} s"


def main(n, seed, seconds=float("inf")):
    draw, started, done = random.Random(seed), time.monotonic(), 0
    memory_disk = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=memory_disk) as folder:
        path = f"{folder}/model.safetensors"
        seeds = []
        for model in models():
            io.save(model, path, {"data": "digits"})
            with open(path, "rb") as file:
                seeds.append(file.read())
            assert not list(faults(path))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with open("/proc/self/statm") as file:
            limit = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + (500 << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        while done < n and time.monotonic() - started < seconds:
            try:
                content = mutated(draw, draw.choice(seeds))
            except RecursionError:  # of writing it
                continue
            with open(path, "wb") as file:
                file.write(content)
            for fault in faults(path):
                print(f"file {done} of seed {seed}: {fault}", flush=True)
            done += 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) // 1024
    if grown > 200:
        print(f"{grown} MB")
    print(f"{done} files, {grown} MB", file=sys.stderr)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
