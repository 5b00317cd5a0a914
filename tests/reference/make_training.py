"""Write training.npz: a whole training run of PyTorch 2.13.0 in float64, for the chapter training.

    python tests/reference/make_training.py      in an environment with PyTorch

Readers need no PyTorch: the chapter only loads the file. The net is 8 → 16 → 12 → 3 with tanh and a rectifier, the loss
cross-entropy, the optimizer AdamW under a one-cycle schedule that also moves its momentum, gradients clipped to a norm
of 0.5, three epochs of batches of 32 in the order of the data; the last batch of an epoch has 8 samples.
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

SAMPLES, BATCH, EPOCHS, MAX_LR, DECAY, CLIP = 200, 32, 3, 0.05, 0.1, 0.5
SIZES = (8, 16, 12, 3)


def main() -> None:
    import torch

    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(SAMPLES, SIZES[0]))
    y = np.argmax(X @ rng.normal(size=(SIZES[0], SIZES[-1])) + 0.5 * rng.normal(size=(SAMPLES, SIZES[-1])), axis=1)
    linear = [torch.nn.Linear(n, m) for n, m in pairwise(SIZES)]
    model = torch.nn.Sequential(linear[0], torch.nn.Tanh(), linear[1], torch.nn.ReLU(), linear[2])
    arrays = {f"start.{name}": p.detach().numpy().copy() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=DECAY)
    data = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=MAX_LR, total_steps=EPOCHS * len(loader))
    losses, norms, rates = [], [], []
    for _ in range(EPOCHS):
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)))
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
    arrays |= {f"end.{name}": p.detach().numpy() for name, p in model.named_parameters()}
    arrays |= {
        "X": X,
        "y": y.astype(np.int64),
        "loss": np.array(losses),
        "norm": np.array(norms),
        "lr": np.array(rates),
    }
    np.savez_compressed(Path(__file__).with_name("training.npz"), **arrays)


if __name__ == "__main__":
    main()
