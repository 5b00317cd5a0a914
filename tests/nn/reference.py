"""Reads the frozen results in `tests/reference/`; the scripts there say how a file is laid out."""

import re
from math import prod
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parents[1] / "reference"


def read_reference(name: str, typed: bool = False) -> dict[str, dict[str, np.ndarray]]:
    """{case: {name: array}}; with `typed` float32 for the cases that say so, float64 for the others."""
    with np.load(FOLDER / f"{name}.npz") as file:
        names, shapes = file["names"].tolist(), file["shapes"].tolist()
        numbers = file["numbers" if "numbers" in file else "values"]
    cases: dict[str, dict[str, np.ndarray]] = {}
    start = 0
    for path, text in zip(names, shapes, strict=True):
        shape = tuple(map(int, re.findall(r"\d+", text)))
        case, what = path.rsplit("/", 1)
        array = numbers[start : start + prod(shape)].reshape(shape).copy()
        if typed:
            array = array.astype(np.float32 if "float32" in case else np.float64)
        cases.setdefault(case, {})[what] = array
        start += prod(shape)
    assert start == numbers.size
    return cases
