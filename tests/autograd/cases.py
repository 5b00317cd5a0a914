"""The table of test cases: for every primitive what to compute, the same in PyTorch, and inputs.

Each case is (expression, PyTorch's expression, inputs...), with x, y, z for the inputs. An input is a
shape, filled with normal random numbers, or an array. `CASES` are smooth at their inputs; `KINKS`
are where the derivative jumps and the convention is PyTorch's. PyTorch's results stand in
`tests/reference/autograd.npz`, made by `tests/reference/make_autograd.py`.
"""

import gc
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from odyssey import Tensor, ops
from odyssey.autograd import PRIMITIVES


class Case(NamedTuple):
    """One call of a primitive."""

    name: str
    ours: str
    torch: str
    specs: tuple[Any, ...]

    @property
    def id(self) -> str:
        shapes = ";".join("x".join(map(str, np.shape(a) if isinstance(a, np.ndarray) else a)) for a in self.specs)
        return f"{self.name}: {self.ours} [{shapes}]"

    def inputs(self) -> list[np.ndarray]:
        """The inputs as new float64 arrays, the same at every call."""
        rng = np.random.default_rng(zlib.crc32(self.id.encode()))
        return [np.array(a) if isinstance(a, np.ndarray) else np.asarray(rng.standard_normal(a)) for a in self.specs]

    def weights(self, shape: tuple[int, ...]) -> np.ndarray:
        """What multiplies the result before it is summed, so that no two elements count alike."""
        rng = np.random.default_rng(zlib.crc32(self.id.encode()) + 1)
        return np.asarray(rng.uniform(0.5, 1.5, shape) * rng.choice([-1.0, 1.0], shape))

    def run(self, *inputs: Any) -> Tensor:
        """Our result for `inputs`, Tensors or arrays."""
        return eval(self.ours, {"np": np, "ops": ops}, dict(zip("xyz", inputs, strict=False)))


