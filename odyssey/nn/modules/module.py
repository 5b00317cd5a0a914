"""Modules: objects that hold parameters, and other modules, in their attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from ...autograd import Tensor

AnyModes = TypeVar("AnyModes", bound="Modes")


class Parameter(Tensor):
    """A Tensor that a `Module` counts among its parameters when it is one of its attributes.

    `data`: array-like of floats; float32 unless it is an ndarray of another float dtype.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data, requires_grad)


class Tree:
    """A tree of modules: what hangs on it is found among its attributes, in their order."""

    training: bool = True
    buffers: tuple[str, ...] = ()  # names of attributes that are arrays and belong to the state

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """(name, module) for each attribute that is a module."""
        for name, value in vars(self).items():
            if isinstance(value, Tree):
                yield name, value
            elif isinstance(value, list | tuple | dict | set):
                check_container(self, name, value)

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """(path, module) for this module and all below it, each once; the own path is ''."""
        seen: set[int] = set()
        waiting: list[tuple[str, Any]] = [(prefix, self)]
        while waiting:
            path, module = waiting.pop()
            if id(module) in seen:
                continue
            seen.add(id(module))
            yield path, module
            below = [(f"{path}.{name}" if path else name, m) for name, m in module.named_children()]
            waiting.extend(reversed(below))

    def children(self) -> Iterator[Any]:
        """The modules directly below this one."""
        return (module for _, module in self.named_children())

    def modules(self) -> Iterator[Any]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())


def check_container(owner: Any, name: str, values: Any) -> None:
    """Raise TypeError if a list, tuple, dict or set hides modules or parameters from the tree."""
    for value in values.values() if isinstance(values, dict) else values:
        if isinstance(value, list | tuple | dict | set):
            check_container(owner, name, value)
        if isinstance(value, Tree | Parameter):
            got = f"a {type(values).__name__} with a {type(value).__name__}"
            raise TypeError(
                f"{type(owner).__name__}: the attribute {name!r} is {got}, which would never be "
                f"trained; use ModuleList, or give each an attribute of its own"
            )


class Parameters(Tree):
    """The parameters of a tree."""

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(path, parameter) for all parameters, each once: a shared one under its first path."""
        seen: set[int] = set()
        for path, module in self.named_modules():
            for name, value in vars(module).items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    seen.add(id(value))
                    yield f"{path}.{name}" if path else name, value

    def parameters(self) -> Iterator[Parameter]:
        """All parameters, each once: what an optimizer is given."""
        return (p for _, p in self.named_parameters())


class Modes(Parameters):
    """Settings of a whole tree."""

    def train(self: AnyModes, mode: bool = True) -> AnyModes:
        """Set ``training`` here and below. Dropout and BatchNorm do other things when it is off."""
        if not isinstance(mode, bool | np.bool_):
            raise TypeError(f"{type(self).__name__}.train: expected True or False, got {mode!r}")
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self: AnyModes) -> AnyModes:
        """``train(False)``: for predictions."""
        return self.train(False)

    def requires_grad_(self: AnyModes, requires_grad: bool = True) -> AnyModes:
        """Freeze all parameters, or let them be trained again."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def zero_grad(self) -> None:
        """Set the ``grad`` of every parameter to None."""
        for p in self.parameters():
            p.grad = None

    def apply(self: AnyModes, function: Callable[[Any], Any]) -> AnyModes:
        """Call `function` with every module, those below first."""
        for module in reversed(list(self.modules())):
            function(module)
        return self

    def to(self: AnyModes, dtype: Any) -> AnyModes:
        """Convert all parameters and float buffers to `dtype`, in place; gradients are dropped."""
        if np.dtype(dtype).kind not in "fV":
            raise TypeError(f"{type(self).__name__}.to: expected a float dtype, got {dtype!r}")
        for module in self.modules():
            for p in vars(module).values():
                if isinstance(p, Parameter):
                    p.data, p.grad = p.data.astype(dtype), None
            floats = [name for name in module.buffers if getattr(module, name).dtype.kind in "fV"]
            for name in floats:
                setattr(module, name, getattr(module, name).astype(dtype))
        return self
