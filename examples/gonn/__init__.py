"""S. S. Chang, How to build a simple artificial neural network with Go (2018): gonn."""
