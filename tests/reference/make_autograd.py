"""Write `autograd.npz`: what PyTorch 2.13.0 gives for every case of `tests/autograd/cases.py`, in float64.

Run from the root of the repository where PyTorch is installed: ``python tests/reference/make_autograd.py``.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.autograd.cases import CASES, KINKS, Case


def run(case: Case) -> tuple[list[np.ndarray], str]:
    """Inputs, weights, result and gradients of one case, and the shape of the result."""
    import torch

    inputs = [torch.tensor(a, requires_grad=True) for a in case.inputs()]
    names = {"torch": torch, "F": torch.nn.functional, **dict(zip("xyz", inputs, strict=False))}
    out = eval(case.torch, names)
    weights = case.weights(tuple(out.shape))
    (out * torch.tensor(weights)).sum().backward()
    gradients = [torch.zeros_like(x) if x.grad is None else x.grad for x in inputs]
    arrays = [*case.inputs(), weights, out.detach().numpy(), *(g.numpy() for g in gradients)]
    return arrays, "x".join(map(str, out.shape))


def main() -> None:
    """Everything in one long array, with the place where each case ends."""
    import torch

    values, ends, shapes = [], [0], []
    for case in [*CASES, *KINKS]:
        try:
            arrays, shape = run(case)
        except Exception as error:
            raise RuntimeError(case.id) from error
        values += [a.ravel() for a in arrays]
        ends.append(ends[-1] + sum(a.size for a in arrays))
        shapes.append(shape)
    np.savez_compressed(
        Path(__file__).with_name("autograd.npz"),
        ids=[case.id for case in [*CASES, *KINKS]],
        shapes=shapes,
        ends=ends[1:],
        values=np.concatenate(values),
        made_with=f"PyTorch {torch.__version__}",
    )


if __name__ == "__main__":
    main()
