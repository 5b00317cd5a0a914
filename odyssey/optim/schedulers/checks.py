"""What schedules accept, and what they say otherwise."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...autograd import Tensor
from ..sgd import Optimizer
from ..sgd.checks import Check

# Keys of states: lists that need not have one entry for each group, and numbers of at least 1.
FREE = ("milestones", "schedulers")
PERIODS = ("step_size", "T_max", "warmup_steps", "total_steps")

# Keys of numbers that are at least 0; a scheduler of the reader's own may have negative ones too.
NONNEGATIVE = (
    *PERIODS, "last_epoch", "last_lr", "base_lrs", "factors", "gamma", "milestones", "start_factor",
    "eta_min", "pct_start", "div_factor", "final_div_factor", "max_lrs", "base_momenta",
    "max_momenta", "factor", "patience", "threshold", "cooldown", "min_lrs", "eps",
    "num_bad_epochs", "cooldown_counter",
)  # fmt: skip


def checked_optimizer(owner: str, optimizer: Any) -> Optimizer:
    """`optimizer`, if it is one; TypeError otherwise."""
    if not isinstance(optimizer, Optimizer):
        got = type(optimizer).__name__
        raise TypeError(f"{owner}: expected an Optimizer of odyssey.optim first, got {got}")
    return optimizer


def per_group(owner: str, name: str, value: Any, count: int, check: Check) -> list[Any]:
    """`value` for each of `count` parameter groups: one for all, or a list with one each."""
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return [check(owner, name, value)] * count
    if len(value) != count:
        raise ValueError(f"{owner}: {name} has {len(value)} entries, the optimizer {count} groups; "
                         f"give one entry for each group, or one number for all")  # fmt: skip
    return [check(owner, f"{name}[{i}]", v) for i, v in enumerate(value)]


def as_list(owner: str, name: str, values: Any) -> list[Any]:
    """`values` as a list; TypeError if they are none."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        raise TypeError(f"{owner}: expected {name} to be a list, got {values!r}")
    return list(values)


def real(owner: str, name: str, value: Any) -> float:
    """`value`, a number or an array or Tensor of one, as a float; TypeError for all else."""
    if isinstance(value, np.ndarray | np.generic | Tensor) and value.size == 1:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{owner}: expected {name} to be a number, got {value!r}")
    return float(value)


def check_value(where: str, key: str, old: Any, new: Any) -> None:
    """Raise ValueError unless `new` is of the kind of `old`, and finite."""
    same = type(new) is type(old) or (type(old) is float and type(new) is int)
    if key == "best":  # the best metric so far, None before the first
        same = new is None or type(new) in (int, float)
    elif isinstance(old, list) and isinstance(new, list) and key != "schedulers":
        for item in new:
            check_value(where, key, old[0] if old and type(old[0]) is not int else 1.0, item)
    elif type(new) in (int, float):
        same = same and math.isfinite(new)
        if same and new < 0 and key in NONNEGATIVE:
            raise ValueError(f"{where}: {key} is {new!r}, expected at least 0")
    if not same:
        raise ValueError(f"{where}: {key} is {new!r}, expected something like {old!r}")


def check_saved(owner: str, wanted: Mapping[str, Any], saved: Any, groups: int) -> dict[str, Any]:
    """`saved`, if it is the state of a scheduler like that of `wanted`, with as many groups."""
    where = f"{owner}.load_state_dict"
    if not isinstance(saved, Mapping) or set(saved) != set(wanted):
        got = list(saved) if isinstance(saved, Mapping) else type(saved).__name__
        raise ValueError(f"{where}: expected a dict with {sorted(wanted)}, got {got}; it was saved "
                         f"by another kind of scheduler")  # fmt: skip
    for key, old in wanted.items():
        check_value(where, key, old, saved[key])
        if isinstance(old, list) and key not in FREE and len(saved[key]) != groups:
            raise ValueError(f"{where}: {key} has {len(saved[key])} entries, this optimizer has "
                             f"{groups} groups")  # fmt: skip
        if key in PERIODS and saved[key] < 1:
            raise ValueError(f"{where}: {key} is {saved[key]!r}, expected at least 1")
    return dict(saved)


def check_rates(owner: str, rates: list[float], t: int) -> None:
    """Raise ValueError if one of the `rates` after `t` steps is negative, infinite or NaN."""
    for i, rate in enumerate(rates):
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"{owner}: rate {rate}, group {i}, after {t} steps; a rate is a "
                             f"finite number of at least 0")  # fmt: skip
