"""`primitive`: turns a rule on arrays into an operation on Tensors that the tape records."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy import array, ndarray

from .anomaly import check_finite, watch
from .entry import LEAF, mode, next_index, open_blocks
from .half import halved
from .sweep import proven
from .tensor import NUMPY_RULES, PRIMITIVES, Tensor, as_array

Operation = Callable[..., Any]
_new = object.__new__


def primitive(
    *numpy_functions: Any, vjp: Any = None, sequence: bool = False, conditions: int = 0,
    product: bool = False,
) -> Callable[[Operation], Operation]:  # fmt: skip
    """Decorate a rule, so that it works on Tensors and is recorded on the tape.

    The rule takes plain arrays and returns ``(out, vjp)``: the result, and a function that maps its
    gradient ``g`` to a tuple with one gradient for each input (None for one that is not float).
    Or `vjp` is a tuple with one such function for each input: then only the needed ones run. They
    return new arrays, ``g`` or views of it, and need not undo broadcasting: the sweep does.

    Inputs: the parameters before ``/``, else those without a default, and ``*args``. Rest: options.

    Parameters
    ----------
    *numpy_functions : callable
        NumPy functions that shall call this operation when they meet a Tensor.
    vjp : callable or tuple of callables, optional
        Given here, it is called as ``vjp(g, saved)`` and the rule returns ``(out, saved)``: faster.
    sequence, product : bool
        Whether the first argument is a list; whether `autocast` rounds the inputs (not with `vjp`).
    conditions : int
        How many of the first inputs are truth values: the rule gets bools, no gradient flows.
    """

    def register(rule: Operation) -> Operation:
        parameters = list(inspect.signature(rule).parameters.values())
        n = count_inputs(parameters)
        fixed = vjp if isinstance(vjp, tuple) else () if vjp is None else (vjp,) * n
        if vjp is not None and (len(fixed) != n or not all(map(callable, fixed))):
            raise TypeError(f"{rule.__name__}: vjp must have one function for each of {n} inputs")
        general = _general(halved(rule, n) if product else rule, vjp, sequence, conditions, n)
        make_fast = {1: _unary, 2: _binary}.get(n if len(parameters) == n and not sequence else 0)
        operation = functools.wraps(rule)(make_fast(rule, vjp, general) if make_fast else general)
        PRIMITIVES[rule.__name__] = operation
        proven.discard(rule.__name__)
        NUMPY_RULES.update(dict.fromkeys(numpy_functions, operation))
        return operation

    modules = [getattr(f, "__module__", None) or "numpy" for f in numpy_functions]
    if not all(map(callable, numpy_functions)) or not all(m.startswith("numpy") for m in modules):
        remedy = "as in @primitive(np.exp), or none: @primitive()"
        raise TypeError(f"primitive: expected NumPy functions, {remedy}")
    return register


def count_inputs(parameters: list[inspect.Parameter]) -> int:
    """How many leading `parameters` of a rule are inputs; a large number if it takes ``*args``."""
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 1_000_000
    before_slash = [p for p in parameters if p.kind is p.POSITIONAL_ONLY]
    required = [p for p in parameters if p.default is p.empty and p.kind is not p.KEYWORD_ONLY]
    return len(before_slash or required)


def check_vjp(vjp: Any) -> None:
    """Raise TypeError unless `vjp` is a function or a tuple of functions (or None, no gradient)."""
    if callable(vjp) or (type(vjp) is tuple and all(f is None or callable(f) for f in vjp)):
        return
    raise TypeError(f"a rule returns (out, vjp), got {type(vjp).__name__} for vjp")


def truth(x: Any) -> np.ndarray[Any, Any]:
    """A condition as plain bools: no gradient flows to it, and its dtype decides nothing."""
    return np.asarray(x.data if isinstance(x, Tensor) else x, dtype=bool)


def _general(rule: Operation, fixed_vjp: Any, sequence: bool, conditions: int, n: int) -> Operation:
    @functools.wraps(rule)
    def operation(*args: Any, **options: Any) -> Tensor:
        inputs: Any = args[:n]
        if sequence and args:
            inputs = args[0] if isinstance(args[0], list | tuple) else list(args[0])
        if conditions:
            inputs = [*map(truth, inputs[:conditions]), *inputs[conditions:]]
        arrays: list[Any] = list(inputs)
        rest = [constant(rule, value) for value in args[1 if sequence else n :]]
        if options:
            options = {key: constant(rule, value) for key, value in options.items()}
        try:
            arrays = unbox(inputs)
            first = (arrays,) if sequence else arrays
            out, vjp = rule(*first, *rest, **options)
            if fixed_vjp is None:
                check_vjp(vjp)
                return record(rule.__name__, inputs, arrays, out, vjp)
            return record(rule.__name__, inputs, arrays, out, fixed_vjp, vjp)
        except RuntimeError:
            raise  # from detect_anomaly(), which names the operation
        except Exception as error:
            explain(error, rule, arrays)

    return operation


def unbox(inputs: Any) -> list[Any]:
    """The arrays of the `inputs`. A number takes the dtype of those beside it: it never upcasts."""
    values = [
        x._array if isinstance(x, Tensor) else x.item() if isinstance(x, np.generic) else x
        for x in inputs
    ]
    if {*map(type, values)} == {ndarray}:
        return values
    values = [x if type(x) in (ndarray, str, float, int, bool) else as_array(x) for x in values]
    numbers = [x for x in values if type(x) in (float, int, bool)]
    if not numbers:
        return values
    dtypes = [x.dtype for x in values if type(x) is ndarray]
    dtype = np.result_type(*dtypes, *numbers)
    if dtype == np.float64 and dtype not in dtypes:  # a float alone, or among ints and bools
        dtype = np.dtype(np.float32)
    return [array(x, dtype) if type(x) in (float, int, bool) else x for x in values]


def constant(rule: Operation, value: Any) -> Any:
    """The plain value of an option. TypeError if it is a Tensor that needs a gradient."""
    if isinstance(value, Tensor):
        if value.requires_grad:
            raise TypeError(
                f"{rule.__name__}: no gradient flows to this argument; pass inputs by position, "
                f"or else x.detach()"
            )
        return value._array
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple | list) and any(isinstance(item, Tensor) for item in value):
        return type(value)(constant(rule, item) for item in value)
    return value


def explain(error: Exception, rule: Operation, arrays: list[Any]) -> NoReturn:
    """Raise the same kind of error, naming the operation and what it received."""
    got = ", ".join(
        f"{a.dtype} {a.shape}" if isinstance(a, ndarray | Tensor) else repr(a) for a in arrays
    )
    for kind in (np.exceptions.AxisError, IndexError, ValueError, TypeError):
        if isinstance(error, kind):
            message = str(error).removeprefix(f"{rule.__name__}: ")
            raise kind(f"{rule.__name__}: {message} (inputs: {got})") from error
    error.add_note(f"{rule.__name__}: with inputs {got}")
    raise error


def record(
    name: str, inputs: Any, arrays: list[Any], out: Any, vjp: Any, saved: Any = None
) -> Tensor:
    """A Tensor of `out`, with an entry on the tape if one of the `inputs` needs a gradient."""
    tensor: Tensor = _new(Tensor)
    tensor._array = out = out if type(out) is ndarray else np.asarray(out)
    tensor.grad = tensor._entry = None
    if mode.anomaly:
        check_finite(name, "forward", arrays, out)
    parents = tuple(map(_parent, inputs))
    if not {*map(type, parents)} <= {type(None)} and mode.recording:
        if mode.anomaly:
            vjp, saved = watch(name, vjp, saved)
        tensor._entry = [next_index(), name, vjp, saved, parents, out.shape, out.dtype, None]
    return tensor


def _parent(x: Any) -> Any:
    return None if not isinstance(x, Tensor) else x if x._entry is LEAF else x._entry


def _unary(rule: Operation, fixed_vjp: Any, general: Operation) -> Operation:
    # `general`, unrolled for the commonest case: one Tensor that needs a gradient, nothing unusual.
    name = rule.__name__

    def operation(x: Any) -> Tensor:
        if type(x) is not Tensor or x._entry is None or open_blocks[0]:
            return general(x)  # type: ignore[no-any-return]
        try:
            out, saved = rule(x._array)
            if fixed_vjp is None:
                check_vjp(saved)
        except Exception as error:
            explain(error, rule, [x._array])
        tensor: Tensor = _new(Tensor)
        tensor._array = out = out if type(out) is ndarray else np.asarray(out)
        tensor.grad = None
        parents, shape, dtype = (x if x._entry is LEAF else x._entry,), out.shape, out.dtype
        if fixed_vjp is None:
            tensor._entry = [next_index(), name, saved, None, parents, shape, dtype, None]
        else:
            tensor._entry = [next_index(), name, fixed_vjp, saved, parents, shape, dtype, None]
        return tensor

    return operation


def _binary(rule: Operation, fixed_vjp: Any, general: Operation) -> Operation:
    # The same for two inputs, of which one may be an array or a Python number.
    name = rule.__name__

    def operation(x: Any, y: Any) -> Tensor:
        a, b, left, right = x, y, None, None
        if type(x) is Tensor:
            a, left = x._array, x._entry
            if left is LEAF:
                left = x
        if type(y) is Tensor:
            b, right = y._array, y._entry
            if right is LEAF:
                right = y
        if left is right is None or open_blocks[0]:
            return general(x, y)  # type: ignore[no-any-return]
        # A Python number takes the dtype of the array: NumPy does that too, but again at each use.
        if type(b) is not ndarray:
            if type(b) is not float and type(b) is not int:
                return general(x, y)  # type: ignore[no-any-return]
            b = array(b, a.dtype)
        elif type(a) is not ndarray:
            if type(a) is not float and type(a) is not int:
                return general(x, y)  # type: ignore[no-any-return]
            a = array(a, b.dtype)
        try:
            out, saved = rule(a, b)
            if fixed_vjp is None:
                check_vjp(saved)
        except Exception as error:
            explain(error, rule, [a, b])
        tensor: Tensor = _new(Tensor)
        tensor._array = out = out if type(out) is ndarray else np.asarray(out)
        tensor.grad = None
        parents, shape, dtype = (left, right), out.shape, out.dtype
        if fixed_vjp is None:
            tensor._entry = [next_index(), name, saved, None, parents, shape, dtype, None]
        else:
            tensor._entry = [next_index(), name, fixed_vjp, saved, parents, shape, dtype, None]
        return tensor

    return operation
