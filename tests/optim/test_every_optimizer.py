"""What holds for all nine optimizers, tried on those whose own files do not try it; options that change on the way."""

from functools import partial

import numpy as np
import pytest

from odyssey import Tensor, optim
from odyssey.optim import LAMB, LARS, SGD, Adagrad, Adam, AdamW, Lion, Muon, RMSProp
from tests.optim.test_adamw import (
    PRECISIONS,
    bad_betas,
    bad_flags,
    bad_numbers,
    check_bad_option,
    check_data_and_states_between_steps,
    check_foreign_states,
    check_gradients,
    check_memory,
    check_order,
    check_params,
    check_resumes,
    check_trajectories,
)
from tests.optim.test_sgd import equal, leaf, snapshot, with_gradients

EVERY = [SGD, Adagrad, RMSProp, Adam, AdamW, LARS, Lion, LAMB, Muon]
ELDER = {
    "SGD": partial(SGD, lr=0.1, momentum=0.9),
    "Adagrad": Adagrad,
    "RMSProp": partial(RMSProp, momentum=0.9, centered=True),
    "Adam": partial(Adam, amsgrad=True),
}
elder = pytest.mark.parametrize("make", ELDER.values(), ids=ELDER)


@PRECISIONS
@pytest.mark.parametrize("kind", ELDER)
def test_trajectories_are_those_of_pytorch(kind, dtype, tolerance) -> None:
    check_trajectories(kind, dtype, tolerance)


def of_momentum(params, lr=0.1):
    return SGD(params, lr=lr, momentum=0.9)


@pytest.mark.parametrize("make", [of_momentum, *list(ELDER.values())[1:]], ids=ELDER)
def test_a_state_resumes_bit_for_bit(make) -> None:
    check_resumes(make, [(3, 4), (2,), (20_000,)])


@elder
def test_new_data_and_loaded_states_between_steps(make) -> None:
    check_data_and_states_between_steps(make, (2, 3))


@elder
def test_memory_of_every_order(make) -> None:
    check_order(make)


@elder
def test_gradients_missing_wrong_and_nan(make) -> None:
    check_gradients(make)


@pytest.mark.parametrize("kind", [Adagrad, RMSProp, Adam, SGD])
def test_parameters(kind) -> None:
    check_params(kind)


@pytest.mark.parametrize("kind", [Adagrad, RMSProp, Adam])  # SGD in its own file
def test_states_of_other_models_are_refused(kind) -> None:
    check_foreign_states(kind)


@pytest.mark.parametrize("shapes", [[(3,), (400, 700)], [(3,), (4_000_000,)]], ids=["rows", "long"])
@pytest.mark.parametrize("kind", [Adagrad, RMSProp, Adam, SGD, AdamW, Lion])
def test_a_step_allocates_nothing_that_grows(kind, shapes) -> None:
    check_memory(partial(kind, lr=0.1), shapes, limit=40_000)


@pytest.mark.parametrize("kind", EVERY)
def test_transposed_gradients_allocate_nothing_that_grows(kind) -> None:
    def make(params):
        for p in params:
            p.grad = np.asfortranarray(p.grad)
        return kind([p for p in params if p.ndim == 2], lr=0.1)

    check_memory(make, [(400, 600)], limit=40_000)


BAD = {
    Adagrad: [
        *(x for n in ("lr", "lr_decay", "weight_decay", "eps", "initial_accumulator_value") for x in bad_numbers(n))
    ],
    RMSProp: [
        *(x for n in ("lr", "weight_decay", "eps", "momentum", "alpha") for x in bad_numbers(n)),
        *bad_flags("centered"),
        ("alpha", 1.0, ValueError),
    ],
    Adam: [*(x for n in ("lr", "weight_decay", "eps") for x in bad_numbers(n)), *bad_flags("amsgrad"), *bad_betas()],
}


