"""The grid of the chapter key_insight: its statistics against an oracle and planted effects, its runs, its script."""

import json
import warnings

import numpy as np
import pytest

from odyssey.data import load_digits
from odyssey.train.key_insight import Run, bootstrap, decompose, load_results, t_interval, t_quantile, train
from odyssey.train.key_insight.__main__ import main, provenance, read_lines, stored, write
from odyssey.train.key_insight.architectures import ARCHITECTURES, multiply_adds, parameter_count
from odyssey.train.key_insight.grid import BUDGETS, OPTIMIZERS, RATES, SCHEDULES, SEEDS, cells
from odyssey.train.key_insight.results import FACTORS, IMAGES, advantage, best_rate, judged, policies
from odyssey.train.key_insight.runs import Outcome
from odyssey.train.key_insight.statistics import effects

# ---- intervals ----


@pytest.mark.parametrize(
    "confidence, degrees, expected",  # scipy 1.17.1, stats.t.ppf((1 + confidence) / 2, degrees)
    [
        (0.95, 1, 12.706204736174694),
        (0.95, 7, 2.364624251592784),
        (0.9, 4, 2.1318467863266495),
        (0.99, 30, 2.7499956535672254),
    ],
)
def test_quantiles_are_those_of_scipy(confidence, degrees, expected):
    assert t_quantile(confidence, degrees) == pytest.approx(expected, rel=1e-6)


def test_the_interval_is_that_of_scipy():
    found = t_interval([91.0, 92.5, 90.0, 93.5, 92.0])  # stats.t.interval(0.95, 4, mean, stats.sem)
    assert found == pytest.approx((91.8, 90.12260430753668, 93.47739569246332), rel=1e-7)


def test_95_of_100_intervals_hold_the_mean():
    rng = np.random.default_rng(0)
    found = [t_interval(rng.normal(3.0, 2.0, 5)) for _ in range(1000)]
    assert 930 <= sum(low <= 3.0 <= high for _, low, high in found) <= 970


# ---- the decomposition ----


def numbers(shape):
    """Whole numbers without a pattern that a factor would explain, the same with every NumPy."""
    i, j, k = np.indices(shape)
    return (7 * i + 11 * j + 5 * k + 3 * i * j + (13 * i * j * k + 17 * i * k + k * k * j) % 9) % 23


def numbers_of_three():
    i, j, m, k = np.indices((3, 2, 2, 3))
    return (7 * i + 11 * j + 5 * k + 2 * m + 3 * i * j * m + (13 * i * j * k + 17 * i * k + k * k * j + m * i) % 9) % 23


def test_two_factors_as_in_statsmodels():
    parts = decompose(numbers((3, 2, 4)), ["a", "b"])  # statsmodels 0.15.0, anova_lm
    assert list(parts) == ["a", "b", "a × b", "seed"]
    assert [part.degrees for part in parts.values()] == [2, 1, 2, 18]
    assert [part.squares for part in parts.values()] == pytest.approx([35.0833333, 13.5, 24.25, 902.5])


def test_three_factors_as_in_statsmodels():
    parts = decompose(numbers_of_three(), ["a", "b", "c"])  # statsmodels 0.15.0, anova_lm
    expected = {
        "a": (2, 137.166666666667), "b": (1, 34.027777777778), "c": (1, 56.25), "a × b": (2, 51.388888888889),
        "a × c": (2, 78.166666666667), "b × c": (1, 10.027777777778), "a × b × c": (2, 8.388888888889),
        "seed": (24, 1065.333333333333),
    }  # fmt: skip
    assert {name: part.degrees for name, part in parts.items()} == {name: df for name, (df, _) in expected.items()}
    assert [parts[name].squares for name in expected] == pytest.approx([s for _, s in expected.values()])


