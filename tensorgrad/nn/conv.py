"""Convolutions and transposed convolutions, in PyTorch's layout (N, C, ...)."""
