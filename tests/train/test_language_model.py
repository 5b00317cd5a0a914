"""odyssey.train.language_model: equal to PyTorch, causal, right probabilities, able to learn, resumable, and strict."""

import json
import subprocess
import sys
from itertools import pairwise
from math import inf, log, nan
from pathlib import Path

import numpy as np
import pytest

import odyssey.nn.functional as F
from odyssey import Tensor, gradcheck, nn
from odyssey.data import DataLoader, load_names
from odyssey.optim import AdamW
from odyssey.train import fit, load_checkpoint, save_checkpoint
from odyssey.train import language_model as lm
from odyssey.train.language_model import (
    GPT,
    IGNORED,
    MARK,
    VOCABULARY,
    NGram,
    bigram_nll,
    bigram_table,
    decay_groups,
    decode,
    draw,
    encode,
    nll,
    optimizer_for,
    probabilities,
    sample,
    token_loss,
)
from tests import needs

REFERENCE = dict(np.load(Path(__file__).parents[1] / "reference" / "language_model.npz"))
SMALL = 5  # a vocabulary for the models whose every token is tried
NAMES = ["ann", "bo", "anna", "rob", "ulla", "zoe", "ed", "otto"]


def model_of(vocabulary=VOCABULARY, context=8, dim=8, heads=2, blocks=2, dropout=0.0, seed=0):
    return GPT(vocabulary, context, dim, heads, blocks, dropout, np.random.default_rng(seed))


def scattered(model, seed=1, scale=0.5):
    """The model in float64 with larger weights, so that nothing is nearly uniform."""
    rng = np.random.default_rng(seed)
    for p in model.to(np.float64).parameters():
        p.data = rng.normal(0, scale, p.shape)
    return model


# ---- names and tokens ----


def test_tokens_and_targets_of_two_names():
    tokens, targets = encode(["ann", "bo"])
    assert tokens.tolist() == [[MARK, 0, 13, 13], [MARK, 1, 14, MARK]]
    assert targets.tolist() == [[0, 13, 13, MARK], [1, 14, MARK, IGNORED]]
    assert tokens.dtype == targets.dtype == np.int64
    tokens, targets = encode(["bo"], context=6)
    assert tokens.shape == targets.shape == (1, 6) and (targets[0, 3:] == IGNORED).all()
    assert (tokens[0, 3:] == MARK).all()


def test_all_census_names_come_back():
    for part in load_names().values():
        tokens, targets = encode(iter(part), 12)
        assert decode(tokens) == decode(targets) == part
        real = targets != IGNORED
        assert np.sum(real) == sum(len(name) + 1 for name in part)
        assert np.array_equal(tokens[:, 1:][real[:, 1:]], targets[:, :-1][real[:, 1:]])


def test_decode_takes_rows_with_and_without_marks():
    assert decode([[MARK, 0, 1]]) == decode([[0, 1, MARK]]) == ["ab"]
    assert decode([[MARK, MARK, 0]]) == [""]
    assert decode(np.zeros((0, 3), np.int64)) == []
    with pytest.raises(ValueError, match=r"decode: \[0, -100\] holds"):
        decode([[0, IGNORED]])
    with pytest.raises(ValueError, match=r"decode: expected integers of shape \(N, T\), got int\d+ of shape \(2,\)"):
        decode(np.array([0, 1]))
    with pytest.raises(ValueError, match="float64"):
        decode([[0.0]])


@pytest.mark.parametrize(
    "names, context, error, words",
    [
        ("ann", None, TypeError, "encode: expected a list of names, got 'ann'; write"),
        (3, None, TypeError, "encode: expected a list of names, got 3"),
        ([], None, ValueError, "encode: expected at least one name, got none"),
        (["ann", 7], None, TypeError, "encode: expected names of type str, got 7"),
        (["Ann"], None, ValueError, "encode: 'Ann' holds 'A', which is none of the letters"),
        (["zoë"], None, ValueError, "'zoë' holds 'ë'"),
        (["mary ann"], None, ValueError, "holds ' '"),
        (["anna"], 4, ValueError, "a name of 4 letters needs a context of 5, got 4"),
        (["anna"], 0, ValueError, "encode: expected context to be at least 1"),
        (["anna"], 5.0, TypeError, "encode: expected context to be a whole number"),
    ],
)
def test_what_encode_refuses(names, context, error, words):
    with pytest.raises(error, match=words):
        encode(names, context)


