"""The progress bar: one line of text, the same in a terminal and in a notebook."""

from __future__ import annotations

from typing import Any

from .callbacks import State


def progress_bar(state: State, total: int | None) -> Any:
    """A bar over `total` steps (None: nobody knows), which begins where `state` stands.

    ImportError that names the extra if tqdm is missing.
    """
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise ImportError("fit: the progress bar needs tqdm; pip install 'ml-odyssey[train]', or "
                          "pass progress=False") from error  # fmt: skip

    class Bar(tqdm):  # type: ignore[misc]
        monitor_interval = 0  # no thread beside the run: browsers have none

    return Bar(total=total, initial=state.step, unit="step", dynamic_ncols=True)


def show(bar: Any, state: State, epoch: int) -> None:
    """Put the numbers of the last step and the last metrics beside the bar, without drawing it."""
    history = state.history
    rates = ", ".join(f"{rate:.3g}" for rate in history.lr[-1])
    bar.set_description_str(f"epoch {epoch}/{state.epochs}", refresh=False)
    numbers = f"loss {state.loss:.4g}, lr {rates}, gradient {history.grad_norm[-1]:.3g}"
    metrics = "".join(f", {name} {value:.4g}" for name, value in state.metrics.items())
    bar.set_postfix_str(numbers + metrics, refresh=False)


def advance(bar: Any, state: State) -> None:
    """Show one more step: the epoch, the loss, the rate of each group, the gradient norm."""
    show(bar, state, state.epoch + 1)
    bar.update()


def end_epoch(bar: Any, state: State) -> None:
    """Show the metrics of the epoch that has just ended, not those of the one before."""
    show(bar, state, state.epoch)
    bar.refresh()