def check_freed(forward: Callable[[], list[Any]]) -> None:
    """What the weak references that `forward` returns point at is gone, without the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        refs = forward()
        assert len(refs) > 100 and not any(ref() is not None for ref in refs)
        assert gc.collect() == 0
    finally:
        gc.enable()


def primitives_of(package: str) -> dict[str, Any]:
    """The primitives that `package` has registered; other packages and tests register theirs in the same table."""
    return {name: f for name, f in PRIMITIVES.items() if f"{f.__module__}.".startswith(f"{package}.")}


def positive(*shape: int) -> np.ndarray:
    """Between 0.5 and 2."""
    return np.asarray(np.random.default_rng(len(shape) + sum(shape)).uniform(0.5, 2.0, shape))


def distinct(*shape: int) -> np.ndarray:
    """Multiples of 0.25, all different, none of them 0: no two are near a tie."""
    n = int(np.prod(shape))
    return np.asarray((np.random.default_rng(n).permutation(n).reshape(shape) - n // 2 + 0.5) / 4)


def table(rows: dict[str, list[tuple[Any, ...]]]) -> list[Case]:
    """The cases of a table of names and rows."""
    return [Case(name, ours, torch, tuple(specs)) for name, cases in rows.items() for ours, torch, *specs in cases]


PAIRS: list[tuple[Any, ...]] = [((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (1, 4)), ((), (3,)), ((2, 1, 3), (4, 1))]
ZEROS = np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 1.5], [1.0, -2.0, 0.5]])
TIES = np.array([[1.0, 3.0, 3.0, 3.0], [2.0, 2.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0]])


def binary(expression: str, *, second: Any = None) -> list[tuple[Any, ...]]:
    """Rows for every pair of shapes that broadcast; `second` makes the second input."""
    return [(expression, expression, a, second(*b) if second else b) for a, b in PAIRS]


def unary(ours: str, torch: str, make: Any = lambda *shape: shape) -> list[tuple[Any, ...]]:
    """Rows for several numbers of axes."""
    return [(ours, torch, make(*shape)) for shape in [(3, 4), (), (5,), (2, 1, 3)]]


CASES = table(
    {
        "add": [*binary("x + y"), ("x + x", "x + x", (3,)), ("2.5 + x", "2.5 + x", (3,)), ("x + 2", "x + 2", (3,))],
        "subtract": [*binary("x - y"), ("2.5 - x", "2.5 - x", (3,)), ("x - 2", "x - 2", (3,))],
        "multiply": [*binary("x * y"), ("x * x", "x * x", (3,)), ("2.5 * x", "2.5 * x", (3,)), ("x * 3", "x * 3", ())],
        "divide": [*binary("x / y", second=positive), ("2.5 / x", "2.5 / x", positive(3)), ("x / 3", "x / 3", (3,))],
        "negative": unary("-x", "-x"),
        "power": [
            *[("x ** y", "x ** y", positive(*a), b) for a, b in PAIRS],
            *[(f"x ** {p}", f"x ** {p}", positive(2, 3)) for p in (2, 3, 2.5, -1, 0, 1, 0.5, 4)],
            ("x ** 2", "x ** 2", (3, 2)),
            ("x ** 3", "x ** 3", (3, 2)),
            ("x ** 5", "x ** 5", (2, 3)),
            ("2.0 ** x", "2.0 ** x", (2, 3)),
            ("x ** x", "x ** x", positive(4)),
        ],
        "exp": unary("ops.exp(x)", "x.exp()"),
        "expm1": unary("ops.expm1(x)", "x.expm1()"),
        "log": unary("ops.log(x)", "x.log()", positive),
        "log1p": unary("ops.log1p(x)", "x.log1p()", positive),
        "sqrt": unary("ops.sqrt(x)", "x.sqrt()", positive),
        "square": unary("ops.square(x)", "x.square()"),
        "abs": unary("ops.abs(x)", "x.abs()", distinct),
        "sin": unary("ops.sin(x)", "x.sin()"),
        "cos": unary("ops.cos(x)", "x.cos()"),
        "tanh": unary("ops.tanh(x)", "x.tanh()"),
        "sigmoid": [
            *unary("ops.sigmoid(x)", "x.sigmoid()"),
            ("ops.sigmoid(x)", "x.sigmoid()", np.array([-30.0, -5.0, 0.0, 5.0])),
        ],
        "relu": unary("ops.relu(x)", "x.relu()", distinct),
        "maximum": [*[("ops.maximum(x, y)", "torch.maximum(x, y)", a, b) for a, b in PAIRS]],
        "minimum": [*[("ops.minimum(x, y)", "torch.minimum(x, y)", a, b) for a, b in PAIRS]],
        "where": [
            ("ops.where(np.eye(3, dtype=bool), x, y)", "torch.where(torch.eye(3).bool(), x, y)", (3, 3), (3, 3)),
            ("ops.where(np.eye(3, dtype=bool), x, y)", "torch.where(torch.eye(3).bool(), x, y)", (3,), (3, 1)),
            ("ops.where(np.eye(3, dtype=bool), x, 0.0)", "torch.where(torch.eye(3).bool(), x, 0.0)", (3,)),
            ("ops.where(np.eye(3, dtype=bool), 1, x)", "torch.where(torch.eye(3).bool(), 1.0, x)", ()),
            ("ops.where(True, x, y)", "torch.where(torch.tensor(True), x, y)", (2, 1), (3,)),
        ],
        "clip": [
            ("ops.clip(x, -0.7, 0.7)", "x.clip(-0.7, 0.7)", distinct(3, 4)),
            ("ops.clip(x, None, 0.7)", "x.clip(None, 0.7)", distinct(3, 4)),
            ("ops.clip(x, min=-0.7)", "x.clip(min=-0.7)", distinct(3, 4)),
            (
                "ops.clip(x, np.array([-0.25, 0.5, 0.75]), 1)",
                "x.clip(torch.tensor([-0.25, 0.5, 0.75]), torch.tensor(1))",
                distinct(2, 1),
            ),
        ],
        "sum": [
            ("ops.sum(x)", "x.sum()", (2, 3, 4)),
            ("ops.sum(x)", "x.sum()", ()),
            ("ops.sum(x, axis=0)", "x.sum(0)", (2, 3, 4)),
            ("ops.sum(x, axis=-2, keepdims=True)", "x.sum(-2, True)", (2, 3, 4)),
            ("ops.sum(x, axis=(0, -1))", "x.sum((0, -1))", (2, 3, 4)),
            ("ops.sum(x, axis=())", "x * 1", (2, 3)),
            ("ops.sum(x, keepdims=True)", "x.sum((0, 1), True)", (2, 3)),
        ],
        "mean": [
            ("ops.mean(x)", "x.mean()", (2, 3, 4)),
            ("ops.mean(x, axis=1)", "x.mean(1)", (2, 3, 4)),
            ("ops.mean(x, axis=(-1, 0), keepdims=True)", "x.mean((-1, 0), True)", (2, 3, 4)),
            ("ops.mean(x)", "x.mean()", ()),
        ],
        "var": [
            ("ops.var(x)", "x.var(correction=0)", (2, 3, 4)),
            ("ops.var(x, axis=1)", "x.var(1, correction=0)", (2, 3, 4)),
            ("ops.var(x, axis=1, ddof=1)", "x.var(1)", (2, 3, 4)),
            (
                "ops.var(x, axis=(0, -1), ddof=2, keepdims=True)",
                "x.var((0, -1), correction=2, keepdim=True)",
                (2, 3, 4),
            ),
        ],
        "max": [
            ("ops.max(x)", "x.amax()", distinct(2, 3, 4)),
            ("ops.max(x, axis=-1)", "x.amax(-1)", distinct(2, 3, 4)),
            ("ops.max(x, axis=(0, 2), keepdims=True)", "x.amax((0, 2), True)", distinct(2, 3, 4)),
            ("ops.max(x)", "x.amax()", ()),
        ],
        "min": [
            ("ops.min(x)", "x.amin()", distinct(2, 3, 4)),
            ("ops.min(x, axis=-1)", "x.amin(-1)", distinct(2, 3, 4)),
            ("ops.min(x, axis=(0, 2), keepdims=True)", "x.amin((0, 2), True)", distinct(2, 3, 4)),
        ],
        "prod": [
            ("ops.prod(x)", "x.prod()", (2, 3)),
            ("ops.prod(x)", "x.prod()", ()),
            ("ops.prod(x, axis=-1)", "x.prod(-1)", (2, 3, 4)),
            (
                "ops.prod(x, axis=(0, -1), keepdims=True)",
                "x.transpose(0, 1).flatten(1).prod(1).reshape(1, 3, 1)",
                (2, 3, 4),
            ),
            ("ops.prod(x, axis=0)", "x.prod(0)", ZEROS),
            ("ops.prod(x, axis=1)", "x.prod(1)", ZEROS),
            ("ops.prod(x)", "x.prod()", ZEROS[:1]),
        ],
        "logsumexp": [
            ("ops.logsumexp(x)", "x.flatten().logsumexp(0)", (2, 3, 4)),
            ("ops.logsumexp(x, axis=-1)", "x.logsumexp(-1)", (2, 3, 4)),
            ("ops.logsumexp(x, axis=(0, 2), keepdims=True)", "x.logsumexp((0, 2), True)", (2, 3, 4)),
            ("ops.logsumexp(x, axis=0)", "x.logsumexp(0)", np.array([[1000.0, -1000.0], [999.0, -1002.0]])),
        ],
        "cumsum": [
            ("ops.cumsum(x)", "x.flatten().cumsum(0)", (2, 3)),
            ("ops.cumsum(x, axis=0)", "x.cumsum(0)", (2, 3)),
            ("ops.cumsum(x, axis=-2)", "x.cumsum(-2)", (2, 3, 4)),
            ("ops.cumsum(x)", "x.reshape(1)", ()),
        ],
        "reshape": [
            ("ops.reshape(x, (4, 6))", "x.reshape(4, 6)", (2, 3, 4)),
            ("ops.reshape(x, -1)", "x.reshape(-1)", (2, 3)),
            ("ops.reshape(x, (1, -1, 2))", "x.reshape(1, -1, 2)", (4, 3)),
            ("ops.reshape(x, ())", "x.reshape(())", (1, 1)),
        ],
        "transpose": [
            ("ops.transpose(x)", "x.permute(2, 1, 0)", (2, 3, 4)),
            ("ops.transpose(x, (1, 2, 0))", "x.permute(1, 2, 0)", (2, 3, 4)),
            ("ops.transpose(x, (-1, 0, -2))", "x.permute(-1, 0, -2)", (2, 3, 4)),
            ("ops.transpose(x)", "x * 1", ()),
        ],
        "swapaxes": [
            ("ops.swapaxes(x, 0, -1)", "x.swapaxes(0, -1)", (2, 3, 4)),
            ("ops.swapaxes(x, 1, 1)", "x * 1", (2, 3)),
        ],
        "moveaxis": [
            ("ops.moveaxis(x, 0, -1)", "x.moveaxis(0, -1)", (2, 3, 4)),
            ("ops.moveaxis(x, (0, 1), (-1, 0))", "x.moveaxis((0, 1), (-1, 0))", (2, 3, 4)),
        ],
        "squeeze": [
            ("ops.squeeze(x)", "x.squeeze()", (1, 3, 1)),
            ("ops.squeeze(x, -1)", "x.squeeze(-1)", (1, 3, 1)),
            ("ops.squeeze(x, axis=(0, 2))", "x.squeeze((0, 2))", (1, 3, 1)),
        ],
        "expand_dims": [
            ("ops.expand_dims(x, 1)", "x.unsqueeze(1)", (2, 3)),
            ("ops.expand_dims(x, (0, -1))", "x.unsqueeze(0).unsqueeze(-1)", (2, 3)),
            ("ops.expand_dims(x, 0)", "x.unsqueeze(0)", ()),
        ],
        "broadcast_to": [
            ("ops.broadcast_to(x, (4, 2, 3))", "x.broadcast_to((4, 2, 3))", (2, 1)),
            ("ops.broadcast_to(x, (2, 3))", "x.broadcast_to((2, 3))", ()),
            ("ops.broadcast_to(x, 3)", "x.broadcast_to((3,))", (1,)),
        ],
        "concatenate": [
            ("ops.concatenate([x, y], axis=0)", "torch.cat([x, y])", (2, 3), (1, 3)),
            ("ops.concatenate((x, y, x), axis=-1)", "torch.cat([x, y, x], -1)", (2, 3), (2, 1)),
            ("ops.concatenate([x, y], axis=None)", "torch.cat([x.flatten(), y.flatten()])", (2, 3), (4,)),
            ("ops.concatenate([x, np.ones((1, 3))])", "torch.cat([x, torch.ones(1, 3).double()])", (2, 3)),
        ],
        "stack": [
            ("ops.stack([x, y, x])", "torch.stack([x, y, x])", (2, 3), (2, 3)),
            ("ops.stack([x, y], axis=-1)", "torch.stack([x, y], -1)", (2, 3), (2, 3)),
            ("ops.stack([x, y], axis=1)", "torch.stack([x, y], 1)", (2, 3), (2, 3)),
            ("ops.stack([x, y])", "torch.stack([x, y])", (), ()),
        ],
        "pad": [
            ("ops.pad(x, 1)", "F.pad(x, (1, 1, 1, 1))", (2, 3)),
            ("ops.pad(x, (1, 2))", "F.pad(x, (1, 2, 1, 2))", (2, 3)),
            ("ops.pad(x, ((0, 1), (2, 0)), constant_values=1.5)", "F.pad(x, (2, 0, 0, 1), value=1.5)", (2, 3)),
        ],
        "flip": [
            ("ops.flip(x)", "x.flip((0, 1))", (2, 3)),
            ("ops.flip(x, -1)", "x.flip(-1)", (2, 3)),
            ("ops.flip(x, (0, 2))", "x.flip((0, 2))", (2, 3, 4)),
        ],
        "matmul": [
            ("x @ y", "x @ y", (2, 3), (3, 4)),
            ("x @ y", "x @ y", (3,), (3,)),
            ("x @ y", "x @ y", (3,), (3, 4)),
            ("x @ y", "x @ y", (2, 3), (3,)),
            ("x @ y", "x @ y", (5, 2, 3), (3, 4)),
            ("x @ y", "x @ y", (2, 3), (5, 3, 4)),
            ("x @ y", "x @ y", (5, 1, 2, 3), (4, 3, 2)),
            ("x @ y", "x @ y", (3,), (5, 3, 4)),
            ("x @ y", "x @ y", (5, 2, 3), (3,)),
            ("x @ y", "x @ y", (1, 2, 3), (5, 3, 1)),
            ("x @ x", "x @ x", (3, 3)),
            ("x @ x", "x @ x", (3,)),
            ("x @ x.T", "x @ x.T", (2, 3)),
        ],
        "dot": [
            ("ops.dot(x, y)", "x @ y", (3,), (3,)),
            ("ops.dot(x, y)", "x @ y", (2, 3), (3, 4)),
            ("ops.dot(x, y)", "x * y", (), (2, 3)),
            ("ops.dot(x, y)", "x * y", (2, 3), ()),
            ("ops.dot(x, 2.5)", "x * 2.5", (2, 3)),
            ("ops.dot(x, y)", "torch.tensordot(x, y, ([2], [1]))", (2, 5, 3), (4, 3, 2)),
            ("ops.dot(x, y)", "torch.tensordot(x, y, ([2], [0]))", (2, 5, 3), (3,)),
            ("ops.dot(x, y)", "torch.tensordot(x, y, ([0], [1]))", (3,), (4, 3, 2)),
        ],
        "outer": [
            ("ops.outer(x, y)", "torch.outer(x, y)", (3,), (4,)),
            ("ops.outer(x, y)", "torch.outer(x.flatten(), y.flatten())", (2, 3), (2, 2)),
            ("ops.outer(x, y)", "torch.outer(x.flatten(), y)", (), (3,)),
            ("ops.outer(x, x)", "torch.outer(x, x)", (3,)),
        ],
        "einsum": [
            *[
                (f"ops.einsum({s!r}, x, y)", f"torch.einsum({t!r}, x, y)", a, b)
                for s, t, a, b in [
                    ("ij,jk->ik", "ij,jk->ik", (2, 3), (3, 4)),
                    ("ij,jk", "ij,jk", (2, 3), (3, 4)),
                    (" i j , j k -> k i ", "ij,jk->ki", (2, 3), (3, 4)),
                    ("...ij,...jk->...ik", "...ij,...jk->...ik", (5, 2, 3), (3, 4)),
                    ("...ij,...jk", "...ij,...jk", (1, 2, 3), (5, 3, 4)),
                    ("i...,i...->...", "i...,i...->...", (3, 2), (3,)),
                    ("bhqd,bhkd->bhqk", "bhqd,bhkd->bhqk", (2, 2, 3, 2), (2, 2, 4, 2)),
                    ("ij,ij->", "ij,ij->", (2, 3), (2, 3)),
                    ("ij,kl->", "ij,kl->", (2, 3), (3, 2)),
                    ("ii,i->i", "ii,i->i", (3, 3), (3,)),
                    ("ii,jj->ij", "ii,jj->ij", (3, 3), (2, 2)),
                    ("i,j->ij", "i,j->ij", (3,), (2,)),
                    ("ij,ij->ij", "ij,ij->ij", (3, 1), (3, 4)),
                    ("i,i->", "i,i->", (4,), (1,)),
                    ("Ba,aB->B", "Ba,aB->B", (2, 3), (3, 2)),
                    ("bA,Ac", "bA,Ac->bc", (2, 3), (3, 2)),
                    (",i->i", ",i->i", (), (3,)),
                ]
            ],
            ("ops.einsum('ii', x)", "torch.einsum('ii', x)", (3, 3)),
            ("ops.einsum('ii->i', x)", "torch.einsum('ii->i', x)", (3, 3)),
            ("ops.einsum('iij->ij', x)", "torch.einsum('iij->ij', x)", (2, 2, 3)),
            ("ops.einsum('iii->i', x)", "torch.einsum('iii->i', x)", (2, 2, 2)),
            ("ops.einsum('ij->j', x)", "torch.einsum('ij->j', x)", (2, 3)),
            ("ops.einsum('ba', x)", "torch.einsum('ba', x)", (2, 3)),
            ("ops.einsum('i...->...', x)", "torch.einsum('i...->...', x)", (2, 3, 4)),
            ("ops.einsum('ij,ij->i', x, x)", "torch.einsum('ij,ij->i', x, x)", (2, 3)),
            ("ops.einsum('ij,jk,kl->il', x, y, z)", "torch.einsum('ij,jk,kl->il', x, y, z)", (2, 3), (3, 4), (4, 2)),
            ("ops.einsum('i,i,j->', x, x, y)", "torch.einsum('i,i,j->', x, x, y)", (3,), (2,)),
            ("ops.einsum('ij,->ij', x, 2.5)", "x * 2.5", (2, 3)),
        ],
        "getitem": [
            ("x[1]", "x[1]", (3, 4)),
            ("x[-1, 2]", "x[-1, 2]", (3, 4)),
            ("x[np.int64(1)]", "x[1]", (3,)),
            ("x[1:, ::2]", "x[1:, ::2]", (3, 4)),
            ("x[::-1]", "x.flip(0)", (3, 4)),
            ("x[..., 0]", "x[..., 0]", (2, 3, 4)),
            ("x[:, np.newaxis, 1:2]", "x[:, None, 1:2]", (2, 3, 4)),
            ("x[()]", "x[()]", ()),
            ("x[None]", "x[None]", ()),
            ("x[2:2]", "x[2:2]", (3, 4)),
            ("x[[2, 0, 0, -1]]", "x[[2, 0, 0, -1]]", (3, 4)),
            ("x[np.array([[0, 1], [1, 1]])]", "x[torch.tensor([[0, 1], [1, 1]])]", (3, 2)),
            ("x[np.array([0, 2]), np.array([1, 1])]", "x[[0, 2], [1, 1]]", (3, 4)),
            ("x[:, [1, 1, 3]]", "x[:, [1, 1, 3]]", (3, 4)),
            ("x[[0, 1], :, [1, 1]]", "x[[0, 1], :, [1, 1]]", (2, 3, 4)),
            ("x[np.array([True, False, True])]", "x[torch.tensor([True, False, True])]", (3, 4)),
            ("x[np.eye(3, dtype=bool)]", "x[torch.eye(3).bool()]", (3, 3)),
            ("x[np.zeros(3, dtype=bool)]", "x[torch.zeros(3).bool()]", (3, 2)),
            ("x[np.array([], dtype=int)]", "x[torch.tensor([], dtype=torch.long)]", (3, 2)),
            ("x[True]", "x[None]", (3,)),
            ("x[np.array([0, 0]), None, 1:]", "x[torch.tensor([0, 0]), None, 1:]", (2, 3)),
        ],
        "take": [
            ("ops.take(x, [0, 5, 5])", "x.take(torch.tensor([0, 5, 5]))", (2, 3)),
            ("ops.take(x, 1)", "x.flatten()[1]", (2, 3)),
            ("ops.take(x, [1, -1, 1], axis=1)", "x[:, [1, -1, 1]]", (2, 3)),
            ("ops.take(x, np.array([[0, 1], [1, 1]]), axis=-2)", "x[:, torch.tensor([[0, 1], [1, 1]])]", (2, 3, 2)),
            ("ops.take(x, 1, axis=0)", "x[1]", (2, 3)),
        ],
    }
)

KINKS = table(
    {
        "maximum": [
            ("ops.maximum(x, y)", "torch.maximum(x, y)", TIES, np.array([[1.0, 2.0, 3.0, 0.0]])),
            ("ops.maximum(x, x)", "torch.maximum(x, x)", (3,)),
            ("ops.maximum(x, 0.0)", "torch.maximum(x, torch.tensor(0.0).double())", TIES),
        ],
        "minimum": [
            ("ops.minimum(x, y)", "torch.minimum(x, y)", TIES, np.array([[1.0, 2.0, 3.0, 0.0]])),
            ("ops.minimum(x, x)", "torch.minimum(x, x)", (3,)),
        ],
        "max": [
            ("ops.max(x)", "x.amax()", TIES),
            ("ops.max(x, axis=1)", "x.amax(1)", TIES),
            ("ops.max(x, axis=(0, 1), keepdims=True)", "x.amax((0, 1), True)", TIES),
        ],
        "min": [
            ("ops.min(x)", "x.amin()", TIES),
            ("ops.min(x, axis=1)", "x.amin(1)", TIES),
            ("ops.min(x, axis=0, keepdims=True)", "x.amin(0, True)", TIES),
        ],
        "clip": [
            ("ops.clip(x, 0, 3)", "x.clip(0, 3)", TIES),
            ("ops.clip(x, max=2)", "x.clip(max=2)", TIES),
            ("ops.clip(x, 3, 0)", "x.clip(3, 0)", TIES),
        ],
        "abs": [("ops.abs(x)", "x.abs()", np.array([-1.0, -0.0, 0.0, 2.0]))],
        "relu": [("ops.relu(x)", "x.relu()", np.array([-1.0, -0.0, 0.0, 2.0]))],
        "power": [
            ("x ** y", "x ** y", np.array([0.0, 0.0, 0.0, 0.0, 2.0, -2.0]), np.array([0.0, 1.0, 2.0, 3.5, 0.0, 0.0])),
            ("x ** y", "x ** y", np.array([0.0]), np.array([-1.0])),
            ("x ** 0", "x ** 0", np.array([0.0, -1.0, 2.0])),
            ("x ** 1", "x ** 1", np.array([0.0, -1.0, 2.0])),
            ("x ** 2", "x ** 2", np.array([0.0, -1.0, 2.0])),
            ("x ** 2.0", "x ** 2.0", np.array([0.0, -1.0, 2.0])),
            ("x ** -3", "x ** -3", np.array([-1.5, 2.0])),
            ("0.0 ** x", "0.0 ** x", np.array([0.0, 1.0, 2.5])),
        ],
        "prod": [("ops.prod(x, axis=(0, 1))", "x.flatten().prod()", ZEROS)],
        "sqrt": [("ops.sqrt(x)", "x.sqrt()", np.array([0.0, 4.0]))],
    }
)
