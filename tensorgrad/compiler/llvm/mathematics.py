"""exp, log, tanh and their like as a few multiplications and additions, written in line into a
loop, which LLVM then makes one of vectors. Errors are below 2 units in the last place.

A multiplication and the addition after it may become one operation (`contract`), which rounds once.
Nothing else of IEEE 754 is given up: infinities, NaN and -0.0 are NumPy's, subnormals are kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir

FLAGS = ("contract",)
BOOL, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)
F32, F64 = ir.FloatType(), ir.DoubleType()


class Term:
    """A number in the code that is being written: arithmetic with it writes an instruction."""

    __slots__ = ("b", "v")

    def __init__(self, b: Any, v: Any) -> None:
        self.b, self.v = b, v

    def like(self, x: Any) -> Any:
        """A term, or a number of this one's type."""
        return x.v if isinstance(x, Term) else ir.Constant(self.v.type, x)

    def real(self) -> bool:
        return not isinstance(self.v.type, ir.IntType)

    def bits(self) -> int:
        return self.v.type.width if not self.real() else 32 if self.v.type == F32 else 64

    def do(self, name: str, x: Any, y: Any) -> Term:
        x, y = self.like(x), self.like(y)
        if self.real():
            return Term(self.b, getattr(self.b, f"f{name}")(x, y, flags=FLAGS))
        return Term(self.b, getattr(self.b, name)(x, y))

    def __add__(self, x: Any) -> Term:
        return self.do("add", self, x)

    def __sub__(self, x: Any) -> Term:
        return self.do("sub", self, x)

    def __mul__(self, x: Any) -> Term:
        return self.do("mul", self, x)

    def __truediv__(self, x: Any) -> Term:
        return self.do("div", self, x)

    def __radd__(self, x: Any) -> Term:
        return self.do("add", x, self)

    def __rsub__(self, x: Any) -> Term:
        return self.do("sub", x, self)

    def __rmul__(self, x: Any) -> Term:
        return self.do("mul", x, self)

    def __rtruediv__(self, x: Any) -> Term:
        return self.do("div", x, self)

    def __neg__(self) -> Term:
        return Term(self.b, self.b.fneg(self.v) if self.real() else self.b.neg(self.v))

    def __lshift__(self, n: int) -> Term:
        return Term(self.b, self.b.shl(self.v, self.like(n)))

    def __rshift__(self, n: int) -> Term:
        return Term(self.b, self.b.ashr(self.v, self.like(n)))

    def __and__(self, x: Any) -> Term:
        return Term(self.b, self.b.and_(self.v, self.like(x)))

    def __or__(self, x: Any) -> Term:
        return Term(self.b, self.b.or_(self.v, self.like(x)))

    def compare(self, sign: str, x: Any, unsigned: bool = False) -> Term:
        """Whether; False where one is NaN, but for `!=`."""
        x = self.like(x)
        if not self.real():
            write = self.b.icmp_unsigned if unsigned else self.b.icmp_signed
            return Term(self.b, write(sign, self.v, x))
        write = self.b.fcmp_unordered if sign == "!=" else self.b.fcmp_ordered
        return Term(self.b, write(sign, self.v, x))

    def __lt__(self, x: Any) -> Term:
        return self.compare("<", x)

    def __gt__(self, x: Any) -> Term:
        return self.compare(">", x)

    def __ge__(self, x: Any) -> Term:
        return self.compare(">=", x)

    def is_(self, x: Any) -> Term:
        return self.compare("==", x)

    def is_nan(self) -> Term:
        return Term(self.b, self.b.fcmp_unordered("uno", self.v, self.v))

    def as_bits(self) -> Term:
        """The number's bits, as an integer; of an integer, the number that has them."""
        wide = self.bits() == 64
        kind = (I64 if wide else I32) if self.real() else F64 if wide else F32
        return Term(self.b, self.b.bitcast(self.v, kind))

    def call(self, name: str, *others: Any) -> Term:
        """A function that LLVM has."""
        kind = self.v.type
        kinds = [kind] * (1 + len(others))
        f = self.b.module.declare_intrinsic(f"llvm.{name}", [kind], ir.FunctionType(kind, kinds))
        return Term(self.b, self.b.call(f, [self.v, *map(self.like, others)], fastmath=FLAGS))

    def to(self, kind: Any) -> Term:
        """A real number of another type; of an integer the real number."""
        if self.v.type == kind:
            return self
        write = self.b.sitofp if not self.real() else self.b.fpext
        return Term(
            self.b, (self.b.fptrunc if self.real() and kind == F32 else write)(self.v, kind)
        )


