"""Recurrent networks: RNN, LSTM, GRU, their cells, packed sequences."""
