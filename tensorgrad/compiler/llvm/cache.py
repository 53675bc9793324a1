"""Machine code on disk, so that the next process has it at once.

It is in `$TENSORGRAD_CACHE`, or in `tensorgrad/kernels` of the user's cache. A file is what it was
made of, as a hash, and what it holds: a file that is cut off, was changed, or belongs to another
name is not code, and is made again. Nothing is read from a folder that others may write to.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from tensorgrad.data import store
from tensorgrad.io.files import write

MOST = 1000
"""How many files are kept; beyond it the older half goes."""


def folder() -> Path:
    named = os.environ.get("TENSORGRAD_CACHE")
    return Path(named) if named else store.cache("kernels")


def cached(source: str, make: Callable[[], bytes]) -> bytes:
    """What `make()` is, from the disk if it is there. `source`: all that it depends on."""
    key = hashlib.sha256(source.encode())
    path = folder() / f"{key.hexdigest()}.o"
    try:
        found = path.read_bytes() if is_private(path.parent) else b""
    except OSError:
        found = b""
    digest, code = found[:32], found[32:]
    if code and digest == sealed(key.digest(), code):
        return code
    code = make()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if is_private(path.parent):
            tidy(path.parent)
            write(path, sealed(key.digest(), code) + code, wait=False)
    except OSError:
        pass  # a folder that is not ours to write in: it is compiled again next time
    return code


def sealed(key: bytes, code: bytes) -> bytes:
    return hashlib.sha256(key + code).digest()


def is_private(path: Path) -> bool:
    """Whether nobody but the user writes there, as far as the system says who does."""
    if not hasattr(os, "getuid"):
        return True
    found = path.stat()
    return found.st_uid == os.getuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def tidy(path: Path) -> None:
    files = [*path.glob("*.o")]
    if len(files) > MOST:
        for old in sorted(files, key=lambda x: x.stat().st_mtime)[: len(files) // 2]:
            old.unlink(missing_ok=True)
