"""The training loop: batches in, steps of the optimizer out, and everything measured on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sized
from contextlib import nullcontext
from math import isfinite, isnan
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

from ...autograd import no_grad
from ...nn import Module
from ...optim import GradScaler, Optimizer, ReduceOnPlateau, autocast, clip_grad_norm
from . import checks
from .callbacks import Callbacks, State, metric_of
from .checkpoint import decoded, restore, save_checkpoint
from .contents import CheckpointError, naming
from .history import History
from .progress import advance, end_epoch, progress_bar

# What `fit` writes into a checkpoint beside the states, as `extra`.
RECORD = ("history", "callbacks", "within", "seconds")


class Options(NamedTuple):
    """The options of a run that its callbacks do not see."""

    loss_fn: Callable[..., Any]
    scheduler_step: str
    max_norm: float
    amp_dtype: Any
    validate: Callable[[Any], Any] | None
    monitor: str | None
    checkpoint: Any
    checkpoint_every: int | None
    progress: bool
    on_nonfinite: str


def modes_of(model: Module) -> list[tuple[Any, bool]]:
    """(module, whether it trains) for the whole tree, to be set again by `set_modes`."""
    return [(module, module.training) for module in model.modules()]


def set_modes(modes: list[tuple[Any, bool]]) -> None:
    """Bring every module back into the mode that `modes_of` found."""
    for module, training in modes:
        module.training = training


def record_of(content: Any) -> dict[str, Any]:
    """What `fit` wrote into a checkpoint for itself; CheckpointError if it did not write it."""
    extra = content["extra"]
    if not isinstance(extra, dict) or set(extra) != set(RECORD):
        raise CheckpointError("it was not written by fit; read it with load_checkpoint, and pass "
                              "fit another file")  # fmt: skip
    return extra


class Gradients:
    """The first half of a step: from a batch to gradients that can be used."""

    def __init__(self, state: State, options: Options) -> None:
        self.state, self.options = state, options
        groups = state.optimizer.param_groups
        self.params = [p for group in groups for p in group["params"]]
        every = {id(p): p for p in [*state.model.parameters(), *self.params]}
        self.cleared = list(every.values())
        scaler = state.scaler
        self.scales = scaler is not None and bool(scaler.state_dict())  # empty if not enabled

    def differentiate(self, batch: Any) -> tuple[float, float]:
        """Forward, backward, clip. Returns the loss, and the norm of the gradients before it."""
        x, *rest = checks.checked_batch(batch)
        for p in self.cleared:  # those that the optimizer does not move as well
            p.grad = None
        half = self.options.amp_dtype
        with nullcontext() if half is None else autocast(half):
            loss = checks.checked_loss(self.options.loss_fn(self.state.model(x), *rest))
        value, scaler = float(loss.item()), self.state.scaler
        self.check_finite("loss", value)
        (loss if scaler is None else scaler.scale(loss)).backward()
        if scaler is not None:
            scaler.unscale_(self.state.optimizer)
        length = clip_grad_norm(self.params, self.options.max_norm)
        if not self.scales:  # a scaler skips such steps
            self.check_finite("norm of the gradients", length)
        return value, length

    def check_finite(self, what: str, value: float) -> None:
        """Raise FloatingPointError if `value` is infinite or NaN, unless that is to be ignored."""
        if isfinite(value) or self.options.on_nonfinite == "ignore":
            return
        state = self.state
        raise FloatingPointError(
            f"fit: the {what} is {value} in step {state.step + 1}, epoch {state.epoch + 1}; the "
            f"parameters are as before this step. Lower the rate, pass clip_norm, or find the "
            f"cause with detect_anomaly()"
        )


class Step(Gradients):
    """One step of a run."""

    def train_on(self, batch: Any) -> None:
        """Gradients, step, and the schedule; then write the numbers down."""
        state, scaler, history = self.state, self.state.scaler, self.state.history
        value, length = self.differentiate(batch)
        rates = [float(group["lr"]) for group in state.optimizer.param_groups]
        made = True
        if scaler is None:
            state.optimizer.step()
        else:
            made = scaler.step(state.optimizer)
            scaler.update()
        per_epoch = isinstance(state.scheduler, ReduceOnPlateau | None)
        if self.options.scheduler_step == "step" and not per_epoch:
            state.scheduler.step()
        history.loss.append(value)
        history.lr.append(rates)
        history.grad_norm.append(length)
        history.skipped += [] if made else [state.step]


class Resumable(Step):
    """Steps that a checkpoint can hold."""

    def __init__(self, state: State, options: Options, callbacks: Callbacks) -> None:
        super().__init__(state, options)
        self.callbacks = callbacks
        self.seconds = 0.0  # that this epoch took before a checkpoint, from which it goes on
        self.start = perf_counter()
        self.within = False  # whether the loader stands in the middle of an epoch

    def parts(self) -> dict[str, Any]:
        """What a checkpoint holds beside the numbers of this run."""
        names = ("model", "optimizer", "scheduler", "scaler", "loader")
        return {name: getattr(self.state, name) for name in names}

    def save(self) -> None:
        """Write the checkpoint, if there is to be one."""
        if self.options.checkpoint is None:
            return
        state = self.state
        spent = self.seconds + perf_counter() - self.start if self.within else 0.0
        record = (state.history.to_dict(), self.callbacks.state_dict(), self.within, spent)
        extra = dict(zip(RECORD, record, strict=True))
        save_checkpoint(self.options.checkpoint, **self.parts(), step=state.step, extra=extra)

    def resume(self) -> None:
        """Go on where the checkpoint was written, if the file is there."""
        path = self.options.checkpoint
        if path is None or not os.path.exists(path):
            return
        with naming(path, "the record of the run"):
            whole_file = decoded(Path(path).read_bytes())
            extra = record_of(whole_file[1])
            history = History.from_dict(extra["history"])
            self.callbacks.check_states(extra["callbacks"])
            within, seconds = bool(extra["within"]), float(extra["seconds"])
        parts = self.parts()
        restore(path, whole_file, parts.pop("model"), parts)  # changes nothing if it fails
        self.callbacks.load_state_dict(extra["callbacks"])
        vars(self.state.history).update(vars(history))
        self.within, self.seconds = within, seconds


class Epoch(Resumable):
    """What happens when all batches have been used."""

    def finish_epoch(self) -> None:
        """Validate, take the schedules that count epochs further, and call the callbacks."""
        state, scheduler, monitor = self.state, self.state.scheduler, self.options.monitor
        metrics = self.validated()
        if isinstance(scheduler, ReduceOnPlateau):
            metric = metric_of("fit", metrics, monitor)
            if not (isnan(metric) and self.options.on_nonfinite == "ignore"):
                scheduler.step(metric)
        elif scheduler is not None and self.options.scheduler_step == "epoch":
            scheduler.step()
        state.history.add_epoch(metrics, self.seconds + perf_counter() - self.start)
        self.seconds = 0.0
        self.callbacks.call("epoch", state)

    def validated(self) -> dict[str, float]:
        """What `validate` says of the model in eval mode; {} without one."""
        if self.options.validate is None:
            return {}
        modes = modes_of(self.state.model)
        self.state.model.eval()
        try:
            with no_grad():
                return checks.checked_metrics(self.options.validate(self.state.model))
        finally:
            set_modes(modes)


class Run(Epoch):
    """A run: epoch after epoch, with a checkpoint after each."""

    def train(self, bar: Any) -> None:
        """All epochs that are left, or fewer if a callback stops the run."""
        state = self.state
        while state.epoch < state.epochs and state.history.stopped is None:
            self.start = perf_counter()
            if not self.steps(bar):
                self.save()
                return
            self.finish_epoch()
            if bar is not None:
                end_epoch(bar, state)
            self.save()

    def steps(self, bar: Any) -> bool:
        """The steps of one epoch, or of what is left of it. False if a callback stopped it."""
        state, every, empty = self.state, self.options.checkpoint_every, not self.within
        for batch in state.loader:
            empty, self.within = False, True
            self.train_on(batch)
            if bar is not None:
                advance(bar, state)
            self.callbacks.call("step", state)
            if state.history.stopped is not None:
                return False
            if every is not None and state.step % every == 0:
                self.save()
        if empty:
            raise ValueError(f"fit: the loader yielded no batch in epoch {state.epoch + 1}; pass "
                             f"one that can be looped over again and again")  # fmt: skip
        self.within = False
        return True


def go(run: Run) -> History:
    """Resume if there is a checkpoint, train, and leave modules and progress bar in order."""
    run.resume()
    state, model, bar = run.state, run.state.model, None
    if run.options.progress:
        known = isinstance(state.loader, Sized)
        bar = progress_bar(state, state.epochs * len(state.loader) if known else None)
    modes = modes_of(model)
    if not model.training:
        model.train()
    try:
        run.train(bar)
    except KeyboardInterrupt as error:
        state.history.cut()
        error.add_note(f"fit: interrupted after {state.step} steps, in epoch {state.epoch + 1}")
        raise
    finally:
        set_modes(modes)
        if bar is not None:
            bar.close()
    return state.history


def fit(
    model: Module, loss_fn: Callable[..., Any], loader: Iterable[Any], optimizer: Optimizer, *,
    epochs: int, scheduler: Any = None, scheduler_step: str = "step",
    clip_norm: float | None = None, scaler: GradScaler | None = None, amp_dtype: Any = None,
    validate: Callable[[Any], Any] | None = None, monitor: str | None = None,
    callbacks: Iterable[Any] = (), checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None, progress: bool = True, on_nonfinite: str = "raise",
    history: History | None = None,
) -> History:  # fmt: skip
    """Train `model` for `epochs` epochs in all, and return what was measured.

    For each batch ``(x, *rest)``, x as a Tensor if it holds floats: gradients to None,
    ``loss_fn(model(x), *rest).backward()``, clip, ``optimizer.step()``, ``scheduler.step()``. A
    model in eval mode trains and is put back.

    * `loader`: a DataLoader or a list; each loop over it yields tuples of arrays.
    * `scheduler` takes a step after each batch, skipped ones too; after each epoch if
      `scheduler_step` is "epoch". `ReduceOnPlateau` always gets the metric after each epoch.
    * `clip_norm`: the largest norm of all gradients of the optimizer together, after unscaling.
    * `scaler`: a GradScaler; it skips steps that overflow. `amp_dtype`, np.float16 or "bfloat16":
      model and loss run under `autocast`.
    * `validate`: called with the model after each epoch, in eval mode under `no_grad`. Returns a
      number, "validation" in the history, or a dict of them, of which `monitor` names one.
    * `callbacks`: functions of the `State`, called after each step and epoch, or objects with
      ``after_step(state)`` or ``after_epoch(state)``; saved if they have a state, of JSON values.
    * `checkpoint`: a path, written after each epoch, when a callback stops the run, and every
      `checkpoint_every` steps. If the file is there when `fit` begins, the run goes on from it bit
      for bit, except for seconds and what callbacks draw at random. `epochs` may be another number
      then; a schedule keeps the length that the file holds, as in PyTorch. In what
      `load_checkpoint` returns, "extra" holds "history", for `History.from_dict`, and "callbacks".
    * `progress`: a bar, by tqdm. `history`: an empty one to write into, to be watched meanwhile.
    * `on_nonfinite`: "raise" FloatingPointError when the loss or, without a scaler, the norm of the
      gradients is infinite or NaN, with the parameters as before that step; or "ignore".

    A bad argument: TypeError or ValueError that names it. A file that does not fit:
    CheckpointError. An interrupt passes through with a note of the step; the last file stays.
    """
    checks.check_parts(model, loss_fn, optimizer, scheduler, scaler)
    history = checks.checked_history(history)
    state = State(model, optimizer, loader, scheduler, scaler, epochs, history)
    options = Options(loss_fn, scheduler_step, checks.limit(clip_norm), amp_dtype, validate,
                      monitor, checkpoint, checkpoint_every, progress, on_nonfinite)  # fmt: skip
    checks.check_options(state, options)
    return go(Run(state, options, Callbacks(callbacks)))
