"""C. Olah, colah.github.io (2014-2015): how layers bend space, LSTMs, views of MNIST."""
