"""odyssey.nn.attention: equal to PyTorch, right gradients, the symmetries, masks, dropout, errors, and a small task."""

from math import sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import odyssey.nn.functional as F
from odyssey import Tensor, gradcheck, nn, no_grad
from odyssey.amp import autocast
from odyssey.nn.attention import additive_mask, exponentials
from odyssey.optim import Adam
from tests.nn.reference import read_reference

REFERENCE = read_reference("attention")


def tensor(x):
    return Tensor(np.asarray(x).copy(), requires_grad=True, dtype=np.float64)


def close(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-11)


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def double(module):
    """The module, with parameters of float64."""
    for p in module.parameters():
        p.data = p.data.astype(np.float64)
    return module


# ---- PyTorch ----


def packed(a, prefix=""):
    """{our name: array} from PyTorch's names, in_proj cut into three; the same for gradients."""
    found = {}
    for kind in ("weight", "bias"):
        if f"{prefix}in_proj_{kind}" in a:
            for name, part in zip("qkv", np.split(a[f"{prefix}in_proj_{kind}"], 3), strict=True):
                found[f"{name}_proj.{kind}"] = part
            found[f"out_proj.{kind}"] = a[f"{prefix}out_proj_{kind}"]
    return found


MODULES = [case for case in REFERENCE if case.startswith("mha/")]


def loaded(case, dtype=np.float64):
    """The module with the weights of a case, its inputs, and the mask as ours."""
    a, kind, heads = REFERENCE[case], case[4:-3], int(case[-1])
    module = nn.MultiHeadAttention(8, heads, bias=kind != "nobias", rng=np.random.default_rng(0))
    module = double(module) if dtype == np.float64 else module
    module.load_state_dict(packed(a))
    inputs = [Tensor(a[name].astype(dtype), True) for name in ("query", "key", "value") if name in a]
    if kind in ("additive", "per head"):
        return module, inputs, {"mask": a["mask"].astype(dtype)}
    if kind in ("boolean", "both"):
        return module, inputs, {"mask": a["mask"] == 0}  # True means blocked there, and may attend here
    if kind == "padding":
        return module, inputs, {"mask": a["mask"][:, None, None] == 0}
    return module, inputs, {"is_causal": kind == "causal"}


@pytest.mark.parametrize("case", MODULES)
def test_multi_head_attention_is_that_of_pytorch(case):
    a = REFERENCE[case]
    module, inputs, options = loaded(case)
    out = module(*inputs, **options)
    close(out.data, a["out"])
    (out * a["g"]).sum().backward()
    for x, name in zip(inputs, ("query", "key", "value"), strict=False):
        close(x.grad, a[f"d{name}"])
    gradients = packed(a, "d")
    assert len(gradients) == (4 if "nobias" in case else 8)
    for name, p in module.named_parameters():
        close(p.grad, gradients[name])


@pytest.mark.parametrize("case", MODULES)
def test_in_float32_it_is_that_of_pytorch_to_float32(case):
    a = REFERENCE[case]
    module, inputs, options = loaded(case, np.float32)
    out = module(*inputs, **options)
    (out * a["g"].astype(np.float32)).sum().backward()
    assert out.dtype == inputs[0].grad.dtype == np.float32
    for got, expected in [(out.data, a["out"]), (inputs[0].grad, a["dquery"])]:
        np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-5)
    for name, p in module.named_parameters():
        assert p.grad.dtype == np.float32
        np.testing.assert_allclose(p.grad, packed(a, "d")[name], rtol=2e-4, atol=1e-4)


def test_all_kinds_of_cases_are_there():
    kinds = {"self", "cross", "boolean", "additive", "causal", "padding", "both", "per head", "nobias"}
    assert {case[4:] for case in MODULES} == {f"{kind}, {heads}" for kind in kinds for heads in (1, 2, 4)}


def test_the_weights_are_those_of_pytorch():
    a = REFERENCE["mha/causal, 2"]
    module = double(nn.MultiHeadAttention(8, 2))
    module.load_state_dict(packed(a))
    x = tensor(a["query"])
    q, k = module.heads(module.q_proj(x)).data, module.heads(module.k_proj(x)).data
    s = q @ k.swapaxes(-1, -2) / sqrt(4) + additive_mask(None, True, (2, 2, 4, 4), np.float64)
    e = s.swapaxes(-1, -2).copy()  # a column for each query
    total = exponentials(e)
    close((e / total[..., None, :]).swapaxes(-1, -2), a["weights"])


