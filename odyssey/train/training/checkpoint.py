"""Checkpoints: a whole run in one file, written at once or not at all, read whole or not at all."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ...autograd.tape.entry import Array
from ...nn import Module
from .contents import (
    CheckpointError,
    check_json,
    check_kinds,
    check_model,
    check_parts,
    kind_of,
    library,
    naming,
)
from .generators import generator_states, generators, plan_generators

FORMAT, VERSION = "odyssey-checkpoint", "1"

# Names of dtypes in a safetensors file, and in NumPy.
DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
}  # fmt: skip


def split(state: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Array]]:
    """An optimizer's state as what JSON holds, and its arrays by path: ``optimizer.0.exp_avg``."""
    rest: dict[str, Any] = {str(i): {} for i in state["state"]}
    arrays = {}
    for i, entry in state["state"].items():
        for name, value in entry.items():
            if isinstance(value, np.ndarray):
                arrays[f"optimizer.{i}.{name}"] = value
            else:
                rest[str(i)][name] = value
    return {**state, "state": rest}, arrays


def join(rest: Any, arrays: Mapping[str, Array]) -> dict[str, Any]:
    """What `split` took apart."""
    state = {int(i): dict(entry) for i, entry in rest["state"].items()}
    for path, array in arrays.items():
        if path.startswith("optimizer."):
            _, i, name = path.split(".", 2)
            state[int(i)][name] = array
    return {**rest, "state": state}


def encoded(arrays: dict[str, Array], content: dict[str, Any]) -> bytes:
    """The bytes of a safetensors file: `arrays`, `content` as JSON, and a checksum over all.

    The checksum is that of the file with 64 zeros in its own place.
    """
    for name, array in arrays.items():
        if array.dtype.name not in DTYPES.values():
            raise TypeError(f"save_checkpoint: {name} is of dtype {array.dtype}, which a "
                            f"safetensors file cannot hold")  # fmt: skip
    try:
        # Python writes a float with as many digits as tell it from its neighbours, and integers
        # of any length: nothing is rounded. NaN and Infinity go beyond the letter of JSON.
        text = json.dumps(content)
    except ValueError as error:  # an integer of thousands of digits
        raise TypeError(f"save_checkpoint: {error}; store it as a str") from error
    labels = {"format": FORMAT, "version": VERSION, "content": text, "sha256": "0" * 64}
    tensors = library("save_checkpoint")
    try:
        data: bytes = tensors.numpy.save(arrays, labels)
    except tensors.SafetensorError as error:  # the header has more than 100 MB
        raise ValueError(f"save_checkpoint: {error}; put less into extra") from error
    end = 8 + int.from_bytes(data[:8], "little")
    digest = checksum(data, end, "0" * 64).encode()
    at = data.index(b'"sha256":"' + b"0" * 64, 0, end) + len(b'"sha256":"')
    return b"".join([data[:at], digest, memoryview(data)[at + 64 :]])


def checksum(data: bytes, end: int, digest: str) -> str:
    """SHA-256 of the file `data`, whose header ends at `end`, with zeros in place of `digest`."""
    mark = b'"sha256":"'  # within a text of the header the quotation marks would be escaped
    header = data[:end].replace(mark + digest.encode(), mark + b"0" * 64, 1)
    found = hashlib.sha256(header)
    found.update(memoryview(data)[end:])
    return found.hexdigest()


def decoded(data: bytes) -> tuple[dict[str, Array], Any]:
    """The arrays and the content of a file; CheckpointError if it is no whole checkpoint."""
    tensors = library("load_checkpoint")
    end = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 8 or end > len(data):
        raise CheckpointError(f"truncated, or no safetensors file: {len(data)} bytes")
    try:
        found = tensors.deserialize(data)
        labels = json.loads(data[8:end]).get("__metadata__") or {}
    except (tensors.SafetensorError, ValueError) as error:
        raise CheckpointError(f"truncated, damaged, or no safetensors file ({error})") from error
    if labels.get("format") != FORMAT or not {"version", "content", "sha256"} <= labels.keys():
        raise CheckpointError("a safetensors file, but not one of save_checkpoint; weights alone "
                              "are read with model.load_state_dict(safetensors.numpy.load_file("
                              "path))")  # fmt: skip
    if labels["version"] != VERSION:
        raise CheckpointError(f"written in version {labels['version']} of the format, this "
                              f"odyssey reads version {VERSION}; use the odyssey that wrote "
                              f"it")  # fmt: skip
    if checksum(data, end, labels["sha256"]) != labels["sha256"]:
        raise CheckpointError("its checksum is wrong: the file was changed or damaged after it "
                              "was written; use an earlier one")  # fmt: skip
    arrays = {name: as_array(t["dtype"], t["shape"], t["data"]) for name, t in found}
    return arrays, json.loads(labels["content"])