def where(chosen: Term, x: Any, y: Any) -> Term:
    kind = x if isinstance(x, Term) else y  # numbers are of the other's type
    return Term(chosen.b, chosen.b.select(chosen.v, kind.like(x), kind.like(y)))


def least(x: Term, most: Any) -> Term:
    """The smaller one; NaN if `x` is."""
    return where(x > most, most, x)


def most(x: Term, least: Any) -> Term:
    """The larger one; NaN if `x` is."""
    return where(x < least, least, x)


def absolute(x: Term) -> Term:
    return x.call("fabs")


def with_sign(x: Term, sign: Term) -> Term:
    return x.call("copysign", sign)


def sqrt(x: Term) -> Term:
    return x.call("sqrt")


def polynomial(x: Term, coefficients: Sequence[float]) -> Term:
    """Horner's, the highest power first."""
    first, *rest = coefficients
    p = Term(x.b, x.like(first))
    for c in rest:
        p = x * p + c
    return p


# e^x = 2^k e^r, |r| <= ln 2 / 2. (e^r - 1 - r) / r² is a polynomial: a Chebyshev fit.

LOG2E = math.log2(math.e)
LN2 = {
    32: (0.693359375, -2.12194440e-4),
    64: (6.93147180369123816490e-1, 1.90821492927058770002e-10),
}
"""ln 2 in two parts, the first of which has zeros at its end."""
MAGIC = {32: 1.5 * 2**23, 64: 1.5 * 2**52}
"""What has the unit for its last bit: a number that is added to it is rounded."""
DIGITS = {32: 23, 64: 52}
BIAS = {32: 127, 64: 1023}
EXP = {
    32: (
        *(0.00019891030654370327, 0.0013933685862617174, 0.008333310889582076),
        *(0.04166646460202654, 0.16666666681659179, 0.5000000013498178),
    ),
    64: (
        *(2.0914717341716378e-09, 2.5105259538448494e-08, 2.755727357010214e-07),
        *(2.7557255297969643e-06, 2.4801587325605324e-05, 0.0001984126987490126),
        *(0.001388888888888373, 0.008333333333326112, 0.04166666666666667),
        *(0.1666666666666667, 0.5),
    ),
}
EXP_ENDS = {32: (-104.0, 89.0), 64: (-746.0, 710.0)}
"""Beyond them it is 0, or infinite."""


def power_of_two(k: Term) -> Term:
    """2^k of an integer, where that is a normal number."""
    bits = k.bits()
    return ((k + BIAS[bits]) << DIGITS[bits]).as_bits()


def scaled(x: Term, k: Term) -> Term:
    """2^k x, where 2^k itself may be too large, or subnormal."""
    if "avx512f" in getattr(x.b.module, "features", ()):  # one instruction, for all of a vector
        kind = x.v.type
        kinds = [kind, k.v.type]
        f = x.b.module.declare_intrinsic("llvm.ldexp", kinds, ir.FunctionType(kind, kinds))
        return Term(x.b, x.b.call(f, [x.v, k.v]))
    half = k >> 1
    return power_of_two(half) * x * power_of_two(k - half)


def halved(x: Term, above: float = 0.0) -> tuple[Term, Term]:
    """(k, r) for x = k ln 2 + r, |r + above| <= ln 2 / 2."""
    bits = x.bits()
    high, low = LN2[bits]
    t = (x + above if above else x) * LOG2E + MAGIC[bits]
    n = t - MAGIC[bits]
    k = t.as_bits() - int(np.array(MAGIC[bits], f"f{bits // 8}").view(f"i{bits // 8}"))
    return k, x - n * high - n * low


def exp(x: Term) -> Term:
    """e^x."""
    bits = x.bits()
    low, high = EXP_ENDS[bits]
    k, r = halved(most(least(x, high), low))
    return scaled(1.0 + (r + r * r * polynomial(r, EXP[bits])), k)


def expm1(x: Term) -> Term:
    """e^x - 1: 2^k (e^r - 1) + (2^k - 1)."""
    bits = x.bits()
    k, r = halved(most(least(x, EXP_ENDS[bits][1]), -50.0))
    e = r + r * r * polynomial(r, EXP[bits])
    s = power_of_two(k - 1)  # of half of it, for 2^k may be too large
    y = 2.0 * (s * e + (s - 0.5))
    return where(absolute(x) < 2.0 ** -(DIGITS[bits] + 2), x, y)


