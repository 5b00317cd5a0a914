"""Schedulers: PyTorch's rates and momenta at every step, states that resume, errors that change nothing."""

import json
from pathlib import Path

import numpy as np
import pytest

from odyssey import Tensor, optim
from odyssey.data import DataLoader, load_digits
from odyssey.optim import (
    SGD,
    Adam,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearWarmup,
    MultiStepLR,
    OneCycleLR,
    ReduceOnPlateau,
    Scheduler,
    SequentialLR,
    StepLR,
)
from tests.optim.test_sgd import leaf
from tests.reference.make_optim_rates import FUNCTIONS, STEPS

REFERENCE = Path(__file__).parents[1] / "reference" / "optim_rates.npz"
LRS = [0.1, 0.5]
METRICS = [1.0, 0.5, 0.4, 0.6, 0.7, 0.5, 0.45, 0.39, 0.5, 0.5, 0.6, 0.2, 0.3, 0.3, 0.3, 0.3]


def two_groups(lrs=LRS, kind=SGD, **options):
    if kind is SGD:
        options = {"momentum": 0.9, **options}
    return kind([{"params": [leaf([1.0])], "lr": lr} for lr in lrs], lr=1.0, **options)


def rates(optimizer) -> list[float]:
    return [group["lr"] for group in optimizer.param_groups]


def momenta(optimizer) -> list[float]:
    return [g["betas"][0] if "betas" in g else g["momentum"] for g in optimizer.param_groups]


def build(optimizer, kind: str, options: dict):
    if kind == "SequentialLR":
        parts = [build(optimizer, *part) for part in options["schedulers"]]
        return SequentialLR(optimizer, parts, options["milestones"])
    if kind == "LambdaLR":
        options = {"lr_lambda": [FUNCTIONS[name] for name in options["lr_lambda"]]}
    return getattr(optim, kind)(optimizer, **options)


with np.load(REFERENCE) as stored:
    CONFIGURATIONS = json.loads(str(stored["configurations"]))
    FROZEN = {name: stored[name] for name in stored.files if name.startswith(("rates", "momenta"))}


def test_the_reference_has_every_kind() -> None:
    kinds = {config["kind"] for config in CONFIGURATIONS}
    assert kinds == set(MAKE) | {"Chained"} and len(CONFIGURATIONS) == 40
    assert REFERENCE.stat().st_size < 200_000


@pytest.mark.parametrize("number", range(len(CONFIGURATIONS)))
def test_rates_and_momenta_are_those_of_pytorch(number: int) -> None:
    config = CONFIGURATIONS[number]
    options, metrics = config["options"], config.get("metrics")
    optimizer = two_groups(config["lrs"], getattr(optim, config["optimizer"]))
    parts = options["schedulers"] if config["kind"] == "Chained" else [[config["kind"], options]]
    made = [build(optimizer, *part) for part in parts]
    expected, expected_momenta = FROZEN[f"rates{number}"], FROZEN[f"momenta{number}"]
    assert len(expected) == options.get("total_steps", STEPS)
    for step, (wanted, wanted_momenta) in enumerate(zip(expected, expected_momenta, strict=True)):
        where = f"{config['kind']}, step {step}"
        np.testing.assert_allclose(rates(optimizer), wanted, rtol=0, atol=1e-12, err_msg=where)
        np.testing.assert_allclose(momenta(optimizer), wanted_momenta, rtol=0, atol=1e-12, err_msg=where)
        assert made[-1].get_last_lr() == rates(optimizer)
        for scheduler in made:
            scheduler.step(*([metrics[step]] if metrics else []))
            assert type(rates(optimizer)[0]) is float


def half(t: int) -> float:
    return 0.5**t


def slow(t: int) -> float:
    return 1 / (1 + t)


