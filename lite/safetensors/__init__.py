"""The format of safetensors in Python alone: a stand-in for the compiled package, where that cannot be installed.

A file is the length of its header in 8 bytes, the header as JSON, and the bytes of all arrays one behind another. See
https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

__version__ = "0.0.1"
DTYPES = {
    "F64": "f8", "F32": "f4", "F16": "f2", "BF16": "u2", "I64": "i8", "U64": "u8", "I32": "i4", "U32": "u4",
    "I16": "i2", "U16": "u2", "I8": "i1", "U8": "u1", "BOOL": "?",
}  # fmt: skip
MOST = 100_000_000  # bytes of a header


class SafetensorError(Exception):
    """Bytes that are not a file of this format."""


def read_header(data: bytes) -> tuple[dict[str, Any], int]:
    """(header, where the arrays begin)."""
    if len(data) < 8:
        raise SafetensorError("Error while deserializing header: header too small")
    end = 8 + int.from_bytes(data[:8], "little")
    if end - 8 > MOST:
        raise SafetensorError("Error while deserializing header: header too large")
    if end > len(data):
        raise SafetensorError("Error while deserializing header: invalid header length")
    try:
        header = json.loads(data[8:end].decode("utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SafetensorError(f"Error while deserializing header: {error}") from error
    if not isinstance(header, dict):
        raise SafetensorError("Error while deserializing header: invalid header")
    return header, end


def deserialize(data: bytes) -> list[tuple[str, dict[str, Any]]]:
    """(name, {"shape", "dtype", "data"}) of every array, in the order in which they lie in the file."""
    header, start = read_header(data)
    header.pop("__metadata__", None)
    found, at = [], 0
    try:
        for name, about in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            begin, end = about["data_offsets"]
            size = np.dtype(DTYPES[about["dtype"]]).itemsize * int(np.prod(about["shape"], dtype=np.int64))
            if begin != at or end - begin != size:
                raise SafetensorError(f"Error while deserializing header: invalid offset for tensor `{name}`")
            content = bytearray(data[start + begin : start + end])
            found.append((name, {"shape": about["shape"], "dtype": about["dtype"], "data": content}))
            at = end
    except (KeyError, TypeError, ValueError) as error:
        raise SafetensorError(f"Error while deserializing header: {error!r}") from error
    if start + at != len(data):
        raise SafetensorError("Error while deserializing header: incomplete metadata, file not fully covered")
    return found
