"""Write attention.npz: PyTorch's attention and encoder layer, for the chapter attention and its tests.

    python tests/reference/make_attention.py      in an environment with PyTorch 2.13.0

Readers need no PyTorch: they only load the file. The name of an array is `case/what`: what goes in, `g` that the
backward pass starts with, `out`, and the gradients `dquery`, `din_proj_weight`, ... Boolean masks are kept as PyTorch's
MultiheadAttention takes them: True where a query may NOT attend. Two masks of one case are kept as one.
"""

from pathlib import Path
from typing import Any

import numpy as np

N, TQ, TK, E = 2, 4, 5, 8


def main() -> None:
    import torch
    import torch.nn.functional as F

    rng, arrays = np.random.default_rng(0), {}
    torch.set_default_dtype(torch.float64)

    def leaf(*shape: int) -> Any:
        return torch.from_numpy(np.array(rng.normal(size=shape))).requires_grad_()

    def keep(case: str, out: Any, **inputs: Any) -> None:
        """The inputs, a random g, the result, and the gradient of each float input that has one."""
        g = torch.from_numpy(np.array(rng.normal(size=tuple(out.shape))))
        out.backward(g)
        found = {name: x.detach().numpy() for name, x in inputs.items()}
        found |= {f"d{name}": x.grad.numpy() for name, x in inputs.items() if x.grad is not None}
        found |= {"g": g.numpy(), "out": out.detach().numpy()}
        arrays.update({f"{case}/{name}": value for name, value in found.items()})

    def randomise(module: Any) -> None:
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(torch.from_numpy(rng.normal(0, 0.5, tuple(p.shape))))

    blocked = rng.random((TQ, TK)) < 0.4
    blocked[:, 0] = False
    padding = np.zeros((N, TK), bool)
    padding[0, 3:] = padding[1, 4:] = True
    # MultiheadAttention: self, cross, masks
    cases = ("self", "cross", "boolean", "additive", "causal", "padding", "both", "per head", "nobias")
    for heads in (1, 2, 4):
        for case in cases:
            mha = torch.nn.MultiheadAttention(E, heads, bias=case != "nobias", batch_first=True)
            randomise(mha)
            query = leaf(N, TQ, E)
            alone = case in ("self", "causal", "both")
            key, value = (query, query) if alone else (leaf(N, TK, E), leaf(N, TK, E))
            options: dict[str, Any] = {}
            later = np.triu(np.ones((TQ, TQ), bool), 1)
            if case == "boolean":
                options["attn_mask"] = torch.from_numpy(blocked)
            elif case == "additive":
                options["attn_mask"] = torch.from_numpy(rng.normal(size=(TQ, TK)))
            elif case == "per head":
                options["attn_mask"] = torch.from_numpy(rng.normal(size=(N * heads, TQ, TK)))
            elif case == "causal":
                options["attn_mask"] = torch.from_numpy(later)
            elif case == "padding":
                options["key_padding_mask"] = torch.from_numpy(padding)
            elif case == "both":
                options["attn_mask"] = torch.from_numpy(later)
                options["key_padding_mask"] = torch.from_numpy(padding[:, :TQ])
            out, weights = mha(query, key, value, average_attn_weights=False, **options)
            inputs = {"query": query} | ({"key": key, "value": value} if key is not query else {})
            inputs |= {name.replace(".", "_"): p for name, p in mha.named_parameters()}
            if case == "both":  # one mask for each sequence
                inputs["mask"] = torch.from_numpy(later | padding[:, None, :TQ])
            elif case == "per head":
                inputs["mask"] = options["attn_mask"].reshape(N, heads, TQ, TK)
            elif options:
                inputs["mask"] = next(iter(options.values()))
            keep(f"mha/{case}, {heads}", out, **inputs)
            arrays[f"mha/{case}, {heads}/weights"] = weights.detach().numpy()

    # The function, whose boolean mask is True where a query may attend
    q, k, v = leaf(N, 3, TQ, 6), leaf(N, 3, TK, 6), leaf(N, 3, TK, 7)
    keep("sdpa/plain", F.scaled_dot_product_attention(q, k, v), q=q, k=k, v=v)
    q, k, v = leaf(N, 3, TQ, 6), leaf(N, 3, TK, 6), leaf(N, 3, TK, 7)
    keep("sdpa/causal", F.scaled_dot_product_attention(q, k, v, is_causal=True), q=q, k=k, v=v)
    q, k, v = leaf(N, 3, TQ, 6), leaf(N, 3, TK, 6), leaf(N, 3, TK, 7)
    allowed = torch.from_numpy(~blocked)
    keep("sdpa/boolean", F.scaled_dot_product_attention(q, k, v, allowed), q=q, k=k, v=v, mask=allowed)

    q, k, v = leaf(N, TQ, 6), leaf(N, TK, 6), leaf(N, TK, 7)
    added = torch.from_numpy(rng.normal(size=(N, TQ, TK)))
    keep("sdpa/additive", F.scaled_dot_product_attention(q, k, v, added), q=q, k=k, v=v, mask=added)
    q, k, v = leaf(N, 3, TQ + 2, 6), leaf(N, 3, TK, 6), leaf(N, 3, TK, 7)
    keep("sdpa/causal, long", F.scaled_dot_product_attention(q, k, v, is_causal=True), q=q, k=k, v=v)

    # A query that may attend to nothing: from the module with weights, without weights, and from the function
    mha = torch.nn.MultiheadAttention(E, 2, batch_first=True)
    randomise(mha)
    x, nothing = leaf(1, 3, E), torch.zeros((3, 3), dtype=torch.bool)
    nothing[1] = True
    with torch.no_grad():
        arrays["empty/weights"] = mha(x, x, x, attn_mask=nothing)[0].numpy()
        arrays["empty/no weights"] = mha(x, x, x, attn_mask=nothing, need_weights=False)[0].numpy()
        arrays["empty/function"] = F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], ~nothing).numpy()
        arrays["empty/bias"] = mha.out_proj.bias.numpy()
    print("NaN rows:", {name: np.isnan(a).any(-1).ravel() for name, a in arrays.items() if "empty" in name})

    # The layer, both ways round
    for case, first in (("pre", True), ("post", False)):
        layer = torch.nn.TransformerEncoderLayer(
            E, 2, 12, dropout=0.0, activation="gelu", batch_first=True, norm_first=first
        )
        if case == "pre":
            randomise(layer)
            weights = layer.state_dict()
        layer.load_state_dict(weights)
        x = leaf(N, TQ, E)
        inputs = {name.replace(".", "_"): p for name, p in layer.named_parameters()}
        keep(f"layer/{case}", layer(x), x=x, **inputs)
    np.savez_compressed(
        Path(__file__).with_name("attention.npz"),
        names=list(arrays),
        shapes=[" ".join(map(str, a.shape)) for a in arrays.values()],
        numbers=np.concatenate([np.asarray(a, np.float64).reshape(-1) for a in arrays.values()]),
    )


if __name__ == "__main__":
    main()
