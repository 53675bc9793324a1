"""Each printed equation, read back and computed with what it names, gives what it prints."""

from __future__ import annotations

import inspect
import operator
import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tensorgrad import Value, manual_seed, nn
from tensorgrad.engine.primitive import registry
from tensorgrad.formula.formula import Formula
from tensorgrad.formula.parse import ExpressionError, evaluate
from tensorgrad.formula.symbol import Applied, Constant, Name
from tensorgrad.formula.text import Rounded
from tensorgrad.formula.writing import LATEX, TEXT
from tensorgrad.graph.names import DIRECTION
from tensorgrad.graph.replay import Event, Replay, totals
from tensorgrad.nn import functional as F
from tensorgrad.viz import explain, graph, steps
from tensorgrad.viz.graph.outline import Outline
from tensorgrad.viz.stepper.story import Share, story, told
from tests.expressions import expressions
from tests.networks import networks

SOME = settings(deadline=None, suppress_health_check=list(HealthCheck))
SHAPE = re.compile(r"(\w+)\[([\d, ]+)\]")


def readable(text: str) -> str:
    """Derivatives as names, lists of numbers as arrays."""
    text = re.sub(r"∂(\w+)/∂(\w+)", r"d_\1_d_\2", text)
    text = re.sub(r"D_(\w+)\((\w+)\)", r"D_\1_\2", text)
    text = re.sub(r"(?<![\w)\]])\[(\[[^][]*\](?:, \[[^][]*\])*)\]", r"array([\1])", text)
    return re.sub(r"(?<![\w)\].(\[])\[([^][]*)\]", r"array([\1])", text)


def computed(text: str, values: dict[str, Any]) -> Any:
    """The value of a formula; what stands in brackets behind it is defined there."""
    text, _, where = readable(text).partition(" (where ")
    for part in reversed(re.split(r", (?=\w+ = )", where.removesuffix(")")) if where else []):
        name, _, formula = part.partition(" = ")
        values = {**values, name: evaluate(formula, values)}
    try:
        return evaluate(text, values)
    except ExpressionError:  # a function that wants NumPy's numbers
        return evaluate(re.sub(r"(?<=[(, ])(-?[\d.]+)(?=[,)])", r"array(\1)", text), values)


def meant(
    replay: Replay, mode: Any, wrt: Value | None = None
) -> tuple[list[Event], dict[str, Any]]:
    """The events of a computation, and the value of everything that they name."""
    seed, *edges = replay.derivatives(mode, wrt)
    events = [*replay.values(seed), seed, *edges]
    values: dict[str, Any] = {replay.names[DIRECTION]: seed.g}
    for node in replay.order:
        values[replay.names[node]] = node.data
        for x in node.inputs:
            if id(x) in replay.names:
                values[replay.names[id(x)]] = x
    for node, total in totals([seed, *edges]).items():
        values[readable(seed.moving(node))] = total
    return events, values


def equations(events: list[Event], values: dict[str, Any]) -> Iterator[tuple[Event, str, Any, Any]]:
    """Each side of each equation, what it computes, and what it should."""
    for event in events:
        if event.kind == "seed":
            want = event.g
        else:
            want = event.contribution if event.kind == "edge" else event.value
        here = dict(values)
        if event.local is not None and event.source is not None:
            edge = f"d_{event.name}_d_{event.names[event.source]}"
            here.setdefault(edge, event.local)
            if edge in values and event.node is not event.end:
                here[edge] = event.local
        first, *sides = event.sides()
        if event.kind != "edge":
            np.testing.assert_array_equal(here[readable(first)], want)
        for side in sides[:-1]:
            if side != TEXT.dots:
                yield event, side, computed(side, here), want
        yield event, sides[-1], stated(sides[-1], want), want


def stated(text: str, want: Any) -> Any:
    """The number or list at the end of an equation; what it says of a larger array must hold."""
    if found := SHAPE.fullmatch(text):
        assert found[1] == want.dtype.name
        assert tuple(map(int, found[2].split(","))) == want.shape
        return want
    return evaluate(readable(text), {})


