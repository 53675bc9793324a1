"""Mixed precision, and short floats: float16 and bfloat16 (where ml_dtypes is installed)."""

from __future__ import annotations

import importlib.util
import pickle
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorgrad as tg
from tensorgrad import Value, amp, nn, optim
from tensorgrad.engine import arrays
from tensorgrad.engine.short import ShortArray
from tensorgrad.nn import functional as F
from tensorgrad.optim.optimizer import Optimizer
from tensorgrad.train import Callback, Checkpoint, Schedule, Step, clipped, penalised
from tests.nn.test_every_module import CASES, MODULES, called, made, total

needs_ml_dtypes = pytest.mark.skipif(
    importlib.util.find_spec("ml_dtypes") is None, reason="ml_dtypes is not installed"
)
NAMES = ["float16", pytest.param("bfloat16", marks=needs_ml_dtypes)]
shorts = pytest.mark.parametrize("name", NAMES)
EPS = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
"""How far a number is rounded at most, as a part of it."""

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(20, 3)), RNG.normal(size=(20, 2))


def dtype_of(name: str) -> Any:
    return np.dtype(amp.short_dtype(name))


def net(seed: int = 0) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 8, rng=seed), nn.Tanh(), nn.Linear(8, 2, rng=seed + 1))


def step_of(model: nn.Module, kind: Any = Step, lr: float = 0.1, **settings: Any) -> Any:
    return kind(model, F.mse_loss, optim.SGD(model.parameters(), lr=lr), **settings)


def numbers(model: nn.Module) -> Any:
    return np.concatenate([np.ravel(p.data) for p in model.parameters()])


# What a Value of short floats does.


@shorts
def test_a_number_of_python_does_not_make_a_short_float_longer(name: str) -> None:
    x = Value(np.ones(3, dtype_of(name)))
    for y in (x * 2.5, 1 - x, x**0.5, F.gelu(x), F.softmax(x), np.mean(x), np.where(x > 0, x, 0.5)):
        assert y.dtype == dtype_of(name)
    assert (x * np.ones(3, np.float32)).dtype == np.float32
    assert (x * np.arange(3)).dtype == dtype_of(name)  # as in PyTorch and JAX


@shorts
def test_sums_and_products_are_added_up_in_float32(name: str) -> None:
    ones = Value(np.ones(4096, dtype_of(name)))
    assert float(np.sum(ones).data) == float((ones @ ones).data) == 4096
    assert float(np.einsum("i,i", ones, ones).data) == 4096
    np.testing.assert_array_equal(tg.vmap(lambda x: x @ x)(np.stack([ones.data] * 2)), 4096)


@shorts
def test_every_operation_rounds_once(name: str) -> None:
    x = RNG.uniform(0.5, 1.5, (5, 5)).astype(dtype_of(name))
    exact = np.tanh(x.astype(np.float32) @ x.astype(np.float32)).astype(dtype_of(name))
    product = (x.astype(np.float32) @ x.astype(np.float32)).astype(dtype_of(name))
    np.testing.assert_array_equal((Value(x) @ x).data, product)
    found = np.tanh(Value(product)).data.astype(np.float32)
    np.testing.assert_allclose(found, exact.astype(np.float32), rtol=2 * EPS[name])


def test_the_first_operation_of_a_program_is_one_of_short_floats() -> None:
    file = pickle.dumps(Value(np.full(3, 300, np.float16)))
    for make in (lambda: Value(np.full(3, 300, np.float16)), lambda: pickle.loads(file)):
        arrays.met.discard(ShortArray)
        x = make()
        assert np.isinf((x * x).data).all()  # computed in float32, and rounded without a warning


@shorts
def test_gradients_have_their_operands_dtype_at_every_order(name: str) -> None:
    x, w = Value(np.full(3, 0.5, dtype_of(name))), Value(np.ones(3, np.float32))
    np.sum(x * w).backward()
    assert (x.grad.dtype, w.grad.dtype) == (dtype_of(name), np.float32)
    f = lambda x: np.sum(x**3)
    point = np.full(2, 0.5, dtype_of(name))
    for g, expected in ((tg.grad(f), [0.75, 0.75]), (tg.hessian(f), [[3, 0], [0, 3]])):
        assert g(point).dtype == dtype_of(name)
        np.testing.assert_array_equal(g(point).astype(float), expected)
    batch = np.full((4, 2), 0.5, dtype_of(name))
    np.testing.assert_array_equal(tg.vmap(tg.grad(f))(batch).astype(float), np.full((4, 2), 0.75))


