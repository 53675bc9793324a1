"""Reading a graph: replay, one derivative, kinks, names, paths, debugging, lint."""
