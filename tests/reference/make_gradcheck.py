"""Write gradcheck.npz: what PyTorch 2.13 and JAX 0.10 answer to the questions of the chapter gradcheck.

    python tests/reference/make_gradcheck.py torch      in an environment with PyTorch 2.13
    python tests/reference/make_gradcheck.py jax        in an environment with JAX 0.10, afterwards: adds its part

Readers need neither: the chapter only loads the file.
"""

import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("gradcheck.npz")

# The gradient of tanh, wrong by these factors 1 + e. Finer than a factor of 2 around each tolerance.
ERRORS = np.array([1e-6, 5e-6, 2e-5, 1e-4, 5e-4, 2e-3, 5e-3, 2e-2])
POINT = np.array([0.3, -0.5, 0.8])


def torch_answers() -> dict[str, np.ndarray]:
    import torch

    class Scaled(torch.autograd.Function):
        """tanh whose gradient is wrong by a factor."""

        @staticmethod
        def forward(ctx, x, factor):
            out = torch.tanh(x)
            ctx.save_for_backward(out)
            ctx.factor = factor
            return out

        @staticmethod
        def backward(ctx, g):
            (out,) = ctx.saved_tensors
            return ctx.factor * g * (1 - out * out), None

    def passes(function, point, **options):
        return torch.autograd.gradcheck(function, (point,), raise_exception=False, **options)

    x = torch.tensor(POINT, dtype=torch.float64, requires_grad=True)
    verdicts = {
        name: [passes(lambda x, e=e: Scaled.apply(x, 1 + e), x, **options) for e in ERRORS]
        for name, options in (("torch", {}), ("torch_fast", {"fast_mode": True}))
    }

    # A correct gradient of a float32 point, with the defaults that are made for float64 (it warns, too).
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        single = passes(torch.tanh, torch.tensor(POINT, dtype=torch.float32, requires_grad=True))

    kinks = [
        passes(function, torch.zeros(1, dtype=torch.float64, requires_grad=True))
        for function in (torch.relu, torch.abs)
    ]

    rng = np.random.default_rng(0)
    X, gamma, weights = rng.normal(size=(6, 3)), rng.normal(size=3), rng.normal(size=(6, 3))
    leaves = [torch.tensor(a, requires_grad=True) for a in (X, gamma)]
    normal = (leaves[0] - leaves[0].mean(0)) / torch.sqrt(leaves[0].var(0, unbiased=False) + 1e-5) * leaves[1]
    (normal * torch.tensor(weights)).sum().backward()
    return {
        "torch_version": np.array(torch.__version__),
        "errors": ERRORS,
        "point": POINT,
        **{name: np.array(found) for name, found in verdicts.items()},
        "torch_float32": np.array(single),
        "torch_kinks": np.array(kinks),
        "X": X,
        "gamma": gamma,
        "weights": weights,
        "grad_X": leaves[0].grad.numpy(),
        "grad_gamma": leaves[1].grad.numpy(),
    }


def jax_answers() -> dict[str, np.ndarray]:
    import jax
    import jax.numpy as jnp
    from jax.test_util import check_grads

    def scaled(factor):
        @jax.custom_vjp
        def f(x):
            return jnp.tanh(x)

        f.defvjp(lambda x: (jnp.tanh(x), jnp.tanh(x)), lambda out, g: (factor * g * (1 - out * out),))
        return f

    def passes(e, dtype):
        try:
            check_grads(scaled(1 + e), (jnp.asarray(POINT, dtype),), order=1, modes=["rev"])
        except AssertionError:
            return False
        return True

    answers = {"jax_version": np.array(jax.__version__)}
    answers["jax32"] = np.array([passes(e, jnp.float32) for e in ERRORS])
    jax.config.update("jax_enable_x64", True)
    answers["jax64"] = np.array([passes(e, jnp.float64) for e in ERRORS])
    return answers


if __name__ == "__main__":
    if sys.argv[1:] == ["torch"]:
        stored = torch_answers()
    elif sys.argv[1:] == ["jax"]:
        with np.load(FILE) as before:
            stored = {**before, **jax_answers()}
    else:
        sys.exit(__doc__)
    np.savez_compressed(FILE, **stored)
    for key, value in stored.items():
        print(key, value.shape, value.dtype, value if value.size < 10 else "")
