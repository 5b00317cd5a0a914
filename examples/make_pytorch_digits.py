"""Write pytorch_digits.safetensors: a small network that PyTorch has trained, for load_pytorch.py.

    python make_pytorch_digits.py           in an environment with torch, safetensors and ml-odyssey
    python make_pytorch_digits.py FILE      read FILE, which `load_pytorch.py --out FILE` has written, into PyTorch

Nobody else needs PyTorch. The file was made with PyTorch 2.13.0 on a CPU.
"""

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from odyssey.data import load_digits

STORED = Path(__file__).with_name("pytorch_digits.safetensors")


class Reader(nn.Module):  # type: ignore[misc]
    """A convolution finds strokes, attention relates 16 places to each other, a linear layer decides."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.bn = nn.BatchNorm2d(16)
        self.pool = nn.MaxPool2d(2)
        self.attention = nn.MultiheadAttention(16, num_heads=2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(256, 10)

    def forward(self, x: Any) -> Any:
        x = self.pool(torch.relu(self.bn(self.conv(x))))
        x = x.flatten(2).transpose(1, 2)  # (N, 16, 4, 4) → (N, 16 places, 16 features)
        x = self.norm(x + self.attention(x, x, x, need_weights=False)[0])
        return self.head(x.flatten(1))


def train(X: Any, y: Any) -> Any:
    """A network after 15 epochs of AdamW with one cycle."""
    torch.manual_seed(0)
    model = Reader()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=15 * -(-len(X) // 32))
    for _ in range(15):
        for batch in torch.randperm(len(X)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
            optimizer.step()
            scheduler.step()
    return model


def main() -> None:
    """Train and write, or read and compare."""
    digits, model = load_digits(), Reader()
    if len(sys.argv) > 1:
        model.load_state_dict(load_file(sys.argv[1]))
    else:
        model = train(*map(torch.from_numpy, digits["train"]))
    X, y = map(torch.from_numpy, digits["test"])
    with torch.no_grad():
        logits = model.eval()(X)
    print(f"test accuracy {(logits.argmax(dim=1) == y).double().mean():.1%}")
    if len(sys.argv) > 1:
        difference = (logits - load_file(STORED)["expected_logits"]).abs().max()
        print(f"largest difference to the logits in {STORED.name}: {difference:.1e}")
    else:
        save_file({**model.state_dict(), "expected_logits": logits}, STORED, metadata={"format": "pt"})
        print(f"{STORED.name}: {STORED.stat().st_size} bytes")


if __name__ == "__main__":
    main()
