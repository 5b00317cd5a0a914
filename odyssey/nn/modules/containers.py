"""Modules that hold others: one after the other, or a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

from .functions import shape_of
from .state import Module


def checked_modules(owner: str, modules: Iterable[Any]) -> list[Module]:
    """`modules` as a list; TypeError if one of them is none."""
    if not isinstance(modules, Iterable):
        raise TypeError(f"{owner}: expected a list of modules, got {type(modules).__name__}")
    found = list(modules)
    for i, module in enumerate(found):
        if not isinstance(module, Module):
            got = type(module).__name__
            raise TypeError(
                f"{owner}: expected modules, got {got} at {i}; wrap functions in a Module, and "
                f"pass the modules of a list one by one: Sequential(*modules)"
            )
    return found


class ModuleList(Module):
    """A list of modules that are part of the tree: ``self.blocks = ModuleList([...])``."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.extend(modules)

    def extend(self, modules: Iterable[Module]) -> None:
        """Add `modules` at the end."""
        for module in checked_modules(type(self).__name__, modules):
            setattr(self, str(len(self)), module)

    def append(self, module: Module) -> None:
        """Add one module at the end."""
        self.extend([module])

    def __len__(self) -> int:
        return sum(1 for _ in self.named_children())

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self.children()))

    def __getitem__(self, index: int | slice) -> Any:
        found = list(self.children())[index]
        if not isinstance(index, slice):
            return found
        return type(self)(*found) if isinstance(self, Sequential) else type(self)(found)


class Sequential(ModuleList):
    """Modules in a row: the output of each is the input of the next. ``Sequential(a, b, c)``."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        """`x` through all modules, in order."""
        for module in self.children():
            x = module(x)
        return x


class Flatten(Module):
    """(N, ...) → (N, product of the rest): images into rows for a `Linear`."""

    def forward(self, x: Any) -> Any:
        """`x` of shape (N, ...) as (N, product of the rest)."""
        if not getattr(x, "shape", ()):
            raise ValueError(f"Flatten: expected input of shape (N, ...), got {shape_of(x)}")
        return x.reshape(x.shape[0], prod(x.shape[1:]))