@pytest.mark.parametrize("kind", ["plain", "causal", "boolean", "additive", "causal, long"])
def test_the_function_is_that_of_pytorch(kind):
    a = REFERENCE[f"sdpa/{kind}"]
    inputs = [tensor(a[name]) for name in "qkv"]
    mask = a.get("mask") if kind == "additive" else None
    mask = a["mask"] == 1 if kind == "boolean" else mask  # here True means may attend, as with us
    out = F.scaled_dot_product_attention(*inputs, mask=mask, is_causal="causal" in kind)
    close(out.data, a["out"])
    (out * a["g"]).sum().backward()
    for x, name in zip(inputs, "qkv", strict=True):
        close(x.grad, a[f"d{name}"])


def test_the_block_is_the_encoder_layer_of_pytorch():
    a = REFERENCE["layer/pre"]
    block = double(nn.TransformerBlock(8, 2, 12))
    state = {f"attention.{name}": value for name, value in packed(a, "self_attn_").items()}
    state |= {name.replace("_", "."): a[name] for name in a if name.startswith(("norm", "linear"))}
    block.load_state_dict(state)
    x = tensor(a["x"])
    out = block(x)
    close(out.data, a["out"])
    (out * a["g"]).sum().backward()
    close(x.grad, a["dx"])
    gradients = {f"attention.{name}": value for name, value in packed(a, "dself_attn_").items()}
    gradients |= {name[1:].replace("_", "."): a[name] for name in a if name.startswith(("dnorm", "dlinear"))}
    assert len(gradients) == 16
    for name, p in block.named_parameters():
        close(p.grad, gradients[name])


def test_an_empty_row_of_pytorch():
    a = REFERENCE["empty"]
    assert np.isnan(a["weights"][0, 1]).all() and not np.isnan(a["weights"][0, [0, 2]]).any()
    close(a["no weights"][0, 1], a["bias"])
    assert (a["function"][0, 0, 1] == 0).all()


# ---- gradients ----

MASKS = {
    "none": {},
    "causal": {"is_causal": True},
    "boolean": {"mask": np.array([[1, 0, 1, 1], [0, 1, 0, 0], [1, 1, 1, 1]], bool)},
    "additive": {"mask": random(3, 4, seed=5)},
    "empty row": {"mask": np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], bool)},
    "both": {"mask": np.array([[0, 1, 1, 1], [1, 1, 1, 1], [1, 0, 1, 1]], bool), "is_causal": True},
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("lead", [(2,), (1, 3)])
def test_gradcheck_of_the_function(name, lead):
    inputs = [random(*lead, t, d, seed=s) for s, (t, d) in enumerate([(3, 5), (4, 5), (4, 2)])]
    assert gradcheck(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, **MASKS[name]), *inputs)


def test_gradcheck_with_dropout():
    inputs = [random(2, t, 3, seed=t) for t in (3, 4, 4)]

    def f(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.4, rng=np.random.default_rng(0))

    assert gradcheck(f, *inputs)


@pytest.mark.parametrize("name", MASKS)
def test_gradcheck_of_the_module(name):
    module = double(nn.MultiHeadAttention(6, 2, rng=np.random.default_rng(0)))
    inputs = [random(2, t, 6, seed=t) for t in (3, 4)]
    assert gradcheck(lambda query, key: module(query, key, **MASKS[name]), *inputs)


def test_gradcheck_of_the_parameters():
    module = double(nn.MultiHeadAttention(4, 2, rng=np.random.default_rng(0)))
    x, names = tensor(random(2, 3, 4)), [name for name, _ in module.named_parameters()]
    values = [random(*p.shape, seed=i) for i, p in enumerate(module.parameters())]

    def f(*parts):
        for name, part in zip(names, parts, strict=True):
            owner, kind = name.split(".")
            setattr(getattr(module, owner), kind, part)
        return module(x, is_causal=True)

    assert gradcheck(f, *values)


def test_one_tensor_for_query_key_and_value():
    module = double(nn.MultiHeadAttention(4, 2, rng=np.random.default_rng(0)))
    assert gradcheck(lambda x: module(x, x, x), random(2, 3, 4))
    x = tensor(random(2, 3, 4))
    assert np.array_equal(module(x).data, module(x, x, x).data)


# ---- masks ----


