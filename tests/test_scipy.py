"""SciPy's functions: first and second derivatives to 12 digits, against mpmath's at 30."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib import NumpyVersion

import tensorgrad as tg
from tensorgrad import Value
from tensorgrad.engine.primitive import Primitive, registry
from tensorgrad.engine.rules import Refused
from tensorgrad.testing import check_rule
from tests import test_care, test_primitives
from tests.numerical import assert_gradient

mp = pytest.importorskip("mpmath")
scipy = pytest.importorskip("scipy")
special = pytest.importorskip("scipy.special")
linalg = pytest.importorskip("scipy.linalg")
tgs = pytest.importorskip("tensorgrad.scipy").special
tgl = pytest.importorskip("tensorgrad.scipy").linalg

mp.mp.dps = 30
half, root_pi = mp.mpf(1) / 2, mp.sqrt(mp.pi)


def cdf(x: Any) -> Any:
    return mp.erfc(-x / mp.sqrt(2)) / 2


def part(name: str, i: int) -> Callable[..., Any]:
    """Result `i` of a function of several."""
    return lambda *xs: getattr(special, name)(*xs)[i]


def gamma_cdf(a: Any, x: Any) -> Any:
    return mp.gammainc(a, 0, x, regularized=True)


def beta_cdf(a: Any, b: Any, x: Any) -> Any:
    return mp.betainc(a, b, 0, x, regularized=True)


def t_cdf(v: Any, t: Any) -> Any:
    scale = mp.gamma((v + 1) / 2) / mp.gamma(v / 2) / mp.sqrt(mp.pi * v)
    return half + t * scale * mp.hyp2f1(half, (v + 1) / 2, 3 * half, -t * t / v)


def exprel(x: Any) -> Any:
    return mp.hyp1f1(1, 2, x)


def log1p_rel(x: Any) -> Any:
    """ln(1 + x)/x."""
    return mp.hyp2f1(1, 1, 2, -x)


def spherical(f: Any) -> Any:
    return lambda n, z: mp.sqrt(mp.pi / (2 * z)) * f(n + half, z)


def kelvin(f: Any) -> Any:
    return lambda x: f(0, x)


def wright(a: Any, b: Any, x: Any) -> Any:
    return mp.nsum(lambda k: x**k / mp.factorial(k) * mp.rgamma(a * k + b), [0, mp.inf])


def wofz(z: Any) -> Any:
    return mp.exp(-z * z) * mp.erfc(-1j * z)


# SciPy's function: mpmath's, how many operands in front stay constant, and points.
FUNCTIONS: dict[Any, tuple[Callable[..., Any], int, list[Any]]] = {
    "erf": (mp.erf, 0, [-3, -0.5, 0.1, 1, 5]),
    "erfc": (mp.erfc, 0, [-3, -0.5, 0.1, 1, 5]),
    "erfcx": (lambda x: mp.exp(x * x) * mp.erfc(x), 0, [-5, -1, 0.3, 2, 5, 6.4, 6.6, 9, 1e2, 1e4]),
    "erfi": (mp.erfi, 0, [-3, 0.1, 2, 10]),
    "dawsn": (lambda x: root_pi / 2 * mp.exp(-x * x) * mp.erfi(x), 0, [0.1, 0.7, 3, 20, 1e3]),
    "erfinv": (mp.erfinv, 0, [-0.99, -0.5, 0.1, 0.9]),
    "erfcinv": (lambda x: mp.erfinv(1 - x), 0, [0.01, 0.5, 1.3]),
    "ndtr": (cdf, 0, [-30, -3, -0.5, 0.7, 5]),
    "log_ndtr": (
        lambda x: mp.log1p(-cdf(-x)) if x > 0 else mp.log(cdf(x)),
        0,
        [-1e4, -100, -15, -3, -0.5, 0.7, 5, 20],
    ),
    "ndtri": (lambda p: mp.sqrt(2) * mp.erfinv(2 * p - 1), 0, [0.001, 0.2, 0.7, 0.99]),
    "ndtri_exp": (lambda x: mp.sqrt(2) * mp.erfinv(2 * mp.exp(x) - 1), 0, [-20, -3, -0.5, -0.01]),
    "owens_t": (
        lambda h, a: mp.quad(
            lambda t: mp.exp(-h * h * (1 + t * t) / 2) / (1 + t * t) / (2 * mp.pi), [0, a]
        ),
        0,
        [(0.5, 1.2), (-1.5, 0.3), (2.0, -1.7)],
    ),
    "voigt_profile": (
        lambda x, s, y: mp.re(wofz((x + 1j * y) / (s * mp.sqrt(2)))) / (s * mp.sqrt(2 * mp.pi)),
        0,
        [(0.5, 1.2, 0.3), (-2.0, 1.5, 0.7)],
    ),
    "nrdtrimn": (lambda p, s, x: x - s * mp.sqrt(2) * mp.erfinv(2 * p - 1), 0, [(0.3, 2.0, 1.0)]),
    "nrdtrisd": (lambda m, p, x: (x - m) / (mp.sqrt(2) * mp.erfinv(2 * p - 1)), 0, [(2, 0.3, 1)]),
    "fresnel 0": (mp.fresnels, 0, [-1.3, 0.2, 2.1]),
    "fresnel 1": (mp.fresnelc, 0, [-1.3, 0.2, 2.1]),
    # Gamma functions.
    "gamma": (mp.gamma, 0, [-1.5, 0.1, 0.9, 3.3, 20]),
    "gammaln": (lambda x: mp.log(abs(mp.gamma(x))), 0, [-1.5, 0.1, 0.9, 3.3, 1e4]),
    "loggamma": (mp.loggamma, 0, [0.1, 0.9, 3.3, 1e4]),
    "rgamma": (mp.rgamma, 0, [-2, -1.5, 0, 0.1, 0.9, 3.3]),
    "digamma": (mp.digamma, 0, [-1.5, 0.1, 0.9, 3.3, 1e4]),
    "polygamma": (
        lambda n, x: mp.polygamma(int(n), x),
        1,
        [(0, 0.4), (1, 0.4), (2, 3.3), (5, 1.7)],
    ),
    "zeta": (mp.zeta, 1, [(2, 0.3), (1.5, 2.7), (6, 4)]),
    "multigammaln": (
        lambda a, d: sum(mp.loggamma(a - j * half) for j in range(int(d))),
        0,
        [(3.3, 1), (3.3, 4)],
    ),
    "factorial": (mp.factorial, 0, [0.3, 4.5]),
    "beta": (mp.beta, 0, [(0.5, 1.5), (3, 0.2), (0.5, -0.5), (-1.3, -1.7)]),
    "betaln": (lambda a, b: mp.log(mp.beta(a, b)), 0, [(0.5, 1.5), (3, 0.2)]),
    "poch": (mp.rf, 0, [(0.5, 1.5), (3, 0.2), (0, 0.2), (-1, 1.5), (-30, 0.2)]),
    "binom": (mp.binomial, 0, [(4.5, 1.3), (7, 2.5), (7, 12), (4.5, -1), (0.5, 2.5), (-1.7, 1.3)]),
    "gammainc": (gamma_cdf, 1, [(0.5, 0.3), (1, 2), (3.3, 4), (30, 25)]),
    "gammaincc": (lambda a, x: 1 - gamma_cdf(a, x), 1, [(0.5, 0.3), (1, 2), (3.3, 4), (30, 25)]),
    "gdtr": (lambda a, b, x: gamma_cdf(b, a * x), (1,), [(0.5, 1.2, 3.1)]),
    "gdtrc": (lambda a, b, x: 1 - gamma_cdf(b, a * x), (1,), [(0.5, 1.2, 3.1)]),
    "chdtr": (lambda v, x: gamma_cdf(v / 2, x / 2), 1, [(1, 0.3), (4, 5)]),
    "chdtrc": (lambda v, x: 1 - gamma_cdf(v / 2, x / 2), 1, [(1, 0.3), (4, 5)]),
    "pdtr": (lambda k, m: 1 - gamma_cdf(k + 1, m), 1, [(0, 0.3), (4, 5)]),
    "pdtrc": (lambda k, m: gamma_cdf(k + 1, m), 1, [(0, 0.3), (4, 5)]),
    "betainc": (beta_cdf, 2, [(0.5, 1.5, 0.2), (2, 3, 0.7)]),
    "betaincc": (lambda a, b, x: 1 - beta_cdf(a, b, x), 2, [(0.5, 1.5, 0.2), (2, 3, 0.7)]),
    "bdtr": (lambda k, n, p: 1 - beta_cdf(k + 1, n - k, p), 2, [(0, 3, 0.2), (4, 7, 0.4)]),
    "bdtrc": (lambda k, n, p: beta_cdf(k + 1, n - k, p), 2, [(0, 3, 0.2), (4, 7, 0.4)]),
    "nbdtr": (lambda k, n, p: beta_cdf(n, k + 1, p), 2, [(0, 3, 0.2), (4, 7, 0.5)]),
    "nbdtrc": (lambda k, n, p: 1 - beta_cdf(n, k + 1, p), 2, [(0, 3, 0.2), (4, 7, 0.5)]),
    "fdtr": (lambda n, d, x: beta_cdf(n / 2, d / 2, n * x / (d + n * x)), 2, [(2, 5, 0.7)]),
    "fdtrc": (lambda n, d, x: 1 - beta_cdf(n / 2, d / 2, n * x / (d + n * x)), 2, [(2, 5, 0.7)]),
    "stdtr": (t_cdf, 1, [(1, -2), (3.5, 0.4), (30, 1.5)]),
    # Bessel functions.
    "j0": (lambda x: mp.besselj(0, x), 0, [-3.1, 0.2, 2, 17]),
    "j1": (lambda x: mp.besselj(1, x), 0, [-3.1, 0.2, 2.3, 17]),
    "y0": (lambda x: mp.bessely(0, x), 0, [0.2, 2.5, 17]),
    "y1": (lambda x: mp.bessely(1, x), 0, [0.2, 2.5, 17]),
    "i0": (lambda x: mp.besseli(0, x), 0, [-3.1, 0.2, 2, 17]),
    "i1": (lambda x: mp.besseli(1, x), 0, [-3.1, 0.2, 2, 17]),
    "k0": (lambda x: mp.besselk(0, x), 0, [0.2, 2.5, 17]),
    "k1": (lambda x: mp.besselk(1, x), 0, [0.2, 2.5, 17]),
    "i0e": (lambda x: mp.exp(-abs(x)) * mp.besseli(0, x), 0, [-3.1, 0.2, 2, 17, 1e3]),
    "i1e": (lambda x: mp.exp(-abs(x)) * mp.besseli(1, x), 0, [-3.1, 0.2, 2, 17]),
    "k0e": (lambda x: mp.exp(x) * mp.besselk(0, x), 0, [0.2, 2.5, 17]),
    "k1e": (lambda x: mp.exp(x) * mp.besselk(1, x), 0, [0.2, 2.5, 17]),
    "jv": (mp.besselj, 1, [(0, 0.3), (1, 2.6), (2.5, 4), (-0.7, 3.1)]),
    "yv": (mp.bessely, 1, [(0, 0.3), (1, 2.6), (2.5, 4), (-0.7, 3.1)]),
    "yn": (mp.bessely, 1, [(0, 0.3), (1, 2.6), (4, 3)]),
    "iv": (mp.besseli, 1, [(0, 0.3), (1, 2.6), (2.5, 4), (-0.7, 3.1)]),
    "kv": (mp.besselk, 1, [(0, 0.3), (1, 2.6), (2.5, 4), (-0.7, 3.1)]),
    "kn": (mp.besselk, 1, [(0, 0.3), (1, 2.6), (4, 3)]),
    "jve": (mp.besselj, 1, [(0, 0.3), (2.5, 4)]),
    "yve": (mp.bessely, 1, [(0, 0.3), (2.5, 4)]),
    "ive": (lambda v, x: mp.exp(-abs(x)) * mp.besseli(v, x), 1, [(0, 0.3), (2.5, 4), (2, -3)]),
    "kve": (lambda v, x: mp.exp(x) * mp.besselk(v, x), 1, [(0, 0.3), (2.5, 4)]),
    "spherical_jn": (spherical(mp.besselj), 1, [(0, 0.3), (1, 2.5), (3, 4)]),
    "spherical_yn": (spherical(mp.bessely), 1, [(0, 0.3), (1, 2.5), (3, 4)]),
    "spherical_in": (spherical(mp.besseli), 1, [(0, 0.3), (1, 2.5), (3, 4)]),
    "spherical_kn": (spherical(mp.besselk), 1, [(0, 0.3), (1, 2.5), (3, 4)]),
    "airy 0": (mp.airyai, 0, [-3, 0.4, 2]),
    "airy 1": (lambda z: mp.airyai(z, derivative=1), 0, [-3, 0.4, 2]),
    "airy 2": (mp.airybi, 0, [-3, 0.4, 2]),
    "airy 3": (lambda z: mp.airybi(z, derivative=1), 0, [-3, 0.4, 2]),
    "ber": (kelvin(mp.ber), 0, [0, 0.4, 3, 5, 20]),
    "bei": (kelvin(mp.bei), 0, [0, 0.4, 3, 5, 20]),
    "ker": (kelvin(mp.ker), 0, [0.4, 3, 5]),
    "kei": (kelvin(mp.kei), 0, [0.4, 3, 5]),
    "berp": (lambda x: mp.diff(kelvin(mp.ber), x), 0, [0, 0.4, 3]),
    "beip": (lambda x: mp.diff(kelvin(mp.bei), x), 0, [0, 0.4, 3]),
    "kerp": (lambda x: mp.diff(kelvin(mp.ker), x), 0, [0.4, 3]),
    "keip": (lambda x: mp.diff(kelvin(mp.kei), x), 0, [0.4, 3]),
    "struve": (mp.struveh, 1, [(0, 0.4), (1.5, 3)]),
    "modstruve": (mp.struvel, 1, [(0, 0.4), (1.5, 3)]),
    "pbdv 0": (mp.pcfd, 1, [(0.4, 0.7), (1.5, -1.2)]),
    "pbvv 0": (lambda v, x: mp.pcfv(-v - half, x), 1, [(0.4, 0.7), (1.5, -1.2)]),
    "pbwa 0": (mp.pcfw, 1, [(0.4, 0.7), (-0.5, 1.2)]),
    "itj0y0 0": (lambda x: mp.quad(lambda t: mp.besselj(0, t), [0, x]), 0, [0.4, 3]),
    "iti0k0 0": (lambda x: mp.quad(lambda t: mp.besseli(0, t), [0, x]), 0, [0.4, 3]),
    # Elementary functions.
    "expit": (lambda x: 1 / (1 + mp.exp(-x)), 0, [-50, -1, 0.3, 2, 50]),
    "log_expit": (lambda x: -mp.log1p(mp.exp(-x)), 0, [-50, -1, 0.3, 2, 50]),
    "logit": (lambda x: mp.log(x / (1 - x)), 0, [1e-9, 0.1, 0.7]),
    "softplus": (lambda x: mp.log1p(mp.exp(x)), 0, [-20, -1, 0.3, 2]),
    "xlogy": (lambda x, y: x * mp.log(y), 0, [(0.5, 2), (-3, 0.1), (0, 2)]),
    "xlog1py": (lambda x, y: x * mp.log1p(y), 0, [(0.5, 2), (-3, 1e-9), (0, -0.5)]),
    "entr": (lambda x: -x * mp.log(x), 0, [1e-9, 0.1, 2]),
    "rel_entr": (lambda x, y: x * mp.log(x / y), 0, [(0.5, 2), (3, 0.1)]),
    "kl_div": (lambda x, y: x * mp.log(x / y) - x + y, 0, [(0.5, 2), (3, 0.1)]),
    "exp2": (lambda x: mp.mpf(2) ** x, 0, [-1, 3.3]),
    "expm1": (mp.expm1, 0, [1e-9, -1, 3.3]),
    "log1p": (mp.log1p, 0, [1e-9, -0.5, 3.3]),
    "cbrt": (mp.cbrt, 0, [0.1, 3.3]),
    "exp10": (lambda x: mp.mpf(10) ** x, 0, [-1, 3.3]),
    "exprel": (exprel, 0, [-700, -30, -1, -1e-7, 0, 1e-10, 0.1, 1, 30, 300]),
    "cosm1": (lambda x: mp.cos(x) - 1, 0, [-1, 1e-3, 3]),
    "powm1": (lambda x, y: x**y - 1, 0, [(0.5, 1.2), (3, 1e-6), (2, -3.3)]),
    "boxcox": (
        lambda x, p: mp.log(x) * exprel(p * mp.log(x)),
        0,
        [(0.5, 0.3), (3, 0), (2, 1e-9), (0.1, -2)],
    ),
    "boxcox1p": (
        lambda x, p: mp.log1p(x) * exprel(p * mp.log1p(x)),
        0,
        [(0.5, 0.3), (-0.7, 0), (1e-9, 1e-9), (3, -2)],
    ),
    "inv_boxcox": (
        lambda y, p: mp.exp(y * log1p_rel(p * y)),
        0,
        [(0.5, 0.3), (-0.7, 0), (1, 1e-9), (2, -0.3)],
    ),
    "inv_boxcox1p": (
        lambda y, p: mp.expm1(y * log1p_rel(p * y)),
        0,
        [(0.5, 0.3), (-0.7, 0), (1, 1e-9), (2, -0.3)],
    ),
    "sindg": (lambda x: mp.sin(mp.radians(x)), 0, [-100, 1, 200]),
    "cosdg": (lambda x: mp.cos(mp.radians(x)), 0, [-100, 1, 200]),
    "tandg": (lambda x: mp.tan(mp.radians(x)), 0, [-100, 1, 200]),
    "cotdg": (lambda x: mp.cot(mp.radians(x)), 0, [-100, 1, 200]),
    "radian": (lambda d, m, s: mp.radians(d + m / 60 + s / 3600), 0, [(12, 34, 56)]),
    "huber": (
        lambda d, r: r * r / 2 if abs(r) < d else d * (abs(r) - d / 2),
        0,
        [(1, 0.5), (0.7, -2), (0.7, 2)],
    ),
    "pseudo_huber": (
        lambda d, r: d * d * (mp.sqrt(1 + (r / d) ** 2) - 1),
        0,
        [(1, 0.5), (0.7, -2), (1, 1e-3), (0.2, 5)],
    ),
    "agm": (mp.agm, 0, [(1, 2), (3, 0.01), (1, 1), (50, 0.02)]),
    # Hypergeometric functions.
    "hyp0f1": (mp.hyp0f1, 1, [(0.5, 1.2), (3, -4)]),
    "hyp1f1": (mp.hyp1f1, 2, [(0.5, 1.2, 3), (3, 0.7, -4), (-2, 1, 0.5)]),
    "hyp2f1": (mp.hyp2f1, 3, [(0.5, 1.2, 2, 0.3), (3, 0.7, 1, -4), (-2, 1, 3, 0.5)]),
    "hyperu": (mp.hyperu, 2, [(0.5, 1.2, 0.3), (3, 0.7, 0.5)]),
    "wright_bessel": (wright, 2, [(0.5, 1.2, 0.3), (1.5, 2, 2)]),
    # Integrals and inverses.
    "expi": (mp.ei, 0, [-2, 0.3, 4]),
    "exp1": (mp.e1, 0, [0.3, 4, 50]),
    "expn": (mp.expint, 1, [(0, 0.3), (1, 2.5), (3, 0.7), (7, 10)]),
    "sici 0": (mp.si, 0, [-2, 0.3, 7]),
    "sici 1": (mp.ci, 0, [0.3, 7]),
    "shichi 0": (mp.shi, 0, [-2, 0.3, 7]),
    "shichi 1": (mp.chi, 0, [0.3, 7]),
    "spence": (lambda z: mp.re(mp.polylog(2, 1 - z)), 0, [1e-8, 0.1, 0.999, 1, 1.2, 7]),
    "ellipk": (mp.ellipk, 0, [-10, -0.3, 0, 1e-9, 0.5, 0.999]),
    "ellipe": (mp.ellipe, 0, [-10, -0.3, 0, 1e-9, 0.5, 0.999]),
    "ellipkm1": (lambda p: mp.ellipk(1 - p), 0, [1e-20, 1e-6, 0.3, 1, 5]),
    "ellipkinc": (mp.ellipf, (1,), [(0.5, 0.3), (2.5, -1)]),
    "ellipeinc": (mp.ellipe, (1,), [(0.5, 0.3), (2.5, -1)]),
    "ellipj 0": (lambda u, m: mp.ellipfun("sn", u, m=m), (1,), [(0.5, 0.3), (-2, 0.9)]),
    "ellipj 1": (lambda u, m: mp.ellipfun("cn", u, m=m), (1,), [(0.5, 0.3), (-2, 0.9)]),
    "ellipj 2": (lambda u, m: mp.ellipfun("dn", u, m=m), (1,), [(0.5, 0.3), (-2, 0.9)]),
    "wrightomega": (lambda z: mp.lambertw(mp.exp(z)).real, 0, [-3, 0.3, 10]),
    # Polynomials.
    "eval_legendre": (mp.legendre, 1, [(0, 0.3), (1, 0.3), (5, -0.7), (4, 1), (2.5, 0.2)]),
    "eval_chebyt": (mp.chebyt, 1, [(0, 0.3), (1, 0.3), (5, -0.7), (4, 1), (2.5, 0.2)]),
    "eval_chebyu": (mp.chebyu, 1, [(0, 0.3), (1, 0.3), (5, -0.7), (4, 0.9), (2.5, 0.2)]),
    "eval_gegenbauer": (mp.gegenbauer, 2, [(0, 1.5, 0.3), (5, 0.7, -0.7)]),
    "eval_jacobi": (mp.jacobi, 3, [(0, 1.5, 0.2, 0.3), (5, 0.7, -0.4, -0.7), (4, 1, 2, 1)]),
    "eval_laguerre": (lambda n, x: mp.laguerre(n, 0, x), 1, [(0, 0.3), (5, 1.7)]),
    "eval_genlaguerre": (mp.laguerre, 2, [(0, 0.5, 0.3), (5, 1.5, 1.7)]),
    "eval_hermite": (mp.hermite, 1, [(0, 0.3), (1, 0.5), (5, -0.7)]),
    "eval_hermitenorm": (
        lambda n, x: 2 ** (-n / 2) * mp.hermite(n, x / mp.sqrt(2)),
        1,
        [(0, 0.3), (1, 0.5), (5, -0.7)],
    ),
    "eval_chebyc": (lambda n, x: 2 * mp.chebyt(n, x / 2), 1, [(4, 0.3)]),
    "eval_chebys": (lambda n, x: mp.chebyu(n, x / 2), 1, [(4, 0.3)]),
    "eval_sh_legendre": (lambda n, x: mp.legendre(n, 2 * x - 1), 1, [(4, 0.3)]),
    "eval_sh_chebyt": (lambda n, x: mp.chebyt(n, 2 * x - 1), 1, [(4, 0.3)]),
    "eval_sh_chebyu": (lambda n, x: mp.chebyu(n, 2 * x - 1), 1, [(4, 0.3)]),
    "eval_sh_jacobi": (
        lambda n, p, q, x: mp.jacobi(n, p - q, q - 1, 2 * x - 1) / mp.binomial(2 * n + p - 1, n),
        3,
        [(4, 2.5, 1.5, 0.3)],
    ),
}
if not hasattr(special, "softplus"):  # before SciPy 1.17
    del FUNCTIONS["softplus"]

# Inverses of what is above, in the last operand: SciPy's name, that of the function.
INVERSES = {
    "gammaincinv": "gammainc",
    "gammainccinv": "gammaincc",
    "chdtri": "chdtrc",
    "pdtri": "pdtr",
    "betaincinv": "betainc",
    "betainccinv": "betaincc",
    "bdtri": "bdtr",
    "nbdtri": "nbdtr",
    "fdtri": "fdtr",
    "stdtrit": "stdtr",
}


EXACT_SINCE = {
    "inverse stdtrit": "1.17.0",
    "complex spence": "1.15.0",
    "complex hyp1f1": "1.15.0",
    "complex hyp2f1": "1.15.0",
    "matrix sqrtm": "1.15.0",
}


def skip_where_scipy_errs(what: str) -> None:
    since = EXACT_SINCE.get(what, "0.0.0")
    if NumpyVersion(scipy.__version__) < since:
        pytest.skip(f"SciPy's own answers have these digits since {since}")


def derivatives(f: Callable[..., Any], xs: list[Any], i: int) -> tuple[float, float]:
    """The engine's first and second derivative of `f(*xs)` by `xs[i]`."""
    x = Value(float(xs[i]))
    f(*xs[:i], x, *xs[i + 1 :]).backward(create_graph=True)
    first, x.grad = x.grad, None
    if first.requires_grad:
        first.backward()
    return float(first), 0.0 if x.grad is None else float(x.grad)


