"""`python -m examples.reproduce`: what is run, remembered, written down, and refused."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import tensorgrad as tg
from examples import reproduce
from examples.experiment import Claim, Reached, experiment
from tensorgrad import nn, optim

ROOT = Path(__file__).parents[2]


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Runs the command on these experiments, in place of those of examples/."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()

    def begin(*arguments, of):
        module = ModuleType("examples.nielsen.ch0", "Chapter 0: a beginning.\n\nMore.")
        module.__package__ = "examples.nielsen"
        monkeypatch.setattr(reproduce, "experiments", lambda: iter([(module, of)]))
        return reproduce.main([*map(str, arguments)])

    return begin


def page(tmp_path):
    return (tmp_path / "docs" / "reproduced.md").read_text(encoding="utf-8")


def test_the_best_seed_is_written_beside_what_is_reported(begin, tmp_path, capsys):
    @experiment(Claim("wide", 0.95, at_least=0.9), Claim("a", 0.094, within=0.001, form=".4f"))
    def both(seed=0):
        return 0.93 + seed / 100, 0.0939 + seed

    assert begin(of=[both]) == 0
    assert "| wide | 95.00 % | **95.00 %** | 93.00 %, 94.00 %, 95.00 % |" in page(tmp_path)
    assert "| a | 0.0940 | **0.0939** | 0.0939, 1.0939, 2.0939 |" in page(tmp_path)
    assert "### Chapter 0: a beginning." in page(tmp_path)


def test_a_number_that_is_not_reached_is_said_and_fails(begin, tmp_path, capsys):
    @experiment(Claim("deep", 0.99, at_least=0.985), seeds=1)
    def deep(seed=0):
        return 0.98

    assert begin(of=[deep]) == 1
    assert "**98.00 %** (missed)" in page(tmp_path)
    assert "deep: 98.00 %" in capsys.readouterr().out.partition("missed:")[2]


def test_an_interrupted_command_goes_on_where_it_was(begin, tmp_path, capsys):
    runs = []

    @experiment(Claim("long", 0.5, at_least=0.5))
    def long(seed=0):
        runs.append(seed)
        if runs == [0, 1]:
            raise KeyboardInterrupt
        return 0.5

    assert begin(of=[long]) == 130
    assert "goes on from here" in capsys.readouterr().err
    assert begin(of=[long]) == 0
    assert runs == [0, 1, 1, 2]
    assert begin("--again", of=[long]) == 0
    assert runs[4:] == [0, 1, 2]


@pytest.mark.parametrize("when", ["within a step", "between steps"])
def test_ctrl_c_within_a_training_is_no_result(begin, tmp_path, monkeypatch, capsys, when):
    press = lambda: os.kill(os.getpid(), signal.SIGINT)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    class Pressed(nn.Linear):
        def forward(self, x):
            if when == "within a step":
                press()
            return super().forward(x)

    @experiment(Claim("short", None), Claim("more", None), seeds=2)
    def short(seed=0):
        model = Pressed(2, 2)
        sgd = optim.SGD(model.parameters(), lr=0.1)
        data = np.ones((4, 2)), np.ones(4, int)
        tg.fit(model, data, nn.functional.cross_entropy, sgd, epochs=2, on_epoch=lambda e: press())
        return 1.0, 2.0

    try:
        assert begin(of=[short]) == 130
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().out.count("seed") == 1
    assert not list(tmp_path.glob("reproduced/*.jsonl"))


def test_of_a_run_that_was_made_again_the_last_counts(begin, tmp_path):
    reached = iter([0.9, 0.7])

    @experiment(Claim("luck", 0.9, at_least=0.8), seeds=1)
    def luck(seed=0):
        return next(reached)

    assert begin(of=[luck]) == 0
    assert begin("--again", of=[luck]) == 1
    assert "| luck | 90.00 % | **70.00 %** (missed) |  |" in page(tmp_path)


def test_another_kernel_has_its_own_numbers_and_checkpoints_and_the_firsts_figure(
    begin, tmp_path, monkeypatch
):
    figures = pytest.importorskip("matplotlib.figure")
    checkpoints, width = [], {"one": 2, "two": 4}
    kernel = ""

    @experiment(Claim("wide", None), seeds=1)
    def wide(seed=0, checkpoint=None):
        checkpoints.append(checkpoint)
        return Reached(len(checkpoints) / 10, lambda: figures.Figure((width[kernel], 1)))

    seen = []
    for kernel in ("one", "two", "one"):
        monkeypatch.setattr(reproduce, "kernel", lambda kernel=kernel: kernel)
        assert begin("--again", of=[wide]) == 0
        seen.append((tmp_path / "docs" / "reproduced" / f"{wide.name}.png").read_bytes())
    assert seen[0] == seen[1] == seen[2]
    assert checkpoints[0] == checkpoints[2] != checkpoints[1]
    assert "| **30.00 %** | two: 20.00 % |" in page(tmp_path)


def test_what_lacks_a_library_is_left_out_and_said_and_the_rest_runs(begin, tmp_path, capsys):
    @experiment(Claim("views", None), seeds=1)
    def views(seed=0):
        raise ImportError("it needs scikit-learn")

    @experiment(Claim("deep", 0.5, at_least=0.5), seeds=1)
    def deep(seed=0):
        return 0.5

    assert begin(of=[views, deep]) == 1
    assert (
        "views, left out: it needs scikit-learn" in capsys.readouterr().out.partition("missed:")[2]
    )
    assert "deep" in page(tmp_path)


def test_a_run_goes_on_from_its_checkpoint_which_is_kept_until_its_end(begin, tmp_path):
    found = []

    @experiment(Claim("hours", None), seeds=1)
    def hours(seed=0, checkpoint=None):
        found.append(checkpoint.exists())
        checkpoint.write_text("half of it")
        if len(found) == 1:
            raise KeyboardInterrupt
        return 1.0

    assert begin(of=[hours]) == 130
    assert begin(of=[hours]) == 0
    assert found == [False, True]
    assert not list(tmp_path.rglob("*.ckpt"))
    assert re.search(r"\| > \d+\.\d \|", page(tmp_path))  # its time is that of the second half
    assert begin("--again", of=[hours]) == 0
    assert re.search(r"\| \d+\.\d \|", page(tmp_path))


def test_a_quick_run_has_its_own_settings_bounds_and_lines_and_writes_no_page(
    begin, tmp_path, capsys
):
    @experiment(Claim("few", 0.9, at_least=0.9, quick=0.5), quick={"epochs": 1})
    def few(seed=0, epochs=30):
        return 0.9 if epochs == 30 else 0.6

    assert begin("--quick", of=[few]) == 0
    assert "reproduced" not in capsys.readouterr().out  # 0.6 is not 0.9
    assert list((tmp_path / "docs").iterdir()) == []
    assert begin(of=[few]) == 0
    lines = (tmp_path / "reproduced" / f"{few.name}.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["quick"] for line in lines.splitlines()] == [True] + 3 * [False]


def test_the_time_by_hand_is_a_ratio_and_figures_are_shown(begin, tmp_path):
    figures = pytest.importorskip("matplotlib.figure")
    times = []

    @experiment(Claim("same", 1), seeds=1, by_hand=lambda seed, epochs: times.append(epochs))
    def same(seed=0, epochs=9):
        return Reached(1, figures.Figure)

    assert begin(of=[same]) == 0
    assert times == [1, 1, 1]
    assert "x |\n" in page(tmp_path)
    assert f"![same](reproduced/{same.name}.png)" in page(tmp_path)
    picture = tmp_path / "docs" / "reproduced" / f"{same.name}.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


@experiment(Claim("nothing", None), seeds=1)
def nothing(seed=0):
    return 0.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "ch7"], "no experiment's name contains 'ch7'; see --list"),
        (["--seeds", 0], "--seeds 0: at least 1"),
        (["--log", "a_file"], "a_file"),
        (["--out", "nowhere"], "nowhere"),
        (["--log", "rubbish"], "is no log of runs: delete it, or name another --log"),
    ],
)
def test_what_is_refused_is_named_before_anything_runs(begin, tmp_path, capsys, arguments, said):
    (tmp_path / "a_file").write_text("")
    (tmp_path / "rubbish").mkdir()
    (tmp_path / "rubbish" / f"{nothing.name}.jsonl").write_text("[1]\nrubbish")
    assert begin(*arguments, of=[nothing]) == 1
    out, err = capsys.readouterr()
    assert said in err
    assert len(err.splitlines()) == 1
    assert out == ""


def test_wrong_numbers_of_claims_are_refused():
    @experiment(Claim("one", None), Claim("two", None))
    def three(seed=0):
        return 1, 2, 3

    with pytest.raises(ValueError, match="three has 2 claims"):
        three()


def test_every_experiment_has_a_name_of_its_own_and_takes_a_seed():
    every = [e for _, found in reproduce.experiments() for e in found]
    assert len({e.name for e in every}) == len(every) > 0
    for e in every:
        assert e.claims
        assert next(iter(inspect.signature(e.run).parameters)) == "seed"


@pytest.mark.nightly
def test_all_of_it_quickly_interrupted_once(tmp_path):
    command = [sys.executable, "-m", "examples.reproduce", "--quick", "--log", tmp_path]
    env = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as first:
        while "seed 0" not in first.stdout.readline():
            pass
        first.send_signal(signal.SIGINT)
        assert first.wait() == 130
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert done.stdout.endswith("all as far as a quick run gets\n")


def test_half_a_line_of_a_process_that_was_killed_is_none(begin, tmp_path):
    @experiment(Claim("whole", None), seeds=1)
    def whole(seed=0):
        return 0.5

    log = tmp_path / "reproduced" / f"{whole.name}.jsonl"
    assert begin(of=[whole]) == 0
    line = log.read_text(encoding="utf-8")
    log.write_text(line[:20], encoding="utf-8")
    assert begin(of=[whole]) == 0
    assert [json.loads(x)["reached"] for x in log.read_text("utf-8").splitlines()] == [[0.5]]