def test_an_empty_row_gives_zeros_and_finite_gradients():
    mask = np.ones((3, 4), bool)
    mask[1] = False
    for given_mask in (mask, np.where(mask, 0.0, -np.inf)):
        q, k, v = (tensor(random(2, t, 5, seed=t)) for t in (3, 4, 4))
        out = F.scaled_dot_product_attention(q, k, v, mask=given_mask)
        assert (out.data[:, 1] == 0).all() and (out.data[:, 0] != 0).all()
        (out * random(2, 3, 5, seed=9)).sum().backward()
        assert all(np.isfinite(x.grad).all() for x in (q, k, v))
        assert (q.grad[:, 1] == 0).all() and (q.grad[:, 0] != 0).any()


def test_nothing_but_empty_rows():
    module = nn.MultiHeadAttention(4, 2, rng=np.random.default_rng(0))
    x = Tensor(random(2, 3, 4).astype(np.float32), True)
    out = module(x, mask=np.zeros((3, 3), bool))
    np.testing.assert_array_equal(out.data, np.broadcast_to(module.out_proj.bias.data, out.shape))
    out.sum().backward()
    assert all(np.isfinite(p.grad).all() for p in module.parameters()) and (x.grad == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_scores_do_not_overflow(dtype):
    q, k, v = (Tensor((1e4 * random(1, 3, 4, seed=s)).astype(dtype), True, dtype) for s in range(3))
    out = F.scaled_dot_product_attention(q, k, v)
    out.sum().backward()
    assert np.isfinite(out.data).all() and out.dtype == dtype and all(np.isfinite(x.grad).all() for x in (q, k, v))


@pytest.mark.parametrize("change", [1, 3, 5])
def test_the_future_changes_nothing(change):
    block = nn.TransformerBlock(8, 2, 16, rng=np.random.default_rng(0))
    x = random(2, 6, 8).astype(np.float32)
    other = x.copy()
    other[:, change:] = 50 * random(2, 6 - change, 8, seed=1)
    before, after = (block(Tensor(z), is_causal=True).data for z in (x, other))
    assert np.array_equal(before[:, :change], after[:, :change])
    assert not np.allclose(before[:, change:], after[:, change:])


def test_the_gradient_does_not_come_from_the_future():
    module, x = nn.MultiHeadAttention(8, 2, rng=np.random.default_rng(0)), tensor(random(1, 6, 8))
    module(x, is_causal=True)[:, 2].sum().backward()
    assert (x.grad[:, 3:] == 0).all() and (x.grad[:, :3] != 0).all()


def test_causal_is_the_lower_triangle():
    q, k, v = (tensor(random(2, 5, 3, seed=s)) for s in range(3))
    one = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    two = F.scaled_dot_product_attention(q, k, v, mask=np.tril(np.ones((5, 5), bool)))
    assert np.array_equal(one.data, two.data)


@pytest.mark.parametrize("tq, tk", [(3, 5), (5, 3)])
def test_causal_aligns_top_left(tq, tk):
    q, k, v = tensor(random(1, tq, 4)), tensor(random(1, tk, 4, seed=1)), tensor(random(1, tk, 4, seed=2))
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    close(out.data[:, 0], v.data[:, 0])
    mask = np.arange(tk) <= np.arange(tq)[:, None]
    close(out.data, F.scaled_dot_product_attention(q, k, v, mask=mask).data)


def test_padding_is_as_if_it_were_not_there():
    module = double(nn.MultiHeadAttention(6, 3, rng=np.random.default_rng(0)))
    x = random(1, 5, 6)
    mask = np.arange(5) < 3
    padded = module(tensor(x), mask=mask[None, None, None])
    close(padded.data[:, :3], module(tensor(x[:, :3])).data)


def test_shapes_of_masks():
    module = double(nn.MultiHeadAttention(6, 3, rng=np.random.default_rng(0)))
    x = tensor(random(2, 4, 6))
    mask = random(2, 3, 4, 4, seed=3) > -0.5
    mask[..., 0] = True
    per_sequence = mask[:, 0]
    out = module(x, mask=per_sequence)
    assert np.array_equal(out.data, module(x, mask=np.repeat(per_sequence[:, None], 3, axis=1)).data)
    for n in range(2):
        close(module(x[n : n + 1], mask=per_sequence[n]).data, out.data[n : n + 1])
    assert module(x, mask=mask).shape == (2, 4, 6)
    assert np.array_equal(module(x, mask=Tensor(np.zeros((4, 4)))).data, module(x).data)


# ---- symmetries ----


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.permutations(range(6)), st.sampled_from([1, 2, 4]), st.integers(0, 1000))
def test_permutation_equivariance(order, heads, seed):
    module = double(nn.MultiHeadAttention(8, heads, rng=np.random.default_rng(seed)))
    x = random(2, 6, 8, seed=seed)
    close(module(tensor(x[:, order])).data, module(tensor(x)).data[:, order])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.permutations(range(5)), st.integers(0, 1000))