def function(name: str) -> Callable[..., Any]:
    """What a program calls: SciPy's own if that knows Values, else tensorgrad's."""
    name, _, i = name.partition(" ")
    if i:
        return part(name, int(i))
    own = getattr(special, name)
    return own if isinstance(own, np.ufunc) else getattr(tgs, name)


def assert_digits(found: float, expected: Any, what: Any) -> None:
    expected = float(mp.re(expected))
    assert abs(found - expected) <= 1e-12 * abs(expected) + 1e-40, (what, found, expected)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_first_and_second_derivative_have_twelve_digits(name: str) -> None:
    exact, constants, points = FUNCTIONS[name]
    fixed = range(constants) if isinstance(constants, int) else constants
    for point in points:
        xs = list(point) if isinstance(point, tuple) else [point]
        for i in set(range(len(xs))) - set(fixed):
            if (name, i) == ("multigammaln", 1):
                continue
            along = lambda x, i=i, xs=xs: exact(*map(mp.mpf, xs[:i]), x, *map(mp.mpf, xs[i + 1 :]))
            found = derivatives(function(name), xs, i)
            for order in (1, 2):
                expected = mp.diff(along, mp.mpf(xs[i]), order)
                assert_digits(found[order - 1], expected, (name, xs, i, order))


@pytest.mark.parametrize("name", INVERSES)
def test_the_derivative_of_an_inverse_is_the_reciprocal(name: str) -> None:
    """x(y) has x' = 1/y' and x'' = -y''/y'³."""
    skip_where_scipy_errs(f"inverse {name}")
    exact, _, points = FUNCTIONS[INVERSES[name]]
    for *shape, x in points:
        along = lambda x, shape=shape: exact(*map(mp.mpf, shape), x)
        slope, curvature = mp.diff(along, mp.mpf(x)), mp.diff(along, mp.mpf(x), 2)
        found = derivatives(getattr(special, name), [*shape, float(along(mp.mpf(x)))], len(shape))
        assert_digits(found[0], 1 / slope, (name, shape, x))
        assert_digits(found[1], -curvature / slope**3, (name, shape, x))


