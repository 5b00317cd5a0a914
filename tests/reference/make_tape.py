"""Writes tape.npz, the reference of the chapter `tape`: numbers and messages of PyTorch and of JAX.

    python tests/reference/make_tape.py torch    needs PyTorch; was run with 2.13.0
    python tests/reference/make_tape.py jax      needs JAX; was run with 0.10.2

Each run replaces the entries of its library and leaves those of the other. Readers need neither.
"""

import sys
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("tape.npz")


def inputs():
    """The arrays of a small network with 8 inputs, 6 hidden units and 4 classes, on a batch of 5."""
    rng = np.random.default_rng(2026)
    return {
        "X": rng.normal(size=(5, 8)),
        "y": np.array([0, 3, 1, 3, 2], dtype=np.int64),
        "W1": rng.normal(0, 0.5, (8, 6)),
        "b1": rng.normal(0, 0.5, 6),
        "W2": rng.normal(0, 0.5, (6, 4)),
        "b2": rng.normal(0, 0.5, 4),
        "column": rng.normal(size=(3, 1)),
        "row": rng.normal(size=4),
        "start": np.array([0.3, -1.1]),
    }


def message(call):
    """What the error says that `call` raises."""
    try:
        call()
    except (RuntimeError, TypeError) as error:
        return np.array(str(error).strip())
    raise AssertionError("expected an error")


def from_torch():
    import torch

    given = inputs()
    leaves = {k: torch.tensor(v, requires_grad=v.dtype == np.float64) for k, v in given.items()}
    found = {f"input_{k}": v for k, v in given.items()} | {"torch_version": np.array(torch.__version__)}

    # The network: fan-out of the logits, broadcasting of the biases.
    z = torch.tanh(leaves["X"] @ leaves["W1"] + leaves["b1"]) @ leaves["W2"] + leaves["b2"]
    loss = (torch.log(torch.exp(z).sum(dim=1)) - z[torch.arange(5), leaves["y"]]).mean()
    loss.backward()
    found["torch_loss"] = loss.detach().numpy()
    for k in ("X", "W1", "b1", "W2", "b2"):
        found[f"torch_grad_{k}"] = leaves[k].grad.numpy()

    # A column against a row, both used three times.
    column, row = leaves["column"], leaves["row"]
    table = torch.exp(torch.sin(column * row) - row) + column
    (table * table).sum().backward()
    found["torch_grad_column"], found["torch_grad_row"] = column.grad.numpy(), row.grad.numpy()

    # Twenty steps of a map that uses its argument twice.
    x = leaves["start"]
    for _ in range(20):
        x = x * torch.cos(x) + 0.1
    x.sum().backward()
    found["torch_grad_start"] = leaves["start"].grad.numpy()

    # The example of the chapter: gradient, nodes in the order of their sequence numbers, second backward.
    x = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    x1, x2 = x[0], x[1]
    f = x1 * x2 + torch.sin(x1)
    waiting, nodes = [f.grad_fn], {}
    while waiting:
        node = waiting.pop()
        if node.name() != "torch::autograd::AccumulateGrad":
            nodes[node._sequence_nr()] = node.name()
            waiting += [parent for parent, _ in node.next_functions if parent is not None]
    first = min(nodes)
    found["torch_nodes"] = np.array([f"{number - first}  {nodes[number]}" for number in sorted(nodes)])
    f.backward()
    found["torch_grad_example"] = x.grad.numpy().copy()
    found["torch_second_backward"] = message(f.backward)

    # Nothing is saved for a sum, so nothing is missed the second time.
    a = torch.tensor(1.0, requires_grad=True)
    total = (a + a).sum()
    total.backward()
    total.backward()
    found["torch_grad_sum_twice"] = a.grad.numpy()

    # A saved tensor, changed in place.
    w, data = torch.ones(3, requires_grad=True), torch.tensor([1.0, 2.0, 3.0])
    loss = (w * data).sum()
    data.mul_(10)
    found["torch_changed"] = message(loss.backward)
    found["torch_vector"] = message(lambda: (torch.ones(3, requires_grad=True) * 2).backward())
    return found


def from_jax():
    import jax
    import jax.numpy as jnp

    def f(x1, x2):
        return x1 * x2 + jnp.sin(x1)

    _, vjp = jax.vjp(f, 2.0, 3.0)
    return {
        "jax_version": np.array(jax.__version__),
        "jax_jaxpr": np.array(str(jax.make_jaxpr(f)(2.0, 3.0))),
        "jax_vjp_first": np.array(vjp(1.0)),
        "jax_vjp_second": np.array(vjp(1.0)),
        "jax_vector": message(lambda: jax.grad(lambda x: x * 2)(jnp.ones(3))),
    }


if __name__ == "__main__":
    library = sys.argv[1]
    stored = dict(np.load(FILE)) if FILE.is_file() else {}
    stored = {k: v for k, v in stored.items() if not k.startswith(library)}
    stored |= {"torch": from_torch, "jax": from_jax}[library]()
    np.savez_compressed(FILE, **{k: stored[k] for k in sorted(stored)})
    print(f"{FILE.name}: {len(stored)} arrays, {FILE.stat().st_size} bytes")