# ---- the model ----


@pytest.mark.parametrize("case", ["full", "short"])
def test_it_is_the_gpt_of_pytorch(case):
    model = GPT(7, 6, 8, 2, 2, rng=np.random.default_rng(0)).to(np.float64)
    weights = {name[7:]: value for name, value in REFERENCE.items() if name.startswith("weight/")}
    model.load_state_dict(weights)
    logits = model(REFERENCE[f"{case}/tokens"])
    loss = token_loss(logits, REFERENCE[f"{case}/targets"])
    loss.backward()
    np.testing.assert_allclose(logits.data, REFERENCE[f"{case}/logits"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(loss.item(), REFERENCE[f"{case}/loss"], rtol=1e-12)
    assert (REFERENCE[f"{case}/targets"] == IGNORED).any() and len(weights) == 2 + 2 * 16 + 2
    for name, p in model.named_parameters():
        np.testing.assert_allclose(p.grad, REFERENCE[f"{case}/gradient/{name}"], rtol=1e-9, atol=1e-12)


def test_gradients_of_all_parameters():
    model = scattered(model_of(5, 4, 4, 2, 1))
    tokens, targets = np.array([[0, 1, 2], [3, 0, 4]]), np.array([[1, 2, 4], [0, IGNORED, IGNORED]])
    assert gradcheck(lambda *params: token_loss(model(tokens), targets), *model.parameters())


def test_a_later_token_changes_no_earlier_logits():
    model = scattered(model_of(SMALL, 6))
    tokens = np.random.default_rng(0).integers(SMALL, size=(4, 6))
    before = model(tokens).data
    for t in range(6):
        changed = tokens.copy()
        changed[:, t] = (tokens[:, t] + 1 + np.arange(4) % (SMALL - 1)) % SMALL
        after = model(changed).data
        np.testing.assert_array_equal(after[:, :t], before[:, :t])
        assert (np.abs(after[:, t:] - before[:, t:]).max(axis=-1) > 1e-3).all()


def test_no_gradient_flows_back_to_later_positions():
    model = scattered(model_of(SMALL, 6))
    tokens = np.random.default_rng(0).integers(SMALL, size=(2, 6))
    for t in range(6):
        model.zero_grad()
        logits = model(tokens)
        (logits[:, t] * np.arange(1.0, SMALL + 1)).sum().backward()
        reached = np.abs(model.position.weight.grad).max(axis=1) > 0
        assert reached.tolist() == [i <= t for i in range(6)]


def test_one_pass_gives_what_a_pass_for_each_prefix_gives():
    model = scattered(model_of(SMALL, 6))
    tokens = np.random.default_rng(3).integers(SMALL, size=(3, 6))
    whole = model(tokens).data
    for t in range(1, 7):
        np.testing.assert_allclose(model(tokens[:, :t]).data[:, -1], whole[:, t - 1], rtol=1e-10)


@pytest.mark.parametrize("V, T, d, L", [(27, 12, 48, 2), (5, 3, 4, 1), (9, 7, 6, 3)])
def test_the_number_of_parameters(V, T, d, L):
    model = GPT(V, T, d, 2, L, rng=np.random.default_rng(0))
    assert sum(p.size for p in model.parameters()) == V * d + T * d + L * (12 * d * d + 13 * d) + 2 * d


def test_the_head_is_the_table_of_the_tokens():
    model = scattered(model_of(SMALL, 6))
    tokens = np.array([[0, 1]])
    model(tokens)[0, 1, 4].backward()
    # Token 4 is not among the inputs: its row gets a gradient through the head alone.
    assert np.abs(model.token.weight.grad[4]).max() > 0 and not model.token.weight.grad[3].any()
    assert "head" not in {name for name, _ in model.named_parameters()}


def test_it_starts_without_an_opinion():
    losses = [nll(model_of(dim=48, seed=seed), NAMES) for seed in range(3)]
    assert np.abs(np.array(losses) - log(27)).max() < 0.1


def test_dropout_is_off_in_eval_and_drawn_from_the_generator():
    tokens, _ = encode(NAMES)
    model = model_of(dropout=0.3)
    first, second = model(tokens).data, model(tokens).data
    assert not np.array_equal(first, second)
    assert np.array_equal(first, model_of(dropout=0.3)(tokens).data)
    model.eval()
    assert np.array_equal(model(tokens).data, model_of().to(np.float32).eval()(tokens).data)


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ((0, 8, 8, 2, 1), ValueError, "GPT: expected vocabulary to be at least 1"),
        ((27, 0, 8, 2, 1), ValueError, "GPT: expected context to be at least 1"),
        ((27, 8.0, 8, 2, 1), TypeError, "GPT: expected context to be a whole number"),
        ((27, 8, 8, 3, 1), ValueError, "3 heads do not divide 8"),
        ((27, 8, 0, 1, 1), ValueError, "embedding_dim to be at least 1"),
        ((27, 8, 8, 2, 0), ValueError, "GPT: expected num_blocks to be at least 1"),
        ((27, 8, 8, 2, 1, 1.5), ValueError, r"expected p in \[0, 1\]"),
        ((27, 8, 8, 2, 1, 0.0, 3), TypeError, "GPT: expected rng to be a numpy Generator, got int"),
    ],
)
def test_what_the_model_refuses(arguments, error, words):
    with pytest.raises(error, match=words):
        GPT(*arguments)


