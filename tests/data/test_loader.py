"""The loader: every sample once an epoch, the last batch as asked, and resumption at any point."""

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odyssey.data import DataLoader

KINDS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]


def make(n=10, batch_size=3, seed=0, kind="PCG64", **options):
    rng = np.random.Generator(getattr(np.random, kind)(seed))
    return DataLoader(np.arange(n) * 10, np.arange(n), batch_size=batch_size, rng=rng, **options)


def epoch(batches):
    """What a loop would see, as plain lists."""
    return [[part.tolist() for part in batch] for batch in batches]


# -- An epoch


@settings(deadline=None)
@given(n=st.integers(1, 40), batch_size=st.integers(1, 45), shuffle=st.booleans(), seed=st.integers(0, 99))
def test_an_epoch_holds_every_sample_once(n, batch_size, shuffle, seed):
    loader = make(n, batch_size, seed, shuffle=shuffle)
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == len(loader) == -(-n // batch_size)
        assert all(len(y) == batch_size for _, y in batches[:-1])
        X, y = (np.concatenate(parts) for parts in zip(*batches, strict=True))
        assert np.array_equal(X, y * 10)
        assert sorted(y.tolist()) == list(range(n))
        if not shuffle:
            assert np.array_equal(y, np.arange(n))


@settings(deadline=None)
@given(n=st.integers(1, 40), batch_size=st.integers(1, 40), shuffle=st.booleans())
def test_drop_last_leaves_out_only_a_short_batch(n, batch_size, shuffle):
    if batch_size > n:
        with pytest.raises(ValueError, match="drop_last"):
            make(n, batch_size, shuffle=shuffle, drop_last=True)
        return
    whole = epoch(make(n, batch_size, shuffle=shuffle))
    loader = make(n, batch_size, shuffle=shuffle, drop_last=True)
    assert len(loader) == n // batch_size
    assert epoch(loader) == whole[: n // batch_size]


def test_batches_keep_dtype_and_trailing_shape():
    arrays = np.zeros((5, 1, 8, 8), np.float32), np.zeros(5, np.int64), np.array(list("abcde")), np.zeros((5, 0), bool)
    for batch in DataLoader(*arrays, batch_size=2):
        assert isinstance(batch, tuple)
        assert [part.dtype for part in batch] == [array.dtype for array in arrays]
        assert [part.shape[1:] for part in batch] == [array.shape[1:] for array in arrays]


def test_one_array_still_comes_in_a_tuple():
    assert epoch(DataLoader(np.arange(3), batch_size=2, shuffle=False)) == [[[0, 1]], [[2]]]


def test_epochs_differ_and_seeds_decide():
    loader = make(20)
    first, second = epoch(loader), epoch(loader)
    assert first != second
    again = make(20)
    assert [epoch(again), epoch(again)] == [first, second]
    assert epoch(make(20, seed=1)) != first


def test_orders_are_uniform():
    """Each sample stands in the first place equally often: 4 sigma of a binomial."""
    loader = make(n=4, batch_size=1)
    first = [next(iter(loader))[1][0] for _ in range(2000)]
    counts = np.bincount(first, minlength=4)
    assert np.abs(counts - 500).max() < 4 * np.sqrt(2000 * 0.25 * 0.75)


def test_without_rng_two_loaders_differ():
    orders = [epoch(DataLoader(np.arange(50), batch_size=50)) for _ in range(2)]
    assert orders[0] != orders[1]


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_batch_changed_in_place_leaves_the_data_alone(shuffle):
    X = np.arange(6.0)
    for (batch,) in DataLoader(X, batch_size=2, shuffle=shuffle):
        batch[:] = -1
    assert np.array_equal(X, np.arange(6.0))


def test_without_shuffle_the_generator_is_left_alone():
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    list(DataLoader(np.arange(5), batch_size=2, shuffle=False, rng=rng))
    assert rng.bit_generator.state == before


def test_global_seed_has_no_part_in_it():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    list(DataLoader(np.arange(5), batch_size=2))
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


# -- One epoch at a time


def test_leaving_a_loop_and_starting_another_begins_an_epoch():
    loader, expected = make(), make()
    next(iter(loader))
    epoch(expected)
    assert epoch(loader) == epoch(expected)


def test_iter_alone_draws_the_order():
    loader, expected = make(), make()
    iter(loader)
    epoch(expected)
    assert epoch(loader) == epoch(expected)


def test_an_overtaken_iterator_says_so():
    loader = make()
    older = iter(loader)
    next(older)
    newer = iter(loader)
    next(newer)
    state = loader.state_dict()
    with pytest.raises(RuntimeError, match=r"DataLoader: this iterator ended .* two loaders"):
        next(older)
    assert loader.state_dict() == state
    assert len(list(newer)) == 3


def test_an_iterator_overtaken_before_its_first_batch_says_so():
    loader = make()
    older = iter(loader)
    list(loader)
    with pytest.raises(RuntimeError, match="newer one"):
        next(older)


def test_loading_a_state_ends_the_iterator_under_way():
    loader = make()
    older = iter(loader)
    next(older)
    loader.load_state_dict(loader.state_dict())
    with pytest.raises(RuntimeError, match="a state loaded"):
        next(older)
    assert len(list(loader)) == 3


def test_a_finished_iterator_stays_finished():
    loader = make()
    batches = iter(loader)
    list(batches)
    assert list(batches) == []


# -- Resumption


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_restored_loader_yields_what_was_left_and_then_the_same_epochs(data):
    n = data.draw(st.integers(1, 25), "samples")
    batch_size = data.draw(st.integers(1, n), "batch_size")
    options = {"shuffle": data.draw(st.booleans(), "shuffle"), "drop_last": data.draw(st.booleans(), "drop_last")}
    kind = data.draw(st.sampled_from(KINDS), "generator")
    loader = make(n, batch_size, 0, kind, **options)
    for _ in range(data.draw(st.integers(0, 3), "whole epochs")):
        list(loader)
    batches = iter(loader)
    for _ in range(data.draw(st.integers(0, len(loader)), "batches used")):
        next(batches)
    state = json.loads(json.dumps(loader.state_dict()))
    restored = make(n, batch_size, 1, kind, **options)
    list(zip(restored, range(data.draw(st.integers(0, len(loader)), "batches used before"))))  # noqa: B905
    restored.load_state_dict(state)
    assert restored.state_dict() == state
    assert epoch(restored) == epoch(batches)
    assert restored.state_dict() == loader.state_dict()
    for _ in range(2):
        assert epoch(restored) == epoch(loader)


def test_a_state_saved_between_epochs():
    loader, restored = make(), make(seed=1)
    list(loader)
    state = loader.state_dict()
    assert state["position"] is None
    restored.load_state_dict(state)
    assert [epoch(restored), epoch(restored)] == [epoch(loader), epoch(loader)]


def test_a_state_saved_in_the_body_of_the_last_turn_leaves_an_empty_rest():
    loader, restored = make(), make(seed=1)
    for _ in loader:
        state = loader.state_dict()
    assert state["position"] == 4
    restored.load_state_dict(state)
    assert epoch(restored) == []
    assert epoch(restored) == epoch(loader)


def test_a_resumed_epoch_can_be_saved_again():
    loader, once, twice = make(), make(seed=1), make(seed=2)
    batches = iter(loader)
    next(batches)
    once.load_state_dict(loader.state_dict())
    rest = iter(once)
    next(batches), next(rest)
    twice.load_state_dict(once.state_dict())
    assert epoch(twice) == epoch(batches)
    assert epoch(twice) == epoch(loader)


def test_a_state_can_be_loaded_back_into_its_own_loader():
    loader = make()
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    rest, after = epoch(batches), epoch(loader)
    loader.load_state_dict(state)
    assert [epoch(loader), epoch(loader)] == [rest, after]


def test_a_state_is_a_copy():
    loader = make(kind="MT19937")
    batches = iter(loader)
    next(batches)
    state = loader.state_dict()
    kept = copy.deepcopy(state)
    list(batches), list(loader)
    assert state == kept
    restored = make(seed=1, kind="MT19937")
    restored.load_state_dict(state)
    state["generator_before"]["state"]["key"][0] = 0
    assert restored.state_dict() == kept


def test_a_loader_with_its_own_generator_can_be_resumed():
    X = np.arange(20)
    loader, restored = (DataLoader(X, batch_size=3) for _ in range(2))
    batches = iter(loader)
    next(batches)
    restored.load_state_dict(loader.state_dict())
    assert epoch(restored) == epoch(batches)
    assert epoch(restored) == epoch(loader)


def test_a_generator_shared_with_others_goes_on_where_it_was():
    """Dropout may draw from the same generator between two batches; a resumed run must see the same numbers."""

    def run(loader, rng):
        return [(y.tolist(), rng.random()) for _, y in loader]

    rng, other = np.random.default_rng(0), np.random.default_rng(1)
    loader = DataLoader(np.arange(9), np.arange(9), batch_size=2, rng=rng)
    restored = DataLoader(np.arange(9), np.arange(9), batch_size=2, rng=other)
    batches = iter(loader)
    next(batches), rng.random(), next(batches), rng.random()
    restored.load_state_dict(loader.state_dict())
    assert run(restored, other) == run(batches, rng)
    assert run(restored, other) == run(loader, rng)


def test_len_is_that_of_a_whole_epoch_also_when_less_is_left():
    loader = make()
    next(iter(loader))
    restored = make()
    restored.load_state_dict(loader.state_dict())
    assert len(restored) == 4
    assert len(list(restored)) == 3


# -- Errors


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ((), ValueError, r"DataLoader: expected at least one array, got none; pass"),
        (([1, 2],), TypeError, r"DataLoader: expected arrays, got list as argument 0; pass np\.asarray"),
        ((np.zeros(2), None), TypeError, r"got NoneType as argument 1"),
        ((np.array(3.0),), ValueError, r"argument 0 is a single number without an axis of samples"),
        ((np.zeros(3), np.zeros(4)), ValueError, r"one number of samples, got \[3, 4\]; pass"),
        ((np.zeros((0, 2)),), ValueError, r"at least one sample, got arrays of length 0"),
    ],
)
def test_arrays_that_do_not_fit(arrays, error, message):
    with pytest.raises(error, match=message):
        DataLoader(*arrays, batch_size=1)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_size_below_one(batch_size):
    with pytest.raises(ValueError, match=rf"DataLoader: expected batch_size of at least 1, got {batch_size}"):
        make(batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [2.0, "2", None, True])
