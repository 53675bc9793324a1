"""Groups of operations as machine code, by llvmlite: `tg.compile(f, backend="llvm")`.

Read `mathematics` (exp and its like), `operations` (NumPy's functions in a loop), `kernel` (the
loops of a small program), `call` (how Python calls it), `load`; `objects` looks at Python's own.
"""