def test_transforms_compute_arrays_of_short_floats_in_float32_too() -> None:
    """NumPy has no determinant of float16."""
    a = np.array([[2.0, 1.0], [0.5, 1.0]], np.float16)
    expected = np.array([[1.0, -0.5], [-1.0, 2.0]])
    value, g = tg.value_and_grad(np.linalg.det)(a)
    assert type(value) is np.float16
    assert (type(g), g.dtype) == (np.ndarray, np.float16)
    for found in (g, tg.vmap(tg.grad(np.linalg.det))(a[None])[0], tg.jacobian(np.linalg.det)(a)):
        np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert tg.jvp(np.linalg.det, (a,), (a,))[1].dtype == np.float16
    assert tg.vmap(np.linalg.det)(Value(a[None])).data == [np.float16(1.5)]


@pytest.mark.parametrize("name", NAMES)
def test_sparse_examples_too(name: str) -> None:
    sp = pytest.importorskip("scipy.sparse")
    x, losses = np.eye(4, dtype=np.float32) * np.float32(1.5), []
    for rows in (x, sp.csr_array(x)):
        model = nn.Sequential(nn.Linear(4, 3, rng=0), nn.Tanh(), nn.Linear(3, 2, rng=1))
        adam = optim.Adam(model.parameters())
        y = np.array([0, 1, 0, 1])
        fitted = tg.fit(
            *(model, (rows, y), nn.functional.cross_entropy, adam), epochs=3, precision=name
        )
        losses.append(fitted.column("loss"))
    np.testing.assert_allclose(*losses, rtol=EPS[name])


@needs_ml_dtypes
def test_bfloat16_goes_through_models_files_and_optimisers(tmp_path: Any) -> None:
    model = net().to("bfloat16")
    assert {p.dtype for p in model.parameters()} == {dtype_of("bfloat16")}
    assert "bfloat16" in repr(model[0].weight)
    step = step_of(model, lr=0.05)
    x, y = X.astype(dtype_of("bfloat16")), Y.astype(dtype_of("bfloat16"))
    losses = [step(x, y).item() for _ in range(20)]
    assert losses[-1] < losses[0]
    assert {p.dtype for p in model.parameters()} == {dtype_of("bfloat16")}
    tg.io.save_checkpoint(model.state_dict(), tmp_path / "state")
    again = net(5).to("bfloat16")
    again.load_state_dict(tg.io.load_checkpoint(tmp_path / "state"))
    np.testing.assert_array_equal(numbers(again), numbers(model))
    assert model.float()[0].weight.dtype == np.float32


def test_nobody_asks_numpy_whether_a_dtype_is_of_floats() -> None:
    """It says no of bfloat16."""
    asked = re.compile(r"""\.kind (not )?in "(biu)?fc"|\.kind [!=]= "f"|np\.finfo\(\w|issubdtype""")
    root = Path(tg.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for room in ("engine", "ops", "nn", "optim", "train", "transforms", "interop", "data", "io")
        for path in root.joinpath(room).rglob("*.py")
        if asked.search(path.read_text(encoding="utf8"))
    }
    assert found == {"engine/dtypes.py", "ops/constant.py", "ops/nn/linear.py"}  # linear: a rule


@needs_ml_dtypes
def test_float8_is_for_storage() -> None:
    import ml_dtypes

    with pytest.raises(TypeError, match="holds numbers, not"):
        Value(np.ones(3, ml_dtypes.float8_e4m3fn))


# Every Module, computed in 16 bits, agrees with itself in float32.


@shorts
@pytest.mark.parametrize("module", [name for name in CASES if name in MODULES])
def test_a_module_in_16_bits_agrees_with_float32(module: str, name: str) -> None:
    results = []
    for precision in (None, name):
        model = made(module).eval()
        with amp.autocast(model, precision):
            outs = called(module, model)
            total(outs).backward()
        assert {x.dtype for x in outs} <= {np.dtype(np.float32), np.dtype(np.float64)}
        assert all(p.grad is None or p.grad.dtype == p.dtype for p in model.parameters())
        grads = [p.grad for p in model.parameters() if p.grad is not None]
        results.append(([x.data for x in outs], grads))
    (outs, grads), (short_outs, short_grads) = results
    for x, y in zip(outs, short_outs, strict=True):
        np.testing.assert_allclose(y, x, atol=16 * EPS[name] * max(1, np.max(np.abs(x))))
    for x, y in zip(grads, short_grads, strict=True):
        np.testing.assert_allclose(y, x, atol=64 * EPS[name] * max(1, np.max(np.abs(x))))