def test_a_batch_size_that_is_no_integer(batch_size):
    with pytest.raises(TypeError, match=r"DataLoader: expected an integer batch_size, got .*; pass"):
        make(batch_size=batch_size)


def test_a_numpy_batch_size_still_gives_a_json_state():
    loader = make(batch_size=np.int32(3), shuffle=np.True_)
    assert json.loads(json.dumps(loader.state_dict()))["batch_size"] == 3


def test_drop_last_with_a_batch_larger_than_the_data():
    with pytest.raises(ValueError, match=r"DataLoader: 10 samples make no batch of 11 with drop_last=True; pass"):
        make(batch_size=11, drop_last=True)
    assert epoch(make(batch_size=11, shuffle=False))[0][1] == list(range(10))


@pytest.mark.parametrize("rng", [0, np.random, np.random.RandomState(0)])
def test_an_rng_that_is_no_generator(rng):
    with pytest.raises(TypeError, match=r"DataLoader: expected rng to be a np\.random\.Generator, got"):
        DataLoader(np.zeros(3), batch_size=1, rng=rng)


def changed(**changes):
    """A good state of `make()` in the middle of an epoch, with some entries replaced."""
    loader = make(seed=5)
    next(iter(loader))
    return loader.state_dict() | changes


def without(state, key):
    return {name: value for name, value in state.items() if name != key}