@pytest.mark.parametrize(
    "tokens, error, words",
    [
        (np.zeros((2, 9), np.int64), ValueError, r"tokens of shape \(N, T\), T from 1 to 8, got \(2, 9\)"),
        (np.zeros((2, 0), np.int64), ValueError, r"got \(2, 0\)"),
        (np.zeros(3, np.int64), ValueError, r"GPT\(27, context=8\): expected tokens .* got \(3,\)"),
        (np.zeros((2, 3)), TypeError, "expected integers, got float64"),
        (np.full((2, 3), 27), IndexError, "index 27 in a table of 27 rows"),
        (np.full((2, 3), IGNORED), IndexError, "index -100"),
    ],
)
def test_what_forward_refuses(tokens, error, words):
    with pytest.raises(error, match=words):
        model_of()(tokens)


# ---- the loss ----


def test_the_loss_is_the_mean_over_real_characters():
    model = scattered(model_of())
    tokens, targets = encode(NAMES)
    logits = model(tokens)
    costs = -np.log(probabilities(logits.data))
    real = [(i, t) for i, name in enumerate(NAMES) for t in range(len(name) + 1)]
    by_hand = np.mean([costs[i, t, targets[i, t]] for i, t in real])
    assert np.isclose(token_loss(logits, targets).item(), by_hand, rtol=1e-12)
    assert np.isclose(nll(model, NAMES), by_hand, rtol=1e-12)
    longer, more = encode(NAMES, 8)  # filler changes nothing
    assert np.isclose(token_loss(model(longer), more).item(), by_hand, rtol=1e-12)
    wrong = F.cross_entropy(logits.reshape(-1, 27), np.where(targets == IGNORED, MARK, targets).reshape(-1)).item()
    assert abs(wrong - by_hand) > 0.01


def test_nll_weighs_characters_alike_in_batches_of_any_size():
    model = scattered(model_of())
    many = ["bo"] * 600 + ["annabel"] * 5
    apart = [nll(model, ["bo"]), nll(model, ["annabel"])]
    assert np.isclose(nll(model, many), np.average(apart, weights=[600 * 3, 5 * 8]), rtol=1e-12)


@pytest.mark.parametrize("call", [lambda m: nll(m, NAMES), lambda m: sample(m, 2, rng=np.random.default_rng(0))])
def test_modes_are_put_back(call):
    model = model_of(dropout=0.5)
    model.blocks[1].eval()
    before = [m.training for m in model.modules()]
    assert True in before and False in before
    call(model)
    assert [m.training for m in model.modules()] == before
    model.context = 3  # fails in the middle
    model.position.weight.data = model.position.weight.data[:1]
    with pytest.raises((IndexError, ValueError)):
        call(model)
    assert [m.training for m in model.modules()] == before


