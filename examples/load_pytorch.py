"""Load weights that PyTorch wrote, check that the outputs are PyTorch's, and write weights that PyTorch reads.

    pip install "ml-odyssey[train]"
    python load_pytorch.py                       loads pytorch_digits.safetensors, which lies beside this program
    python load_pytorch.py --out back.safetensors

PyTorch is not needed: a safetensors file is a list of named arrays. make_pytorch_digits.py trained the network.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from odyssey import Tensor, nn, no_grad
from odyssey.data import load_digits

STORED = Path(__file__).with_name("pytorch_digits.safetensors")
RECIPE = """\
In PyTorch, write weights with
    from safetensors.torch import load_file, save_file
    save_file(model.state_dict(), "weights.safetensors")
and read them with
    model.load_state_dict(load_file("weights.safetensors"))"""


class Reader(nn.Module):
    """The network of make_pytorch_digits.py. Attributes are called the same, so the arrays are, too."""

    def __init__(self) -> None:
        self.conv = nn.Conv2D(1, 16, 3, padding=1)
        self.bn = nn.BatchNorm(16)
        self.pool = nn.MaxPool2D(2)
        self.attention = nn.MultiHeadAttention(16, num_heads=2)
        self.norm = nn.LayerNorm(16)
        self.head = nn.Linear(256, 10)

    def forward(self, x: Any) -> Tensor:
        """8×8 images (N, 1, 8, 8) → logits (N, 10)."""
        x = self.pool(np.maximum(self.bn(self.conv(x)), 0))
        x = x.reshape(len(x), 16, 16).swapaxes(1, 2)  # (N, 16, 4, 4) → (N, 16 places, 16 features)
        x = self.norm(x + self.attention(x))
        return self.head(x.reshape(len(x), 256))  # type: ignore[no-any-return]


Arrays = dict[str, NDArray[Any]]


def from_pytorch(theirs: Arrays) -> Arrays:
    """PyTorch stacks the three maps of attention in one array, (3 * 16, 16); odyssey has three arrays of (16, 16).

    All other names and layouts of the two are the same.
    """
    ours = dict(theirs)
    for kind in ("weight", "bias"):
        if f"attention.in_proj_{kind}" not in ours:
            raise ValueError(f"there is no attention.in_proj_{kind}")
        parts = np.split(ours.pop(f"attention.in_proj_{kind}"), 3)
        ours |= {f"attention.{name}_proj.{kind}": part for name, part in zip("qkv", parts, strict=True)}
    return ours


def to_pytorch(ours: Arrays) -> Arrays:
    """The way back: the three arrays one on top of the other."""
    theirs = dict(ours)
    for kind in ("weight", "bias"):
        parts = [theirs.pop(f"attention.{name}_proj.{kind}") for name in "qkv"]
        theirs[f"attention.in_proj_{kind}"] = np.concatenate(parts)
    return theirs


def main() -> None:
    """Load, compare, write."""
    parser = argparse.ArgumentParser(description="Load weights that PyTorch wrote, and check what comes out.",
                                     epilog=RECIPE, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("file", nargs="?", type=Path, default=STORED, help="weights of this network, and beside "
                        "them, if it is there, expected_logits: what PyTorch makes of the test images")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the weights here, for PyTorch")
    args = parser.parse_args()
    if args.out and (args.out.is_dir() or not args.out.parent.is_dir()):
        parser.error(f"argument --out: expected the name of a file in a folder that exists, got {str(args.out)!r}")
    model = Reader()
    try:
        arrays = load_file(args.file)
        expected = arrays.pop("expected_logits", None)
        model.load_state_dict(from_pytorch(arrays))
    except (OSError, SafetensorError) as error:
        parser.error(f"cannot read {args.file}: {error}")
    except ValueError as error:
        parser.error(f"{args.file} holds weights of another network: {error}")
    count = sum(p.size for p in model.parameters())
    print(f"{args.file.name}: {len(arrays)} arrays of PyTorch, {count:,} parameters")

    X, y = load_digits()["test"]
    with no_grad():
        logits = model.eval()(Tensor(X)).data  # eval: batch norm by the averages that PyTorch has stored
    print(f"test accuracy {np.mean(logits.argmax(axis=1) == y):.1%}")
    if expected is not None:
        print(f"largest difference to PyTorch's logits: {np.abs(logits - expected).max():.1e}, "
              f"where the largest logit is {np.abs(expected).max():.1f}")  # fmt: skip
    print(f"\n{RECIPE}")
    if args.out:
        save_file(to_pytorch(model.state_dict()), args.out, metadata={"format": "pt"})
        print(f"\nweights for PyTorch in {args.out}")


if __name__ == "__main__":
    main()
