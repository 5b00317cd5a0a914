"""Checks of arguments that more than one function of this part makes."""

import operator

import numpy as np


def checked_count(function: str, name: str, value: int, minimum: int) -> int:
    """`value` as a Python int of at least `minimum`, or an error that names the function and the argument."""
    # bool is a subclass of int, and batch_size=True is a slip, not a one.
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{function}: expected an integer {name}, got {value!r}; pass a whole number such as 32")
    try:
        count = operator.index(value)
    except TypeError:
        raise TypeError(
            f"{function}: expected an integer {name}, got {value!r}; pass a whole number, int(...)"
        ) from None
    if count < minimum:
        raise ValueError(f"{function}: expected {name} of at least {minimum}, got {count}; pass a larger number")
    return count


def checked_rng(function: str, rng: np.random.Generator) -> np.random.Generator:
    """`rng` itself if it is a NumPy Generator, or an error that shows how to make one."""
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"{function}: expected rng to be a np.random.Generator, got {type(rng).__name__}; "
            "pass rng=np.random.default_rng(0)"
        )
    return rng
