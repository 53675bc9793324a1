"""Symbols, and how they are written: text, LaTeX, MathML, and text read back."""
