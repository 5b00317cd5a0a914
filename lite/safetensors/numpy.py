"""`save`, `save_file`, `load` and `load_file` of safetensors.numpy, in Python alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from . import DTYPES, MOST, SafetensorError, deserialize

NAMES = {np.dtype(code): name for name, code in DTYPES.items() if name != "BF16"}
# In a file, arrays of larger numbers come first, so that all of them lie at a multiple of their size.
ORDER = ("BOOL", "U8", "I8", "I16", "U16", "F16", "I32", "U32", "F32", "F64", "I64", "U64")


def save(tensor_dict: dict[str, np.ndarray], metadata: dict[str, str] | None = None) -> bytes:
    """The bytes of a file that holds `tensor_dict`."""
    unknown = [name for name, array in tensor_dict.items() if array.dtype.newbyteorder("=") not in NAMES]
    if unknown:
        raise SafetensorError(f"dtype {tensor_dict[unknown[0]].dtype} of {unknown[0]!r} is not covered")
    kinds = {name: NAMES[array.dtype.newbyteorder("=")] for name, array in tensor_dict.items()}
    header: dict[str, object] = {} if metadata is None else {"__metadata__": dict(metadata)}
    pieces, at = [], 0
    for name in sorted(tensor_dict, key=lambda name: (-ORDER.index(kinds[name]), name)):
        array = tensor_dict[name]
        piece = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        header[name] = {"dtype": kinds[name], "shape": list(array.shape), "data_offsets": [at, at + len(piece)]}
        pieces.append(piece)
        at += len(piece)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % 8)
    if len(text) > MOST:
        raise SafetensorError("Error while serializing: header too large")
    return b"".join([len(text).to_bytes(8, "little"), text, *pieces])


def save_file(
    tensor_dict: dict[str, np.ndarray], filename: str | os.PathLike[str], metadata: dict[str, str] | None = None
) -> None:
    """Write the file `filename`."""
    Path(filename).write_bytes(save(tensor_dict, metadata))


def load(data: bytes) -> dict[str, np.ndarray]:
    """The arrays in the bytes of a file."""
    found = {}
    for name, about in deserialize(data):
        if about["dtype"] == "BF16":
            raise KeyError("BF16")
        dtype = np.dtype(DTYPES[about["dtype"]]).newbyteorder("<")
        found[name] = np.frombuffer(about["data"], dtype).reshape(about["shape"])
    return found


def load_file(filename: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """The arrays in the file `filename`."""
    return load(Path(filename).read_bytes())
