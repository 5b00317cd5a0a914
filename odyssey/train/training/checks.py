"""What `fit` accepts, and what it says otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from ...autograd import Tensor
from ...nn import Module
from ...optim import GradScaler, Optimizer, ReduceOnPlateau, autocast
from ...optim.clipping import at_least
from ...optim.schedulers.checks import real
from ...optim.schedulers.plateau import whole
from ...optim.schedulers.scheduler import State as SchedulerState
from ...optim.sgd.checks import count, flag
from .contents import library
from .history import History


def of_type(name: str, value: Any, kind: type, remedy: str) -> Any:
    """`value`, if it is a `kind`; TypeError otherwise."""
    if not isinstance(value, kind):
        got = f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
        raise TypeError(f"fit: expected {name} to be of type {kind.__name__}, got {got}; {remedy}")
    return value


def function(name: str, value: Any, remedy: str) -> Any:
    """`value`, if it can be called; TypeError otherwise."""
    if not callable(value):
        got = type(value).__name__
        raise TypeError(f"fit: expected {name} to be a function, got {got}; {remedy}")
    return value


def checked_history(history: Any) -> History:
    """`history`, or a new one if it is None; TypeError for anything else."""
    given = History() if history is None else history
    found: History = of_type("history", given, History, "pass History()")
    return found


def one_of(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        wanted = " or ".join(map(repr, choices))
        raise ValueError(f"fit: expected {name} {wanted}, got {value!r}")


def check_parts(model: Any, loss_fn: Any, optimizer: Any, scheduler: Any, scaler: Any) -> None:
    """Raise TypeError or ValueError unless these five can train together."""
    of_type("model", model, Module, "the order is fit(model, loss_fn, loader, optimizer)")
    function("loss_fn", loss_fn, "pass one of (output, target), nn.functional.cross_entropy say")
    of_type("optimizer", optimizer, Optimizer, "make one: Adam(model.parameters())")
    trained = {id(p) for p in model.parameters() if p.requires_grad}
    if not trained:
        raise ValueError(f"fit: no parameter of {type(model).__name__} can be trained; give it "
                         f"layers with parameters, or requires_grad_(True)")  # fmt: skip
    moved = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not trained & moved:
        raise ValueError("fit: the optimizer moves no parameter of this model; make it with this "
                         "model's parameters: Adam(model.parameters())")  # fmt: skip
    if scheduler is not None:
        of_type("scheduler", scheduler, SchedulerState, "pass one of odyssey.optim")
        if scheduler.optimizer is not optimizer:
            raise ValueError("fit: the scheduler was made with another optimizer, whose rates it "
                             "would change; make it with this one")  # fmt: skip
    if scaler is not None:
        of_type("scaler", scaler, GradScaler, "pass GradScaler()")


def check_loader(loader: Any, checkpoint: Any) -> None:
    """Raise for what is no loader, or none whose place a checkpoint can hold."""
    if not isinstance(loader, Iterable) or isinstance(loader, Mapping | str | np.ndarray | Tensor):
        got = type(loader).__name__
        raise TypeError(f"fit: expected loader to yield tuples of arrays, got {got}; pass "
                        f"DataLoader(X, y, batch_size=32)")  # fmt: skip
    if isinstance(loader, Iterator):
        got = type(loader).__name__
        raise TypeError(f"fit: the loader, a {got}, can be looped over only once; pass a "
                        f"DataLoader or a list of batches")  # fmt: skip
    if isinstance(loader, Sized) and len(loader) == 0:
        raise ValueError("fit: the loader has no batches; pass one with data")
    if checkpoint is not None and not hasattr(loader, "load_state_dict"):
        got = type(loader).__name__
        raise TypeError(f"fit: a checkpoint must know where the loader stands, which a {got} "
                        f"cannot say; pass a DataLoader")  # fmt: skip


def limit(clip_norm: Any) -> float:
    """The largest norm that gradients may have: `clip_norm`, or infinity if it is None."""
    return inf if clip_norm is None else at_least("fit", "clip_norm", clip_norm, 0.0)


def check_options(state: Any, options: Any) -> None:
    """Raise for the first option that is not as described; `epochs` becomes an int."""
    check_loader(state.loader, options.checkpoint)
    one_of("scheduler_step", options.scheduler_step, ("step", "epoch"))
    one_of("on_nonfinite", options.on_nonfinite, ("raise", "ignore"))
    if options.validate is not None:
        function("validate", options.validate, "pass one of the model that returns a number")
    elif isinstance(state.scheduler, ReduceOnPlateau):
        raise ValueError("fit: ReduceOnPlateau needs a metric; pass validate=, a function of the "
                         "model that returns one")  # fmt: skip
    if options.monitor is not None and not isinstance(options.monitor, str):
        got = repr(options.monitor)
        raise TypeError(f"fit: expected monitor to be the name of a metric, got {got}")
    flag("fit", "progress", options.progress)
    check_half(options.amp_dtype)
    check_files(options.checkpoint, options.checkpoint_every, state.history)
    state.epochs = whole("fit", "epochs", state.epochs)


def check_half(amp_dtype: Any) -> None:
    """Raise ValueError unless `amp_dtype` is None, or a dtype that `autocast` knows."""
    try:
        if amp_dtype is not None:
            autocast(amp_dtype)
    except ValueError as error:
        raise ValueError(f"fit: amp_dtype is wrong: {error}") from None


def check_files(checkpoint: Any, checkpoint_every: Any, history: Any) -> None:
    """Raise unless `checkpoint` is a path, and `history` empty."""
    if checkpoint is not None and not isinstance(checkpoint, str | os.PathLike):
        got = type(checkpoint).__name__
        raise TypeError(f"fit: expected checkpoint to be a path, got {got}; pass a file's name")
    if checkpoint is not None:  # now rather than after the first epoch
        library("fit")
        path = Path(checkpoint)
        if not path.parent.is_dir() or path.is_dir():
            raise ValueError(f"fit: cannot write the checkpoint {path}; pass the name of a file in "
                             f"a folder that exists")  # fmt: skip
    if checkpoint_every is not None:
        count("fit", "checkpoint_every", checkpoint_every)
        if checkpoint is None:
            raise ValueError("fit: checkpoint_every needs a file; pass checkpoint= too")
    if history.loss or history.seconds:
        raise ValueError(f"fit: expected an empty history, got {history!r}; pass History()")


def checked_batch(batch: Any) -> tuple[Any, ...]:
    """`batch` as a tuple, its first array as a Tensor if it holds floats."""
    if not isinstance(batch, tuple | list) or not batch:
        got = "an empty one" if isinstance(batch, tuple | list) else type(batch).__name__
        raise TypeError(f"fit: expected each batch to be a tuple of arrays, got {got}; yield "
                        f"(x, y), or (x,)")  # fmt: skip
    x, *rest = batch
    floats = isinstance(x, np.ndarray) and x.dtype.kind == "f"
    return (Tensor(x) if floats else x, *rest)


def checked_loss(loss: Any) -> Tensor:
    """`loss`, if it is one number that depends on parameters."""
    if not isinstance(loss, Tensor):
        got = type(loss).__name__
        raise TypeError(f"fit: expected loss_fn to return a Tensor, got {got}; compute it with "
                        f"Tensors, not with their data")  # fmt: skip
    if loss.size != 1:
        raise ValueError(f"fit: expected a loss of one number, got shape {loss.shape}; take its "
                         f"mean()")  # fmt: skip
    if not loss.requires_grad:
        raise ValueError("fit: the loss depends on no parameter that can be trained; compute it "
                         "from the model's output, outside no_grad()")  # fmt: skip
    return loss


def checked_metrics(found: Any) -> dict[str, float]:
    """What a validation returned, as a dict of floats; one number is called "validation"."""
    if not isinstance(found, Mapping):
        return {"validation": real("fit", "the result of validate", found)}
    for name in found:
        if not isinstance(name, str):
            raise TypeError(f"fit: expected validate to name its numbers, got {name!r} as a name; "
                            f"return {{'accuracy': 0.9}}, say")  # fmt: skip
    return {name: real("fit", f"validate's {name!r}", value) for name, value in found.items()}
