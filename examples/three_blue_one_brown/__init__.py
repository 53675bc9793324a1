"""3Blue1Brown, Neural networks (2017): the network of his films."""
