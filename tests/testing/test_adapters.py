"""Functions of PyTorch, JAX and autograd under the check: each test needs the real library."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tensorgrad.testing import GradientError, Report, Subject, check
from tensorgrad.testing.adapters import from_autograd, from_jax, from_torch

Array = Any
X, W = np.array([0.3, -1.2, 2.1]), np.array([1.5, 0.7, -0.4])
A, B = X[:, None] * W[:2], np.array([[0.2, -0.9, 1.1], [1.3, 0.4, -0.5]])
Z = X + 1j * W


def needs(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed")


@pytest.fixture
def torch() -> Any:
    return needs("torch")


@pytest.fixture
def jax() -> Any:
    return needs("jax")


@pytest.fixture
def autograd() -> Any:
    return needs("autograd")


# One way to write a function with a gradient of one's own, in each of the libraries. `f` and `vjp`
# take the library's namespace of functions first.


class Torch:
    def __init__(self) -> None:
        self.xp = needs("torch")
        self.constant = lambda x: x.detach()
        self.adapted = from_torch

    def own(self, f: Any, vjp: Any, jvp: Any = None) -> Any:
        def forward(ctx: Any, *xs: Any) -> Any:
            ctx.save_for_backward(*xs)
            ctx.save_for_forward(*xs)
            return f(self.xp, *xs)

        rules = {
            "forward": staticmethod(forward),
            "backward": staticmethod(lambda ctx, *g: vjp(self.xp, *g, *ctx.saved_tensors)),
        }
        if jvp:
            rules["jvp"] = staticmethod(lambda ctx, *ts: jvp(self.xp, ts, *ctx.saved_tensors))
        return type("Mine", (self.xp.autograd.Function,), rules)


class Jax:
    def __init__(self) -> None:
        jax = needs("jax")
        self.xp = jax.numpy
        self.constant = jax.lax.stop_gradient
        self.adapted = from_jax
        self.custom_vjp = jax.custom_vjp

    def own(self, f: Any, vjp: Any) -> Any:
        mine = self.custom_vjp(lambda *xs: f(self.xp, *xs))
        mine.defvjp(lambda *xs: (mine(*xs), xs), lambda xs, g: vjp(self.xp, g, *xs))
        return mine


class Autograd:
    def __init__(self) -> None:
        autograd, self.extend = needs("autograd"), needs("autograd.extend")
        self.xp = autograd.numpy
        self.constant = needs("autograd.tracer").getval
        self.adapted = from_autograd

    def own(self, f: Any, vjp: Any) -> Any:
        mine = self.extend.primitive(lambda *xs: f(self.xp, *xs))
        rule = lambda k: lambda out, *xs: lambda g: vjp(self.xp, g, *xs)[k]
        self.extend.defvjp(mine, rule(0), rule(1), rule(2))
        return mine


@pytest.fixture(params=[Torch, Jax, Autograd], ids=lambda c: c.__name__.lower())
def library(request: pytest.FixtureRequest) -> Any:
    return request.param()


def failed(subject: Subject, *args: Any, **more: Any) -> list[tuple[str, str]]:
    """The kinds and the diagnoses of what the check found."""
    with pytest.raises(GradientError) as caught:
        check(subject, *args, **more)
    return [(failure.kind, failure.diagnosis) for failure in caught.value.failures]


def message(subject: Subject, *args: Any, **more: Any) -> str:
    with pytest.raises(GradientError) as caught:
        check(subject, *args, **more)
    return str(caught.value)


def passes(subject: Subject, *args: Any, **more: Any) -> Report:
    report = check(subject, *args, **more)
    assert sum(report.compared.values()) > 0
    return report


def wave(xp: Any, x: Array, w: Array) -> Array:
    return xp.sin(x) * w


def of_wave(xp: Any, g: Array, x: Array, w: Array) -> tuple[Array, Array]:
    return g * xp.cos(x) * w, g * xp.sin(x)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_right_gradient_passes_to_second_order(library: Any, dtype: Any) -> None:
    mine = library.adapted(library.own(wave, of_wave))
    report = passes(mine, X.astype(dtype), W.astype(dtype), order=2)
    assert report.compared["entries"] == 18
    assert report.compared["second order"] >= 3


def test_a_float_is_an_argument_too(library: Any) -> None:
    assert passes(library.adapted(library.own(wave, of_wave)), 0.3, 1.5).compared["entries"] == 2


WRONG: dict[str, tuple[Callable[..., Any], str, str]] = {
    "sign": (
        lambda xp, g, x, w: (-g * xp.cos(x) * w, g * xp.sin(x)),
        "wrong value",
        "equals the true gradient times -1",
    ),
    "factor": (
        lambda xp, g, x, w: (g * xp.cos(x), g * xp.sin(x)),
        "wrong value",
        "missing a factor equal to argument 1",
    ),
    "one per mille": (
        lambda xp, g, x, w: (g * xp.cos(x) * w, 1.001 * g * xp.sin(x)),
        "wrong value",
        "equals the true gradient times 1.001",
    ),
    "cotangent twice": (
        lambda xp, g, x, w: (g * g * xp.cos(x) * w, g * xp.sin(x)),
        "not linear in the cotangent",
        "",
    ),
    "no cotangent": (
        lambda xp, g, x, w: (xp.cos(x) * w, xp.sin(x)),
        "not linear in the cotangent",
        "ignores the cotangent",
    ),
    "nothing": (
        lambda xp, g, x, w: (g * xp.cos(x) * w, 0 * g),
        "wrong value",
        "zero: nothing arrives at this argument",
    ),
    "swapped": (
        lambda xp, g, x, w: (g * xp.sin(x), g * xp.cos(x) * w),
        "wrong value",
        "swapped?",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_gradient_is_caught_and_explained(library: Any, mistake: str) -> None:
    vjp, kind, diagnosis = WRONG[mistake]
    found = failed(library.adapted(library.own(wave, vjp)), X, W)[0]
    assert found[0] == kind
    assert diagnosis in found[1]


def test_a_gradient_that_is_wrong_only_when_differentiated_again(library: Any) -> None:
    of_constant = lambda xp, g, x, w: (g * xp.cos(library.constant(x)) * w, g * xp.sin(x))
    mine = library.adapted(library.own(wave, of_constant))
    passes(mine, X, W, order=1)
    assert failed(mine, X, W, order=2)[0][0] == "wrong in second order"


def test_what_the_library_itself_differentiates(library: Any) -> None:
    passes(library.adapted(lambda x, w: wave(library.xp, x, w)), X, W, order=3)


def test_two_results(library: Any) -> None:
    xp = library.xp
    passes(library.adapted(lambda x, w: (xp.sin(x) * w, xp.exp(x))), X, W, order=2)
    wrong = library.own(wave, WRONG["sign"][0])
    wrong = getattr(wrong, "apply", wrong)
    found = failed(
        library.adapted(lambda x, w: (xp.exp(x), wrong(x, w))), X, W, order=2, modes=("rev",)
    )
    assert found[0][0] == "wrong value"


def test_a_gradient_that_does_not_depend_on_the_arguments(library: Any) -> None:
    passes(library.adapted(lambda x, unused: 3 * x), X, W, order=2)


def test_integers_come_along(library: Any) -> None:
    index, xp = np.array([2, 0, 2]), library.xp

    def picked(x: Any, i: Any, axis: Any, w: Any) -> Any:
        assert type(axis) is int
        return xp.sum(x[i] * w, axis)

    report = passes(library.adapted(picked), X, index, 0, W, order=2)
    assert report.compared["entries"] == 6


def test_complex_gradients_follow_the_convention(library: Any) -> None:
    xp = library.xp
    passes(library.adapted(lambda z, w: xp.sin(z) * w), Z, Z[::-1].copy(), order=2)
    passes(library.adapted(lambda z: (xp.abs(z) ** 2, xp.conj(z))), Z)
    passes(library.adapted(lambda x: xp.exp(1j * x)), X)


def test_the_argument_is_named(library: Any) -> None:
    xp, constant = library.xp, library.constant
    text = message(library.adapted(lambda left, right: xp.sin(constant(left)) * right), X, W)
    assert "gradient by left" in text


# PyTorch


def test_the_names_of_a_torch_function(torch: Any) -> None:
    class Old(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, slope: Any) -> Any:
            return 2 * slope

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 3 * g

    class New(torch.autograd.Function):
        @staticmethod
        def forward(slope: Any) -> Any:
            return 2 * slope

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            pass

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return 3 * g

    for function in (Old, New):
        text = message(from_torch(function), X)
        assert f"{function.__name__}: wrong" in text
        assert "gradient by slope" in text
        assert "times 3/2" in text


def test_a_backward_that_works_in_place(torch: Any) -> None:
    def on_argument(xp: Any, g: Any, x: Any) -> Any:
        return x.mul_(2) * g

    def on_cotangent(xp: Any, g: Any, x: Any) -> Any:
        return g.mul_(2 * x)

    for vjp, what in ((on_argument, "argument 0"), (on_cotangent, "the cotangent")):
        mine = from_torch(Torch().own(lambda xp, x: x * x, vjp))
        assert failed(mine, X) == [("mutates its input", "")]
        assert f"changed {what} in place" in message(mine, X)


def test_a_gradient_that_is_the_saved_argument(torch: Any) -> None:
    mine = from_torch(Torch().own(lambda xp, x: x * x, lambda xp, g, x: x.detach()))
    assert ("returns a view of its input", "") in failed(mine, X)


def test_a_backward_that_reads_the_memory_of_the_cotangent(torch: Any) -> None:
    raw = lambda xp, g, x: g.as_strided(g.shape, x.stride()) * xp.cos(x)
    viewed = lambda xp, g, x: (g.view(-1) * xp.cos(x).view(-1)).view(x.shape)
    sine = lambda xp, x: xp.sin(x)
    kind, _ = failed(from_torch(Torch().own(sine, raw)), A)[0]
    assert kind == "depends on the cotangent's memory"
    assert "view size is not compatible" in message(from_torch(Torch().own(sine, viewed)), A)


def test_a_broadcast_cotangent_stays_broadcast(torch: Any) -> None:
    strides = []

    def vjp(xp: Any, g: Any, x: Any) -> Any:
        strides.append(g.stride())
        return g * xp.cos(x)

    mine = from_torch(Torch().own(lambda xp, x: xp.sin(x), vjp))
    (found,) = mine.vjp(np.broadcast_to(2.0, (3, 2)), A)
    np.testing.assert_allclose(found, 2 * np.cos(A))
    assert strides == [(0, 0)]


def test_a_gradient_of_the_wrong_shape_is_told_in_the_words_of_torch(torch: Any) -> None:
    mine = from_torch(Torch().own(lambda xp, x: xp.sin(x), lambda xp, g, x: (g * x)[:2]))
    assert failed(mine, X)[0][0] == "raises"
    assert "returned an invalid gradient at index 0" in message(mine, X)


def test_a_backward_that_can_be_differentiated_only_once(torch: Any) -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, g: Any) -> Any:
            return 3 * g * ctx.saved_tensors[0] ** 2

    passes(from_torch(Once), X)
    found = failed(from_torch(Once), X, order=2)
    assert found == [("wrong in second order", "zero: nothing arrives at this argument")]


def test_no_gradient_is_zero_in_torch(torch: Any) -> None:
    none = lambda xp, g, x, w: (g * xp.cos(x) * w, None)
    found = failed(from_torch(Torch().own(wave, none)), X, W)
    assert found == [("wrong value", "zero: nothing arrives at this argument")]
    found = failed(from_torch(lambda x: (x**2).detach()), X)
    assert found == [("wrong value", "zero: nothing arrives at this argument")]


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # torch's own forward mode
def test_torch_functions_with_a_forward_mode(torch: Any) -> None:
    right = lambda xp, ts, x, w: ts[0] * xp.cos(x) * w + ts[1] * xp.sin(x)
    wrong = lambda xp, ts, x, w: ts[0] * xp.cos(x) * w - ts[1] * xp.sin(x)
    mine = Torch().own(wave, of_wave, right)
    assert passes(from_torch(mine), X, W, order=2).compared["forward"] > 0
    found = failed(from_torch(Torch().own(wave, of_wave, wrong)), X, W)
    assert found[0][0] == "wrong in forward mode"
    assert from_torch(Torch().own(wave, of_wave)).jvp is None


def test_a_complex_backward_without_its_conjugate(torch: Any) -> None:
    square = lambda xp, z: z * z
    passes(from_torch(Torch().own(square, lambda xp, g, z: 2 * g * z.conj())), Z, order=2)
    found = failed(from_torch(Torch().own(square, lambda xp, g, z: 2 * g * z)), Z)
    assert found[0][0] == "wrong value"


def test_a_module(torch: Any) -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    passes(from_torch(network.double()), A, order=2)
    assert all(p.grad is None for p in network.parameters())
    by_parameters = lambda x, weight, bias: torch.nn.functional.linear(x, weight, bias)
    passes(from_torch(by_parameters), A, B.T.copy(), X, order=2)


# JAX


@pytest.fixture
def in_32_bits(jax: Any) -> Iterator[None]:
    assert not jax.config.jax_enable_x64
    yield
    assert not jax.config.jax_enable_x64


@pytest.mark.usefixtures("in_32_bits")
def test_float64_is_not_cut_and_the_setting_stays(jax: Any) -> None:
    cubed = from_jax(lambda x: x**3)
    assert cubed.f(X).dtype == cubed.vjp(X, X)[0].dtype == np.float64
    np.testing.assert_allclose(cubed.vjp(X, X)[0], 3 * X**3, rtol=1e-15)
    assert cubed.jvp is not None
    np.testing.assert_allclose(cubed.jvp([X], X), 3 * X**3, rtol=1e-15)
    assert jax.numpy.ones(3).dtype == np.float32


@pytest.mark.usefixtures("in_32_bits")
def test_calls_with_float32_see_the_setting_of_the_user(jax: Any) -> None:
    seen = []

    def remembering(x: Any) -> Any:
        seen.append((x.dtype, jax.config.jax_enable_x64))
        return x**2

    passes(from_jax(remembering), X.astype(np.float32))
    assert set(seen) >= {(np.dtype("f4"), False), (np.dtype("f8"), True)}
    assert (np.dtype("f4"), True) not in seen


def test_functions_under_jit(jax: Any) -> None:
    right, wrong = Jax().own(wave, of_wave), Jax().own(wave, WRONG["factor"][0])
    passes(from_jax(jax.jit(right)), X, W, order=2)
    assert failed(from_jax(jax.jit(wrong)), X, W)[0] == WRONG["factor"][1:]
    assert failed(from_jax(jax.jit(lambda x, w: wrong(x, w))), X, W, modes=("rev",))
    passes(from_jax(jax.jit(lambda x: jax.nn.softmax(x))), X, order=2)


def test_a_custom_jvp(jax: Any) -> None:
    right = jax.custom_jvp(lambda x: x**3)
    right.defjvp(lambda xs, ts: (xs[0] ** 3, 3 * ts[0] * xs[0] ** 2))
    assert passes(from_jax(right), X, order=2).compared["forward"] == 9
    assert from_jax(right).second(X, [X]).jvp
    wrong = jax.custom_jvp(lambda x: x**3)
    wrong.defjvp(lambda xs, ts: (xs[0] ** 3, 2 * ts[0] * xs[0] ** 2))
    assert failed(from_jax(wrong), X) == [
        ("wrong value", "equals the true gradient times 2/3"),
        ("wrong in forward mode", ""),
    ]
    assert failed(from_jax(wrong), X, modes=("fwd",))[0][0] == "wrong in forward mode"


def test_forward_mode_through_a_custom_vjp(jax: Any) -> None:
    mine = Jax().own(wave, of_wave)
    assert from_jax(mine).jvp is from_jax(mine).second(X, [X, W]).jvp is None
    calling = from_jax(lambda x, w: 2 * mine(x, w))
    assert passes(calling, X, W).rejected["forward mode that is not there"] == 1
    passes(calling, X, W, order=2, modes=("rev",))


def test_arguments_that_a_custom_vjp_does_not_differentiate(jax: Any) -> None:
    power = jax.custom_vjp(lambda x, n: x**n, nondiff_argnums=(1,))
    power.defvjp(lambda x, n: (x**n, x), lambda n, x, g: (n * g * x ** (n - 1),))
    passes(from_jax(power), X, 4, order=2)
    power.defvjp(lambda x, n: (x**n, x), lambda n, x, g: (g * x ** (n - 1),))
    assert failed(from_jax(power), X, 4)[0] == ("wrong value", "equals the true gradient times 1/4")


def test_a_gradient_of_the_wrong_shape_is_told_in_the_words_of_jax(jax: Any) -> None:
    mine = from_jax(Jax().own(lambda xp, x: xp.sin(x), lambda xp, g, x: ((g * x)[:2],)))
    assert failed(mine, X)[0][0] == "raises"


# autograd


def test_an_autograd_primitive_with_a_forward_mode(autograd: Any) -> None:
    library = Autograd()
    mine = library.own(wave, of_wave)
    assert from_autograd(mine).jvp is None
    define = needs("autograd.extend").defjvp
    by_x = lambda t, out, x, w: t * np.cos(x) * w
    define(mine, by_x, lambda t, out, x, w: t * np.sin(x))
    assert passes(from_autograd(mine), X, W, order=2).compared["forward"] == 9
    define(mine, by_x, lambda t, out, x, w: 2 * t * np.sin(x))
    assert failed(from_autograd(mine), X, W)[0][0] == "wrong in forward mode"


def test_an_autograd_rule_that_works_in_place(autograd: Any) -> None:
    def vjp(xp: Any, g: Any, x: Any) -> Any:
        g *= 2 * x
        return (g,)

    mine = from_autograd(Autograd().own(lambda xp, x: x * x, vjp))
    assert failed(mine, X) == [("mutates its input", "")]


def test_an_autograd_rule_that_keeps_the_broadcast_axis(autograd: Any) -> None:
    vjp = lambda xp, g, x, b: (g, g)
    mine = from_autograd(Autograd().own(lambda xp, x, b: x + b, vjp))
    assert failed(mine, A, W[:2])[0] == (
        "wrong shape",
        "right but for broadcast operands: axis 0 not summed",
    )


def test_an_argument_without_a_rule(autograd: Any) -> None:
    mine = Autograd().extend.primitive(wave)
    text = message(from_autograd(lambda x, w: mine(np, x, w)), X, W)
    assert "raises: the gradient: NotImplementedError: VJP of wave" in text


@pytest.mark.parametrize(
    ("adapted", "package"), [(from_torch, "torch"), (from_jax, "jax"), (from_autograd, "autograd")]
)
def test_what_to_install(adapted: Any, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"{package} is not installed: pip install {package}"):
        adapted(np.sin)
