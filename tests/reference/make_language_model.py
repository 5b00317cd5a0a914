"""Write language_model.npz: a small GPT of PyTorch's parts, for the chapter language_model and its tests.

    python tests/reference/make_language_model.py      in an environment with PyTorch

Readers need no PyTorch: they only load the file. `weight/…` and `gradient/…` carry the names of `GPT`, so that what
PyTorch keeps packed (in_proj) is cut into three here. `tokens` and `targets` are integers, -100 where no target is.
`full` has as many tokens as the context allows; `short` is the same model on fewer. Everything is float64.
"""

from pathlib import Path
from typing import Any

import numpy as np

VOCABULARY, CONTEXT, DIM, HEADS, BLOCKS = 7, 6, 8, 2, 2
LENGTHS = {"full": CONTEXT, "short": 4}


def main() -> None:
    import torch
    import torch.nn.functional as F

    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(0)
    token, position = torch.nn.Embedding(VOCABULARY, DIM), torch.nn.Embedding(CONTEXT, DIM)
    blocks = [
        torch.nn.TransformerEncoderLayer(
            DIM, HEADS, 4 * DIM, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        for _ in range(BLOCKS)
    ]
    norm = torch.nn.LayerNorm(DIM)
    modules: dict[str, Any] = {"token": token, "position": position, "norm": norm}
    modules |= {f"blocks.{i}": block for i, block in enumerate(blocks)}
    for module in modules.values():
        for p in module.parameters():
            with torch.no_grad():
                p.copy_(torch.from_numpy(np.array(rng.normal(0, 0.6, tuple(p.shape)))))

    def ours(values: Any) -> dict[str, np.ndarray]:
        """{name in GPT: values(parameter)} for every parameter."""
        found = {}
        for path, module in modules.items():
            for name, p in module.named_parameters():
                value = values(p).detach().numpy().copy()
                name = name.replace("self_attn.", "attention.")
                if "in_proj_" in name:
                    kind = name.rsplit("_", 1)[1]
                    for letter, part in zip("qkv", np.split(value, 3), strict=True):
                        found[f"{path}.attention.{letter}_proj.{kind}"] = part
                else:
                    found[f"{path}.{name}"] = value
        return found

    arrays: dict[str, Any] = {f"weight/{name}": value for name, value in ours(lambda p: p).items()}
    for case, length in LENGTHS.items():
        tokens = rng.integers(VOCABULARY, size=(3, length))
        targets = rng.integers(VOCABULARY, size=(3, length))
        targets[0, 3:] = targets[2, 2:] = -100
        for module in modules.values():
            module.zero_grad()
        ids = torch.from_numpy(tokens)
        x = token(ids) + position(torch.arange(length))
        later = torch.triu(torch.ones(length, length, dtype=torch.bool), 1)
        for block in blocks:
            x = block(x, src_mask=later)
        logits = F.linear(norm(x), token.weight)
        loss = F.cross_entropy(logits.reshape(-1, VOCABULARY), torch.from_numpy(targets).reshape(-1))
        loss.backward()
        arrays |= {f"{case}/tokens": tokens, f"{case}/targets": targets}
        arrays |= {f"{case}/logits": logits.detach().numpy(), f"{case}/loss": np.array(loss.item())}
        arrays |= {f"{case}/gradient/{name}": value for name, value in ours(lambda p: p.grad).items()}
    arrays["version"] = np.array(f"torch {torch.__version__.split('+')[0]}")
    np.savez_compressed(Path(__file__).with_name("language_model.npz"), **arrays)


if __name__ == "__main__":
    main()