def check(value: Value, mode: Any = "rev", wrt: Value | None = None) -> None:
    replay = Replay(value, wrt if mode == "fwd" else None)
    events, values = meant(replay, mode, wrt)
    for event, side, got, want in equations(events, values):
        said = f"{event}: {side}"
        assert np.shape(got) == np.shape(want), said
        rough = isinstance(side, Rounded)
        tolerance = 1e-3 if rough else 1e-4 if np.result_type(want).itemsize < 8 else 1e-9
        scale = np.max(np.abs(want), initial=1e-9, where=np.isfinite(want))  # 0, but for rounding
        scale += moved_by_rounding(side, got) / tolerance if rough else 0
        np.testing.assert_allclose(got, want, tolerance, tolerance * scale, err_msg=said)


def moved_by_rounding(side: str, got: Any) -> Any:
    """How far the fourth digit of a number moves the result of a formula of numbers."""
    rng = np.random.default_rng(0)

    def nudged(found: re.Match[str]) -> str:
        return repr(float(found[0]) * (1 + rng.uniform(-2e-4, 2e-4)))

    if "[" in side or re.search(r"(?<![\w.])[A-Za-z_]\w*(?![\w(])", side):
        return 0
    others = [re.sub(r"(?<![\w.])\d+\.?\d*(e[-+]\d+)?", nudged, side) for _ in range(8)]
    return max(np.max(np.abs(got - computed(other, {}))) for other in others)


COSTS = {
    "sum": lambda a: np.sum(a * a),
    "mean": lambda a: np.mean(np.abs(a)),
    "cross entropy": lambda a: F.cross_entropy(a, np.zeros(len(a), int)),
    "quadratic": lambda a: F.mse_loss(a, np.ones(a.shape)),
    "largest": lambda a: np.sum(np.max(a, axis=-1)),
    "norms": lambda a: np.sum(np.sqrt(np.sum(a * a, axis=0) + 1)),
}


@settings(SOME, max_examples=12)
@given(call=networks(), cost=st.sampled_from(sorted(COSTS)))
def test_each_equation_of_a_network_holds(call: Any, cost: str) -> None:
    model, x = call
    loss = COSTS[cost](model(x))
    check(loss)
    check(loss, "fwd", model.parameters()[0])


IMAGES = np.cos(np.arange(64.0)).reshape(2, 2, 4, 4)
TOKENS = np.sin(np.arange(18.0)).reshape(2, 3, 3)
of_layers: dict[str, Callable[[], Any]] = {
    "conv": lambda: nn.Conv2d(2, 2, 3, stride=2, padding=1)(IMAGES),
    "conv of groups": lambda: nn.Conv2d(2, 4, 2, dilation=2, groups=2, bias=False)(IMAGES),
    "conv transpose": lambda: nn.ConvTranspose2d(2, 1, 3, stride=2, output_padding=1)(IMAGES),
    "max pool": lambda: nn.MaxPool2d(2)(nn.Conv2d(2, 1, 1)(IMAGES)),
    "avg pool": lambda: nn.AvgPool2d(3, 1, 1)(nn.Conv2d(2, 1, 1)(IMAGES)),
    "adaptive pool": lambda: nn.AdaptiveAvgPool2d(3)(nn.Conv2d(2, 1, 1)(IMAGES)),
    "upsample": lambda: nn.Upsample(scale_factor=2)(nn.Conv2d(2, 1, 1)(IMAGES)),
    "pixel shuffle": lambda: nn.PixelShuffle(2)(nn.Conv2d(2, 4, 1)(IMAGES)),
    "batch norm": lambda: nn.BatchNorm2d(2)(nn.Conv2d(2, 2, 1)(IMAGES)),
    "group norm": lambda: nn.GroupNorm(1, 2)(nn.Conv2d(2, 2, 1)(IMAGES)),
    "layer norm": lambda: nn.LayerNorm(3)(nn.Linear(3, 3)(TOKENS)),
    "rms norm": lambda: nn.RMSNorm(3)(nn.Linear(3, 3)(TOKENS)),
    "dropout": lambda: nn.Dropout(0.5, rng=0)(nn.Linear(3, 3)(TOKENS)),
    "embedding": lambda: nn.Embedding(5, 3)(np.array([[0, 4, 1], [1, 1, 0]])),
    "bag": lambda: nn.EmbeddingBag(5, 3)(np.array([[0, 4, 1], [1, 1, 0]])),
    "attention": lambda: nn.MultiheadAttention(3, 1, batch_first=True)(TOKENS, TOKENS, TOKENS)[0],
    "encoder": lambda: nn.TransformerEncoderLayer(2, 2, 4, 0.0)(IMAGES[0, 0, None, :, :2]),
    "rnn": lambda: nn.RNN(3, 2)(TOKENS)[0],
    "lstm": lambda: nn.LSTM(3, 2, bidirectional=True)(TOKENS)[0],
    "gru": lambda: nn.GRU(3, 2)(np.repeat(TOKENS, 3, axis=0))[0],
    "lstm cell": lambda: nn.LSTMCell(3, 2)(TOKENS[0])[0],
    "bilinear": lambda: nn.Bilinear(3, 3, 2)(TOKENS, TOKENS),
    "ctc": lambda: F.ctc_loss(
        F.log_softmax(nn.Linear(3, 3)(TOKENS), dim=-1), [[1], [2], [1]], [2, 2, 2], [1, 1, 1]
    ),
}


