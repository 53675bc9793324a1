"""The gamma function and its relatives, and the distributions that are made of them.

The derivative of a cumulative distribution by its argument is the density; that of a quantile, 1
over the density there. (DLMF chapters 5, 8 and 25.)
"""

from __future__ import annotations

import math

import numpy as np

from tensorgrad.engine.arrays import as_array
from tensorgrad.engine.batching import elementwise
from tensorgrad.engine.domain import Domain
from tensorgrad.engine.node import Array
from tensorgrad.engine.primitive import Primitive, implements, primitive
from tensorgrad.engine.rules import flat
from tensorgrad.scipy.special.declare import constant, special, whole

PLUS = Domain((0.2, 4))

gamma = primitive(
    special.gamma,
    lambda g, out, x: g * out * special.digamma(x),
    notation=r"\Gamma({0})",
    domain=PLUS,
)
gammaln = primitive(
    special.gammaln,
    lambda g, out, x: g * special.digamma(x),
    notation=r"\ln \lvert \Gamma({0}) \rvert",
    domain=PLUS,
)
loggamma = primitive(
    special.loggamma,
    lambda g, out, x: g * special.digamma(x),
    notation=r"\ln \Gamma({0})",
    domain=PLUS,
)
gammasgn = primitive(special.gammasgn, flat, domain=PLUS)


def reflected(x: Array) -> Array:
    """(1/Γ)'(x) / Γ(1 - x), by the reflection formula (5.5.3-4), for x to the left of 1/2."""
    return np.cos(np.pi * x) - special.digamma(1 - x) * np.sin(np.pi * x) / np.pi


def rgamma_rule(g: Array, out: Array, x: Array) -> Array:
    """-out ψ(x); by the reflection formula to the left of 1/2, where ψ has poles (5.5.3-4)."""
    mirror = np.real(x) < 0.5
    left, right = np.where(mirror, x, 0.5), np.where(mirror, 0.5, x)
    by_left = special.gamma(1 - left) * reflected(left)
    return g * np.where(mirror, by_left, -out * special.digamma(right))


rgamma = primitive(
    special.rgamma, rgamma_rule, notation=r"\frac{{1}}{{\Gamma({0})}}", domain=Domain((-2.5, 4))
)
BERNOULLI = 1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6


def trigamma(x: Array) -> Array:
    """ψ'. SciPy's is of real numbers; of complex ones (5.15.5-8), 16 steps to the right."""
    if x.dtype.kind != "c":
        return special.zeta(2, x)
    mirror = np.real(x) < 0.5
    z, left = np.where(mirror, 1 - x, x), np.where(mirror, x, 0.5)
    w = z + 16
    near = sum(1 / (z + k) ** 2 for k in range(16))
    far = 1 / w + 1 / (2 * w**2) + sum(b / w ** (2 * j + 3) for j, b in enumerate(BERNOULLI))
    return np.where(mirror, (np.pi / np.sin(np.pi * left)) ** 2 - near - far, near + far)


digamma = primitive(
    special.digamma,
    lambda g, out, x: g * trigamma(x),
    name="digamma",
    notation=r"\psi({0})",
    domain=PLUS,
)
riemann_zeta = primitive(
    special._ufuncs._riemann_zeta,
    constant(special.zeta, "x"),
    name="riemann_zeta",
    notation=r"\zeta({0})",
)
hurwitz_zeta = primitive(
    special._ufuncs._zeta,
    constant(special.zeta, "x"),
    lambda g, out, x, q: -g * x * special.zeta(x + 1, q),
    name="zeta",
    notation=r"\zeta({0}, {1})",
    domain=Domain(((1.5, 4), (0.5, 3))),
)


@implements(special.zeta)
def zeta(x: Array, q: Array = None) -> Array:
    """`scipy.special.zeta`: Riemann's, or with `q` Hurwitz's function."""
    return riemann_zeta(x) if q is None else hurwitz_zeta(x, q)


@implements(special.polygamma)
def polygamma(n: Array, x: Array) -> Array:
    """`scipy.special.polygamma`: the `n`-th derivative of the digamma function (5.15.1)."""
    n = as_array(n)
    higher = (-1.0) ** (n + 1) * special.gamma(n + 1.0) * special.zeta(np.maximum(n, 1) + 1.0, x)
    return np.where(n == 0, special.digamma(x), higher)


@implements(special.multigammaln)
def multigammaln(a: Array, d: int) -> Array:
    """`scipy.special.multigammaln`: the logarithm of the gamma function of dimension `d`."""
    halves = [special.gammaln(a - j / 2) for j in range(d)]
    return sum(halves[1:], halves[0]) + d * (d - 1) / 4 * math.log(math.pi)


