"""The state of a module: its parameters and buffers, by path, into a dict and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ...autograd import Tensor
from ...autograd.tape.entry import Array
from .module import Modes, Parameter


class Keys(NamedTuple):
    """What `load_state_dict` did not find, and what it could not place."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Stored(Modes):
    """The way of all numbers into a dict and back."""

    def named_arrays(self, path: str = "") -> Iterator[tuple[str, Any, str]]:
        """(path, module, attribute) for each parameter and buffer, shared ones at every path."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter) or name in self.buffers:
                yield f"{path}{name}", self, name
        for name, child in self.named_children():
            yield from child.named_arrays(f"{path}{name}.")

    def state_dict(self) -> dict[str, Array]:
        """Copies of all parameters and buffers, by path: ``{"0.weight": ndarray, ...}``.

        Names, shapes and layouts are those of PyTorch.
        """
        found = {}
        for path, module, name in self.named_arrays():
            value = getattr(module, name)
            data = value.data if isinstance(value, Parameter) else value
            found[path] = np.array(data, order="C")
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Keys:
        """Copy the arrays of `state_dict` into parameters and buffers, whose dtypes stay.

        All or nothing: ValueError changes nothing. It names the shapes that differ and, if
        `strict`, the paths that are missing or unknown; otherwise these are returned.
        """
        places = {path: (module, name) for path, module, name in self.named_arrays()}
        old = {path: getattr(module, name) for path, (module, name) in places.items()}
        keys, new = matched(type(self).__name__, old, state_dict, strict)
        for path, array in new.items():
            if isinstance(old[path], Parameter):
                old[path].data = array
            else:
                setattr(*places[path], array)
        return keys


def matched(
    owner: str, old: Mapping[str, Any], state_dict: Any, strict: bool
) -> tuple[Keys, dict[str, Array]]:
    """The paths that do not match, and an array for each path of `old` that does."""
    if not isinstance(state_dict, Mapping):
        got = type(state_dict).__name__
        raise TypeError(f"{owner}.load_state_dict: expected a dict of arrays, got {got}")
    missing = [path for path in old if path not in state_dict]
    unexpected = [path for path in state_dict if path not in old]
    if strict and (missing or unexpected):
        raise ValueError(
            f"{owner}.load_state_dict: missing {missing}, unexpected {unexpected}; load it into "
            f"the model that it was saved from, or pass strict=False"
        )
    new = {
        path: fitting(owner, path, value, state_dict[path])
        for path, value in old.items()
        if path in state_dict
    }
    return Keys(missing, unexpected), new


def fitting(owner: str, path: str, old: Any, new: Any) -> Array:
    """A copy of `new` in the dtype of `old`; ValueError if it has another shape or no numbers."""
    try:
        array = np.asarray(new.data if isinstance(new, Tensor) else new)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{owner}.load_state_dict: {path} is no array: {error}") from error
    strange = array.dtype.kind not in "fiubV" or array.dtype.type is np.void
    if array.shape != old.shape or strange:
        raise ValueError(
            f"{owner}.load_state_dict: {path} has shape {array.shape} and dtype {array.dtype}, "
            f"expected shape {old.shape}; it was saved from another model"
        )
    return array.astype(old.dtype, order="C")


class Module(Stored):
    """Base of all layers and models: subclass it, and define `forward`.

    Attributes that are Parameters are trained, attributes that are Modules are part of the tree;
    names listed in the class variable `buffers` are arrays that are saved, not trained. `training`
    tells whether the module is in training mode. Calling the module calls `forward`.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The output for an input. Each module says which."""
        raise NotImplementedError(f"{type(self).__name__}: define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    def extra_repr(self) -> str:
        """What stands between the parentheses when the module is printed."""
        return ""

    def __repr__(self) -> str:
        count = sum(p.size for p in self.parameters())
        head = f"{type(self).__name__}({self.extra_repr()}"
        children = list(self.named_children())
        if not children:
            return f"{head})" + (f"  # {count:,}" if count else "")
        rows = [f"  ({name}): {child!r}".replace("\n", "\n  ") for name, child in children]
        return "\n".join([head, *rows, f")  # {count:,} parameters"])