# The tests of every primitive, for those that SciPy brings; those of complex results are below.

COMPLEX = {"wofz", "hankel1", "hankel2", "hankel1e", "hankel2e", "lambertw"}
OURS = [
    op
    for name, op in registry.items()
    if op.arity and "scipy.special" in op.rules[0].__module__ and name not in COMPLEX
]


def in_closed_form(op: Primitive) -> list[int]:
    """The operands that have a rule."""
    return [i for i in range(op.arity or 0) if not isinstance(op.rules[i], Refused)]


def with_constants(op: Primitive, point: Any) -> Primitive:
    """`op` as a function of the operands that have a rule, the others taken from `point`."""
    free = in_closed_form(op)

    def full(xs: Any) -> list[Any]:
        given = iter(xs)
        return [next(given) if i in free else point[i] for i in range(op.arity or 0)]

    return Primitive(
        lambda *xs: op.forward(*full(xs)),
        [lambda g, out, *xs, i=i: op.rules[i](g, out, *full(xs)) for i in free],
        op.name,
        domain=op.domain._replace(interval=tuple(op.domain.of(i) for i in free), make=None),
        batch=op.batch,
    )


def checked() -> Iterator[tuple[str, Primitive]]:
    """SciPy's primitives; those with an order or a shape for the one of a point of the table."""
    for op in OURS:
        free = in_closed_form(op)
        if len(free) == op.arity:
            yield op.name, op
        elif free:
            row = INVERSES.get(op.name, op.name)
            *_, points = FUNCTIONS.get(row) or FUNCTIONS[f"{row} 0"]
            yield op.name, with_constants(op, points[-1])


