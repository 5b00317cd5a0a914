"""Freeze what PyTorch, JAX and HIPS autograd say about the primitives, in primitives.npz beside this file.

    python make_primitives.py

Run it once in each environment that has one of the libraries: it replaces the part of the libraries that it finds
and keeps the rest. The file was made with PyTorch 2.13.0, JAX 0.10.2 and autograd 1.9.1, NumPy 2.4, in float64.

What is in the file:

x.<letter>               the inputs, float64
torch.<name>.<k>.out     result of case k of the primitive, .g a random gradient for it, .<i> that of input i
ties.<name>              gradients of PyTorch where the case has ties
wild.<library>.<probe>   what the library does at a kink, a tie or a singular point
version.<library>        its version
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("primitives.npz")


def inputs() -> dict[str, np.ndarray]:
    """Small arrays without ties and kinks, rounded so that a reader can type them."""
    rng = np.random.default_rng(2026)
    return {
        "a": rng.normal(size=(3, 4)).round(2),
        "b": rng.normal(size=(3, 4)).round(2),
        "p": rng.uniform(0.5, 2.0, size=(3, 4)).round(2),
        "v": rng.normal(size=4).round(2),
        "w": rng.normal(size=3).round(2),
        "m": rng.normal(size=(4, 2)).round(2),
        "s": rng.normal(size=(2, 3, 4)).round(2),
        "t": rng.normal(size=(2, 4, 5)).round(2),
        "z": np.array([[2.0, 0.0, 3.0, -1.0], [0.0, 0.5, 0.0, 2.0], [1.5, -2.0, 0.25, 3.0]]),
        "ties": np.array([[2.0, 1.0, 2.0, 0.0], [3.0, 3.0, 3.0, 3.0], [0.0, -1.0, 0.0, 0.0]]),
    }


def torch_part(found: dict[str, np.ndarray]) -> None:
    import torch

    found["version.torch"] = np.array(torch.__version__.split("+")[0])
    T = torch
    rows = [0, 2, 2, 0, 2]
    mask = T.tensor([[True, False, True, True]] * 3)
    cases = [
        ("add", T.add, "a v"),
        ("subtract", T.sub, "a v"),
        ("multiply", T.mul, "a v"),
        ("divide", T.div, "a p"),
        ("negative", T.neg, "a"),
        ("power", T.pow, "p b"),
        ("power", lambda x: x**3, "a"),
        ("exp", T.exp, "a"),
        ("expm1", T.expm1, "a"),
        ("log", T.log, "p"),
        ("log1p", T.log1p, "p"),
        ("sqrt", T.sqrt, "p"),
        ("square", T.square, "a"),
        ("abs", T.abs, "a"),
        ("sin", T.sin, "a"),
        ("cos", T.cos, "a"),
        ("tanh", T.tanh, "a"),
        ("sigmoid", T.sigmoid, "a"),
        ("relu", T.relu, "a"),
        ("maximum", T.maximum, "a b"),
        ("minimum", T.minimum, "a b"),
        ("where", lambda x, y: T.where(mask, x, y), "a b"),
        ("clip", lambda x: T.clamp(x, -0.5, 0.9), "a"),
        ("matmul", T.matmul, "a m"),
        ("matmul", T.matmul, "s t"),
        ("matmul", T.matmul, "s m"),
        ("matmul", T.matmul, "w a"),
        ("dot", T.matmul, "a m"),
        ("dot", T.matmul, "s m"),
        ("outer", T.outer, "w v"),
        ("einsum", lambda x, y: T.einsum("ij,jk->ik", x, y), "a m"),
        ("einsum", lambda x, y: T.einsum("bij,bjk->bki", x, y), "s t"),
        ("einsum", lambda x, y, z: T.einsum("ij,j,i->", x, y, z), "a v w"),
        ("einsum", lambda x: T.einsum("ii->", x[:, :3]), "a"),
        ("einsum", lambda x: T.einsum("ij->i", x), "a"),
        ("einsum", lambda x, y: T.einsum("ij,ij->ij", x, y[:1]), "a b"),
        ("sum", lambda x: T.sum(x, 1), "a"),
        ("mean", lambda x: T.mean(x, 0, keepdim=True), "a"),
        ("var", lambda x: T.var(x, 1, correction=0), "a"),
        ("var", lambda x: T.var(x, 1, correction=1), "a"),
        ("max", lambda x: T.amax(x, 1), "a"),
        ("min", lambda x: T.amin(x, 0), "a"),
        ("prod", lambda x: T.prod(x, 1), "z"),
        ("logsumexp", lambda x: T.logsumexp(x, 1), "a"),
        ("cumsum", lambda x: T.cumsum(x, 1), "a"),
        ("getitem", lambda x: x[T.tensor(rows)], "a"),
        ("getitem", lambda x: x[1:, ::2], "a"),
        ("take", lambda x: T.index_select(x, 1, T.tensor(rows)), "a"),
        ("reshape", lambda x: T.reshape(x, (2, 6)), "a"),
        ("transpose", lambda x: T.permute(x, (2, 0, 1)), "s"),
        ("swapaxes", lambda x: T.transpose(x, 0, 2), "s"),
        ("moveaxis", lambda x: T.movedim(x, 0, 2), "s"),
        ("squeeze", lambda x: T.squeeze(x[:1], 0), "a"),
        ("expand_dims", lambda x: T.unsqueeze(x, 1), "a"),
        ("broadcast_to", lambda x: T.broadcast_to(x, (3, 4)), "v"),
        ("concatenate", lambda x, y: T.cat([x, y], 0), "a b"),
        ("stack", lambda x, y: T.stack([x, y], 1), "a b"),
        ("pad", lambda x: T.nn.functional.pad(x, (0, 2, 1, 1)), "a"),
        ("flip", lambda x: T.flip(x, (1,)), "a"),
    ]
    rng = np.random.default_rng(7)
    count: dict[str, int] = {}
    for name, function, letters in cases:
        k = count[name] = count.get(name, -1) + 1
        leaves = [T.tensor(found[f"x.{c}"], requires_grad=True) for c in letters.split()]
        out = function(*leaves)
        g = rng.normal(size=tuple(out.shape)).round(2)
        out.backward(T.tensor(g))
        found[f"torch.{name}.{k}.out"] = out.detach().numpy()
        found[f"torch.{name}.{k}.g"] = g
        for i, leaf in enumerate(leaves):
            found[f"torch.{name}.{k}.{i}"] = leaf.grad.numpy()

    for name, function in {
        "max": lambda x: T.amax(x, 1),
        "max_all": T.amax,
        "min": lambda x: T.amin(x, 1),
        "maximum": lambda x: T.maximum(x, x.detach()[:, [1, 0, 3, 2]]),
        "minimum": lambda x: T.minimum(x, x.detach()[:, [1, 0, 3, 2]]),
        "clip": lambda x: T.clamp(x, 0.0, 2.0),
        "abs": T.abs,
        "relu": T.relu,
    }.items():
        leaf = T.tensor(found["x.ties"], requires_grad=True)
        function(leaf).sum().backward()
        found[f"ties.{name}"] = leaf.grad.numpy()

    def gradient(function, *points):
        leaves = [T.tensor(point, dtype=T.float64, requires_grad=True) for point in points]
        function(*leaves).sum().backward()
        return np.concatenate([leaf.grad.numpy().ravel() for leaf in leaves])

    probes = {
        "max": gradient(T.max, [2.0, 1.0, 2.0]),
        "max_axis": gradient(lambda x: T.amax(x, 0), [2.0, 1.0, 2.0]),
        "max_position": gradient(lambda x: T.max(x, 0).values, [2.0, 1.0, 2.0]),
        "maximum": gradient(T.maximum, [1.0], [1.0]),
        "maximum_zero": gradient(lambda x: T.maximum(x, T.zeros(1, dtype=x.dtype)), [0.0]),
        "relu": gradient(T.relu, [0.0]),
        "relu_pair": gradient(lambda x: T.relu(x) - T.relu(-x), [-1.0, 0.0, 1.0]),
        "abs": gradient(T.abs, [0.0]),
        "clip": gradient(lambda x: T.clamp(x, 0.0, 1.0), [0.0, 0.5, 1.0]),
        "sqrt": gradient(T.sqrt, [0.0]),
        "norm": gradient(T.linalg.norm, [0.0, 0.0]),
        "norm_by_hand": gradient(lambda x: T.sqrt(T.sum(x * x)), [0.0, 0.0]),
        "power": gradient(T.pow, [0.0], [0.0]),
        "prod": gradient(T.prod, [2.0, 0.0, 3.0]),
        "logsumexp": gradient(lambda x: T.logsumexp(x, 0), [-np.inf, -np.inf]),
        "where_sqrt": gradient(lambda x: T.where(x > 0, T.sqrt(x), 0.0 * x), [0.0, 4.0]),
        "var": np.array([T.var(T.tensor([1.0, 2.0, 6.0])).item()]),
        "sum_dtype": np.array([str(T.tensor([1, 2], dtype=T.int32).sum().dtype).removeprefix("torch.")]),
    }
    found.update({f"wild.torch.{key}": value for key, value in probes.items()})


def array_library_part(found: dict[str, np.ndarray], library: str) -> None:
    """The same probes for a library that has NumPy's functions and a `grad`."""
    if library == "jax":
        import jax
        import jax.numpy as xp
        from jax import grad
        from jax.nn import relu
        from jax.scipy.special import logsumexp

        version, var, int32 = jax.__version__, xp.var, xp.int32
        sum_dtype = str(xp.sum(xp.array([1, 2], dtype=int32)).dtype)  # before float64 is switched on
        jax.config.update("jax_enable_x64", True)
    else:
        from importlib.metadata import version as version_of

        import autograd.numpy as xp
        from autograd import grad
        from autograd.scipy.special import logsumexp

        version, var = version_of("autograd"), xp.var

        def relu(x):
            return xp.maximum(x, 0.0)

        sum_dtype = str(xp.sum(xp.array([1, 2], dtype=xp.int32)).dtype)

    found[f"version.{library}"] = np.array(version)

    def gradient(function, *points):
        arrays = [xp.array(point, dtype=xp.float64) for point in points]
        loss = lambda *x: xp.sum(function(*x))  # noqa: E731
        with np.errstate(all="ignore"):
            parts = [grad(loss, i)(*arrays) for i in range(len(arrays))]
        return np.concatenate([np.asarray(part).ravel() for part in parts])

    probes = {
        "max": gradient(xp.max, [2.0, 1.0, 2.0]),
        "max_axis": gradient(lambda x: xp.max(x, axis=0), [2.0, 1.0, 2.0]),
        "max_position": gradient(lambda x: xp.max(x, axis=0), [2.0, 1.0, 2.0]),
        "maximum": gradient(xp.maximum, [1.0], [1.0]),
        "maximum_zero": gradient(lambda x: xp.maximum(x, 0.0), [0.0]),
        "relu": gradient(relu, [0.0]),
        "relu_pair": gradient(lambda x: relu(x) - relu(-x), [-1.0, 0.0, 1.0]),
        "abs": gradient(xp.abs, [0.0]),
        "clip": gradient(lambda x: xp.clip(x, 0.0, 1.0), [0.0, 0.5, 1.0]),
        "sqrt": gradient(xp.sqrt, [0.0]),
        "norm": gradient(xp.linalg.norm, [0.0, 0.0]),
        "norm_by_hand": gradient(lambda x: xp.sqrt(xp.sum(x * x)), [0.0, 0.0]),
        "power": gradient(lambda x, y: x**y, [0.0], [0.0]),
        "prod": gradient(xp.prod, [2.0, 0.0, 3.0]),
        "logsumexp": gradient(logsumexp, [-np.inf, -np.inf]),
        "where_sqrt": gradient(lambda x: xp.where(x > 0, xp.sqrt(x), 0.0 * x), [0.0, 4.0]),
        "var": np.array([float(var(xp.array([1.0, 2.0, 6.0])))]),
        "sum_dtype": np.array([sum_dtype]),
    }
    found.update({f"wild.{library}.{key}": value for key, value in probes.items()})


def main() -> None:
    found: dict[str, np.ndarray] = {}
    if FILE.exists():
        with np.load(FILE, allow_pickle=False) as old:
            found.update(old)
    found.update({f"x.{letter}": array for letter, array in inputs().items()})
    for library in ("torch", "jax", "autograd"):
        try:
            __import__(library)
        except ImportError:
            print(f"{library}: not installed here, its part stays as it was")
            continue
        if library == "torch":
            torch_part(found)
        else:
            array_library_part(found, library)
        print(f"{library} {found[f'version.{library}']}")
    np.savez_compressed(FILE, **dict(sorted(found.items())))
    print(f"{FILE.name}: {len(found)} arrays, {FILE.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