@implements(special.factorial)
def factorial(n: Array, exact: bool = False) -> Array:
    """`scipy.special.factorial` of floats: Γ(n + 1), and 0 for a negative n."""
    if exact:
        raise TypeError("factorial: exact=True computes with integers, which carry no gradient")
    return np.where(n < 0, 0, special.gamma(np.where(n < 0, 0, n) + 1))


# Quotients of gamma functions: out (ψ(u) - ψ(y)), where Γ(u)/Γ(y) is a factor of out.


def pole(x: Array) -> Array:
    return (x <= 0) & (x == np.floor(x))


def psi_difference(u: Array, y: Array) -> Array:
    """ψ(u) - ψ(y); between two poles it is finite, that of their mirror images."""
    both = pole(u) & pole(y)
    return special.digamma(np.where(both, 1 - u, u)) - special.digamma(np.where(both, 1 - y, y))


def quotient_slope(out: Array, u: Array, y: Array, scale: Array) -> Array:
    """out (ψ(u) - ψ(y)), where out is 0 if y alone is a pole; `scale` is out Γ(y) Γ(1-y)."""
    zero = pole(y) & ~pole(u)
    left = np.where(zero, y, 0)
    return np.where(
        zero, out * special.digamma(u) + scale * reflected(left), out * psi_difference(u, y)
    )


def gammas(*xs: Array) -> Array:
    """The product of Γ(x), at any magnitude."""
    sizes, signs = [special.gammaln(x) for x in xs], [special.gammasgn(x) for x in xs]
    return math.prod(signs) * np.exp(sum(sizes))


def binom_by_part(out: Array, n: Array, k: Array) -> Array:
    """-out ψ(k + 1), up to what the other part has as well."""
    return quotient_slope(out, 1, k + 1, special.beta(n + 1, -k))


beta = primitive(
    special.beta,
    lambda g, out, a, b: g * quotient_slope(out, a, a + b, gammas(a, b, 1 - a - b)),
    lambda g, out, a, b: g * quotient_slope(out, b, a + b, gammas(a, b, 1 - a - b)),
    notation=r"\mathrm{{B}}({0}, {1})",
    domain=PLUS,
)
betaln = primitive(
    special.betaln,
    lambda g, out, a, b: g * psi_difference(a, a + b),
    lambda g, out, a, b: g * psi_difference(b, a + b),
    notation=r"\ln \mathrm{{B}}({0}, {1})",
    domain=PLUS,
)
poch = primitive(
    special.poch,
    lambda g, out, z, m: g * quotient_slope(out, z + m, z, gammas(z + m, 1 - z)),
    lambda g, out, z, m: g * out * special.digamma(z + m),
    notation="({0})_{{{1}}}",
    domain=Domain((0.5, 3)),
)
binom = primitive(
    special.binom,
    lambda g, out, n, k: g * quotient_slope(out, n + 1, n - k + 1, special.beta(n + 1, k - n)),
    lambda g, out, n, k: g * (binom_by_part(out, n, k) - binom_by_part(out, n, n - k)),
    notation=r"\binom{{{0}}}{{{1}}}",
    domain=Domain(((3, 5), (0.5, 2.5))),
)

# What densities are made of. It is an operation of its own because its logarithm is infinite at the
# edges, where it and its derivatives are powers.


def kernel_by_x(g: Array, out: Array, p: Array, q: Array, x: Array, c: Array) -> Array:
    """p x^(p-1) (1-x)^q e^c - q x^p (1-x)^(q-1) e^c; a power of 0 is constant."""
    left = np.where(p == 0, 0, p * density_kernel(p - 1, q, x, c))
    return g * (left - np.where(q == 0, 0, q * density_kernel(p, q - 1, x, c)))


density_kernel: Primitive = primitive(
    lambda p, q, x, c: np.where(
        c == -np.inf, 0, np.exp(special.xlogy(p, x) + special.xlog1py(q, -x) + c)
    ),
    lambda g, out, p, q, x, c: g * special.xlogy(out, x),
    lambda g, out, p, q, x, c: g * special.xlog1py(out, -x),
    kernel_by_x,
    lambda g, out, p, q, x, c: g * out,
    name="density_kernel",
    notation="{2}^{{{0}}} (1 - {2})^{{{1}}} e^{{{3}}}",
    domain=Domain(((-1, 3), (-1, 3), (0.1, 0.9), (-1, 1))),
    batch=elementwise,
)

# The incomplete gamma function: the gamma distribution of shape a.


def gamma_density(a: Array, x: Array) -> Array:
    """x^(a-1) e⁻ˣ / Γ(a)."""
    return density_kernel(a - 1, 0, x, -x - special.gammaln(a))