# name -> (make, make the same kind with other options); `half` and `slow` are no part of a state
MAKE = {
    "StepLR": (lambda o: StepLR(o, 3, 0.5), lambda o: StepLR(o, 7)),
    "MultiStepLR": (lambda o: MultiStepLR(o, [6, 2, 2, 9], 0.5), lambda o: MultiStepLR(o, [1])),
    "ExponentialLR": (lambda o: ExponentialLR(o, 0.9), lambda o: ExponentialLR(o, 0.1)),
    "LinearWarmup": (lambda o: LinearWarmup(o, 7, 0.1), lambda o: LinearWarmup(o, 2)),
    "CosineAnnealingLR": (lambda o: CosineAnnealingLR(o, 7, 1e-3), lambda o: CosineAnnealingLR(o, 50)),
    "LambdaLR": (lambda o: LambdaLR(o, [half, slow]), lambda o: LambdaLR(o, [half, slow])),
    "OneCycleLR": (
        lambda o: OneCycleLR(o, [0.3, 0.7], 20, three_phase=True),
        lambda o: OneCycleLR(o, 9.0, 99, cycle_momentum=False),
    ),
    "SequentialLR": (
        lambda o: SequentialLR(o, [LinearWarmup(o, 3), CosineAnnealingLR(o, 5), ExponentialLR(o, 0.9)], [3, 8]),
        lambda o: SequentialLR(o, [LinearWarmup(o, 9), CosineAnnealingLR(o, 9), ExponentialLR(o, 0.1)], [1, 2]),
    ),
    "ReduceOnPlateau": (
        lambda o: ReduceOnPlateau(o, factor=0.5, patience=1, cooldown=1, min_lr=[0.01, 0.1]),
        lambda o: ReduceOnPlateau(o, mode="max", patience=9),
    ),
}
EVERY = pytest.mark.parametrize("name", MAKE)


def advance(scheduler, steps: range):
    found = []
    for step in steps:
        scheduler.step(*([METRICS[step]] if isinstance(scheduler, ReduceOnPlateau) else []))
        found.append((rates(scheduler.optimizer), momenta(scheduler.optimizer), scheduler.get_last_lr()))
    return found


@EVERY
@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("optimizer_first", [True, False, None])
@pytest.mark.parametrize("middle", [0, 4, 8])
def test_a_state_in_json_resumes_exactly(name, kind, optimizer_first, middle) -> None:
    """Into a fresh scheduler with other options; the optimizer's state before, after, or not at all."""
    scheduler = MAKE[name][0](two_groups(kind=kind))
    advance(scheduler, range(middle))
    saved = json.loads(json.dumps(scheduler.state_dict()))
    saved_optimizer = scheduler.optimizer.state_dict()
    expected = advance(scheduler, range(middle, 16))
    fresh = two_groups([7.0, 8.0], kind)
    resumed = MAKE[name][1](fresh)
    advance(resumed, range(1))
    if optimizer_first is True:
        fresh.load_state_dict(saved_optimizer)
    resumed.load_state_dict(saved)
    if optimizer_first is False:
        fresh.load_state_dict(saved_optimizer)
    assert resumed.state_dict() == saved
    assert resumed.get_last_lr() == rates(fresh) == [g["lr"] for g in saved_optimizer["param_groups"]]
    assert advance(resumed, range(middle, 16)) == expected
    assert fresh.param_groups[0]["lr"] == scheduler.optimizer.param_groups[0]["lr"]


@EVERY
def test_a_state_is_a_copy(name) -> None:
    one, two = (MAKE[name][0](two_groups()) for _ in range(2))
    saved = one.state_dict()
    two.load_state_dict(saved)
    for values in [v for state in [saved, *saved.get("schedulers", [])] for v in state.values()]:
        if isinstance(values, list):
            values[:] = []
    one.get_last_lr()[:] = []
    assert advance(one, range(10)) == advance(two, range(10))


@pytest.mark.parametrize("reverse", [False, True])
def test_chained_states_resume(reverse) -> None:
    def chain(o):
        return [LinearWarmup(o, 9, 0.1), StepLR(o, 4, 0.5), ExponentialLR(o, 0.9)]

    optimizer, fresh = two_groups(), two_groups([3.0, 4.0])
    one, two = chain(optimizer), chain(fresh)
    for _ in range(5):
        advance(one[0], range(1)), advance(one[1], range(1)), advance(one[2], range(1))
    states = json.loads(json.dumps([s.state_dict() for s in one]))
    pairs = list(zip(two, states, strict=True))
    for scheduler, state in reversed(pairs) if reverse else pairs:
        scheduler.load_state_dict(state)
    fresh.load_state_dict(optimizer.state_dict())  # after them: the last to set the rates knows them all
    for _ in range(8):
        for a, b in zip(one, two, strict=True):
            a.step()
            b.step()
        assert rates(optimizer) == rates(fresh)