def test_what_the_losses_refuse():
    model = model_of()
    logits = model(np.zeros((2, 3), np.int64))
    with pytest.raises(ValueError, match=r"token_loss: expected logits \(N, T, V\) .* got \(2, 3, 27\) and \(2, 4\)"):
        token_loss(logits, np.zeros((2, 4), np.int64))
    with pytest.raises(ValueError, match=r"got \(6, 27\)"):
        token_loss(logits.reshape(6, 27), np.zeros(6, np.int64))
    with pytest.raises(ValueError, match="at least one name"):
        nll(model, [])
    with pytest.raises(ValueError, match=r"T from 1 to 8, got \(1, 10\)"):
        nll(model, ["christine"])


# ---- the optimizer ----


def test_only_weights_of_linear_layers_decay():
    model = model_of()
    decayed, plain = decay_groups(model, 0.3)
    assert decayed["weight_decay"] == 0.3 and plain["weight_decay"] == 0
    names = {id(p): name for name, p in model.named_parameters()}
    chosen = {names[id(p)] for p in decayed["params"]}
    ends = ("proj.weight", "linear1.weight", "linear2.weight")
    assert chosen == {name for name in names.values() if name.endswith(ends)}
    assert len(chosen) == 12 and len(plain["params"]) == len(names) - 12
    assert {"token.weight", "position.weight", "norm.weight", "norm.bias"} <= {names[id(p)] for p in plain["params"]}
    AdamW(decay_groups(model, 0.3))
    assert len(decay_groups(nn.LayerNorm(3), 0.1)) == 1


def test_the_schedule_warms_up_and_falls_to_a_tenth():
    optimizer, scheduler = optimizer_for(model_of(), 100, lr=0.01)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
    assert np.isclose(max(rates), 0.01) and rates.index(max(rates)) == 10
    assert np.isclose(optimizer.param_groups[0]["lr"], 0.001) and all(a > b for a, b in pairwise(rates[10:]))
    with pytest.raises(ValueError, match="optimizer_for: expected steps to be at least 2"):
        optimizer_for(model_of(), 1)


# ---- learning ----


def trained(epochs, checkpoint=None, stop=None, dropout=0.1):
    rng = np.random.default_rng(0)
    model = GPT(VOCABULARY, 6, 16, 2, 1, dropout, rng)
    loader = DataLoader(*encode(NAMES, 6), batch_size=4, rng=rng)
    optimizer, scheduler = optimizer_for(model, 2 * epochs, lr=0.02)

    def stopping(state):
        if state.step == stop:
            state.stop()

    history = fit(
        model, token_loss, loader, optimizer, epochs=epochs, scheduler=scheduler, clip_norm=1.0, progress=False,
        checkpoint=checkpoint, callbacks=[stopping],
    )  # fmt: skip
    return model, history


def test_it_learns_eight_names_to_the_floor():
    model, _ = trained(150, dropout=0.0)
    # Nothing tells which name comes: log 8 nats a name are left, spread over its characters.
    floor = len(NAMES) * log(8) / sum(len(name) + 1 for name in NAMES)
    assert floor < nll(model, NAMES) < floor + 0.03
    drawn = sample(model, 200, rng=np.random.default_rng(0))
    assert np.mean([name in NAMES for name in drawn]) > 0.97
    assert set(NAMES) <= set(drawn)


def test_a_checkpoint_goes_on_bit_for_bit(tmp_path):
    whole, history = trained(6)
    path = tmp_path / "run.safetensors"
    trained_half, _ = trained(6, path, stop=5)
    assert not np.array_equal(trained_half.token.weight.data, whole.token.weight.data)
    rng = np.random.default_rng(9)  # another start, which the file replaces
    model = GPT(VOCABULARY, 6, 16, 2, 1, 0.1, rng)
    loader = DataLoader(*encode(NAMES, 6), batch_size=4, rng=rng)
    optimizer, scheduler = optimizer_for(model, 12, lr=0.02)
    load_checkpoint(path, model=model, optimizer=optimizer, scheduler=scheduler, loader=loader)
    rest = fit(
        model, token_loss, loader, optimizer, epochs=4, scheduler=scheduler, clip_norm=1.0, progress=False
    )  # fmt: skip
    assert rest.loss == history.loss[5:]
    for (name, p), (_, q) in zip(model.named_parameters(), whole.named_parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data, err_msg=name)


