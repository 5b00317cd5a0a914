"""Write adamw.npz: trajectories of AdamW in PyTorch 2.13 and Optax 0.2.8, in float64, for the chapter adamw.

    python tests/reference/make_adamw.py      in an environment with PyTorch, JAX and Optax

Readers need none of them: the chapter only loads the file.
"""

from pathlib import Path

import numpy as np

STEPS, SIZE, LR, DECAY = 20, 5, 0.05, 0.2


def main() -> None:
    import jax
    import optax
    import torch

    rng = np.random.default_rng(0)
    start = rng.normal(size=SIZE)
    gradients = rng.normal(size=(STEPS, SIZE)) * 10.0 ** np.arange(-3, 2)

    w = torch.tensor(start, requires_grad=True)
    optimizer, torch_path = torch.optim.AdamW([w], lr=LR, weight_decay=DECAY), []
    for g in gradients:
        w.grad = torch.tensor(g)
        optimizer.step()
        torch_path.append(w.detach().numpy().copy())

    jax.config.update("jax_enable_x64", True)
    rule, optax_path = optax.adamw(LR, weight_decay=DECAY), []
    p = jax.numpy.asarray(start)
    state = rule.init(p)
    for g in gradients:
        updates, state = rule.update(jax.numpy.asarray(g), state, p)
        p = optax.apply_updates(p, updates)
        optax_path.append(np.asarray(p))

    np.savez_compressed(
        Path(__file__).with_name("adamw.npz"),
        start=start,
        gradients=gradients,
        torch=np.array(torch_path),
        optax=np.array(optax_path),
    )


if __name__ == "__main__":
    main()