@pytest.mark.parametrize("name", of_layers)
def test_each_equation_of_a_layer_holds_and_can_be_set(name: str) -> None:
    manual_seed(0)
    out = of_layers[name]()
    loss = np.sum(out * np.cos(np.arange(out.size)).reshape(out.shape))
    check(loss)
    for node in Replay(loss).order:
        if node.op is None:
            explanation = explain(loss, Value.of(node))
            assert "<math" in explanation.html()
            assert all(len(line) < 2500 for line in str(explanation).splitlines())


def test_a_formula_without_end_is_cut_off() -> None:
    model, x = nn.LSTM(2, 2), np.ones((28, 1, 2))
    loss = np.sum(model(x)[0])
    text = str(explain(loss, model.weight_ih_l0, model))
    assert "sizes=(1,) * 28) = float64[6, 28, 2]" in text
    assert "= … = float64[28, 8]" in text
    assert evaluate("reshape(x, (2,) * 5)", {"x": np.ones(32)}).shape == (2,) * 5
    with pytest.raises(ExpressionError, match="a tuple of more than"):
        evaluate("zeros((1,) * 100000)", {})


@settings(SOME, max_examples=40)
@example(call=(lambda x: registry["eig"](x)[..., 0], (np.array([[2.0, 1.0], [1.0, 3.0]]),)))
@given(call=expressions())
def test_each_equation_of_an_expression_holds(call: Any) -> None:
    f, arguments = call
    out = f(*map(Value, arguments))
    assume(isinstance(out, Value) and out.requires_grad and "spacing" not in repr(f))
    check(out)
    first = out.node
    while first.op is not None:
        first = next(x for x in first.operands if x is not None and x.requires_grad)
    check(out, "fwd", Value.of(first))


# The textbook's formulas: G is the derivative of a result (or of the sum of its entries) by it.