def test_samples_of_a_loaded_model_are_the_same(tmp_path):
    model, _ = trained(3)
    save_checkpoint(tmp_path / "model.safetensors", model=model)
    other = GPT(VOCABULARY, 6, 16, 2, 1, 0.1, np.random.default_rng(5))
    load_checkpoint(tmp_path / "model.safetensors", model=other)
    one, two = (sample(m, 20, rng=np.random.default_rng(1)) for m in (model, other))
    assert one == two and len(set(one)) > 10


# ---- sampling ----


def test_temperature_limits():
    z = np.array([[0.5, -1.0, 2.0], [1.0, 1.0, 0.0]])
    np.testing.assert_allclose(probabilities(z), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), rtol=1e-14)
    np.testing.assert_allclose(probabilities(z, 1e-3), [[0, 0, 1], [0.5, 0.5, 0]], atol=1e-12)
    np.testing.assert_allclose(probabilities(z, 5e-324), [[0, 0, 1], [0.5, 0.5, 0]], atol=1e-12)
    np.testing.assert_allclose(probabilities(z, 1e9), np.full((2, 3), 1 / 3), atol=1e-8)
    np.testing.assert_allclose(probabilities(1000 * z, 1000), probabilities(z), rtol=1e-12)
    assert probabilities(z.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize(
    "temperature, error",
    [(0, ValueError), (-1.0, ValueError), (nan, ValueError), (inf, ValueError), ("1", TypeError), (True, TypeError)],
)
def test_temperatures_that_are_refused(temperature, error):
    with pytest.raises(error, match="probabilities: expected"):
        probabilities(np.zeros(3), temperature)
    with pytest.raises(error, match="probabilities: expected"):
        sample(model_of(), 2, temperature=temperature, rng=np.random.default_rng(0))


def chi_square(counts, p):
    return np.sum((counts - counts.sum() * p) ** 2 / (counts.sum() * p))


def test_draw_follows_the_probabilities():
    p = np.array([0.5, 0.0, 0.2, 0.3, 0.0])
    counts = np.bincount(draw(np.tile(p, (20_000, 1)), np.random.default_rng(0)).astype(np.intp), minlength=5)
    assert counts[1] == counts[4] == 0
    # 2 degrees of freedom: above 13.8 once in a thousand times
    assert chi_square(counts[[0, 2, 3]], p[[0, 2, 3]]) < 13.8
    assert draw(np.array([[0.0, 1.0]]), np.random.default_rng(0)).tolist() == [1]


@pytest.mark.parametrize("p", [[0.5, 0.5], [[0.0, 0.0]], [[nan, 1.0]], [[-0.5, 1.0]], [[inf, 1.0]]])
def test_what_draw_refuses(p):
    with pytest.raises(ValueError, match=r"draw: expected rows of probabilities \(N, V\), got array"):
        draw(np.array(p), np.random.default_rng(0))


def test_a_model_of_nan_draws_no_names():
    model = model_of()
    model.norm.weight.data = np.full_like(model.norm.weight.data, nan)
    with pytest.raises(ValueError, match="the model's weights are, too"):
        sample(model, 2, rng=np.random.default_rng(0))


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
def test_samples_follow_the_model(temperature):
    model = scattered(model_of(context=3, dim=4, blocks=1), scale=0.4)
    drawn = sample(model, 20_000, temperature=temperature, rng=np.random.default_rng(0))
    first = probabilities(model(np.array([[MARK]])).data[0, -1], temperature)
    second = probabilities(model(np.array([[MARK, 4]])).data[0, -1], temperature)
    letters = np.bincount([ord(name[0]) - 97 if name else MARK for name in drawn], minlength=27)
    after_e = [ord(name[1]) - 97 if len(name) > 1 else MARK for name in drawn if name[:1] == "e"]
    assert len(after_e) > 300 and max(map(len, drawn)) == 2
    # 26 degrees of freedom: above 54 once in a thousand times
    assert chi_square(letters, first) < 54
    assert chi_square(np.bincount(after_e, minlength=27), second) < 54
    wrong = probabilities(model(np.array([[MARK]])).data[0, -1], temperature * 1.5)
    assert chi_square(letters, wrong) > 54


def test_a_prefix_is_kept_and_conditions_the_rest():
    model = scattered(model_of(context=6))
    drawn = sample(model, 50, rng=np.random.default_rng(0), prefix="ann")
    assert all(name.startswith("ann") and len(name) <= 5 for name in drawn) and len(set(drawn)) > 3
    greedy = sample(model, 3, temperature=1e-6, rng=np.random.default_rng(0), prefix="b")
    best = int(model(np.array([[MARK, 1]])).data[0, -1].argmax())
    assert len(set(greedy)) == 1 and greedy[0][1:2] == ("" if best == MARK else chr(97 + best))


def test_a_name_that_has_ended_does_not_touch_the_others():
    model = scattered(model_of(context=7))
    one = sample(model, 30, rng=np.random.default_rng(0))
    assert len({len(name) for name in one}) > 2
    assert one == sample(model, 30, rng=np.random.default_rng(0))
    assert model.token.weight.grad is None


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"count": 0}, ValueError, "sample: expected count to be at least 1"),
        ({"count": 2.0}, TypeError, "sample: expected count to be a whole number"),
        ({"rng": 3}, TypeError, "sample: expected rng to be a numpy Generator, got int"),
        ({"prefix": "A"}, ValueError, "sample: 'A' holds 'A'"),
        ({"prefix": 3}, TypeError, "sample: expected names of type str, got 3"),
        ({"prefix": "abcdefg"}, ValueError, "the prefix 'abcdefg' leaves no room for a letter in a context of 8"),
    ],
)
def test_what_sample_refuses(arguments, error, words):
    with pytest.raises(error, match=words):
        sample(model_of(), **{"count": 2, "rng": np.random.default_rng(0), **arguments})
    assert sample(model_of(), 1, rng=np.random.default_rng(0), prefix="abcdef")[0].startswith("abcdef")


