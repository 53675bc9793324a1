"""Mutants that are the same function as their rule, or one as right, each with the reason.

Nothing can kill them. They are left out of the score, and counted.
"""

from __future__ import annotations

EQUIVALENT: dict[str, tuple[str, ...]] = {
    "The gradient is a symmetric matrix, or is made one of any matrix and its transpose": (
        "cholesky, operand 0, transposed where square",
        "cholesky, operand 0, transpose dropped: "
        "H(np.linalg.solve(H(out), H(half))) → np.linalg.solve(H(out), H(half))",
        "eigh, operand 0, transposed where square",
        "eigvalsh, operand 0, transposed where square",
    ),
    "Of symmetric matrices, only the symmetric part of a gradient counts; that the two triangles "
    "share it is a convention, which tests/test_linalg.py tests": (
        "cholesky, operand 0, transpose dropped: H(by_a) → by_a",
        "pinv, operand 0, transpose dropped: H(by_a) → by_a",
    ),
    "The matrices are square: their last two axes are as long as each other": (
        "eig, operand 0, number changed: 1 → 2",
        "eigh, operand 0, number changed: 1 → 2",
    ),
    "The operand has a single axis": (
        "convolve, operand 0, transposed where square",
        "convolve, operand 1, transposed where square",
        "convolve_valid, operand 0, transposed where square",
        "convolve_valid, operand 1, transposed where square",
        "interp, operand 1, transposed where square",
        "interp, operand 2, transposed where square",
        "cumprod, operand 0, wrong axis: running_product_rule(g, out, np.ravel(x), axis=0) → "
        "running_product_rule(g, out, np.ravel(x), axis=-1)",
    ),
    "To NumPy any negative size is the one that it has to find": (
        "maximum.accumulate, operand 0, number changed: 1 → 2",
        "minimum.accumulate, operand 0, number changed: 1 → 2",
    ),
    "Both are compared with each other, and have one shape": (
        "maximum.accumulate, operand 0, operands swapped: x, out → out, x",
        "minimum.accumulate, operand 0, operands swapped: x, out → out, x",
    ),
    "A product has no order": (
        "inv_boxcox, operand 0, operands swapped: y, lmbda → lmbda, y",
        "inv_boxcox1p, operand 0, operands swapped: y, lmbda → lmbda, y",
    ),
    "Output and operand have as many axes, and are positive together": (
        "transpose, operand 0, operands swapped: x, out → out, x",
        "relu, operand 0, operands swapped: x, out → out, x",
    ),
    "Between one knot and itself the line is flat: the gradient by it is 0": (
        "interp, operand 1, wrong only for size-1 axes",
    ),
    "One condition or the other is the other or the one": (
        "clip, operand 2, operands swapped: x, low → low, x",
    ),
    "The number stands only where x = 0, and is multiplied with 0ʸ = 0": (
        "power, operand 1, sign flipped: 1 + 0j → 1 - 0j",
        "power, operand 1, number changed: 1 → 2",
        "power, operand 1, number changed: 0j → (1+0j)",
        "float_power, operand 1, sign flipped: 1 + 0j → 1 - 0j",
        "float_power, operand 1, number changed: 1 → 2",
        "float_power, operand 1, number changed: 0j → (1+0j)",
    ),
    "It divides 0 where it differs, and is not 0 either": (
        "sign, operand 0, sign flipped: r + (r == 0) → r - (r == 0)",
    ),
}
"""The mutants, as they are printed, by the reason."""

REASONS = {mutant: reason for reason, mutants in EQUIVALENT.items() for mutant in mutants}
