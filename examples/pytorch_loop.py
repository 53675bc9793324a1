"""A model of ours in a training loop of PyTorch's: the bundled digits."""

import torch

import tensorgrad as tg
from tensorgrad import data, nn

x, y, x_test, y_test = data.digits()
model = nn.Sequential(nn.Linear(64, 30, rng=0), nn.ReLU(), nn.Linear(30, 10, rng=1))
net = tg.interop.torch_function(model)  # a torch.nn.Module, whose parameters are the model's

torch.manual_seed(0)
pairs = torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
batches = torch.utils.data.DataLoader(pairs, batch_size=10, shuffle=True)
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5)

for epoch in range(5):
    for images, digits in batches:
        loss = torch.nn.functional.cross_entropy(net(images), digits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()
    print(f"Epoch {epoch + 1}: loss {loss.item():.3f}")

right = (model(x_test).data.argmax(1) == y_test).mean()  # the same parameters
print(f"{right:.1%} of {len(x_test)} unseen digits are read correctly.")