def test_optimizer_states_with_and_without_a_scheduler() -> None:
    """`initial_lr`, which schedulers write into groups, is neither missed nor refused by an optimizer's state."""
    plain, scheduled = two_groups(), two_groups([1.0, 2.0])
    ExponentialLR(scheduled, 0.5).step()
    with_initial, without = scheduled.state_dict(), plain.state_dict()
    assert "initial_lr" in with_initial["param_groups"][0] and "initial_lr" not in without["param_groups"][0]
    plain.load_state_dict(with_initial)
    assert rates(plain) == [0.5, 1.0]
    scheduler = ExponentialLR(plain, 0.1)  # goes on from the first rates, as PyTorch's does
    assert scheduler.base_lrs == [1.0, 2.0]
    scheduled.load_state_dict(without)
    assert rates(scheduled) == LRS


def snapshot(scheduler):
    groups = [{k: v for k, v in g.items() if k != "params"} for g in scheduler.optimizer.param_groups]
    return json.dumps([scheduler.state_dict(), groups])


@EVERY
def test_wrong_states_are_refused_and_change_nothing(name) -> None:
    scheduler = MAKE[name][0](two_groups())
    advance(scheduler, range(5))
    before, good = snapshot(scheduler), scheduler.state_dict()
    bad = {
        "no dict": 3,
        "none": None,
        "text": "state",
        "a list": [good],
        "empty": {},
        "one key less": {k: v for k, v in good.items() if k != "last_epoch"},
        "one key more": {**good, "verbose": False},
        "three groups": MAKE_THREE[name].state_dict(),
        "one rate": {**good, "last_lr": [0.1]},
        "rates no list": {**good, "last_lr": 0.1},
        "NaN rate": {**good, "last_lr": [0.1, float("nan")]},
        "infinite rate": {**good, "last_lr": [float("inf"), 0.1]},
        "negative rate": {**good, "last_lr": [0.1, -0.1]},
        "negative step": {**good, "last_epoch": -1},
        "half a step": {**good, "last_epoch": 1.5},
        "a bool step": {**good, "last_epoch": True},
    }
    bad |= {f"of {other}": MAKE[other][0](two_groups()).state_dict() for other in MAKE if other != name}
    for what, state in bad.items():
        with pytest.raises(ValueError, match=f"^{name}"):
            scheduler.load_state_dict(state)
        assert snapshot(scheduler) == before, what
    scheduler.load_state_dict(good)
    assert snapshot(scheduler) == before


def make_three(name):
    optimizer = two_groups([0.1, 0.2, 0.3])
    if name in ("LambdaLR", "OneCycleLR", "ReduceOnPlateau"):  # their options are given for two groups
        return {"LambdaLR": lambda: LambdaLR(optimizer, half), "OneCycleLR": lambda: OneCycleLR(optimizer, 1.0, 20),
                "ReduceOnPlateau": lambda: ReduceOnPlateau(optimizer)}[name]()  # fmt: skip
    return MAKE[name][0](optimizer)


MAKE_THREE = {name: make_three(name) for name in MAKE}


def test_wrong_states_inside_a_sequence_are_refused_and_change_nothing() -> None:
    scheduler = MAKE["SequentialLR"][0](two_groups())
    advance(scheduler, range(5))
    before, good = snapshot(scheduler), scheduler.state_dict()
    parts = good["schedulers"]
    for bad in (
        None,
        3,
        [],
        parts[:2],
        [*parts, parts[0]],
        [parts[0], parts[0], parts[2]],
        [parts[0], parts[1], {**parts[2], "last_lr": [0.1, float("nan")]}],
        [parts[0], parts[1], {**parts[2], "last_epoch": -1}],
        [parts[0], parts[1], 3],
    ):
        with pytest.raises(ValueError):
            scheduler.load_state_dict({**good, "schedulers": bad})
        assert snapshot(scheduler) == before


NAN, INF = float("nan"), float("inf")
COUNTS = [(0, ValueError), (-1, ValueError), (2.5, TypeError), (True, TypeError), ("3", TypeError), (NAN, TypeError),
          (None, TypeError)]  # fmt: skip
NUMBERS = [(-0.1, ValueError), (NAN, ValueError), (INF, ValueError), (True, TypeError), ("0.1", TypeError),
           (None, TypeError)]  # fmt: skip
FLAGS = [(1, TypeError), ("yes", TypeError), (None, TypeError)]
NAMES = [("nonsense", ValueError), (3, ValueError), (None, ValueError)]
ZERO, ONE = [(0, ValueError), (0.0, ValueError)], [(1, ValueError), (1.0, ValueError)]
LISTS = [([0.1], ValueError), ([0.1, 0.2, 0.3], ValueError), ([0.1, -0.2], ValueError), ([NAN, 0.1], ValueError),
         ([0.1, "0.2"], TypeError), ([0.1, True], TypeError), (np.ones(3), ValueError)]  # fmt: skip