def test_the_parts_add_to_the_whole():
    rng = np.random.default_rng(1)
    for shape in ((2, 2), (4, 3), (3, 2, 4), (5, 4, 4, 8), (2, 3, 2, 2, 3)):
        y = rng.normal(90, 3, shape) + rng.normal(size=(shape[0], *[1] * (len(shape) - 1)))
        parts = decompose(y, [f"f{i}" for i in range(len(shape) - 1)]).values()
        assert sum(part.squares for part in parts) == pytest.approx(np.sum((y - y.mean()) ** 2))
        assert sum(part.degrees for part in parts) == y.size - 1
        assert sum(part.eta for part in parts) == pytest.approx(1)
        assert sum(part.omega for part in parts) == pytest.approx(1)


def test_effects_are_orthogonal_and_add_to_the_cells():
    y = np.random.default_rng(2).normal(size=(5, 4, 3, 2))
    found = list(effects(y).values())
    np.testing.assert_allclose(sum(found), y.mean(axis=-1, keepdims=True), atol=1e-12)
    full = [np.broadcast_to(effect, y.shape).ravel() for effect in found]
    products = np.array([[a @ b for b in full] for a in full])
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-10)


def planted(rng, seeds, sigma):
    """Runs of a 5 × 4 × 4 grid with known shares: architecture 1, optimizer 4, their interaction 0.5, noise sigma²."""
    a, o = np.array([-2, -1, 0, 1, 2]) / 2**0.5, np.array([-1, -1, 1, 1]) * 2.0
    both = np.outer(a, [1, -1, 1, -1]) / 2**0.5
    cell = a[:, None, None] + o[:, None] + both[..., None] + np.zeros((5, 4, 4))
    truth = {"architecture": 1, "optimizer": 4, "architecture × optimizer": 0.5, "seed": sigma**2}
    total = sum(truth.values())
    y = cell[..., None] + sigma * rng.normal(size=(5, 4, 4, seeds))
    return y, {name: value / total for name, value in truth.items()}


@pytest.mark.parametrize("seeds", [2, 8])
def test_planted_shares_are_found_without_bias(seeds):
    rng, found = np.random.default_rng(3), []
    for _ in range(200):
        y, truth = planted(rng, seeds, 3.0)
        parts = decompose(y, FACTORS)
        found.append([part.omega for part in parts.values()])
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / 200**0.5
    for name, m, e in zip(parts, mean, error, strict=True):
        assert abs(m - truth.get(name, 0)) < 4 * e + 0.003, name


def test_without_an_effect_omega_is_about_zero_and_eta_is_not():
    rng = np.random.default_rng(4)
    parts = [decompose(rng.normal(size=(5, 4, 4, 2)), FACTORS) for _ in range(200)]
    name = "architecture × optimizer × schedule"
    assert abs(np.mean([part[name].omega for part in parts])) < 0.02
    assert np.mean([part[name].eta for part in parts]) == pytest.approx(36 / 159, abs=0.02)


@pytest.mark.parametrize("seeds", [2, 8])
def test_the_interval_of_the_advantage_holds_the_truth(seeds):
    rng, hits = np.random.default_rng(5), 0
    for _ in range(60):
        y, truth = planted(rng, seeds, 2.0)
        interval, _ = judged(y, rng, resamples=100)
        hits += interval.low <= truth["optimizer"] - truth["architecture"] <= interval.high
    assert hits >= 50


def test_the_interval_of_a_share_is_not_shifted_by_the_noise_of_the_resamples():
    rng, middles = np.random.default_rng(8), []
    for _ in range(16):  # nothing but noise: the share of the interaction is 0
        y = rng.normal(size=(5, 4, 4, 2))
        low, high = bootstrap(y, lambda z: decompose(z, list("abc"))["a × b × c"].omega, rng, resamples=100)
        middles.append((low + high) / 2)
    assert abs(np.mean(middles)) < 0.06


def test_the_verdict_follows_the_planted_effect():
    rng = np.random.default_rng(6)
    y, _ = planted(rng, 8, 1.0)
    assert judged(y, rng, resamples=200)[1] == "holds" and advantage(y) > 0.3
    mirrored = 3 * y.mean(axis=(1, 2, 3), keepdims=True) + rng.normal(size=y.shape)
    assert judged(mirrored, rng, resamples=200)[1] == "fails"
    assert judged(rng.normal(size=y.shape), rng, resamples=200)[1] == "undecided"