def test_the_order_of_the_keys_does_not_matter(order, seed):
    q, k, v = (random(2, t, 3, seed=seed + t) for t in (4, 5, 5))
    mask = random(4, 5, seed=seed) > 0
    one = F.scaled_dot_product_attention(tensor(q), tensor(k), tensor(v), mask=mask)
    moved = (tensor(k[:, order]), tensor(v[:, order]))
    close(F.scaled_dot_product_attention(tensor(q), *moved, mask=mask[:, order]).data, one.data)


def by_hand(q, k, v, allowed):
    """Attention from its definition, one query at a time."""
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    for i in np.ndindex(*q.shape[:-1]):
        keys = np.flatnonzero(np.broadcast_to(allowed, (*q.shape[:-1], k.shape[-2]))[i])
        s = k[i[:-1]][keys] @ q[i] / sqrt(q.shape[-1])
        p = np.exp(s - s.max(initial=-np.inf))
        out[i] = p / max(p.sum(), 1) @ v[i[:-1]][keys]
    return out


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    lead=st.lists(st.integers(1, 3), max_size=3),
    sizes=st.tuples(*[st.integers(1, 6)] * 4),
    share=st.sampled_from([0.0, 0.3, 1.0]),
    causal=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_all_shapes_follow_the_definition(lead, sizes, share, causal, seed):
    tq, tk, d, dv = sizes
    q, k, v = random(*lead, tq, d, seed=seed), random(*lead, tk, d, seed=seed + 1), random(*lead, tk, dv, seed=seed + 2)
    mask = np.random.default_rng(seed).random((tq, tk)) < share
    out = F.scaled_dot_product_attention(tensor(q), tensor(k), tensor(v), mask, causal)
    allowed = mask & (np.arange(tk) <= np.arange(tq)[:, None]) if causal else mask
    assert out.shape == (*lead, tq, dv)
    close(out.data, by_hand(q, k, v, allowed))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 2, 3, 6]), st.booleans())
def test_shapes_of_the_module(n, tq, tk, heads, bias):
    module = nn.MultiHeadAttention(6, heads, bias=bias, rng=np.random.default_rng(0))
    query, key = (Tensor(random(n, t, 6).astype(np.float32), True) for t in (tq, tk))
    out = module(query, key)
    assert out.shape == (n, tq, 6) and out.dtype == np.float32
    (out * random(n, tq, 6, seed=1).astype(np.float32)).sum().backward()
    assert query.grad.shape == query.shape and key.grad.shape == key.shape
    assert all(p.grad is not None and p.grad.shape == p.shape for p in module.parameters())


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.floats(-5, 5))
def test_results_are_means_of_values(tq, tk, d, shift):
    q, k, v = tensor(random(1, tq, d)), tensor(random(1, tk, d, seed=1)), tensor(random(1, tk, 2, seed=2))
    out = F.scaled_dot_product_attention(q, k, v).data
    assert (out <= v.data.max(axis=1, keepdims=True) + 1e-12).all()
    assert (out >= v.data.min(axis=1, keepdims=True) - 1e-12).all()
    shifted = F.scaled_dot_product_attention(q, k, v, mask=np.full((tq, tk), shift)).data
    close(shifted, out)


def test_sequences_of_a_batch_do_not_mix():
    module = double(nn.MultiHeadAttention(8, 2, rng=np.random.default_rng(0)))
    x = random(3, 4, 8)
    for n in range(3):
        close(module(tensor(x[n : n + 1])).data, module(tensor(x)).data[n : n + 1])


def test_head_0_has_the_first_features():
    module = nn.MultiHeadAttention(6, 3)
    x = Tensor(np.arange(2 * 4 * 6.0).reshape(2, 4, 6))
    assert np.array_equal(module.heads(x).data[:, 0], x.data[:, :, :2])
    assert module.heads(x).shape == (2, 3, 4, 2) and module.head_dim == 2


# ---- dropout ----