X = np.array([[0.3, 0.5, 0.2], [0.1, 0.7, 0.9]])
BOOK: dict[str, tuple[Callable[..., Any], str, str]] = {
    "add": (lambda x, y: x + y, "x + y", "G"),
    "subtract": (lambda x, y: y - x, "y - x", "-G"),
    "multiply": (lambda x, y: x * y, r"x \odot y", r"G \odot y"),
    "divide": (lambda x, y: x / y, r"\frac{x}{y}", r"\frac{G}{y}"),
    "negative": (lambda x: -x, "-x", "-G"),
    "power": (lambda x: x**3, "x^{3}", r"G \odot (3 \odot x^{2})"),
    "matmul": (lambda x, y: x @ y.T.data, r"x c_{1}", r"G c_{1}^{\top}"),
    "matmul, the right": (lambda x, y: y.T.data @ x, r"c_{1} x", r"c_{1}^{\top} G"),
    "matrix and vector": (lambda x, v: x @ v, "x v", r"G v^{\top}"),
    "vector and matrix": (lambda x, w: w @ x, r"w^{\top} x", r"w G^{\top}"),
    "linear": (lambda x, y, w: registry["linear"](y, x, w), r"y x^{\top} + w", r"G^{\top} y"),
    "linear_map": (lambda x, y: registry["linear_map"](y, x), r"y x^{\top}", r"G^{\top} y"),
    "bias": (lambda v, y: y + v, "y + v", r"\sum_{i} {G}_{ij}"),
    "a number": (lambda s, y: y + s, "y + s", r"\sum_{i, j} {G}_{ij}"),
    "factor of columns": (lambda v, y: y * v, r"y \odot v", r"\sum_{i} {(G \odot y)}_{ij}"),
    "exp": (lambda x: np.exp(x), "e^{x}", r"G \odot O"),
    "log": (lambda x: np.log(x), r"\ln x", r"\frac{G}{x}"),
    "sqrt": (lambda x: np.sqrt(x), r"\sqrt{x}", r"\frac{G}{2 \odot O}"),
    "sin": (lambda x: np.sin(x), r"\sin x", r"G \odot (\cos x)"),
    "cos": (lambda x: np.cos(x), r"\cos x", r"-G \odot (\sin x)"),
    "tanh": (lambda x: np.tanh(x), r"\tanh x", r"G \odot (1 - O \odot O)"),
    "sigmoid": (lambda x: F.sigmoid(x), r"\sigma(x)", r"G \odot O \odot (1 - O)"),
    "relu": (lambda x: F.relu(x), r"\max(0, x)", r"{G if x \gt 0, else 0}"),
    "softplus": (lambda x: F.softplus(x), r"\ln(1 + e^{x})", r"G \odot \sigma(x)"),
    "abs": (lambda x: abs(x), r"\lvert x \rvert", r"G \odot (\operatorname{sgn} x)"),
    "sum": (lambda x: np.sum(x), r"\sum_{i, j} {x}_{ij}", r"G \odot \mathbf{1}_{2 \times 3}"),
    "sum of rows": (
        lambda x: np.sum(x, axis=-1, keepdims=True),
        *(r"\sum_{j} {x}_{ij}", r"G \odot \mathbf{1}_{2 \times 3}"),
    ),
    "mean": (
        lambda x: x.mean(),
        *(r"\frac{1}{6} \sum_{i, j} {x}_{ij}", r"\frac{G}{6} \odot \mathbf{1}_{2 \times 3}"),
    ),
    "mean of columns": (
        lambda x: np.mean(x, axis=0),
        *(r"\frac{1}{2} \sum_{i} {x}_{ij}", r"{(\frac{G}{2})}_{j} \odot \mathbf{1}_{2 \times 3}"),
    ),
    "max": (
        lambda v: v.max(),
        *(r"\max_{i} {v}_{i}", r"{\frac{G}{\sum_{i} {[v = O]}_{i}} if v = O, else 0}"),
    ),
    "std": (
        lambda v: np.std(v),
        r"\operatorname{std}_{i} v",
        r"\frac{G}{O} \odot \frac{v - \frac{1}{3} \sum_{i} {v}_{i}}{3}",
    ),
    "prod": (lambda v: np.prod(v), r"\prod_{i} {v}_{i}", r"G \odot \frac{O}{v}"),
    "norm": (lambda v: registry["norm"](v), r"\lVert v \rVert", r"G \odot \frac{v}{O}"),
    "transpose": (lambda x: x.T, r"x^{\top}", r"G^{\top}"),
    "transpose, named axes": (lambda x: np.transpose(x, (1, 0)), r"x^{\top}", r"G^{\top}"),
    "softmax": (
        lambda x: F.softmax(x),
        r"\operatorname{softmax}_{j} x",
        r"O \odot (G - \sum_{j} {(G \odot O)}_{ij})",
    ),
    "attention": (
        lambda x, y, m: registry["attention"](x, y.data, m.data),
        r"\operatorname{softmax}(x c_{1}^{\top} / \sqrt{d}) c_{2}",
        r"0.5774 \odot ((\operatorname{softmax}(x c_{1}^{\top} / \sqrt{d})"
        r" \odot (G c_{2}^{\top} - \sum_{j} {(G \odot O)}_{ij})) c_{1})",
    ),
    "attention, with a mask": (
        lambda x, a: registry["attention"](x, X, X, a),
        r"\operatorname{softmax}(x c_{1}^{\top} / \sqrt{d} + a) c_{1}",
        r"0.5774 \odot ((\operatorname{softmax}(x c_{1}^{\top} / \sqrt{d} + a)"
        r" \odot (G c_{1}^{\top} - \sum_{j} {(G \odot O)}_{ij})) c_{1})",
    ),
    "log_softmax": (
        lambda x: F.log_softmax(x),
        r"\ln \operatorname{softmax}_{j} x",
        r"G - e^{O} \odot \sum_{j} {G}_{ij}",
    ),
    "logsumexp": (
        lambda v: registry["logsumexp"](v),
        r"\ln \sum_{i} e^{{v}_{i}}",
        r"G \odot (\operatorname{softmax}_{i} (v - O))",
    ),
    "cross_entropy": (
        lambda x: F.cross_entropy(x, np.array([0, 2])),
        r"-\frac{1}{n} \sum_{i} \ln \operatorname{softmax}(x)_{i, {[0, 2]}_{i}}",
        r"\frac{G}{2} \odot (\operatorname{softmax}_{j} x - \operatorname{onehot}([0, 2]))",
    ),
    "quadratic": (
        lambda x, y: registry["quadratic"](x, y),
        r"\frac{1}{2n} \sum \lVert x - y \rVert^2",
        r"\frac{G}{2} \odot (x - y)",
    ),
    "inv": (lambda a: np.linalg.inv(a), "a^{-1}", r"-O^{\top} G O^{\top}"),
    "solve": (
        lambda a, m: np.linalg.solve(a, m),
        *(r"a^{-1} m", r"-(a^{\top})^{-1} G O^{\top}"),
    ),
    "where": (
        lambda x, y: np.where(X > 0.4, x, y),
        r"{x if c_{1}, else y}",
        "{G if c_{1}, else 0}",
    ),
}