def test_the_bootstrap_of_a_mean_is_as_wide_as_the_interval_of_many_seeds():
    rng = np.random.default_rng(7)
    y = rng.normal(size=40)
    before = y.copy()
    low, high = bootstrap(y, np.mean, np.random.default_rng(0), resamples=4000)
    exact = t_interval(y)
    assert high - low == pytest.approx(exact.high - exact.low, rel=0.06)
    assert (low + high) / 2 == pytest.approx(y.mean(), abs=0.02)
    again = bootstrap(y, np.mean, np.random.default_rng(0), resamples=4000)
    assert (low, high) == again and np.array_equal(y, before)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: t_interval([0.9]), ValueError, "t_interval: expected an array of 1 or more axes with at least 2"),
        (lambda: t_interval([[1.0, 2.0], [3.0, 4.0]]), ValueError, "call it for each row"),
        (lambda: t_interval([0.9, np.nan]), ValueError, "t_interval: 1 of 2 numbers are not finite"),
        (lambda: t_interval(["a", "b"]), TypeError, "expected numbers"),
        (lambda: t_interval([True, False]), TypeError, "got dtype bool"),
        (lambda: t_interval([1.0, 2.0], 95), ValueError, "write 0.95 for 95 %"),
        (lambda: t_interval([1.0, 2.0], True), TypeError, "expected confidence to be a number"),
        (lambda: t_quantile(0.95, 0), ValueError, "n seeds have n - 1"),
        (lambda: t_quantile(0.95, 2.5), ValueError, "got 2.5"),
        (lambda: decompose(np.ones((2, 1)), ["a"]), ValueError, "at least 2 seeds"),
        (lambda: decompose(np.ones((0, 3)), ["a"]), ValueError, "got shape (0, 3)"),
        (lambda: decompose(np.ones((2, 2)), ["a"]), ValueError, "all numbers are equal"),
        (lambda: decompose(np.eye(2), ["a", "b"]), ValueError, "a name for each axis but the last of (2, 2)"),
        (lambda: decompose(np.ones((2, 2, 3)), ["a", "a"]), ValueError, "got ['a', 'a']"),
        (lambda: bootstrap(np.eye(3), np.mean, 0), TypeError, "expected rng to be a numpy Generator, got int"),
        (lambda: bootstrap(np.eye(3), np.mean, np.random.default_rng(0), resamples=10), ValueError, "from 100"),
        (lambda: bootstrap(np.full((2, 2), np.inf), np.mean, np.random.default_rng(0)), ValueError, "not finite"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error) as caught:
        call()
    assert words in str(caught.value)


# ---- the search ----


def test_the_rate_with_most_correct_images_wins_and_ties_go_to_the_smaller_loss():
    correct = np.array([[280, 281], [290, 288], [289, 289], [10, 300]])
    assert best_rate(correct, np.array([[1, 1], [0.5, 0.5], [0.4, 0.5], [9, 9]])) == 2
    assert best_rate(correct, np.array([[1, 1], [0.3, 0.5], [0.4, 0.5], [9, 9]])) == 1
    assert best_rate(correct, np.array([[1, 1], [0.5, 0.5], [np.nan, 0.1], [9, 9]])) == 1


# ---- the runs ----


@pytest.fixture(scope="module")
def digits():
    return load_digits()


def test_sizes_and_multiply_adds_by_hand():
    image, rng = np.zeros((1, 1, 8, 8), np.float32), np.random.default_rng(0)
    models = {name: make(rng) for name, make in ARCHITECTURES.items()}
    sizes = {name: parameter_count(model) for name, model in models.items()}
    assert sizes == {"logistic": 650, "MLP": 4810, "conv": 4898, "separable": 4890, "transformer": 4890}
    attention = 16 * 4 * 24 * 24 + 2 * 16 * 16 * 24
    assert {name: multiply_adds(model, image) for name, model in models.items()} == {
        "logistic": 640,
        "MLP": 64 * 64 + 640,
        "conv": 64 * 9 * 12 + 16 * 9 * 12 * 32 + 1280,
        "separable": 64 * 9 * 16 + 16 * 9 * 16 + 16 * 16 * 80 + 3200,
        "transformer": 16 * 4 * 24 + attention + 2 * 16 * 24 * 32 + 240,
    }