EXP_BELOW = {
    32: (
        *(0.00015358728611108755, 0.001355583740301336, 0.008321653587453837),
        *(0.041664800430113814, 0.16666655782557954, 0.49999999902517256),
    ),
    64: (
        *(1.5609601241435856e-09, 2.4229595611592e-08, 2.7482839241259194e-07),
        *(2.7553089002846092e-06, 2.4801432260454222e-05, 0.00019841266185466338),
        *(0.001388888883516065, 0.00833333333287394, 0.04166666666664669),
        *(0.16666666666666632, 0.5),
    ),
}
"""The same for -ln 2 <= r <= 0, so that e^x with x < 0 near 0 has k = 0, and e^x - 1 all digits."""


def tanh(x: Term) -> Term:
    """-t / (t + 2) of t = e^(-2 |x|) - 1: near 0 as t/2 t / (t + 2) - t/2, where errors of the
    quotient hardly count, far from it as 1 - 2 (t + 1) / (t + 2)."""
    bits = x.bits()
    k, r = halved(most(-2.0 * absolute(x), -50.0), math.log(2) / 2)
    e, s = r + r * r * polynomial(r, EXP_BELOW[bits]), power_of_two(k)
    t = s * e + (s - 1.0)
    near = absolute(x) < 0.6
    ratio = where(near, t, 2.0 * (s * e + s)) / (t + 2.0)
    half = 0.5 * t
    return with_sign(where(near, half * ratio - half, 1.0 - ratio), x)


# ln(2^k (1 + f)) = k ln 2 + ln(1 + f), sqrt(1/2) <= 1 + f < sqrt(2). The double formula is
# fdlibm's, (ln(1 + f) - f + f²/2) / f³ for float32 Cephes'.

LOG = {
    32: (
        *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
        *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
    ),
    64: (
        *(1.479819860511658591e-1, 1.531383769920937332e-1, 1.818357216161805012e-1),
        *(2.222219843214978396e-1, 2.857142874366239149e-1, 3.999999999940941908e-1),
        6.666666666666735130e-1,
    ),
}
ROOT_HALF = {32: 0x3F3504F3, 64: 0x3FE6A09E667F3BCD}
"""The bits of sqrt(1/2)."""


def split(x: Term) -> tuple[Term, Term]:
    """(k, f) for x = 2^k (1 + f), where x is a normal number."""
    bits = x.bits()
    i = x.as_bits()
    k = (i - ROOT_HALF[bits]) >> DIGITS[bits]
    return k, (i - (k << DIGITS[bits])).as_bits() - 1.0


def log_of(k: Term, f: Term, c: Term | float = 0.0) -> Term:
    """k ln 2 + ln(1 + f) + c, where c is small."""
    bits = f.bits()
    high, low = LN2[bits]
    n = k.to(f.v.type)
    square = 0.5 * f * f
    if bits == 32:
        rest = f * (f * f) * polynomial(f, LOG[bits]) + (n * low + c)
        return n * high + (f + (rest - square))
    s = f / (f + 2.0)
    z = s * s
    rest = z * polynomial(z, LOG[bits])
    return n * high - ((square - (s * (square + rest) + (n * low + c))) - f)


def at_the_ends(x: Term, y: Term, zero: Any) -> Term:
    """`y`, a logarithm, where `x` is positive; of zero -inf, below it NaN, of infinity infinity."""
    y = where(x < math.inf, y, x)
    return where(x > zero, y, where(x.is_(zero), Term(x.b, x.like(-math.inf)), math.nan))


def log(x: Term) -> Term:
    """ln x."""
    bits = x.bits()
    tiny = x < 2.0 ** (1 - BIAS[bits])
    k, f = split(where(tiny, x * 2.0 ** DIGITS[bits], x))
    return at_the_ends(x, log_of(where(tiny, k - DIGITS[bits], k), f), 0.0)


def log1p(x: Term) -> Term:
    """ln(1 + x)."""
    u = x + 1.0
    k, f = split(u)
    near = k.is_(0)
    lost = where(x > 1.0, 1.0 - (u - x), x - (u - 1.0))  # in rounding 1 + x
    y = log_of(k, where(near, x, f), where(near, 0.0, lost / u))
    y = where(absolute(x) < 2.0 ** -(DIGITS[x.bits()] + 2), x, y)
    return at_the_ends(x, y, -1.0)


