"""Mixed precision: products of half-precision numbers, float32 for the rest, and a loss scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ContextDecorator
from math import inf
from typing import Any

import numpy as np

from ..autograd import Tensor
from ..autograd.tape.entry import Array, count_blocks, mode
from .sgd import BLOCK, Optimizer
from .sgd.checks import count, flag, number

Rounding = Callable[[Array], Array]


def round_float16(x: Array) -> Array:
    """The float32 numbers `x` rounded to 11 significant bits, ties to even; below 2**-14 to
    multiples of 2**-24; from 65520 on to infinity. NumPy's cast is slow where it underflows.
    """
    bits = x.view(np.uint32)
    last = (bits >> np.uint32(13)) & np.uint32(1)
    kept = (bits + (last + np.uint32(0x0FFF))) & np.uint32(0xFFFFE000)
    size = np.abs(x)
    # float32 numbers in [0.5, 1) lie 2**-24 apart, as those of float16 do below 2**-14
    with np.errstate(invalid="ignore"):  # some NaNs warn when they are added to
        small = np.copysign(size + np.float32(0.75) - np.float32(0.75), x)
    large = np.where(np.isnan(x), np.float32(np.nan), np.copysign(np.float32(np.inf), x))
    out = np.where(size < np.float32(2.0**-14), small, kept.view(np.float32))
    return np.where(size < np.float32(65520), out, large)


def round_bfloat16(x: Array) -> Array:
    """The float32 numbers `x` rounded to 8 significant bits, ties to even; the range stays.

    A bfloat16 is the upper half of a float32: add half of the last bit that stays, and cut.
    """
    bits = x.view(np.uint32)
    last = (bits >> np.uint32(16)) & np.uint32(1)
    kept = (bits + (last + np.uint32(0x7FFF))) & np.uint32(0xFFFF0000)
    # adding to the bits of a NaN may give an infinity or a zero
    return np.where(np.isnan(x), np.float32(np.nan), kept.view(np.float32))


def rounding(dtype: Any) -> Rounding:
    """The function that rounds to `dtype`: np.float16, "bfloat16", or another dtype so named."""
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None)
    name = getattr(dtype, "__name__", None) if name is None else name
    known = {"float16": round_float16, "bfloat16": round_bfloat16}
    if name not in known:
        raise ValueError(f"autocast: expected dtype np.float16 or 'bfloat16', got {dtype!r}")
    return known[name]


class autocast(ContextDecorator):
    """Round the inputs of matrix products to half precision: ``with autocast():``, ``@autocast()``.

    Inside, `matmul`, `dot` and `einsum` (and linear layers, convolutions, attention) see their
    float32 inputs, a bias too, rounded to `dtype`, add in float32, and give float32; the gradients
    of their results are rounded before they enter the products of the backward pass. All else, and
    float64, stays as it is. The setting belongs to this thread. Blocks nest;
    ``autocast(enabled=False)`` switches it off for a while.
    """

    def __init__(self, dtype: Any = np.float16, enabled: bool = True) -> None:
        half = rounding(dtype)
        self._half = half if flag("autocast", "enabled", enabled) else None

    def __enter__(self) -> autocast:
        # One decorated function may run in several threads, so the way back is kept per thread.
        mode.__dict__.setdefault("outer_half", []).append(mode.half)
        mode.half = self._half
        count_blocks(+1)
        return self

    def __exit__(self, *error: object) -> None:
        mode.half = mode.__dict__["outer_half"].pop()
        count_blocks(-1)


def unscale(gradients: list[Array], factor: float) -> bool:
    """Multiply all `gradients` by `factor` in place. True if one of them was not finite."""
    found = False
    for g in gradients:
        flat = g.ravel(order="K")  # in the order of the memory: a transposed one is not copied
        for start in range(0, flat.size, BLOCK):
            found = found or not np.isfinite(flat[start : start + BLOCK]).all()
        g *= factor
    return found


def scaled_gradients(optimizer: Any) -> list[Array]:
    """The float32 or float64 gradients of all parameters of `optimizer`, each array once."""
    if not isinstance(optimizer, Optimizer):
        got = type(optimizer).__name__
        raise TypeError(f"GradScaler: expected an Optimizer of odyssey.optim, got {got}")
    found: dict[int, Array] = {}
    for n, group in enumerate(optimizer.param_groups):
        for i, p in enumerate(group["params"]):
            if p.grad is None:
                continue
            where = f"GradScaler: the grad of parameter {i} of group {n}"
            if not isinstance(p.grad, np.ndarray) or not p.grad.flags.writeable:
                raise ValueError(f"{where} is no array that can be changed; let backward() make it")
            if p.grad.dtype.itemsize < 4:
                got = f"{where} is {p.grad.dtype}"
                raise ValueError(f"{got}; keep parameters in float32, and use autocast")
            found[id(p.grad)] = p.grad
    return list(found.values())


class ScaledLoss(Tensor):
    """A loss times the scale. Its `backward` does not warn of the overflows that are looked for."""

    __slots__ = ()

    def backward(self, grad: Any = None, retain_tape: bool = False) -> None:
        """`Tensor.backward`, with NumPy's warnings of infinities switched off."""
        with np.errstate(over="ignore", invalid="ignore"):
            super().backward(grad, retain_tape)


def scaled(loss: Tensor, factor: float) -> Any:
    """`loss`, a Tensor, times `factor`, as a ScaledLoss."""
    with np.errstate(over="ignore"):
        out = loss * factor
    out.__class__ = ScaledLoss
    return out


