"""Training steps of small networks against PyTorch in eager mode: forward, backward and Adam.

    python benchmarks/nn.py [rounds] [--store]

Each runs in a process of its own; they take turns, on one thread. A ratio below 1 says that we are faster. The last
lines compare the peak memory of a transformer step, above what is used after the import. PyTorch is needed (the extra
`bench`).
"""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from tools.records import Benchmark
from tools.turns import VARIABLES, Maker, Work, in_turns

B, T, D, H = 16, 128, 128, 4  # the transformer: batch, positions, features, heads
MLP_GOALS, BLOCK_GOAL, SEPARABLE_GOAL, MEMORY_GOAL = {64: 0.80, 512: 0.95}, 0.95, 0.70, 0.70  # ours / PyTorch's


def ours(make: Callable[[Any], Any], loss: str, X: Any, Y: Any) -> Work:
    """A training step of the network that `make` builds from `odyssey.nn`."""
    from odyssey import Tensor, nn
    from odyssey.optim import Adam

    model, x, f = make(nn), Tensor(X), getattr(nn.functional, loss)
    optimizer = Adam(model.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        f(model(x), Y).backward()
        optimizer.step()

    return step


def pytorch(make: Callable[[Any], Any], loss: str, X: Any, Y: Any) -> Work:
    """The same with `torch.nn`."""
    import torch

    model, x, y, f = make(torch.nn), torch.tensor(X), torch.tensor(Y), getattr(torch.nn.functional, loss)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        f(model(x), y).backward()
        optimizer.step()

    return step


def mlp(nn: Any) -> Any:
    """784-256-128-10."""
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 10))


def separable(nn: Any) -> Any:
    """A convolution and two depthwise-separable ones, for 28 × 28 images."""
    conv, pool = getattr(nn, "Conv2D", None) or nn.Conv2d, getattr(nn, "MaxPool2D", None) or nn.MaxPool2d
    layers = [conv(1, 16, 3, padding=1), nn.ReLU()]
    layers += [conv(16, 16, 3, padding=1, groups=16), conv(16, 32, 1), nn.ReLU(), pool(2)]
    layers += [conv(32, 32, 3, padding=1, groups=32), conv(32, 64, 1), nn.ReLU(), pool(14)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10))


def our_block(nn: Any) -> Any:
    """A transformer block, pre-norm."""
    return nn.TransformerBlock(D, H, 4 * D)


def torch_block(nn: Any) -> Any:
    """The same block, its attention written out."""
    import torch

    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(D), nn.LayerNorm(D)
            self.q, self.k, self.v, self.out = (nn.Linear(D, D) for _ in range(4))
            self.linear1, self.linear2 = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

        def heads(self, x: Any) -> Any:
            return x.view(len(x), T, H, D // H).transpose(1, 2)

        def forward(self, x: Any) -> Any:
            h = self.norm1(x)
            q, k, v = self.heads(self.q(h)), self.heads(self.k(h)), self.heads(self.v(h))
            weights = torch.softmax(q @ k.transpose(-1, -2) / (D // H) ** 0.5, -1)
            x = x + self.out((weights @ v).transpose(1, 2).reshape(x.shape))
            return x + self.linear2(nn.functional.gelu(self.linear1(self.norm2(x))))

    return Block()


def block_data() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((B, T, D)).astype("f"), rng.standard_normal((B, T, D)).astype("f")


def works() -> dict[str, tuple[Maker, Maker, float]]:
    """For each work our step and PyTorch's, and the goal for the ratio of their times."""

    def both(net: Any, loss: str, data: Any, goal: float, theirs: Any = None) -> tuple[Maker, Maker, float]:
        return partial(ours, net, loss, *data), partial(pytorch, theirs or net, loss, *data), goal

    rng = np.random.default_rng(0)
    found = {}
    for batch, goal in MLP_GOALS.items():
        data = rng.standard_normal((batch, 784)).astype("f"), rng.integers(0, 10, batch)
        found[f"MLP 784-256-128-10, batch {batch}"] = both(mlp, "cross_entropy", data, goal)
    name = f"transformer block, B {B} T {T} D {D} H {H}"
    found[name] = both(our_block, "mse_loss", block_data(), BLOCK_GOAL, torch_block)
    data = rng.standard_normal((64, 1, 28, 28)).astype("f"), rng.integers(0, 10, 64)
    found["depthwise-separable net, 64 × 1 × 28 × 28"] = both(separable, "cross_entropy", data, SEPARABLE_GOAL)
    return found


PEAK = """
import sys
sys.path.insert(0, "benchmarks")
import nn, {modules}

def kilobytes(name):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

before = kilobytes("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # forget the peak of the import
step = nn.{work}(nn.{block}, "mse_loss", *nn.block_data())
for _ in range(5):
    step()
print(kilobytes("VmHWM") - before)
"""


def peak(work: str, modules: str, block: str) -> float:
    """Peak memory of steps of a transformer block above that after the import, in MB, in a new process (Linux)."""
    code = PEAK.format(work=work, modules=modules, block=block)
    root, alone = Path(__file__).parents[1], os.environ | dict.fromkeys(VARIABLES, "1")
    out = subprocess.run([sys.executable, "-c", code], cwd=root, env=alone, capture_output=True, text=True, check=True)
    return int(out.stdout) / 1e3


def main() -> None:
    """Print the table."""
    bench = Benchmark(__doc__, 15)
    print(f"{bench.versions()}, one thread, {bench.rounds} rounds\n")
    for name, (mine, theirs, goal) in works().items():
        times = in_turns({"ours": mine, "PyTorch": theirs}, bench.rounds)
        a, b = median(times["ours"]), median(times["PyTorch"])
        print(f"{name:<46} ours {a:8.2f} ms   PyTorch {b:8.2f} ms   ours / PyTorch {a / b:5.2f}", flush=True)
        bench.add(f"training step: {name}", "PyTorch", a, b, unit="ms", threads=1, goal=goal)
    if Path("/proc/self/clear_refs").exists():
        a = peak("ours", "odyssey.nn, odyssey.optim", "our_block")
        b = peak("pytorch", "torch", "torch_block")
        name = "peak memory of the transformer step"
        print(f"{name:<46} ours {a:8.1f} MB   PyTorch {b:8.1f} MB   ours / PyTorch {a / b:5.2f}")
        bench.add(name, "PyTorch", a, b, unit="MB", threads=1, goal=MEMORY_GOAL)
    bench.finish()


if __name__ == "__main__":
    main()