@pytest.mark.parametrize(("kind", "option", "value", "error"), [(k, *x) for k in BAD for x in BAD[k]], ids=repr)
def test_bad_options_are_named(kind, option, value, error) -> None:
    check_bad_option(kind, option, value, error)


@pytest.mark.parametrize("kind", EVERY)
def test_whole_numbers_cannot_be_trained(kind) -> None:
    with pytest.raises(TypeError, match=rf"^{kind.__name__}: parameter 0, of shape \(2, 3\), has dtype int64.*float32"):
        kind([Tensor(np.ones((2, 3), np.int64))], lr=0.1)


CHANGES = {
    "momentum of SGD": (partial(SGD, lr=0.1), {"momentum": 0.9}),
    "momentum of RMSProp": (partial(RMSProp, lr=0.1), {"momentum": 0.9}),
    "centered RMSProp": (partial(RMSProp, lr=0.1), {"centered": True}),
    "both": (partial(RMSProp, lr=0.1), {"centered": True, "momentum": 0.9}),
    "the same, backwards": (
        partial(RMSProp, lr=0.1, centered=True, momentum=0.9),
        {"centered": False, "momentum": 0.0},
    ),
    "no more momentum": (partial(SGD, lr=0.1, momentum=0.9), {"momentum": 0.0}),
    "AMSGrad": (partial(Adam, lr=0.1), {"amsgrad": True}),
    "float16 states": (partial(Adam, lr=0.1), {"state_dtype": "float16"}),
    "float32 states": (partial(Adam, lr=0.1, state_dtype=np.float16), {"state_dtype": None}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_option_that_changes_what_is_remembered_takes_effect_at_once(name) -> None:
    make, change = CHANGES[name]
    params = with_gradients([(3, 4), (5,), (20_000,)], np.random.default_rng(0), np.float32)
    optimizer = make(params)
    optimizer.step()
    before = optimizer.state_dict()["state"]
    (group,) = optimizer.param_groups
    group.update(change)
    optimizer.step()
    after = optimizer.state_dict()
    kept = set(after["state"][0]) & set(before[0]) - {"step"}
    options = {k: v for k, v in group.items() if k != "params"}
    fresh = type(optimizer)([Tensor(p.data.copy(), True) for p in params], **options)
    assert set(after["state"][0]) == {"step", *fresh.state_names(fresh.param_groups[0])}
    assert after["state"][0]["step"] == 2 and kept <= set(after["state"][0])
    assert all(np.isfinite(p.data).all() for p in params)
    fresh.load_state_dict(after)  # its own state is taken, and training goes on bit for bit
    for q, p in zip(fresh.param_groups[0]["params"], params, strict=True):
        q.grad = p.grad
    fresh.step()
    optimizer.step()
    assert equal(snapshot(fresh), snapshot(optimizer))


def test_momentum_switched_on_later_starts_from_rest() -> None:
    w = leaf([0.0])
    optimizer = SGD([w], lr=0.1)
    places = []
    for momentum in (0.0, 0.9, 0.9):
        optimizer.param_groups[0]["momentum"] = momentum
        w.grad = np.ones(1)
        optimizer.step()
        places.append(w.data[0])
    np.testing.assert_allclose(places, [-0.1, -0.2, -0.39])  # v: none, 1, 1.9


def test_unknown_options_in_a_state_are_refused() -> None:
    (p,) = with_gradients([(2, 3)], np.random.default_rng(0))
    optimizer = Adam([p])
    optimizer.step()
    state = optimizer.state_dict()
    state["param_groups"][0]["momentun"] = 0.9
    with pytest.raises(ValueError, match=r"^Adam\.load_state_dict: group 0 has the unknown option 'momentun'"):
        optimizer.load_state_dict(state)
    assert "momentun" not in optimizer.param_groups[0]


def test_every_optimizer_is_listed_here() -> None:
    made = [getattr(optim, name) for name in optim.__all__]
    assert {k for k in made if isinstance(k, type) and issubclass(k, optim.Optimizer)} == {*EVERY, optim.Optimizer}