class LossScale:
    """A factor for the loss, and how it shrinks and grows."""

    def __init__(
        self, init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5,
        growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        owner = "GradScaler"
        self._enabled = flag(owner, "enabled", enabled)
        self._scale = number(owner, "init_scale", init_scale, 2e-38, inf, "a number above 0")
        above = "a number above 1"
        self._growth_factor = number(owner, "growth_factor", growth_factor, 1 + 1e-12, inf, above)
        below = "a number in (0, 1)"
        self._backoff_factor = number(owner, "backoff_factor", backoff_factor, 5e-324, 1.0, below)
        self._growth_interval = count(owner, "growth_interval", growth_interval)
        self._growth_tracker = 0
        # optimizer -> whether it overflowed (None: it had no gradients), and whether `step` has
        # been called since `update`
        self._seen: dict[Optimizer, tuple[bool | None, bool]] = {}

    def get_scale(self) -> float:
        """The factor that `scale` multiplies with; 1.0 if the scaler is not enabled."""
        return self._scale if self._enabled else 1.0

    def scale(self, loss: Any) -> Any:
        """`loss` times the scale: a Tensor, or a list or tuple of them."""
        if isinstance(loss, list | tuple):
            return type(loss)(self.scale(x) for x in loss)
        if not isinstance(loss, Tensor):
            raise TypeError(f"GradScaler.scale: expected a Tensor, got {type(loss).__name__}")
        return scaled(loss, self._scale) if self._enabled else loss

    def adapt(self, overflow: bool) -> None:
        """Shrink the scale after an overflow; grow it after enough steps without one."""
        if overflow:
            smallest = float(np.finfo(np.float32).tiny)  # so that 1 / scale stays finite
            self._scale = max(self._scale * self._backoff_factor, smallest)
            self._growth_tracker = 0
            return
        self._growth_tracker += 1
        if self._growth_tracker == self._growth_interval:
            grown = self._scale * self._growth_factor
            self._scale = grown if grown <= float(np.finfo(np.float32).max) else self._scale
            self._growth_tracker = 0


class StoredScale(LossScale):
    """The way of a loss scale into a dict and back."""

    def state_dict(self) -> dict[str, Any]:
        """The scale, the counter and the options; empty if the scaler is not enabled."""
        if not self._enabled:
            return {}
        names = ("growth_factor", "backoff_factor", "growth_interval")
        options = {name: getattr(self, f"_{name}") for name in names}
        return {"scale": self._scale, **options, "_growth_tracker": self._growth_tracker}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; ValueError changes nothing."""
        if not self._enabled:
            return
        wanted = sorted(self.state_dict())
        if not isinstance(state_dict, Mapping) or set(state_dict) != set(wanted):
            is_dict = isinstance(state_dict, Mapping)
            got = list(state_dict) if is_dict else type(state_dict).__name__
            raise ValueError(f"GradScaler.load_state_dict: expected {wanted}, got {got}; was it "
                             f"saved by a scaler that was not enabled?")  # fmt: skip
        options = {k: v for k, v in state_dict.items() if k not in ("scale", "_growth_tracker")}
        checked = LossScale(state_dict["scale"], **options)
        tracker = state_dict["_growth_tracker"]
        checked._growth_tracker = count("GradScaler", "_growth_tracker", tracker) if tracker else 0
        checked._seen = self._seen  # what is unscaled stays unscaled
        vars(self).update(vars(checked))


class Unscaling(StoredScale):
    """Takes the scale out of the gradients of an optimizer, once between two updates."""

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of `optimizer` by the scale, in place, once between two updates."""
        if not self._enabled:
            return
        gradients = scaled_gradients(optimizer)
        if optimizer in self._seen:
            stepped = self._seen[optimizer][1]
            done = "step() was called already" if stepped else "the gradients are unscaled already"
            raise RuntimeError(f"GradScaler.unscale_: {done}; call update() first")
        overflow = unscale(gradients, 1 / self._scale) if gradients else None
        self._seen[optimizer] = overflow, False


class GradScaler(Unscaling):
    """Scale the loss up before backward, the gradients down before the step (dynamic loss scaling).

    After an overflow the step is left out and the scale multiplied by `backoff_factor`; after
    `growth_interval` steps without one it is multiplied by `growth_factor` (proposed in the
    conclusions of Micikevicius et al. 2018). Use: ``scaler.scale(loss).backward();
    scaler.step(optimizer); scaler.update()``, with ``scaler.unscale_(optimizer)`` before clipping.
    As PyTorch's.
    """

    def step(self, optimizer: Any) -> bool:
        """``optimizer.step()``, unless a gradient has overflowed. True if the step was made.

        Calls `unscale_` unless it was called before. RuntimeError if called twice between updates,
        or if no parameter has a gradient: nothing could be checked.
        """
        if not self._enabled:
            optimizer.step()
            return True
        if optimizer not in self._seen:
            self.unscale_(optimizer)
        overflow, stepped = self._seen[optimizer]
        if stepped:
            raise RuntimeError("GradScaler.step: called twice; call update() after each step")
        if overflow is None:
            del self._seen[optimizer]
            raise RuntimeError("GradScaler.step: no parameter of this optimizer has a gradient; "
                               "call scale(loss).backward() first")  # fmt: skip
        if not overflow:
            optimizer.step()
        self._seen[optimizer] = overflow, True
        return not overflow

    def update(self) -> None:
        """Shrink or grow the scale for the next step. Call it once, after all `step` calls."""
        if not self._enabled:
            return
        checked = [overflow for overflow, _ in self._seen.values() if overflow is not None]
        if not checked:
            raise RuntimeError("GradScaler.update: no gradients were checked since the last one; "
                               "call step(optimizer) first")  # fmt: skip
        self.adapt(any(checked))
        self._seen.clear()
