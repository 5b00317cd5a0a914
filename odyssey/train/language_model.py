"""A small GPT that spells names: from letters to tokens, from logits to new names."""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Iterable, Sequence
from importlib import resources
from math import inf, isfinite
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ..autograd import Tensor, no_grad
from ..autograd.tape.entry import Array
from ..data import NAME_ALPHABET, DataLoader, load_names
from ..nn import Dropout, Embedding, LayerNorm, Linear, Module, ModuleList, TransformerBlock
from ..nn import functional as F
from ..nn.init import normal_
from ..nn.modules.initial import generator
from ..nn.modules.layers import whole
from ..optim import AdamW, CosineAnnealingLR, LinearWarmup, SequentialLR
from .training.loop import fit, modes_of, set_modes

MARK = len(NAME_ALPHABET)  # the token before the first letter and after the last
VOCABULARY = len(NAME_ALPHABET) + 1
IGNORED = -100  # the target at a place without a next character; what cross_entropy leaves out


def letters_of(owner: str, name: Any) -> list[int]:
    """The numbers of the letters of `name`; TypeError or ValueError if it is no name."""
    if not isinstance(name, str):
        raise TypeError(f"{owner}: expected names of type str, got {name!r}")
    found = [NAME_ALPHABET.find(letter) for letter in name]
    if -1 in found:
        wrong = name[found.index(-1)]
        raise ValueError(f"{owner}: {name!r} holds {wrong!r}, which is none of the letters a to z; "
                         f"write it in lower case, without accents or spaces")  # fmt: skip
    return found


def words_of(owner: str, names: Any) -> list[list[int]]:
    """The letters of at least one name; TypeError or ValueError if `names` is something else."""
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"{owner}: expected a list of names, got {names!r}; write [name]")
    found = [letters_of(owner, name) for name in names]
    if not found:
        raise ValueError(f"{owner}: expected at least one name, got none")
    return found


def encode(names: Iterable[str], context: int | None = None) -> tuple[Array, Array]:
    """The inputs and the targets of a model of characters, int64, each of shape (N, T).

    Row i of the tokens is ``MARK`` and then the letters of ``names[i]``; the target of a place is
    the token that follows, behind the last letter ``MARK``. The rest of a row is filler: ``MARK``
    in the tokens, ``IGNORED`` in the targets. T is `context`, or what the longest name needs.
    """
    words = words_of("encode", names)
    needed = 1 + max(map(len, words))
    length = needed if context is None else whole("encode", "context", context)
    if needed > length:
        raise ValueError(f"encode: a name of {needed - 1} letters needs a context of {needed}, got "
                         f"{length}; raise context, or leave the name out")  # fmt: skip
    tokens = np.full((len(words), length), MARK, dtype=np.int64)
    targets = np.full((len(words), length), IGNORED, dtype=np.int64)
    for i, word in enumerate(words):
        tokens[i, 1 : 1 + len(word)] = word
        targets[i, : 1 + len(word)] = [*word, MARK]
    return tokens, targets


def decode(tokens: Any) -> list[str]:
    """The names in rows of tokens (N, T): what stands between two ``MARK``, or until the end.

    A ``MARK`` at the beginning of a row is left out, so rows of inputs can be given, and, where no
    name is empty, rows of targets.
    """
    rows = np.asarray(tokens)
    if rows.ndim != 2 or rows.dtype.kind not in "iu":
        raise ValueError(f"decode: expected integers of shape (N, T), got {rows.dtype} of shape "
                         f"{rows.shape}")  # fmt: skip
    names = []
    for row in rows.tolist():
        word = row[1:] if row[:1] == [MARK] else row
        word = word[: word.index(MARK)] if MARK in word else word
        if not all(0 <= token < MARK for token in word):
            raise ValueError(f"decode: {word} holds a number that is no letter, 0 to {MARK - 1}")
        names.append("".join(NAME_ALPHABET[token] for token in word))
    return names


