"""tiny_shakespeare: found in the promised order, and any text can be read."""

import importlib
import os
from pathlib import Path

import numpy as np
import pytest

from tensorgrad.data import tiny_shakespeare

module = importlib.import_module("tensorgrad.data.shakespeare")
REPOSITORY = Path(__file__).parents[2]
DATA = Path(os.environ.get("TENSORGRAD_DATA") or REPOSITORY.parent / "shared" / "data")


def write(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "input.txt").write_text(text, encoding="utf8")
    return folder


def test_a_text_is_numbers_of_its_characters_in_order(tmp_path):
    text = tiny_shakespeare(write(tmp_path, "to be or not\n"))
    assert text.characters == "\n benort"
    assert (len(text.train), len(text.validation)) == (11, 2)
    assert text.train.dtype == np.int64
    assert text.decode(text.train) + text.decode(text.validation) == "to be or not\n"
    assert text.encode("be").tolist() == [2, 3]
    with pytest.raises(ValueError, match="the text has no 'xz'"):
        text.encode("zx be")


def test_it_is_found_in_the_data_folder_then_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORGRAD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(tmp_path / "cache/tensorgrad/tinyshakespeare", "cache")
    assert set(tiny_shakespeare().characters) == set("cache")
    write(tmp_path / "data/tinyshakespeare", "data")
    assert set(tiny_shakespeare().characters) == set("data")


def test_it_is_downloaded_as_the_last_resort(tmp_path, monkeypatch):
    monkeypatch.delenv("TENSORGRAD_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked = []

    def fetch(name, url, checksum, file):
        asked.append((url, checksum))
        return write(tmp_path / "tensorgrad" / name, "fetched") / file

    monkeypatch.setattr(module, "fetch", fetch)
    assert set(tiny_shakespeare().characters) == set("fetched")
    assert asked == [(module.URL, module.SUM)]
    tiny_shakespeare()  # found now
    assert len(asked) == 1


def test_what_is_no_text_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"lacks input\.txt"):
        tiny_shakespeare(tmp_path)
    with pytest.raises(ValueError, match="is empty"):
        tiny_shakespeare(write(tmp_path, ""))
    (tmp_path / "input.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="no text in UTF-8"):
        tiny_shakespeare(tmp_path)


@pytest.mark.skipif(not (DATA / "tinyshakespeare").is_dir(), reason="needs tiny Shakespeare")
def test_the_real_one():
    text = tiny_shakespeare(DATA / "tinyshakespeare")
    assert len(text.characters) == 65
    assert (len(text.train), len(text.validation)) == (1_003_854, 111_540)
    assert text.decode(text.train[:13]) == "First Citizen"
