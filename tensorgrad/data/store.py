"""Where the files of a data set are: `$TENSORGRAD_DATA`, the user's cache, and last the network.

A download that broke off goes on where it was, and what does not have the known checksum is not
kept.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorgrad.extras import missing
from tensorgrad.files import cache

MOST = 1 << 28  # bytes that a file may unpack to: no data set here is larger


def folders(name: str) -> list[Path]:
    """Where it may be, in the order in which that is looked at."""
    data = os.environ.get("TENSORGRAD_DATA")
    return [Path(data, name), cache(name)] if data else [cache(name)]


def fetch(name: str, url: str, checksum: str, file: str, unpack: bool = False) -> Path:
    """`url` as `file` in the cache of data set `name`, downloaded unless it is there.

    `checksum`: "md5:..." or "sha256:...", of the file as it is kept: with `unpack` that is what was
    in a gzip file. ImportError without pooch; OSError, which says where to put the file by hand,
    where it cannot be had.
    """
    try:
        import pooch  # type: ignore[import-untyped]
    except ImportError:
        raise missing(f"{name} is not on disk, and to download it needs pooch", "data") from None
    folder = cache(name)
    part = folder / f"{file}.part"

    def download(url: str, output_file: Any, mirror: Any) -> None:
        resume(url, part)
        if unpack:
            with gzip.open(part) as content:
                Path(output_file).write_bytes(content.read(MOST))
        else:
            Path(output_file).write_bytes(part.read_bytes())

    try:
        try:
            path = Path(pooch.retrieve(url, checksum, file, folder, downloader=download))
        except (EOFError, ValueError, zlib.error, gzip.BadGzipFile):
            part.unlink(missing_ok=True)  # it is another file: no sense in going on with it
            raise
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise OSError(
            f"{name}: could not download {url} to {folder}: put its files in a folder and call "
            f"{name}(folder), or put them in $TENSORGRAD_DATA/{name}. Reason: {error}"
        ) from error
    part.unlink(missing_ok=True)
    return path


def resume(url: str, part: Path) -> None:
    """Append to `part` what of `url` it has not yet."""
    import requests  # pooch's own

    done = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # it was all there
        answer.raise_for_status()
        resumed = answer.status_code == requests.codes.partial_content
        with part.open("ab" if resumed else "wb") as f:
            for block in answer.iter_content(1 << 13):
                f.write(block)


def search(name: str, look: Callable[[Path], Any]) -> Any:
    """What `look` finds in the first of the usual folders where it finds something."""
    return next((found for found in map(look, folders(name)) if found), None)
