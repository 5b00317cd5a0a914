"""Train a small GPT that spells names, letter by letter, and let it make up new ones.

    pip install "ml-odyssey[train]"
    python language_model.py --checkpoint run.safetensors     (Ctrl-C, and the same again: it goes on)
    python language_model.py --checkpoint run.safetensors --epochs 0 --sample 20 --temperature 0.7

It learns from first names of the 1990 US census, or from a text file with one word in a line, letters a to z.
"""

import argparse
from math import inf, log
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from tqdm import tqdm

from odyssey.data import DataLoader, load_names
from odyssey.optim import AdamW, CosineAnnealingLR, LinearWarmup, SequentialLR
from odyssey.train import State, fit, load_checkpoint
from odyssey.train.language_model import GPT, VOCABULARY, decay_groups, encode, nll, sample, token_loss

SIZES = ("embed_dim", "num_heads", "num_blocks")  # what makes the network, beside the length of the longest word
OPTIONS = ("dropout", "epochs", "batch_size", "lr", "seed")  # what makes the run


class Settings:
    """A callback that reports each epoch, and whose state keeps a checkpoint to the settings it began with."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.settings = settings

    def after_epoch(self, state: State) -> None:
        loss, held_out = state.history.epoch_loss()[-1], state.metrics["validation"]
        # A print that leaves the progress bar whole.
        tqdm.write(f"epoch {state.epoch:2}: training loss {loss:.3f}, validation loss {held_out:.3f}")

    def state_dict(self) -> dict[str, Any]:
        return self.settings

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        wrong = [f"{k} {saved.get(k)}, not {v}" for k, v in self.settings.items() if saved.get(k) != v]
        if wrong:
            raise ValueError(f"the checkpoint was begun with {'; '.join(wrong)}: pass the same, or another file")


def read_words(path: Path | None) -> tuple[list[str], list[str]]:
    """Words to learn from, and words for the validation: of a file every tenth, after dropping those seen before."""
    if path is None:
        names = load_names()
        return names["train"], names["validation"]
    lines = path.read_text(encoding="utf-8-sig", errors="replace").splitlines()  # `encode` refuses what is replaced
    words = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(words) < 2:
        raise ValueError(f"{path} holds {len(words)} words; write at least 2 different ones, one in a line")
    return [word for i, word in enumerate(words) if i % 10], words[::10]


def run(args: argparse.Namespace) -> None:
    """Train or load, report the loss, and make up words."""
    words, held_out = read_words(args.data)
    context = 1 + max(map(len, words + held_out))
    tokens, targets = encode(words, context)
    rng = np.random.default_rng(args.seed)
    model = GPT(VOCABULARY, context, args.embed_dim, args.num_heads, args.num_blocks, args.dropout, rng)
    settings = {name: getattr(args, name) for name in SIZES}
    if args.epochs:
        loader = DataLoader(tokens, targets, batch_size=args.batch_size, rng=rng)
        optimizer = AdamW(decay_groups(model, 0.1), lr=args.lr, betas=(0.9, 0.99))
        steps = args.epochs * len(loader)
        up = min(50, (steps + 1) // 2)  # the warmup
        parts = LinearWarmup(optimizer, up, 0.02), CosineAnnealingLR(optimizer, max(1, steps - up))
        scheduler = SequentialLR(optimizer, list(parts), milestones=[up])
        settings |= {name: getattr(args, name) for name in OPTIONS} | {"words": crc32(tokens.tobytes())}
        fit(model, token_loss, loader, optimizer, epochs=args.epochs, scheduler=scheduler, clip_norm=1.0,
            validate=lambda model: nll(model, held_out), callbacks=[Settings(settings)], checkpoint=args.checkpoint,
            checkpoint_every=args.checkpoint_every, progress=not args.no_progress)  # fmt: skip
    elif args.checkpoint is None:
        raise ValueError("--epochs 0 needs --checkpoint, the file of a run")
    else:
        saved = load_checkpoint(args.checkpoint, model=model)["extra"]
        Settings(settings).load_state_dict(saved["callbacks"][0])
    print(f"validation loss {nll(model, held_out):.3f} nats a letter; blind guesses cost {log(VOCABULARY):.3f}")
    if args.sample:
        print(*sample(model, args.sample, temperature=args.temperature, rng=np.random.default_rng(args.seed)))


def main() -> None:
    """Read the arguments; say in plain words what is wrong with them, or with a file."""
    described, shown = "Train a small GPT that spells names.", argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=described, formatter_class=shown)
    add = parser.add_argument
    add("--data", type=Path, metavar="FILE", help="a text file with one word in a line, instead of the names")
    add("--embed-dim", type=int, metavar="N", default=64, help="numbers that stand for a letter")
    add("--num-heads", type=int, metavar="N", default=4, help="heads of attention; they must divide --embed-dim")
    add("--num-blocks", type=int, metavar="N", default=2, help="transformer blocks, one on the other")
    add("--dropout", type=float, metavar="P", default=0.1, help="the share of numbers left out in training")
    add("--epochs", type=int, metavar="N", default=15, help="how often all words are seen; 0 only loads --checkpoint")
    add("--batch-size", type=int, metavar="N", default=64, help="words in a step")
    add("--lr", type=float, metavar="RATE", default=0.005, help="the learning rate after the warmup")
    add("--seed", type=int, metavar="N", default=0, help="decides first weights, order, dropout and samples")
    add("--checkpoint", type=Path, metavar="FILE", help="keep the run here, and go on from it if it is there")
    add("--checkpoint-every", type=int, metavar="STEPS", help="write it so often, not only after each epoch")
    add("--sample", type=int, metavar="N", default=10, help="how many words to make up in the end")
    add("--temperature", type=float, metavar="T", default=1.0, help="below 1 the likely becomes likelier")
    add("--no-progress", action="store_true", help="show no progress bar")
    args = parser.parse_args()
    if min(args.epochs, args.sample, args.seed) < 0 or not 0 < args.temperature < inf:
        parser.error("--epochs, --sample and --seed must be at least 0, --temperature a finite number above 0")
    try:
        run(args)
    except (OSError, ValueError, FloatingPointError) as error:  # the messages of odyssey say what to do
        parser.error(str(error))
    except KeyboardInterrupt:
        parser.exit(130, f"\ninterrupted; {'the same command goes on' if args.checkpoint else 'nothing was kept'}\n")


if __name__ == "__main__":
    main()
