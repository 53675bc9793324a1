"""Files that are written whole or not at all: whatever the package writes, it writes here; and
where what it can do without is kept."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PathLike = str | os.PathLike[str]


def cache(name: str) -> Path:
    """Where what has this name is kept: `tensorgrad/name` in `$XDG_CACHE_HOME` or `~/.cache`."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home, "tensorgrad", name)


def write(path: PathLike, content: bytes | str, wait: bool = True) -> None:
    """Write a file, text in UTF-8: beside it first, then, once it is on the disk, in its place.
    Without `wait` the system may put it on the disk later, for who can see that it was cut off.

    OSError if it cannot be written; what was there before then stays.
    """
    target = check_writable(path)
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    temporary = _beside(target)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            if wait:
                os.fsync(file.fileno())
        temporary.chmod(target.stat().st_mode if target.exists() else 0o666 & ~_umask())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: PathLike) -> Path:
    """Where `write` would write, links followed. OSError if it could not; changes nothing."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"cannot write {path}: it is a folder; name a file in it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no folder {target.parent}")
    if target.exists() and not target.is_file():
        raise OSError(f"cannot write {path}: it is a device, not a file")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"cannot write {path}: the file is read-only")
    try:
        _beside(target).unlink()  # asking is not enough: read-only mounts, quotas, /proc
    except OSError as error:
        raise type(error)(f"cannot write {path}: {error.strerror} in {target.parent}") from error
    return target


def _beside(target: Path) -> Path:
    """A new empty file in the same folder."""
    handle, name = tempfile.mkstemp(prefix=".saving-", dir=target.parent)
    os.close(handle)
    return Path(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
