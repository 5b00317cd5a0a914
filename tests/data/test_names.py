"""The names: the right ones, in a split that is complete, disjoint, mixed and the same everywhere."""

import hashlib
import math
import string
from collections import Counter
from importlib import resources

import pytest

from odyssey.data import NAME_ALPHABET, load_names
from odyssey.data.names import SPLIT_SIZES

SIZES = {"train": 4131, "validation": 516, "test": 516}
SHA256 = {
    "train": "a75e46a987b54f4f7c0dd68c6ab37ffbb3eb2f11f6360445b3f2816d077a33d2",
    "validation": "4a41d5389c7efe264a646330ab461400433cbf00fb7641adb425c7ee04a3aa44",
    "test": "17626072e084843c76190a502ec3e25e2d43f0924b61f8d55f1e5ab4ac1452a5",
}
# Of all names in alphabetical order, a line each: the census lists without regard to the split.
SHA256_SORTED = "9323f70f58aca13b8f04cd2f85c9c84384de118a16b28b978971f1ce5aec5126"
LENGTHS = {2: 33, 3: 193, 4: 589, 5: 1127, 6: 1350, 7: 1076, 8: 528, 9: 209, 10: 52, 11: 6}


def sha256(names):
    return hashlib.sha256("\n".join(names).encode()).hexdigest()


@pytest.fixture
def names():
    return load_names()


@pytest.fixture
def everyone(names):
    return [name for part in names.values() for name in part]


def test_names_are_those_of_the_census(everyone):
    assert sha256(sorted(everyone)) == SHA256_SORTED


@pytest.mark.parametrize("part", SIZES)
def test_parts_never_change(names, part):
    assert sha256(names[part]) == SHA256[part]


def test_parts_come_in_the_order_of_use_with_their_sizes(names):
    assert [(part, len(words)) for part, words in names.items()] == list(SIZES.items())
    assert SPLIT_SIZES == SIZES


def test_no_name_is_in_two_parts_or_twice_in_one(everyone):
    assert len(everyone) == len(set(everyone)) == 5163


def test_split_can_be_derived_again_without_a_random_generator(names, everyone):
    mixed = sorted(sorted(everyone), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert names == {"test": mixed[:516], "validation": mixed[516:1032], "train": mixed[1032:]}


def test_alphabet_holds_the_letters_of_the_names_and_no_others(everyone):
    assert NAME_ALPHABET == string.ascii_lowercase
    assert set("".join(everyone)) == set(NAME_ALPHABET)


@pytest.mark.parametrize("part", SIZES)
def test_every_letter_is_in_every_part(names, part):
    """So that a model of characters meets no letter for the first time in the test."""
    assert set("".join(names[part])) == set(NAME_ALPHABET)


def test_lengths(everyone):
    assert dict(sorted(Counter(map(len, everyone)).items())) == LENGTHS
    assert all(type(name) is str for name in everyone)


def test_stored_file_is_one_name_a_line_and_nothing_else(everyone):
    text = resources.files("odyssey.data").joinpath("names.txt").read_bytes().replace(b"\r\n", b"\n")
    assert text == ("\n".join(everyone) + "\n").encode("ascii")


def test_lists_belong_to_the_caller(names):
    before = {part: words.copy() for part, words in names.items()}
    for words in names.values():
        words.clear()
    del names["test"]
    assert load_names() == before


@pytest.mark.parametrize("part", SIZES)
def test_a_slice_of_a_part_is_mixed(names, part):
    first = names[part][:100]
    assert len({name[0] for name in first}) > 15
    assert first != sorted(first)


def one_edit_away(name):
    for i in range(len(name) + 1):
        yield name[:i] + name[i + 1 :]
        for letter in string.ascii_lowercase:
            yield name[:i] + letter + name[i:]
            yield name[:i] + letter + name[i + 1 :]


def test_four_in_five_held_out_names_are_one_letter_from_a_training_name(names):
    """The caveat that the docstring and the README state, with the README's count."""
    train = set(names["train"])
    near = [any(word in train for word in one_edit_away(name)) for name in names["validation"] + names["test"]]
    assert (sum(near), len(near)) == (847, 1032)


def test_letter_pairs_of_training_names_foretell_held_out_names(names):
    """A check of the whole: the parts are alike, and the names are names, not letters at random."""
    pairs, firsts = Counter(), Counter()
    for name in names["train"]:
        for a, b in zip("." + name, name + ".", strict=True):
            pairs[a, b] += 1
            firsts[a] += 1

    def loss(words):
        steps = [pair for name in words for pair in zip("." + name, name + ".", strict=True)]
        return -sum(math.log((pairs[a, b] + 1) / (firsts[a] + 27)) for a, b in steps) / len(steps)

    losses = {part: loss(words) for part, words in names.items()}
    assert all(2.3 < value < 2.4 for value in losses.values())  # uniform: log 27 = 3.30
