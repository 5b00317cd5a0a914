"""The exercises of the chapter training: each known mistake gets its own hint. And the run of PyTorch it repeats."""

from math import inf, log
from pathlib import Path

import numpy as np
import pytest

import odyssey.nn.functional as F
from odyssey import Tensor, nn
from odyssey.data import DataLoader
from odyssey.exercises.training import (
    METRICS,
    Run,
    broken_runs,
    check_accumulate,
    check_diagnosis,
    check_early_stopping,
    check_initial_loss,
    check_resume,
)
from odyssey.optim import AdamW, OneCycleLR
from odyssey.train import EarlyStopping, State, fit
from tests.exercises import hint

ROOT = Path(__file__).parents[2]

# ---- accumulation ----


def accumulate(weight=lambda size, total, pieces: size / total, *, clear="first", returns=lambda total: total):
    def answer(model, loss_fn, batches):
        n, total = sum(len(y) for _, y in batches), 0.0
        if clear == "first":
            model.zero_grad()
        for X, y in batches:
            if clear == "each":
                model.zero_grad()
            loss = loss_fn(model(Tensor(X)), y) * weight(len(y), n, len(batches))
            loss.backward()
            total += loss.item()
        return returns(total)

    return answer


def no_backward(model, loss_fn, batches):
    model.zero_grad()
    return 1.0


def one_large_batch(model, loss_fn, batches):
    model.zero_grad()
    X, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    loss = loss_fn(model(Tensor(X)), y)
    loss.backward()
    return loss


def running_sum(model, loss_fn, batches):
    model.zero_grad()
    n, total = sum(len(y) for _, y in batches), 0.0
    for X, y in batches:
        total = total + loss_fn(model(Tensor(X)), y) * (len(y) / n)
        total.backward(retain_tape=True)
    return total


def test_right_accumulations_pass():
    assert check_accumulate(accumulate()) is True
    assert check_accumulate(one_large_batch) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (accumulate(lambda size, n, k: 1 / k), "mean of the means"),
        (accumulate(lambda size, n, k: 1.0), "sum of the means"),
        (accumulate(lambda size, n, k: size), "sum over all samples"),
        (accumulate(clear="each"), "only the last batch is in the gradient; clear"),
        (accumulate(lambda size, n, k: 1.0, clear="each"), "with its full weight"),
        (accumulate(clear="never"), "step before are still in there"),
        (accumulate(lambda size, n, k: 1 / k, clear="never"), "step before are still in there"),
        (accumulate(lambda size, n, k: 2 * size / n), "2.000 times as long"),
        (accumulate(lambda size, n, k: 1 / n), "a mean already; weight it by its share"),
        (accumulate(lambda size, n, k: size / 6), "divided by the size of the first batch"),
        (running_sum, "counts the first batch again each time"),
        (no_backward, "a parameter has no gradient"),
        (accumulate(returns=lambda total: None), "returns nothing"),
        (accumulate(returns=lambda total: 2 * total), "the loss over all samples is"),
    ],
)
def test_mistakes_in_accumulating(answer, words, capsys):
    assert words in hint(check_accumulate, answer, capsys)


# ---- early stopping ----


def stopping(
    reaches=0, better=lambda value, best: value < best, *, mode=True, reset=True, against="best", first=1, worst=None
):
    def answer(metrics, patience, mode_):
        best = previous = worst[mode_] if worst else inf
        bad = 0
        for epoch, metric in enumerate(metrics):
            value = -metric if mode and mode_ == "max" else metric
            good = better(value, best if against == "best" else previous)
            previous = value
            if good:
                best, bad = value, 0 if reset else bad
            else:
                bad += 1
            if bad and bad >= patience + reaches:
                return epoch + first
        return len(metrics)

    return answer


def by_package(metrics, patience, mode):
    """EarlyStopping, fed with the metrics one after the other."""
    stopper = EarlyStopping(patience, mode)
    model = nn.Linear(1, 1)
    state = State(model, None, None, None, None, len(metrics))
    for value in metrics:
        state.history.add_epoch({"metric": value}, 0.0)
        stopper.after_epoch(state)
        if state.history.stopped is not None:
            break
    return state.epoch


def test_right_stops_pass():
    assert check_early_stopping(stopping()) is True
    assert check_early_stopping(by_package) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (stopping(better=lambda value, best: value <= best), "only stays the same counts as better"),
        (stopping(reaches=1), "one epoch late"),
        (stopping(reaches=-1), "one epoch early"),
        (stopping(against="previous"), "compared with the one before"),
        (stopping(reset=False), "never set back to zero"),
        (stopping(mode=False), "larger is better"),
        (stopping(better=lambda value, best: not value >= best), "NaN counts as an improvement"),
        (stopping(first=0), "counted from 0"),
        (stopping(worst={"min": inf, "max": 0.0}), "starts at 0, but all metrics may be below"),
        (stopping(better=lambda value, best: value < best - 0.01), "for the metrics [5.0, 4.999, 4.998, 4.997]"),
        (lambda metrics, patience, mode: None, "returns nothing"),
        (lambda metrics, patience, mode: 2, f"for the metrics {METRICS[0][0]}, patience 3 and mode 'min' expected 5"),
    ],
)
def test_mistakes_in_stopping(answer, words, capsys):
    assert words in hint(check_early_stopping, answer, capsys)


# ---- what to save ----

ARRAYS = ("w", "v", "order")


def saving(without=None, *, copied=True, copied_back=True, generator="state"):
    def save(run):
        saved = {name: getattr(run, name).copy() if copied else getattr(run, name) for name in ARRAYS}
        saved["position"] = run.position
        saved["rng"] = run.rng if generator == "shared" else run.rng.bit_generator.state
        saved.pop(without, None)
        return saved

    def load(run, saved):
        for name in ARRAYS:
            if name in saved:
                setattr(run, name, saved[name].copy() if copied_back else saved[name])
        run.position = saved.get("position", 0)
        if generator == "shared":
            run.rng = saved["rng"]
        elif "rng" in saved:
            run.rng.bit_generator.state = saved["rng"]

    return save, load


