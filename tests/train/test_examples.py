"""The programs in examples/: run as their readers run them, killed and resumed, and given what they refuse.

A program that learns runs in a process of its own, in another folder. What is refused before the first step is tried
in this process, which is faster.
"""

import ast
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import util
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from odyssey import nn
from odyssey.data import load_digits, load_names
from tests import needs

pytestmark = needs.processes

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
README = (EXAMPLES / "README.md").read_text(encoding="utf-8")
PROGRAMS = ("classify_digits", "language_model", "load_pytorch")
# One thread: networks so small gain nothing from a second, and the tests of other files run beside this one.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
SMALL = ("--embed-dim", "16", "--num-heads", "2", "--num-blocks", "1", "--no-progress")


def command(program, *args):
    return [sys.executable, "-W", "error", str(EXAMPLES / f"{program}.py"), *map(str, args)]


def printed(folder, program, *args):
    """What a program prints that ends well."""
    run = subprocess.run(command(program, *args), capture_output=True, text=True, cwd=folder, env=ENVIRONMENT)
    assert run.returncode == 0, run.stderr
    assert "--no-progress" not in args or run.stderr == ""
    return run.stdout


def load(program):
    """A program as a module."""
    spec = util.spec_from_file_location(f"example_{program}", EXAMPLES / f"{program}.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refused(monkeypatch, capsys, program, *args):
    """What a program says that exits with status 2, and prints nothing else."""
    monkeypatch.setattr(sys, "argv", [f"{program}.py", *map(str, args)])
    with pytest.raises(SystemExit) as end:
        load(program).main()
    out, err = capsys.readouterr()
    assert (end.value.code, out) == (2, "")
    assert err.startswith("usage: ")
    return err.split(": error: ", 1)[1].strip()


# The page examples/README.md ------------------------------------------------------------------------------------------

SHOWN = re.findall(r"^```console\n\$ python examples/([^\n]*)\n```\n\n```text\n(.*?)\n```$", README, re.M | re.DOTALL)
# What another processor may change, as the page says: what, by how much, and what stands in its place for the rest.
TOLERANCES = [(r"([\d.]+)%", 3.0), (r"loss ([\d.]+)", 0.05), (r"(\d+) of 300", 9.0), (r"logits: ([\d.e-]+)", 5e-5)]


def skeleton(text):
    """The lines of an output without what differs between processors, and the numbers that may differ a little."""
    lines = [line for line in text.splitlines() if not re.fullmatch(r"  a \d taken for a \d: \d+ of \d+", line)]
    lines = ["ten names" if re.fullmatch(r"[a-z]*( [a-z]*){9}", line) else line for line in lines]
    rest, numbers = "\n".join(lines), []
    for pattern, tolerance in TOLERANCES:
        numbers += [(float(found), tolerance) for found in re.findall(pattern, rest)]
        rest = re.sub(pattern, "#", rest)
    return rest, numbers


def same(expected, got):
    """Whether two outputs agree within the tolerances."""
    (text, numbers), (other, others) = skeleton(expected), skeleton(got)
    pairs = zip(numbers, others, strict=False)
    return text == other and all(abs(a - b) <= tolerance for (a, tolerance), (b, _) in pairs)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What the commands of the page print now, in their order."""
    return [printed(tmp_path_factory.mktemp("shown"), *line.replace(".py", "", 1).split()) for line, _ in SHOWN]


def test_the_page_shows_what_the_programs_print(outputs):
    assert [line.split(".")[0] for line, _ in SHOWN] == list(PROGRAMS)
    for (line, expected), got in zip(SHOWN, outputs, strict=True):
        assert same(expected, got), f"{line}\n--- examples/README.md\n{expected}\n--- now\n{got}"


def test_the_comparison_sees_a_difference():
    digits, names, pytorch = (text for _, text in SHOWN)
    assert same(digits, digits) and same(names, names) and same(pytorch, pytorch)
    assert same(names, re.sub(r"^\w+( \w+)+$", "anna " * 9 + "berta", names, flags=re.M))
    test = re.search(r"test accuracy (\S+)%", digits)[1]
    assert not same(digits, digits.replace(f"test accuracy {test}", f"test accuracy {float(test) - 4:.1f}"))
    assert not same(names, re.sub(r"validation loss 2", "validation loss 1", names))
    assert not same(names, names.replace("epoch  3", "epoch  4"))
    assert not same(pytorch, re.sub(r"e-0\d", "e-02", pytorch))
    assert not same(pytorch, pytorch.replace("save_file", "store"))


def test_the_page_names_every_file_and_its_options_exist(monkeypatch, capsys):
    for name in [STORED.name, *(path.name for path in EXAMPLES.glob("*.py"))]:
        assert f"[{name}]({name})" in README
    helps = "".join(helped(monkeypatch, capsys, program) for program in PROGRAMS)
    for option in set(re.findall(r"`(--[a-z-]+)", README)) - {"--help"}:
        assert option in helps


def helped(monkeypatch, capsys, program):
    monkeypatch.setattr(sys, "argv", [f"{program}.py", "--help"])
    with pytest.raises(SystemExit) as end:
        load(program).main()
    assert end.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_explains_every_argument(program, monkeypatch, capsys):
    text = helped(monkeypatch, capsys, program)
    source = (EXAMPLES / f"{program}.py").read_text(encoding="utf-8")
    options = re.findall(r'add(?:_argument)?\("(--[a-z-]+)"', source)
    assert len(options) >= 1 + 5 * (program != "load_pytorch")
    for option in options:
        assert re.search(rf"^  {option}( \S+)?\s+\S.*[a-z]", text, re.M), option
    # or what was found after an option is the next one
    assert not re.findall(rf"^  (?:{'|'.join(options)})( \S+)?\s*\n  -", text, re.M)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_is_short_and_needs_the_extra_train_alone(program):
    source = (EXAMPLES / f"{program}.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 120
    nodes = list(ast.walk(ast.parse(source)))
    imported = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    imported += [str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)]
    packages = {name.split(".")[0] for name in imported} - sys.stdlib_module_names
    assert packages <= {"numpy", "odyssey", "safetensors", "tqdm"}


@pytest.mark.parametrize("program", PROGRAMS[:2])
def test_a_rate_that_is_too_large_is_named(program, tmp_path):
    line = command(program, "--no-progress", "--epochs", 1, "--lr", 1e25)
    line[2] = "ignore"  # NumPy warns of the overflow before
    run = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT)
    assert (run.returncode, run.stdout) == (2, "")
    assert re.search(r"error: fit: the .* is (nan|inf) in step \d, epoch 1; .*Lower the rate", run.stderr)
    assert "Traceback" not in run.stderr


# classify_digits.py ---------------------------------------------------------------------------------------------------


def test_digits_are_learned(outputs):
    rows = re.findall(r"^epoch +(\d+): training loss ([\d.]+), validation accuracy ([\d.]+)%$", outputs[0], re.M)
    epochs, losses, accuracies = (list(map(float, column)) for column in zip(*rows, strict=True))
    assert epochs == list(range(1, 11))
    assert losses[0] > 1 > 0.1 > losses[4] > losses[-1]
    assert accuracies[-1] > 97
    accuracy, misread = re.search(r"^test accuracy ([\d.]+)%: (\d+) of 300", outputs[0], re.M).groups()
    assert 95 < float(accuracy) == round(100 - int(misread) / 3, 1)
    pairs = re.findall(r"^  a (\d) taken for a (\d): (\d+) of \d+$", outputs[0], re.M)
    assert 1 <= len(pairs) <= 3 and all(a != b for a, b, _ in pairs)
    counts = [int(count) for *_, count in pairs]
    assert counts == sorted(counts, reverse=True) and sum(counts) <= int(misread)


def test_digits_weights_are_saved_and_the_seed_decides(tmp_path):
    options = ("--epochs", 1, "--no-progress", "--batch-size", 64, "--lr", 0.02)
    first = printed(tmp_path, "classify_digits", *options, "--out", "a.safetensors")
    assert first.splitlines()[-1] == "weights saved in a.safetensors"
    assert first.replace("a.safe", "b.safe") == printed(tmp_path, "classify_digits", *options, "--out", "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert printed(tmp_path, "classify_digits", *options, "--seed", 1) not in first

    program, (X, y) = load("classify_digits"), load_digits()["test"]
    model = program.network(np.random.default_rng(5))
    model.load_state_dict(load_file(tmp_path / "a.safetensors"))
    accuracy = np.mean(program.read(model.eval(), X) == y)
    assert f"test accuracy {accuracy:.1%}: " in first


def test_digits_with_a_progress_bar(tmp_path):
    run = subprocess.run(
        command("classify_digits", "--epochs", 1), capture_output=True, text=True, cwd=tmp_path, env=ENVIRONMENT
    )
    assert run.returncode == 0
    assert "38/38" in run.stderr and re.match("epoch  1: training loss", run.stdout)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--epochs", -1), "argument --epochs: expected a whole number above 0, got '-1'"),
        (("--epochs", 0), "argument --epochs: expected a whole number above 0, got '0'"),
        (("--batch-size", "many"), "argument --batch-size: expected a whole number above 0, got 'many'"),
        (("--lr", "nan"), "argument --lr: expected a finite number above 0, got 'nan'"),
        (("--lr", "inf"), "argument --lr: expected a finite number above 0, got 'inf'"),
        (("--lr", "fast"), "argument --lr: invalid number value: 'fast'"),
        (("--seed", -1), "argument --seed: expected a whole number of at least 0, got -1"),
        (("--out", "."), "argument --out: expected the name of a file in a folder that exists, got '.'"),
        (("--out", "no/w"), "argument --out: expected the name of a file in a folder that exists, got 'no/w'"),
        (("digits",), "unrecognized arguments: digits"),
    ],
)
def test_digits_refuses(args, message, monkeypatch, capsys):
    assert refused(monkeypatch, capsys, "classify_digits", *args) == message


# language_model.py ----------------------------------------------------------------------------------------------------


def content(path):
    """What a checkpoint holds beside the arrays, without the seconds that a run took."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    found = json.loads(header["__metadata__"]["content"])
    found["extra"].pop("seconds")
    found["extra"]["history"].pop("seconds")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a file of 400 words, and an undisturbed run over them: its checkpoint and what it printed."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "words.txt").write_text("\n".join(load_names()["train"][:400]) + "\n", encoding="utf-8")
    (folder / "out.txt").write_text(printed(folder, *run_into("whole.safetensors")), encoding="utf-8")
    return folder


def run_into(checkpoint, *args):
    """The run of two epochs of 45 steps: program and arguments."""
    sizes = ("--data", "words.txt", *SMALL, "--batch-size", 8, "--epochs", 2, "--seed", 3)
    return "language_model", *sizes, "--checkpoint", checkpoint, "--checkpoint-every", 1, *args


def interrupt(folder, name, number, step):
    """Begin the run, and send it a signal as soon as so many steps are in the checkpoint; status and stderr."""
    pipes = {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    for _ in range(5):  # on a busy machine it may come to its end before the signal reaches it
        (folder / name).unlink(missing_ok=True)
        # A shell lets what it starts in the background ignore Ctrl-C, and a process hands that on to those it starts.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        run = subprocess.Popen(command(*run_into(name)), cwd=folder, env=ENVIRONMENT, **pipes)
        signal.signal(signal.SIGINT, before)
        while run.poll() is None and (not (folder / name).exists() or content(folder / name)["step"] < step):
            time.sleep(0.001)
        run.send_signal(number)
        _, err = run.communicate(timeout=60)
        if run.returncode != 0:
            break
    return run.returncode, err


@pytest.mark.parametrize(("number", "step"), [(signal.SIGKILL, 1), (signal.SIGINT, 50)])
def test_a_run_that_was_broken_off_ends_as_one_that_was_not(number, step, folder):
    name = f"{number.name}.safetensors"
    status, err = interrupt(folder, name, number, step)
    if number == signal.SIGINT:
        assert (status, err) == (130, "\ninterrupted; the same command goes on\n")
    else:
        assert status == -number
    assert step <= content(folder / name)["step"] < 90

    rest = printed(folder, *run_into(name)).splitlines()
    whole = (folder / "out.txt").read_text(encoding="utf-8").splitlines()
    assert rest == whole[-len(rest) :] and len(rest) >= 3 - (step > 45)
    assert content(folder / name) == content(folder / "whole.safetensors")
    ours, theirs = load_file(folder / name), load_file(folder / "whole.safetensors")
    assert ours.keys() == theirs.keys() and len(ours) > 50
    assert all(ours[key].tobytes() == theirs[key].tobytes() for key in ours)
    assert content(folder / name)["step"] == 90 and not list(folder.glob(".*"))


def test_names_are_made_up_from_a_checkpoint_without_training(folder):
    before = (folder / "whole.safetensors").read_bytes()
    loaded = printed(folder, *run_into("whole.safetensors", "--epochs", 0, "--lr", 7))
    whole = (folder / "out.txt").read_text(encoding="utf-8")
    assert whole.endswith(loaded) and loaded.count("\n") == 2
    cold = printed(folder, *run_into("whole.safetensors", "--epochs", 0, "--sample", 3, "--temperature", 0.01))
    names = cold.splitlines()[-1].split(" ")
    assert len(names) == 3 and len(set(names)) == 1 and cold not in whole
    none = printed(folder, *run_into("whole.safetensors", "--epochs", 0, "--sample", 0))
    assert none == loaded.splitlines(keepends=True)[0]
    assert (folder / "whole.safetensors").read_bytes() == before


def test_the_language_model_learns(outputs):
    rows = re.findall(r"^epoch +(\d+): training loss ([\d.]+), validation loss ([\d.]+)$", outputs[1], re.M)
    epochs, training, validation = (list(map(float, column)) for column in zip(*rows, strict=True))
    assert epochs == [1, 2, 3]
    assert training[0] > training[1] > training[2] and validation[0] > validation[1] > validation[2]
    assert validation[-1] < 2.3 < np.log(27)
    last, blind = re.search(r"^validation loss ([\d.]+) .* cost ([\d.]+)$", outputs[1], re.M).groups()
    assert float(last) == validation[-1] and blind == f"{np.log(27):.3f}"
    names = outputs[1].splitlines()[-1].split(" ")
    assert len(names) == 10 and len(set(names)) > 5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--embed-dim", 32), r"load_checkpoint: \S*: of another model: token.weight has shape \(27, 16\).*\(27, 32\)"),
        (("--num-blocks", 2), r"load_checkpoint: \S*: of another model: the file has no 'blocks\.1\."),
        (("--num-heads", 4), "the checkpoint was begun with num_heads 2, not 4: pass the same, or another file"),
        (("--epochs", 0, "--num-heads", 4), "the checkpoint was begun with num_heads 2, not 4"),
        (("--epochs", 0, "--embed-dim", 8), "of another model"),
        (("--epochs", 3), "the checkpoint was begun with epochs 2, not 3"),
        (("--lr", 0.1, "--dropout", 0), r"begun with dropout 0\.1, not 0\.0; lr 0\.005, not 0\.1: pass"),
        (("--seed", 4), "begun with seed 3, not 4"),
        (("--batch-size", 9), "the state was saved with batch_size=8, this loader has 9"),
        (("--data", "other.txt"), r"begun with words \d+, not \d+"),
        (("--data", "fewer.txt"), "the state was saved with samples=360, this loader has 359"),
    ],
)
def test_a_checkpoint_of_other_sizes_or_settings_is_refused(args, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    words = Path("words.txt").read_text(encoding="utf-8").split()
    Path("other.txt").write_text("\n".join(words[:1] + words[2:3] + words[1:2] + words[3:]), encoding="utf-8")
    Path("fewer.txt").write_text("\n".join(words[:-1]), encoding="utf-8")
    before = Path("whole.safetensors").read_bytes()
    assert re.search(message, refused(monkeypatch, capsys, *run_into("whole.safetensors", *args)))
    assert Path("whole.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("anna\nzoë\n", "encode: 'zoë' holds 'ë', which is none of the letters a to z"),
        ("Anna\nberta\n", "encode: 'Anna' holds 'A'.*; write it in lower case"),
        ("mary ann\nberta\n", "encode: 'mary ann' holds ' '"),
        ("", "words.txt holds 0 words; write at least 2 different ones, one in a line"),
        ("anna\n\nanna\n", "words.txt holds 1 words"),
        (b"anna\nber\xff\xfeta\n", "encode: 'ber.*' holds '\ufffd'"),
        (None, r"\[Errno 2\] No such file or directory: 'words.txt'"),
    ],
)
def test_a_file_of_words_that_cannot_be_used(text, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("words.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    assert re.search(message, refused(monkeypatch, capsys, "language_model", "--data", "words.txt", *SMALL))


def test_words_of_a_file_count_once_and_lines_may_end_in_any_way(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([b"zoe", *(b"a" * i for i in range(1, 12)), b"", b"  aa ", b"zoe"]))
    learned, held_out = load("language_model").read_words(path)
    assert held_out == ["zoe", "a" * 10]
    assert learned == ["a" * i for i in (*range(1, 10), 11)]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--epochs", -1), "--epochs, --sample and --seed must be at least 0, --temperature a finite number above 0"),
        (("--sample", -1), "--epochs, --sample and --seed must be at least 0"),
        (("--seed", -1), "--epochs, --sample and --seed must be at least 0"),
        (("--temperature", 0), "--temperature a finite number above 0"),
        (("--temperature", "nan"), "--temperature a finite number above 0"),
        (("--epochs", 0), "--epochs 0 needs --checkpoint, the file of a run"),
        (("--epochs", 0, "--checkpoint", "none"), r"\[Errno 2\] No such file or directory: 'none'"),
        (("--checkpoint", "."), r"fit: cannot write the checkpoint \.; pass the name of a file"),
        (("--checkpoint", "no/where"), "fit: cannot write the checkpoint no/where; pass the name of a file"),
        (("--checkpoint-every", 3), "fit: checkpoint_every needs a file"),
        (("--checkpoint", "a", "--checkpoint-every", 0), "fit: expected checkpoint_every"),
        (("--data", "."), "Is a directory: '.'"),
        (("--embed-dim", 15), "MultiHeadAttention: 2 heads do not divide 15"),
        (("--embed-dim", 0), "Embedding: expected embedding_dim to be at least 1, got 0"),
        (("--num-blocks", -1), "GPT: expected num_blocks"),
        (("--dropout", 2), r"Dropout: expected p in \[0, 1\]"),
        (("--lr", -1), "AdamW: expected lr to be a finite number of at least 0, got -1.0"),
        (("--batch-size", 0), "DataLoader: expected batch_size of at least 1, got 0"),
        (("--lr", "fast"), "argument --lr: invalid float value: 'fast'"),
    ],
)
def test_the_language_model_refuses(args, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(monkeypatch, capsys, "language_model", *SMALL, *args))
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_checkpoint(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("hello", encoding="utf-8")
    nn_weights = nn.Linear(2, 2, rng=np.random.default_rng(0)).state_dict()
    save_file(nn_weights, "weights")
    for epochs in (0, 1):
        args = "language_model", *SMALL, "--epochs", epochs, "--checkpoint"
        assert "text: truncated, or no safetensors file" in refused(monkeypatch, capsys, *args, "text")
        assert "but not one of save_checkpoint" in refused(monkeypatch, capsys, *args, "weights")


# load_pytorch.py ------------------------------------------------------------------------------------------------------

STORED = EXAMPLES / "pytorch_digits.safetensors"


def test_the_outputs_are_those_of_pytorch(outputs):
    assert float(re.search("largest difference to PyTorch's logits: (.*),", outputs[2])[1]) < 5e-5
    accuracy = float(re.search("test accuracy (.*)%", outputs[2])[1])
    expected, (_, y) = load_file(STORED)["expected_logits"], load_digits()["test"]
    assert abs(accuracy - 100 * np.mean(expected.argmax(axis=1) == y)) < 0.4 and accuracy > 97
    assert f", {STORED.stat().st_size / 1000:.0f} kB, was" in README


def test_the_way_back_gives_the_file_that_pytorch_wrote(tmp_path):
    out = printed(tmp_path, "load_pytorch", "--out", "back.safetensors")
    assert out.splitlines()[-1] == "weights for PyTorch in back.safetensors"
    theirs, ours = load_file(STORED), load_file(tmp_path / "back.safetensors")
    theirs.pop("expected_logits")
    assert ours.keys() == theirs.keys() and "attention.in_proj_weight" in ours and "bn.num_batches_tracked" in ours
    for name, array in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (array.dtype, array.shape), name
        assert ours[name].tobytes() == array.tobytes(), name
    again = printed(tmp_path, "load_pytorch", "back.safetensors")
    assert "largest difference" not in again and "test accuracy" in again


def test_weights_that_are_not_pytorch_s_give_other_outputs(tmp_path, monkeypatch, capsys):
    wrong = load_file(STORED)
    query, key, value = np.split(wrong["attention.in_proj_weight"], 3)
    wrong["attention.in_proj_weight"] = np.concatenate([query, value, key])
    save_file(wrong, tmp_path / "wrong.safetensors")
    monkeypatch.setattr(sys, "argv", ["load_pytorch.py", str(tmp_path / "wrong.safetensors")])
    load("load_pytorch").main()
    assert float(re.search("largest difference to PyTorch's logits: (.*),", capsys.readouterr().out)[1]) > 0.1


def test_load_pytorch_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    good = load_file(STORED)
    Path("text").write_text("hello", encoding="utf-8")
    save_file({**good, "head.bias": good["head.bias"][:9]}, "narrow")
    save_file({name: array for name, array in good.items() if name != "attention.in_proj_bias"}, "fewer")
    save_file({**good, "head.scale": good["head.bias"]}, "more")
    for args, message in [
        (("none",), "cannot read none: .*[Nn]o such file"),
        ((".",), "cannot read .: "),
        (("text",), "cannot read text: .*header"),
        (("narrow",), r"narrow holds weights of another network: .*head.bias has shape \(9,\).*expected shape \(10,\)"),
        (("fewer",), "fewer holds weights of another network: there is no attention.in_proj_bias"),
        (("more",), r"more holds weights of another network: .*unexpected \['head.scale'\]"),
        (("--out", "."), "argument --out: expected the name of a file in a folder that exists, got '.'"),
        (("--out", "no/where"), "argument --out: expected the name of a file in a folder that exists"),
    ]:
        assert re.search(message, refused(monkeypatch, capsys, "load_pytorch", *args)), args
