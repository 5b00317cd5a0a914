"""The stand-in for safetensors that the browser edition ships writes and reads the very bytes of the real one."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import safetensors.numpy as real

ROOT = Path(__file__).parents[2]
KINDS = ["?", "u1", "i1", "i2", "u2", "f2", "i4", "u4", "f4", "f8", "i8", "u8"]


@pytest.fixture(scope="module")
def ours() -> Iterator[ModuleType]:
    """The stand-in, under another name, so that the real package stays what it is."""
    folder = ROOT / "lite" / "safetensors"
    file, places = folder / "__init__.py", [str(folder)]
    spec = importlib.util.spec_from_file_location("stand_in", file, submodule_search_locations=places)
    assert spec is not None and spec.loader is not None
    sys.modules["stand_in"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.numpy = importlib.import_module("stand_in.numpy")
    yield module
    for name in ("stand_in", "stand_in.numpy"):
        del sys.modules[name]


@pytest.mark.parametrize("seed", range(60))
def test_the_bytes_are_the_same(seed: int, ours: ModuleType) -> None:
    rng, arrays = np.random.default_rng(seed), {}
    for _ in range(rng.integers(0, 8)):
        shape = tuple(rng.integers(0, 4, rng.integers(0, 4)))
        name = rng.choice(["w", "b", "läge", "x.y"]) + str(rng.integers(100))
        arrays[name] = np.asarray(9 * rng.normal(size=shape)).astype(rng.choice(KINDS))
    metadata = None if seed % 2 else {"kind": 'a "quoted" välue'}
    data = real.save(arrays, metadata)
    assert ours.numpy.save(arrays, metadata) == data
    found, expected = ours.numpy.load(data), real.load(data)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()
    assert sorted(name for name, _ in ours.deserialize(data)) == sorted(expected)


def test_files(ours: ModuleType, tmp_path: Path) -> None:
    ours.numpy.save_file({"w": np.arange(6.0).reshape(2, 3)}, tmp_path / "ours")
    assert np.array_equal(real.load_file(tmp_path / "ours")["w"], [[0, 1, 2], [3, 4, 5]])
    real.save_file({"w": np.ones(2)}, tmp_path / "theirs")
    assert np.array_equal(ours.numpy.load_file(tmp_path / "theirs")["w"], [1, 1])


def test_a_header_of_more_than_100_megabytes(ours: ModuleType) -> None:
    arrays, labels = {"w": np.ones(2)}, {"long": "x" * 100_000_000}
    for module in (ours.numpy, real):
        with pytest.raises(Exception, match="Error while serializing: header too large"):
            module.save(arrays, labels)


def test_damaged_bytes_are_refused_by_both(ours: ModuleType) -> None:
    data = real.save({"w": np.arange(6.0), "b": np.ones(2, np.float32)})
    header = 8 + int.from_bytes(data[:8], "little")
    damaged = [b"", data[:5], data[:20], data[:-1], data + b"x", b"\xff" * 8 + data[8:]]
    damaged.append(data[:8] + b"[" + data[9:header])
    damaged.append(data.replace(b'"F64"', b'"F65"'))
    damaged.append(data.replace(b"[6]", b"[7]"))
    for case in damaged:
        with pytest.raises(ours.SafetensorError, match="Error while deserializing header"):
            ours.deserialize(case)
        with pytest.raises(Exception, match="Error while deserializing"):
            real.load(case)


def test_what_it_cannot_hold_is_refused(ours: ModuleType) -> None:
    with pytest.raises(ours.SafetensorError, match="complex128 of 'z' is not covered"):
        ours.numpy.save({"z": np.ones(2, complex)})