SHAPED = Domain(((0.7, 4), (0.3, 4)))
SHAPED_SHARE = Domain(((0.7, 4), (0.1, 0.9)))
gammainc = primitive(
    special.gammainc,
    constant(special.gammainc, "a"),
    lambda g, out, a, x: g * gamma_density(a, x),
    notation="P({0}, {1})",
    domain=SHAPED,
)
gammaincc = primitive(
    special.gammaincc,
    constant(special.gammaincc, "a"),
    lambda g, out, a, x: -g * gamma_density(a, x),
    notation="Q({0}, {1})",
    domain=SHAPED,
)
gammaincinv = primitive(
    special.gammaincinv,
    constant(special.gammaincinv, "a"),
    lambda g, out, a, y: g / gamma_density(a, out),
    notation="P^{{-1}}({0}, {1})",
    domain=SHAPED_SHARE,
)
gammainccinv = primitive(
    special.gammainccinv,
    constant(special.gammainccinv, "a"),
    lambda g, out, a, y: -g / gamma_density(a, out),
    notation="Q^{{-1}}({0}, {1})",
    domain=SHAPED_SHARE,
)
gdtr = primitive(
    special.gdtr,
    lambda g, out, a, b, x: g * x * gamma_density(b, a * x),
    constant(special.gdtr, "b"),
    lambda g, out, a, b, x: g * a * gamma_density(b, a * x),
    domain=Domain(((0.5, 2), (1, 3), (0.3, 3))),
)
gdtrc = primitive(
    special.gdtrc,
    lambda g, out, a, b, x: -g * x * gamma_density(b, a * x),
    constant(special.gdtrc, "b"),
    lambda g, out, a, b, x: -g * a * gamma_density(b, a * x),
    domain=Domain(((0.5, 2), (1, 3), (0.3, 3))),
)


@implements(special.gdtrix)
def gdtrix(a: Array, b: Array, p: Array) -> Array:
    """`scipy.special.gdtrix`: the quantile `p` of a gamma distribution of rate `a`, shape `b`."""
    return special.gammaincinv(b, p) / a


@implements(special.gdtria)
def gdtria(p: Array, b: Array, x: Array) -> Array:
    """`scipy.special.gdtria`: the rate with which `x` is the quantile `p`."""
    return special.gammaincinv(b, p) / x


chdtr = primitive(
    special.chdtr,
    constant(special.chdtr, "v"),
    lambda g, out, v, x: g * gamma_density(v / 2, x / 2) / 2,
    domain=Domain(((1, 5), (0.5, 5))),
)
chdtrc = primitive(
    special.chdtrc,
    constant(special.chdtrc, "v"),
    lambda g, out, v, x: g * gamma_density(v / 2, x / 2) / -2,
    domain=Domain(((1, 5), (0.5, 5))),
)
chdtri = primitive(
    special.chdtri,
    constant(special.chdtri, "v"),
    lambda g, out, v, p: g * -2 / gamma_density(v / 2, out / 2),
    domain=Domain(((1, 5), (0.1, 0.9))),
)
pdtr = primitive(
    special.pdtr,
    constant(special.pdtr, "k"),
    lambda g, out, k, m: -g * gamma_density(np.floor(k) + 1, m),
    domain=Domain(((0, 3), (0.5, 4))),
)
pdtrc = primitive(
    special.pdtrc,
    constant(special.pdtrc, "k"),
    lambda g, out, k, m: g * gamma_density(np.floor(k) + 1, m),
    domain=Domain(((0, 3), (0.5, 4))),
)
pdtri = primitive(
    special.pdtri,
    constant(special.pdtri, "k"),
    lambda g, out, k, y: -g / gamma_density(np.floor(k) + 1, out),
    domain=Domain(((0, 3), (0.1, 0.9)), make=whole()),
)

# The incomplete beta function: the beta distribution of shape a, b.


def beta_density(a: Array, b: Array, x: Array) -> Array:
    """x^(a-1) (1-x)^(b-1) / B(a, b)."""
    return density_kernel(a - 1, b - 1, x, -special.betaln(a, b))