def broken_generator(name, **changes):
    state = changed()
    state[name] = state[name] | changes
    return state


FOREIGN_STATES = {
    "no dict": (lambda: None, TypeError, r"expected a dict, got NoneType; pass what state_dict"),
    "a list": (lambda: [1], TypeError, r"expected a dict, got list"),
    "empty": (dict, ValueError, r"expected the keys \['batch_size'.*got \[\]"),
    "a key missing": (lambda: without(changed(), "position"), ValueError, r"expected the keys"),
    "a key too many": (lambda: changed(epoch=3), ValueError, r"got \[.*'epoch'"),
    "keys of mixed kinds": (lambda: changed() | {3: 4}, ValueError, r"expected the keys"),
    "other data": (make(11).state_dict, ValueError, r"saved with samples=11, this loader has 10; make"),
    "other batches": (make(batch_size=4).state_dict, ValueError, r"batch_size=4, this loader has 3"),
    "unshuffled": (make(shuffle=False).state_dict, ValueError, r"shuffle=False, this loader has True"),
    "dropping": (make(drop_last=True).state_dict, ValueError, r"drop_last=True, this loader has False"),
    "position too far": (lambda: changed(position=5), ValueError, r"from 0 to 4, got 5; the state is damaged"),
    "position negative": (lambda: changed(position=-1), ValueError, r"got -1"),
    "position a float": (lambda: changed(position=1.0), ValueError, r"got 1\.0"),
    "position a bool": (lambda: changed(position=True), ValueError, r"got True"),
    "position lost": (lambda: changed(position=None), ValueError, r"generator_before to be None"),
    "no generator before": (lambda: changed(generator_before=None), ValueError, r"generator_before to be a dict"),
    "no generator": (lambda: changed(generator=None), ValueError, r"expected generator to be a dict, got None"),
    "generator a list": (lambda: changed(generator=[1]), ValueError, r"generator is the state .* kind None"),
    "generator empty": (lambda: changed(generator={}), ValueError, r"kind None, this loader has PCG64; make"),
    "other kind": (make(kind="Philox").state_dict, ValueError, r"kind Philox, this loader has PCG64"),
    "generator without numbers": (
        lambda: broken_generator("generator", state={}),
        ValueError,
        r"generator is no whole state of a PCG64 \(KeyError",
    ),
    "generator with text": (
        lambda: broken_generator("generator_before", state={"state": "x", "inc": 1}),
        ValueError,
        r"generator_before is no whole state of a PCG64",
    ),
    "generator with too large a number": (
        lambda: broken_generator("generator", state={"state": 2**129, "inc": 1}),
        ValueError,
        r"generator is no whole state of a PCG64",
    ),
}


@pytest.mark.parametrize("name", FOREIGN_STATES)
@pytest.mark.parametrize("used", [None, 0, 2, 4], ids="{} batches used".format)
def test_a_foreign_state_changes_nothing(name, used):
    build, error, message = FOREIGN_STATES[name]
    loader, expected = make(), make()
    batches = expected_batches = None
    if used is not None:
        batches, expected_batches = iter(loader), iter(expected)
        for _ in range(used):
            next(batches), next(expected_batches)
    before = loader.state_dict()
    with pytest.raises(error, match=r"DataLoader\.load_state_dict: .*" + message):
        loader.load_state_dict(build())
    assert loader.state_dict() == before
    if used is not None:
        assert epoch(batches) == epoch(expected_batches)
    assert epoch(loader) == epoch(expected)
