"""Batches in a random order, and a place to resume from."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import checked_count, checked_rng


class _Place:
    """Where in its epoch a loader stands, and which of its iterators may move it."""

    arrays: tuple[NDArray[Any], ...]
    batch_size: int
    shuffle: bool
    drop_last: bool
    _rng: np.random.Generator

    def _between_epochs(self) -> None:
        # The epoch under way: how many of its batches were used, the order of its samples, the
        # state of the generator before it drew that order, and a mark that only the newest
        # iterator carries. Between epochs: all None.
        self._position: int | None = None
        self._order: NDArray[np.intp] | None = None
        self._generator_before: dict[str, Any] | None = None
        self._newest: object | None = None

    def _check_newest(self, mark: object) -> None:
        if self._newest is not mark:
            raise RuntimeError("DataLoader: this iterator ended when a newer one was started, or a "
                               "state loaded, on the same loader; for two loops at once make two "
                               "loaders")  # fmt: skip


class _Epochs(_Place):
    """Batches, one epoch after another."""

    def __len__(self) -> int:
        """Number of batches in a whole epoch."""
        samples = len(self.arrays[0])
        return samples // self.batch_size if self.drop_last else -(-samples // self.batch_size)

    def __iter__(self) -> Iterator[tuple[NDArray[Any], ...]]:
        """Begin an epoch; the first time after `load_state_dict`, go on with the one restored."""
        restored = self._position is not None and self._newest is None
        if not restored:
            self._generator_before = _plain(self._rng.bit_generator.state) if self.shuffle else None
            self._order = _sample_order(len(self.arrays[0]), self._rng if self.shuffle else None)
            self._position = 0
        # Drawn here and not at the first batch: iter() alone already fixes what the epoch will be.
        self._newest = mark = object()
        return self._batches(mark)

    def _batches(self, mark: object) -> Iterator[tuple[NDArray[Any], ...]]:
        self._check_newest(mark)
        while (position := self._position) is not None and position < len(self):
            assert self._order is not None
            picked = self._order[position * self.batch_size :][: self.batch_size]
            self._position = position + 1
            # Indexing with an array copies, also without shuffle: a batch changed in place leaves
            # the data alone.
            yield tuple(array[picked] for array in self.arrays)
            self._check_newest(mark)
        self._between_epochs()


class _Resumable(_Epochs):
    """The place of the loader as plain values, and the way back to it."""

    def state_dict(self) -> dict[str, Any]:
        """Where the loader stands, in the middle of an epoch or between two; `json` takes it.

        ``samples``, ``batch_size``, ``shuffle``, ``drop_last``: what the loader was made with.
        ``position``: batches used of the epoch under way, None between epochs. After the last
        batch, before the loop has ended, it is the number of batches: still that epoch.
        ``generator_before``: state of the generator before it drew the order of that epoch, from
        which the order is drawn again. ``generator``: its state now; another one if others draw
        from it too. Without `shuffle` both are None.

        The order itself is not stored. NumPy may change how a Generator makes a permutation from
        one feature release to another; resume with the NumPy that the run began with.
        """
        return {
            **_made_with(self),
            "position": self._position,
            "generator_before": _plain(self._generator_before),
            "generator": _plain(self._rng.bit_generator.state) if self.shuffle else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go where another loader stood: the next loop yields what was left of its epoch.

        The loops after that are the epochs that the other would have had. The generator given as
        `rng` is set in place, so whoever shares it sees the change. Iterators made before raise
        RuntimeError. TypeError or ValueError, with nothing changed, if `state` is not from the
        `state_dict` of a loader made with the same arguments over as many samples.
        """
        _check_state(self, state)
        position = state["position"]
        # What can fail happens on generators of our own, before the first attribute changes.
        kind, drawing = type(self._rng.bit_generator), self.shuffle and position is not None
        before = _generator_in(state, "generator_before", kind, needed=drawing)
        now = _generator_in(state, "generator", kind, needed=self.shuffle)
        self._order = None if position is None else _sample_order(len(self.arrays[0]), before)
        self._position = position
        self._generator_before = _plain(state["generator_before"])
        self._newest = None
        if now is not None:
            self._rng.bit_generator.state = now.bit_generator.state


