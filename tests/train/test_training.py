"""fit: bit for bit the loop one would write by hand, its options one by one, resuming, and what it refuses."""

import copy
import json
import sys
from contextlib import nullcontext
from functools import partial
from math import inf, isnan, nan

import numpy as np
import pytest

import odyssey
import odyssey.nn.functional as F
from odyssey import Tensor, nn, no_grad
from odyssey.amp import GradScaler, autocast
from odyssey.data import DataLoader, load_digits
from odyssey.optim import (
    SGD,
    Adam,
    AdamW,
    CosineAnnealingLR,
    LinearWarmup,
    OneCycleLR,
    ReduceOnPlateau,
    SequentialLR,
    StepLR,
    clip_grad_norm,
)
from odyssey.train import CheckpointError, EarlyStopping, History, fit, load_checkpoint, save_checkpoint

SAMPLES, BATCH = 22, 5
STEPS = 5  # in an epoch


class Parts:
    """A small network with everything that must be carried over a break: dropout, batch norm, a shared generator."""

    def __init__(self, seed=0, optimizer=Adam, **options):
        rng = np.random.default_rng(seed)
        self.X = rng.standard_normal((SAMPLES, 6)).astype(np.float32)
        self.y = rng.integers(0, 3, SAMPLES)
        self.model = nn.Sequential(
            nn.Linear(6, 8, rng=rng), nn.BatchNorm(8), nn.ReLU(), nn.Dropout(0.3, rng=rng), nn.Linear(8, 3, rng=rng)
        )
        self.loader = DataLoader(self.X, self.y, batch_size=BATCH, rng=rng)
        self.optimizer = optimizer(self.model.parameters(), **({"lr": 0.01} | options))

    def four(self):
        return self.model, F.cross_entropy, self.loader, self.optimizer

    def fit(self, epochs=2, **options):
        return fit(*self.four(), epochs=epochs, **({"progress": False} | options))

    def accuracy(self, model):
        assert model is self.model
        return float((model(Tensor(self.X)).data.argmax(1) == self.y).mean())

    def loss(self, model):
        return F.cross_entropy(model(Tensor(self.X)), self.y).item()


def by_hand(parts, epochs, scheduler=None, per="step", clip=None, scaler=None, half=None, metric=None):
    """What fit does, written out: the losses, rates, norms, skipped steps and metrics."""
    loss_, lr_, norm_, skipped, metrics = [], [], [], [], []
    for _ in range(epochs):
        for x, y in parts.loader:
            parts.optimizer.zero_grad()
            with autocast(half) if half else nullcontext():
                loss = F.cross_entropy(parts.model(Tensor(x)), y)
            if scaler:
                scaler.scale(loss).backward()
                scaler.unscale_(parts.optimizer)
            else:
                loss.backward()
            norm_.append(clip_grad_norm(parts.model.parameters(), inf if clip is None else clip))
            loss_.append(loss.item())
            lr_.append([group["lr"] for group in parts.optimizer.param_groups])
            if scaler:
                if not scaler.step(parts.optimizer):
                    skipped.append(len(loss_))
                scaler.update()
            else:
                parts.optimizer.step()
            if scheduler is not None and per == "step":
                scheduler.step()
        if metric:
            parts.model.eval()
            with no_grad():
                metrics.append(metric(parts.model))
            parts.model.train()
        if scheduler is not None and per != "step":
            scheduler.step(*(metrics[-1:] if per == "plateau" else []))
    return loss_, lr_, norm_, skipped, metrics


def numbers(history):
    return history.loss, history.lr, history.grad_norm, history.skipped, history.validation.get("validation", [])


def same_weights(one, two):
    a, b = one.model.state_dict(), two.model.state_dict()
    return a.keys() == b.keys() and all(a[k].tobytes() == b[k].tobytes() for k in a)


def without_time(history):
    return {k: v for k, v in history.to_dict().items() if k != "seconds"}


