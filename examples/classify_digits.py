"""Train a small convolutional network on handwritten digits, and say how well it reads new ones.

    pip install "ml-odyssey[train]"
    python classify_digits.py

The network learns from 1,197 images. After each epoch it reads 300 others, the validation images: by these one
chooses options. The 300 test images are read once, at the end.
"""

import argparse
from collections import Counter
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tqdm import tqdm

from odyssey import Tensor, nn, no_grad
from odyssey.data import DataLoader, load_digits
from odyssey.nn.functional import cross_entropy
from odyssey.optim import AdamW, OneCycleLR
from odyssey.train import State, fit


def whole(text: str) -> int:
    """A whole number above 0, from the command line."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def number(text: str) -> float:
    """A finite number above 0, from the command line."""
    if not 0 < (value := float(text)) < inf:
        raise argparse.ArgumentTypeError(f"expected a finite number above 0, got {text!r}")
    return value


def network(rng: np.random.Generator) -> nn.Sequential:
    """8×8 images, one channel → 10 logits. A convolution before batch norm needs no bias of its own."""
    return nn.Sequential(
        nn.Conv2D(1, 16, 3, padding=1, bias=False, rng=rng), nn.BatchNorm(16), nn.ReLU(), nn.MaxPool2D(2),
        nn.Conv2D(16, 32, 3, padding=1, bias=False, rng=rng), nn.BatchNorm(32), nn.ReLU(), nn.MaxPool2D(2),
        nn.Flatten(), nn.Linear(128, 10, rng=rng),
    )  # fmt: skip


def read(model: nn.Module, X: NDArray[np.float32]) -> NDArray[np.int64]:
    """The digit that `model`, in eval mode, sees in each image of X (N, 1, 8, 8)."""
    with no_grad():
        digits: NDArray[np.int64] = model(Tensor(X)).data.argmax(axis=1)
    return digits


def main() -> None:
    """Read the arguments, train, report, save."""
    parser = argparse.ArgumentParser(description="Train a small convolutional network on 8×8 images of digits.",
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)  # fmt: skip
    parser.add_argument("--epochs", type=whole, default=10, help="how often all training images are seen")
    parser.add_argument("--lr", type=number, default=0.01, help="the largest learning rate of the cycle")
    parser.add_argument("--batch-size", type=whole, default=32, help="images in a step")
    parser.add_argument("--seed", type=int, default=0, help="decides the first weights and the order of the images")
    parser.add_argument("--out", type=Path, metavar="FILE", help="save the weights here, in the safetensors format")
    parser.add_argument("--no-progress", action="store_true", help="show no progress bar")
    args = parser.parse_args()
    if args.out and (args.out.is_dir() or not args.out.parent.is_dir()):
        parser.error(f"argument --out: expected the name of a file in a folder that exists, got {str(args.out)!r}")
    if args.seed < 0:
        parser.error(f"argument --seed: expected a whole number of at least 0, got {args.seed}")

    digits, rng = load_digits(), np.random.default_rng(args.seed)
    model = network(rng)
    loader = DataLoader(*digits["train"], batch_size=args.batch_size, rng=rng)
    optimizer = AdamW(model.parameters(), lr=args.lr, weight_decay=0.01)
    scheduler = OneCycleLR(optimizer, max_lr=args.lr, total_steps=args.epochs * len(loader))

    def validate(model: nn.Module) -> dict[str, float]:
        X, y = digits["validation"]
        return {"accuracy": float(np.mean(read(model, X) == y))}

    def report(state: State) -> None:
        if state.event == "epoch":
            loss, accuracy = state.history.epoch_loss()[-1], state.metrics["accuracy"]
            # A print that leaves the progress bar whole.
            tqdm.write(f"epoch {state.epoch:2}: training loss {loss:.3f}, validation accuracy {accuracy:.1%}")

    try:
        fit(model, cross_entropy, loader, optimizer, epochs=args.epochs, scheduler=scheduler, validate=validate,
            callbacks=[report], progress=not args.no_progress)  # fmt: skip
    except FloatingPointError as error:  # the loss has become infinite or NaN
        parser.error(str(error))

    X, y = digits["test"]
    found = read(model.eval(), X)  # eval: batch norm by the averages it has learned, not by those of a batch
    print(f"test accuracy {np.mean(found == y):.1%}: {np.sum(found != y)} of {len(y)} images misread")
    mistakes = Counter(zip(y[found != y].tolist(), found[found != y].tolist(), strict=True))
    for (digit, taken_for), count in mistakes.most_common(3):
        print(f"  a {digit} taken for a {taken_for}: {count} of {np.sum(y == digit)}")
    if args.out:
        save_file(model.state_dict(), args.out)
        print(f"weights saved in {args.out}")


if __name__ == "__main__":
    main()
