"""M. Nielsen, Neural Networks and Deep Learning (2015): the experiments of his chapters."""