# ---- counting ----


def test_a_bigram_by_hand():
    table = bigram_table(["anna", "ann"], added=1e-12)
    a, n = 0, 13
    assert np.isclose(table[MARK, a], 1) and np.isclose(table[n, n], 1 / 2) and np.isclose(table[n, MARK], 1 / 4)
    assert np.isclose(table[a, n], 2 / 3)
    assert np.isclose(bigram_nll(table, ["ann"]), -log(1 * 2 / 3 * 1 / 2 * 1 / 4) / 4)
    with_one = bigram_table(["anna", "ann"])
    np.testing.assert_allclose(with_one.sum(axis=1), 1)
    assert with_one[25, 3] == 1 / 27 and np.isclose(with_one[MARK, a], 3 / 29)


def test_the_bigram_of_the_census_names():
    names = load_names()
    table = bigram_table(names["train"])
    assert abs(bigram_nll(table, names["test"]) - 2.342) < 0.001
    counts = NGram(names["train"], 2, 1.0).counts
    assert sum(counts[()]) == sum(len(name) + 1 for name in names["train"])


def by_definition(names, history, order, strength):
    """The formula of `NGram`, with counts found by looking through all names each time."""
    if order == 0:
        return np.full(27, 1 / 27)
    shorter = by_definition(names, history, order - 1, strength)
    if order - 1 > len(history):
        return shorter
    context = history[len(history) - order + 1 :]
    counts = np.zeros(27)
    for word in names:
        marked = [MARK, *(ord(letter) - 97 for letter in word), MARK]
        for end in range(max(1, len(context)), len(marked)):
            if marked[end - len(context) : end] == list(context):
                counts[marked[end]] += 1
    return (counts + strength * shorter) / (counts.sum() + strength)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("history", [[MARK], [MARK, 0], [MARK, 0, 13], [MARK, 0, 13, 13], [MARK, 25, 25, 0]])