# Steps.


@shorts
@pytest.mark.parametrize("compiled", [False, True])
def test_a_step_in_16_bits_is_nearly_that_in_float32(name: str, compiled: bool) -> None:
    models = []
    for precision in (None, name):
        model = net()
        step = step_of(model, precision=precision)
        step = tg.compile(step) if compiled and precision else step
        for _ in range(5):
            step(X, Y)
        models.append(model)
    assert {p.dtype for p in models[1].parameters()} == {np.dtype(np.float32)}
    moved = np.max(np.abs(numbers(models[0]) - numbers(net())))
    off = np.max(np.abs(numbers(models[0]) - numbers(models[1])))
    assert 0 < off < 8 * EPS[name] * moved


def test_a_slope_below_float16_is_lost_without_a_scale_and_right_with_one() -> None:
    """2⁻²⁴ is the smallest number of float16, and the error here is 2⁻³⁰."""
    model = nn.Linear(1, 1, bias=False, rng=0)
    x, g = np.ones((1, 1)), np.float32(2.0**-30)
    with amp.autocast(model, "float16"):
        (np.sum(model(x)) * g).backward()
    assert model.weight.grad == 0
    scaler = amp.GradScaler()
    sgd = optim.SGD(model.parameters(), lr=1.0)
    sgd.zero_grad()
    with amp.autocast(model, "float16"):
        loss = np.sum(model(x)) * g
    scaler.scale(loss).backward()
    scaler.unscale_(sgd)
    assert model.weight.grad == g


@pytest.mark.parametrize("compiled", [False, True])
def test_an_overflow_skips_the_step_and_halves_the_scale(compiled: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.BatchNorm1d(4), nn.Linear(4, 2, rng=1))
    adam = optim.Adam(model.parameters())
    scaler = amp.GradScaler(init_scale=2.0**8, growth_interval=3)
    step: Any = Step(model, F.mse_loss, adam, precision="float16", scaler=scaler)
    take = tg.compile(step) if compiled else step
    take(X, Y)
    take(X, Y)
    before, state = model.state_dict(), adam.state_dict()["state"]
    assert np.isfinite(take(X, 1e6 * Y).item())  # the loss is, its slope is no float16
    for key, x in model.state_dict().items():
        np.testing.assert_array_equal(x, before[key])
    for i, old in adam.state_dict()["state"].items():
        for x, y in zip(old, state[i], strict=True):
            np.testing.assert_array_equal(x, y)
    assert (scaler.get_scale(), int(scaler.skipped), int(scaler.good)) == (2.0**7, 1, 0)
    for _ in range(3):
        take(X, Y)
    assert (scaler.get_scale(), int(scaler.skipped), int(scaler.good)) == (2.0**8, 1, 0)


def test_at_a_scale_of_1_what_is_not_finite_is_an_error_that_names_its_place() -> None:
    model = net()
    step = step_of(model, precision="float16", scaler=amp.GradScaler(4.0))
    before = numbers(model)
    wild = 1e9 * X
    step(wild, Y)
    step(wild, Y)
    with pytest.raises(FloatingPointError, match=r"not finite|loss is"):
        step(wild, Y)
    np.testing.assert_array_equal(numbers(model), before)


def test_gradients_are_clipped_and_penalised_at_their_own_scale() -> None:
    results = []
    for precision in (None, "float16"):
        for kind in (
            clipped(norm=0.01),
            clipped(penalised(l2=0.1), value=0.01),
            penalised(clipped(norm=0.01), l2=0.1),
        ):
            model = net()
            step = step_of(model, kind, lr=1.0, precision=precision)
            for _ in range(3):
                step(X, Y)
            results.append(numbers(model))
    for exact, short in zip(results[:3], results[3:], strict=True):
        np.testing.assert_allclose(short, exact, atol=1e-4)


def test_batches_accumulate_at_one_scale() -> None:
    models = []
    for precision in (None, "float16"):
        model = net()
        step = step_of(model, precision=precision)
        for _ in range(3):
            step.accumulate([(X[:12], Y[:12]), (X[12:], Y[12:])])
        models.append(model)
    np.testing.assert_allclose(numbers(models[1]), numbers(models[0]), atol=1e-4)
    scaler = step.scaler
    step.accumulate([(X[:12], Y[:12]), (X[12:], 1e6 * Y[12:])])
    assert int(scaler.skipped) == 1


# fit.


class Wild:
    """Batches of which the second overflows."""

    def __iter__(self) -> Any:
        yield X, Y
        yield X, 1e7 * Y
        yield X, Y