ONE_CYCLE = {"max_lr": 1.0, "total_steps": 10}

# (kind, good options, name of one, what the message calls it) -> wrong values for it
BAD = {
    (StepLR, "step_size"): ({}, COUNTS),
    (StepLR, "gamma"): ({"step_size": 3}, NUMBERS),
    (MultiStepLR, "milestones"): ({}, [([value], error) for value, error in COUNTS]),
    (MultiStepLR, "gamma"): ({"milestones": [3]}, NUMBERS),
    (ExponentialLR, "gamma"): ({}, NUMBERS),
    (LinearWarmup, "warmup_steps"): ({}, COUNTS),
    (LinearWarmup, "start_factor"): ({"warmup_steps": 3}, [*NUMBERS, (1.1, ValueError)]),
    (CosineAnnealingLR, "T_max"): ({}, COUNTS),
    (CosineAnnealingLR, "eta_min"): ({"T_max": 3}, NUMBERS),
    (OneCycleLR, "max_lr"): ({"total_steps": 10}, [*NUMBERS, *ZERO, *LISTS]),
    (OneCycleLR, "total_steps"): ({"max_lr": 1.0}, COUNTS),
    (OneCycleLR, "pct_start"): (ONE_CYCLE, [*NUMBERS, (1.1, ValueError)]),
    (OneCycleLR, "anneal_strategy"): (ONE_CYCLE, NAMES),
    (OneCycleLR, "cycle_momentum"): (ONE_CYCLE, FLAGS),
    (OneCycleLR, "three_phase"): (ONE_CYCLE, FLAGS),
    (OneCycleLR, "base_momentum"): (ONE_CYCLE, [*NUMBERS, *ONE, *LISTS]),
    (OneCycleLR, "max_momentum"): (ONE_CYCLE, [*NUMBERS, *ONE, *LISTS]),
    (OneCycleLR, "div_factor"): (ONE_CYCLE, [*NUMBERS, *ZERO]),
    (OneCycleLR, "final_div_factor"): (ONE_CYCLE, [*NUMBERS, *ZERO]),
    (ReduceOnPlateau, "mode"): ({}, NAMES),
    (ReduceOnPlateau, "threshold_mode"): ({}, NAMES),
    (ReduceOnPlateau, "factor"): ({}, [*NUMBERS, *ONE, (2.0, ValueError)]),
    (ReduceOnPlateau, "patience"): ({}, [(v, e) for v, e in COUNTS if v != 0]),
    (ReduceOnPlateau, "threshold"): ({}, NUMBERS),
    (ReduceOnPlateau, "cooldown"): ({}, [(v, e) for v, e in COUNTS if v != 0] + [(False, TypeError)]),
    (ReduceOnPlateau, "min_lr"): ({}, [*NUMBERS, *LISTS]),
    (ReduceOnPlateau, "eps"): ({}, NUMBERS),
}


@pytest.mark.parametrize(("kind", "name"), BAD, ids=lambda x: getattr(x, "__name__", x))
def test_bad_options_are_named_and_change_nothing(kind, name) -> None:
    good, wrong = BAD[kind, name]
    called = {"milestones": "milestone"}.get(name, name)
    for value, error in wrong:
        optimizer = two_groups()
        before = optimizer.state_dict()
        with pytest.raises(error, match=f"^{kind.__name__}: .*{called}"):
            kind(optimizer, **good, **{name: value})
        assert optimizer.state_dict() == before, value


@EVERY
def test_the_optimizer_is_checked(name) -> None:
    for wrong in (None, 3, leaf([1.0]), [leaf([1.0])], StepLR(two_groups(), 3), SGD):
        with pytest.raises(TypeError, match=r"^\w+: expected an Optimizer"):
            MAKE[name][0](wrong)


def test_bad_functions_are_refused() -> None:
    for wrong in (3, None, "half", [half], [half, half, half], [half, 0.5], []):
        optimizer = two_groups()
        with pytest.raises(ValueError, match=r"^LambdaLR: expected a function, or a list of 2"):
            LambdaLR(optimizer, wrong)
        assert rates(optimizer) == LRS and "initial_lr" not in optimizer.param_groups[0]


