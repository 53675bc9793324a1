"""What the code of a step is written with: its parts, its Modules, and the user's names.

`python -m tests.compiler.test_names` writes the golden copies anew: read what they change.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn, optim

HERE = Path(__file__).parent
RNG = np.random.default_rng(0)
ROWS = RNG.random((4, 6), dtype=np.float32)


def trained(model: Any, optimizer: Any, x: Any, y: Any, exact: bool = True) -> Any:
    def step(x: Any, y: Any) -> Any:
        out = model(x)
        loss = np.mean((out - y) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss

    step = tg.compile(step, exact=exact)
    step(x, y)
    step(x, y)
    return step


def mlp() -> Any:
    model = nn.Sequential(nn.Linear(6, 5, rng=0), nn.Sigmoid(), nn.Linear(5, 2, rng=1))
    return trained(model, optim.SGD(model.parameters(), lr=0.1), ROWS, ROWS[:, :2])


def transformer() -> Any:
    model = nn.TransformerEncoderLayer(
        *(6, 2, 8, 0.0), batch_first=True, norm_first=True, rng=np.random.default_rng(0)
    )
    x = ROWS.reshape(2, 2, 6)
    return trained(model, optim.Adam(model.parameters()), x, x)


def digits(*sizes: int, batch: int, activation: Any) -> Any:
    """A network of the benchmarks, with all passes."""
    layers: list[Any] = []
    for m, n in itertools.pairwise(sizes):
        layers += [nn.Linear(m, n, rng=0), activation()]
    model = nn.Sequential(*layers)
    x = np.ones((batch, sizes[0]), np.float32)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    return trained(model, optimizer, x, x[:, : sizes[-1]], exact=False)


STEPS = {
    "mlp": mlp,
    "transformer": transformer,
    "small": lambda: digits(784, 30, 10, batch=10, activation=nn.Sigmoid),
    "medium": lambda: digits(784, 128, 64, 10, batch=64, activation=nn.ReLU),
}


def golden(name: str) -> Path:
    return HERE / f"{name}_step.txt"


@pytest.mark.parametrize("name", STEPS)
def test_the_code_of_a_step_is_that_of_the_golden_copy(name: str) -> None:
    assert STEPS[name]().source == golden(name).read_text("utf8")


def sections(source: str) -> dict[str, str]:
    """The lines below each comment `# --- part`."""
    parts = source.partition("def step")[2].split("# --- ")[1:]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in parts}


def test_a_step_has_its_parts_and_the_users_names() -> None:
    found = sections(mlp().source)
    assert [*found] == ["forward", "backward", "forward: what no gradient needs", "update"]
    assert "# model.layers.0 (Linear)\n" in found["forward"]
    assert ", model_layers_1)" in found["forward"]
    assert "# model.layers.0 (Linear)\n" in found["backward"]
    assert ", d_model_layers_2_weight)" in found["backward"]
    assert "loss = " in found["forward: what no gradient needs"]
    assert ", model_layers_0_weight)" in found["update"]
    assert "matmul" not in found["update"]


def test_the_parts_of_an_optimisers_state_are_called_as_its_rule_calls_them() -> None:
    source = transformer().source
    assert all(f"model_linear1_weight_{part}" in source for part in "mvt")


def test_two_models_in_turn_have_a_forward_part_each() -> None:
    f, g = nn.Linear(3, 3, rng=0), nn.Linear(3, 1, rng=1)
    first, second = optim.SGD(f.parameters(), lr=0.1), optim.SGD(g.parameters(), lr=0.1)

    @tg.compile(exact=True)
    def step(x: Any) -> Any:
        for optimizer in (first, second):
            loss = np.sum(g(f(x)) ** 2)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return loss

    step(np.ones((2, 3), np.float32))
    parts = [x.scope.step for x in step.last.written().body if x.function is np.matmul]
    parts += [x.scope.step for x in step.last.written().body if x.name == "loss"]
    assert "update" not in parts


def test_the_code_does_not_depend_on_the_hashes_of_names() -> None:
    """Of two globals, the Module gives the parameters their names."""
    code = (
        "import numpy as np, tensorgrad as tg\n"
        "from tensorgrad import Value, nn, optim\n"
        "a_model = nn.Linear(2, 1, rng=0)\n"
        "a = optim.SGD(a_model.parameters(), lr=0.1)\n"
        "@tg.compile\n"
        "def step(x):\n"
        "    loss = a_model(x).sum(); a.zero_grad(); loss.backward(); a.step(); return loss\n"
        "step(np.ones((3, 2), np.float32)); print(step.source)"
    )
    sources = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(HERE.parents[1])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(sources) == 1
    assert "a_model_weight" in sources.pop()


@pytest.mark.parametrize("name", ["x²", "½", "µ", "ﬁ", "ª", "𐄇"])
def test_names_that_python_reads_otherwise(name: str) -> None:
    names = name, unicodedata.normalize("NFKC", name), name
    a, b, c = (Value(np.full(3, float(k)), name=name) for k, name in enumerate(names, 1))
    assert tg.compile(lambda x: x + a * 2 - b * c)(np.ones(3)).data.tolist() == [-3.0] * 3


def test_a_modules_name_of_several_lines_stays_in_its_comment() -> None:
    layers = {"a\nb": nn.Linear(3, 2, rng=0)}
    step = tg.compile(lambda x: [layer(x) for layer in layers.values()])
    assert step(np.ones((2, 3)))[0].shape == (2, 2)
    assert "# layers.a b (Linear)" in step.source


if __name__ == "__main__":
    for name, made in STEPS.items():
        golden(name).write_text(made().source, "utf8")
