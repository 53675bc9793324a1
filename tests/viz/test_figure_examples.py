"""The examples that draw run as a reader would run them, and leave their pictures where told."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
ROOT = Path(__file__).parents[2]


def run(name: str, folder: Path) -> str:
    env = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / name), "."]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_reader_of_digits_learned_is_drawn(tmp_path: Path) -> None:
    output = run("what_it_learned.py", tmp_path)
    accuracies = [float(x) for x in re.findall(r"([\d.]+)%", output)]
    assert len(accuracies) == 2
    assert min(accuracies) > 93
    assert files(tmp_path) == [
        *("activations.png", "activations_noise.png", "confusion_matrix.png", "filters.png"),
        *("first_layer.png", "gradient_norms.png", "learning_curves.png", "loss_surface.png"),
        *("maximising_inputs.png", "mistakes.png", "nudges.png"),
    ]


def test_spirals_and_disk_are_untangled_and_only_in_space_is_the_disk_free(tmp_path: Path) -> None:
    output = run("bent_plane.py", tmp_path)
    spirals, flat, space = (float(x) for x in re.findall(r"([\d.]+)%", output))
    assert min(spirals, space) > 97 > flat
    assert files(tmp_path) == [
        "disk.html",
        "disk.png",
        "disk_flat.png",
        "spirals.gif",
        "spirals.png",
    ]


def test_the_gradient_vanishes_from_layer_to_layer(tmp_path: Path) -> None:
    _, norms, _ = run("universal.py", tmp_path).splitlines()
    lengths = [float(x) for x in norms.split()]
    assert len(lengths) == 5
    assert all(3 * before < after for before, after in pairwise(lengths))
    assert files(tmp_path) == ["universality.png", "vanishing.png"]
