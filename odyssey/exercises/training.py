"""Checks for the exercises of the chapter training."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, log, nan
from typing import Any

import numpy as np

from .. import nn
from ..autograd import Tensor
from ..data import DataLoader, load_digits
from ..nn import functional as F
from ..optim import SGD
from ._check import NotYet, exercise

# ---- accumulation ----

SIZES = (6, 6, 3)  # of the micro-batches; the last one is smaller


def _problem() -> tuple[Any, list[tuple[Any, Any]]]:
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Linear(5, 4, rng=rng), nn.Tanh(), nn.Linear(4, 3, rng=rng))
    for p in model.parameters():
        p.data = p.data.astype(np.float64)
    return model, [(3 * rng.normal(size=(n, 5)), rng.integers(0, 3, n, dtype=np.int64)) for n in SIZES]


def _gradients(model: Any, batches: list[tuple[Any, Any]], weights: list[float]) -> tuple[float, Any]:
    """The weighted sum of the losses of the batches, and its gradient as one vector."""
    total = 0.0
    model.zero_grad()
    for (x, y), weight in zip(batches, weights, strict=True):
        loss = F.cross_entropy(model(Tensor(x)), y) * weight
        loss.backward()
        total += loss.item()
    return total, _vector(model)


def _vector(model: Any) -> Any:
    return np.concatenate([p.grad.reshape(-1) for p in model.parameters()])


@exercise
def check_accumulate(answer: Callable[..., Any]) -> str:
    """`answer(model, loss_fn, batches)`: the mean loss over all samples; its gradients stand in `.grad`."""
    model, batches = _problem()
    n = sum(SIZES)
    loss, expected = _gradients(model, batches, [size / n for size in SIZES])
    wrong = {
        "that is the mean of the means: the small batch counts as much as the large ones; weight each by its share "
        "of the samples": [1 / 3] * 3,
        "that is the sum of the means; weight each by its share of the samples": [1.0] * 3,
        "that is the sum over all samples; divide by their number": [float(size) for size in SIZES],
        "only the last batch is in the gradient; clear it before the first batch alone": [0, 0, SIZES[2] / n],
        "only the last batch is in the gradient, and with its full weight": [0.0, 0.0, 1.0],
        "each loss is a mean already; weight it by its share of the samples, not by 1 / n": [1 / n] * 3,
        "that is divided by the size of the first batch; divide by the number of all samples": [
            size / SIZES[0] for size in SIZES
        ],
        "backward() of the running sum counts the first batch again each time; call it on each loss alone": [
            (3 - k) * size / n for k, size in enumerate(SIZES)
        ],
    }
    found = {hint: _gradients(model, batches, weights)[1] for hint, weights in wrong.items()}
    stale = [np.ones_like(p.data) for p in model.parameters()]
    for p, g in zip(model.parameters(), stale, strict=True):
        p.grad = g.copy()
    got_loss = answer(model, F.cross_entropy, [(x.copy(), y.copy()) for x, y in batches])
    if any(p.grad is None for p in model.parameters()):
        raise NotYet("a parameter has no gradient afterwards; leave the sum in .grad, and call backward() on a Tensor")
    got = _vector(model)
    for hint, value in found.items():
        if np.allclose(got, value):
            raise NotYet(hint)
    for value in (expected, *found.values()):
        if np.allclose(got, value + 1.0):
            raise NotYet("the gradients of the step before are still in there; clear them before the first batch")
    if not np.allclose(got, expected):
        ratio = float(got @ expected / (expected @ expected))
        raise NotYet(f"the gradient is not that of one large batch; along it, it is {ratio:.3f} times as long")
    if got_loss is None:
        raise NotYet("the gradients are right, but your function returns nothing; return the mean loss")
    value = got_loss.item() if isinstance(got_loss, Tensor) else float(got_loss)
    if not np.isclose(value, loss):
        raise NotYet(f"the gradients are right, but the loss over all samples is {loss:.6f}, not {value:.6f}")
    return "a small batch has a small vote, and the large batch cannot be told from its parts."


# ---- early stopping ----

METRICS: tuple[tuple[list[float], int, str, int], ...] = (
    ([0.9, 0.7, 0.8, 0.75, 0.72, 0.6], 3, "min", 5),
    ([0.9, 0.7, 0.8, 0.6, 0.7, 0.5, 0.55, 0.4], 2, "min", 8),
    ([0.5, 0.5, 0.5, 0.5, 0.5], 2, "min", 3),
    ([0.9, 0.8, 0.85, 0.84, 0.83, 0.7], 3, "min", 5),
    ([0.9, 0.7, 0.6, 0.5], 1, "min", 4),
    ([0.2, 0.5, 0.4, 0.3, 0.6], 2, "max", 4),
    ([0.2, 0.5, 0.6, 0.7, 0.8], 2, "max", 5),
    ([0.9, nan, nan, 0.8], 2, "min", 3),
    ([-0.1, -0.5, -0.3, -0.2, -0.9], 2, "min", 4),
    ([5.0, 4.999, 4.998, 4.997], 2, "min", 4),
    ([-3.0, -2.0, -2.5, -2.2, -1.0], 2, "max", 4),
)


def _stop(metrics: list[float], patience: int, mode: str, mistake: str = "") -> int:
    """After how many epochs the run ends; `mistake` names a known wrong turn."""
    best, bad, previous = inf, 0, inf
    if mistake == "zero" and mode == "max":
        best = 0.0
    for epoch, metric in enumerate(metrics, start=1):
        value = -metric if mode == "max" and mistake != "mode" else metric
        reference = previous if mistake == "previous" else best
        better = value <= reference if mistake == "constant" else value < reference
        if mistake == "nan":
            better = not value >= reference
        previous = value
        if better:
            best, bad = value, (bad if mistake == "never reset" else 0)
        else:
            bad += 1
        if bad >= patience + (mistake == "late") - (mistake == "early") and bad > 0:
            return epoch - (mistake == "from 0")
    return len(metrics)


STOP_MISTAKES = {
    "constant": "a metric that only stays the same counts as better; it must be strictly better",
    "late": "one epoch late: the run ends with bad epoch number `patience`, not after it",
    "early": "one epoch early: `patience` bad epochs may pass, and the last of them ends the run",
    "previous": "each metric is compared with the one before; compare it with the best so far",
    "never reset": "the count of bad epochs is never set back to zero; an improvement does that",
    "mode": 'for mode "max" larger is better',
    "nan": "NaN counts as an improvement; it compares as False with everything, so ask for value < best",
    "zero": 'for mode "max" the best metric starts at 0, but all metrics may be below that; start from -inf',
    "from 0": "the epochs are counted from 0; after the first one, one epoch has been made",
}


@exercise
def check_early_stopping(answer: Callable[..., Any]) -> str:
    """`answer(metrics, patience, mode)`: after how many epochs the run ends."""
    got = [answer(list(metrics), patience, mode) for metrics, patience, mode, _ in METRICS]
    if any(g is None for g in got):
        raise NotYet("your function returns nothing for some metrics; a run that never stops has len(metrics) epochs")
    expected = [epochs for *_, epochs in METRICS]
    if got == expected:
        return "patience counts bad epochs in a row, and only better is better."
    for mistake, hint in STOP_MISTAKES.items():
        if got == [_stop(metrics, patience, mode, mistake) for metrics, patience, mode, _ in METRICS]:
            raise NotYet(hint)
    place = next(i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b)
    metrics, patience, mode, epochs = METRICS[place]
    raise NotYet(
        f"for the metrics {metrics}, patience {patience} and mode {mode!r} expected {epochs} epochs, got {got[place]}"
    )


# ---- what to save ----


class Run:
    """A run in five attributes: `w`, `v`, `order`, `position`, `rng`; `step()` reads and changes all of them."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.w = self.rng.normal(size=3)
        self.v = np.zeros(3)
        self.order = self.rng.permutation(5)
        self.position = 0

    def step(self) -> None:
        """One step of momentum on sample ``order[position]``, with a dropout mask from the same generator."""
        if self.position == len(self.order):
            self.order, self.position = self.rng.permutation(5), 0
        x = np.cos(np.arange(3) + self.order[self.position]) * (self.rng.random(3) < 0.8)
        self.position += 1
        self.v *= 0.9
        self.v += (x @ self.w - 1) * x
        self.w -= 0.1 * self.v