class GPT(Module):
    """A causal transformer: integers (N, T) → the logits of the next token, (N, T, vocabulary).

    Embeddings of token and position, `num_blocks` pre-norm blocks, a last norm, and the table of
    the tokens once more as the output layer (Radford et al. 2019; tied as Press & Wolf 2017). The
    two tables start normal with deviation 0.02, all else as its layer does. T is at most `context`.
    """

    def __init__(
        self, vocabulary: int, context: int, embed_dim: int, num_heads: int, num_blocks: int,
        dropout: float = 0.0, rng: Any = None,
    ) -> None:  # fmt: skip
        self.vocabulary = whole("GPT", "vocabulary", vocabulary)
        self.context = whole("GPT", "context", context)
        num_blocks = whole("GPT", "num_blocks", num_blocks)
        rng = generator(rng, "GPT")
        self.token = Embedding(vocabulary, embed_dim, rng)
        self.position = Embedding(context, embed_dim, rng)
        for table in (self.token, self.position):
            normal_(table.weight, std=0.02, rng=rng)
        self.dropout = Dropout(dropout, rng)
        self.blocks = ModuleList(
            TransformerBlock(embed_dim, num_heads, 4 * embed_dim, dropout, rng)
            for _ in range(num_blocks)
        )
        self.norm = LayerNorm(embed_dim)

    def forward(self, tokens: Any) -> Tensor:
        """tokens: integers of shape (N, T), T from 1 to `context` → logits (N, T, vocabulary)."""
        shape = np.shape(tokens)
        if len(shape) != 2 or not 1 <= shape[1] <= self.context:
            raise ValueError(f"GPT({self.extra_repr()}): expected tokens of shape (N, T), T from 1 "
                             f"to {self.context}, got {shape}")  # fmt: skip
        x: Any = self.token(tokens) + self.position(np.arange(shape[1], dtype=np.int64))
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, is_causal=True)
        return F.linear(self.norm(x), self.token.weight)

    def extra_repr(self) -> str:
        return f"{self.vocabulary}, context={self.context}"


def token_loss(logits: Any, targets: Any) -> Tensor:
    """Minus the mean log-probability of the targets that are not ``IGNORED``, in nats.

    logits (N, T, V), targets integers (N, T). The mean is over characters, not over names; without
    any it is NaN, as in PyTorch.
    """
    shape = np.shape(logits)
    if len(shape) != 3 or np.shape(targets) != shape[:2]:
        raise ValueError(f"token_loss: expected logits (N, T, V) and targets (N, T), got {shape} "
                         f"and {np.shape(targets)}")  # fmt: skip
    flat = np.asarray(targets).reshape(-1)
    return F.cross_entropy(logits.reshape(-1, shape[2]), flat, ignore_index=IGNORED)


