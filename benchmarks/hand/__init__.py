"""Steps in NumPy by hand, the yardstick of the targets: frozen, a file for each step.

`plain` is what a good NumPy programmer writes: nothing is computed that is not needed (no gradient
of the input), parameters change in place, and everything stays float32. `out` does the same in
arrays that are there, with `out=`. Targets are against `plain`.
"""