def test_dropout_of_weights_has_the_right_mean_and_repeats():
    q, k = tensor(random(1, 3, 4)), tensor(random(1, 5, 4, seed=1))
    v = tensor(np.eye(5)[None])  # the result is the weights themselves
    plain = F.scaled_dot_product_attention(q, k, v).data
    rng = np.random.default_rng(0)
    drawn = np.array([F.scaled_dot_product_attention(q, k, v, dropout_p=0.3, rng=rng).data for _ in range(4000)])
    np.testing.assert_allclose(drawn.mean(axis=0), plain, atol=0.02)
    kept = drawn != 0
    np.testing.assert_allclose(drawn[kept], np.broadcast_to(plain / 0.7, drawn.shape)[kept], rtol=1e-6)
    assert abs(kept.mean() - 0.7) < 0.01
    one, two = (F.scaled_dot_product_attention(q, k, v, dropout_p=0.3, rng=np.random.default_rng(1)) for _ in "ab")
    assert np.array_equal(one.data, two.data)


def test_dropout_of_the_module_only_in_training():
    x = Tensor(random(2, 4, 8).astype(np.float32))
    module = nn.MultiHeadAttention(8, 2, dropout=0.5, rng=np.random.default_rng(0))
    twin = nn.MultiHeadAttention(8, 2, dropout=0.5, rng=np.random.default_rng(0))
    assert np.array_equal(module(x).data, twin(x).data)
    assert not np.array_equal(module(x).data, module(x).data)
    module.eval()
    assert np.array_equal(module(x).data, module(x).data)


def test_dropping_everything_gives_zeros():
    q, k, v = (tensor(random(1, 3, 4, seed=s)) for s in range(3))
    out = F.scaled_dot_product_attention(q, k, v, dropout_p=1.0)
    out.sum().backward()
    assert (out.data == 0).all() and all((x.grad == 0).all() for x in (q, k, v))


