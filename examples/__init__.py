"""Complete ideas, a file each; `python -m examples.reproduce` runs those with reported results."""
