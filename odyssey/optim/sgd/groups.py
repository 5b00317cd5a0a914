"""Parameter groups: which tensors are trained, and with which options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from .checks import Check, as_groups, checked_params


class Groups:
    """Parameter groups: lists of Tensors, each with its own options."""

    options: ClassVar[dict[str, Check]] = {}  # name of an option -> the function that checks it
    param_groups: list[dict[str, Any]]
    defaults: dict[str, Any]

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        self.defaults = self.checked(defaults)
        self.param_groups = []
        for group in as_groups(type(self).__name__, params):
            self.add_param_group(group)

    def checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """`options` in their final form; those without an entry in the table stay as they are."""
        owner = type(self).__name__
        known = self.options
        return {k: known[k](owner, k, v) if k in known else v for k, v in options.items()}

    def check_params(self, params: list[Any]) -> None:
        """Raise ValueError for parameters that this optimizer cannot train."""

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Add a group: a dict with ``params`` and the options that differ from the defaults."""
        owner = type(self).__name__
        if not isinstance(group, Mapping) or "params" not in group:
            raise ValueError(f"{owner}: a group is a dict with the key 'params', got {group!r}")
        unknown = sorted(set(group) - set(self.defaults) - {"params", "name"})
        if unknown:
            known = ", ".join(self.defaults)
            raise ValueError(f"{owner}: unknown option {unknown[0]!r} in a group; it has {known}")
        taken = {id(p) for other in self.param_groups for p in other["params"]}
        params = checked_params(owner, group["params"], taken)
        self.check_params(params)
        options = {k: v for k, v in group.items() if k != "params"}
        # appended last: after an error nothing has changed
        self.param_groups.append({"params": params, **self.checked({**self.defaults, **options})})

    def zero_grad(self) -> None:
        """Set the ``grad`` of every parameter to None, so that the next backward starts anew."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None