class DataLoader(_Resumable):
    """Cut arrays into batches along their first axis; each `for` loop over the loader is one epoch.

    With ``shuffle`` an epoch is a new random permutation of the samples, so each of them comes once.
    A batch is a tuple with one array for each array given, and owns its memory.

    Parameters
    ----------
    *arrays : ndarray
        At least one, each of shape (N, ...) with the same N ≥ 1, of any dtype. They are not copied.
    batch_size : int
        Samples in a batch, at least 1. The last batch of an epoch is smaller if N is not a multiple.
    shuffle : bool, default True
        A new order for each epoch; without it, every epoch goes through the arrays as they stand.
    rng : np.random.Generator, optional
        Draws the orders, one permutation at the start of each epoch; the loader advances it. Without it, the
        loader makes its own from the operating system's entropy: a different run each time, still resumable.
    drop_last : bool, default False
        Leave out a last batch of fewer than `batch_size` samples.

    Raises
    ------
    TypeError
        If an argument is no ndarray, `batch_size` no integer, or `rng` no Generator.
    ValueError
        If there is no array, an array has no first axis or no sample, the numbers of samples differ,
        `batch_size` is less than 1, or `drop_last` would leave no batch at all.

    Notes
    -----
    One epoch is under way at a time. A new `for` loop starts a new epoch, and an older iterator over the same
    loader raises RuntimeError if it is asked for more: otherwise nobody could say what `state_dict` describes.

    A batch counts as used from the moment it is yielded. ``len(loader)`` is the number of batches of a whole
    epoch, also when a restored loader has fewer left. The names are those of ``torch.utils.data.DataLoader``;
    there `shuffle` is off, and `batch_size` is 1, unless you say otherwise.

    Examples
    --------
    >>> X, y = np.arange(10.0).reshape(5, 2), np.arange(5)
    >>> loader = DataLoader(X, y, batch_size=2, rng=np.random.default_rng(0))
    >>> [batch_y.tolist() for batch_X, batch_y in loader]
    [[2, 4], [3, 0], [1]]
    >>> for batch_X, batch_y in loader:  # stop the second epoch after one batch of three …
    ...     state = loader.state_dict()
    ...     break
    >>> restored = DataLoader(X, y, batch_size=2, rng=np.random.default_rng(1))
    >>> restored.load_state_dict(state)
    >>> len(restored), len(list(restored)), len(list(restored))  # … and two are left, then a whole epoch
    (3, 2, 3)
    """

    def __init__(
        self,
        *arrays: NDArray[Any],
        batch_size: int,
        shuffle: bool = True,
        rng: np.random.Generator | None = None,
        drop_last: bool = False,
    ) -> None:
        self.arrays = _checked_arrays(arrays)
        self.batch_size = checked_count("DataLoader", "batch_size", batch_size, minimum=1)
        self.shuffle = bool(shuffle)
        self.drop_last = bool(drop_last)
        self._rng = np.random.default_rng() if rng is None else checked_rng("DataLoader", rng)
        if len(self) == 0:
            raise ValueError(
                f"DataLoader: {len(arrays[0])} samples make no batch of {self.batch_size} with drop_last=True; "
                "pass a smaller batch_size or drop_last=False"
            )
        self._between_epochs()


def _made_with(loader: _Epochs) -> dict[str, Any]:
    """What two loaders must share for the state of one to suit the other."""
    names = ("batch_size", "shuffle", "drop_last")
    return {"samples": len(loader.arrays[0]), **{name: getattr(loader, name) for name in names}}


def _check_state(loader: _Resumable, state: Any) -> None:
    """Raise TypeError or ValueError unless `state` was saved by a loader like this one."""
    if not isinstance(state, dict):
        raise TypeError(
            f"DataLoader.load_state_dict: expected a dict, got {type(state).__name__}; pass what state_dict() returned"
        )
    own = loader.state_dict()
    if state.keys() != own.keys():
        raise ValueError(
            f"DataLoader.load_state_dict: expected the keys {sorted(own)}, got {sorted(map(str, state))}; "
            "pass what state_dict() of a DataLoader returned"
        )
    for name in ("samples", "batch_size", "shuffle", "drop_last"):
        if state[name] != own[name]:
            raise ValueError(
                f"DataLoader.load_state_dict: the state was saved with {name}={state[name]!r}, this loader has "
                f"{own[name]!r}; make the loader with the same arguments and data"
            )
    position = state["position"]
    if position is not None and not (type(position) is int and 0 <= position <= len(loader)):
        raise ValueError(
            f"DataLoader.load_state_dict: expected position to be None or an integer from 0 to {len(loader)}, "
            f"got {position!r}; the state is damaged, use an earlier one"
        )


def _generator_in(state: Any, name: str, kind: Any, *, needed: bool) -> np.random.Generator | None:
    """A new generator of that kind in the state ``state[name]``; None if not `needed`."""
    saved = state[name]
    if (saved is not None) != needed:
        raise ValueError(
            f"DataLoader.load_state_dict: expected {name} to be {'a dict' if needed else 'None'}, "
            f"got {saved!r}; the state is damaged, use an earlier one"
        )
    if saved is None:
        return None
    saved_kind = saved.get("bit_generator") if isinstance(saved, dict) else None
    if saved_kind != kind.__name__:
        raise ValueError(
            f"DataLoader.load_state_dict: {name} is the state of a generator of kind {saved_kind}, this loader has "
            f"{kind.__name__}; make the loader with rng=np.random.Generator(...) of the same kind"
        )
    generator = np.random.Generator(kind())
    try:
        generator.bit_generator.state = saved
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ValueError(
            f"DataLoader.load_state_dict: {name} is no whole state of a {kind.__name__} ({error!r}); "
            "the state is damaged, use an earlier one"
        ) from error
    return generator


def _checked_arrays(arrays: tuple[NDArray[Any], ...]) -> tuple[NDArray[Any], ...]:
    """The arrays as they are, or the error that says which of them does not fit."""
    if not arrays:
        raise ValueError("DataLoader: expected at least one array, got none; pass e.g. DataLoader(X, y, batch_size=32)")
    for place, array in enumerate(arrays):
        if not isinstance(array, np.ndarray):
            raise TypeError(
                f"DataLoader: expected arrays, got {type(array).__name__} as argument {place}; "
                "pass np.asarray(...) of it"
            )
        if array.ndim == 0:
            raise ValueError(
                f"DataLoader: argument {place} is a single number without an axis of samples; pass shape (N, ...)"
            )
    lengths = [len(array) for array in arrays]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"DataLoader: expected arrays with one number of samples, got {lengths}; "
            "pass arrays whose first axes are equally long"
        )
    if lengths[0] == 0:
        raise ValueError("DataLoader: expected at least one sample, got arrays of length 0; check what selected them")
    return arrays


def _sample_order(samples: int, rng: np.random.Generator | None) -> NDArray[np.intp]:
    """Indices of an epoch's samples: in an order drawn from `rng`, or as they stand without."""
    order = np.arange(samples, dtype=np.intp)
    if rng is not None:
        rng.shuffle(order)
    return order


def _plain(value: Any) -> Any:
    """A copy of a generator's state with lists for arrays and Python's numbers for NumPy's."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    return list(value) if isinstance(value, list) else value
