"""What may stand in a checkpoint, and whether it fits the run that it is read into."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ...autograd.tape.entry import Array
from ...nn import Module

DEEPEST = 100  # levels of lists and dicts in `extra`; a list that contains itself has no end


class CheckpointError(ValueError):
    """A file that is no whole checkpoint, or not one of this model, optimizer, schedule …"""


def library(owner: str) -> Any:
    """The package safetensors; ImportError that names the extra if it is missing."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise ImportError(f"{owner}: checkpoints need the package safetensors; install it with "
                          f'pip install "ml-odyssey[train]"') from error  # fmt: skip
    return safetensors


def check_json(where: str, value: Any, depth: int = 0) -> None:
    """Raise TypeError, which says where, unless `value` comes back from JSON as it is.

    Tuples are allowed and come back as lists, as JSON has it.
    """
    if depth > DEEPEST:
        raise TypeError(f"{where} is nested more than {DEEPEST} levels deep, or contains itself")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}, expected a str; use str(key)")
            check_json(f"{where}[{key!r}]", item, depth + 1)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            check_json(f"{where}[{i}]", item, depth + 1)
    elif not (value is None or isinstance(value, str | bool | int | float)):
        got = type(value).__name__
        raise TypeError(f"{where} is of type {got}, which JSON does not have; convert it, arrays "
                        f"with .tolist()")  # fmt: skip


def kind_of(thing: Any) -> str:
    """Name of the class; of a sequence of schedulers with those in it."""
    inner = ", ".join(kind_of(s) for s in getattr(thing, "schedulers", ()))
    return f"{type(thing).__name__}({inner})" if inner else type(thing).__name__


def check_parts(owner: str, model: Any, parts: dict[str, Any]) -> None:
    """Raise TypeError unless `model` is a Module and each of `parts` has a state, or is None."""
    if not isinstance(model, Module):
        got = type(model).__name__
        raise TypeError(f"{owner}: expected model to be a Module of odyssey.nn, got {got}")
    for name, part in parts.items():
        if part is None:
            continue
        if isinstance(part, type) or not hasattr(part, "state_dict"):
            got = part.__name__ if isinstance(part, type) else type(part).__name__
            raise TypeError(f"{owner}: expected {name} to have a state_dict(), got {got}; pass "
                            f"{name}=None if there is none")  # fmt: skip


@contextmanager
def naming(path: Any, what: str) -> Iterator[None]:
    """Turn the errors within into a CheckpointError that names the file, and what does not fit."""
    where = f"load_checkpoint: {os.fspath(path)}"
    try:
        yield
    except CheckpointError as error:
        raise CheckpointError(f"{where}: {error}") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
            ValueError) as error:  # fmt: skip
        raise CheckpointError(f"{where}: {what} does not fit: {error}") from error


def check_model(model: Module, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The arrays for `model`, by path; CheckpointError unless they are exactly those it has."""
    new = {k.removeprefix("model."): a for k, a in arrays.items() if k.startswith("model.")}
    old = {path: getattr(module, name) for path, module, name in model.named_arrays()}
    if wrong := [*sorted(old.keys() - new), *sorted(new.keys() - old)]:
        lacking = "file" if wrong[0] in old else "model"
        raise CheckpointError(f"of another model: the {lacking} has no {wrong[0]!r} ({len(wrong)} "
                              f"names in all are in one of the two only)")  # fmt: skip
    for path, value in old.items():
        had, got = (value.shape, value.dtype.name), (new[path].shape, new[path].dtype.name)
        if had != got:
            raise CheckpointError(f"of another model: {path} has shape {got[0]} and dtype {got[1]} "
                                  f"in the file, {had[0]} and {had[1]} in the model")  # fmt: skip
    return new


def check_kinds(content: Mapping[str, Any], parts: Mapping[str, Any]) -> dict[str, Any]:
    """The states of those `parts` that are asked for; CheckpointError if one is of another kind."""
    states = {}
    for name, part in parts.items():
        if part is None:
            continue
        if content[name] is None:
            raise CheckpointError(f"it was saved without {name}; pass {name}=None")
        had, got = kind_of(part), content[name]["kind"]
        if had != got:
            raise CheckpointError(f"its {name} is of kind {got}, this one of kind {had}")
        states[name] = content[name]["state"]
    if "scaler" in states and bool(states["scaler"]) != bool(parts["scaler"].state_dict()):
        raise CheckpointError("one of the two scalers is enabled, the other not; pass enabled= as "
                              "in the run that was saved")  # fmt: skip
    return states
