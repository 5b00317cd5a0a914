"""The Tensor: an array, its gradient, and the line of the tape that made it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .entry import LEAF, NAME, Array
from .listing import Tape
from .sweep import sweep, total

# Name of an operation -> the function that computes and records it. Filled by @primitive.
PRIMITIVES: dict[str, Callable[..., Any]] = {}

# NumPy function -> the function of ours that answers when NumPy's is called on a Tensor.
NUMPY_RULES: dict[Any, Callable[..., Any]] = {}


def as_array(data: Any, dtype: Any = None) -> Array:
    """The array inside `data`: floats that Python made become float32, arrays keep their dtype.

    An ndarray is returned as it is, not copied. Python ints become int64. Raises TypeError for
    what is neither float, integer nor bool.
    """
    made_by_numpy = isinstance(data, np.ndarray)
    try:
        array = np.asarray(data.data if isinstance(data, Tensor) else data)
    except ValueError as error:
        raise ValueError(f"Tensor: {error}; give rows of equal length") from error
    first = data
    while isinstance(first, list | tuple) and first:
        first = first[0]
    if not isinstance(first, np.ndarray | Tensor) and not made_by_numpy:
        if array.dtype.kind == "f" or array.size == 0:
            array = array.astype(np.float32)
        elif array.dtype.kind == "i" and not isinstance(data, np.generic):
            array = array.astype(np.int64)
    if dtype is not None:
        array = array.astype(dtype, copy=False)
    # "V" is how NumPy files the bfloat16 of ml_dtypes, and records of several fields too
    if array.dtype.kind not in "fiubV" or array.dtype.type is np.void:
        raise TypeError(f"Tensor: expected float, integer or bool data, got dtype {array.dtype}")
    return array


def refuse_integers(array: Array) -> None:
    """Raise TypeError if `array` holds integers or bools, which no gradient can flow to."""
    if array.dtype.kind in "iub":
        raise TypeError(
            f"Tensor: requires_grad=True needs float data, got {array.dtype}; "
            f"convert it with dtype=np.float32"
        )


def _operator(name: str) -> Callable[[Any, Any], Any]:
    # Looked up at the call: the primitives are defined after the Tensor.
    return lambda self, other: PRIMITIVES[name](self, other)


def _reflected(name: str) -> Callable[[Any, Any], Any]:
    return lambda self, other: PRIMITIVES[name](other, self)


def _elementwise(name: str) -> Callable[[Any], Any]:
    return lambda self: PRIMITIVES[name](self)


def _method(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **options: Any) -> Any:
        return PRIMITIVES[name](self, *args, **options)

    method.__name__ = name
    method.__doc__ = f"`odyssey.ops.{name}` of this tensor."
    return method


def _constant(function: Callable[..., Any]) -> Callable[..., Any]:
    """NumPy's `function` of Tensors, with plain results: truth values and positions."""

    def plain(*args: Any, **options: Any) -> Any:
        return function(*map(_value, args), **{key: _value(a) for key, a in options.items()})

    plain.__name__ = function.__name__
    plain.__doc__ = f"`numpy.{function.__name__}` of the data, a plain array or number."
    NUMPY_RULES[function] = plain
    return plain


def _value(x: Any) -> Any:
    # A NumPy scalar counts as a Python number here too: x == np.float64(0.1) as x == 0.1.
    return x.data if isinstance(x, Tensor) else x.item() if isinstance(x, np.generic) else x


for _function in (np.isnan, np.isinf, np.isfinite, np.signbit, np.shape, np.ndim, np.size):
    _constant(_function)


class Operators:
    """``+ - * / ** @``, comparisons and indexing. Each line refers to an operation by name."""

    __slots__ = ()

    __add__, __radd__ = _operator("add"), _reflected("add")
    __sub__, __rsub__ = _operator("subtract"), _reflected("subtract")
    __mul__, __rmul__ = _operator("multiply"), _reflected("multiply")
    __truediv__, __rtruediv__ = _operator("divide"), _reflected("divide")
    __pow__, __rpow__ = _operator("power"), _reflected("power")
    __matmul__, __rmatmul__ = _operator("matmul"), _reflected("matmul")
    __neg__, __abs__ = _elementwise("negative"), _elementwise("abs")
    __getitem__ = _operator("getitem")

    # A comparison has no gradient: it gives a plain bool array.
    __lt__, __le__ = _constant(np.less), _constant(np.less_equal)
    __gt__, __ge__ = _constant(np.greater), _constant(np.greater_equal)
    __eq__, __ne__ = _constant(np.equal), _constant(np.not_equal)
    __hash__ = object.__hash__  # by identity, so that a tensor can be a key