def test_the_transformer_sees_each_patch_once(digits):
    model = ARCHITECTURES["transformer"](np.random.default_rng(0))
    model.position.data = np.zeros_like(model.position.data)
    image = digits["train"][0][:1]
    blocks = image.reshape(1, 1, 4, 2, 4, 2)
    mixed = blocks[:, :, ::-1, :, ::-1].reshape(image.shape)  # the patches in another order, each as it was
    np.testing.assert_allclose(model(image).data, model(mixed).data, atol=1e-5)
    assert np.abs(model(image).data - model(image[..., ::-1].copy()).data).max() > 1e-4


def test_a_run_repeats_and_differs_from_its_neighbours(digits):
    run = Run("search", "short", "logistic", "Adam", "cosine", 0.01, 0)
    first, again = train(run, digits), train(run, digits)
    assert first[:-1] == again[:-1]  # all but the seconds
    for change in ({"seed": 1}, {"phase": "final"}, {"schedule": "step"}, {"optimizer": "AdamW"}, {"rate": 0.1}):
        assert train(run._replace(**change), digits).train_loss != first.train_loss


def test_every_run_has_a_generator_of_its_own_and_the_rate_has_none():
    runs = [Run(phase, *cell, 0.1, seed) for phase in SEEDS for cell in cells() for seed in range(8)]
    drawn = {run.rng().bit_generator.random_raw() for run in runs}
    assert len(drawn) == len(runs) == 2 * 160 * 8
    assert {run._replace(rate=0.2).rng().bit_generator.random_raw() for run in runs} == drawn


def test_the_search_does_not_need_the_test_set(digits):
    run = Run("search", "short", "logistic", "SGD", "constant", 0.1, 0)
    hidden = {name: digits[name] for name in ("train", "validation")}
    outcome = train(run, hidden)
    assert outcome.test is None and outcome.curve == []
    with pytest.raises(KeyError, match="test"):
        train(run._replace(phase="final"), hidden)


def test_a_final_run_has_a_curve_that_ends_in_its_result(digits):
    outcome = train(Run("final", "short", "logistic", "Momentum", "one-cycle", 0.32, 0), digits)
    assert len(outcome.curve) == BUDGETS["short"] and outcome.curve[-1] == outcome.validation > 270
    assert 270 < outcome.test <= IMAGES and not outcome.diverged and outcome.train_loss < 0.5


