"""Callbacks: when they are called and with what, and early stopping against a table of metrics."""

from itertools import product
from math import inf, nan

import numpy as np
import pytest

from odyssey import nn
from odyssey.data import DataLoader
from odyssey.optim import SGD
from odyssey.train import EarlyStopping, State, fit


def run(metrics, epochs=None, **options):
    """fit on six samples in batches of two, whose validation gives `metrics` one after the other."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((6, 3)).astype(np.float32), rng.standard_normal((6, 1)).astype(np.float32)
    model = nn.Linear(3, 1, rng=rng)
    left = iter(metrics)
    loader = DataLoader(X, y, batch_size=2, rng=rng)
    optimizer = SGD(model.parameters(), lr=0.01)
    epochs = len(metrics) if epochs is None else epochs
    validate = (lambda _: next(left)) if metrics else None
    return fit(
        model, nn.functional.mse_loss, loader, optimizer, epochs=epochs, validate=validate, progress=False, **options
    )


@pytest.mark.parametrize(
    "metrics, options, epochs",
    [
        ([5, 4, 3, 2, 1], {"patience": 1}, 5),
        ([5, 5, 5, 5, 5], {"patience": 1}, 2),  # the same number is no improvement
        ([5, 5, 5, 5, 5], {"patience": 3}, 4),
        ([5, 6, 4, 6, 6, 6, 6], {"patience": 2}, 5),  # an improvement resets the count
        ([1, 2, 3, 3, 3, 3], {"patience": 2, "mode": "max"}, 5),
        ([3, 2, 1, 0], {"patience": 2, "mode": "max"}, 3),
        ([5.0, 4.9, 4.8, 4.7, 4.6, 4.5], {"patience": 2, "min_delta": 0.5}, 3),
        ([5.0, 4.5, 4.0, 3.5], {"patience": 1, "min_delta": 0.5}, 2),  # by more than min_delta
        ([0.5, 0.7, 0.75, 0.78], {"patience": 2, "mode": "max", "min_delta": 0.1}, 4),
        ([nan, nan, nan, nan], {"patience": 2}, 2),
        ([nan, 1.0, nan, 0.5, nan, nan], {"patience": 2}, 6),
        ([inf, inf, inf], {"patience": 2}, 2),
        ([-inf, -inf, 1, 1], {"patience": 2, "mode": "max"}, 2),
        ([inf, 3.0, 2.0], {"patience": 1, "min_delta": 0.1}, 1),
        ([-1.0, -inf, -inf], {"patience": 1}, 3),
    ],
)
def test_early_stopping_ends_the_run_after(metrics, options, epochs):
    history = run(metrics, callbacks=[EarlyStopping(**options)])
    assert len(history.seconds) == epochs and len(history.loss) == 3 * epochs
    full = epochs == len(metrics)
    assert full or history.stopped.startswith(f"EarlyStopping: no better metric in {options['patience']} epochs")


def by_hand(values, patience, better):
    """The epoch after which a run of `values` ends, counted the long way."""
    for end in range(1, len(values) + 1):
        best = max((k for k in range(end) if all(better(values[k], values[j]) for j in range(k))), default=-1)
        if end - 1 - best >= patience:
            return end
    return len(values)


def test_early_stopping_agrees_with_counting():
    for mode, better in (("min", lambda a, b: a < b), ("max", lambda a, b: a > b)):
        for patience, values in product((1, 2, 3), product((1.0, 2.0, 3.0), repeat=5)):
            stopping, ended = EarlyStopping(patience, mode), []
            state = State(None, None, None, None, None, 5)
            for k, value in enumerate(values):
                state.history.add_epoch({"m": value}, 0.0)
                stopping.after_epoch(state)
                if state.history.stopped:
                    ended.append(k + 1)
                    break
            assert (ended or [5])[0] == by_hand(values, patience, better), (mode, patience, values)


def test_early_stopping_watches_the_metric_that_monitor_names():
    metrics = [{"loss": 5 - k, "accuracy": 0.5} for k in range(6)]
    assert len(run(metrics, callbacks=[EarlyStopping(2, monitor="loss")]).seconds) == 6
    assert len(run(metrics, callbacks=[EarlyStopping(2, mode="max", monitor="accuracy")]).seconds) == 3
    with pytest.raises(ValueError, match=r"EarlyStopping: expected monitor to be one of \['accuracy', 'loss'\], got"):
        run(metrics, callbacks=[EarlyStopping(2)])
    with pytest.raises(ValueError, match="EarlyStopping: there is no validation metric; pass validate="):
        run([], epochs=2, callbacks=[EarlyStopping(2)])


def test_the_state_of_early_stopping_goes_into_a_dict_and_back():
    one = EarlyStopping(3)
    one.best, one.bad_epochs = 0.1 + 0.2, 2
    two = EarlyStopping(3)
    two.load_state_dict(one.state_dict())
    assert (two.best, two.bad_epochs) == (0.1 + 0.2, 2)
    two.load_state_dict(EarlyStopping(3).state_dict())
    assert (two.best, two.bad_epochs) == (None, 0)
    for wrong in ({}, {"best": None}, None, {"best": "x", "bad": 0}, {"best": "1.0", "bad": -1}):
        with pytest.raises(ValueError):
            one.load_state_dict(wrong)
        assert (one.best, one.bad_epochs) == (0.1 + 0.2, 2)


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"patience": 0}, ValueError, "patience"),
        ({"patience": 1.5}, TypeError, "patience"),
        ({"patience": True}, TypeError, "patience"),
        ({"mode": "least"}, ValueError, "mode 'min' or 'max', got 'least'"),
        ({"min_delta": -0.1}, ValueError, "min_delta"),
        ({"min_delta": nan}, ValueError, "min_delta"),
        ({"min_delta": "0"}, TypeError, "min_delta"),
        ({"monitor": 3}, TypeError, "monitor"),
    ],
)
def test_early_stopping_refuses(options, error, words):
    with pytest.raises(error, match=rf"EarlyStopping: .*{words}"):
        EarlyStopping(**options)


def test_a_function_is_called_after_each_step_and_each_epoch():
    seen = []

    def watch(state):
        assert state.loss == state.history.loss[-1]
        seen.append((state.event, state.step, state.epoch, state.metrics))

    run([0.5, 0.25], callbacks=[watch])
    assert seen == [
        ("step", 1, 0, {}), ("step", 2, 0, {}), ("step", 3, 0, {}), ("epoch", 3, 1, {"validation": 0.5}),
        ("step", 4, 1, {"validation": 0.5}), ("step", 5, 1, {"validation": 0.5}), ("step", 6, 1, {"validation": 0.5}),
        ("epoch", 6, 2, {"validation": 0.25}),
    ]  # fmt: skip


def test_an_object_is_called_by_its_methods_alone_and_in_order():
    calls = []

    class Steps:
        def after_step(self, state):
            calls.append("a")

    class Both(Steps):
        def after_step(self, state):
            calls.append("b")

        def after_epoch(self, state):
            calls.append("B")

        def __call__(self, state):
            raise AssertionError("a method of that name comes first")

    run([1], callbacks=(Steps(), Both()))
    assert "".join(calls) == "abababB"


@pytest.mark.parametrize("event, step, steps, epochs", [("step", 4, 4, 1), ("epoch", 6, 6, 2), ("step", 6, 6, 1)])
def test_a_callback_stops_the_run(event, step, steps, epochs):
    def watch(state):
        if (state.event, state.step) == (event, step):
            state.stop("seen enough")

    history = run([3, 2, 1], callbacks=[watch])
    assert (len(history.loss), len(history.seconds), history.stopped) == (steps, epochs, "seen enough")


def test_an_error_in_a_callback_passes_through():
    def bad(state):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        run([1], callbacks=[bad])


@pytest.mark.parametrize("callbacks", [3, EarlyStopping(), [3], [EarlyStopping], ["x"], [None]])
def test_fit_refuses_what_is_no_callback(callbacks):
    with pytest.raises(TypeError, match=r"fit: (expected callbacks to be a list|callback 0 is)"):
        run([1], callbacks=callbacks)