def test_ngrams_are_their_definition(order, history):
    p = NGram(NAMES, order, 2.5).next_probabilities(history)
    np.testing.assert_allclose(p, by_definition(NAMES, history, order, 2.5), rtol=1e-12)
    assert np.isclose(p.sum(), 1)


def test_a_long_ngram_reaches_the_floor():
    floor = 2 * log(2) / 9  # the one choice between anna and ann, which have nine characters
    assert np.isclose(NGram(["anna", "ann"], 5, 1e-9).nll(["anna", "ann"]), floor, rtol=1e-6)


@pytest.mark.parametrize(
    "call, error, words",
    [
        (lambda: NGram([], 2, 1.0), ValueError, "NGram: expected at least one name"),
        (lambda: NGram(["a"], 0, 1.0), ValueError, "NGram: expected order to be at least 1"),
        (lambda: NGram(["a"], 2, 0.0), ValueError, "NGram: expected a finite strength above 0, got 0.0"),
        (lambda: NGram(["a"], 2, nan), ValueError, "got nan"),
        (lambda: NGram(["a"], 2, "1"), ValueError, "got '1'"),
        (lambda: NGram(["a"], 2, 1.0).nll("a"), TypeError, "NGram.nll: expected a list of names"),
        (lambda: bigram_table(["a-b"]), ValueError, "bigram_table: 'a-b' holds '-'"),
        (lambda: bigram_table(["a"], added=0), ValueError, "bigram_table: expected a finite number above 0"),
        (lambda: bigram_table(["a"], added=inf), ValueError, "got inf"),
        (lambda: bigram_nll(bigram_table(["a"]), []), ValueError, "at least one name"),
        (lambda: bigram_nll(np.ones((3, 3)), ["a"]), ValueError, r"expected a table \(27, 27\), got \(3, 3\)"),
    ],
)
def test_what_counting_refuses(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---- the stored runs ----


def test_the_stored_runs_are_whole():
    text = lm.LONG_FILE.read_text(encoding="ascii")
    stored = json.loads(text)
    assert len(text) < 100_000 and stored["command"] == "python -m odyssey.train.language_model"
    assert set(stored["versions"]) == {"python", "numpy"}
    found = {(run["dropout"], run["seed"]) for run in stored["runs"]}
    assert found == {(p, s) for p in (0.0, 0.1, 0.3) for s in (0, 1)}
    for run in stored["runs"]:
        assert len(run["train"]) == len(run["validation"]) == lm.LONG_EPOCHS
        assert 1 < min(run["validation"]) < run["test"] + 0.2


def test_main_stores_what_a_run_gives(tmp_path):
    lm.main(tmp_path / "runs.json", dropouts=(0.1,), seeds=(1,), epochs=1)
    (run,) = json.loads((tmp_path / "runs.json").read_text())["runs"]
    stored = json.loads(lm.LONG_FILE.read_text(encoding="ascii"))["runs"]
    (same,) = (r for r in stored if (r["dropout"], r["seed"]) == (run["dropout"], run["seed"]) == (0.1, 1))
    assert len(run["train"]) == len(run["validation"]) == 1
    assert abs(run["train"][0] - same["train"][0]) < 0.01  # other machines round otherwise, and a run is chaotic
    assert abs(run["validation"][0] - same["validation"][0]) < 0.01


def test_no_epochs_are_not_all_epochs():
    assert abs(lm.long_run(0.0, 0, epochs=0)["test"] - log(27)) < 0.1


@needs.processes
def test_the_command_says_what_it_does():
    command = [sys.executable, "-m", "odyssey.train.language_model", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "usage: python -m odyssey.train.language_model [-h] [path]" in shown.stdout and not shown.stderr


def test_tensors_are_refused_as_targets_of_another_kind():
    logits = Tensor(np.zeros((1, 2, 27), np.float32))
    with pytest.raises(TypeError, match="expected integers"):
        token_loss(logits, np.zeros((1, 2)))
    with pytest.raises(IndexError, match="target 27 among 27 classes"):
        token_loss(logits, np.full((1, 2), 27))
