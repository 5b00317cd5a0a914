"""Draws the picture of the README and of the first page: a network learning two spirals with `odyssey`.

python tools/cover.py    writes book/assets/cover.png
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np

from odyssey import Tensor
from odyssey.data import spirals

ROOT = Path(__file__).parents[1]
STEPS = (0, 100, 2000)
SIZES = ((2, 32), (32,), (32, 32), (32,), (32, 2), (2,))


def logits(params: list[Tensor], X: np.ndarray | Tensor) -> Tensor:
    """A network with two hidden layers of 32 tanh units: (N, 2) points to (N, 2) scores."""
    W1, b1, W2, b2, W3, b3 = params
    hidden = np.tanh(np.tanh(X @ W1 + b1) @ W2 + b2)
    return hidden @ W3 + b3


def main() -> None:
    rng = np.random.default_rng(3)
    X, y = spirals(400, rng)
    params = [Tensor(rng.normal(0, 0.5, n), requires_grad=True, dtype=np.float32) for n in SIZES]
    speed = [np.zeros(n, np.float32) for n in SIZES]
    limit = 1.15 * float(np.abs(X).max())
    side = np.linspace(-limit, limit, 400, dtype=np.float32)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)

    plt.style.use(ROOT / "book" / "odyssey.mplstyle")
    fig, axes = plt.subplots(1, len(STEPS), figsize=(8.4, 3.1), dpi=200, layout="constrained")
    for step in range(max(STEPS) + 1):
        z = logits(params, X)
        loss = np.mean(z.logsumexp(axis=1) - z[np.arange(len(y)), y])
        if step in STEPS:
            scores = logits(params, grid).data
            margin = np.tanh(scores[:, 1] - scores[:, 0]).reshape(len(side), len(side))
            ax = axes[STEPS.index(step)]
            colours = plt.get_cmap("PuOr")(0.5 + 0.33 * margin)
            ax.imshow(colours, extent=(-limit, limit, -limit, limit), origin="lower", interpolation="bilinear")
            if abs(margin).min() < 0.1:  # there is a border: half and half
                ax.contour(side, side, margin, levels=[0], colors="white", linewidths=1.5)
            for label, colour in ((0, "#7f3b08"), (1, "#2d004b")):
                ax.plot(*X[y == label].T, "o", color=colour, markersize=3.4, mec="white", mew=0.4)
            ax.set_title(f"after {step} steps", loc="center")
            ax.set(xticks=[], yticks=[], aspect="equal", xlim=(-limit, limit), ylim=(-limit, limit))
            ax.grid(False)
            ax.spines[:].set_visible(False)
        loss.backward()
        for p, v in zip(params, speed, strict=True):
            v *= 0.9
            v += p.grad
            p.data, p.grad = p.data - 0.05 * v, None
    fig.savefig(ROOT / "book" / "assets" / "cover.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
