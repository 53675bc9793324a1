"""Tiny Shakespeare: a million characters of plays, found on disk or downloaded once."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tensorgrad.data.store import fetch, search

URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
SUM = "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
FILE = "input.txt"


class Text(NamedTuple):
    """A text as numbers of its characters, in order; each number counts in `characters`."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    characters: str

    def encode(self, text: str) -> NDArray[np.int64]:
        """The numbers of the characters of `text`. ValueError for one that is not among them."""
        if unknown := sorted(set(text) - set(self.characters)):
            raise ValueError(f"the text has no {''.join(unknown)!r:.60}")
        return np.array([self.characters.index(c) for c in text], np.int64)

    def decode(self, numbers: Any) -> str:
        """The text that `numbers` stand for."""
        return "".join(self.characters[i] for i in np.ravel(numbers))


def tiny_shakespeare(root: str | os.PathLike[str] | None = None) -> Text:
    """Tiny Shakespeare, 1,115,394 characters, of 65 kinds: nine tenths to train, one to validate.

    The file `input.txt` is read from `root` if it is given. Otherwise from the first of
    `$TENSORGRAD_DATA/tinyshakespeare` and `tensorgrad/tinyshakespeare` in the user's cache
    (`$XDG_CACHE_HOME` or `~/.cache`) that has it, and if neither has, it is downloaded to the cache
    (1 MB) and checked against its SHA-256. A file on disk is not, so any text can be read.

    Raises `FileNotFoundError` if `root` lacks the file, `ValueError` for one that is empty or no
    text in UTF-8, `ImportError` if a download needs pooch, and `OSError` if the download fails.

    Source: A. Karpathy, The unreasonable effectiveness of recurrent neural networks, 2015.

    >>> tiny_shakespeare("no/such/folder")
    Traceback (most recent call last):
    FileNotFoundError: tiny_shakespeare: no/such/folder lacks input.txt: put it there, or ...
    """
    path = search("tinyshakespeare", find) if root is None else find(Path(root))
    if path is None and root is not None:
        raise FileNotFoundError(
            f"tiny_shakespeare: {root} lacks {FILE}: put it there, or call tiny_shakespeare() to "
            "find or download it"
        )
    path = path or fetch("tinyshakespeare", URL, SUM, FILE)
    try:
        text = path.read_text(encoding="utf8")
    except UnicodeDecodeError as error:
        raise ValueError(f"tiny_shakespeare: {path} is no text in UTF-8: {error}") from None
    if not text:
        raise ValueError(f"tiny_shakespeare: {path} is empty")
    characters, numbers = np.unique(np.array(list(text)), return_inverse=True)
    numbers = numbers.astype(np.int64)
    end = len(text) * 9 // 10
    return Text(numbers[:end], numbers[end:], "".join(characters))


def find(folder: Path) -> Path | None:
    """The file, if the folder has it."""
    path = folder / FILE
    return path if path.is_file() else None
