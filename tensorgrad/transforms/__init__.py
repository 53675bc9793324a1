"""Functions of functions: derivatives, checkpoints, `vmap`; and what one call of them shares."""