@pytest.mark.parametrize("value", [NAN, INF, -0.1, np.float32("nan")])
@pytest.mark.parametrize("group", [0, 1])
def test_a_bad_rate_of_a_function_changes_nothing(value, group) -> None:
    functions = [slow, slow]
    functions[group] = lambda t: 1.0 if t != 3 else value
    optimizer = two_groups()
    scheduler = LambdaLR(optimizer, functions)
    advance(scheduler, range(2))
    before = snapshot(scheduler)
    for _ in range(2):
        with pytest.raises(ValueError, match=f"^LambdaLR: rate .* group {group}, after 3 steps"):
            scheduler.step()
        assert snapshot(scheduler) == before and scheduler.last_epoch == 2
    with pytest.raises(ValueError, match=r"^LambdaLR: rate .* after 0 steps"):
        LambdaLR(optimizer, lambda t: value)
    assert rates(optimizer) == scheduler.get_last_lr()


def test_sequences_are_checked() -> None:
    optimizer, other = two_groups(), two_groups()
    a, b, c = StepLR(optimizer, 2), ExponentialLR(optimizer, 0.9), LinearWarmup(optimizer, 3)
    plateau, alien = ReduceOnPlateau(optimizer), StepLR(other, 2)
    for schedulers, milestones, error, said in [
        ([], [], ValueError, "milestone"),
        ([a], [3], ValueError, "milestone"),
        ([a, b], [], ValueError, "milestone"),
        ([a, b], [3, 5], ValueError, "milestone"),
        ([a, b, c], [5, 3], ValueError, "milestones that increase"),
        ([a, b, c], [3, 3], ValueError, "milestones that increase"),
        ([a, b], [0], ValueError, "milestone"),
        ([a, b], [-3], ValueError, "milestone"),
        ([a, b], [2.5], TypeError, "milestone"),
        ([a, b], [True], TypeError, "milestone"),
        ([a, b], ["3"], TypeError, "milestone"),
        ([a, b], [NAN], TypeError, "milestone"),
        ([a, alien], [3], ValueError, "scheduler 1 was made with another optimizer"),
        ([a, plateau], [3], TypeError, "got ReduceOnPlateau at 1"),
        ([a, optimizer], [3], TypeError, "got SGD at 1"),
        ([a, SequentialLR(optimizer, [a], [])], [3], TypeError, "got SequentialLR at 1"),
    ]:
        before = [snapshot(s) for s in (a, b, c)]
        with pytest.raises(error, match=f"^SequentialLR: .*{said}"):
            SequentialLR(optimizer, schedulers, milestones)
        assert [snapshot(s) for s in (a, b, c)] == before


def test_metrics() -> None:
    scheduler = ReduceOnPlateau(two_groups(), patience=0, factor=0.5)
    scheduler.step(1.0)
    before = snapshot(scheduler)
    for bad in (NAN, np.float32("nan"), Tensor(NAN)):
        with pytest.raises(ValueError, match=r"^ReduceOnPlateau: the metric is NaN"):
            scheduler.step(bad)
        assert snapshot(scheduler) == before
    with pytest.raises((TypeError, ValueError)):
        scheduler.step("much")
    assert snapshot(scheduler) == before
    for value in (Tensor(0.9), np.float32(0.8), np.array(0.7), 0):
        scheduler.step(value)
    assert rates(scheduler.optimizer) == LRS and scheduler.best == 0 and type(scheduler.best) is float
    scheduler.step(INF)  # bad, as it is
    assert rates(scheduler.optimizer) == [0.05, 0.25] and scheduler.last_epoch == 6
    assert json.loads(json.dumps(scheduler.state_dict())) == scheduler.state_dict()


def test_plateau_rules_by_hand() -> None:
    optimizer = two_groups()
    scheduler = ReduceOnPlateau(
        optimizer, factor=0.5, patience=1, threshold=0.1, threshold_mode="abs", cooldown=2, min_lr=[0.03, 0.0], eps=0.01
    )
    found = []
    for metric in (1.0, 0.95, 0.95, 0.95, 0.95, 0.95, 0.95, 0.8, 0.75, 0.75):
        scheduler.step(metric)
        found.append(rates(optimizer))
    # the second bad one reduces, two cool down, the second bad one after them reduces, and so on
    first = [0.1] * 2 + [0.05] * 4 + [0.03] * 4
    assert found == [[a, b] for a, b in zip(first, [0.5] * 2 + [0.25] * 4 + [0.125] * 4, strict=True)]
    small = ReduceOnPlateau(two_groups([0.02, 0.5]), patience=0, factor=0.5, eps=0.01)
    small.step(1.0)
    small.step(1.0)
    assert rates(small.optimizer) == [0.02, 0.25]  # a move by eps or less is not made


