"""The UCI handwritten digits, in a split that never changes."""

from importlib import resources

import numpy as np
from numpy.typing import NDArray

# In the stored order, the first 1,197 images are for training, the next 300 for choosing, the last 300 for the verdict.
SPLIT_SIZES = {"train": 1197, "validation": 300, "test": 300}


def load_digits() -> dict[str, tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Load 1,797 handwritten digits of 8×8 pixels, split for training, validation and test.

    The split is stored with the images, so it is the same on every machine and with every NumPy. It is
    stratified: each digit has the same share of each part, to within one image. The order inside a part
    is mixed, so that a plain slice is already a fair sample.

    Returns
    -------
    dict of str to (X, y)
        Keys ``"train"`` (1,197 images), ``"validation"`` (300) and ``"test"`` (300).
        X: float32 of shape (N, 1, 8, 8), the ink of a pixel from 0 (paper) to 1 (full), in steps of 1/16.
        y: int64 of shape (N,), the digit from 0 to 9.
        The arrays are new on each call: changing them changes nobody else's.

    Notes
    -----
    Each pixel counts the dark dots, 0 to 16, in a 4×4 block of a 32×32 scan; X is that count over 16.
    Thirteen people wrote these digits, and each of them may stand in all three parts: a test accuracy says
    how well a model reads *these* hands, and flatters it for a stranger's.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998, doi:10.24432/C50P49 (CC BY 4.0), the 1,797 test images that scikit-learn ships.

    Examples
    --------
    >>> digits = load_digits()
    >>> {part: X.shape for part, (X, y) in digits.items()}
    {'train': (1197, 1, 8, 8), 'validation': (300, 1, 8, 8), 'test': (300, 1, 8, 8)}
    >>> X, y = digits["test"]
    >>> X.dtype, y.dtype, float(X.min()), float(X.max())
    (dtype('float32'), dtype('int64'), 0.0, 1.0)
    """
    with resources.files(__package__).joinpath("digits.npz").open("rb") as file:
        with np.load(file, allow_pickle=False) as stored:
            order = stored["order"]
            images = stored["images"][order, np.newaxis].astype(np.float32) / np.float32(16)
            labels = stored["labels"][order].astype(np.int64)
    split = {}
    start = 0
    for part, size in SPLIT_SIZES.items():
        stop = start + size
        # Copies, so that each part owns its memory and keeps none of the others alive.
        split[part] = (images[start:stop].copy(), labels[start:stop].copy())
        start = stop
    return split
