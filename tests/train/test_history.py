"""The history of a run: lists that stay together, a way through JSON and back, a picture of the same numbers."""

import json
import sys
from math import inf, isnan, nan

import matplotlib
import numpy as np
import pytest

from odyssey.train import History

matplotlib.use("Agg")


def example():
    history = History()
    history.loss, history.grad_norm = [3.0, 2.0, 1.5, 1.0, 0.5], [1.0, inf, 0.5, 0.25, 0.125]
    history.lr = [[0.1, 0.2]] * 3 + [[0.01, 0.02]] * 2
    history.skipped = [2]
    history.validation = {"accuracy": [0.5, 0.75], "loss": [2.0, nan]}
    history.seconds, history.epoch_ends, history.stopped = [0.25, 0.5], [2, 4], "enough"
    return history


def test_repr_is_short():
    assert repr(History()) == "History(0 epochs, 0 steps)"
    assert repr(example()) == "History(2 epochs, 5 steps, loss 0.5, accuracy 0.75, loss nan, stopped: enough)"


def test_it_goes_through_json_and_back():
    history = example()
    text = json.dumps(history.to_dict(), allow_nan=False)
    back = History.from_dict(json.loads(text))
    assert back.to_dict() == history.to_dict()
    assert back.grad_norm == history.grad_norm and isnan(back.validation["loss"][1])
    assert all(type(n) is int for n in back.skipped + back.epoch_ends)
    assert History.from_dict(History().to_dict()).to_dict() == History().to_dict()


def test_every_double_survives_json():
    rng = np.random.default_rng(0)
    history = History()
    history.loss = rng.standard_normal(200).tolist() + [5e-324, 1.7976931348623157e308]
    history.lr, history.grad_norm = [[x] for x in history.loss], history.loss[::-1]
    assert vars(History.from_dict(json.loads(json.dumps(history.to_dict())))) == vars(history)


def test_to_dict_and_from_dict_copy():
    history = example()
    saved = history.to_dict()
    back = History.from_dict(saved)
    history.loss.append(9.0)
    history.lr[0].append(9.0)
    history.validation["accuracy"].append(9.0)
    saved["lr"][0].append(8.0)
    assert len(saved["loss"]) == 5 and len(saved["validation"]["accuracy"]) == 2
    assert back.lr[0] == [0.1, 0.2]


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda d: [], "expected a dict"),
        (lambda d: {k: v for k, v in d.items() if k != "lr"}, "expected a dict"),
        (lambda d: {**d, "more": []}, "'more'"),
        (lambda d: {**d, "loss": "12345"}, "loss is no list of numbers"),
        (lambda d: {**d, "loss": 3}, "loss is no list of numbers"),
        (lambda d: {**d, "loss": ["x"] * 5}, "loss is no list of numbers"),
        (lambda d: {**d, "lr": 3}, "expected lr to be a list"),
        (lambda d: {**d, "lr": [0.1] * 5}, "lr is no list of numbers"),
        (lambda d: {**d, "validation": []}, "validation a dict"),
        (lambda d: {**d, "loss": [1.0]}, "different lengths"),
        (lambda d: {**d, "seconds": [1.0]}, "different lengths"),
    ],
)
def test_from_dict_refuses_what_is_no_history(change, words):
    with pytest.raises(ValueError, match=r"History\.from_dict: ") as error:
        History.from_dict(change(example().to_dict()))
    assert words in str(error.value)


def test_epoch_loss_is_the_mean_of_whole_epochs():
    assert example().epoch_loss() == [2.5, 1.25]
    assert History().epoch_loss() == []


def test_add_epoch_wants_the_same_names():
    history = History()
    history.add_epoch({"accuracy": 0.5}, 1.0)
    with pytest.raises(ValueError, match=r"gave \['loss'\] after epoch 2, \['accuracy'\] before"):
        history.add_epoch({"loss": 0.5}, 1.0)
    assert history.validation == {"accuracy": [0.5]} and history.seconds == [1.0]


def test_cut_leaves_whole_steps_and_epochs():
    history = example()
    history.loss.append(0.1)
    history.skipped.append(6)
    history.validation["loss"].append(0.1)
    history.cut()
    assert history.to_dict() == example().to_dict()
    history.cut()
    assert history.to_dict() == example().to_dict()


def test_plot_shows_the_numbers():
    import matplotlib.pyplot as plt

    history = example()
    axes = history.plot()
    labels = [ax.get_ylabel() for ax in axes]
    assert labels == ["training loss", "accuracy", "loss", "learning rate", "gradient norm"]
    assert axes[-1].get_xlabel() == "step"
    every, mean = axes[0].get_lines()
    assert every.get_xdata().tolist() == [1, 2, 3, 4, 5] and every.get_ydata().tolist() == history.loss
    assert list(mean.get_xdata()) == [2, 4] and list(mean.get_ydata()) == [2.5, 1.25]
    assert list(axes[1].get_lines()[0].get_ydata()) == [0.5, 0.75]
    first, second = axes[-2].get_lines()
    assert list(first.get_ydata()) == [0.1, 0.1, 0.1, 0.01, 0.01] and next(iter(second.get_ydata())) == 0.2
    assert list(axes[-1].get_lines()[0].get_ydata()) == history.grad_norm
    assert axes[-1].get_yscale() == "linear"  # an infinite norm has no place on a log axis
    plt.gcf().canvas.draw()
    plt.close("all")


def test_long_names_of_metrics_stay_beside_their_axes():
    import matplotlib.pyplot as plt

    history = example()
    history.validation = {"mean log-probability of the right class": [0.5, 0.75], "b": [0.5, 0.75]}
    axes = history.plot()
    plt.gcf().canvas.draw()
    for ax in axes:
        label, frame = ax.yaxis.label.get_window_extent(), ax.get_window_extent()
        assert frame.y0 - 15 < label.y0 and label.y1 < frame.y1 + 15  # a pixel is 1/100 inch, axes are about 120 high
    plt.close("all")


def test_plot_of_an_empty_and_of_a_plain_run():
    import matplotlib.pyplot as plt

    assert len(History().plot()) == 3
    history = example()
    history.grad_norm[1] = 2.0
    assert history.plot()[-1].get_yscale() == "log"
    plt.gcf().canvas.draw()
    plt.close("all")


def test_plot_without_matplotlib_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        example().plot()