# sin and cos of float32, in double, of what multiples of π/2 leave of it. x = m 2^e, m of 24 bits;
# 2^e 2/π, less multiples of 4, is in a table in three parts, and m times the first part is exact.

NEAR_ZERO = {32: 2.0**-13, 64: 2.0**-27}
"""Below which sin x = x and cos x = 1."""
SIN = (1 / 362880, -1 / 5040, 1 / 120, -1 / 6, 1.0)
COS = (-1 / 3628800, 1 / 40320, -1 / 720, 1 / 24, -1 / 2, 1.0)


def two_over_pi(bits: int) -> int:
    """2/π times 2^bits: Machin's formula."""
    one = 1 << (bits + 64)

    def arctan(n: int) -> int:
        power, total, k = one // n, 0, 1
        while power:
            total += power // k if k % 4 == 1 else -(power // k)
            power //= n * n
            k += 2
        return total

    return (one << bits) // (2 * (4 * arctan(5) - arctan(239)))


@cache
def turns() -> tuple[tuple[float, ...], ...]:
    """By exponent, 2^e 2/π modulo 4, in three parts; NaN where x is infinite."""
    ratio = Fraction(two_over_pi(400), 1 << 400)
    parts = []
    for exponent in range(255):
        rest = ratio * Fraction(2) ** (exponent - BIAS[32] - DIGITS[32]) % 4
        first = Fraction(math.floor(rest * 2**27), 2**27)
        second = Fraction(float(rest - first))
        parts.append((float(first), float(second), float(rest - first - second)))
    return (*zip(*parts, (math.nan,) * 3),)


def table(b: Any, name: str, numbers: Sequence[float]) -> Any:
    """A constant array in the module."""
    found = b.module.globals.get(name)
    if found is None:
        kind = ir.ArrayType(F64, len(numbers))
        found = ir.GlobalVariable(b.module, kind, name)
        found.initializer = ir.Constant(kind, [*numbers])
        found.global_constant, found.linkage = True, "internal"
    return found


def quarters(x: Term) -> tuple[Term, Term]:
    """(n, r) for |x| = n π/2 + r, n modulo 4."""
    b, i = x.b, x.as_bits() & 0x7FFFFFFF
    at = b.zext((i >> DIGITS[32]).v, I64)
    m = ((i & 0x7FFFFF) | 0x800000).to(F64)
    first, second, third = (
        m * Term(b, b.load(b.gep(t, [ir.Constant(I64, 0), at], source_etype=t.value_type), typ=F64))
        for t in (table(b, f"turns{k}", numbers) for k, numbers in enumerate(turns()))
    )
    t = first + second + MAGIC[64]
    r = (first - (t - MAGIC[64])) + second + third
    return Term(b, b.trunc(t.as_bits().v, I32)) & 3, r * (math.pi / 2)


def wave(n: Term, r: Term) -> Term:
    """sin(n π/2 + r)."""
    z = r * r
    y = where((n & 1).is_(0), r * polynomial(z, SIN), polynomial(z, COS))
    return where((n & 2).is_(0), y, -y).to(F32)


# sin and cos of float64: the same, with 2/π in four parts, of which the products with m are sums of
# two numbers each.

LEAST_EXPONENT = 996
"""Of numbers below 2^-27, whose sine is x."""
HALF_PI = (math.pi / 2, 6.123233995736766e-17)
SIN_PARTS = (
    *(1.58969099521155010221e-10, -2.50507602534068634195e-8, 2.75573137070700676789e-6),
    *(-1.98412698298579493134e-4, 8.33333333332248946124e-3),
)
COS_PARTS = (
    *(-1.13596475577881948265e-11, 2.08757232129817482790e-9, -2.75573143513906633035e-7),
    *(2.48015872894767294178e-5, -1.38888888888741095749e-3, 4.16666666666666019037e-2),
)
"""Those of fdlibm, the polynomials of x² after the first terms."""
SIXTH = 1.66666666666666324348e-1  # as it goes with them


@cache
def wide_turns() -> list[tuple[float, ...]]:
    """By exponent, 2^e 2/π modulo 4, in four parts; NaN where x is infinite."""
    digits, rows = 1300, []
    one = 1 << digits
    ratio = two_over_pi(digits)
    for exponent in range(LEAST_EXPONENT, 2047):
        power = exponent - BIAS[64] - DIGITS[64]
        rest = (ratio << power if power > 0 else ratio >> -power) % (4 * one)
        parts = []
        for _ in range(4):
            parts.append(rest / one)  # rounded as is right
            part, power = math.frexp(parts[-1])
            rest -= int(math.ldexp(part, 53)) << (digits + power - 53)
        rows.append(parts)
    return [*zip(*rows, (math.nan,) * 4)]