class Methods:
    """Operations as methods, with NumPy's names and arguments: ``x.sum(axis=0, keepdims=True)``."""

    __slots__ = ()

    exp, log = _elementwise("exp"), _elementwise("log")
    expm1, log1p = _elementwise("expm1"), _elementwise("log1p")
    sqrt, square, abs = _elementwise("sqrt"), _elementwise("square"), _elementwise("abs")
    sin, cos, tanh = _elementwise("sin"), _elementwise("cos"), _elementwise("tanh")
    sigmoid, relu, clip = _elementwise("sigmoid"), _elementwise("relu"), _method("clip")
    sum, mean, var, prod = _method("sum"), _method("mean"), _method("var"), _method("prod")
    max, min = _method("max"), _method("min")
    logsumexp, cumsum = _method("logsumexp"), _method("cumsum")
    argmax, argmin = _constant(np.argmax), _constant(np.argmin)
    swapaxes, squeeze = _method("swapaxes"), _method("squeeze")
    dot, take = _method("dot"), _method("take")

    def reshape(self, *shape: Any) -> Any:
        """``x.reshape(2, 3)`` or ``x.reshape((2, 3))``: `odyssey.ops.reshape` of this tensor."""
        return PRIMITIVES["reshape"](self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        """``x.transpose()``, ``x.transpose(1, 0)`` or ``x.transpose((1, 0))``."""
        alone = len(axes) == 1 and not isinstance(axes[0], int)
        return PRIMITIVES["transpose"](self, axes[0] if alone else axes or None)

    @property
    def T(self) -> Any:
        """The tensor with its axes in reverse order."""
        return PRIMITIVES["transpose"](self)


class ArrayLike:
    """What a tensor shares with the array that it holds."""

    __slots__ = ()
    _array: Array
    _entry: Any

    shape = property(lambda self: self._array.shape, doc="Length of each axis.")
    dtype = property(lambda self: self._array.dtype, doc="NumPy dtype of the numbers.")
    ndim = property(lambda self: self._array.ndim, doc="Number of axes.")
    size = property(lambda self: self._array.size, doc="Number of elements.")

    def __len__(self) -> int:
        return len(self._array)

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self._array)))  # type: ignore[index]

    def __bool__(self) -> bool:
        return bool(self._array)

    def __float__(self) -> float:
        return float(self.item())  # type: ignore[attr-defined]

    def __int__(self) -> int:
        return int(self.item())  # type: ignore[attr-defined]

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        numbers = np.array2string(self._array, separator=", ", prefix="Tensor(")
        dtype = "" if self._array.dtype == np.float32 else f", dtype={self._array.dtype}"
        needs = ", requires_grad=True" if self._entry is not None else ""
        return f"Tensor({numbers}{dtype}{needs})"


class Value:
    """The numbers of a tensor: read, replaced, copied."""

    __slots__ = ()
    _array: Array
    _entry: Any

    @property
    def data(self) -> Array:
        """The numbers. Assign a whole new array; change none in place before `backward`."""
        return self._array

    @data.setter
    def data(self, value: Any) -> None:
        # Arithmetic on 0-d arrays gives NumPy scalars: here they are results, and keep their dtype.
        from_numpy = isinstance(value, np.generic | np.ndarray | Tensor)
        array = np.asarray(value) if isinstance(value, np.generic) else as_array(value)
        array = array if from_numpy else array.astype(self._array.dtype)
        if self._entry is not None:
            refuse_integers(array)
        self._array = array  # type: ignore[misc]

    def numpy(self) -> Array:
        """The array itself, not a copy."""
        return self._array

    def item(self) -> Any:
        """The only element, as a Python number. Raises ValueError for another size."""
        if self._array.size != 1:
            got = f"got shape {self._array.shape}"
            raise ValueError(f"item: expected a tensor of one element, {got}; index it first")
        return self._array.item()

    def detach(self) -> Tensor:
        """A leaf that shares this tensor's array and needs no gradient."""
        return Tensor(self._array)

    def __getstate__(self) -> object:
        # Asked for by copy.deepcopy and pickle, which would follow the tape, entry by entry.
        if type(self._entry) is list:
            got = f"a result of {self._entry[NAME]} cannot be copied without its tape"
            raise TypeError(f"Tensor: {got}; use x.detach()")
        return object.__getstate__(self)


