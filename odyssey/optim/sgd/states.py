"""The states of an optimizer, held by position, and their way into a dict and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from .bucket import BLOCK, Bucket, Dense, fill_buckets
from .groups import Groups


def member_state(bucket: Bucket, k: int) -> dict[str, Any]:
    """The step and copies of the states of member `k` of `bucket`, in its parameter's shape."""
    first, last = bucket.offsets[k : k + 2]
    found: dict[str, Any] = {"step": bucket.steps[k]}
    for name, state in bucket.states.items():
        values = np.empty(last - first, bucket.dtype)
        for start in range(0, values.size, BLOCK):
            piece = values[start : start + BLOCK]
            at = first + start
            piece[...] = state.read(at, at + piece.size, piece)
        found[name] = values.reshape(bucket.shapes[k])
    return found


def store_member(bucket: Bucket, k: int, state: Mapping[str, Any]) -> None:
    """Take over the step and the states of member `k` of `bucket`, block by block.

    States that `state` lacks stay as they are, new: an option was changed that needs them.
    """
    bucket.steps[k] = int(state["step"])
    for name, stored in bucket.states.items():
        if name not in state:
            continue
        values = np.asarray(state[name], bucket.dtype).reshape(-1)
        for start in range(0, values.size, BLOCK):
            piece = values[start : start + BLOCK]
            at = bucket.offsets[k] + start
            stored.write(at, at + piece.size, piece)


def check_layout(owner: str, groups: list[dict[str, Any]], state_dict: Any) -> None:
    """Raise ValueError if `state_dict` does not have these groups with as many parameters."""
    where = f"{owner}.load_state_dict"
    found = state_dict if isinstance(state_dict, Mapping) else {}
    saved, states = found.get("param_groups"), found.get("state")
    good = isinstance(saved, list | tuple) and isinstance(states, Mapping)
    if not good or not all(isinstance(g, Mapping) and "params" in g for g in saved or ()):
        raise ValueError(
            f"{where}: expected a dict with 'state' (a dict) and 'param_groups' (a list of dicts), "
            f"got {type(state_dict).__name__}; pass what state_dict() gave"
        )
    sizes, wanted = [len(g["params"]) for g in saved or ()], [len(g["params"]) for g in groups]
    if sizes != wanted:
        raise ValueError(
            f"{where}: it has groups of {sizes} parameters, this optimizer of {wanted}; load it "
            f"into an optimizer of the same model"
        )
    for i, (old, new) in enumerate(zip(saved or (), groups, strict=True)):
        if missing := sorted(set(new) - set(old) - {"name", "initial_lr"}):
            raise ValueError(
                f"{where}: group {i} lacks the option {missing[0]!r}; it was saved by another "
                f"kind of optimizer"
            )
        if unknown := sorted(set(old) - set(new) - {"name", "initial_lr"}):
            raise ValueError(
                f"{where}: group {i} has the unknown option {unknown[0]!r}; it was saved by "
                f"another kind of optimizer"
            )
    if strangers := [i for i in states or () if i not in range(sum(wanted))]:
        raise ValueError(f"{where}: a state for parameter {strangers[0]!r}, which is not there")


def check_state(owner: str, i: int, p: Any, names: set[str], state: Any) -> Mapping[str, Any]:
    """`state`, if it is one of a parameter of the shape of `p`, with `names`; else ValueError."""
    where = f"{owner}.load_state_dict: the state of parameter {i}"
    if not isinstance(state, Mapping) or set(state) != names:
        got = sorted(state) if isinstance(state, Mapping) else type(state).__name__
        raise ValueError(
            f"{where} has {got}, expected {sorted(names)}; it was saved by another optimizer, or "
            f"with other options"
        )
    if not isinstance(state["step"], int | np.integer) or state["step"] < 0:
        raise ValueError(f"{where} has the step {state['step']!r}, expected a whole number")
    for name in sorted(names - {"step"}):
        if np.shape(state[name]) != p.shape:
            got = f"{name} of shape {np.shape(state[name])}"
            raise ValueError(
                f"{where} has {got}, but the parameter has {p.shape}; it was saved for another "
                f"model"
            )
    return state


class Buckets(Groups):
    """The states of all parameters, by position, in the buckets that share their updates."""

    layerwise: ClassVar[bool] = False  # whether `update` wants whole parameters, in their shapes

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self._buckets: list[list[Bucket]] = []  # for each group
        super().__init__(params, defaults)

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add a group: a dict with ``params`` and the options that differ from the defaults."""
        super().add_param_group(group)
        self._buckets.append([])

    def state_names(self, group: Any) -> tuple[str, ...]:
        """Names of the states of each parameter of `group`. Each optimizer says which."""
        return ()

    def new_state(self, group: Any, name: str, size: int, dtype: Any) -> Dense:
        """The state `name`, for `size` numbers, before the first step."""
        return Dense(size, dtype)

    def new_buckets(self, group: Any, positions: list[int]) -> list[Bucket]:
        """Buckets with fresh states for the parameters of `group` at `positions`."""
        params = {i: group["params"][i] for i in positions}
        self.check_params(list(params.values()))  # p.data may have been replaced
        apart = self.layerwise or group.get("state_dtype") is not None
        found = list(fill_buckets(params, apart))
        for bucket in found:
            for name in self.state_names(group):
                state = self.new_state(group, name, bucket.offsets[-1], bucket.dtype)
                bucket.states[name] = state
        return found

    def filled_buckets(self, group: Any, states: dict[int, Any]) -> list[Bucket]:
        """Buckets for `group` with the given states, position -> dict. Changes nothing."""
        found = self.new_buckets(group, sorted(states))
        for bucket in found:
            for k, i in enumerate(bucket.members):
                store_member(bucket, k, states[i])
        return found


class States(Buckets):
    """The way of all states into a dict and back."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that a later run needs to go on bit for bit, as numbers and copied arrays.

        ``{"state": {i: {"step": int, name: ndarray}}, "param_groups": [{..., "params": [i]}]}``,
        with the parameters numbered through all groups, as in PyTorch.
        """
        states: dict[int, Any] = {}
        groups, first = [], 0
        for group, buckets in zip(self.param_groups, self._buckets, strict=True):
            count = len(group["params"])
            groups.append({**group, "params": list(range(first, first + count))})
            for bucket in buckets:
                for k, i in enumerate(bucket.members):
                    states[first + i] = member_state(bucket, k)
            first += count
        return {"state": dict(sorted(states.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned, options included; parameters go by position.

        Raises ValueError, with nothing changed, if the groups, the shapes or the names of the
        states are not those of this optimizer.
        """
        check_layout(type(self).__name__, self.param_groups, state_dict)
        options, buckets, first = [], [], 0
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            given = self.checked({k: v for k, v in saved.items() if k != "params"})
            states, names = {}, {"step", *self.state_names({**group, **given})}
            for i, p in enumerate(group["params"]):
                if state := state_dict["state"].get(first + i):
                    states[i] = check_state(type(self).__name__, first + i, p, names, state)
            buckets.append(self.filled_buckets({**group, **given}, states))
            options.append(given)
            first += len(group["params"])
        for group, given in zip(self.param_groups, options, strict=True):
            group.update(given)
        self._buckets = buckets