@pytest.mark.parametrize("options", [{}, {"three_phase": True}, {"anneal_strategy": "linear"},
                                     {"anneal_strategy": "linear", "three_phase": True}])  # fmt: skip
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_one_cycle_fits_an_ordinary_loop(kind, options) -> None:
    optimizer, total = two_groups(kind=kind), 20
    scheduler = OneCycleLR(optimizer, [0.5, 1.0], total, **options)
    np.testing.assert_allclose(rates(optimizer), [0.5 / 25, 1 / 25])
    np.testing.assert_allclose(momenta(optimizer), [0.95, 0.95])
    used = []
    for _ in range(total):
        used.append((rates(optimizer), momenta(optimizer)))
        optimizer.step()
        scheduler.step()
    lrs, betas = np.array(used).transpose(1, 0, 2)
    np.testing.assert_allclose(lrs.max(axis=0), [0.5, 1.0])
    np.testing.assert_allclose(betas.min(axis=0), [0.85, 0.85])
    np.testing.assert_allclose(lrs[-1], [0.5 / 25e4, 1 / 25e4], rtol=1e-9)
    assert (rates(optimizer), momenta(optimizer)) == used[-1]  # call number total_steps changes nothing
    before = snapshot(scheduler)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"^OneCycleLR: step 21 of a cycle of 20"):
            scheduler.step()
        assert snapshot(scheduler) == before
    if kind is Adam:
        assert [g["betas"][1] for g in optimizer.param_groups] == [0.999, 0.999]


@pytest.mark.parametrize("options", [{"total_steps": 1}, {"total_steps": 2}, {"total_steps": 10, "pct_start": 0.0},
                                     {"total_steps": 10, "pct_start": 0.1}, {"total_steps": 10, "pct_start": 1.0},
                                     {"total_steps": 10, "pct_start": 0.5, "three_phase": True},
                                     {"total_steps": 10, "pct_start": 0.9, "three_phase": True}])  # fmt: skip
def test_one_cycle_at_the_edges_stays_in_its_range(options) -> None:
    scheduler = OneCycleLR(two_groups(), 1.0, **options)
    for _ in range(options["total_steps"]):
        assert all(1 / 25e4 * (1 - 1e-9) <= rate <= 1 + 1e-12 for rate in rates(scheduler.optimizer))
        assert all(0.85 - 1e-12 <= m <= 0.95 + 1e-12 for m in momenta(scheduler.optimizer))
        scheduler.step()


class Signs(optim.Optimizer):
    """An optimizer with neither momentum nor betas."""

    def update(self, p, g, state, work, t, group) -> None:
        p -= group["lr"] * np.sign(g)


def test_cycling_momentum_needs_one() -> None:
    optimizer = Signs([leaf([1.0])], {"lr": 0.1})
    with pytest.raises(ValueError, match=r"^OneCycleLR: .*neither momentum nor betas.*cycle_momentum=False"):
        OneCycleLR(optimizer, 1.0, 10)
    assert rates(optimizer) == [0.1] and "initial_lr" not in optimizer.param_groups[0]
    OneCycleLR(optimizer, 1.0, 10, cycle_momentum=False).step()
    still = two_groups()
    OneCycleLR(still, 1.0, 10, cycle_momentum=False).step()
    assert momenta(still) == [0.9, 0.9]


def test_lists_tuples_and_arrays_for_groups() -> None:
    for values in ([0.3, 0.7], (0.3, 0.7), np.array([0.3, 0.7])):
        scheduler = OneCycleLR(two_groups(), values, 10, div_factor=1)
        assert rates(scheduler.optimizer) == [0.3, 0.7]
        json.dumps(scheduler.state_dict())
        assert ReduceOnPlateau(two_groups(), min_lr=values).min_lrs == [0.3, 0.7]


def test_milestones_may_come_in_any_order_and_from_an_iterator() -> None:
    one, two = (MultiStepLR(two_groups(), m) for m in ([5, 2], (m for m in (2, 5))))
    assert advance(one, range(8)) == advance(two, range(8))
    assert one.get_last_lr() == pytest.approx([0.001, 0.005])


