"""Write lars.npz: trajectories of LARS in Optax 0.2.8, in float64 and without decay, for the chapter lars.

    python tests/reference/make_lars.py      in an environment with JAX and Optax

Readers need neither: the chapter only loads the file. Optax takes the norm of gradient plus decay, the paper the sum of
their norms, hence no decay.
"""

from pathlib import Path

import numpy as np

STEPS, LR, TRUST, MOMENTUM = 25, 0.5, 0.02, 0.9
SHAPES = [(4, 3), (2, 3, 2), (5,)]


def main() -> None:
    import jax
    import optax

    jax.config.update("jax_enable_x64", True)
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=shape) for shape in SHAPES]
    starts[2][:] = 0.0  # the ratio of a norm of zero
    gradients = [rng.normal(size=(STEPS, *s)) * 10.0**k for s, k in zip(SHAPES, (1, -3, 0), strict=True)]
    arrays = {f"start{i}": start for i, start in enumerate(starts)}
    arrays |= {f"gradient{i}": g for i, g in enumerate(gradients)}

    for name, nesterov in (("plain", False), ("nesterov", True)):
        rule = optax.lars(LR, trust_coefficient=TRUST, eps=0.0, momentum=MOMENTUM, nesterov=nesterov)
        params = [jax.numpy.asarray(start) for start in starts]
        state, path = rule.init(params), []
        for t in range(STEPS):
            updates, state = rule.update([jax.numpy.asarray(g[t]) for g in gradients], state, params)
            params = optax.apply_updates(params, updates)
            path.append(np.concatenate([np.asarray(p).reshape(-1) for p in params]))
        arrays[name] = np.array(path)
    np.savez_compressed(Path(__file__).with_name("lars.npz"), **arrays)


if __name__ == "__main__":
    main()