def plainly(name: str, x: Term, y: Term) -> Term:
    """A sum or difference that is rounded as it stands."""
    return Term(x.b, getattr(x.b, f"f{name}")(x.v, y.v))


def two_sum(x: Term, y: Term) -> tuple[Term, Term]:
    """x + y, rounded, and the rest (Knuth)."""
    s = plainly("add", x, y)
    rest = plainly("sub", s, x)
    before = plainly("sub", x, plainly("sub", s, rest))
    return s, plainly("add", before, plainly("sub", y, rest))


def two_product(x: Term, y: Any) -> tuple[Term, Term]:
    """x y, rounded, and the rest."""
    p = Term(x.b, x.b.fmul(x.v, x.like(y)))
    return p, x.call("fma", y, -p)


def wide_quarters(x: Term) -> tuple[Term, Term, Term]:
    """(n, r, s) for |x| = n π/2 + r + s, n modulo 4, s small."""
    b, i = x.b, x.as_bits() & 0x7FFFFFFFFFFFFFFF
    at = (i >> DIGITS[64]) - LEAST_EXPONENT
    at = where(at < 0, 0, at)
    m = ((i & 0xFFFFFFFFFFFFF) | 0x10000000000000).to(F64)
    first, second, third, fourth = (
        Term(b, b.load(b.gep(t, [ir.Constant(I64, 0), at.v], source_etype=t.value_type), typ=F64))
        for t in (table(b, f"wide_turns{k}", numbers) for k, numbers in enumerate(wide_turns()))
    )
    turns, rest = two_product(m, first)
    turns = turns - 4.0 * (0.25 * turns).call("rint")
    more, tiny = two_product(m, second)
    small, last = two_product(m, third)
    s, e = two_sum(turns, rest)
    s, f = two_sum(s, more)
    n = s.call("rint")
    e, f = two_sum(e, f)
    tiny, small = two_sum(tiny, small)
    e, tiny = two_sum(e, tiny)
    r, e = two_sum(plainly("sub", s, n), e)
    e = e + (f + small + tiny + (last + m * fourth))
    y, z = two_product(r, HALF_PI[0])
    z = z + (r * HALF_PI[1] + e * HALF_PI[0])
    n = Term(b, b.fptosi(n.v, I64))
    return n & 3, y, z


def wide_wave(n: Term, r: Term, s: Term) -> Term:
    """sin(n π/2 + r + s)."""
    z = r * r
    v = z * r
    even = r - ((z * (0.5 * s - v * polynomial(z, SIN_PARTS)) - s) + v * SIXTH)
    half = 0.5 * z
    one = Term(r.b, r.like(1.0))
    w = one - half
    odd = w + ((plainly("sub", one, w) - half) + (z * z * polynomial(z, COS_PARTS) - r * s))
    y = where((n & 1).is_(0), even, odd)
    return where((n & 2).is_(0), y, -y)


def sin(x: Term) -> Term:
    y = wave(*quarters(x)) if x.bits() == 32 else wide_wave(*wide_quarters(x))
    y = where(x.as_bits() < 0, -y, y)
    return where(absolute(x) < NEAR_ZERO[x.bits()], x, y)


def cos(x: Term) -> Term:
    if x.bits() == 32:
        n, r = quarters(x)
        y = wave(n + 1, r)
    else:
        n, r, s = wide_quarters(x)
        y = wide_wave(n + 1, r, s)
    return where(absolute(x) < NEAR_ZERO[x.bits()], 1.0, y)


# erf. Near 0 it is x times a polynomial in x²; from 1 on it is 1 - e^(-x²) q, where q, which is
# e^(x²) erfc(x), is a polynomial in (x - 3) / (x + 3) as far as 6. Errors of both fits are 1e-9,
# and 2e-17.