def test_a_change_from_outside_stays_as_a_factor() -> None:
    optimizer = two_groups()
    scheduler = CosineAnnealingLR(optimizer, 10, eta_min=0.01)
    plain = CosineAnnealingLR(two_groups(), 10, eta_min=0.01)
    for step in range(9):
        if step == 3:
            optimizer.param_groups[0]["lr"] *= 0.1
        if step == 6:
            optimizer.param_groups[0]["lr"] *= 4
        scheduler.step()
        plain.step()
        factor = 1 if step < 3 else 0.1 if step < 6 else 0.4
        np.testing.assert_allclose(rates(optimizer)[0], factor * rates(plain.optimizer)[0], rtol=1e-12)
        assert rates(optimizer)[1] == rates(plain.optimizer)[1]
    saved = scheduler.state_dict()
    fresh = CosineAnnealingLR(two_groups(), 10)
    fresh.load_state_dict(saved)
    assert advance(fresh, range(5)) == advance(scheduler, range(5))  # the factor is in the state


def test_a_chain_leaves_a_rate_of_zero() -> None:
    optimizer = two_groups()
    chain = [LinearWarmup(optimizer, 4, 0.0), ExponentialLR(optimizer, 0.9)]
    for _ in range(6):
        for scheduler in chain:
            scheduler.step()
    np.testing.assert_allclose(rates(optimizer), [0.1 * 0.9**6, 0.5 * 0.9**6])


def test_a_change_from_outside_is_reduced_by_plateau() -> None:
    scheduler = ReduceOnPlateau(two_groups(), patience=0, factor=0.5)
    scheduler.step(1.0)
    scheduler.optimizer.param_groups[0]["lr"] = 0.8
    scheduler.step(2.0)
    assert rates(scheduler.optimizer) == scheduler.get_last_lr() == [0.4, 0.25]


@pytest.mark.parametrize("name", list(MAKE))
def test_groups_added_later_are_refused_by_name(name) -> None:
    scheduler = MAKE[name][0](two_groups())
    advance(scheduler, range(2))
    saved = scheduler.state_dict()
    scheduler.optimizer.add_param_group({"params": [leaf([1.0])], "lr": 0.7})
    before = snapshot(scheduler)
    with pytest.raises(ValueError, match=r"^\w+: the optimizer has 3 groups now, had 2"):
        advance(scheduler, range(2, 9))
    assert snapshot(scheduler) == before
    with pytest.raises(ValueError, match="has 3"):
        scheduler.load_state_dict(saved)
    assert snapshot(scheduler) == before


class Saw(Scheduler):
    """A schedule of a reader: down on a line, again and again."""

    def __init__(self, optimizer, period: int) -> None:
        self.period = period
        super().__init__(optimizer)

    def rates(self, t: int) -> list[float]:
        return [lr * (1 - t % self.period / self.period) for lr in self.base_lrs]


def test_a_schedule_of_ones_own() -> None:
    scheduler = Saw(two_groups(), 4)
    expected = [1, 0.75, 0.5, 0.25, 1, 0.75]
    for share in expected:
        assert rates(scheduler.optimizer) == [0.1 * share, 0.5 * share]
        scheduler.step()
    saved = json.loads(json.dumps(scheduler.state_dict()))
    fresh = Saw(two_groups(), 9)
    fresh.load_state_dict(saved)
    assert advance(fresh, range(7)) == advance(scheduler, range(7))
    optimizer = two_groups()
    sequence = SequentialLR(optimizer, [LinearWarmup(optimizer, 2, 0.5), Saw(optimizer, 4)], [2])
    found = [rates(optimizer)[0], *(r[0] for r, _, _ in advance(sequence, range(6)))]
    assert found == pytest.approx([0.05, 0.075, 0.1, 0.075, 0.05, 0.025, 0.1])
    with pytest.raises(NotImplementedError, match=r"^Scheduler: define rates"):
        Scheduler(two_groups())


