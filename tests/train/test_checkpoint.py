"""Checkpoints: a killed run goes on bit for bit; a file that is not right changes nothing."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from odyssey import Tensor, nn, optim
from odyssey.data import DataLoader
from odyssey.optim import SGD, Adam, AdamW, GradScaler
from odyssey.train.training.checkpoint import DTYPES, CheckpointError, load_checkpoint, save_checkpoint
from tests import needs
from tests.train.killed_run import STEPS, build, everything, go, train

ROOT = Path(__file__).parents[2]
KILLED_RUN = Path(__file__).with_name("killed_run.py")
KINDS = ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"]


def temporary(path):
    return path.with_name(f".{path.name}.tmp")


def python(*arguments, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return subprocess.Popen([sys.executable, *map(str, arguments)], env=environment, cwd=ROOT, **pipes, **options)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.safetensors"


@pytest.fixture
def saved(path):
    """A checkpoint of the small run after 7 steps, in the middle of its second epoch."""
    parts = build()
    train(parts, until=7)
    save_checkpoint(path, **parts, step=7, extra={"best": 0.5})
    return path


@pytest.fixture(scope="module")
def undisturbed():
    parts = build()
    losses = train(parts)
    return losses, everything(parts)


# -- Killed and resumed


def test_the_run_is_worth_resuming(undisturbed):
    """Its batches are cut in mid-epoch, its scale goes up and down, and other generators give another run."""
    parts, scales, positions = build(), [], []

    def look(step):
        scales.append(parts["scaler"].get_scale())
        positions.append(parts["loader"].state_dict()["position"])

    losses = train(parts, after_step=look)
    assert (losses, everything(parts)) == undisturbed
    assert min(np.diff(np.log2(scales))) == -1 and max(np.diff(np.log2(scales))) == 1
    assert set(positions) == {1, 2, 3, 4, 5}
    assert train(build(seed=1)) != losses


def killed(path, delay):
    """Start the run, kill it `delay` seconds after its first checkpoint: was it still going?"""
    child = python(KILLED_RUN, path)
    while not path.exists() and child.poll() is None:
        time.sleep(0.001)
    time.sleep(delay)
    child.kill()
    output = child.communicate()[0]
    assert child.returncode in (0, -signal.SIGKILL) and output == b"", output.decode()
    return child.returncode != 0


@needs.processes
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_thirty_runs_killed_at_random_moments_end_as_if_undisturbed(tmp_path, undisturbed):
    losses, end = undisturbed
    start = time.perf_counter()
    go(tmp_path / "timed")
    moments = np.random.default_rng(6).uniform(0, 1.2 * (time.perf_counter() - start), size=120)
    steps = []
    for i, moment in enumerate(moments):
        path = tmp_path / f"{i}.safetensors"
        if not killed(path, moment):  # it had come to its end before; a new moment
            continue
        step, rest, resumed_end = go(path, seed=100 + i)
        assert rest == losses[step:] and resumed_end == end, f"killed after {moment} s, resumed at step {step}"
        assert not temporary(path).exists()
        steps.append(step)
        if len(steps) == 30:
            break
    assert len(steps) == 30
    assert max(steps) - min(steps) > STEPS / 4 and len(set(steps)) > 10  # early and late in the run


SAVE = """
import resource, signal, sys
from tests.train.killed_run import build, train
from odyssey.train.training.checkpoint import save_checkpoint
path, size, deadly = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "deadly"
parts = build()
train(parts, until=11)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL if deadly else signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
save_checkpoint(path, **parts, step=11)
"""


@needs.processes
@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="this system has no limits for files")
@pytest.mark.parametrize("size", [1, 1000, 4000])
def test_a_run_that_dies_in_the_middle_of_writing(saved, undisturbed, size):
    child = python("-c", SAVE, saved, size, "deadly")
    child.communicate()
    assert child.returncode == -signal.SIGXFSZ
    assert temporary(saved).stat().st_size == size < saved.stat().st_size  # half a file, left behind
    step, losses, end = go(saved, seed=3)
    assert (step, losses, end) == (7, undisturbed[0][7:], undisturbed[1])
    assert not temporary(saved).exists()


@needs.processes
@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="this system has no limits for files")
def test_without_space_the_previous_file_survives(saved):
    before = saved.read_bytes()
    child = python("-c", SAVE, saved, 1000, "error")
    output = child.communicate()[0].decode()
    assert child.returncode == 1 and "OSError" in output and "File too large" in output
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]
    assert load_checkpoint(saved, **build(4)) == {"step": 7, "extra": {"best": 0.5}}


def test_when_renaming_fails_nothing_is_left(path):
    path.mkdir()
    with pytest.raises(OSError):
        save_checkpoint(path, model=nn.Linear(2, 2))
    assert list(path.parent.iterdir()) == [path] and not list(path.iterdir())
    with pytest.raises(FileNotFoundError):
        save_checkpoint(path.parent / "no folder" / "run", model=nn.Linear(2, 2))


def test_saving_changes_nothing_and_overwrites(saved, undisturbed):
    parts = build()
    assert train(parts, after_step=lambda step: save_checkpoint(saved, **parts, step=step)) == undisturbed[0]
    assert everything(parts) == undisturbed[1]
    assert load_checkpoint(str(saved), model=parts["model"])["step"] == STEPS


def test_the_bytes_are_on_the_disk_before_the_name(saved, monkeypatch):
    calls = []
    real = {name: getattr(os, name) for name in ("fsync", "replace")}

    def fsync(descriptor):
        whole = temporary(saved).exists() and os.fstat(descriptor).st_size == temporary(saved).stat().st_size
        calls.append("file" if whole else "folder")
        real["fsync"](descriptor)

    def replace(source, target):
        calls.append("replace")
        real["replace"](source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    save_checkpoint(saved, model=build()["model"])
    assert calls == ["file", "replace"] + ["folder"] * (os.name == "posix")


# -- Everything comes back, bit for bit


def labels_of(path):
    """The text beside the arrays of a safetensors file, read by hand."""
    data = path.read_bytes()
    return json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]


def test_a_checkpoint_is_a_plain_safetensors_file(saved):
    arrays = safetensors.numpy.load_file(saved)
    assert {"model.0.weight", "model.1.num_batches_tracked", "optimizer.0.exp_avg"} <= arrays.keys()
    model = build(5)["model"]
    weights = {name.removeprefix("model."): a for name, a in arrays.items() if name.startswith("model.")}
    model.load_state_dict(weights)  # so that other programs can read the weights
    labels = labels_of(saved)
    assert (labels["format"], labels["version"]) == ("odyssey-checkpoint", "1")
    assert json.loads(labels["content"])["step"] == 7
    data = saved.read_bytes()
    assert hashlib.sha256(data.replace(labels["sha256"].encode(), b"0" * 64)).hexdigest() == labels["sha256"]


class Held(nn.Module):
    """A parameter and a buffer with the given numbers."""

    buffers = ("kept",)

    def __init__(self, values, kept=0):
        self.values = nn.Parameter(np.zeros(np.shape(values), np.float32))
        self.values.data = np.array(values)
        self.kept = np.array(kept)


AWKWARD = [0.0, -0.0, np.nan, np.inf, -np.inf, 5e-324, 1e-45, 6e-8, 1 / 3, np.pi, -65504.0]


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
@pytest.mark.parametrize("shape", [(11,), (11, 1), (1, 11), (), (0,), (3, 0, 2)])
def test_floats_come_back_bit_for_bit(path, dtype, shape):
    values = np.array(AWKWARD).astype(dtype)
    values = values.reshape(shape) if np.prod(shape, dtype=int) == 11 else np.full(shape, -0.0, dtype)
    save_checkpoint(path, model=Held(values))
    restored = Held(np.ones(shape, dtype))
    load_checkpoint(path, model=restored)
    found = restored.values.data
    assert found.dtype == values.dtype and found.shape == shape and found.tobytes() == values.tobytes()
    found[...] = 1  # and can be trained


def test_a_nan_keeps_its_payload(path):
    bits = np.array([0x7FC01234, 0xFFC00001], np.uint32)
    save_checkpoint(path, model=Held(bits.view(np.float32)))
    restored = Held(np.zeros(2, np.float32))
    load_checkpoint(path, model=restored)
    assert (restored.values.data.view(np.uint32) == bits).all()


@pytest.mark.parametrize("dtype", sorted(set(DTYPES.values()) - {"bfloat16"}))
def test_buffers_of_every_dtype(path, dtype):
    kind = np.dtype(dtype).kind
    kept = np.array([0, 1] if kind in "bf" else [np.iinfo(dtype).min, np.iinfo(dtype).max], dtype)
    save_checkpoint(path, model=Held([1.0], kept))
    restored = Held([0.0], np.zeros_like(kept))
    load_checkpoint(path, model=restored)
    assert restored.kept.dtype == dtype and (restored.kept == kept).all()


def test_bfloat16(path):
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    values = np.array([1 / 3, -0.0, 1e30, 0.5], bfloat16)
    save_checkpoint(path, model=Held(values))
    restored = Held(np.zeros(4, bfloat16))
    load_checkpoint(path, model=restored)
    assert restored.values.dtype == bfloat16 and restored.values.data.tobytes() == values.tobytes()


def test_a_dtype_that_the_format_lacks(path):
    with pytest.raises(TypeError, match=r"model.kept is of dtype complex128.*cannot hold"):
        save_checkpoint(path, model=Held([1.0], np.zeros(2, complex)))
    assert not path.exists()


def test_shared_parameters_and_strided_ones(path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[0].weight.data = np.asfortranarray(np.arange(9, dtype=np.float32).reshape(3, 3))
    save_checkpoint(path, model=model)
    restored = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    restored[1].weight = restored[0].weight
    load_checkpoint(path, model=restored)
    assert (restored[0].weight.data == model[0].weight.data).all() and restored[1].weight is restored[0].weight


EXTRAS = [
    None, True, 0, -1, 2**53 + 1, 10**300, 0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, "", "ä\n\"\\\0€😀\ud800",
    [], {}, [[], {"a": [1, 2.5, None]}], {"": 0, "sha256": "0" * 64, '"sha256":"': "0" * 64}, np.float64(0.1),
]  # fmt: skip


@pytest.mark.parametrize("extra", EXTRAS, ids=range(len(EXTRAS)))
def test_extra_comes_back_as_it_was(path, extra):
    save_checkpoint(path, model=nn.Linear(1, 1), step=2**60 + 1, extra=extra)
    found = load_checkpoint(path, model=nn.Linear(1, 1))
    assert found == {"step": 2**60 + 1, "extra": extra}
    assert repr(found["extra"]) == repr(extra.item() if isinstance(extra, np.float64) else extra)


def test_numbers_beyond_json_and_tuples(path):
    save_checkpoint(path, model=nn.Linear(1, 1), step=np.int64(3), extra=(np.inf, -np.inf, np.nan))
    found = load_checkpoint(path, model=nn.Linear(1, 1))
    assert repr(found) == "{'step': 3, 'extra': [inf, -inf, nan]}"


OPTIMIZERS = {
    "SGD": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "RMSProp": lambda p: optim.RMSProp(p, 0.01, momentum=0.9, centered=True),
    "Adagrad": lambda p: optim.Adagrad(p, 0.1, initial_accumulator_value=0.1),
    "Adam": lambda p: optim.Adam(p, 0.01, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, 0.01, betas=(0.8, 0.95)),
    "LARS": lambda p: optim.LARS(p, 0.1, weight_decay=0.1),
    "Lion": lambda p: optim.Lion(p, 0.01),
    "LAMB": lambda p: optim.LAMB(p, 0.01, weight_decay=0.1),
    "Muon": lambda p: optim.Muon(p, 0.02),
    "Adam, packed": lambda p: optim.Adam(p, 0.01, amsgrad=True, state_dtype=np.float16),
    "AdamW, packed": lambda p: optim.AdamW(p, 0.01, state_dtype=np.float16),
    "two groups": lambda p: optim.LARS([{"params": p[:1]}, {"params": p[1:], "exclude": True, "name": "rest"}], 1 / 3),
}


def test_every_optimizer_is_there():
    classes = {c.__name__ for c in vars(optim).values() if isinstance(c, type) and issubclass(c, optim.Optimizer)}
    assert classes - {"Optimizer"} <= set(OPTIMIZERS)


class Mixed(nn.Module):
    """Parameters of several dtypes and sizes; one of them large, and one that never gets a gradient."""

    def __init__(self):
        shapes = {"a": (4, 3), "b": (2, 2), "c": (1, 7), "d": (160, 150), "e": (3, 3)}
        dtypes = {"a": np.float32, "b": np.float64, "c": np.float16, "d": np.float32, "e": np.float32}
        for i, (name, shape) in enumerate(shapes.items()):
            values = np.random.default_rng(i).normal(size=shape)
            setattr(self, name, nn.Parameter(values.astype(dtypes[name])))

    def step(self, optimizer, t):
        rng = np.random.default_rng(t)
        for name, p in self.named_parameters():
            p.grad = None if name == "e" else (rng.normal(size=p.shape) * 10.0 ** -rng.integers(0, 6)).astype(p.dtype)
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("at", [0, 3])
def test_optimizers_go_on_bit_for_bit(path, name, at):
    model = Mixed()
    optimizer = OPTIMIZERS[name](list(model.parameters()))
    for t in range(at):
        model.step(optimizer, t)
    save_checkpoint(path, model=model, optimizer=optimizer, step=at)
    restored = Mixed()
    again = OPTIMIZERS[name](list(restored.parameters()))
    for t in range(50, 52):  # it is not even new
        restored.step(again, t)
    for group in again.param_groups:
        group["lr"] = 0.5
    assert load_checkpoint(path, model=restored, optimizer=again)["step"] == at
    both = [{"model": model, "optimizer": optimizer}, {"model": restored, "optimizer": again}]
    assert everything(both[0]) == everything(both[1])
    for t in range(at, at + 4):
        model.step(optimizer, t)
        restored.step(again, t)
    assert everything(both[0]) == everything(both[1])
    assert everything(both[0])["model"] != everything({"model": Mixed()})["model"]


SCHEDULERS = {
    "StepLR": lambda o: optim.StepLR(o, 3, 0.7),
    "MultiStepLR": lambda o: optim.MultiStepLR(o, [2, 5], 0.3),
    "ExponentialLR": lambda o: optim.ExponentialLR(o, 0.9),
    "LambdaLR": lambda o: optim.LambdaLR(o, lambda t: 1 / (t + 3)),
    "LinearWarmup": lambda o: optim.LinearWarmup(o, 7),
    "CosineAnnealingLR": lambda o: optim.CosineAnnealingLR(o, 9, 1e-3),
    "OneCycleLR": lambda o: optim.OneCycleLR(o, 0.3, 20),
    "ReduceOnPlateau": lambda o: optim.ReduceOnPlateau(o, patience=1, cooldown=1),
    "SequentialLR": lambda o: optim.SequentialLR(o, [optim.LinearWarmup(o, 3), optim.CosineAnnealingLR(o, 9)], [4]),
}


def test_every_scheduler_is_there():
    classes = {n for n, c in vars(optim).items() if isinstance(c, type) and hasattr(c, "get_last_lr")}
    assert classes - {"Scheduler"} == set(SCHEDULERS)


def steps(scheduler, optimizer, first, last):
    rates = []
    for t in range(first, last):
        scheduler.step(*([1 + (t * 7 % 5)] if isinstance(scheduler, optim.ReduceOnPlateau) else []))
        if t == 4:
            optimizer.param_groups[0]["lr"] *= 0.7  # a change by hand stays as a factor
        rates.append({k: v for k, v in optimizer.param_groups[0].items() if k != "params"})
    return rates


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("at", [0, 4, 5, 9])
def test_schedulers_go_on_bit_for_bit(path, name, at):
    def new(lr):
        model = nn.Linear(2, 1)
        optimizer = SGD(model.parameters(), lr, momentum=0.5)
        return dict(model=model, optimizer=optimizer, scheduler=SCHEDULERS[name](optimizer))

    parts, again = new(1 / 3), new(0.1)
    steps(parts["scheduler"], parts["optimizer"], 0, at)
    save_checkpoint(path, **parts)
    steps(again["scheduler"], again["optimizer"], 0, 7)
    load_checkpoint(path, **again)
    assert everything(again) == everything(parts)
    last = steps(parts["scheduler"], parts["optimizer"], at, 16)
    assert steps(again["scheduler"], again["optimizer"], at, 16) == last
    assert everything(again) == everything(parts)


# -- Random generators


def generator(kind, seed):
    return np.random.Generator(getattr(np.random, kind)(seed))


def drawn(model, loader=None, n=3):
    """The next numbers, drawn in turn from all that is random."""
    rngs = [m.rng for m in model.modules() if hasattr(m, "rng")] + ([loader._rng] if loader else [])
    return [(rng.random(dtype=np.float32), rng.random()) for _ in range(n) for rng in rngs]


def test_a_transformer_block_keeps_its_generators(path):
    model = nn.TransformerBlock(8, 2, 16, dropout=0.3, rng=np.random.default_rng(0))
    model(Tensor(np.ones((2, 3, 8), np.float32)))
    save_checkpoint(path, model=model)
    expected = drawn(model)
    restored = nn.TransformerBlock(8, 2, 16, dropout=0.3, rng=np.random.default_rng(1))
    kept = restored.attention.rng
    load_checkpoint(path, model=restored)
    assert restored.attention.rng is restored.dropout1.rng is restored.dropout2.rng is kept
    assert drawn(restored) == expected


SHARING = {"all": (0, 0, 0), "none": (0, 1, 2), "two": (0, 0, 1), "model": (1, 0, 1), "loader": (1, 0, 0)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", SHARING)
@pytest.mark.parametrize("now", SHARING)
def test_generators_are_shared_as_before(path, kind, before, now):
    """However the model is built this time: which generator is whose is part of the run."""

    def new(sharing, seed):
        pool = [generator(kind, seed + i) for i in range(3)]
        a, b, c = (pool[i] for i in sharing)
        loader = DataLoader(np.arange(7), batch_size=2, rng=c)
        return nn.Sequential(nn.Dropout(0.5, a), nn.Dropout(0.5, b)), loader

    model, loader = new(SHARING[before], 0)
    list(loader)
    epoch = iter(loader)
    next(epoch)
    drawn(model, loader, n=2)
    save_checkpoint(path, model=model, loader=loader)
    again, its_loader = new(SHARING[now], 10)
    own = its_loader._rng
    load_checkpoint(path, model=again, loader=its_loader)
    assert its_loader._rng is own
    for batches in (epoch, loader, loader):
        assert drawn(model, loader) == drawn(again, its_loader)
        assert [b[0].tolist() for b in batches] == [b[0].tolist() for b in its_loader]
    if before == now:  # then everybody keeps the generator that it has
        fresh, _ = new(SHARING[now], 10)
        kept = [m.rng for m in fresh.children()]
        save_checkpoint(path, model=fresh)
        load_checkpoint(path, model=fresh)
        assert all(m.rng is rng for m, rng in zip(fresh.children(), kept, strict=True))


def test_a_module_gets_a_generator_of_the_saved_kind(path):
    model, again = nn.Dropout(rng=generator("MT19937", 0)), nn.Dropout(rng=generator("PCG64", 0))
    save_checkpoint(path, model=model)
    load_checkpoint(path, model=again)
    assert drawn(model) == drawn(again)


def test_a_loader_does_not(path):
    arrays = dict(batch_size=2, shuffle=False)
    model = nn.Linear(2, 2)
    save_checkpoint(path, model=model, loader=DataLoader(np.arange(3), rng=generator("MT19937", 0), **arrays))
    loader = DataLoader(np.arange(3), rng=generator("PCG64", 0), **arrays)
    with pytest.raises(CheckpointError, match=r"loader._rng is of kind PCG64, in the file of kind MT19937"):
        load_checkpoint(path, model=model, loader=loader)


def test_a_model_with_other_generators(path):
    save_checkpoint(path, model=nn.Sequential(nn.Dropout(), nn.ReLU()))
    with pytest.raises(CheckpointError, match=r"the file has no random generator model.1.rng"):
        load_checkpoint(path, model=nn.Sequential(nn.Dropout(), nn.Dropout()))
    with pytest.raises(CheckpointError, match=r"the model has no random generator model.0.rng"):
        load_checkpoint(path, model=nn.Sequential(nn.ReLU(), nn.ReLU()))


# -- Files that are not right


def refused(path, parts, match, error=CheckpointError):
    """Loading raises, says why, and every part is as it was, the arrays of the model included."""
    before = everything(parts)
    arrays = [p.data for p in parts["model"].parameters()]
    with pytest.raises(error, match=match) as caught:
        load_checkpoint(path, **parts)
    assert everything(parts) == before
    assert all(p.data is a for p, a in zip(parts["model"].parameters(), arrays, strict=True))
    return str(caught.value)


@pytest.fixture
def used():
    """Another run of the same kind, two steps old."""
    parts = build(seed=8)
    train(parts, until=2)
    return parts


def test_a_file_cut_anywhere(saved, used):
    data = saved.read_bytes()
    for size in [*range(0, 24), *range(24, len(data), 97), len(data) - 1]:
        saved.write_bytes(data[:size])
        message = refused(saved, used, "truncated")
        assert str(saved) in message and message.startswith("load_checkpoint: ")
    saved.write_bytes(data + b"\0")
    refused(saved, used, "truncated, damaged")


def test_any_byte_changed(saved, used):
    data, rng = saved.read_bytes(), np.random.default_rng(0)
    before = everything(used)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << rng.integers(8)
        saved.write_bytes(changed)
        with pytest.raises(CheckpointError, match="load_checkpoint: "):
            load_checkpoint(saved, **used)
    assert everything(used) == before
    changed = bytearray(data)
    changed[-1] ^= 1
    saved.write_bytes(changed)
    refused(saved, used, "checksum is wrong.*use an earlier one")
    saved.write_bytes(data)
    load_checkpoint(saved, **used)


def test_foreign_files(path, used):
    safetensors.numpy.save_file(used["model"].state_dict(), path)
    refused(path, used, "not one of save_checkpoint")
    safetensors.numpy.save_file(used["model"].state_dict(), path, {"format": "pt"})
    refused(path, used, "not one of save_checkpoint.*load_state_dict")
    path.write_bytes(b"{" * 1000)
    refused(path, used, "truncated, or no safetensors file")
    path.write_bytes((992).to_bytes(8, "little") + b"[" * 992)
    refused(path, used, "no safetensors file")
    path.unlink()
    refused(path, used, "run.safetensors", FileNotFoundError)


def rewritten(path, change, version="1"):
    """The checkpoint with `change` made to its content and arrays, and a checksum that is right."""
    content, arrays = json.loads(labels_of(path)["content"]), safetensors.numpy.load_file(path)
    change(content, arrays)
    labels = {"format": "odyssey-checkpoint", "version": version, "content": json.dumps(content), "sha256": "0" * 64}
    data = safetensors.numpy.save(arrays, labels)
    path.write_bytes(data.replace(b"0" * 64, hashlib.sha256(data).hexdigest().encode(), 1))


def test_a_later_version(saved, used):
    rewritten(saved, lambda content, arrays: None)
    load_checkpoint(saved, **build())
    rewritten(saved, lambda content, arrays: None, version="2")
    refused(saved, used, "version 2 .*reads version 1")


DAMAGES = {
    "no step": lambda c, a: c.pop("step"),
    "no optimizer entry": lambda c, a: c.pop("optimizer"),
    "state missing": lambda c, a: a.pop("optimizer.2.exp_avg"),
    "state of nobody": lambda c, a: a.update({"optimizer.99.exp_avg": np.zeros(2)}),
    "state of another shape": lambda c, a: a.update({"optimizer.2.exp_avg": np.zeros(2)}),
    "bad rate": lambda c, a: c["optimizer"]["state"]["param_groups"][0].update(lr=-1),
    "bad betas": lambda c, a: c["optimizer"]["state"]["param_groups"][0].update(betas=None),
    "no groups": lambda c, a: c["optimizer"]["state"].update(param_groups=[]),
    "groups are none": lambda c, a: c["optimizer"].update(state=None),
    "bad scheduler": lambda c, a: c["scheduler"]["state"].update(last_lr=[-1.0]),
    "bad schedule": lambda c, a: c["scheduler"]["state"].update(total_steps="many"),
    "bad scaler": lambda c, a: c["scaler"]["state"].update(scale=-1.0),
    "bad position": lambda c, a: c["loader"]["state"].update(position=99),
    "bad loader": lambda c, a: c["loader"].update(state=[]),
    "bad generator": lambda c, a: c["generators"][0]["state"].update(state={}),
    "unknown generator": lambda c, a: c["generators"][0]["state"].update(bit_generator="Generator"),
    "no generators": lambda c, a: c.update(generators=[]),
    "generators are none": lambda c, a: c.update(generators=None),
    "a list": lambda c, a: c.clear(),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_content_that_makes_no_sense(saved, used, name):
    """With a right checksum: somebody meant it. Errors of every part, and nothing is changed."""
    rewritten(saved, DAMAGES[name])
    refused(saved, used, "load_checkpoint: ")


def test_another_model(saved, used):
    one = {"model": nn.Linear(4, 8)}
    refused(saved, one, r"of another model: the file has no 'bias' \(\d+ names")
    longer = {"model": nn.Sequential(*used["model"].children(), nn.Linear(3, 3))}
    refused(saved, longer, "the file has no '5.bias'")
    shorter = {"model": nn.Sequential(*list(used["model"].children())[:-1])}
    refused(saved, shorter, "the model has no '4.bias'")
    wider = {"model": nn.Sequential(*list(used["model"].children())[:-1], nn.Linear(8, 4))}
    refused(saved, wider, r"4.weight has shape \(3, 8\) and dtype float32 in the file, \(4, 8\)")
    refused(saved, {"model": build()["model"].to(np.float64)}, "dtype float32 in the file, .*float64 in the model")


def test_asking_for_less_is_allowed(saved, undisturbed):
    model = build(3)["model"]
    assert load_checkpoint(saved, model=model) == {"step": 7, "extra": {"best": 0.5}}
    whole = build(4)
    load_checkpoint(saved, **whole)
    assert everything({"model": model}) == everything({"model": whole["model"]})
    parts = build(5)
    load_checkpoint(saved, model=parts["model"], scheduler=parts["scheduler"])
    assert parts["scheduler"].state_dict() == whole["scheduler"].state_dict()
    assert parts["optimizer"].param_groups[0]["lr"] == whole["optimizer"].param_groups[0]["lr"]


@pytest.mark.parametrize("name", ["optimizer", "scheduler", "scaler", "loader"])
def test_asking_for_more_is_not(path, used, name):
    save_checkpoint(path, **{**used, name: None})
    refused(path, used, f"saved without {name}; pass {name}=None")


def test_parts_of_another_kind(saved, used):
    model = used["model"]
    refused(saved, {"model": model, "optimizer": AdamW(model.parameters())}, "optimizer is of kind Adam, .* AdamW")
    cosine = optim.CosineAnnealingLR(used["optimizer"], 9)
    refused(saved, {**used, "scheduler": cosine}, "scheduler is of kind OneCycleLR, this one of kind CosineAnn")
    off = GradScaler(enabled=False)
    refused(saved, {**used, "scaler": off}, "one of the two scalers is enabled")
    groups = [{"params": [p]} for p in model.parameters()]
    refused(saved, {"model": model, "optimizer": Adam(groups)}, "groups of")
    few = DataLoader(np.arange(4), batch_size=2)
    refused(saved, {**used, "loader": few}, "samples=22, this loader has 4")
    save_checkpoint(saved, **{**used, "scaler": off})
    refused(saved, used, "one of the two scalers is enabled")
    parts = {**used, "scaler": off}
    load_checkpoint(saved, **parts)


def test_schedulers_in_another_sequence(path):
    model = nn.Linear(1, 1)

    def sequence(*makers):
        optimizer = SGD(model.parameters(), 0.1)
        scheduler = optim.SequentialLR(optimizer, [make(optimizer, 5) for make in makers], [3])
        return dict(model=model, optimizer=optimizer, scheduler=scheduler)

    save_checkpoint(path, **sequence(optim.LinearWarmup, optim.CosineAnnealingLR))
    refused(path, sequence(optim.LinearWarmup, optim.StepLR), r"SequentialLR\(LinearWarmup, CosineAnnealingLR\), this")


# -- Bad arguments, before anything is written


CIRCLE: list = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("extra", "match"),
    [
        (np.zeros(2), "extra is of type ndarray, which JSON does not have"),
        ({"a": [0, np.float32(1)]}, r"extra\['a'\]\[1\] is of type float32"),
        ({1, 2}, "of type set"),
        (b"", "of type bytes"),
        (1j, "of type complex"),
        (Tensor([1.0]), "of type Tensor"),
        (object, "of type type"),
        ({1: 2}, r"extra has the key 1, expected a str; use str\(key\)"),
        (CIRCLE, "contains itself"),
        (10**5000, "store it as a str"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_extra_that_json_cannot_hold(saved, extra, match):
    before = saved.read_bytes()
    with pytest.raises(TypeError, match=match):
        save_checkpoint(saved, model=nn.Linear(1, 1), extra=extra)
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_extra_that_is_too_long_to_be_read_again(path):
    with pytest.raises(ValueError, match="header too large; put less into extra"):
        save_checkpoint(path, model=nn.Linear(1, 1), extra="x" * 100_000_000)
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"step": -1}, ValueError, "step to be at least 0, got -1"),
        ({"step": 1.0}, TypeError, "step to be a whole number, got 1.0"),
        ({"step": True}, TypeError, "step to be a whole number, got True"),
        ({"model": {"weight": np.zeros(2)}}, TypeError, "model to be a Module of odyssey.nn, got dict"),
        ({"optimizer": Adam}, TypeError, r"optimizer to have a state_dict\(\), got Adam; pass optimizer=None"),
        ({"loader": [1, 2]}, TypeError, r"loader to have a state_dict\(\), got list; pass loader=None"),
    ],
)
def test_bad_arguments(path, arguments, error, match):
    with pytest.raises(error, match=f"save_checkpoint: expected {match}"):
        save_checkpoint(path, **{"model": nn.Linear(1, 1), **arguments})
    assert not path.exists()
    if "step" not in arguments:
        save_checkpoint(path, model=nn.Linear(1, 1))
        with pytest.raises(error, match=f"load_checkpoint: expected {match}"):
            load_checkpoint(path, **{"model": nn.Linear(1, 1), **arguments})


def test_without_safetensors_the_extra_is_named(saved, monkeypatch):
    before = saved.read_bytes()
    monkeypatch.setitem(sys.modules, "safetensors", None)
    monkeypatch.delitem(sys.modules, "safetensors.numpy")
    with pytest.raises(ImportError, match=r'save_checkpoint: .*pip install "ml-odyssey\[train\]"'):
        save_checkpoint(saved, model=nn.Linear(1, 1))
    with pytest.raises(ImportError, match=r'load_checkpoint: .*pip install "ml-odyssey\[train\]"'):
        load_checkpoint(saved, model=nn.Linear(1, 1))
    assert saved.read_bytes() == before