def _part(run: Run, name: str) -> Any:
    value = getattr(run, name)
    return repr(value.bit_generator.state) if name == "rng" else np.array(value).tolist()


PARTS = {
    "w": "the weights",
    "v": "the velocity: the optimizer remembers",
    "order": "the order of the epoch under way",
    "position": "the position: the run begins the epoch anew",
    "rng": "the generator: from the next draw on, other masks and other orders",
}


@exercise
def check_resume(answer: Any) -> str:
    """`answer` is (save, load): ``saved = save(run)``; later ``load(other_run, saved)`` makes it go on as `run`."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise NotYet("pass both functions, as check_resume((save, load))")
    save, load = answer
    for steps in (8, 5):  # within the second epoch, and after the first
        run, other = Run(0), Run(1)
        for _ in range(steps):
            run.step()
        saved = save(run)
        if saved is None:
            raise NotYet("save returns nothing; return what load needs")
        then = {name: _part(run, name) for name in PARTS}
        for _ in range(9):
            run.step()
        load(other, saved)
        for name, what in PARTS.items():
            now = _part(other, name)
            if now == then[name]:
                continue
            if now == _part(run, name):
                raise NotYet(f"{name} is not as it was when saved but as it is now: save a copy, the run goes on "
                             "changing its own")  # fmt: skip
            raise NotYet(f"{name} is not restored: {what}")
        if other.rng is run.rng:
            raise NotYet("the two runs share one generator; save its bit_generator.state instead")
        for _ in range(9):
            other.step()
        if any(_part(other, name) != _part(run, name) for name in PARTS):
            raise NotYet("equal at first, but the runs part later: something is shared, or not copied")
        load(again := Run(2), saved)
        if any(_part(again, name) != then[name] for name in PARTS):
            raise NotYet("loading the same save a second time gives another state: the first run changed the saved "
                         "arrays; copy in load, too")  # fmt: skip
    return "what a step reads and changes is the state, all of it and nothing else."


# ---- diagnosis ----

BUGS = {
    "sum": "the first loss is as many times log(10) as a batch has samples",
    "labels": "the training loss stays near log(10), as for labels that have nothing to do with the images",
    "softmax": "the loss cannot fall below log(1 + 9/e) = 1.461, although the accuracy is good",
    "unshuffled": "the loss rises and falls with each class that comes along",
    "dead": "the loss is log(10) in the first step, and the gradient of the hidden layer is exactly zero for ever",
}


def broken_runs() -> dict[str, dict[str, Any]]:
    """Five runs A to E with a bug each: what one would see, `loss` of every step, `accuracy` on the validation images,
    and `grad_norm`, the norm of the gradient of the first layer in every step."""
    return {letter: _broken(bug) for letter, bug in zip("ABCDE", ANSWER.values(), strict=True)}


ANSWER = {"A": "softmax", "B": "dead", "C": "sum", "D": "unshuffled", "E": "labels"}


def _broken(bug: str) -> dict[str, Any]:
    digits, rng = load_digits(), np.random.default_rng(5)
    (X, y), (X_held, y_held) = digits["train"], digits["validation"]
    if bug == "labels":
        y = rng.permutation(y)
    if bug == "unshuffled":
        order = np.argsort(y, kind="stable")
        X, y = X[order], y[order]
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32, rng=rng), nn.ReLU(), nn.Linear(32, 10, rng=rng))
    if bug == "dead":
        for p in model.parameters():
            p.data = np.zeros_like(p.data)
    lr = {"sum": 0.1 / 64, "softmax": 1.0}.get(bug, 0.1)  # so that each of them runs to its end
    optimizer = SGD(model.parameters(), lr=lr, momentum=0.9)
    first, loss_, norm_ = next(iter(model.parameters())), [], []
    loader = DataLoader(X, y, batch_size=64, shuffle=bug != "unshuffled", rng=rng)
    for _ in range(4):
        for x, target in loader:
            optimizer.zero_grad()
            z = model(Tensor(x))
            loss = F.cross_entropy(F.softmax(z) if bug == "softmax" else z, target,
                                   reduction="sum" if bug == "sum" else "mean")  # fmt: skip
            loss.backward()
            optimizer.step()
            loss_.append(loss.item())
            g: Any = first.grad
            norm_.append(float(np.sqrt(np.sum(g**2))))
    accuracy = float(np.mean(model(Tensor(X_held)).data.argmax(axis=1) == y_held))
    return {"loss": loss_, "accuracy": accuracy, "grad_norm": norm_}


@exercise
def check_diagnosis(answer: Any) -> str:
    """`answer`: for each of the runs A to E the name of its bug."""
    if not isinstance(answer, dict):
        raise NotYet("pass a dict, such as {'A': 'sum', ...}")
    for letter, bug in ANSWER.items():
        if letter not in answer:
            raise NotYet(f"run {letter} has no diagnosis yet; look at its first loss, its last ones, and its accuracy")
        if answer[letter] not in BUGS:
            raise NotYet(f"{answer[letter]!r} is not on the list: {', '.join(BUGS)}")
        if answer[letter] != bug:
            raise NotYet(f"run {letter} does not look like {answer[letter]!r}. With that bug {BUGS[answer[letter]]}")
    return "each bug has a face."


# ---- the first loss ----


@exercise
def check_initial_loss(answer: Callable[..., Any]) -> str:
    """`answer(frequencies)`: the mean loss of a model that knows the classes' frequencies and nothing else."""
    cases = ([0.1] * 10, [0.5, 0.25, 0.25], [0.7, 0.2, 0.1], [0.5, 0.5, 0.0], [1.0, 0.0])
    for frequencies in cases:
        f = np.array(frequencies)
        with np.errstate(all="ignore"):
            got = answer(f.copy())
        if got is None or np.size(got) != 1:
            raise NotYet("return one number, the mean loss")
        value, used = float(got), f[f > 0]
        expected = float(-np.sum(used * np.log(used)))
        if np.isnan(value):
            raise NotYet(f"NaN for {frequencies}: 0 log 0 is 0 here, as a class that never comes costs nothing")
        if np.isclose(value, expected, atol=1e-6):
            continue
        if np.isclose(value, -expected):
            raise NotYet("the sign is wrong: a loss is minus the logarithm")
        if np.isclose(value, expected / log(2)):
            raise NotYet("that is in bits; the book's logarithm is natural")
        if np.isclose(value, log(len(f))):
            raise NotYet(f"log(C) is right when all classes are equally frequent; {frequencies} are not, and a model "
                         "that knows it does better")  # fmt: skip
        if any(np.isclose(value, float(-total(np.log(used)))) for total in (np.mean, np.sum)):
            raise NotYet("a class counts as often as it comes: weight -log f by f")
        raise NotYet(f"for the frequencies {frequencies} expected {expected:.4f}, got {value:.4f}")
    return "whoever starts above this number has a bug, or a last layer that is too large."