class Steps(Callback):
    def __init__(self) -> None:
        self.seen = 0

    def on_step(self, run: Any) -> None:
        self.seen += 1
        assert np.isfinite(run.last_loss)


@pytest.mark.parametrize("compile", [False, True])
def test_a_skipped_step_is_none_for_callbacks_and_schedules(compile: bool) -> None:
    model, steps = net(), Steps()
    sgd = optim.SGD(model.parameters(), lr=0.1)
    schedule = Schedule(optim.lr_scheduler.StepLR(sgd, 1, 0.5), each="step")
    history = tg.fit(
        *(model, Wild(), F.mse_loss, sgd),
        epochs=1,
        precision="float16",
        callbacks=[steps, schedule],
        compile=compile,
    )
    assert steps.seen == 2
    assert sgd.param_groups[0]["lr"] == 0.1 / 4
    assert history[-1].loss < 10
    assert history.column("skipped") == [1]
    assert history.column("loss_scale") == [2.0**15]


def test_a_training_resumes_with_its_scale(tmp_path: Any) -> None:
    def train(epochs: int, resume: bool = False) -> tuple[Any, Any]:
        model = net()
        history = tg.fit(
            *(model, (X, Y), F.mse_loss, optim.Adam(model.parameters())),
            epochs=epochs,
            step=lambda *parts: Step(*parts, precision="float16", scaler=GROWING()),
            callbacks=[Checkpoint(tmp_path / f"{epochs > 2}{resume}")],
            resume=tmp_path / "FalseFalse" if resume else False,
        )
        return numbers(model), history.column("loss_scale")

    GROWING: Callable[[], amp.GradScaler] = lambda: amp.GradScaler(4.0, growth_interval=2)
    tg.manual_seed(0)
    whole, scales = train(4)
    tg.manual_seed(0)
    train(2)
    resumed, others = train(4, resume=True)
    np.testing.assert_array_equal(resumed, whole)
    assert others == scales == [4, 8, 8, 16]


def test_digits_are_learnt_as_well_in_16_bits() -> None:
    digits = tg.data.digits()
    accuracies = {}
    for precision in (None, "float16"):
        model = nn.Sequential(nn.Linear(64, 32, rng=0), nn.ReLU(), nn.Linear(32, 10, rng=1))
        history = tg.fit(
            model,
            tg.data.DataLoader(digits.x_train, digits.y_train, batch_size=100, rng=0),
            F.cross_entropy,
            optim.Adam(model.parameters(), lr=0.01),
            epochs=4,
            validation=(digits.x_test, digits.y_test),
            precision=precision,
        )
        accuracies[precision] = history[-1].accuracy
    assert accuracies[None] > 0.9
    assert abs(accuracies["float16"] - accuracies[None]) < 0.02


# By hand, and what is refused.


def test_a_model_is_as_it_was_after_a_call_that_raised() -> None:
    model = net()
    before = model.parameters()
    with pytest.raises(ValueError, match="features"), amp.autocast(model, "float16"):
        model(np.ones((2, 5)))
    assert all(p is q for p, q in zip(model.parameters(), before, strict=True))
    assert model(X).dtype == np.float64  # not cast: float32 weights, float64 numbers
    assert "_hooks" not in vars(model)


def test_within_the_loss_the_parameters_are_the_masters() -> None:
    model = net()
    with amp.autocast(model, "float16"):
        loss = np.sum(model(X)) + 1000 * sum(np.sum(p * p) for p in model.parameters())
    loss.backward()
    g = model[0].weight.grad - 2000 * model[0].weight.data
    with amp.autocast(model, "float16"):
        model.zero_grad()
        np.sum(model(X)).backward()
    np.testing.assert_allclose(g, model[0].weight.grad, atol=1e-3)


def test_a_scaler_by_hand_as_in_pytorch() -> None:
    model = net()
    sgd, scaler = optim.SGD(model.parameters(), lr=0.1), amp.GradScaler(2.0**10)
    before = numbers(model)
    for targets in (1e9 * Y, Y):
        sgd.zero_grad()
        with amp.autocast(model, "float16"):
            loss = F.mse_loss(model(X), targets)
        scaler.scale(loss).backward()
        scaler.unscale_(sgd)
        with pytest.raises(RuntimeError, match="since the last update"):
            scaler.unscale_(sgd)
        scaler.step(sgd)
        scaler.update()
        assert np.array_equal(numbers(model), before) == (targets is not Y)
    again = amp.GradScaler()
    again.load_state_dict(scaler.state_dict())
    assert (again.get_scale(), int(again.skipped)) == (2.0**9, 1)


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 4))
def test_the_scale_is_what_its_rule_says(overflows: list[bool], interval: int) -> None:
    scaler = amp.GradScaler(2.0**10, growth_interval=interval)
    scale, good = 2.0**10, 0
    for overflow in overflows:
        good = 0 if overflow else good + 1
        scale *= 0.5 if overflow else 2 if good == interval else 1
        good = 0 if good == interval else good
        (scaler.back_off if overflow else scaler.count)()
        assert (scaler.get_scale(), int(scaler.good)) == (scale, good)


