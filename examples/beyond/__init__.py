"""Past the sources: what else a graph of gradients is good for."""
