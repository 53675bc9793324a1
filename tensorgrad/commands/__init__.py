"""The command line: train and predict digits, check, explain, graph."""
