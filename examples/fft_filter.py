"""Which echoes does this room have? Gradient descent through an FFT finds them in a recording.

    python examples/fft_filter.py

A room adds to a sound x copies of itself, later and weaker: the recording is y = h * x + noise,
a (here circular) convolution with the room's impulse response h. As a product of spectra, h * x =
F⁻¹(F h · F x), it takes n log n operations, and so does the gradient of the misfit |h * x - y|² / n
by h. On paper that is the correlation of x with the misfit r = h * x - y, (2/n) F⁻¹(conj(F x) F r)
(A. Oppenheim and R. Schafer, Discrete-Time Signal Processing, 3rd edition 2010, section 8.6).
"""

import numpy as np

import tensorgrad as tg

RATE, N, TAPS = 8000, 4096, 800  # samples per second, of the recording, of h
ECHOES = {0: 1.0, 137: 0.6, 300: -0.35, 611: 0.2}  # samples later: how loud
NOISE = 0.05

rng = np.random.default_rng(0)
h_true = np.zeros(TAPS)
h_true[list(ECHOES)] = list(ECHOES.values())
sound = rng.normal(size=N)  # applause


def room(h):
    return np.fft.irfft(np.fft.rfft(h, N) * np.fft.rfft(sound), N)


recording = room(h_true) + NOISE * rng.normal(size=N)


def loss(h):
    return np.mean((room(h) - recording) ** 2)


h = rng.normal(size=TAPS)
spectrum = np.conj(np.fft.rfft(sound)) * np.fft.rfft(room(h) - recording)
by_hand = 2 / N * np.fft.irfft(spectrum)[:TAPS]
difference = np.abs(tg.grad(loss)(h) - by_hand).max()
print(f"The gradient is within {difference:.0e} of the correlation by hand.")
assert difference < 1e-12

h = np.zeros(TAPS)
for step in range(41):
    misfit, gradient = tg.value_and_grad(loss)(h)
    if step % 10 == 0:
        print(f"Step {step:2}: misfit {misfit:.5f}, largest error of h {abs(h - h_true).max():.4f}")
    h = h - 0.25 * gradient
print(f"The noise leaves {NOISE**2 * (1 - TAPS / N):.5f}: its variance, less what h can imitate.")

print("The loudest in h, found | built in:")
for i in sorted(np.argsort(-np.abs(h))[: len(ECHOES)]):
    print(f"  after {1000 * i / RATE:5.1f} ms {h[i]:+.3f} | {ECHOES.get(i, 0.0):+.3f}")
assert abs(h - h_true).max() < 0.005