SCHEDULES = {
    "none": (lambda o: None, "step"),
    "one cycle": (lambda o: OneCycleLR(o, 0.05, 3 * STEPS), "step"),
    "cosine": (lambda o: CosineAnnealingLR(o, 3 * STEPS), "step"),
    "warm-up, then cosine": (lambda o: SequentialLR(o, [LinearWarmup(o, 4), CosineAnnealingLR(o, 9)], [4]), "step"),
    "step per epoch": (lambda o: StepLR(o, 1, 0.5), "epoch"),
    "plateau": (lambda o: ReduceOnPlateau(o, "max", patience=0, threshold=0.5), "plateau"),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("clip", [None, 0.5])
def test_fit_is_the_loop_by_hand(schedule, clip):
    make, per = SCHEDULES[schedule]
    one, two = Parts(), Parts()
    history = one.fit(
        3, scheduler=make(one.optimizer), scheduler_step="epoch" if per == "epoch" else "step",
        clip_norm=clip, validate=one.accuracy,
    )  # fmt: skip
    wanted = by_hand(two, 3, make(two.optimizer), per, clip, metric=two.accuracy)
    assert numbers(history) == wanted
    assert same_weights(one, two)
    rates = {rates[0] for rates in history.lr}
    assert (len(rates) > 1) == (schedule != "none")
    assert one.optimizer.param_groups[0]["lr"] == two.optimizer.param_groups[0]["lr"]
    assert max(history.grad_norm) > 0.5  # so that clipping clips
    assert history.epoch_ends == [5, 10, 15] and len(history.seconds) == 3 and min(history.seconds) > 0


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_other_optimizers(optimizer):
    one, two = Parts(1, optimizer), Parts(1, optimizer)
    assert numbers(one.fit(2)) == by_hand(two, 2) and same_weights(one, two)


def test_mixed_precision_is_the_loop_by_hand_and_skips():
    one, two, plain = Parts(), Parts(), Parts()
    options = {"init_scale": 2.0**127, "growth_interval": 3, "backoff_factor": 2.0**-60}
    first, second = GradScaler(**options), GradScaler(**options)
    history = one.fit(3, scaler=first, amp_dtype=np.float16, clip_norm=1.0)
    wanted = by_hand(two, 3, scaler=second, half=np.float16, clip=1.0)
    assert repr(numbers(history)) == repr(wanted)  # the norm of a skipped step may be NaN
    assert same_weights(one, two) and first.state_dict() == second.state_dict()
    assert history.skipped and history.skipped[0] == 1 and len(history.skipped) < 15
    assert history.loss[0] != plain.fit(1).loss[0]  # the products were rounded


def test_bfloat16_needs_no_scaler():
    one, two = Parts(), Parts()
    assert numbers(one.fit(1, amp_dtype="bfloat16")) == by_hand(two, 1, half="bfloat16") and same_weights(one, two)


def test_a_scaler_that_is_off_changes_nothing():
    one, two = Parts(), Parts()
    assert numbers(one.fit(2, scaler=GradScaler(enabled=False))) == numbers(two.fit(2)) and same_weights(one, two)


def test_a_scheduler_steps_after_skipped_steps_too():
    one = Parts()
    scaler = GradScaler(init_scale=2.0**127, backoff_factor=2.0**-60)
    history = one.fit(1, scaler=scaler, scheduler=StepLR(one.optimizer, 1, 0.5), amp_dtype=np.float16)
    assert 1 in history.skipped
    assert [rates[0] for rates in history.lr] == [0.01 * 0.5**k for k in range(5)]


def test_parameter_groups_and_parameters_outside_the_optimizer():
    one = Parts()
    first, last = one.model[0], one.model[4]
    one.optimizer = SGD([{"params": last.parameters(), "lr": 0.1}, {"params": [first.bias], "lr": 0.2}], lr=0.3)
    before, bias = first.weight.data.copy(), first.bias.data.copy()
    history = one.fit(2)
    assert history.lr == [[0.1, 0.2]] * 10
    assert np.array_equal(first.weight.data, before) and not np.array_equal(first.bias.data, bias)
    # its gradient is that of one step, not the sum of ten, and does not count in the norm
    norm = clip_grad_norm([*last.parameters(), first.bias], inf)
    assert history.grad_norm[-1] == norm < clip_grad_norm(one.model.parameters(), inf)


def test_batches_of_one_and_of_three_arrays_and_of_integers():
    rng = np.random.default_rng(0)
    X, weights = rng.standard_normal((8, 4)).astype(np.float32), rng.random(8).astype(np.float32)
    seen = []

    def loss(output, *rest):
        seen.append([type(a) for a in rest])
        return (output * output).mean() if not rest else (output[:, 0] * rest[1]).mean()

    model = nn.Linear(4, 1, rng=rng)
    optimizer = SGD(model.parameters(), lr=0.1)
    fit(model, loss, DataLoader(X, batch_size=8, rng=rng), optimizer, epochs=1, progress=False)
    fit(model, loss, [(X, weights, weights)], optimizer, epochs=2, progress=False)
    assert seen == [[], [np.ndarray, np.ndarray], [np.ndarray, np.ndarray]]

    words = nn.Sequential(nn.Embedding(7, 3, rng=rng), nn.Linear(3, 7, rng=rng))
    ids = rng.integers(0, 7, (8, 5))
    history = fit(
        words, lambda z, y: F.cross_entropy(z.reshape(-1, 7), y.reshape(-1)), [[ids, ids]],
        Adam(words.parameters(), lr=0.1), epochs=30, progress=False,
    )  # fmt: skip
    assert history.loss[-1] < 0.5 < history.loss[0]


def test_modes_are_restored():
    one = Parts()
    during = []

    def validate(model):
        assert all(not m.training for m in model.modules())
        assert not model(Tensor(one.X)).requires_grad
        return 0.0

    def watch(state):
        during.append([m.training for m in state.model.modules()])

    one.model.eval()
    one.fit(1, validate=validate, callbacks=[watch])
    assert not any(m.training for m in one.model.modules()) and all(map(all, during))
    one.model.train()
    one.model[1].eval()  # a frozen batch norm stays frozen, and the validation does not thaw it
    mean = one.model[1].running_mean.copy()
    one.fit(2, validate=validate, callbacks=[watch])
    assert [m.training for m in one.model.modules()] == [True, True, False, True, True, True] == during[-1]
    assert np.array_equal(one.model[1].running_mean, mean)

    def bad(model):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        one.fit(1, validate=bad)
    assert [m.training for m in one.model.modules()] == [True, True, False, True, True, True]
    assert one.model(Tensor(one.X)).requires_grad


def test_validation_of_several_numbers_and_of_other_types():
    one = Parts()
    history = one.fit(2, validate=lambda m: {"loss": Tensor([2.0]).mean(), "accuracy": np.float32(0.5), "n": 3})
    assert history.validation == {"loss": [2.0, 2.0], "accuracy": [0.5, 0.5], "n": [3.0, 3.0]}
    assert all(type(v) is float for values in history.validation.values() for v in values)
    json.dumps(history.to_dict(), allow_nan=False)


def test_plateau_watches_the_metric_that_monitor_names():
    one = Parts()
    plateau = ReduceOnPlateau(one.optimizer, patience=0)
    left = iter([3, 2, 1, 1])
    one.fit(4, scheduler=plateau, validate=lambda m: {"a": next(left), "b": 5}, monitor="a")
    assert plateau.best == 1 and one.optimizer.param_groups[0]["lr"] == pytest.approx(0.001)
    with pytest.raises(ValueError, match=r"fit: expected monitor to be one of \['a', 'b'\], got None"):
        one.fit(1, scheduler=plateau, validate=lambda m: {"a": 1, "b": 5})


def explode(at):
    """cross_entropy whose loss is NaN at call number `at`."""
    calls = []

    def loss_fn(z, y):
        calls.append(0)
        loss = F.cross_entropy(z, y)
        return loss * (nan if len(calls) == at else 1.0)

    return loss_fn


def test_a_loss_that_is_nan_is_named_and_changes_no_parameter():
    one, two = Parts(), Parts()
    history = History()
    with pytest.raises(FloatingPointError, match=r"fit: the loss is nan in step 8, epoch 2; the parameters are as"):
        fit(one.model, explode(8), one.loader, one.optimizer, epochs=3, progress=False, history=history)
    stopped = two.fit(3, callbacks=[lambda state: state.stop() if state.step == 7 else None])
    for p, q in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert p.data.tobytes() == q.data.tobytes()
    assert history.loss == stopped.loss and len(history.loss) == len(history.lr) == len(history.grad_norm) == 7
    assert one.model.training


def test_a_gradient_that_is_infinite_is_named_too():
    one = Parts()
    before = [p.data.copy() for p in one.model.parameters()]

    def loss_fn(z, y):
        return (z * 0.0).abs().sqrt().sum()  # 0, with a slope of infinity times 0

    refusal = pytest.raises(FloatingPointError, match=r"fit: the norm of the gradients is nan in step 1, epoch 1")
    with np.errstate(divide="ignore", invalid="ignore"), refusal:
        fit(one.model, loss_fn, one.loader, one.optimizer, epochs=1, progress=False)
    assert all(np.array_equal(p.data, q) for p, q in zip(one.model.parameters(), before, strict=True))


def test_what_is_not_finite_may_be_ignored():
    one = Parts()
    history = fit(
        one.model, explode(3), one.loader, one.optimizer, epochs=2, progress=False, on_nonfinite="ignore",
        scheduler=ReduceOnPlateau(one.optimizer), validate=one.loss,
    )  # fmt: skip
    assert isnan(history.loss[2]) and isnan(history.grad_norm[2]) and len(history.loss) == 10
    assert np.isnan(one.model[0].weight.data).all()
    assert all(map(isnan, history.validation["validation"]))


def test_nothing_is_printed_without_progress(capsys):
    Parts().fit(2, validate=lambda m: 1.0)
    assert capsys.readouterr() == ("", "")


def test_the_progress_bar_shows_the_numbers(capsys):
    one = Parts()
    history = one.fit(2, progress=True, validate=lambda m: 0.25)
    out, err = capsys.readouterr()
    assert out == "" and "10/10" in err and "epoch 2/2" in err
    assert f"loss {history.loss[-1]:.4g}, lr 0.01, gradient {history.grad_norm[-1]:.3g}, validation 0.25" in err


def test_after_each_epoch_the_bar_shows_the_metric_of_that_epoch(capsys):
    one = Parts()
    metrics = iter((0.125, 0.375))
    one.fit(2, progress=True, validate=lambda m: next(metrics))
    shown = capsys.readouterr().err.split("\r")
    assert "epoch 1/2" in (first := next(line for line in shown if "0.125" in line)) and "5/10" in first
    assert "epoch 2/2" in shown[-1] and "10/10" in shown[-1]
    assert "validation 0.375" in shown[-1] and "0.125" not in shown[-1]


def test_the_progress_bar_leaves_no_thread_and_does_not_change_the_run():
    import threading

    one, two = Parts(), Parts()
    before = threading.active_count()
    assert numbers(one.fit(2, progress=True)) == numbers(two.fit(2)) and same_weights(one, two)
    assert threading.active_count() == before


def test_without_tqdm_the_error_names_the_extra_and_nothing_has_happened(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    one, two = Parts(), Parts()
    with pytest.raises(ImportError, match=r"fit: .*ml-odyssey\[train\].*progress=False"):
        one.fit(1, progress=True)
    assert same_weights(one, two) and one.loader.state_dict() == two.loader.state_dict()
    assert len(one.fit(1).loss) == STEPS


def test_without_safetensors_a_checkpoint_is_refused_at_once(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    one, two = Parts(), Parts()
    with pytest.raises(ImportError, match=r"fit: .*safetensors.*ml-odyssey\[train\]"):
        one.fit(1, checkpoint=tmp_path / "run.safetensors")
    assert same_weights(one, two) and one.loader.state_dict() == two.loader.state_dict()


def test_an_interrupt_passes_through_with_whole_lists():
    one, history = Parts(), History()

    def interrupt(state):
        if state.step == 7:
            state.history.loss.append(9.0)  # as if it came between two lists
            raise KeyboardInterrupt

    one.model.eval()
    with pytest.raises(KeyboardInterrupt) as error:
        one.fit(3, callbacks=[interrupt], history=history, progress=True)
    assert error.value.__notes__ == ["fit: interrupted after 7 steps, in epoch 2"]
    assert len(history.loss) == len(history.lr) == len(history.grad_norm) == 7 and history.epoch_ends == [5]
    assert not one.model.training


def test_a_given_history_is_the_one_that_is_returned():
    history = History()
    assert Parts().fit(1, history=history) is history and len(history.loss) == STEPS


# Checkpoints


class Full(Parts):
    """Everything that `fit` can save, and callbacks with and without a state."""

    def __init__(self):
        super().__init__(2, AdamW, lr=0.02)
        self.scheduler = OneCycleLR(self.optimizer, 0.05, 4 * STEPS)
        self.scaler = GradScaler(init_scale=2.0**100, growth_interval=4)
        self.callbacks = [EarlyStopping(2, "max"), lambda state: None]

    def run(self, path=None, epochs=4, extra=(), **options):
        return self.fit(
            epochs, scheduler=self.scheduler, scaler=self.scaler, amp_dtype=np.float16, clip_norm=0.7,
            validate=self.accuracy, callbacks=[*self.callbacks, *extra], checkpoint=path, **options,
        )  # fmt: skip


class Kill(Exception):
    """What ends a run from outside."""


def killer(step, event="step"):
    def kill(state):
        if (state.event, state.step) == (event, step):
            raise Kill

    return kill


@pytest.mark.parametrize("event, step", [("step", k) for k in range(1, 21)] + [("epoch", 5), ("epoch", 15)])
@pytest.mark.parametrize("every", [1, 3, None])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(tmp_path, event, step, every):
    path = tmp_path / "run.safetensors"
    undisturbed = Full()
    wanted = undisturbed.run(extra=[lambda state: None])
    with pytest.raises(Kill):
        Full().run(path, extra=[killer(step, event)], checkpoint_every=every)
    again = Full()
    if path.exists():
        again.model[0].weight.data[:] = 0.0  # whatever it began with
    history = again.run(path, extra=[lambda state: None], checkpoint_every=every)
    assert without_time(history) == without_time(wanted) and len(history.seconds) == len(wanted.seconds)
    assert same_weights(again, undisturbed)
    assert again.loader.state_dict() == undisturbed.loader.state_dict()
    assert again.scheduler.state_dict() == undisturbed.scheduler.state_dict()
    assert again.scaler.state_dict() == undisturbed.scaler.state_dict()
    assert vars(again.callbacks[0]) == vars(undisturbed.callbacks[0])
    assert not any(tmp_path.glob("*.tmp")) and not any(tmp_path.glob(".*.tmp"))


def test_killed_again_and_again(tmp_path):
    path = tmp_path / "run.safetensors"
    undisturbed = Full()
    wanted = undisturbed.run(extra=[lambda state: None])
    for step in range(2, len(wanted.loss) + 1, 2):
        with pytest.raises(Kill):
            Full().run(path, extra=[killer(step)], checkpoint_every=1)
    again = Full()
    assert without_time(again.run(path, extra=[lambda state: None])) == without_time(wanted)
    assert same_weights(again, undisturbed)


def test_a_checkpoint_is_written_every_so_many_steps_and_after_each_epoch(tmp_path):
    path = tmp_path / "run.safetensors"
    seen = {}

    def look(state):
        if state.event == "step":
            seen[state.step] = load_checkpoint(path, model=Parts().model)["step"] if path.exists() else None

    Parts().fit(2, checkpoint=path, checkpoint_every=3, callbacks=[look])
    assert seen == {1: None, 2: None, 3: None, 4: 3, 5: 3, 6: 5, 7: 6, 8: 6, 9: 6, 10: 9}
    assert load_checkpoint(path, model=Parts().model)["step"] == 10


def test_checkpoints_do_not_change_the_run_and_hold_its_end(tmp_path):
    path = tmp_path / "run.safetensors"
    one, two = Parts(), Parts()
    history = one.fit(2, checkpoint=str(path), checkpoint_every=2)
    assert numbers(history) == numbers(two.fit(2)) and same_weights(one, two)
    three = Parts(3)
    saved = load_checkpoint(path, model=three.model)
    assert saved["step"] == 10 and same_weights(one, three)
    assert History.from_dict(saved["extra"]["history"]).to_dict() == history.to_dict()


def test_a_finished_run_can_be_made_longer_and_is_not_repeated(tmp_path):
    path = tmp_path / "run.safetensors"
    one, two = Parts(), Parts()
    one.fit(2, checkpoint=path)
    same = Parts()
    assert len(same.fit(2, checkpoint=path).loss) == 10 and same_weights(same, one)
    longer = Parts()
    history = longer.fit(3, checkpoint=path)
    assert numbers(history) == numbers(two.fit(3)) and same_weights(longer, two)
    assert len(Parts().fit(1, checkpoint=path).loss) == 15  # all of it is past


def test_the_time_before_a_break_belongs_to_the_broken_epoch_alone(tmp_path):
    path = tmp_path / "run.safetensors"
    with pytest.raises(Kill):
        Parts().fit(3, checkpoint=path, checkpoint_every=1, callbacks=[killer(3)])
    between = Parts()
    parts = {"model": between.model, "optimizer": between.optimizer, "loader": between.loader}
    saved = load_checkpoint(path, **parts)
    save_checkpoint(path, **parts, step=saved["step"], extra={**saved["extra"], "seconds": 1000.0})
    seconds = Parts().fit(3, checkpoint=path, callbacks=[lambda state: None]).seconds
    assert 1000 < seconds[0] < 1500 and max(seconds[1:]) < 500


@pytest.mark.parametrize(
    "make, name", [(CosineAnnealingLR, "T_max"), (partial(OneCycleLR, max_lr=0.05), "total_steps")]
)
def test_a_longer_resumed_run_keeps_the_length_of_the_stored_schedule(tmp_path, make, name):
    path = tmp_path / "run.safetensors"
    whole, short, longer = Parts(), Parts(), Parts()
    history = whole.fit(2, scheduler=make(whole.optimizer, **{name: 2 * STEPS}))
    short.fit(1, scheduler=make(short.optimizer, **{name: 2 * STEPS}), checkpoint=path)
    other = make(longer.optimizer, **{name: 4 * STEPS})
    found = longer.fit(2, scheduler=other, checkpoint=path)  # as if it had been made for 2 epochs
    assert getattr(other, name) == 2 * STEPS and found.lr == history.lr and same_weights(longer, whole)


def test_a_run_that_a_callback_stopped_stays_stopped(tmp_path):
    path = tmp_path / "run.safetensors"
    one = Parts()
    history = one.fit(3, checkpoint=path, callbacks=[lambda s: s.stop("enough") if s.step == 7 else None])
    again = Parts()
    found = again.fit(3, checkpoint=path, callbacks=[lambda state: None])
    assert found.stopped == "enough" and found.to_dict() == history.to_dict() and len(found.loss) == 7
    assert same_weights(one, again) and again.loader.state_dict() == one.loader.state_dict()


def test_the_bar_of_a_resumed_run_begins_where_it_stands(tmp_path, capsys):
    path = tmp_path / "run.safetensors"
    Parts().fit(1, checkpoint=path)
    capsys.readouterr()
    Parts().fit(2, checkpoint=path, progress=True)
    err = capsys.readouterr().err
    assert "5/10" in err and "10/10" in err


def test_a_failed_step_is_not_saved(tmp_path):
    path = tmp_path / "run.safetensors"
    one = Parts()
    with pytest.raises(FloatingPointError):
        fit(one.model, explode(8), one.loader, one.optimizer, epochs=3, progress=False, checkpoint=path)
    assert load_checkpoint(path, model=Parts().model)["step"] == 5
    two, whole = Parts(), Parts()
    assert numbers(two.fit(3, checkpoint=path)) == numbers(whole.fit(3)) and same_weights(two, whole)


def untouched(parts, before):
    return same_weights(parts, before) and parts.loader.state_dict() == before.loader.state_dict()


def test_files_that_do_not_fit_change_nothing(tmp_path):
    path = tmp_path / "run.safetensors"
    one, before = Parts(5), Parts(5)
    other = Parts(6)
    for extra in (None, [], {"mine": 1}, {"history": {}, "callbacks": [], "within": False, "seconds": 0.0}):
        save_checkpoint(path, model=other.model, optimizer=other.optimizer, loader=other.loader, extra=extra)
        with pytest.raises(CheckpointError, match=r"run\.safetensors: "):
            one.fit(1, checkpoint=path)
        assert untouched(one, before)
    path = tmp_path / "another.safetensors"  # in a browser, a file that was replaced and deleted is there again
    other.fit(1, checkpoint=path, callbacks=[EarlyStopping()], validate=lambda m: 1.0)
    with pytest.raises(CheckpointError, match="saved with 1 callbacks, fit has 0 now; pass the same ones"):
        one.fit(1, checkpoint=path)
    assert untouched(one, before)
    with pytest.raises(CheckpointError, match=r"callback 0, .* has another kind of state; pass the same ones"):
        one.fit(1, checkpoint=path, callbacks=[print])
    assert untouched(one, before)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(CheckpointError):
        one.fit(1, checkpoint=path)
    assert untouched(one, before)


# The digits


def test_the_digits_are_learned():
    data = load_digits()
    (X, y), (V, v) = data["train"], data["validation"]
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64, rng=rng), nn.ReLU(), nn.Linear(64, 10, rng=rng))
    loader = DataLoader(X, y, batch_size=64, rng=rng)
    optimizer = Adam(model.parameters())
    epochs = 20
    history = fit(
        model, F.cross_entropy, loader, optimizer, epochs=epochs, progress=False, clip_norm=5.0,
        scheduler=OneCycleLR(optimizer, 0.02, epochs * len(loader)),
        validate=lambda m: float((m(Tensor(V)).data.argmax(1) == v).mean()),
    )  # fmt: skip
    T, t = data["test"]
    assert history.validation["validation"][-1] > 0.95
    assert (model(Tensor(T)).data.argmax(1) == t).mean() > 0.95
    assert history.epoch_loss()[-1] < 0.05 < history.epoch_loss()[0]


# What it refuses


class Nothing(nn.Module):
    def forward(self, x):
        return x


def refused(error, words, change, **options):
    """fit raises `error` with `words`, and neither the weights nor the loader have changed."""
    one, before = Parts(), Parts()
    arguments = dict(zip(("model", "loss_fn", "loader", "optimizer"), one.four(), strict=True))
    arguments |= {"epochs": 1, "progress": False} | options | change(one)
    with pytest.raises(error, match="fit") as raised:
        fit(**arguments)
    assert words in str(raised.value), raised.value
    assert same_weights(one, before) and one.loader.state_dict() == before.loader.state_dict()


BAD = {
    "model": [
        (TypeError, "to be of type Module, got function", lambda p: {"model": F.relu}),
        (TypeError, "got the class Linear", lambda p: {"model": nn.Linear}),
        (ValueError, "no parameter of Nothing can be trained", lambda p: {"model": Nothing()}),
        (ValueError, "no parameter of Linear can be", lambda p: {"model": nn.Linear(2, 2).requires_grad_(False)}),
    ],
    "loss_fn": [
        (TypeError, "to be a function, got str", lambda p: {"loss_fn": "cross_entropy"}),
        (TypeError, "to be a function, got DataLoader", lambda p: {"loss_fn": p.loader}),
    ],
    "optimizer": [
        (TypeError, "to be of type Optimizer, got str", lambda p: {"optimizer": "adam"}),
        (TypeError, "got the class Adam", lambda p: {"optimizer": Adam}),
        (ValueError, "moves no parameter of this model", lambda p: {"optimizer": Parts().optimizer}),
    ],
    "scheduler": [
        (TypeError, "scheduler", lambda p: {"scheduler": 0.1}),
        (ValueError, "made with another optimizer", lambda p: {"scheduler": StepLR(Parts().optimizer, 1)}),
        (ValueError, "ReduceOnPlateau needs a metric", lambda p: {"scheduler": ReduceOnPlateau(p.optimizer)}),
        (ValueError, "expected scheduler_step 'step' or 'epoch', got 'batch'", lambda p: {"scheduler_step": "batch"}),
    ],
    "loader": [
        (TypeError, "yield tuples of arrays, got int", lambda p: {"loader": 3}),
        (TypeError, "yield tuples of arrays, got ndarray", lambda p: {"loader": p.X}),
        (TypeError, "yield tuples of arrays, got dict", lambda p: {"loader": {}}),
        (TypeError, "can be looped over only once", lambda p: {"loader": iter([(p.X, p.y)])}),
        (TypeError, "can be looped over only once", lambda p: {"loader": (b for b in [(p.X, p.y)])}),
        (ValueError, "the loader has no batches", lambda p: {"loader": []}),
        (TypeError, "to be a tuple of arrays, got ndarray", lambda p: {"loader": [p.X]}),
        (TypeError, "to be a tuple of arrays, got an empty one", lambda p: {"loader": [()]}),
        (TypeError, "where the loader stands, which a list", lambda p: {"loader": [(p.X, p.y)], "checkpoint": "x"}),
    ],
    "numbers": [
        (ValueError, "epochs", lambda p: {"epochs": -1}),
        (TypeError, "epochs", lambda p: {"epochs": 1.5}),
        (TypeError, "epochs", lambda p: {"epochs": True}),
        (TypeError, "epochs", lambda p: {"epochs": None}),
        (ValueError, "clip_norm", lambda p: {"clip_norm": -1.0}),
        (ValueError, "clip_norm", lambda p: {"clip_norm": nan}),
        (TypeError, "clip_norm", lambda p: {"clip_norm": "1"}),
    ],
    "options": [
        (TypeError, "scaler to be of type GradScaler", lambda p: {"scaler": 2.0}),
        (TypeError, "validate to be a function", lambda p: {"validate": 0.5}),
        (ValueError, "on_nonfinite 'raise' or 'ignore', got 'warn'", lambda p: {"on_nonfinite": "warn"}),
        (ValueError, "amp_dtype", lambda p: {"amp_dtype": True}),
        (ValueError, "amp_dtype", lambda p: {"amp_dtype": np.float64}),
        (TypeError, "checkpoint to be a path, got int", lambda p: {"checkpoint": 3}),
        (ValueError, "cannot write the checkpoint no/such", lambda p: {"checkpoint": "no/such/file"}),
        (ValueError, "cannot write the checkpoint .;", lambda p: {"checkpoint": "."}),
        (ValueError, "checkpoint_every needs a file", lambda p: {"checkpoint_every": 3}),
        (ValueError, "checkpoint_every", lambda p: {"checkpoint": "x", "checkpoint_every": 0}),
        (TypeError, "history to be of type History, got list", lambda p: {"history": []}),
        (ValueError, "expected an empty history", lambda p: {"history": Parts().fit(1)}),
        (TypeError, "monitor", lambda p: {"monitor": 3}),
        (TypeError, "progress", lambda p: {"progress": "yes"}),
    ],
}


@pytest.mark.parametrize("kind, number", [(kind, i) for kind, cases in BAD.items() for i in range(len(cases))])
def test_fit_refuses(kind, number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(*BAD[kind][number])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    "loss_fn, error, words",
    [
        (lambda z, y: 1.0, TypeError, "expected loss_fn to return a Tensor, got float"),
        (lambda z, y: F.cross_entropy(z, y).data, TypeError, "expected loss_fn to return a Tensor, got ndarray"),
        (lambda z, y: F.cross_entropy(z, y, reduction="none"), ValueError, "a loss of one number, got shape (5,)"),
        (lambda z, y: F.cross_entropy(z.detach(), y), ValueError, "the loss depends on no parameter"),
    ],
)
def test_fit_refuses_what_is_no_loss(loss_fn, error, words):
    one = Parts()
    with pytest.raises(error, match="fit: ") as raised:
        fit(one.model, loss_fn, one.loader, one.optimizer, epochs=1, progress=False)
    assert words in str(raised.value)


@pytest.mark.parametrize(
    "found, error",
    [("0.5", TypeError), (None, TypeError), ({"a": "x"}, TypeError), ({1: 2.0}, TypeError), (True, TypeError),
     (np.ones(2), TypeError)],
)  # fmt: skip
def test_fit_refuses_what_is_no_metric(found, error):
    with pytest.raises(error, match="fit: expected"):
        Parts().fit(1, validate=lambda m: found)


def test_a_loader_that_runs_dry_is_named():
    class Once:
        def __init__(self, parts):
            self.batches = iter([(parts.X, parts.y)])

        def __iter__(self):
            return self.batches

    one = Parts()
    with pytest.raises(ValueError, match="fit: the loader yielded no batch in epoch 2"):
        fit(one.model, F.cross_entropy, Once(one), one.optimizer, epochs=2, progress=False)


def test_no_epochs_are_no_steps():
    one, before = Parts(), Parts()
    history = one.fit(0)
    assert history.to_dict() == History().to_dict() and untouched(one, before)
    assert len(one.fit(np.int64(2)).loss) == 10


def test_the_part_is_found_at_the_top_of_the_package():
    assert odyssey.train.fit is fit and "train" in odyssey.__all__


def test_a_copy_of_the_parts_trains_like_the_original():
    one = Parts()
    two = copy.deepcopy(one)
    assert numbers(one.fit(2)) == numbers(two.fit(2)) and same_weights(one, two)
