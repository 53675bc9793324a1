"""What every Module of the library can do: one table of them, and each promise for all."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import tensorgrad as tg
from tensorgrad import Value, io, nn
from tensorgrad.engine.backprop import topological_order
from tensorgrad.transforms.tree import flatten
from tests.test_tracer import Traced, replay, traced, traced_arrays  # noqa: F401 - a fixture

RNG = np.random.default_rng(0)


class Case(NamedTuple):
    """How a Module is made, and what it is called with: arrays that require grad, and others."""

    make: Callable[[], nn.Module]
    inputs: tuple[Any, ...]
    others: tuple[Any, ...] = ()


def normal(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype(np.float32)


def of(make: Callable[[], nn.Module], *shapes: tuple[int, ...], others: Any = ()) -> Case:
    return Case(make, tuple(normal(*shape) for shape in shapes), tuple(others))


def alike(names: str, *arguments: Any, shape: tuple[int, ...], **options: Any) -> dict[str, Case]:
    """Modules of one input that are made alike."""

    def make(name: str) -> Callable[[], nn.Module]:
        return lambda: getattr(nn, name)(*arguments, **options)

    return {name: of(make(name), shape) for name in names.split()}


def losses(names: str, *targets: Any, shape: tuple[int, ...] = (4, 3)) -> dict[str, Case]:
    return {
        name: Case((lambda name=name: getattr(nn, name)()), (normal(*shape),), targets)
        for name in names.split()
    }


ROWS, IMAGES = (4, 6), (2, 4, 6, 6)
PROBABILITIES = RNG.random((4, 3)).astype(np.float32)
SIGNS = np.array([1, -1, 1, -1])
SIZES = {1: (2, 4, 6), 2: IMAGES, 3: (2, 4, 4, 4, 4)}
CASES: dict[str, Case] = {
    **alike(
        """CELU ELU GELU Hardshrink Hardsigmoid Hardswish Hardtanh Identity LeakyReLU LogSigmoid
        LogSoftmax Mish PReLU RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmin Softplus
        Softshrink Softsign Tanh Tanhshrink GLU Dropout AlphaDropout""",
        shape=ROWS,
    ),
    **alike("Threshold", 0.1, 20.0, shape=ROWS),
    **alike("Softmax2d", shape=IMAGES),
    **alike("Linear", 6, 3, shape=ROWS),
    **alike("LayerNorm RMSNorm", 6, shape=ROWS),
    **alike("Flatten", shape=IMAGES),
    **alike("Unflatten", 1, (2, 2), shape=IMAGES),
    **alike("GroupNorm", 2, 4, shape=IMAGES),
    **alike("LocalResponseNorm", 2, shape=IMAGES),
    **alike("PixelShuffle ChannelShuffle", 2, shape=IMAGES),
    **alike("PixelUnshuffle", 2, shape=IMAGES),
    **alike("Upsample UpsamplingNearest2d UpsamplingBilinear2d", None, 2, shape=IMAGES),
    **alike("Unfold", 2, shape=IMAGES),
    **alike("Fold", (3, 3), 2, shape=(2, 8, 4)),
    **alike("FeatureAlphaDropout", shape=IMAGES),
    **alike("FractionalMaxPool2d", 2, output_size=3, shape=IMAGES),
    **alike("FractionalMaxPool3d", 2, output_size=2, shape=SIZES[3]),
    **{
        name: case
        for n, shape in SIZES.items()
        for name, case in {
            **alike(f"Conv{n}d ConvTranspose{n}d", 4, 3, 2, shape=shape),
            **alike(f"MaxPool{n}d AvgPool{n}d", 2, shape=shape),
            **alike(f"LPPool{n}d", 2, 2, shape=shape),
            **alike(f"AdaptiveAvgPool{n}d AdaptiveMaxPool{n}d", 2, shape=shape),
            **alike(f"BatchNorm{n}d InstanceNorm{n}d", 4, shape=shape),
            **alike(f"Dropout{n}d", shape=shape),
            **alike(f"ConstantPad{n}d", 1, 2.0, shape=shape),
            **alike(
                f"ZeroPad{n}d ReflectionPad{n}d ReplicationPad{n}d CircularPad{n}d", 1, shape=shape
            ),
        }.items()
    },
    "Bilinear": of(lambda: nn.Bilinear(3, 2, 4), (5, 3), (5, 2)),
    "CosineSimilarity": of(lambda: nn.CosineSimilarity(), (4, 3), (4, 3)),
    "PairwiseDistance": of(lambda: nn.PairwiseDistance(), (4, 3), (4, 3)),
    "Embedding": Case(lambda: nn.Embedding(5, 3), (), (np.array([[0, 2], [4, 2]]),)),
    "EmbeddingBag": Case(lambda: nn.EmbeddingBag(5, 3), (), (np.array([[0, 2], [4, 2]]),)),
    "RotaryEmbedding": of(lambda: nn.RotaryEmbedding(), (3, 5, 4)),
    "SinusoidalEmbedding": of(lambda: nn.SinusoidalEmbedding(), (3, 5, 4)),
    **{
        f"MaxUnpool{n}d": Case(
            (lambda n=n: getattr(nn, f"MaxUnpool{n}d")(2)),
            (normal(1, 1, *(2,) * n),),
            (2 * np.arange(2**n).reshape(1, 1, *(2,) * n),),
        )
        for n in (1, 2, 3)
    },
    # Containers.
    "Sequential": of(lambda: nn.Sequential(nn.Linear(6, 3), nn.Tanh()), ROWS),
    "Residual": of(lambda: nn.Residual(nn.Linear(6, 6)), ROWS),
    # Recurrent.
    **alike("RNN LSTM GRU", 6, 3, shape=(5, 2, 6)),
    **alike("Last", shape=(2, 5, 3)),
    **alike("RNNCell LSTMCell GRUCell", 6, 3, shape=ROWS),
    # Attention.
    "MultiheadAttention": of(lambda: nn.MultiheadAttention(4, 2), (3, 2, 4), (5, 2, 4), (5, 2, 4)),
    **alike("TransformerEncoderLayer", 4, 2, 8, shape=(3, 2, 4)),
    "TransformerDecoderLayer": of(
        lambda: nn.TransformerDecoderLayer(4, 2, 8), (3, 2, 4), (5, 2, 4)
    ),
    "TransformerEncoder": of(
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8), 2), (3, 2, 4)
    ),
    "TransformerDecoder": of(
        lambda: nn.TransformerDecoder(nn.TransformerDecoderLayer(4, 2, 8), 2), (3, 2, 4), (5, 2, 4)
    ),
    "Transformer": of(lambda: nn.Transformer(4, 2, 1, 1, 8), (3, 2, 4), (5, 2, 4)),
    # Losses.
    **losses("MSELoss L1Loss SmoothL1Loss HuberLoss QuadraticLoss PoissonNLLLoss", normal(4, 3)),
    **losses("CrossEntropyLoss NLLLoss MultiMarginLoss", np.array([0, 2, 1, 2])),
    "LinearCrossEntropyLoss": Case(
        lambda: nn.LinearCrossEntropyLoss(3, 5), (normal(4, 3),), (np.array([0, 4, 1, 2]),)
    ),
    "AdaptiveLogSoftmaxWithLoss": Case(
        lambda: nn.AdaptiveLogSoftmaxWithLoss(4, 6, [2, 4], 2.0),
        (normal(4, 4),),
        (np.array([0, 3, 5, 3]),),
    ),
    **losses(
        "BCEWithLogitsLoss SigmoidCrossEntropyLoss MultiLabelSoftMarginLoss",
        (PROBABILITIES > 0.5) * np.float32(1),
    ),
    **losses("KLDivLoss", PROBABILITIES),
    **losses("HingeEmbeddingLoss SoftMarginLoss", np.sign(normal(4, 3))),
    **losses("MultiLabelMarginLoss", np.array([[0, -1, 1]] * 4)),
    "BCELoss": Case(lambda: nn.BCELoss(), (PROBABILITIES,), ((PROBABILITIES > 0.5) * 1.0,)),
    "GaussianNLLLoss": Case(
        lambda: nn.GaussianNLLLoss(), (normal(4, 3),), (normal(4, 3), PROBABILITIES + 0.1)
    ),
    "CosineEmbeddingLoss": of(lambda: nn.CosineEmbeddingLoss(), (4, 3), (4, 3), others=[SIGNS]),
    "MarginRankingLoss": of(lambda: nn.MarginRankingLoss(), (4,), (4,), others=[SIGNS]),
    "TripletMarginLoss": of(lambda: nn.TripletMarginLoss(), (4, 3), (4, 3), (4, 3)),
    "TripletMarginWithDistanceLoss": of(
        lambda: nn.TripletMarginWithDistanceLoss(), (4, 3), (4, 3), (4, 3)
    ),
    "CTCLoss": Case(
        lambda: nn.CTCLoss(),
        (np.log(RNG.dirichlet(np.ones(4), (6, 2))).astype(np.float32),),
        (np.array([[1, 2], [3, 3]]), np.array([6, 5]), np.array([2, 2])),
    ),
    # micrograd's.
    "Neuron": of(lambda: nn.Neuron(3), (3,)),
    "Layer": of(lambda: nn.Layer(3, 2), (3,)),
    "MLP": of(lambda: nn.MLP(3, [2, 1]), (3,)),
}
ABSTRACT = {"Lambda", "Module", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict"}
"""What has no forward of its own."""

MODULES = [
    name
    for name in nn.__all__
    if isinstance(getattr(nn, name), type) and issubclass(getattr(nn, name), nn.Module)
]
cases = pytest.mark.parametrize("name", [name for name in CASES if name in MODULES])


def made(name: str) -> nn.Module:
    tg.manual_seed(0)
    return CASES[name].make()


def called(name: str, model: nn.Module) -> list[Value]:
    """What the Module makes of its inputs, which require grad."""
    case = CASES[name]
    tg.manual_seed(1)
    out = model(*map(Value, case.inputs), *case.others)
    return [x for x in flatten(out)[0] if isinstance(x, Value)]


def numbers(outs: list[Value]) -> list[np.ndarray[Any, Any]]:
    assert outs
    return [x.data for x in outs]


def total(outs: list[Value]) -> Value:
    return sum(np.sum(np.square(x)) for x in outs)


def assert_same(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for x, y in zip(found, expected):
        np.testing.assert_array_equal(x, y)
        assert x.dtype == y.dtype


def test_the_table_has_every_module() -> None:
    assert sorted({*MODULES} - {*CASES} - ABSTRACT) == []


@cases
def test_copied_pickled_saved_and_loaded_it_computes_the_same(name: str, tmp_path: Any) -> None:
    model = made(name)
    called(name, model)  # buffers have seen something
    io.save(model, tmp_path / "model.safetensors")
    anew = made(name)
    for p in anew.parameters():
        p.data = p.data + 1
    anew.load_state_dict(model.state_dict())
    copies = [
        copy.deepcopy(model),
        pickle.loads(pickle.dumps(model)),
        io.load(tmp_path / "model.safetensors"),
        anew,
    ]
    expected = numbers(called(name, model.eval()))
    for again in copies:
        assert type(again) is type(model)
        assert_same(numbers(called(name, again.eval())), expected)


@cases
def test_it_can_be_asked_for_the_sizes_that_it_was_made_of(name: str) -> None:
    if name.startswith("Transformer") or name in ("Neuron", "Layer", "MLP"):  # their parts can
        return
    told = inspect.signature(getattr(nn, name)).parameters.values()
    sizes = {p.name for p in told if p.default is p.empty and p.annotation in ("int", "Size")}
    assert sizes <= {*vars(made(name))}


@cases
def test_float32_stays_float32_and_float64_float64(name: str) -> None:
    for dtype in (np.float32, np.float64):
        case, model = CASES[name], made(name).to(dtype).eval()
        xs = [Value(x.astype(dtype)) for x in case.inputs]
        others = [x.astype(dtype) if x.dtype.kind == "f" else x for x in case.others]
        outs = [x for x in flatten(model(*xs, *others))[0] if isinstance(x, Value)]
        assert {x.dtype for x in outs} == {np.dtype(dtype)}
        total(outs).backward()
        assert all(x.grad is None or x.grad.dtype == dtype for x in [*xs, *model.parameters()])


@cases
def test_its_gradients_by_backward_by_grad_and_of_first_and_second_order(name: str) -> None:
    model = made(name).to(np.float64).train()
    case = CASES[name]
    others = [x.astype(float) if x.dtype.kind == "f" else x for x in case.others]

    def loss(model: nn.Module) -> Value:
        tg.manual_seed(1)
        return total([x for x in flatten(model(*map(Value, inputs), *others))[0] if is_float(x)])

    def is_float(x: Any) -> bool:
        return isinstance(x, Value) and x.dtype.kind == "f"

    inputs = [x.astype(float) for x in case.inputs]
    if not model.parameters():
        return
    state = model.state_dict()
    loss(model).backward()
    model.load_state_dict(state)
    grads = tg.grad(loss)(model)
    for p, g in zip(model.parameters(), grads.parameters(), strict=True):
        if p.grad is not None:
            np.testing.assert_allclose(g.data, p.grad, rtol=1e-9, atol=1e-12)
    path, x = next((path, p.data) for path, p in model.named_parameters())
    model.requires_grad_(False)
    direction = np.random.default_rng(2).normal(size=x.shape)

    def along(t: Any) -> Any:
        tg.manual_seed(1)
        made = nn.functional_call(model, {path: x + t * direction}, (*inputs, *others))
        return total([y for y in flatten(made)[0] if is_float(y)])

    h = 1e-4
    slope, bend = tg.grad(along), tg.grad(tg.grad(along))
    value = {t: float(along(Value(t)).item()) for t in (-2 * h, -h, h, 2 * h)}
    first = (8 * (value[h] - value[-h]) - (value[2 * h] - value[-2 * h])) / (12 * h)
    assert slope(0.0) == pytest.approx(first, rel=1e-5, abs=1e-6)
    second = (slope(h) - slope(-h)) / (2 * h)
    assert bend(0.0) == pytest.approx(second, rel=1e-4, abs=1e-5)


@cases
def test_it_is_drawn_as_a_frame_and_explained(name: str) -> None:
    model = made(name).eval()
    case = CASES[name]
    xs = [Value(x, name=f"x{i}") for i, x in enumerate(case.inputs)]
    loss = total([x for x in flatten(model(*xs, *case.others))[0] if isinstance(x, Value)])
    wrt = (xs or model.parameters())[0]
    assert "∂" in str(tg.viz.explain(loss, wrt, max_steps=20))
    assert tg.viz.graph(loss).source.startswith("digraph")
    scopes = {node.scope for node in topological_order([loss.node]) if node.scope}
    assert not scopes or any(model is module for scope in scopes for module in around(scope))


def around(scope: Any) -> Iterator[Any]:
    """The Modules whose calls a scope is in."""
    while scope is not None:
        yield scope.module
        scope = scope.parent


@cases
def test_an_ensemble_is_a_vmap_over_stacked_models(name: str) -> None:
    case = CASES[name]
    models = [CASES[name].make().eval() for _ in range(3)]
    if not models[0].parameters():
        return
    names = [n for n, _ in models[0].named_parameters()]
    stacked = {n: np.stack([m.state_dict()[n] for m in models]) for n in names}

    def one(state: dict[str, Any]) -> Any:
        out = nn.functional_call(models[0], state, (*case.inputs, *case.others))
        return [x for x in flatten(out)[0] if isinstance(x, Value)]

    together = tg.vmap(one)(stacked)
    for i, model in enumerate(models):
        expected = called(name, model)
        for y, x in zip(together, expected, strict=True):
            np.testing.assert_allclose(np.asarray(y)[i], x.data, rtol=2e-5, atol=1e-6)


@cases
@pytest.mark.usefixtures("traced_arrays")
def test_it_is_a_program_that_computes_the_same_on_other_numbers(name: str) -> None:
    """Forward and backward, written down once on arrays without numbers: it will be compiled."""
    case, model = CASES[name], made(name).eval()
    paths = [path for path, _ in model.named_parameters()]
    n = len(case.inputs)

    def step(*arrays: Any) -> list[Any]:
        leaves = [Value(x) for x in arrays]
        state = dict(zip(paths, leaves[n:]))
        out = nn.functional_call(model, state, (*leaves[:n], *case.others))
        outs = [x for x in flatten(out)[0] if isinstance(x, Value)]
        total(outs).backward()
        return [x.data for x in outs] + [x.grad for x in leaves if x.grad is not None]

    def drawn(seed: int) -> Callable[[], list[Any]]:
        rng = np.random.default_rng(seed)
        values = [*case.inputs, *(p.data for p in model.parameters())]
        changed = [(x * rng.uniform(0.9, 1, x.shape)).astype(x.dtype) for x in values]
        return lambda: [x.copy() for x in changed]

    program, outs = traced(step, drawn(0)())
    for draw in (drawn(0), drawn(1)):
        made_of_them, expected = replay(program, draw()), step(*draw())
        assert len(outs) == len(expected) > 0
        for out, right in zip(outs, expected):
            found = made_of_them[out.at] if isinstance(out, Traced) else out
            assert found.dtype == right.dtype
            np.testing.assert_allclose(found, right, rtol=1e-4, atol=1e-6)


@cases
def test_a_checkpoint_draws_the_same_again(name: str) -> None:
    def step(run: Callable[..., Any]) -> list[Any]:
        model, case = made(name).to(np.float64), CASES[name]
        xs = [Value(x.astype(float)) for x in case.inputs]
        others = [x.astype(float) if x.dtype.kind == "f" else x for x in case.others]
        tg.manual_seed(1)
        out = run(lambda *xs: total([y for y in flatten(model(*xs, *others))[0] if of_floats(y)]))
        out(*xs).backward()
        grads = [x.grad for x in [*xs, *model.parameters()] if x.grad is not None]
        return [*grads, *model.state_dict().values(), nn.functional.dropout(np.ones(9))]

    for x, y in zip(step(tg.checkpoint), step(lambda f: f), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-14)


def of_floats(x: Any) -> bool:
    return isinstance(x, Value) and x.dtype.kind == "f"


F = nn.functional
DRAWING: dict[str, Callable[[Any], Any]] = {
    "dropout": F.dropout,
    "dropout2d": F.dropout2d,
    "alpha_dropout": lambda x: F.alpha_dropout(x, training=True),
    "rrelu": lambda x: F.rrelu(x, training=True),
    "gumbel_softmax": F.gumbel_softmax,
    "fractional_max_pool2d": lambda x: F.fractional_max_pool2d(x, 2, output_size=4),
}


@pytest.mark.parametrize("name", DRAWING)
def test_a_function_draws_for_each_example_of_a_vmap_and_in_a_checkpoint_once(name: str) -> None:
    draw, x = DRAWING[name], normal(1, 3, 7, 7)
    examples = tg.vmap(draw)(np.stack([x] * 6))
    assert any(not np.array_equal(y, examples[0]) for y in examples[1:])
    grads = []
    for wrap in (tg.checkpoint, lambda f: f):
        tg.manual_seed(0)
        grads.append(tg.grad(wrap(lambda x: np.sum(draw(x) ** 2)))(x))
    np.testing.assert_array_equal(*grads)


@cases
def test_complex_numbers_have_the_right_gradient_or_are_refused(name: str) -> None:
    case, model, rng = CASES[name], made(name).eval(), np.random.default_rng(0)
    if not case.inputs:
        return
    xs = [x + 1j * rng.normal(size=x.shape) for x in case.inputs]
    directions = [rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape) for x in xs]

    def size(*xs: Any) -> Value:
        outs = [x for x in flatten(model(*xs, *case.others))[0] if isinstance(x, Value)]
        return sum(np.sum(np.abs(x) ** 2) for x in outs if x.dtype.kind in "fc")

    try:
        model.to(np.complex128)
        leaves = [Value(x) for x in xs]
        size(*leaves).backward()
    except TypeError:
        return
    h = 1e-6
    ends = (size(*(Value(x + t * d) for x, d in zip(xs, directions))) for t in (h, -h))
    up, down = (x.item() for x in ends)
    slope = sum(np.sum(x.grad * d).real for x, d in zip(leaves, directions))
    assert slope == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-6)