def decay_groups(model: Module, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups of the parameters of `model` for AdamW: those that decay, and those that do not.

    The weights of the `Linear` layers decay; biases, norms and embeddings do not.
    """
    chosen = {id(m.weight) for m in model.modules() if isinstance(m, Linear)}
    tables = {id(m.weight) for m in model.modules() if isinstance(m, Embedding)}
    groups: list[dict[str, Any]] = [
        {"params": [], "weight_decay": weight_decay},
        {"params": [], "weight_decay": 0.0},
    ]
    for p in model.parameters():
        groups[id(p) not in chosen - tables]["params"].append(p)
    return [group for group in groups if group["params"]]


def optimizer_for(
    model: Module, steps: int, lr: float = 0.005, weight_decay: float = 0.1
) -> tuple[AdamW, SequentialLR]:
    """AdamW for `model` and its schedule: a tenth of `steps` to warm up, a cosine to lr / 10."""
    steps = whole("optimizer_for", "steps", steps, low=2)
    optimizer = AdamW(decay_groups(model, weight_decay), lr=lr, betas=(0.9, 0.99))
    warmup = max(1, steps // 10)
    parts = [
        LinearWarmup(optimizer, warmup),
        CosineAnnealingLR(optimizer, steps - warmup, eta_min=lr / 10),
    ]
    return optimizer, SequentialLR(optimizer, parts, [warmup])


def nll(model: Module, names: Iterable[str]) -> float:
    """What a character of `names` costs under `model`, in nats; the end of a name counts as one.

    Without dropout and without gradients; the model's mode is as before afterwards.
    """
    tokens, targets = encode(names)
    modes, total = modes_of(model), 0.0
    model.eval()
    try:
        with no_grad():
            for start in range(0, len(tokens), 512):
                part = slice(start, start + 512)
                logits = model(tokens[part])
                flat = logits.data.reshape(-1, logits.shape[2]).astype(np.float64)
                loss = F.cross_entropy(
                    Tensor(flat), targets[part].reshape(-1), reduction="sum", ignore_index=IGNORED
                )
                total += loss.item()
    finally:
        set_modes(modes)
    return total / int(np.sum(targets != IGNORED))


def probabilities(logits: Any, temperature: float = 1.0) -> Array:
    """softmax(logits / temperature) over the last axis, in float64.

    `logits` is an array, `temperature` a number above 0: below 1 the likely becomes likelier.
    """
    if isinstance(temperature, bool) or not isinstance(temperature, Real):
        raise TypeError(f"probabilities: expected temperature to be a number, got {temperature!r}")
    if not (isfinite(temperature) and temperature > 0):
        raise ValueError(f"probabilities: expected a finite temperature above 0, got "
                         f"{temperature}; for the likeliest token pass 0.01")  # fmt: skip
    z = np.asarray(logits, dtype=np.float64)
    with np.errstate(over="ignore"):  # the largest of z is 0 first, the others may become -inf
        p = np.exp((z - z.max(axis=-1, keepdims=True)) / float(temperature))
    out: Array = p / p.sum(axis=-1, keepdims=True)
    return out


def draw(p: Array, rng: np.random.Generator) -> Array:
    """One index for each row of the probabilities `p` (N, V), drawn by `rng`: int64 (N,).

    A row need not sum to 1. ValueError for NaN, a negative number or a row of zeros.
    """
    total = np.sum(p, axis=-1)
    if np.ndim(p) != 2 or not (np.all(p >= 0) and np.isfinite(total).all() and np.all(total > 0)):
        raise ValueError(f"draw: expected rows of probabilities (N, V), got {p!r}; if they are "
                         f"NaN, the model's weights are, too")  # fmt: skip
    steps = p.cumsum(axis=1)
    u = rng.random((len(p), 1)) * steps[:, -1:]
    return np.asarray(np.sum(steps <= u, axis=1, dtype=np.int64))


def sample(
    model: Any, count: int, *, temperature: float = 1.0, rng: np.random.Generator,
    prefix: str = "",
) -> list[str]:  # fmt: skip
    """`count` names drawn letter by letter from `model`, all of them beginning with `prefix`.

    A name ends at ``MARK``, or when it has ``context - 1`` letters. Without dropout and without
    gradients; the model's mode is as before afterwards. `rng` draws the same number of numbers
    for each letter, whichever names have ended.
    """
    count = whole("sample", "count", count)
    if not isinstance(rng, np.random.Generator):
        got = type(rng).__name__
        raise TypeError(f"sample: expected rng to be a numpy Generator, got {got}; use "
                        f"np.random.default_rng(0)")  # fmt: skip
    start = [MARK, *letters_of("sample", prefix)]
    if len(start) >= model.context:
        raise ValueError(f"sample: the prefix {prefix!r} leaves no room for a letter in a context "
                         f"of {model.context}; shorten it")  # fmt: skip
    tokens = np.tile(np.array(start, dtype=np.int64), (count, 1))
    modes, ended = modes_of(model), np.zeros(count, bool)
    model.eval()
    try:
        with no_grad():
            while tokens.shape[1] < model.context and not ended.all():
                p = probabilities(model(tokens).data[:, -1], temperature)
                new = np.where(ended, MARK, draw(p, rng))
                ended |= new == MARK
                tokens = np.concatenate([tokens, new[:, None]], axis=1)
    finally:
        set_modes(modes)
    return decode(tokens)


class NGram:
    """What the last ``order - 1`` tokens say about the next one, by counting.

    p_n(c | h) = (count(h c) + s p_{n-1}(c | h')) / (count(h) + s), where h are the last n - 1
    tokens and h' is h without its first; p_0 is uniform. So `strength` s characters are made up,
    in the shares that the shorter history expects (MacKay & Peto 1995). Until there are ``order -
    1`` tokens, the history is shorter.
    """

    def __init__(self, names: Iterable[str], order: int, strength: float) -> None:
        self.order = whole("NGram", "order", order)
        if isinstance(strength, bool) or not isinstance(strength, Real) or not 0 < strength < inf:
            raise ValueError(f"NGram: expected a finite strength above 0, got {strength!r}")
        self.strength: float = float(strength)
        self.counts: dict[tuple[int, ...], Array] = {}
        for word in words_of("NGram", names):
            marked = (MARK, *word, MARK)
            for end in range(1, len(marked)):
                for start in range(max(0, end - self.order + 1), end + 1):
                    zeros = np.zeros(VOCABULARY, dtype=np.int64)
                    self.counts.setdefault(marked[start:end], zeros)[marked[end]] += 1

    def next_probabilities(self, history: Sequence[int]) -> Array:
        """The probability of each token after `history`, which begins with ``MARK``: (27,)."""
        p: Array = np.full(VOCABULARY, 1 / VOCABULARY)
        for length in range(min(self.order, len(history) + 1)):
            counts = self.counts.get(tuple(history[len(history) - length :]))
            if counts is None:  # a longer history was seen even less
                break
            p = (counts + self.strength * p) / (counts.sum() + self.strength)
        return p

    def nll(self, names: Iterable[str]) -> float:
        """What a character of `names` costs, in nats; the end of a name counts as one."""
        costs = []
        for word in words_of("NGram.nll", names):
            marked = [MARK, *word, MARK]
            for end in range(1, len(marked)):
                costs.append(-np.log(self.next_probabilities(marked[:end])[marked[end]]))
        return float(np.mean(costs))


def bigram_table(names: Iterable[str], added: float = 1.0) -> Array:
    """Probabilities of the next token (column) after each token (row), (27, 27), float64.

    The counts of pairs in `names`, plus `added` each, divided by the sums of the rows.
    """
    if isinstance(added, bool) or not isinstance(added, Real) or not 0 < added < inf:
        raise ValueError(f"bigram_table: expected a finite number above 0 to add, got {added!r}")
    counts = np.full((VOCABULARY, VOCABULARY), float(added))
    for word in words_of("bigram_table", names):
        np.add.at(counts, ([MARK, *word], [*word, MARK]), 1)
    out: Array = counts / counts.sum(axis=1, keepdims=True)
    return out


def bigram_nll(table: Array, names: Iterable[str]) -> float:
    """What a character of `names` costs under a `bigram_table` (27, 27), in nats."""
    if np.shape(table) != (VOCABULARY, VOCABULARY):
        raise ValueError(f"bigram_nll: expected a table (27, 27), got {np.shape(table)}; make it "
                         f"with bigram_table")  # fmt: skip
    tokens, targets = encode(names)
    real = targets != IGNORED
    return float(-np.mean(np.log(table[tokens[real], targets[real]])))


LONG = {"embed_dim": 64, "num_heads": 4, "num_blocks": 3}
LONG_EPOCHS = 80
LONG_RATE = 0.003
LONG_BATCH = 64
LONG_FILE = Path(str(resources.files("odyssey.train"))) / "language_model.json"


def long_run(dropout: float, seed: int, epochs: int | None = None) -> dict[str, Any]:
    """The curve of a larger model and more epochs: what a character costs after each epoch.

    On 1,000 training names and on all validation names; on the test names after the last epoch.
    With `epochs`, only the first ones, of a schedule that is still made for `LONG_EPOCHS`.
    """
    names, rng = load_names(), np.random.default_rng(seed)
    model = GPT(VOCABULARY, 12, **LONG, dropout=dropout, rng=rng)
    loader = DataLoader(*encode(names["train"], 12), batch_size=LONG_BATCH, rng=rng)
    optimizer, scheduler = optimizer_for(model, LONG_EPOCHS * len(loader), LONG_RATE)
    parts = {"train": names["train"][:1000], "validation": names["validation"]}
    history = fit(
        model, token_loss, loader, optimizer, scheduler=scheduler, clip_norm=1.0, progress=False,
        epochs=LONG_EPOCHS if epochs is None else epochs,
        validate=lambda m: {part: nll(m, chosen) for part, chosen in parts.items()},
    )  # fmt: skip
    curves = {part: [round(x, 4) for x in xs] for part, xs in history.validation.items()}
    test = round(nll(model, names["test"]), 4)
    return {"dropout": dropout, "seed": seed, **curves, "test": test}


def main(
    path: str | Path = LONG_FILE, dropouts: Sequence[float] = (0.0, 0.1, 0.3),
    seeds: Sequence[int] = (0, 1), epochs: int | None = None,
) -> None:  # fmt: skip
    """Store the long runs in a file: ``python -m odyssey.train.language_model``."""
    found = {
        "command": "python -m odyssey.train.language_model",
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "runs": [long_run(dropout, seed, epochs) for dropout in dropouts for seed in seeds],
    }
    Path(path).write_text(json.dumps(found), encoding="ascii")


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(
        prog="python -m odyssey.train.language_model",
        description="Train the larger models of the chapter, six runs of 80 epochs, and store "
        "their losses as JSON. This takes some tens of minutes.",
    )
    _parser.add_argument("path", nargs="?", type=Path, default=LONG_FILE,
                         help="where to write; without it, the file of the package")  # fmt: skip
    main(_parser.parse_args().path)