def test_a_schedule_of_ones_own_keeps_whatever_json_can_hold() -> None:
    class Own(Scheduler):
        def __init__(self, optimizer, shift=-1.0) -> None:
            self.shift, self.names, self.pair = shift, ["a", "b"], (1.5, -2.0)
            super().__init__(optimizer)

        def rates(self, t):
            return [lr * 2.0**self.shift / (1 + t) for lr in self.base_lrs]

    scheduler = Own(two_groups(), shift=-3.0)
    advance(scheduler, range(3))
    saved = json.loads(json.dumps(scheduler.state_dict()))
    resumed = Own(two_groups())
    resumed.load_state_dict(saved)
    assert resumed.shift == -3.0 and list(resumed.pair) == [1.5, -2.0] and resumed.names == ["a", "b"]
    assert advance(resumed, range(3, 6)) == advance(scheduler, range(3, 6))
    for key, value in (("names", ["a", 1.0]), ("shift", float("nan")), ("pair", "ab"), ("last_epoch", -1)):
        with pytest.raises(ValueError, match=key):
            resumed.load_state_dict({**saved, key: value})


def test_a_sequence_starts_from_the_rates_that_one_cycle_sets() -> None:
    """As in PyTorch, whose warm-up starts from `initial_lr`, whoever has written it last."""
    optimizer = SGD([leaf([1.0])], lr=0.2, momentum=0.9)
    warm = LinearWarmup(optimizer, 4, start_factor=0.5)
    cycle = OneCycleLR(optimizer, 1.0, 20, div_factor=10)
    sequence = SequentialLR(optimizer, [warm, cycle], [5])
    found = [lr for ((lr,), *_) in advance(sequence, range(4))]
    np.testing.assert_allclose(found, [0.0625, 0.075, 0.0875, 0.1], rtol=1e-12)


def test_a_second_scheduler_starts_from_the_first_rates() -> None:
    optimizer = two_groups()
    advance(ExponentialLR(optimizer, 0.5), range(3))
    assert StepLR(optimizer, 3).base_lrs == LRS
    first = OneCycleLR(optimizer, 0.25, 10)  # which sets first rates of its own
    assert first.base_lrs == [0.01, 0.01] == [g["initial_lr"] for g in optimizer.param_groups]


def train(make, seed: int, kind=Adam, epochs: int = 8, **options) -> float:
    """Accuracy on the training digits after `epochs` with the scheduler ``make(optimizer, number of steps)``."""
    rng, (X, y) = np.random.default_rng(seed), load_digits()["train"]
    X = X.reshape(-1, 64)
    params = [leaf(rng.normal(0, 0.2, s), np.float32) for s in [(64, 32), (32,), (32, 10), (10,)]]
    W1, b1, W2, b2 = params
    optimizer = kind([{"params": params[:2]}, {"params": params[2:]}], **options)
    loader = DataLoader(X, y, batch_size=32, rng=rng)
    scheduler = make(optimizer, epochs * len(loader))
    for _ in range(epochs):
        for A, b in loader:
            optimizer.zero_grad()
            z = np.tanh(A @ W1 + b1) @ W2 + b2
            loss = np.mean(z.logsumexp(axis=1) - z[np.arange(len(b)), b])
            loss.backward()
            optimizer.step()
            scheduler.step(*([loss.item()] if isinstance(scheduler, ReduceOnPlateau) else []))
    assert all(np.isfinite(p.data).all() and p.dtype == np.float32 for p in params)
    return float(np.mean((np.tanh(X @ W1 + b1) @ W2 + b2).argmax(axis=1) == y))


SCHEDULES = {
    "StepLR": lambda o, n: StepLR(o, n // 3, 0.3),
    "MultiStepLR": lambda o, n: MultiStepLR(o, [n // 2, n - 10]),
    "ExponentialLR": lambda o, n: ExponentialLR(o, 0.1 ** (1 / n)),
    "LinearWarmup": lambda o, n: LinearWarmup(o, n // 5),
    "CosineAnnealingLR": lambda o, n: CosineAnnealingLR(o, n),
    "LambdaLR": lambda o, n: LambdaLR(o, lambda t: 1 - t / n),
    "OneCycleLR": lambda o, n: OneCycleLR(o, 0.03, n),
    "SequentialLR": lambda o, n: SequentialLR(o, [LinearWarmup(o, n // 5), CosineAnnealingLR(o, n - n // 5)], [n // 5]),
    "ReduceOnPlateau": lambda o, n: ReduceOnPlateau(o, patience=20, factor=0.5, min_lr=1e-3),
}


@EVERY
def test_learns_the_digits(name) -> None:
    assert train(SCHEDULES[name], 0, lr=0.01) > 0.95
    if name == "OneCycleLR":
        assert train(lambda o, n: OneCycleLR(o, 0.2, n), 0, SGD, lr=0.1, momentum=0.9) > 0.95