def test_a_run_that_diverges_ends_without_a_warning(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = train(Run("search", "short", "separable", "Momentum", "constant", 10.0, 0), digits)
    assert outcome.diverged and outcome.validation < 100


# ---- the script ----


def test_a_slice_is_printed_and_not_computed_twice(tmp_path, capsys):
    out = tmp_path / "results.json"
    arguments = ["--only", "short/logistic/SGD/constant", "--seeds", "2", "--out", str(out)]
    main(arguments)
    printed, lines = capsys.readouterr().out, (tmp_path / "results.jsonl").read_text()
    assert printed.startswith("short/logistic/SGD/constant") and "%" in printed and not out.exists()
    assert len(lines.split()) > 0 and len(read_lines(tmp_path / "results.jsonl")) == len(RATES) * SEEDS["search"] + 2
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('\n[["final", "short", "logi')  # an interrupt in the middle of a line
    main(arguments)
    assert capsys.readouterr().out == printed
    assert len(read_lines(tmp_path / "results.jsonl")) == len(RATES) * SEEDS["search"] + 2
    assert (tmp_path / "results.jsonl").read_text().startswith(lines)
    assert len((tmp_path / "results.jsonl").read_text()) < len(lines) + 50  # nothing was made again


def test_a_cut_line_is_completed_by_the_next_run(tmp_path, capsys):
    out = tmp_path / "results.json"
    arguments = ["--only", "short/logistic/SGD/step", "--seeds", "2", "--out", str(out)]
    main(arguments)
    printed, path = capsys.readouterr().out, tmp_path / "results.jsonl"
    whole = path.read_text().strip().splitlines()
    path.write_text("\n".join(whole[:5]) + "\n" + whole[5][:30])
    main(arguments)
    assert capsys.readouterr().out == printed
    found = read_lines(path)
    assert {tuple(run): outcome[:-1] for run, outcome in found.items()} == {
        tuple(run): tuple(outcome[:-1]) for run, outcome in map(json.loads, whole)
    }


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--seeds", "1"], "--seeds must be at least 2"),
        (["--only", "long/RNN/*/*"], "fits no cell"),
    ],
)
def test_the_script_refuses_what_it_cannot_do(arguments, words, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert words in capsys.readouterr().err


def test_results_come_back_as_they_were_stored(tmp_path):
    lines, rng = {}, np.random.default_rng(0)
    for cell in cells():
        for rate in RATES:
            for seed in range(2):
                outcome = Outcome(int(rng.integers(301)), float("nan"), None, 0.1, True, [], 0.1)
                lines[Run("search", *cell, rate, seed)] = outcome
        curve = rng.integers(301, size=int(rng.integers(1, BUDGETS[cell[0]] + 1))).tolist()
        chosen = RATES[int(rng.integers(11))]
        for seed in range(3):
            outcome = Outcome(curve[-1], 0.25, int(rng.integers(301)), 0.125, False, curve, 0.5)
            lines[Run("final", *cell, chosen, seed)] = outcome
    path = tmp_path / "results.json"
    write(path, provenance(12.6, "python"), stored(lines, 3))
    found = load_results(path)
    assert found.about["seconds"] == 13 and found.about["command"] == "python"
    assert found.test.shape == (2, 5, 4, 4, 3) and found.search_validation.shape == (2, 5, 4, 4, 11, 2)
    assert np.isnan(found.search_loss).all() and found.search_diverged.all() and not found.diverged.any()
    for place, cell in zip(np.ndindex(2, 5, 4, 4), cells(), strict=True):
        rate = RATES[found.rate[place]]
        for seed in range(3):
            outcome = lines[Run("final", *cell, rate, seed)]
            assert found.test[*place, seed] == outcome.test
            curve = found.curves[cell[0]][*place[1:], seed].tolist()
            assert curve == outcome.curve + [outcome.curve[-1]] * (BUDGETS[cell[0]] - len(outcome.curve))


# ---- what is shipped ----


def test_the_shipped_results_follow_from_their_runs():
    results = load_results()
    assert {"command", "date", "seconds", "python", "numpy", "odyssey", "machine"} <= set(results.about)
    shape = (len(BUDGETS), len(ARCHITECTURES), len(OPTIMIZERS), len(SCHEDULES))
    assert results.test.shape == (*shape, SEEDS["final"])
    assert results.search_validation.shape == (*shape, len(RATES), SEEDS["search"])
    for name in ("test", "validation", "search_validation"):
        assert 0 <= getattr(results, name).min() and getattr(results, name).max() <= IMAGES
    for place in np.ndindex(*shape):
        assert results.rate[place] == best_rate(results.search_validation[place], results.search_loss[place])
    for i, budget in enumerate(BUDGETS):
        assert np.array_equal(results.curves[budget][..., -1], results.validation[i])


def test_policies_know_more_and_more():
    results = load_results()
    for budget in range(2):
        found = policies(results, budget)
        means = [accuracy.mean() for accuracy in found.values()]
        assert means == sorted(means)
        assert found["one rate"].shape == found["one per optimizer"].shape == (5, 4, 4, SEEDS["search"])
        trials = results.search_validation[budget] / IMAGES
        assert means[0] == pytest.approx(max(trials[..., r, :].mean() for r in range(len(RATES))))
