"""The digits: the right images, in a split that is complete, disjoint, stratified and the same everywhere."""

import hashlib
from importlib import resources

import numpy as np
import pytest

from odyssey.data import load_digits

SHA256 = {
    "images": "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3",
    "labels": "8ba4f891220f5e4c9c819638d1602d74b83618f167043c6da52a2a247841ddf0",
    "order": "06b946b7cbb3df63d32ecb9a0913b87d340268b7a798c61fcf0d6eae8738ee18",
}
HELD_OUT = [30, 30, 30, 31, 30, 30, 30, 30, 29, 30]
SIZES = {"train": 1197, "validation": 300, "test": 300}


@pytest.fixture(scope="module")
def stored():
    with resources.files("odyssey.data").joinpath("digits.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


@pytest.fixture
def digits():
    return load_digits()


def test_stored_arrays_are_the_published_ones(stored):
    assert {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in stored.items()} == SHA256


def test_class_counts_are_those_of_the_uci_description(stored):
    assert np.bincount(stored["labels"]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


@pytest.mark.parametrize("part", SIZES)
def test_shapes_dtypes_and_range(digits, part):
    X, y = digits[part]
    assert (X.shape, X.dtype) == ((SIZES[part], 1, 8, 8), np.float32)
    assert (y.shape, y.dtype) == ((SIZES[part],), np.int64)
    assert X.min() == 0 and X.max() == 1
    assert np.array_equal(X * 16, np.round(X * 16))  # counts of 16ths, exactly
    assert set(y.tolist()) == set(range(10))


def test_parts_come_in_the_order_of_use(digits):
    assert list(digits) == ["train", "validation", "test"]


def test_split_is_complete_and_disjoint(stored, digits):
    assert sorted(stored["order"].tolist()) == list(range(1797))
    # All images differ, so that the pixels themselves show it too.
    images = np.concatenate([X for X, _ in digits.values()]).reshape(1797, 64)
    assert len(np.unique(images, axis=0)) == 1797


def test_images_keep_their_labels(stored, digits):
    X = np.concatenate([X for X, _ in digits.values()])
    y = np.concatenate([y for _, y in digits.values()])
    original = {image.tobytes(): label for image, label in zip(stored["images"], stored["labels"], strict=True)}
    pixels = np.round(X[:, 0] * 16).astype(np.uint8)
    assert [original[image.tobytes()] for image in pixels] == y.tolist()


def test_split_is_stratified(digits):
    counts = {part: np.unique(y, return_counts=True)[1] for part, (_, y) in digits.items()}
    assert counts["test"].tolist() == counts["validation"].tolist() == HELD_OUT
    share = sum(counts.values()) / 1797
    for part, size in SIZES.items():
        assert np.abs(counts[part] - size * share).max() < 1.5


def test_split_can_be_derived_again_without_a_random_generator(stored):
    parts = {"test": [], "validation": [], "train": []}
    seen = [0] * 10
    for i in sorted(range(1797), key=lambda i: hashlib.sha256(str(i).encode()).hexdigest()):
        digit = int(stored["labels"][i])
        parts[["test", "validation", "train"][min(seen[digit] // HELD_OUT[digit], 2)]].append(i)
        seen[digit] += 1
    assert stored["order"].tolist() == parts["train"] + parts["validation"] + parts["test"]


@pytest.mark.parametrize("part", SIZES)
def test_a_slice_of_a_part_holds_every_digit(digits, part):
    assert set(digits[part][1][:100].tolist()) == set(range(10))


@pytest.mark.parametrize("part", SIZES)
def test_arrays_belong_to_the_caller(part):
    X, y = load_digits()[part]
    assert X.flags.owndata and X.flags.writeable and X.flags.c_contiguous
    assert y.flags.owndata and y.flags.writeable
    before = X.copy(), y.copy()
    X[:] = -1
    y[:] = -1
    again = load_digits()[part]
    assert np.array_equal(again[0], before[0]) and np.array_equal(again[1], before[1])


def test_the_nearest_training_image_reads_most_test_images(digits):
    """A check of the whole: images and labels belong together, and the parts are alike."""
    (X, y), (X_test, y_test) = digits["train"], digits["test"]
    X, X_test = X.reshape(-1, 64), X_test.reshape(-1, 64)
    distance = (X_test**2).sum(1)[:, None] - 2 * X_test @ X.T + (X**2).sum(1)
    accuracy = np.mean(y[distance.argmin(axis=1)] == y_test)
    assert 0.97 < accuracy < 1