# ---- errors ----


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: nn.MultiHeadAttention(10, 3), "3 heads do not divide 10"),
        (lambda: nn.MultiHeadAttention(8, 0), "num_heads"),
        (lambda: nn.MultiHeadAttention(0, 1), "embed_dim"),
        (lambda: nn.MultiHeadAttention(8, 2, dropout=1.5), r"expected p in \[0, 1\]"),
        (lambda: nn.TransformerBlock(8, 3, 16), "3 heads do not divide 8"),
    ],
)
def test_bad_options(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("shape", [(4, 8), (2, 4, 6), (8,), (1, 2, 4, 8)])
def test_wrong_inputs_of_the_module(shape):
    with pytest.raises(ValueError, match=r"expected input of shape \(N, T, 8\), got"):
        nn.MultiHeadAttention(8, 2)(Tensor(np.zeros(shape)))


@pytest.mark.parametrize(
    "shapes",
    [
        [(2, 3, 4), (2, 5, 3), (2, 5, 4)],
        [(2, 3, 4), (2, 5, 4), (2, 6, 4)],
        [(2, 3, 4), (3, 5, 4), (3, 5, 4)],
        [(4,), (4,), (4,)],
        [(3, 4), (1, 5, 4), (1, 5, 4)],
        [(2, 3, 4), (1, 5, 4), (1, 5, 4)],
        [(3, 0), (5, 0), (5, 4)],
    ],
)
def test_wrong_shapes_of_the_function(shapes):
    with pytest.raises(ValueError, match=r"expected q \(\.\.\., Tq, d\).*got"):
        F.scaled_dot_product_attention(*(Tensor(np.zeros(shape)) for shape in shapes))


@pytest.mark.parametrize(
    "inputs, words",
    [
        ([np.zeros((1, 2, 4), int)] * 3, r"one float dtype, got int\d+"),
        ([np.zeros((1, 2, 4)), np.zeros((1, 2, 4), "f"), np.zeros((1, 2, 4))], "got float64, float32 and float64"),
        ([[[1.0, 2.0]]] * 3, "expected Tensors or arrays, got list; wrap it"),
        ([None, np.zeros((2, 4)), np.zeros((2, 4))], "got NoneType"),
    ],
)
def test_inputs_of_another_kind(inputs, words):
    with pytest.raises(TypeError, match=words):
        F.scaled_dot_product_attention(*inputs)


@pytest.mark.parametrize("p", [-0.1, 1.1, np.nan])
def test_dropout_out_of_range(p):
    x = Tensor(np.zeros((1, 2, 4)))
    with pytest.raises(ValueError, match=r"attention: expected p in \[0, 1\]"):
        F.scaled_dot_product_attention(x, x, x, dropout_p=p)


@pytest.mark.parametrize(
    "name, value", [("embed_dim", 8.0), ("num_heads", True), ("num_heads", "2"), ("num_heads", None)]
)
def test_options_that_are_no_whole_numbers(name, value):
    with pytest.raises(TypeError, match=f"MultiHeadAttention: expected {name} to be a whole number, got"):
        nn.MultiHeadAttention(**{"embed_dim": 8, "num_heads": 2, name: value})


def test_a_mask_that_wants_a_gradient_is_an_error():
    x, mask = Tensor(np.zeros((1, 2, 4))), Tensor(np.zeros((2, 2)), requires_grad=True)
    with pytest.raises(TypeError, match=r"no gradient flows to a mask; pass mask.detach\(\)"):
        F.scaled_dot_product_attention(x, x, x, mask=mask)
    assert np.array_equal(F.scaled_dot_product_attention(x, x, x, mask=mask.detach()).data, x.data)


def test_a_list_for_a_tensor_is_an_error():
    with pytest.raises(ValueError, match=r"expected input of shape \(N, T, 8\), got a list"):
        nn.MultiHeadAttention(8, 2)([[0.0] * 8])


def test_an_error_leaves_the_module_as_it_was():
    module = nn.MultiHeadAttention(8, 2, dropout=0.5, rng=np.random.default_rng(0))
    before, state = module.state_dict(), module.rng.bit_generator.state
    x = Tensor(random(2, 3, 8).astype(np.float32), True)
    with pytest.raises(ValueError, match="does not fit"):
        module(x, mask=np.ones((2, 2), bool))
    assert all(np.array_equal(before[name], value) for name, value in module.state_dict().items())
    assert module.rng.bit_generator.state == state and x.grad is None
    assert all(p.grad is None for p in module.parameters())


def test_no_keys_no_queries_no_sequences():
    module = double(nn.MultiHeadAttention(4, 2, rng=np.random.default_rng(0)))
    none = module(tensor(np.zeros((2, 3, 4))), tensor(np.zeros((2, 0, 4))))
    assert np.array_equal(none.data, np.broadcast_to(module.out_proj.bias.data, (2, 3, 4)))
    assert module(tensor(np.zeros((2, 0, 4)))).shape == (2, 0, 4)
    assert module(tensor(np.zeros((0, 3, 4)))).shape == (0, 3, 4)


def test_nan_stays_with_its_query_and_its_sequence():
    q, k, v = (random(2, 3, 4, seed=s) for s in range(3))
    q[0, 1, 2] = np.nan
    out = F.scaled_dot_product_attention(tensor(q), tensor(k), tensor(v)).data
    assert np.isnan(out[0, 1]).all() and np.isnan(out).sum() == 4


def test_one_sequence_without_a_batch_axis():
    q, k, v = (random(t, 4, seed=t) for t in (3, 5, 5))
    mask = random(3, 5) > 0
    out = F.scaled_dot_product_attention(tensor(q), tensor(k), tensor(v), mask)
    close(out.data, F.scaled_dot_product_attention(tensor(q[None]), tensor(k[None]), tensor(v[None]), mask).data[0])
    assert gradcheck(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, mask), q, k, v)


def test_keys_of_other_batches_are_an_error():
    module = nn.MultiHeadAttention(8, 2)
    with pytest.raises(ValueError, match="leading axes equal"):
        module(Tensor(np.zeros((2, 3, 8))), Tensor(np.zeros((3, 3, 8))))


@pytest.mark.parametrize("shape", [(4, 4), (3, 4), (2, 2, 3, 5), (7,)])
def test_wrong_masks(shape):
    q, k = Tensor(np.zeros((2, 3, 4))), Tensor(np.zeros((2, 5, 4)))
    with pytest.raises(ValueError, match=r"a mask of shape .* does not fit scores of shape \(2, 3, 5\)"):
        F.scaled_dot_product_attention(q, k, k, mask=np.ones(shape, bool))


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_a_float_mask_above_all_numbers_is_an_error(bad):
    x, mask = Tensor(random(1, 2, 4)), np.zeros((2, 2))
    mask[0, 1] = bad
    with pytest.raises(ValueError, match=r"^attention: expected a mask of finite floats or -inf, got inf or NaN; use"):
        F.scaled_dot_product_attention(x, x, x, mask=mask)


