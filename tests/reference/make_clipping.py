"""Write clipping.npz: norms and clipped gradients of PyTorch 2.13 and Optax 0.2.8, for the chapter clipping.

    python tests/reference/make_clipping.py      in an environment with PyTorch, JAX and Optax

Readers need none of them: chapter and tests only load the file.
"""

from pathlib import Path

import numpy as np

NORMS = (0.5, 1.0, 2.0, 3.0, np.inf)
SHAPES = [(4, 3), (7,), (2, 3, 1, 2), ()]
MAX_NORM, CLIP_VALUE = 0.7, 0.4


def main() -> None:
    import jax
    import optax
    import torch

    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(0)
    arrays: dict[str, object] = {}
    for dtype in ("float64", "float32"):
        sizes = zip(SHAPES, (0, -2, 1, 0), strict=True)
        gradients = [np.asarray(rng.normal(size=shape) * 10.0**k, dtype) for shape, k in sizes]
        arrays |= {f"{dtype}_{i}": g for i, g in enumerate(gradients)}

        def tensors(given: list[np.ndarray] = gradients) -> list[torch.Tensor]:
            params = [torch.zeros(g.shape, dtype=getattr(torch, str(g.dtype)), requires_grad=True) for g in given]
            for p, g in zip(params, given, strict=True):
                p.grad = torch.tensor(g)
            return params

        for p in NORMS:
            for name, limit in (("clipped", MAX_NORM), ("kept", 1e6)):
                params = tensors()
                length = torch.nn.utils.clip_grad_norm_(params, limit, norm_type=p)
                arrays |= {f"{dtype}_{name}_{p}_{i}": t.grad.numpy().copy() for i, t in enumerate(params)}
            arrays[f"{dtype}_norm_{p}"] = length.numpy().copy()
        params = tensors()
        torch.nn.utils.clip_grad_value_(params, CLIP_VALUE)
        arrays |= {f"{dtype}_value_{i}": t.grad.numpy().copy() for i, t in enumerate(params)}
        clip = optax.clip_by_global_norm(MAX_NORM)
        updates, _ = clip.update([jax.numpy.asarray(g) for g in gradients], clip.init(None))
        arrays |= {f"{dtype}_optax_{i}": np.asarray(u) for i, u in enumerate(updates)}

    # what becomes of an infinite and of a NaN gradient; and of the same parameter named twice
    for name, bad in (("inf", np.inf), ("nan", np.nan)):
        p = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        p.grad = torch.tensor([1.0, -2.0, bad], dtype=torch.float64)
        arrays[f"{name}_norm"] = torch.nn.utils.clip_grad_norm_([p], 1.0).numpy().copy()
        arrays[f"{name}_clipped"] = p.grad.numpy().copy()
        clip = optax.clip_by_global_norm(1.0)
        arrays[f"{name}_optax"] = np.asarray(clip.update(jax.numpy.array([1.0, -2.0, bad]), clip.init(None))[0])
    p = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    p.grad = torch.tensor([3.0, 4.0], dtype=torch.float64)
    arrays["twice_norm"] = torch.nn.utils.clip_grad_norm_([p, p], 1.0).numpy().copy()
    arrays["twice_clipped"] = p.grad.numpy().copy()
    np.savez_compressed(Path(__file__).with_name("clipping.npz"), **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
