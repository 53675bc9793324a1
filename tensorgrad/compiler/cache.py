"""Code on disk, so that the next process has it at once: machine code, programs (store.py),
and what Python makes of these.

It is in `$TENSORGRAD_CACHE`, or in `tensorgrad/kernels` of the user's cache. A file is what it was
made of, as a hash, and what it holds: a file that is cut off, was changed, or belongs to another
name is not code, and is made again. Nothing is read from a folder that others may write to.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType

from tensorgrad import files

MOST = 1000
"""How many files are kept; beyond it the older half goes."""
LONG = 1 << 14
"""Characters of code that Python compiles in 4 ms."""


def folder() -> Path:
    named = os.environ.get("TENSORGRAD_CACHE")
    return Path(named) if named else files.cache("kernels")


def cached(source: str, make: Callable[[], bytes], ending: str = ".o") -> bytes:
    """What `make()` is, from the disk if it is there. `source`: all that it depends on."""
    key = hashlib.sha256(source.encode()).digest()
    found = kept(key, ending)
    if found:
        return found
    code = make()
    path = folder() / f"{key.hex()}{ending}"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_private(path.parent):
            tidy(path.parent)
            files.write(path, sealed(key, code) + code, wait=False)
    except OSError:
        pass  # a folder that is not ours to write in: it is compiled again next time
    return code


def binary(source: str, name: str) -> CodeType:
    """What Python makes of some code, in a file of this name; from the disk if it is long."""

    made: list[CodeType] = []

    def packed() -> bytes:
        made.append(compile(source, name, "exec"))
        return marshal.dumps(made[0])

    if len(source) < LONG:
        return compile(source, name, "exec")
    data = cached("\n".join((sys.version, name, source)), packed, ".code")
    return made[0] if made else marshal.loads(data)


def kept(key: bytes, ending: str = ".o") -> bytes:
    """What is on disk under a key; nothing if that is not what was put there."""
    path = folder() / f"{key.hex()}{ending}"
    try:
        found = path.read_bytes() if is_private(path.parent) else b""
    except OSError:
        return b""
    digest, code = found[:32], found[32:]
    return code if digest == sealed(key, code) else b""


def sealed(key: bytes, code: bytes) -> bytes:
    return hashlib.sha256(key + code).digest()


def is_private(path: Path) -> bool:
    """Whether nobody but the user writes there, as far as the system says who does."""
    if not hasattr(os, "getuid"):
        return True
    found = path.stat()
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def tidy(path: Path) -> None:
    names = [name for name in os.listdir(path) if len(name.partition(".")[0]) == 64]
    if len(names) > MOST:
        files = [path / name for name in names]
        for old in sorted(files, key=lambda x: x.stat().st_mtime)[: len(files) // 2]:
            old.unlink(missing_ok=True)