@pytest.mark.parametrize("dtype, low", [(np.float16, -1e9), (np.float32, np.finfo(np.float64).min)])
def test_a_mask_too_low_for_the_dtype_is_minus_infinity(dtype, low):
    x, allowed = Tensor(random(1, 3, 4).astype(dtype)), np.tril(np.ones((3, 3), bool))
    out = F.scaled_dot_product_attention(x, x, x, np.where(allowed, 0, low))
    assert out.dtype == dtype
    np.testing.assert_array_equal(out.data, F.scaled_dot_product_attention(x, x, x, allowed).data)


def test_a_mask_of_the_keys_needs_an_axis():
    module, x = nn.MultiHeadAttention(8, 2, rng=np.random.default_rng(0)), random(2, 4, 8).astype(np.float32)
    keys = np.array([[True, True, True, False], [True, True, False, False]])
    with pytest.raises(ValueError, match=r"axes of length 1: mask\[:, None, None\]"):
        module(Tensor(x), mask=keys)
    with pytest.raises(ValueError, match=r"axes of length 1: mask\[:, None\]"):
        F.scaled_dot_product_attention(x, x, x, keys)
    alone = module(Tensor(x[1:, :2])).data[0]
    for mask in (keys[:, None], keys[:, None, None]):
        np.testing.assert_allclose(module(Tensor(x), mask=mask).data[1, :2], alone, atol=1e-6)


@pytest.mark.parametrize("bad", [None, 1, "yes", np.ones((2, 2), bool)])
def test_is_causal_must_be_a_flag(bad):
    x = Tensor(np.zeros((1, 2, 4)))
    with pytest.raises(TypeError, match=r"^attention: expected is_causal to be True or False, got .*as mask="):
        F.scaled_dot_product_attention(x, x, x, is_causal=bad)
    with pytest.raises(TypeError, match=r"^attention: expected is_causal"):
        nn.MultiHeadAttention(4, 2)(Tensor(np.zeros((1, 2, 4), "f")), is_causal=bad)
    assert F.scaled_dot_product_attention(x, x, x, is_causal=np.True_).shape == (1, 2, 4)


def test_what_is_no_generator_is_refused_by_name():
    x = Tensor(np.zeros((1, 2, 4)))
    with pytest.raises(TypeError, match=r"^attention: expected rng to be a numpy Generator, got int"):
        F.scaled_dot_product_attention(x, x, x, dropout_p=0.5, rng=0)
    with pytest.raises(TypeError, match=r"^MultiHeadAttention: expected rng"):
        nn.MultiHeadAttention(4, 2, rng=0)
    with pytest.raises(TypeError, match=r"^TransformerBlock: expected rng"):
        nn.TransformerBlock(4, 2, 8, rng=0)


def test_filler_must_be_finite():
    q, k, v = (random(1, 3, 4, seed=s) for s in range(3))
    mask = np.array([True, True, False])
    v[0, 2] = np.nan  # hidden, but 0 times NaN is NaN
    assert np.isnan(F.scaled_dot_product_attention(tensor(q), tensor(k), tensor(v), mask).data).all()
    v[0, 2] = 1e300
    short = F.scaled_dot_product_attention(tensor(q), tensor(k[:, :2]), tensor(v[:, :2])).data
    close(F.scaled_dot_product_attention(tensor(q), tensor(k), tensor(v), mask).data, short)


def test_an_integer_mask_is_an_error():
    x = Tensor(np.zeros((1, 2, 4)))
    with pytest.raises(TypeError, match=r"expected a boolean or a float mask, got int\d+; write mask == 1"):
        F.scaled_dot_product_attention(x, x, x, mask=np.ones((2, 2), int))


def test_masks_may_be_lists():
    x, module = tensor(random(1, 2, 4)), double(nn.MultiHeadAttention(4, 2, rng=np.random.default_rng(0)))
    mask = [[[True, False], [True, True]]]
    assert np.array_equal(module(x, mask=mask).data, module(x, is_causal=True).data)


# ---- the rest ----


@pytest.mark.parametrize("dtype", [np.float16, "bfloat16"])
def test_autocast(dtype):
    block = nn.TransformerBlock(8, 2, 16, rng=np.random.default_rng(0))
    x = Tensor(random(2, 5, 8).astype(np.float32), True)
    exact = block(x, is_causal=True).data
    with autocast(dtype):
        out = block(x, is_causal=True)
    assert out.dtype == np.float32 and 0 < np.abs(out.data - exact).max() < 0.1
    out.sum().backward()
    assert np.isfinite(x.grad).all() and all(p.grad.dtype == np.float32 for p in block.parameters())