TWO_SHAPES = Domain(((0.7, 4), (0.7, 4), (0.1, 0.9)))
betainc = primitive(
    special.betainc,
    constant(special.betainc, "a"),
    constant(special.betainc, "b"),
    lambda g, out, a, b, x: g * beta_density(a, b, x),
    notation="I_{{{2}}}({0}, {1})",
    domain=TWO_SHAPES,
)
betaincc = primitive(
    special.betaincc,
    constant(special.betaincc, "a"),
    constant(special.betaincc, "b"),
    lambda g, out, a, b, x: -g * beta_density(a, b, x),
    notation="1 - I_{{{2}}}({0}, {1})",
    domain=TWO_SHAPES,
)
betaincinv = primitive(
    special.betaincinv,
    constant(special.betaincinv, "a"),
    constant(special.betaincinv, "b"),
    lambda g, out, a, b, y: g / beta_density(a, b, out),
    notation="I^{{-1}}_{{{2}}}({0}, {1})",
    domain=TWO_SHAPES,
)
betainccinv = primitive(
    special.betainccinv,
    constant(special.betainccinv, "a"),
    constant(special.betainccinv, "b"),
    lambda g, out, a, b, y: -g / beta_density(a, b, out),
    notation="I^{{-1}}_{{1 - {2}}}({0}, {1})",
    domain=TWO_SHAPES,
)
bdtr = primitive(
    special.bdtr,
    constant(special.bdtr, "k"),
    constant(special.bdtr, "n"),
    lambda g, out, k, n, p: -g * beta_density(np.floor(k) + 1, n - np.floor(k), p),
    domain=Domain(((0, 2), (3, 3), (0.1, 0.9)), make=whole(2)),
)
bdtrc = primitive(
    special.bdtrc,
    constant(special.bdtrc, "k"),
    constant(special.bdtrc, "n"),
    lambda g, out, k, n, p: g * beta_density(np.floor(k) + 1, n - np.floor(k), p),
    domain=Domain(((0, 2), (3, 3), (0.1, 0.9)), make=whole(2)),
)
nbdtr = primitive(
    special.nbdtr,
    constant(special.nbdtr, "k"),
    constant(special.nbdtr, "n"),
    lambda g, out, k, n, p: g * beta_density(n, k + 1, p),
    domain=Domain(((0, 2), (3, 3), (0.1, 0.9)), make=whole(2)),
)
nbdtrc = primitive(
    special.nbdtrc,
    constant(special.nbdtrc, "k"),
    constant(special.nbdtrc, "n"),
    lambda g, out, k, n, p: -g * beta_density(n, k + 1, p),
    domain=Domain(((0, 2), (3, 3), (0.1, 0.9)), make=whole(2)),
)
bdtri = primitive(
    special.bdtri,
    constant(special.bdtri, "k"),
    constant(special.bdtri, "n"),
    lambda g, out, k, n, y: -g / beta_density(np.floor(k) + 1, n - np.floor(k), out),
    domain=Domain(((0, 2), (3, 3), (0.1, 0.9)), make=whole(2)),
)
nbdtri = primitive(
    special.nbdtri,
    constant(special.nbdtri, "k"),
    constant(special.nbdtri, "n"),
    lambda g, out, k, n, y: g / beta_density(n, k + 1, out),
    domain=Domain(((0, 2), (3, 3), (0.1, 0.9)), make=whole(2)),
)


def f_density(n: Array, d: Array, x: Array) -> Array:
    """The density of the F distribution with `n` and `d` degrees of freedom."""
    total = d + n * x
    return beta_density(n / 2, d / 2, n * x / total) * n * d / (total * total)


def t_density(df: Array, t: Array) -> Array:
    """The density of Student's t distribution."""
    power = np.log1p(t * t / df) * (df + 1) / 2
    return np.exp(-power - special.betaln(0.5, df / 2)) / np.sqrt(df)


fdtr = primitive(
    special.fdtr,
    constant(special.fdtr, "dfn"),
    constant(special.fdtr, "dfd"),
    lambda g, out, dfn, dfd, x: g * f_density(dfn, dfd, x),
    domain=Domain(((1, 5), (1, 5), (0.3, 3))),
)
fdtrc = primitive(
    special.fdtrc,
    constant(special.fdtrc, "dfn"),
    constant(special.fdtrc, "dfd"),
    lambda g, out, dfn, dfd, x: -g * f_density(dfn, dfd, x),
    domain=Domain(((1, 5), (1, 5), (0.3, 3))),
)
fdtri = primitive(
    special.fdtri,
    constant(special.fdtri, "dfn"),
    constant(special.fdtri, "dfd"),
    lambda g, out, dfn, dfd, p: g / f_density(dfn, dfd, out),
    domain=Domain(((1, 5), (1, 5), (0.2, 0.8))),
)
stdtr = primitive(
    special.stdtr,
    constant(special.stdtr, "df"),
    lambda g, out, df, t: g * t_density(df, t),
    domain=Domain(((1, 5), (-3, 3))),
)
stdtrit = primitive(
    special.stdtrit,
    constant(special.stdtrit, "df"),
    lambda g, out, df, p: g / t_density(df, out),
    domain=Domain(((1, 5), (0.1, 0.9))),
)