ERF = {
    32: (
        *(7.875875062685488e-05, -0.000801686428716587, 0.005189087423433974),
        *(-0.026854212010626412, 0.11283594715160218, -0.37612626666720334),
        *(0.12837916584835093,),
    ),
    64: (
        *(-7.795898827002142e-10, 1.3720064546777686e-08, -1.6208483801871705e-07),
        *(1.6447424703317362e-06, -1.492473690741966e-05, 0.00012055294904839707),
        *(-0.0008548325975389692, 0.0052239776071164225, -0.02686617064323777),
        *(0.11283791670945006, -0.37612638903183543, 0.12837916709551256),
    ),
}
ERFC = {
    32: (
        *(0.001074249458409306, 0.004153087666104156, -0.024474824557141218),
        *(0.0716725730082237, -0.1501104990697483, 0.24560367074972128),
        *(-0.32623365087758655, 0.17900115178634807),
    ),
    64: (
        *(1.2744927509449574e-06, 2.0150711175070506e-06, -8.01050381717856e-06),
        *(-1.2846938865032268e-05, 6.40629376336977e-05, 4.525463293513957e-05),
        *(-0.0005970624930987449, 0.0007077464369401827, 0.004269136355227654),
        *(-0.024392499317515613, 0.07166583719756446, -0.1501159365008064),
        *(0.2456038017123335, -0.32623356004303705, 0.17900115118138996),
    ),
}


def erf(x: Term) -> Term:
    bits, size = x.bits(), absolute(x)
    near = x + x * polynomial(x * x, ERF[bits])
    z = least(most(size, 1.0), 6.0)
    t = 1.0 - 6.0 / (z + 3.0)
    far = 1.0 - exp(-(z * z)) * polynomial(t, ERFC[bits])
    return where(size < 1.0, near, with_sign(far, x))


# x^y of float64 wants the logarithm in two parts: what is lost of y ln x is lost of the power.

THIRD = (1 / 3, 1.850371707708594e-17)
LN2_PARTS = (6.93147180369123816490e-1, 1.90821492927058770002e-10, 1.1612227229362532e-26)
LOG_PARTS = tuple(1 / n for n in range(23, 4, -2))


def wide_log(x: Term) -> tuple[Term, Term]:
    """ln x in two parts, of a positive number: 2 s (1 + s²/3 + s⁴/5 + ...), s = f / (2 + f)."""
    tiny = x < 2.0 ** (1 - BIAS[64])
    k, f = split(where(tiny, x * 2.0 ** DIGITS[64], x))
    n = where(tiny, k - DIGITS[64], k).to(F64)
    below, rest = two_sum(f, Term(x.b, x.like(2.0)))
    inverse = 1.0 / below
    s = f * inverse
    product, error = two_product(s, below)
    t = ((plainly("sub", f, product) - error) - s * rest) * inverse
    z, w = two_product(s, s)
    w = w + 2.0 * s * t
    third, e = two_product(z, THIRD[0])
    e = e + (w * THIRD[0] + z * THIRD[1]) + z * z * polynomial(z, LOG_PARTS)
    third, e = two_sum(third, e)  # 2 s (1 + third + e)
    main, more = two_product(s, third)
    more = more + (s * e + t * third)
    high, low = two_sum(s, main)
    low = low + (t + more)
    first = n * LN2_PARTS[0]  # exact
    total, error = two_sum(first, 2.0 * high)
    second, more = two_product(n, LN2_PARTS[1])
    total, again = two_sum(total, second)
    return two_sum(total, error + again + (2.0 * low + more + n * LN2_PARTS[2]))


def wide_power(x: Term, y: Term) -> Term:
    """e^(y ln x) of x >= 0, where y ln x has two parts."""
    high, low = wide_log(x)
    p, e = two_product(high, y)
    e = e + low * y
    plain = (x > 0.0) & (x < math.inf) & (absolute(y) < 2.0**64)
    size = exp(where(plain, p, y * at_the_ends(x, high, 0.0)))
    return where(plain & (size < math.inf), size + size * e, size)


def power(x: Term, y: Term) -> Term:
    """x^y: e^(y ln |x|), with a sign where y is odd; of float32 in double."""
    if x.bits() == 64:
        size = wide_power(absolute(x), y)
    else:
        size = exp(y.to(F64) * log(absolute(x).to(F64))).to(F32)
    whole, half = y.call("rint").is_(y), 0.5 * y
    odd = whole & half.call("rint").compare("!=", half)
    size = where(odd & (x.as_bits() < 0), -size, size)
    below = (x < 0.0) & (x > -math.inf)
    unreal = Term(x.b, x.b.and_(below.v, x.b.not_(whole.v)))
    one = y.is_(0.0) | x.is_(1.0) | (x.is_(-1.0) & absolute(y).is_(math.inf))
    return where(one, 1.0, where(unreal, math.nan, size))
