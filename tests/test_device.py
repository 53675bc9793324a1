"""Arrays in a memory of their own: the library on the stand-in for CuPy, and on CuPy where there is
a GPU. `python -m pytest tests/test_device.py -k cupy -n 0` runs the latter alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import tensorgrad as tg
from tensorgrad import Value, nn
from tensorgrad.engine.arrays import kind_of, moved, places, to_numbers
from tensorgrad.engine.node import detached
from tensorgrad.engine.primitive import registry
from tensorgrad.testing.primitives import Case
from tensorgrad.testing.primitives import cases as cases_of
from tensorgrad.transforms.tree import flatten
from tests.nn.test_every_module import CASES, cases, made
from tests.stand_in import SECOND, in_the_table


@cache
def gpu() -> bool:
    """Whether there are CuPy and a GPU."""
    try:
        import cupy
    except ImportError:
        return False
    return bool(cupy.is_available())


@pytest.fixture(params=["stand-in", "cupy"])
def place(request: Any) -> Iterator[str]:
    """Where arrays are."""
    if request.param == "cupy" and not gpu():
        pytest.skip("no GPU, or no CuPy: pip install 'tensorgrad-engine[cupy]'")
    with in_the_table() if request.param == "stand-in" else nullcontext():
        yield request.param


def there(x: Any, place: str) -> Any:
    return moved(np.asarray(x), places[place])


def here(x: Any) -> Any:
    return to_numbers(x.data if isinstance(x, Value) else x)


def is_there(x: Any, place: str) -> bool:
    data = x.data if isinstance(x, Value) else x
    return kind_of(data) is places[place]


DRAWS = {
    name for name in CASES if any(x in name for x in ("Dropout", "Fractional", "RReLU", "Transf"))
}


def answers(name: str, model: nn.Module, xs: list[Any], others: list[Any]) -> list[Any]:
    """What a Module makes of its inputs, and the gradients."""
    tg.manual_seed(1)
    leaves = [Value(x) for x in xs]
    outs = [x for x in flatten(model(*leaves, *others))[0] if isinstance(x, Value)]
    sum(np.sum(np.square(x)) for x in outs if x.dtype.kind == "f").backward()
    grads = [x.grad for x in [*leaves, *model.parameters()] if x.grad is not None]
    return [x.data for x in outs] + grads


@cases
def test_every_module_there_computes_as_here(name: str, place: str) -> None:
    case = CASES[name]
    for mode, dtype, tolerance in ((True, np.float32, 1e-3), (False, np.float64, 1e-9)):
        inputs, others = (
            [x.astype(dtype) if x.dtype.kind == "f" else x for x in xs]
            for xs in (case.inputs, case.others)
        )
        model = made(name).to(dtype).train(mode)
        expected = answers(name, model, inputs, others)
        state = model.state_dict()
        model = made(name).train(mode).to(place, dtype)
        xs = [there(x, place) for x in inputs]
        others = [there(x, place) for x in others]
        found = answers(name, model, xs, others)
        assert all(is_there(x, place) for x in [*found, *model.parameters(), *model.buffers()])
        assert [(x.shape, x.dtype) for x in found] == [(x.shape, x.dtype) for x in expected]
        if mode and name in DRAWS:
            continue
        for x, y in zip(found, expected):
            np.testing.assert_allclose(here(x), y, rtol=tolerance, atol=tolerance)
        for key, x in model.state_dict().items():
            np.testing.assert_allclose(x, state[key], rtol=tolerance, atol=tolerance)


F = nn.functional
RNG = np.random.default_rng(1)


def normal(*shape: int) -> Any:
    return RNG.normal(size=shape)


Q, K, IMAGE = normal(3, 2, 4), normal(5, 2, 4), normal(1, 2, 5, 4)
ROWS, CLASSES = normal(4, 3), np.array([0, 2, 1, 2])
MASK, LIKELY = np.tri(3, 5, 1, bool), np.full((4, 3), 1 / 3)
INDICES, BAGS = np.array([[0, 2, 1], [4, 2, 2]]), np.array([0, 2, 1, 4, 2])
CALLS: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "mask": (
        lambda q, k, m: F.scaled_dot_product_attention(q, k, k, m),
        [Q[:, 0], K[:, 0]],
        [MASK],
    ),
    "mask of floats": (
        lambda q, k, m: F.scaled_dot_product_attention(q, k, k, np.where(m, 0.0, -np.inf)),
        [Q[:, 0], K[:, 0]],
        [MASK],
    ),
    "causal": (lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True), [Q], []),
    "heads": (
        lambda q, k, m, p: network_of(
            lambda: nn.MultiheadAttention(4, 2, add_bias_kv=True, add_zero_attn=True, rng=0), q
        )(q, k, k, attn_mask=~m, key_padding_mask=p)[0],
        [Q, K],
        [MASK, np.array([[False] * 4 + [True]] * 2)],
    ),
    "causal mask": (
        lambda q: network_of(lambda: nn.TransformerEncoderLayer(4, 2, 8, 0.0, rng=0), q)(
            q, src_mask=nn.Transformer.generate_square_subsequent_mask(3), is_causal=True
        ),
        [Q],
        [],
    ),
    "weights of classes": (
        lambda x, y, w: F.cross_entropy(x, y, weight=w, ignore_index=1, label_smoothing=0.1),
        [ROWS],
        [CLASSES, np.array([1.0, 2.0, 0.5])],
    ),
    "nll": (
        lambda x, y, w: F.nll_loss(F.log_softmax(x), y, weight=w),
        [ROWS],
        [CLASSES, np.array([1.0, 2.0, 0.5])],
    ),
    "positive weights": (
        lambda x, y, w: F.binary_cross_entropy_with_logits(x, y, pos_weight=w),
        [ROWS],
        [LIKELY, np.array([1.0, 2.0, 0.5])],
    ),
    "one hot": (lambda x, y: x * F.one_hot(y, 3), [ROWS], [CLASSES]),
    "bags": (
        lambda w, i, o: F.embedding_bag(i, w, o, mode="sum", padding_idx=2),
        [normal(5, 3)],
        [BAGS, np.array([0, 3])],
    ),
    "largest of bags": (
        lambda w, i, o: F.embedding_bag(i, w, o, mode="max"),
        [normal(5, 3)],
        [BAGS, np.array([0, 3])],
    ),
    "weights in bags": (
        lambda w, u, i: F.embedding_bag(i, w, mode="sum", per_sample_weights=u),
        [normal(5, 3), normal(2, 3)],
        [INDICES],
    ),
    "padding of embeddings": (
        lambda w, i: F.embedding(i, w, padding_idx=2, scale_grad_by_freq=True),
        [normal(5, 3)],
        [INDICES],
    ),
    "rotary": (lambda x, p: F.rotary(x, p), [normal(3, 4)], [np.array([2, 0, 1])]),
    **{
        f"resized {mode}": (
            lambda x, mode=mode: F.interpolate(x, scale_factor=1.5, mode=mode),
            [IMAGE],
            [],
        )
        for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area")
    },
    "a grid": (lambda x, g: F.grid_sample(x, g), [IMAGE, normal(1, 3, 3, 2)], []),
    "affine": (
        lambda x, t: F.grid_sample(x, F.affine_grid(t, (1, 2, 3, 3))),
        [IMAGE, normal(1, 2, 3)],
        [],
    ),
    **{
        f"padded {mode}": (lambda x, mode=mode: F.pad(x, (1, 2, 1, 0), mode=mode), [IMAGE], [])
        for mode in ("constant", "reflect", "replicate", "circular")
    },
    "pooled with places": (
        lambda x: F.max_unpool2d(*F.max_pool2d(x, 2, return_indices=True), 2),
        [IMAGE],
        [],
    ),
    "pooled with padding": (
        lambda x: (
            F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
            + F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False)
        ),
        [IMAGE],
        [],
    ),
    "adaptive with places": (
        lambda x: F.adaptive_max_pool2d(x, (3, 2), return_indices=True)[0],
        [IMAGE],
        [],
    ),
    "two layers, both ways": (
        lambda x: network_of(lambda: nn.LSTM(4, 3, 2, bidirectional=True, rng=0), x)(x)[0],
        [Q],
        [],
    ),
    "packed": (
        lambda x: nn.utils.rnn.pad_packed_sequence(
            network_of(lambda: nn.GRU(4, 3, rng=0), x)(
                nn.utils.rnn.pack_padded_sequence(x, [3, 2])
            )[0]
        )[0],
        [Q],
        [],
    ),
    "padded sequences": (lambda x, y: nn.utils.rnn.pad_sequence([x, y]), [ROWS, ROWS[:2]], []),
    "convolved": (
        lambda x, w: (
            F.conv2d(x, w, stride=2, padding="valid", dilation=2)
            + F.conv2d(x, w, padding="same").sum()
        ),
        [IMAGE, normal(3, 2, 2, 2)],
        [],
    ),
    "grouped": (lambda x, w: F.conv2d(x, w, groups=2), [IMAGE, normal(4, 1, 3, 3)], []),
    "ctc": (
        lambda x, y: F.ctc_loss(F.log_softmax(x, -1), y, [3, 2], [2, 1], reduction="none"),
        [normal(3, 2, 4)],
        [np.array([[1, 2], [3, 3]])],
    ),
    "distances": (lambda x, y: F.pdist(x).sum() + F.cosine_similarity(x, y), [ROWS, ROWS + 1], []),
    "normalised": (lambda x: F.normalize(x, p=3) + F.layer_norm(x, (3,)), [ROWS], []),
    "weight norm": (
        lambda x: nn.utils.parametrizations.weight_norm(
            network_of(lambda: nn.Linear(3, 2, rng=0), x)
        )(x),
        [ROWS],
        [],
    ),
    "spectral norm": (
        lambda x: nn.utils.parametrizations.spectral_norm(
            network_of(lambda: nn.Linear(3, 2, rng=0), x), rng=0
        )(x),
        [ROWS],
        [],
    ),
    "quantiles": (lambda x: np.quantile(x, [0.2, 0.5], axis=0), [ROWS], []),
    "slopes": (lambda x: np.gradient(x, axis=0), [ROWS], []),
    "chosen": (
        lambda x: np.select([x > 0], [x]) + np.piecewise(x, [x > 0], [lambda x: x * x, -1.0]),
        [ROWS],
        [],
    ),
    "made alike": (lambda x: x @ np.eye(3, like=x) + np.ones(3, like=x), [ROWS], []),
    "orthogonal": (
        lambda x: nn.utils.parametrizations.orthogonal(
            network_of(lambda: nn.Linear(3, 3, rng=0), x)
        )(x),
        [ROWS],
        [],
    ),
}


def network_of(make: Any, like: Any) -> nn.Module:
    """A Module where `like` is."""
    return make().to(kind_of(like.data).name, like.dtype)


@pytest.mark.parametrize("name", CALLS)
def test_functions_with_their_options_there_compute_as_here(name: str, place: str) -> None:
    function, xs, others = CALLS[name]

    def gradients(at: str) -> list[Any]:
        leaves = [Value(there(x, at)) for x in xs]
        out = function(*leaves, *(there(x, at) for x in others))
        np.sum(np.sin(out)).backward()
        found = [out.data, *(x.grad for x in leaves)]
        assert all(is_there(x, at) for x in found)
        return [here(x) for x in found]

    for x, y in zip(gradients(place), gradients("numpy")):
        np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-12)


OPERATIONS = [
    name for name, op in registry.items() if "scipy" not in op.formulas[0].__code__.co_filename
]
LACKING = {"maximum.accumulate", "minimum.accumulate", "spacing", "pinv"}
"""What CuPy has not, or not with all its arguments: refused by name."""


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_every_operation_there_computes_as_here(name: str, place: str) -> None:
    """Also its gradients; drawn from the domain that it declares."""
    op = registry[name]
    refused = []

    def results(case: Case, operands: list[Any]) -> list[Any]:
        leaves = [Value(x) if x.dtype.kind in "fc" else x for x in operands]
        out = op(*leaves, **case.params)
        outs = [y for y in (out if isinstance(out, tuple) else (out,)) if isinstance(y, Value)]
        learning = [np.sum(np.real(y * np.conj(y))) for y in outs if y.requires_grad]
        if learning:
            sum(learning).backward()
        values = [x for x in leaves if isinstance(x, Value)]
        return [y.data for y in outs] + [x.grad for x in values if x.grad is not None]

    @settings(max_examples=3, derandomize=True, database=None, deadline=None)
    @given(cases_of(op))
    def check(case: Case) -> None:
        made = case.domain.make(*case.operands) if case.domain.make else case.operands
        operands = [np.asarray(x) for x in made]
        expected = results(case, [x[()] for x in operands])
        try:
            found = results(case, [there(x, place) for x in operands])
        except NotImplementedError as error:
            if f"has not {name} as NumPy has it" not in str(error):
                raise
            refused.append(name)
            return
        assert all(is_there(x, place) for x in found)
        tolerance = 1e-4 if any(x.dtype == np.float32 for x in operands) else 1e-9
        for x, y in zip(found, expected, strict=True):
            assert x.dtype == y.dtype
            np.testing.assert_allclose(here(x), y, rtol=tolerance, atol=tolerance)

    with np.errstate(all="ignore"):
        check()
    assert not refused or name in LACKING


# What is done with Modules and Values.

X = np.linspace(-1, 1, 24).reshape(8, 3)
Y = np.tile([0, 1, 1, 0], 2)


def network(dtype: Any = np.float64) -> nn.Module:
    return nn.Sequential(
        nn.Linear(3, 4, bias=False, dtype=dtype, rng=0),
        nn.BatchNorm1d(4, dtype=dtype),
        nn.Tanh(),
        nn.Linear(4, 2, dtype=dtype, rng=1),
    )


OPTIMISERS = {
    name: kind
    for name, kind in vars(tg.optim).items()
    if isinstance(kind, type) and issubclass(kind, tg.optim.Optimizer) and hasattr(kind, "rule")
}


def trained(place: str, make: Any, steps: int = 3) -> nn.Module:
    model = network().to(place)
    optimizer = make(model.parameters())
    x, y = there(X, place), there(Y, place)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
    state = optimizer.state_dict()
    again = make(model.parameters())
    again.load_state_dict(state)
    again.step(closure)
    return model


def same(model: nn.Module, other: nn.Module) -> None:
    for name, x in model.state_dict().items():
        np.testing.assert_allclose(x, other.state_dict()[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", sorted(OPTIMISERS))
def test_an_optimiser_takes_the_same_steps_there(name: str, place: str) -> None:
    settings = {"lr": 0.01} if name == "SGD" else {}

    def make(params: list[Value]) -> Any:
        if name == "Muon":  # of matrices alone
            params = [p for p in params if p.ndim == 2]
        return OPTIMISERS[name](params, **settings)

    model = trained(place, make)
    assert all(is_there(p, place) for p in model.parameters())
    same(model, trained("numpy", make))


@pytest.mark.parametrize("name", ["LBFGS", "NewtonCG"])
def test_a_search_goes_the_same_way_there(name: str, place: str) -> None:
    def searched(at: str) -> nn.Module:
        model = nn.Linear(3, 2, rng=0, dtype=np.float64).to(at)
        optimizer = getattr(tg.optim, name)(model.parameters())

        def closure() -> Any:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(there(X, at)), there(Y, at))
            loss.backward()
            return loss

        for _ in range(2):
            optimizer.step(closure)
        assert all(is_there(p, at) for p in model.parameters())
        return model

    same(searched(place), searched("numpy"))


def test_weights_are_averaged_and_put_in_a_row_there(place: str) -> None:
    model = network().to(place)
    average = tg.optim.swa_utils.AveragedModel(model, use_buffers=True)
    for _ in range(2):
        average.update_parameters(model)
    assert all(
        is_there(x, place) for x in [*average.module.parameters(), *average.module.buffers()]
    )
    vector = nn.utils.parameters_to_vector(model.parameters())
    nn.utils.vector_to_parameters(vector * 2, model.parameters())
    assert is_there(model.parameters()[0], place)
    np.testing.assert_array_equal(2 * here(average.parameters()[0]), here(model.parameters()[0]))


def test_what_an_optimiser_remembers_follows_a_module_that_is_moved(place: str) -> None:
    def steps(*where: str) -> nn.Module:
        model = network()
        optimizer = tg.optim.Adam(model.parameters(), lr=0.1)
        for at in where:
            model.to(at)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(there(X, at)), there(Y, at)).backward()
            optimizer.step()
        return model

    same(steps("numpy", place, "numpy", place), steps(*["numpy"] * 4))


def test_fit_with_a_loader_that_moves_batches(place: str) -> None:
    def fitted(to: str, **options: Any) -> tuple[Any, nn.Module]:
        model = network().to(to)
        loader = tg.data.DataLoader(X, Y, batch_size=3, shuffle=True, to=to, **options)
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1)
        scheduler = tg.optim.lr_scheduler.StepLR(optimizer, step_size=1)
        history = tg.fit(
            *(model, loader, nn.functional.cross_entropy, optimizer),
            epochs=2,
            validation=(there(X, to), there(Y, to)),
            metric=["accuracy", "f1", "perplexity"],
            callbacks=[tg.train.Schedule(scheduler)],
        )
        return history, model

    (found, model), (expected, own) = fitted(place), fitted("numpy")
    same(model, own)
    for a, b in zip(found, expected, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-9)
        assert type(a.loss) is float
        assert a.measures == pytest.approx(b.measures)
    _, ahead = fitted(place, prefetch=2)
    same(ahead, own)


def test_mixed_precision_there(place: str) -> None:
    def fitted(at: str) -> nn.Module:
        model = network(np.float32).to(at)
        sgd, scaler = tg.optim.SGD(model.parameters(), lr=0.1), tg.amp.GradScaler()
        for _ in range(2):
            sgd.zero_grad()
            with tg.amp.autocast(model, "float16"):
                loss = F.cross_entropy(model(there(np.float32(X), at)), there(Y, at))
            scaler.scale(loss).backward()
            scaler.step(sgd)
            scaler.update()
        assert all(is_there(p, at) and p.dtype == np.float32 for p in model.parameters())
        return model

    found, expected = fitted(place).state_dict(), fitted("numpy").state_dict()
    for name, x in found.items():
        np.testing.assert_allclose(x, expected[name], atol=5e-3)


def test_fit_takes_arrays_there(place: str) -> None:
    model = network().to(place)
    optimizer = tg.optim.AdamW(model.parameters())
    history = tg.fit(
        model, (there(X, place), there(Y, place)), nn.functional.cross_entropy, optimizer, epochs=1
    )
    assert history[-1].loss > 0
    assert is_there(tg.train.predict(model, there(X, place)), place)


def test_saved_and_loaded_it_is_the_same_and_numpys(place: str, tmp_path: Any) -> None:
    model = network().to(place)
    model(there(X, place))
    path = tmp_path / "model.safetensors"
    tg.io.save(model, path)
    loaded = tg.io.load(path)
    same(loaded, model)
    assert all(is_there(x, "numpy") for x in [*loaded.parameters(), *loaded.buffers()])
    assert {type(x) for x in model.state_dict().values()} == {np.ndarray}
    other = network().to(place)
    other.load_state_dict(model.state_dict())
    assert all(is_there(x, place) for x in [*other.parameters(), *other.buffers()])
    same(other, model)


def test_a_checkpoint_goes_on_there(place: str, tmp_path: Any) -> None:
    def run(epochs: int, **options: Any) -> nn.Module:
        model = network().to(place)
        optimizer = tg.optim.Adam(model.parameters())
        loader = tg.data.DataLoader(X, Y, batch_size=3, shuffle=True, to=place)
        save = tg.train.Checkpoint(tmp_path / "run.ckpt")
        tg.fit(
            *(model, loader, nn.functional.cross_entropy, optimizer),
            epochs=epochs,
            callbacks=[save],
            **options,
        )
        return model

    whole = run(2)
    (tmp_path / "run.ckpt").unlink()
    run(1)
    resumed = run(2, resume=True)
    assert all(is_there(p, place) for p in resumed.parameters())
    same(resumed, whole)


def test_a_value_moves_there_and_its_gradient_comes_back(place: str) -> None:
    x = Value(X)
    y = (x * 2).to(place)
    assert is_there(y, place)
    back = (y * y).to("numpy")
    np.sum(back).backward()
    np.testing.assert_array_equal(x.grad, 8 * X)
    assert x.to("numpy") is x
    assert x.to(np.float32).dtype == x.to(place, np.float32).dtype == np.float32
    assert is_there(x.to(place, np.float32), place)
    assert x.to(place, np.float32).to(np.float64).dtype == np.float64  # which equals None
    slope = tg.grad(lambda x: np.sum(tg.grad(lambda x: np.sum(x.to(place) ** 3))(x) ** 2))
    np.testing.assert_allclose(slope(X), 36 * X**3)
    with pytest.raises(TypeError, match=r"'cuda'.*a place.*'numpy', 'cupy'.*: write 'cupy'"):
        x.to("cuda")
    with pytest.raises(TypeError, match=r"to\(None\)"):
        x.to(None)


def test_gradients_are_checked_there(place: str) -> None:
    tg.testing.check_grads(lambda x: np.tanh(x) * x, there(X, place))


def test_gradients_are_clipped_there(place: str) -> None:
    norms = {}
    for at in (place, "numpy"):
        model = network().to(at)
        nn.functional.cross_entropy(model(there(X, at)), there(Y, at)).backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        nn.utils.clip_grad_value_(model.parameters(), 0.05)
        norms[at] = [float(here(norm)), *(here(p.grad) for p in model.parameters())]
    for x, y in zip(norms[place], norms["numpy"]):
        np.testing.assert_allclose(x, y, rtol=1e-9)


def test_it_is_drawn_summarised_and_linted_there(place: str) -> None:
    model = network().to(place)
    loss = nn.functional.cross_entropy(model(there(X, place)), there(Y, place))
    assert tg.viz.graph(loss).source.startswith("digraph")
    with pytest.raises(NotImplementedError, match=r"move the model and the data, .to\('numpy'\)"):
        tg.viz.explain(loss, model.parameters()[0])
    assert "Linear" in str(nn.summary(model, there(X, place)))
    assert "Linear" in str(nn.summary(model, X.shape))
    assert str(tg.lint(loss, model)) == str(tg.lint(lambda: loss, model))
    assert is_there(loss, place)
    assert "Value(" in repr(loss)
    assert f"{loss:.3f}"


INITIALISERS = ["xavier_uniform_", "kaiming_normal_", "orthogonal_", "zeros_", "trunc_normal_"]


@pytest.mark.parametrize("name", INITIALISERS)
def test_what_is_initialised_there_stays_there(name: str, place: str) -> None:
    layer = nn.Linear(3, 4, dtype=np.float64).to(place)
    init = getattr(nn.init, name)
    options = {} if name == "zeros_" else {"rng": 0}
    init(layer.weight, **options)
    assert is_there(layer.weight, place)
    expected = init(nn.Linear(3, 4, dtype=np.float64).weight, **options)
    np.testing.assert_array_equal(here(layer.weight), expected.data)


def test_what_is_drawn_there_is_seeded_by_the_same_generator(place: str) -> None:
    x = there(np.ones(1000, np.float32), place)
    drawn = []
    for _ in range(2):
        tg.manual_seed(3)
        drawn += [here(nn.functional.dropout(x, 0.25)), here(nn.functional.dropout(x, 0.25))]
    np.testing.assert_array_equal(drawn[0], drawn[2])
    np.testing.assert_array_equal(drawn[1], drawn[3])
    assert not np.array_equal(drawn[0], drawn[1])
    assert drawn[0].dtype == np.float32
    assert 700 < np.count_nonzero(drawn[0]) < 800


def test_a_module_is_moved_as_a_whole_and_back(place: str) -> None:
    model = network()
    nn.functional.cross_entropy(model(X), Y).backward()
    before = {name: x.copy() for name, x in model.state_dict().items()}
    assert model.to(place, np.float32) is model
    assert all(is_there(x, place) for x in [*model.parameters(), *model.buffers()])
    assert all(is_there(p.grad, place) for p in model.parameters())
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    assert model.to(np.float64).parameters()[0].dtype == np.float64
    model.to("numpy")
    assert all(is_there(x, "numpy") for x in [*model.parameters(), *model.buffers()])
    for name, x in model.state_dict().items():
        np.testing.assert_allclose(x, before[name], rtol=1e-6)


# Bad input.


def test_mixed_kinds_are_told_which_goes_where(place: str) -> None:
    w = Value(there(X, place))
    with pytest.raises(TypeError, match=f"operand 1 is an array of NumPy's, operand 0 {place}'s.*"):
        w * X
    with pytest.raises(TypeError, match=f"operand 0 is an array of NumPy's.*to\\('{place}'\\)"):
        X * w
    with pytest.raises(TypeError, match="operand 0 is an array of NumPy's"):
        Value(X).astype(np.float16) * w
    with pytest.raises(TypeError, match="operand 0 is an array of NumPy's") as error:
        network().to(place)(X)
    assert any("in layer layers.0, Linear" in note for note in error.value.__notes__)
    norm = nn.BatchNorm1d(3).to(place)
    with pytest.raises(TypeError, match="is an array of NumPy's"):
        norm(X)
    assert not here(norm.running_mean).any()  # nothing was changed
    np.testing.assert_array_equal(here(w * 2 + np.float64(1)), X * 2 + 1)
    np.testing.assert_array_equal(here(w * Value(np.float16(2))), X * 2)


def test_what_is_missing_there_is_named_with_the_way_out(place: str) -> None:
    w = Value(there(np.abs(X[0]) + 1, place))
    with pytest.raises(NotImplementedError, match=f"{place} has not spacing.*to\\('numpy'\\)"):
        np.spacing(w)


def test_a_value_takes_data_and_gradients_of_its_own_place(place: str) -> None:
    w = Value(there(X, place))
    for name in ("data", "grad"):
        with pytest.raises(TypeError, match=f"{name} is an array of numpy's, .* {place}'s: move"):
            setattr(w, name, X)
        setattr(w, name, there(2 * X, place))
        assert is_there(getattr(w, name), place)
    w.grad = 0.0
    assert is_there(w.grad, place)
    with pytest.raises(TypeError, match=f"{place}'s, and the Value's are numpy's"):
        Value(X).data = there(X, place)


def test_a_program_is_one_of_numpys_arrays(place: str) -> None:
    for x in (there(X, place), Value(there(X, place))):
        with pytest.raises(TypeError, match=f"an array of {place}'s, and a program is one of N"):
            tg.compile(np.tanh)(x)
    model = network().to(place)
    with pytest.raises(TypeError, match=f"an array of {place}'s, and a program is one of N"):
        tg.compile(lambda x: model(x))(X)


def test_where_the_first_infinity_arose_is_told_there(place: str) -> None:
    x = Value(there(np.array([1.0, 0.0]), place))
    with (
        pytest.raises(FloatingPointError, match=r"log made -inf at entry \(1,\), from 0.0"),
        tg.debug(),
        np.errstate(divide="ignore"),
    ):
        np.log(x)


def test_transforms_there_are_those_of_here(place: str) -> None:
    transforms = {
        "vmap": tg.vmap(tg.grad(lambda x: np.sum(x**3))),
        "jacobian": tg.jacobian(lambda x: x[0] ** 2),
        "hessian": tg.hessian(lambda x: np.sum(x[0] ** 3)),
        "checkpoint": tg.grad(lambda x: np.sum(tg.checkpoint(np.tanh)(x))),
        "scan": tg.grad(
            lambda x: np.sum(tg.scan(lambda c, x: (c + x, c * x), 0 * detached(x[0]), x)[1])
        ),
    }
    for name, f in transforms.items():
        found = f(there(X, place))
        assert is_there(found, place), name
        np.testing.assert_allclose(here(found), f(X), rtol=1e-12)


def test_operands_on_two_devices_are_refused() -> None:
    with in_the_table():
        x = there(X, "stand-in")
        with SECOND:
            y = there(X, "stand-in")
        with pytest.raises(ValueError, match="on several devices, <place 0>, <place 1>: copy"):
            Value(x) * y


def test_a_loader_moves_to_a_place() -> None:
    with in_the_table():
        batch = next(iter(tg.data.DataLoader([{"a": X[0], "b": 1}] * 3, to="stand-in")))
        assert all(is_there(x, "stand-in") for x in batch.values())
        inside = tg.data.DataLoader(there(X, "stand-in"), there(Y, "stand-in"), shuffle=True)
        assert all(is_there(x, "stand-in") for x in next(iter(inside)))
    with pytest.raises(TypeError, match=r"DataLoader.to\('cuda'\): neither .* 'numpy', 'cupy'"):
        tg.data.DataLoader(X, to="cuda")
    with pytest.raises(TypeError, match="to='float32' is no place; places are numpy, cupy"):
        tg.data.DataLoader(X, to="float32")


def test_a_place_without_its_library_or_its_device_says_so(monkeypatch: Any) -> None:
    import sys

    model = nn.Linear(3, 2)
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError, match=r"pip install 'tensorgrad-engine\[cupy\]'"):
        model.to("cupy")

    class Without:
        @staticmethod
        def is_available() -> bool:
            return False

    monkeypatch.setitem(sys.modules, "cupy", Without)
    with pytest.raises(RuntimeError, match="finds no GPU"):
        model.to("cupy")
    assert is_there(model.weight, "numpy")
    for to in [(), ("numpy", "cupy"), (3.5,), (np.float32, np.float64), (np.int64,)]:
        with pytest.raises(TypeError):
            model.to(*to)
    with pytest.raises(TypeError, match="'numpy', 'cupy'"):
        model.to("cuda:0")
    with pytest.raises(AttributeError, match=r"\.to\('cupy'\)"):
        model.cuda()