CHECKED = dict(checked())
EXAMPLES = max(3, settings.default.max_examples // 12)  # the table above has the digits


@pytest.mark.hypothesis
@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.filterwarnings("ignore:non-integer arg n:DeprecationWarning")  # bdtr in float32
def test_every_rule_is_the_derivative(name: str) -> None:
    check_rule(CHECKED[name], EXAMPLES)


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.filterwarnings("ignore:non-integer arg n:DeprecationWarning")
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_vmap_is_a_loop(name: str, data: st.DataObject) -> None:
    with patch.dict(registry, {name: CHECKED[name]}):
        test_primitives.test_vmap_is_a_loop.hypothesis.inner_test(name, data)


@pytest.mark.parametrize("name", CHECKED)
@pytest.mark.filterwarnings("ignore:non-integer arg n:DeprecationWarning")
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_what_nobody_asks_for_adds_0(name: str, data: st.DataObject) -> None:
    with patch.dict(registry, {name: CHECKED[name]}), np.errstate(all="ignore"):
        for statement in (
            test_care.test_care_changes_no_bit_of_a_finite_gradient,
            test_care.test_whatever_an_operand_holds_a_cotangent_of_0_asks_nothing,
            test_care.test_a_singular_example_of_a_vmap_adds_0_and_leaves_the_others_alone,
        ):
            statement.hypothesis.inner_test(name, data)


@pytest.mark.parametrize(
    "f",
    [special.exprel, lambda x: special.boxcox(x, np.array([1.0, 1.0]))],
    ids=["exprel", "boxcox"],
)
def test_a_masked_infinity_is_computed_in_no_time(f: Any) -> None:
    """SciPy's hypergeometric function never returns from there."""
    x = np.array([np.inf, 2.0])
    with np.errstate(all="ignore"):
        found = tg.grad(lambda x: np.sum(np.where(x < 9, f(x), 0)))(x)
    assert found[0] == 0
    assert np.isfinite(found[1])


FAR = [0, 1, -1, 1e300, -1e300, np.inf, -np.inf, np.nan]
LOOPS = {"yn"}  # SciPy's own does not return from an order of 1e300


def differentiate_far_out() -> None:
    """Both derivatives at all combinations of FAR; names are printed before, and a loop in C is
    ended by a signal after five seconds of work."""
    np.seterr(all="ignore")
    special.seterr(all="ignore")  # the orders of some do not fit into memory
    for op in (op for op in registry.values() if op in OURS or op.name in COMPLEX):
        if op.name in LOOPS:
            continue
        print(op.name, flush=True)
        signal.setitimer(signal.ITIMER_PROF, 5)
        points = FAR if len(op.rules) < 4 else [0, 1e300, np.inf, np.nan]
        xs: list[Any] = [x.ravel() for x in np.meshgrid(*[points] * len(op.rules))]
        xs[1:] = [0, 1e-8] if op.name == "lambertw" else xs[1:]  # which branch, how exact
        for i in in_closed_form(op):
            x = Value(xs[i])
            y = np.sum(np.real(op(*xs[:i], x, *xs[i + 1 :])))
            y.backward(create_graph=True)
            if x.grad.requires_grad:
                x.grad.sum().backward()


def test_no_rule_asks_scipy_for_what_it_never_returns_from() -> None:
    code = "from tests.test_scipy import differentiate_far_out as f; f(); print('all')"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    *_, last = ran.stdout.split()
    assert (last, ran.returncode) == ("all", 0), (last, ran.returncode, ran.stderr)


# Complex numbers: the gradient of Re(w f(z)) is w f'(z), without a conjugate.

POINTS = (0.3 + 0.8j, 1.5 - 0.7j, -4.2 + 0.3j)
ANALYTIC: dict[Any, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "erf": (mp.erf, ()),
    "erfc": (mp.erfc, ()),
    "erfcx": (lambda z: mp.exp(z * z) * mp.erfc(z), ()),
    "erfi": (mp.erfi, ()),
    "dawsn": (lambda z: root_pi / 2 * mp.exp(-z * z) * mp.erfi(z), ()),
    "wofz": (wofz, ()),
    "ndtr": (cdf, ()),
    "log_ndtr": (lambda z: mp.log(cdf(z)), ()),
    "fresnel 0": (mp.fresnels, ()),
    "fresnel 1": (mp.fresnelc, ()),
    "gamma": (mp.gamma, ()),
    "loggamma": (mp.loggamma, ()),
    "rgamma": (mp.rgamma, ()),
    "digamma": (mp.digamma, ()),
    "jv": (mp.besselj, (1.5,)),
    "yv": (mp.bessely, (1.5,)),
    "iv": (mp.besseli, (1.5,)),
    "kv": (mp.besselk, (1.5,)),
    "kve": (lambda v, z: mp.exp(z) * mp.besselk(v, z), (1.5,)),
    "hankel1": (mp.hankel1, (1.5,)),
    "hankel2": (mp.hankel2, (1.5,)),
    "hankel1e": (lambda v, z: mp.exp(-1j * z) * mp.hankel1(v, z), (1.5,)),
    "hankel2e": (lambda v, z: mp.exp(1j * z) * mp.hankel2(v, z), (1.5,)),
    "spherical_jn": (spherical(mp.besselj), (2,)),
    "airy 0": (mp.airyai, ()),
    "airy 3": (lambda z: mp.airybi(z, derivative=1), ()),
    "expi": (mp.ei, ()),
    "exp1": (mp.e1, ()),
    "sici 0": (mp.si, ()),
    "sici 1": (mp.ci, ()),
    "shichi 0": (mp.shi, ()),
    "shichi 1": (mp.chi, ()),
    "spence": (lambda z: mp.polylog(2, 1 - z), ()),
    "lambertw": (mp.lambertw, ()),
    "wrightomega": (lambda z: mp.lambertw(mp.exp(z)), ()),
    "xlogy": (lambda x, z: x * mp.log(z), (0.3,)),
    "xlog1py": (lambda x, z: x * mp.log(1 + z), (0.3,)),
    "expm1": (mp.expm1, ()),
    "log1p": (lambda z: mp.log(1 + z), ()),
    "hyp0f1": (mp.hyp0f1, (1.5,)),
    "hyp1f1": (mp.hyp1f1, (0.5, 1.5)),
    "hyp2f1": (mp.hyp2f1, (0.5, 1.5, 2)),
    "eval_legendre": (mp.legendre, (3,)),
    "eval_jacobi": (mp.jacobi, (3, 0.5, 1.5)),
}


@pytest.mark.parametrize("name", ANALYTIC)
def test_complex_gradients_are_derivatives_without_a_conjugate(name: str) -> None:
    skip_where_scipy_errs(f"complex {name}")
    exact, constants = ANALYTIC[name]
    for point, w in zip(POINTS, POINTS[::-1], strict=True):
        z = Value(point)
        function(name)(*constants, z).backward(w, create_graph=True)
        first, z.grad = z.grad, None
        along = lambda z: exact(*map(mp.mpf, constants), z)
        expected = [complex(w * mp.diff(along, mp.mpc(point), n)) for n in (1, 2)]
        first.backward()
        assert first.data == pytest.approx(expected[0], rel=1e-12)
        assert z.grad == pytest.approx(expected[1], rel=1e-11)


@pytest.mark.parametrize("name", ["jve", "yve", "ive"])
def test_gradients_of_functions_that_are_not_analytic(name: str) -> None:
    """∂f/∂x - i ∂f/∂y of a real f, here Re(w · e^-|y| J(z)) and the like."""
    f, w, h = getattr(special, name), 0.7 - 0.4j, 1e-4
    for at in (0.8 + 0.6j, -1.2 + 0.5j, 0.7 - 1.1j):
        z = Value(at)
        f(1.5, z).backward(w)
        real = lambda d, at=at: (w * f(1.5, at + d)).real
        along = [
            (8 * (real(d) - real(-d)) - real(2 * d) + real(-2 * d)) / 12 / h for d in (h, 1j * h)
        ]
        assert z.grad == pytest.approx(along[0] - 1j * along[1], rel=1e-10)


# Functions that SciPy writes in Python.

DATA = np.random.default_rng(0).normal(size=(2, 3))
WEIGHTS = np.array([[0.5, -0.2, 0.0], [2.0, 1.0, -0.3]])
PYTHON = {
    "softmax": [{}, {"axis": 0}, {"axis": -1}, {"axis": (0, 1)}],
    "log_softmax": [{}, {"axis": 0}, {"axis": -1}, {"axis": (0, 1)}],
    "logsumexp": [
        {},
        {"axis": 1},
        {"axis": (0, 1), "keepdims": True},
        {"axis": 0, "b": np.abs(WEIGHTS)},
        {"b": 2.0, "keepdims": True},
        {"axis": 1, "b": WEIGHTS, "return_sign": True},
        {"return_sign": True},
    ],
    "multigammaln": [{"d": 1}, {"d": 3}],
}


@pytest.mark.parametrize("name", PYTHON)
def test_functions_written_in_python_agree_with_scipy(name: str) -> None:
    first = lambda r: r[0] if isinstance(r, tuple) else r
    for arguments in PYTHON[name]:
        x = DATA + 5 if name == "multigammaln" else DATA
        own, ours = getattr(special, name), getattr(tgs, name)
        found, expected = ours(Value(x), **arguments), own(x, **arguments)
        for f, e in zip(found, expected) if isinstance(expected, tuple) else [(found, expected)]:
            assert np.shape(f) == np.shape(e)
            np.testing.assert_allclose(f.data, e, rtol=1e-13)
        np.testing.assert_allclose(first(ours(x, **arguments)), first(expected), rtol=1e-13)
        assert_gradient(lambda x, a=arguments, f=ours: first(f(x, **a)), x, order=2)


MADE_OF_OTHERS = {
    "voigt_profile": (0.5, 1.2, 0.3),
    "nrdtrimn": (0.3, 2.0, 1.0),
    "nrdtrisd": (2.0, 0.3, 1.0),
    "gdtrix": (0.7, 1.5, 0.3),
    "gdtria": (0.3, 1.5, 0.7),
    "zeta": (2.5,),
    "polygamma": (2, 1.3),
    "factorial": (3.5,),
    "eval_laguerre": (3, 0.4),
    "eval_chebyc": (3, 0.4),
    "eval_chebys": (3, 0.4),
    "eval_sh_legendre": (3, 0.4),
    "eval_sh_chebyt": (3, 0.4),
    "eval_sh_chebyu": (3, 0.4),
    "eval_sh_jacobi": (3, 2.5, 1.5, 0.4),
}


@pytest.mark.parametrize("name", MADE_OF_OTHERS)
def test_functions_made_of_others_agree_with_scipy(name: str) -> None:
    *first, last = MADE_OF_OTHERS[name]
    expected = getattr(special, name)(*first, last)
    for x in (last, Value(last)):
        assert float(getattr(tgs, name)(*first, x)) == pytest.approx(expected, rel=1e-13)
    if name != "zeta":
        assert_gradient(lambda x: getattr(tgs, name)(*first, x), last, order=2)


def test_weights_of_a_logsumexp_have_their_gradient_also_where_they_are_zero() -> None:
    """∂/∂b ln Σ b eᵃ = eᵃ / Σ b eᵃ; an infinite a without weight takes no part."""
    a, b = Value([1.0, 2.0, 3.0]), Value([1.0, 2.0, 0.0])
    tgs.logsumexp(a, b=b).backward()
    total = np.e + 2 * np.e**2
    np.testing.assert_allclose(b.grad, np.exp([1, 2, 3]) / total, rtol=1e-14)
    np.testing.assert_allclose(a.grad, [np.e / total, 2 * np.e**2 / total, 0], rtol=1e-14)
    assert tgs.logsumexp(Value([0.0, np.inf]), b=[1, 0]).data == 0
    assert np.isnan(tgs.logsumexp(Value([0.0, 1.0]), b=[1, -1]).data)


def test_derivatives_of_spherical_bessel_functions_by_their_argument() -> None:
    for name in ("spherical_jn", "spherical_yn", "spherical_in", "spherical_kn"):
        own, ours = getattr(special, name), getattr(tgs, name)
        n, x = np.arange(4), np.array([0.3, 1.2, 2.5, 4.0])
        np.testing.assert_allclose(ours(n, x, True), own(n, x, derivative=True), rtol=1e-12)
        assert_gradient(lambda x, f=ours, n=n: f(n, x, derivative=True), x)


# Choices, edges, errors.


@pytest.mark.parametrize(
    ("f", "at", "slopes"),
    [
        (special.xlogy, (0.0, 0.0), (0, 0)),
        (special.xlogy, (0.0, 2.0), (np.log(2), 0)),
        (special.xlog1py, (0.0, -1.0), (0, 0)),
        (special.rel_entr, (0.0, 0.0), (0, 0)),
        (special.kl_div, (0.0, 0.0), (0, 0)),
        (special.kl_div, (0.0, 2.0), (-np.inf, 1)),
        (special.entr, (0.0,), (np.inf,)),
        (special.i0e, (0.0,), (0,)),
        (special.i1e, (0.0,), (0.5,)),
        (lambda x: special.ive(0, x), (0.0,), (0,)),
        (lambda x: special.jve(0, x), (2.0,), (-special.j1(2.0),)),  # e^-|y| at y = 0
        (lambda x: special.yve(0, x), (2.0,), (-special.y1(2.0),)),
        (special.huber, (1.0, 1.0), (0, 1)),
        (special.huber, (1.0, -1.0), (0, -1)),
        (special.gammasgn, (-0.5,), (0,)),
        (special.round, (2.5,), (0,)),
        (special.logit, (0.0,), (np.inf,)),
        (special.erfinv, (1.0,), (np.inf,)),
        (special.ndtri, (0.0,), (np.inf,)),
        (lambda x: special.gammainc(1, x), (0.0,), (1,)),
        (lambda x: special.betainc(1, 1, x), (0.0,), (1,)),
        (special.rgamma, (-3.0,), (-6,)),
        (special.j1, (0.0,), (0.5,)),
        (special.exprel, (0.0,), (0.5,)),
        (special.log_ndtr, (-np.inf,), (np.inf,)),
        (special.expit, (np.inf,), (0,)),
        (tgs.factorial, (-1.0,), (0,)),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_slopes_at_corners_and_edges(f: Any, at: Any, slopes: Any) -> None:
    xs = [Value(x) for x in at]
    f(*xs).backward()
    assert [x.grad for x in xs] == pytest.approx(slopes, rel=1e-14)


def test_the_arithmetic_geometric_mean_is_scipys_at_any_magnitude() -> None:
    for scale in (1e-300, 1e-160, 1e200, 1e300, -2.0):
        a, b = Value(scale), Value(2 * scale)
        mean = special.agm(a, b)
        mean.backward()
        assert mean.data == special.agm(scale, 2 * scale)
        slopes = tg.grad(special.agm, (0, 1))(1.0, 2.0)
        assert (a.grad, b.grad) == pytest.approx(slopes, rel=1e-13)


def test_quotients_of_gamma_functions_between_two_poles_are_polynomials() -> None:
    z, b = -5.0, -5.0
    rising = lambda z: special.poch(z, 2)  # z (z + 1)
    assert tg.grad(rising)(z) == pytest.approx(2 * z + 1, rel=1e-13)
    assert tg.grad(tg.grad(rising))(z) == pytest.approx(2, rel=1e-12)
    by_b = lambda b: special.beta(3, b)  # 2 / (b (b + 1) (b + 2))
    slope = -2 * (3 * b**2 + 6 * b + 2) / (b * (b + 1) * (b + 2)) ** 2
    assert tg.grad(by_b)(b) == pytest.approx(slope, rel=1e-13)
    logarithm = -(1 / b + 1 / (b + 1) + 1 / (b + 2))
    assert tg.grad(lambda b: special.betaln(3, b))(b) == pytest.approx(logarithm, rel=1e-13)


@pytest.mark.parametrize(
    ("f", "at", "expected"),
    [
        (lambda x: special.gammainc(1, x), 0.0, (1, -1, 1)),  # 1 - e^-x
        (lambda x: special.gammainc(2, x), 0.0, (0, 1, -2)),  # 1 - (1 + x) e^-x
        (lambda x: special.gammaincc(3, x), 0.0, (0, 0, -1)),
        (lambda x: special.gammainc(2.5, x), 0.0, (0, 0, np.inf)),
        (lambda x: special.gammainc(2.5, x), np.inf, (0, 0, 0)),
        (lambda x: special.chdtr(4, x), 0.0, (0, 0.25, -0.25)),
        (lambda x: special.chdtrc(2, x), 0.0, (-0.5, 0.25, -0.125)),
        (lambda x: special.pdtr(1, x), 0.0, (0, -1, 2)),
        (lambda x: special.gdtr(3.0, 2, x), 0.0, (0, 9, -54)),
        (lambda x: special.gdtr(x, 2, 3.0), 0.0, (0, 9, -54)),
        (lambda x: special.betainc(1, 1, x), 0.0, (1, 0, 0)),
        (lambda x: special.betainc(2, 2, x), 0.0, (0, 6, -12)),  # 3x² - 2x³
        (lambda x: special.betainc(2, 2, x), 1.0, (0, -6, -12)),
        (lambda x: special.betaincc(3, 1, x), 0.0, (0, 0, -6)),  # 1 - x³
        (lambda x: special.betainc(3, 1, x), 1.0, (3, 6, 6)),
        (lambda x: special.bdtr(1, 3, x), 0.0, (0, -6, 12)),
        (lambda x: special.bdtr(1, 3, x), 1.0, (0, 6, 12)),
        (lambda x: special.nbdtr(1, 2, x), 0.0, (0, 6, -12)),
        (lambda x: special.fdtr(4, 4, x), 0.0, (0, 6, -48)),
    ],
)
def test_derivatives_of_distributions_where_they_begin_and_end(
    f: Any, at: float, expected: Any
) -> None:
    for slope in expected:
        f = tg.grad(f)
        with np.errstate(all="ignore"):
            assert f(at) == pytest.approx(slope, rel=1e-13)


@pytest.mark.parametrize(
    ("f", "inside", "outside"),
    [
        (special.entr, 0.5, 0.0),
        (special.logit, 0.5, 1.0),
        (special.erfinv, 0.5, 1.0),
        (special.ndtri, 0.5, 0.0),
        (special.expi, 0.5, 0.0),
        (lambda x: special.xlogy(2.0, x), 0.5, 0.0),
        (lambda x: special.rel_entr(x, 1.0), 0.5, 0.0),
        (lambda x: special.log_ndtr(x), 0.5, 60.0),
    ],
)
def test_a_branch_that_is_masked_out_adds_0_at_both_orders(
    f: Any, inside: float, outside: float
) -> None:
    x = Value([inside, outside])
    y = np.where([True, False], f(x), 0.0)
    y.backward([1.0, 1.0], create_graph=True)
    first, x.grad = x.grad, None
    first.backward([1.0, 1.0])
    assert first.data[0] == pytest.approx(derivatives(f, [inside], 0)[0], rel=1e-14)
    assert x.grad[0] == pytest.approx(derivatives(f, [inside], 0)[1], rel=1e-14)
    assert (first.data[1], x.grad[1]) == (0, 0)


def test_second_derivative_of_log_ndtr_where_the_scaled_error_function_overflows() -> None:
    assert derivatives(special.log_ndtr, [60.0], 0) == (0, 0)
    assert derivatives(special.log_ndtr, [-1e6], 0) == pytest.approx((1e6, -1), rel=1e-11)


def test_an_order_or_shape_that_requires_grad_is_an_error_that_names_it() -> None:
    x = Value(0.5)
    y = special.jv(x, 2.0)
    with pytest.raises(TypeError, match=r"jv: its derivative by v has no closed form"):
        y.backward()
    assert x.grad is None
    special.jv(x.detach(), Value(2.0)).backward()
    with pytest.raises(TypeError, match=r"gammainc: its derivative by a"):
        special.gammainc(x, x).backward()


@pytest.mark.parametrize("keyword", ["out", "where", "dtype", "casting"])
def test_arguments_that_rules_do_not_know_are_named(keyword: str) -> None:
    given = {"out": np.empty(()), "where": np.array(True), "dtype": float, "casting": "no"}[keyword]
    for f in (special.erf, special.sici, lambda x, **kw: special.jv(0, x, **kw)):
        with pytest.raises(TypeError, match=keyword):
            f(Value(0.5), **{keyword: given})


def test_float32_stays_float32() -> None:
    for f in (special.erf, special.erfcx, special.gammaln, special.i0e, special.exprel):
        x = Value(np.float32([0.5, 1.5]))
        y = f(x)
        y.backward([1, 1])
        assert (y.dtype, x.grad.dtype) == (np.float32, np.float32)


def test_scipy_functions_without_a_rule_are_errors() -> None:
    with pytest.raises(TypeError, match="mathieu_a has no gradient rule"):
        special.mathieu_a(1, Value(0.5))
    with pytest.raises(AttributeError, match="mathieu_a has no gradient rule"):
        _ = tgs.mathieu_a
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tgs.nothing


# Linear algebra.

TRIANGLE = np.array([[2.0, -0.5, 0.3], [0.7, 1.5, -1.2], [-0.4, 0.9, 3.0]])
SIDES = np.random.default_rng(1).normal(size=(3, 2))
SMALL = TRIANGLE[:2, :2]
MATRIX_FUNCTIONS = [
    *("expm", "logm", "sqrtm"),
    *("sinm", "cosm", "tanm", "sinhm", "coshm", "tanhm"),
]


@pytest.mark.parametrize("trans", [0, 1, "T", "C"])
@pytest.mark.parametrize("lower", [False, True])
def test_triangular_systems(trans: Any, lower: bool) -> None:
    for how in ({}, {"unit_diagonal": True, "overwrite_b": True, "check_finite": False}):
        f = lambda a, b, h=how: tgl.solve_triangular(a, b, trans, lower, **h)
        for b in (SIDES, SIDES[:, 0]):
            expected = linalg.solve_triangular(TRIANGLE, b.copy(), trans, lower, **how)
            found = f(Value(TRIANGLE), Value(b)).data
            np.testing.assert_allclose(found, expected, rtol=1e-13)  # BLAS rounds as it likes
            assert_gradient(f, TRIANGLE, b)
        assert_gradient(f, TRIANGLE[:2, :2], SIDES[:2, 0], order=2)


def test_stacks_of_triangular_systems_may_share_a_vector() -> None:
    stack, b = np.stack([TRIANGLE, 2 * TRIANGLE]), SIDES[:, 0]
    try:
        expected = linalg.solve_triangular(stack, b)
    except ValueError:
        pytest.skip("this SciPy takes single systems only")
    np.testing.assert_allclose(tgl.solve_triangular(Value(stack), b).data, expected, rtol=1e-12)
    assert_gradient(tgl.solve_triangular, stack, b)


def test_complex_triangular_systems() -> None:
    """The gradient of Re Σ w x by b is A⁻ᵀ w, by A its outer product with -x; of Aᴴ that of A̅ᵀ."""
    A, w = np.triu(TRIANGLE + 0.3j * TRIANGLE.T), SIDES[:, 0] + 0.5j
    for trans, matrix in ((0, A), (1, A.T), (2, A.conj().T)):
        a, b = Value(A), Value(SIDES[:, 1] + 1j)
        x = tgl.solve_triangular(a, b, trans)
        x.backward(w)
        adjoint = np.linalg.solve(matrix.T, w)
        np.testing.assert_allclose(b.grad, adjoint, rtol=1e-12)
        outer = -np.outer(adjoint, x.data)
        by_a = {0: outer, 1: outer.T, 2: outer.T.conj()}[trans]
        np.testing.assert_allclose(a.grad, np.triu(by_a), rtol=1e-12)


def test_the_other_triangle_is_not_read() -> None:
    a = Value(TRIANGLE)
    tgl.solve_triangular(a, SIDES).sum().backward()
    assert (a.grad == np.triu(a.grad)).all()


def test_cho_solve_solves_the_system_that_was_factored() -> None:
    for lower in (False, True):
        f = lambda c, b, lower=lower: tgl.cho_solve((c, lower), b)
        expected = linalg.cho_solve((TRIANGLE, lower), SIDES)
        np.testing.assert_allclose(f(Value(TRIANGLE), SIDES).data, expected, rtol=1e-13)
        assert_gradient(f, SMALL, SIDES[:2], order=2)


@pytest.mark.parametrize(
    "l_and_u", [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 1), (1, 3)]
)
def test_banded_systems(l_and_u: tuple[int, int]) -> None:
    lower, upper = l_and_u
    rng = np.random.default_rng(0)
    ab, b = rng.normal(size=(lower + upper + 1, 4)), rng.normal(size=(4, 2))
    ab[upper] += 4
    for sides in (b, b[:, 0]):
        f = lambda ab, b: tgl.solve_banded(l_and_u, ab, b, overwrite_b=True)
        expected = linalg.solve_banded(l_and_u, ab, sides)
        np.testing.assert_allclose(f(Value(ab), sides).data, expected, rtol=1e-13)
        assert_gradient(f, ab, sides, order=2)
    v = Value(ab)
    tgl.solve_banded(l_and_u, v, b).sum().backward()
    dense = sum(
        np.diag(ab[upper - d, max(d, 0) : 4 + min(d, 0)], d) for d in range(-lower, upper + 1)
    )
    adjoint = np.linalg.solve(dense.T, np.ones((4, 2)))
    by_entry = -adjoint @ np.linalg.solve(dense, b).T
    for d in range(-lower, upper + 1):  # the diagonals of -A⁻ᵀ g xᵀ, and nothing beside them
        row = np.zeros(4)
        row[max(d, 0) : 4 + min(d, 0)] = np.diag(by_entry, d)
        np.testing.assert_allclose(v.grad[upper - d], row, rtol=1e-9, atol=1e-13)


def test_sylvester_equation() -> None:
    b = np.array([[1.0, 0.4], [-0.3, 2.0]])
    assert_gradient(tgl.solve_sylvester, SMALL, b, SIDES[:2], order=2)


@pytest.mark.parametrize(("m", "n"), [(0, 0), (0, 2), (2, 0)])
def test_systems_of_empty_matrices_have_empty_gradients(m: int, n: int) -> None:
    operands = np.eye(m), np.eye(n), np.zeros((m, n))
    found = tg.grad(lambda *xs: np.sum(tgl.solve_sylvester(*xs)), (0, 1, 2))(*operands)
    for g, x in zip(found, operands, strict=True):
        np.testing.assert_array_equal(g, 0 * x)
    assert tg.grad(lambda a: np.sum(np.linalg.pinv(a)))(np.zeros((m, n))).shape == (m, n)


@pytest.mark.parametrize("name", MATRIX_FUNCTIONS)
def test_functions_of_matrices(name: str) -> None:
    skip_where_scipy_errs(f"matrix {name}")
    f = getattr(tgl, name)
    A = SMALL @ SMALL.T / 4 + SMALL / 5
    np.testing.assert_allclose(f(Value(A)).data, getattr(linalg, name)(A), rtol=1e-13)
    assert_gradient(f, A, order=2)
    w = SIDES[:2] + 1j * SMALL  # complex: d/dt Re(w f(A + tE)) = Re(ΣE·grad)
    Z = Value(A + 0.1j * SIDES[1:])
    f(Z).backward(w)
    for E in (SMALL.T, 1j * SMALL):
        h = 1e-4
        real = lambda t, E=E: np.sum(w * f(Z.data + t * E)).real
        along = (8 * (real(h) - real(-h)) - real(2 * h) + real(-2 * h)) / 12 / h
        assert np.sum(E * Z.grad).real == pytest.approx(along, rel=1e-8)


@pytest.mark.parametrize("eigenvalues", [[-1, 2, 3], [-1, -2, 3], [-4, -1, -2]])
@pytest.mark.parametrize("name", ["sqrtm", "logm"])
@pytest.mark.filterwarnings("ignore:logm result may be inaccurate:RuntimeWarning")
def test_negative_eigenvalues_stay_on_their_side_of_the_cut(name: str, eigenvalues: Any) -> None:
    """Of a real matrix they are real, and its root and logarithm are smooth."""
    A = TRIANGLE @ np.diag(eigenvalues).astype(float) @ np.linalg.inv(TRIANGLE)
    E = TRIANGLE @ np.diag([1.0, 2.0, 4.0]) @ np.linalg.inv(TRIANGLE)
    w = TRIANGLE + 1j * TRIANGLE.T
    f = lambda A: np.sum(np.real(w * getattr(tgl, name)(A)))
    line = lambda t: f(A + t * E)
    assert_gradient(line, 0.0, order=2)
    slope = tg.grad(line)
    assert tg.jvp(line, (0.0,), (1.0,))[1] == pytest.approx(slope(0.0), rel=1e-9)
    assert tg.jvp(slope, (0.0,), (1.0,))[1] == pytest.approx(tg.grad(slope)(0.0), rel=1e-9)


def test_expm_of_stacks_and_of_cotangents_of_any_size() -> None:
    assert_gradient(tgl.expm, np.stack([TRIANGLE, -TRIANGLE]) / 3)
    grads = []
    for scale in (1e-8, 1, 1e8):
        A = Value(TRIANGLE)
        tgl.expm(A).backward(scale * TRIANGLE.T)
        grads.append(A.grad / scale)
    frechet = linalg.expm_frechet(TRIANGLE.T, TRIANGLE.T, compute_expm=False)
    for found in grads:
        np.testing.assert_allclose(found, frechet, rtol=1e-11)


# SciPy is loaded when it is used.


def run(code: str, **how: Any) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        **how,
    ).stdout


def test_scipy_is_not_imported_before_it_is_used() -> None:
    code = """
import sys, tensorgrad as tg
from tensorgrad.engine.primitive import registry
assert "scipy" not in sys.modules
before = dict(registry)
import scipy.special
assert "tensorgrad.scipy" not in sys.modules
x = tg.Value(0.0)
scipy.special.erf(x).backward()
print(round(float(x.grad), 6))
assert "tensorgrad.scipy" in sys.modules
assert all(registry[name] is op for name, op in before.items())  # no name is taken away
"""
    assert run(code).split() == ["1.128379"]


def test_without_scipy_the_error_names_the_extra() -> None:
    code = """
import sys
sys.modules["scipy"] = None
try:
    import tensorgrad.scipy
except ImportError as error:
    print(error)
"""
    assert run(code) == "tensorgrad.scipy needs SciPy: pip install 'tensorgrad-engine[scipy]'\n"


def test_scipys_array_interface_changes_nothing() -> None:
    code = """
import numpy as np, scipy.special as sc, tensorgrad as tg
a = np.array([0.1, 0.2, 0.3])
functions = [
    sc.gammaln,
    sc.erf,
    lambda x: sc.jv(1, x),
    lambda x: sc.xlogy(x, a),
    lambda x: sc.betainc(a, 2.0, x),
    tg.scipy.special.logsumexp,
    tg.scipy.special.expit,
]
for f in functions:
    print(tg.grad(lambda x: np.sum(f(x)))(a), tg.hessian(lambda x: np.sum(f(x)))(a))
print(tg.vmap(sc.erf)(a), dir(tg.scipy.special))
"""
    environment = {**os.environ, "SCIPY_ARRAY_API": "1"}
    assert run(code, env=environment) == run(code)


@pytest.mark.parametrize("name", ["xlogy", "xlog1py", "boxcox", "boxcox1p", "huber", "owens_t"])
def test_a_constant_of_small_integers_counts_as_the_same_floats(name: str) -> None:
    f, x = getattr(special, name), np.array([0.5, 1.25, 2.0])
    c = np.array([200, 3, 17], np.uint8)
    for of in (lambda x, c: np.sum(f(x, c)), lambda x, c: np.sum(f(c, x))):
        np.testing.assert_allclose(
            tg.grad(of)(x, c), tg.grad(of)(x, c.astype(float)), rtol=1e-12, atol=1e-300
        )