def as_array(code: str, shape: list[int], data: Any) -> Array:
    """The array whose bytes are `data`; `code` is the name of its dtype in the file."""
    if code not in DTYPES:
        raise CheckpointError(f"an array of the dtype {code}, which no checkpoint has")
    if code == "BF16":
        try:
            import ml_dtypes
        except ImportError as error:
            raise CheckpointError("bfloat16 arrays need the package ml_dtypes; install "
                                  "it") from error  # fmt: skip
        return np.frombuffer(data, ml_dtypes.bfloat16).reshape(shape)
    return np.frombuffer(data, np.dtype(DTYPES[code]).newbyteorder("<")).reshape(shape)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace the file `path` by one that holds `data`: at every moment it is the old or the new.

    A temporary file beside it is written, brought to the disk and renamed. Another one that was
    left there by a killed run is overwritten. OSError (no space, say) leaves `path` as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # otherwise the name might reach the disk before the content
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    # So that the new name survives a power failure. Not every system can do this; what is there
    # after one is a whole file all the same.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def save_checkpoint(
    path: str | os.PathLike[str], *, model: Module, optimizer: Any = None, scheduler: Any = None,
    scaler: Any = None, loader: Any = None, step: int = 0, extra: Any = None,
) -> None:  # fmt: skip
    """Store a run, so that `load_checkpoint` and the same code go on with it bit for bit.

    `model`: parameters, buffers, and the random generators of its modules. `optimizer`,
    `scheduler`, `scaler`, `loader`: their states. `step`: a number of at least 0. `extra`: any JSON
    value. Gradients are not stored: call it between two steps, one process for each path.

    The file replaces an older one at once: killed at any moment, or without space on the disk
    (OSError), the older one is still there. TypeError or ValueError before anything is written.
    """
    owner = "save_checkpoint"
    parts = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler, "loader": loader}
    check_parts(owner, model, parts)
    if isinstance(step, bool) or not isinstance(step, int | np.integer):
        raise TypeError(f"{owner}: expected step to be a whole number, got {step!r}")
    if step < 0:
        raise ValueError(f"{owner}: expected step to be at least 0, got {step}")
    content: dict[str, Any] = {"step": int(step), "extra": extra}
    arrays = {f"model.{name}": array for name, array in model.state_dict().items()}
    for name, part in parts.items():
        content[name] = part
        if part is not None:
            content[name] = {"kind": kind_of(part), "state": part.state_dict()}
    if optimizer is not None:
        content["optimizer"]["state"], more = split(content["optimizer"]["state"])
        arrays.update(more)
    content["generators"] = generator_states(generators(model, loader))
    for name in content:
        check_json(f"{owner}: {name}", content[name])
    write_atomically(Path(path), encoded(arrays, content))


def try_out(parts: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    """Load the states of the optimizer, scheduler and scaler into copies; raise what they raise."""
    optimizers = parts["optimizer"], getattr(parts["scheduler"], "optimizer", None)
    groups = [group for o in optimizers for group in getattr(o, "param_groups", ())]
    # the copies have the same parameters, which loading does not change
    same = {id(p): p for group in groups for p in group["params"]}
    twins = copy.deepcopy((parts["scheduler"], parts["optimizer"]), same)
    load_parts({"scheduler": twins[0], "optimizer": twins[1],
                "scaler": copy.copy(parts["scaler"])}, states)  # fmt: skip


def load_parts(parts: Mapping[str, Any], states: Mapping[str, Any]) -> None:
    """Load what is asked for, the scheduler before the optimizer.

    Its rates are the last that it set; those in the state of the optimizer are what was used.
    """
    for name in ("scaler", "scheduler", "optimizer"):
        if name in states:
            parts[name].load_state_dict(states[name])


def load_checkpoint(
    path: str | os.PathLike[str], *, model: Module, optimizer: Any = None, scheduler: Any = None,
    scaler: Any = None, loader: Any = None,
) -> dict[str, Any]:  # fmt: skip
    """Bring back what `save_checkpoint` stored: ``{"step": int, "extra": value}`` is returned.

    Everything given is made as in the run that was saved; what is left out stays in the file, as
    for an evaluation, where the model is enough. The model's random generators are set too.
    Raises CheckpointError, with nothing changed, if the file is truncated, changed or no
    checkpoint, or if what it holds does not fit; FileNotFoundError if there is none.
    """
    parts = {"optimizer": optimizer, "scheduler": scheduler, "scaler": scaler, "loader": loader}
    check_parts("load_checkpoint", model, parts)
    with naming(path, "the file"):
        found = decoded(Path(path).read_bytes())
    return restore(path, found, model, parts)


def restore(
    path: Any, found: tuple[dict[str, Array], Any], model: Module, parts: Mapping[str, Any]
) -> dict[str, Any]:
    """Bring back what `decoded` has read from the file `path`; see `load_checkpoint`."""
    (arrays, content), optimizer, loader = found, parts["optimizer"], parts["loader"]
    with naming(path, "the file"):
        weights = check_model(model, arrays)
        states = check_kinds(content, parts)
        plan = plan_generators(content["generators"], generators(model, loader))
        result = {"step": content["step"], "extra": content["extra"]}
    with naming(path, "a state"):
        if optimizer is not None:
            states["optimizer"] = join(states["optimizer"], arrays)
        try_out(parts, states)
        if loader is not None:  # it changes all or nothing itself
            loader.load_state_dict(states["loader"])
    load_parts(parts, states)
    model.load_state_dict(weights)
    for generator, state, places in plan:
        generator.bit_generator.state = state
        for place in places:
            if getattr(place.owner, place.attribute) is not generator:
                setattr(place.owner, place.attribute, generator)
    return result