def test_the_block_is_a_composition():
    block = nn.TransformerBlock(8, 2, 12, rng=np.random.default_rng(0))
    x = Tensor(random(2, 5, 8).astype(np.float32))
    mask = np.tril(np.ones((5, 5), bool))
    h = x + block.attention(block.norm1(x), mask=mask)
    expected = h + block.linear2(F.gelu(block.linear1(block.norm2(h))))
    np.testing.assert_allclose(block(x, mask=mask).data, expected.data, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(block(x, is_causal=True).data, expected.data, rtol=1e-6, atol=1e-6)


def test_gradcheck_of_the_block():
    block = double(nn.TransformerBlock(4, 2, 6, rng=np.random.default_rng(0)))
    assert gradcheck(lambda x: block(x, is_causal=True), random(2, 3, 4))


def test_dropout_of_the_block():
    block = nn.TransformerBlock(8, 2, 12, dropout=0.5, rng=np.random.default_rng(0))
    x = Tensor(random(2, 5, 8).astype(np.float32))
    assert not np.array_equal(block(x).data, block(x).data)
    block.eval()
    assert np.array_equal(block(x).data, block(x).data)


def test_names_of_the_parameters():
    maps = [f"{name}_proj.{kind}" for name in ("q", "k", "v", "out") for kind in ("weight", "bias")]
    assert list(nn.MultiHeadAttention(8, 2).state_dict()) == maps
    assert all("bias" not in name for name in nn.MultiHeadAttention(8, 2, bias=False).state_dict())
    block = nn.TransformerBlock(8, 2, 12)
    shapes = {name: value.shape for name, value in block.state_dict().items()}
    assert set(shapes) == {f"attention.{name}" for name in maps} | {
        f"{name}.{kind}" for name in ("norm1", "norm2", "linear1", "linear2") for kind in ("weight", "bias")
    }
    assert shapes["linear1.weight"] == (12, 8) and shapes["attention.q_proj.weight"] == (8, 8)


def test_state_dict_round_trip():
    one, two = (nn.TransformerBlock(8, 2, 12, rng=np.random.default_rng(s)) for s in range(2))
    x = Tensor(random(2, 5, 8).astype(np.float32))
    assert not np.array_equal(one(x).data, two(x).data)
    two.load_state_dict(one.state_dict())
    assert np.array_equal(one(x).data, two(x).data)


def test_inputs_are_not_changed():
    arrays = [random(2, t, 4, seed=t) for t in (3, 5, 5)]
    mask = random(3, 5)
    kept = [a.copy() for a in (*arrays, mask)]
    inputs = [Tensor(a, True, np.float64) for a in arrays]
    F.scaled_dot_product_attention(*inputs, mask=mask, is_causal=True).sum().backward()
    assert all(np.array_equal(a, b) for a, b in zip((*arrays, mask), kept, strict=True))


def test_a_single_key_gets_all_the_weight():
    q, k, v = tensor(random(2, 3, 4)), tensor(random(2, 1, 4, seed=1)), tensor(random(2, 1, 5, seed=2))
    out = F.scaled_dot_product_attention(q, k, v)
    close(out.data, np.broadcast_to(v.data, (2, 3, 5)))
    (out * random(2, 3, 5)).sum().backward()
    np.testing.assert_allclose(q.grad, 0, atol=1e-14)


def test_a_block_learns_to_copy_the_first_symbol_everywhere():
    """What is at position 0 must travel to all others, so attention itself has to learn."""
    rng = np.random.default_rng(0)
    embedding, block = nn.Embedding(6, 16, rng=rng), nn.TransformerBlock(16, 2, 32, rng=rng)
    places = nn.Parameter(rng.normal(size=(5, 16)).astype(np.float32))
    head = nn.Linear(16, 6, rng=rng)
    parameters = [*embedding.parameters(), *block.parameters(), *head.parameters(), places]
    optimizer = Adam(parameters, lr=0.01)
    for step in range(120):
        optimizer.param_groups[0]["lr"] = 0.01 * min(1, (step + 1) / 20)
        x = rng.integers(6, size=(32, 5))
        z = head(block(embedding(x) + places, is_causal=True))
        F.cross_entropy(z.reshape(-1, 6), np.repeat(x[:, 0], 5)).backward()
        optimizer.step()
        optimizer.zero_grad()
    x = rng.integers(6, size=(200, 5))
    with no_grad():
        z = head(block(embedding(x) + places, is_causal=True)).data
    assert np.mean(z.argmax(axis=-1) == x[:, :1]) > 0.98
