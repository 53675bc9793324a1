"""Train your own: the bundled digits, 1,438 images of 8x8 pixels, in a second."""

import tensorgrad as tg
from tensorgrad import data, nn, optim

x, y, x_test, y_test = data.digits()
model = nn.Sequential(nn.Linear(64, 30, rng=0), nn.ReLU(), nn.Linear(30, 10, rng=1))
batches = data.DataLoader(x, y, batch_size=10, shuffle=True)
loss, optimizer = nn.functional.cross_entropy, optim.Adam(model.parameters(), lr=0.01)

history = tg.fit(model, batches, loss, optimizer, epochs=30, validation=(x_test, y_test))
print(f"{history[-1].accuracy:.1%} of {len(x_test)} unseen digits are read correctly.")