class NumpyProtocols:
    """How ``np.exp(x)`` of a tensor finds the operation that differentiates it."""

    __slots__ = ()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or ufunc not in NUMPY_RULES:
            raise no_rule(ufunc, "" if method == "__call__" else f".{method}")
        if options:
            got = ", ".join(options)
            raise TypeError(f"np.{ufunc.__name__}: takes no {got} on a Tensor; leave it out")
        return NUMPY_RULES[ufunc](*inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        if function not in NUMPY_RULES:
            raise no_rule(function, "")
        return NUMPY_RULES[function](*args, **options)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if self.requires_grad:  # type: ignore[attr-defined]
            raise TypeError(
                "Tensor: turning it into an ndarray would lose its gradient; "
                "use x.data, or x.detach()"
            )
        array: Array = self._array  # type: ignore[attr-defined]
        return np.array(array, dtype=dtype, copy=copy)


def no_rule(function: Any, method: str) -> TypeError:
    """The error for a NumPy function that cannot be differentiated here."""
    module = (getattr(function, "__module__", None) or "numpy").replace("numpy", "np", 1)
    name = f"{module}.{function.__name__}"
    rule = "" if method else f"add a rule with @primitive({name}), "
    return TypeError(
        f"{name}{method}: no rule to differentiate it on a Tensor; write it with the functions of "
        f"odyssey.ops, {rule}or pass x.data if no gradient is needed"
    )


class Differentiable:
    """Gradients: which tensors need one, and the sweep that computes them."""

    __slots__ = ()
    _array: Array
    grad: Array | None
    _entry: Any  # the line of the tape that made this tensor, or LEAF; None if it needs no gradient

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient flows to this tensor. May be set on a leaf of float data."""
        return self._entry is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value:
            refuse_integers(self._array)
        if type(self._entry) is not list:
            self._entry = LEAF if value else None
        elif not value:
            name = self._entry[NAME]
            raise RuntimeError(
                f"Tensor: a result of {name} keeps requires_grad=True; use x.detach()"
            )

    def backward(self, grad: Any = None, retain_tape: bool = False) -> None:
        """Add the gradient of this tensor to the `grad` of every leaf that it depends on.

        `grad`, of this tensor's shape, is where the sweep starts; for a tensor of one element it
        may be left out and is 1. `retain_tape` keeps the tape for another `backward`; by default
        each entry is freed as it is used. Threads may sweep different tapes at the same time, but
        not one tape that they share. Raises RuntimeError if nothing requires a gradient, the tape
        is used up or `grad` is missing, and ValueError if `grad` has another shape.
        """
        g = seed(self, grad)
        if self._entry is LEAF:
            self.grad = total(self, g)  # type: ignore[misc]
        else:
            sweep(self._entry, g, retain_tape)

    def tape(self) -> Tape:
        """The Wengert list of this tensor: what `backward` would sweep, as a printable `Tape`."""
        return Tape(self._entry if type(self._entry) is list else self)


def seed(tensor: Any, grad: Any) -> Array:
    """The gradient to start a sweep with, checked: `grad` in the dtype of `tensor`, or 1."""
    if not tensor.requires_grad:
        raise RuntimeError(
            "backward: this tensor needs no gradient; create a leaf with requires_grad=True"
        )
    if grad is None:
        if tensor.size != 1:
            raise RuntimeError(
                f"backward: expected a tensor of one element, got shape {tensor.shape}; reduce it, "
                f"for example with .sum(), or pass grad, an array of that shape"
            )
        return np.ones(tensor.shape, tensor.dtype)
    g = as_array(grad)
    if g.shape != tensor.shape:
        raise ValueError(f"backward: expected grad of shape {tensor.shape}, got {g.shape}")
    return g.astype(tensor.dtype)


class Tensor(Operators, Methods, ArrayLike, Value, NumpyProtocols, Differentiable):
    """An array that remembers how it was computed.

    Parameters
    ----------
    data : array_like
        Numbers of any shape. An ndarray is used as it is, not copied, and keeps its dtype. Python
        floats (NumPy's float scalars count as such) become float32, Python ints int64.
    requires_grad : bool
        Whether `backward` shall leave a gradient in `grad`. Only for float data.
    dtype : numpy dtype, optional
        Convert the data to it.

    Attributes
    ----------
    data : ndarray
        The numbers. Assign a whole new array; do not change one in place between the forward and
        the backward pass, since the tape may have saved it (`detect_anomaly` finds such a change).
    grad : ndarray or None
        Gradient of the losses swept so far, of the shape and dtype of `data`. Only leaves get one.

    Examples
    --------
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_array", "_entry", "grad")

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None) -> None:
        self._array = as_array(data, dtype)
        self.grad = None
        self._entry = None
        if requires_grad:
            self.requires_grad = True