def test_all_five_parts_pass():
    assert check_resume(saving()) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        (saving("w"), "w is not restored: the weights"),
        (saving("v"), "v is not restored: the velocity"),
        (saving("order"), "order is not restored"),
        (saving("position"), "position is not restored"),
        (saving("rng"), "rng is not restored: the generator"),
        (saving(copied=False), "w is not as it was when saved but as it is now"),
        (saving(copied_back=False), "loading the same save a second time"),
        (saving(generator="shared"), "rng is not as it was when saved but as it is now"),
        ((lambda run: None, lambda run, saved: None), "save returns nothing"),
        (lambda run: None, "pass both functions"),
    ],
)
def test_mistakes_in_saving(answer, words, capsys):
    assert words in hint(check_resume, answer, capsys)


def test_every_attribute_of_the_run_matters():
    """Otherwise the exercise would ask for something that no step reads."""
    for name in ("w", "v", "order", "position", "rng"):
        one, two = Run(0), Run(0)
        for run in (one, two):
            for _ in range(7):
                run.step()
        setattr(two, name, {"position": 0, "rng": np.random.default_rng(9)}.get(name, getattr(Run(5), name)))
        for run in (one, two):
            for _ in range(9):
                run.step()
        assert not np.array_equal(one.w, two.w), name


# ---- diagnosis ----

RIGHT = {"A": "softmax", "B": "dead", "C": "sum", "D": "unshuffled", "E": "labels"}


def test_the_right_diagnosis_passes():
    assert check_diagnosis(RIGHT) is True


@pytest.mark.parametrize(
    "answer, words",
    [
        ([], "pass a dict"),
        ({}, "run A has no diagnosis yet"),
        (RIGHT | {"B": "flu"}, "'flu' is not on the list"),
        (RIGHT | {"C": "labels"}, "run C does not look like 'labels'. With that bug the training loss stays near"),
        (RIGHT | {"E": "dead"}, "the gradient of the hidden layer is exactly zero"),
    ],
)
def test_mistakes_in_the_diagnosis(answer, words, capsys):
    assert words in hint(check_diagnosis, answer, capsys)


def test_the_runs_show_what_the_hints_say():
    runs = {RIGHT[letter]: run for letter, run in broken_runs().items()}
    loss = {name: np.array(run["loss"]) for name, run in runs.items()}
    assert abs(loss["sum"][0] / (64 * log(10)) - 1) < 0.1 and runs["sum"]["accuracy"] > 0.8
    assert abs(loss["labels"][-19:].mean() - log(10)) < 0.1 and runs["labels"]["accuracy"] < 0.3
    assert loss["softmax"].min() > log(1 + 9 / np.e) - 1e-4 and runs["softmax"]["accuracy"] > 0.7
    assert abs(loss["dead"][0] - log(10)) < 1e-5 and not any(runs["dead"]["grad_norm"])
    assert np.ptp(loss["unshuffled"]) > 0.8 and runs["unshuffled"]["accuracy"] < 0.3


# ---- the first loss ----


def test_the_entropy_passes():
    def entropy(f):
        used = f[f > 0]
        return -np.sum(used * np.log(used))

    assert check_initial_loss(entropy) is True
    assert check_initial_loss(lambda f: -np.sum(f * np.log(f + 1e-12))) is True  # the same to all digits


@pytest.mark.parametrize(
    "answer, words",
    [
        (lambda f: log(len(f)), "log(C) is right when all classes are equally frequent"),
        (lambda f: -np.sum(f * np.log2(f)), "in bits"),
        (lambda f: np.sum(f * np.log(f)), "the sign is wrong"),
        (lambda f: -np.mean(np.log(f)), "a class counts as often as it comes"),
        (lambda f: -np.sum(np.log(f)), "a class counts as often as it comes"),
        (lambda f: -np.sum(f * np.log(f)), "0 log 0 is 0"),
        (lambda f: None, "return one number"),
        (lambda f: f, "return one number"),
        (lambda f: 7.0, "got 7.0000"),
    ],
)
def test_mistakes_in_the_first_loss(answer, words, capsys):
    assert words in hint(check_initial_loss, answer, capsys)


# ---- PyTorch's run ----


def test_a_whole_run_is_that_of_pytorch():
    with np.load(ROOT / "tests" / "reference" / "training.npz") as file:
        reference = {name: file[name] for name in file.files}
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))
    for name, p in model.named_parameters():
        p.data = reference[f"start.{name}"].copy()
    optimizer = AdamW(model.parameters(), lr=1e-3, weight_decay=0.1)
    loader = DataLoader(reference["X"], reference["y"], batch_size=32, shuffle=False)
    schedule = OneCycleLR(optimizer, max_lr=0.05, total_steps=3 * len(loader))
    history = fit(
        model, F.cross_entropy, loader, optimizer, epochs=3, scheduler=schedule, clip_norm=0.5, progress=False
    )
    np.testing.assert_allclose(history.loss, reference["loss"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(history.grad_norm, reference["norm"], rtol=0, atol=1e-9)
    np.testing.assert_allclose(np.array(history.lr)[:, 0], reference["lr"], rtol=0, atol=1e-12)
    assert 0 < np.sum(reference["norm"] > 0.5) < len(history.loss)  # clipped in some steps, in others not
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.data, reference[f"end.{name}"], rtol=0, atol=1e-9)
        assert np.abs(p.data - reference[f"start.{name}"]).max() > 1e-3