def test_bfloat16_without_its_library_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    to = lambda: Value(X).to("bfloat16")
    for use in (to, lambda: net().to("bfloat16"), lambda: step_of(net(), precision="bfloat16")):
        with pytest.raises(ImportError, match=r"ml_dtypes: pip install .*\[bfloat16\]"):
            use()


def test_what_cannot_be_mixed_is_refused() -> None:
    model = net()
    with pytest.raises(ValueError, match="'float16', 'bfloat16' or 'float32'"):
        step_of(model, precision="float8")
    with pytest.raises(ValueError, match="master weights"):
        step_of(net().half(), precision="float16")
    with pytest.raises(ValueError, match="looks at several points"):
        Step(model, F.mse_loss, optim.LBFGS(model.parameters()), precision="float16")
    with pytest.raises(TypeError, match="needs a Step"):
        tg.fit(
            *(model, (X, Y), F.mse_loss, optim.SGD(model.parameters(), lr=0.1)),
            epochs=1,
            precision="float16",
            step=lambda *parts: lambda *batch: None,
        )
    for settings in ({"init_scale": 0}, {"growth_factor": 1}, {"backoff_factor": 1}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            amp.GradScaler(**settings)
    with pytest.raises(ValueError, match="growth_interval"):
        amp.GradScaler(growth_interval=0)


OPTIMIZERS = [
    kind
    for kind in vars(optim).values()
    if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer
]


@shorts
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimiser_leaves_short_parameters_as_they_were_kept(kind: Any, name: str) -> None:
    model = nn.Linear(3, 4, bias=False, rng=0).to(name)
    optimizer = kind(model.parameters())

    def closure() -> Value:
        optimizer.zero_grad()
        loss = F.mse_loss(model(X[:, :3].astype(dtype_of(name))), np.ones((20, 4), dtype_of(name)))
        loss.backward()
        return loss

    for _ in range(2):
        optimizer.step(closure)
    average = optim.swa_utils.AveragedModel(model)
    average.update_parameters(model)
    average.update_parameters(model)
    for p in (*model.parameters(), *average.parameters()):
        assert (type(p.data), p.dtype) == (ShortArray, dtype_of(name))


@shorts
def test_a_compiled_step_leaves_short_parameters_as_they_were_kept(name: str) -> None:
    models = []
    for compiled in (False, True):
        model = net().to(name)
        step = step_of(model)
        take = tg.compile(step) if compiled else step
        x, y = X.astype(dtype_of(name)), Y.astype(dtype_of(name))
        for _ in range(3):
            take(x, y)
        models.append(model)
        assert F.gelu(model[0].weight).dtype == dtype_of(name)
    np.testing.assert_allclose(*map(numbers32, models), atol=4 * EPS[name])


def numbers32(model: nn.Module) -> Any:
    return numbers(model).astype(np.float32)


@needs_ml_dtypes
def test_a_program_in_bfloat16_is_not_saved_for_numpy_alone(tmp_path: Any) -> None:
    step = tg.compile(step_of(net(), precision="bfloat16"))
    step(X, Y)
    step(X, Y)
    with pytest.raises(ValueError, match="bfloat16 is not for NumPy alone"):
        step.save(tmp_path / "step.py")


@needs_ml_dtypes
def test_a_program_computes_short_floats_in_float32_and_so_do_its_rules() -> None:
    """NumPy's einsum has no bfloat16, and 2.5 would make float32 of it."""
    x = np.full(3, 0.5, dtype_of("bfloat16"))

    @tg.compile
    def slope(x: Any) -> Any:
        v = Value(x)
        y = np.einsum("i,i->i", v, v) * 2.5
        np.sum(y).backward()
        return y, v.grad

    for _ in range(2):
        y, g = slope(x)
        assert y.dtype == g.dtype == dtype_of("bfloat16")
        np.testing.assert_array_equal(g.astype(float), np.full(3, 2.5))