@pytest.mark.parametrize("name", BOOK)
def test_formulas_are_those_of_the_textbook(name: str) -> None:
    f, forward, rule = BOOK[name]
    data = {"x": X, "y": X + 1, "v": X[0], "w": X[:, 0], "s": X[0, 0], "a": X[:, :2], "m": X}
    names = list(inspect.signature(f).parameters)
    first = Value(data[names[0]], name=names[0])
    rest = [Value(data[n], requires_grad=n == "m", name=n) for n in names[1:]]
    out = f(first, *rest)
    replay = Replay(out, first)
    made = next(e for e in replay.values(next(replay.backward())) if e.kind == "forward")
    edge = next(e for e in replay.backward() if e.kind == "edge")
    assert in_short(made.sides(LATEX)[1], made) == forward
    assert in_short(edge.sides(LATEX)[-2], made) == rule


IMAGE = np.arange(16.0).reshape(1, 1, 4, 4)
LAYERS: dict[str, tuple[Callable[..., Any], str, str]] = {
    "convolution": (
        lambda x, w: F.conv2d(x, w),
        *(r"w \star x", "w * G"),
    ),
    "convolution, stride and padding": (
        lambda x, w: F.conv2d(x, w, stride=2, padding=1),
        r"w \star_{\text{stride}=2, \text{padding}=1} x",
        r"w *_{\text{stride}=2, \text{padding}=1} G",
    ),
    "convolution, the kernel": (
        lambda w, x: F.conv2d(x, w, padding=(1, 0)),
        r"w \star_{\text{padding}=((1, 1), (0, 0))} x",
        r"G \star_{\text{padding}=((1, 1), (0, 0))} x",
    ),
    "transposed convolution": (
        lambda x, w: F.conv_transpose2d(x, w, stride=2),
        *(r"w *_{\text{stride}=2} x", r"w \star_{\text{stride}=2} G"),
    ),
    "max pooling": (
        lambda x: F.max_pool2d(x, 2),
        r"\max_{2 \times 2} x",
        r"\bigl[ \sum_{o \ni i} {G}_o [{x}_i = {O}_o] / n_o \bigr]"
        r"_{i, \text{kernel\_size}=2 \times 2}",
    ),
    "pooling by sums": (
        lambda x: registry["sum_pool"](x, kernel_size=(2, 1)),
        r"\sum_{2 \times 1} x",
        r"\bigl[ \sum_{o \ni i} {G}_o \bigr]"
        r"_{i, \text{size}=4 \times 4, \text{kernel\_size}=2 \times 1}",
    ),
    "embedding": (
        lambda t: F.embedding(np.array([2, 0, 2]), t),
        *(r"{t}_{[2, 0, 2]}", r"\bigl[ \sum_{t:\, {[2, 0, 2]}_t = i} {G}_t \bigr]_i"),
    ),
    "layer norm": (
        lambda t: F.layer_norm(t, (3,)),
        r"\frac{t - \operatorname{mean}_{j} t}{\sqrt{\operatorname{var}_{j} t + 1 \odot 10^{-5}}}",
        r"\frac{G - \operatorname{mean}_{j} G - \hat{t} \operatorname{mean}_{j}(G \odot \hat{t})}"
        r"{\sqrt{\operatorname{var}_{j} t + 1 \odot 10^{-5}}}",
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_formulas_of_layers_are_those_of_the_textbook(name: str) -> None:
    f, forward, rule = LAYERS[name]
    data = {"x": IMAGE, "w": np.ones((1, 1, 2, 2)), "t": np.arange(9.0).reshape(3, 3) ** 2}
    first, *rest = (Value(data[n], name=n) for n in inspect.signature(f).parameters)
    out = f(first, *rest)
    replay = Replay(out, first)
    events = [*replay.values(next(replay.backward()))]
    made = next(e for e in events if e.kind == "forward")
    edge = next(e for e in replay.backward() if e.kind == "edge" and e.node is made.node)
    tidy = (re.sub(r"\\text\{(\(.*?\))\}", r"\1", side) for side in (made.sides(LATEX)[1],))
    assert in_short(next(tidy), made) == forward
    assert in_short(edge.sides(LATEX)[-2], made) == rule


def in_short(latex: str, made: Event) -> str:
    """LaTeX with G and O for derivative and result, without \\left and \\right."""
    sigma = r"\Sigma " if np.ndim(made.value) else ""
    name = LATEX.name(made.name)
    latex = latex.replace(r"\left", "").replace(r"\right", "")
    for g in (rf"\frac{{\partial {sigma}{name}}}{{\partial {name}}}",):
        latex = latex.replace(f"({g})", "G").replace(g, "G")
    latex = re.sub(r"\\begin\{cases\} (.*?) & \\text\{if \} ", r"{\1 if ", latex)
    latex = re.sub(r" \\\\ (.*?) & \\text\{else\} \\end\{cases\}", r", else \1}", latex)
    return latex.replace(r"\cdot", r"\odot").replace(name, "O")


WRAPPED: list[Callable[[Any], Any]] = [
    lambda x: Applied(np.transpose, [x], {}),
    lambda x: Applied(np.square, [x], {}),
    lambda x: Applied(registry["power"], [x, Constant(3)], {}),
    lambda x: Applied(np.linalg.inv, [x], {}),
    lambda x: Applied(operator.getitem, [x, Constant(0)], {}),
    lambda x: Applied(np.sum, [x], {"axis": Constant(0)}, [(2, 3)]),
    lambda x: Applied(np.negative, [x], {}),
]


@pytest.mark.parametrize("name", sorted(registry))
def test_no_formula_has_two_superscripts(name: str) -> None:
    """Nor two subscripts: LaTeX and its converters refuse both."""
    op = registry[name]
    parts = [Name(f"x{i}") for i in range(op.arity or 2)]
    for wrap in WRAPPED:
        for part in (Applied(op, parts, {}), Applied(op, [wrap(x) for x in parts], {})):
            tree = ElementTree.fromstring(Formula(wrap(part)).mathml())
            assert tree.tag.endswith("math")


@pytest.mark.parametrize("bias", [True, False])
def test_layers_of_unnamed_data_are_set(bias: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 2, bias=bias), nn.Tanh(), nn.Linear(2, 2, bias=bias))
    found = explain(np.sum(model(np.ones((5, 3)))), model.parameters()[0])
    assert "c_{1}" in found.latex()
    assert r"\mathbb{R}^{5 \times 3}^" not in found.latex()
    assert "<math" in found.html()


def test_names_of_several_letters_stand_apart_as_factors() -> None:
    model, x = nn.Linear(3, 2, rng=0), np.ones((5, 3))
    found = explain(np.sum(model(x)), model.bias, {"x": x, "model": model}).latex()
    assert r"x \, \text{model.weight}^{\top} + \text{model.bias}" in found


def test_what_is_rounded_is_not_called_equal() -> None:
    x = Value(-10.0, name="x")
    text = str(explain(np.exp(x) + 1, x))
    assert "v2 = v1 + 1 ≈ 4.54e-05 + 1 ≈ 1\n" in text
    assert r"\approx 4.54 \cdot 10^{-5} + 1 \approx 1" in explain(np.exp(x) + 1, x).latex()
    assert "∂v2/∂x ≈ 4.54e-05" in graph(np.exp(x) + 1).source
    assert "≈" not in str(explain((x + 0.1) * 3, x))
    assert "≈" not in graph((x + 0.1) * 3).source


def test_a_direction_is_shown_as_one() -> None:
    """Forward mode by an array has a number for each direction, not a gradient."""
    W = Value(np.ones((2, 3)), name="W")
    told = [str(event) for event in steps(np.sum(X @ W.T), W, mode="fwd")]
    assert not any("∂v3/∂W" in line for line in told)
    assert told[-4:] == [
        "D_u(W) = u = ones((2, 3)) = float64[2, 3]",
        "D_u(v1) += D_u(W).T = float64[3, 2]",
        "D_u(v2) += c1 @ D_u(v1) = [[1, 1], [1.7, 1.7]]",
        "D_u(v3) += sum(D_u(v2)) = 5.4",
    ]
    by_number = [str(event) for event in steps(Value(2.0, name="a") * 3)]
    assert by_number[-1] == "∂v1/∂a += ∂v1/∂v1 * 3 = 1 * 3 = 3"


def test_the_stepper_counts_a_sweep_for_each_number() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    loss = np.sum(model(X))
    sweeps = told(loss, None, None)
    counted = story(sweeps, Outline("", defaultdict(lambda: (0, 0))), Share(1, 0, False), {})
    numbers = sum(p.size for p in model.parameters())
    assert (counted["inputs"], counted["numbers"]) == (4, numbers)
    assert counted["forward"] > numbers


def test_paths_that_cancel_have_no_shares() -> None:
    """The largest entry that softmax subtracts is a constant, no path."""
    x = Value(np.array([0.3, 0.5, 0.2]), name="x")
    text = str(explain(F.softmax(x)[0], x, entry=0))
    assert "x[0] → v1" in text
    assert "%" not in text
    assert "Paths from x[0] to V1[0]: 2" in text
    assert "Paths from x[1] to V1[0]: 1" in str(explain(F.softmax(x)[0], x, entry=1))


def test_a_maximum_is_no_linear_function_by_chance() -> None:
    """The largest entries of a draw may be the ones that were chosen."""
    for seed in range(20):
        x = Value(np.random.default_rng(seed).standard_normal((2, 2)), name="x")
        assert "max(" not in [str(e) for e in steps(np.max(x, axis=1), x, mode="fwd")][-1]


def test_a_path_of_complex_numbers_adds_what_the_sweep_adds() -> None:
    """conj and abs are no factors: of z they make another number than of its derivative."""
    z = Value(1 + 2j, name="z")
    text = str(explain(np.real(-(z**2) / z.conj()), z))
    assert "∂v5/∂z = (-0.28+0.96j) + (1.2-1.6j) = (0.92-0.64j)" in text
    assert text.endswith("v5: (1.2-1.6j)\n  z → v3 → v4 → v5: (-0.28+0.96j)")


def test_what_nobody_asks_for_is_not_printed_as_zero_by_zero() -> None:
    x = Value(0.0, name="x")
    with np.errstate(all="ignore"):
        out = np.where(False, np.log(x), x)
    text = str(explain(out, x))
    assert "in v1: ∂v2/∂v1 / x = 0 (a choice: what nobody asks for adds 0)" in text
    assert "x → v1 → v2: 0 (0 %)" in text
