"""First names of the 1990 US census, in a split that never changes."""

from importlib import resources

# In the stored order, the first 4,131 names are for training, the next 516 for choosing, the last
# 516 for the verdict.
SPLIT_SIZES = {"train": 4131, "validation": 516, "test": 516}

# Every letter of every name; its place here is its number for a model of characters, which adds its
# own mark for the end of a name.
NAME_ALPHABET = "abcdefghijklmnopqrstuvwxyz"


def load_names() -> dict[str, list[str]]:
    """Load 5,163 first names of the 1990 US census, split for training, validation and test.

    The split is stored with the names, so it is the same on every machine. No name is in two parts,
    or twice in one. The order inside a part is mixed, so that a plain slice is already a fair
    sample.

    Returns
    -------
    dict of str to list of str
        Keys ``"train"`` (4,131 names), ``"validation"`` (516) and ``"test"`` (516).
        Each name has 2 to 11 letters, all of them in ``NAME_ALPHABET``: lower case a to z, no
        accent, no space.
        The lists are new on each call: changing them changes nobody else's.

    Notes
    -----
    The census lists 1,219 male and 4,275 female names; 331 are in both lists and stand here once.
    How many people bear a name is left out: "mary" weighs as much as "allyn". Many names differ in
    one letter, and the split tears such pairs apart: four in five of the held-out names are one
    letter away from a training name. A loss on them says how well a model spells *such* names, and
    flatters it for others.

    Source: US Census Bureau, Frequently Occurring Names in the U.S., 1990 (public domain), as in
    the package ``names`` 0.3.0 by T. Hunner.

    Examples
    --------
    >>> names = load_names()
    >>> {part: len(words) for part, words in names.items()}
    {'train': 4131, 'validation': 516, 'test': 516}
    >>> names["train"][:4]
    ['guy', 'candis', 'gwyn', 'anya']
    >>> [NAME_ALPHABET.index(letter) for letter in "guy"]
    [6, 20, 24]
    """
    text = resources.files(__package__).joinpath("names.txt").read_text(encoding="ascii")
    names = text.split()
    split = {}
    start = 0
    for part, size in SPLIT_SIZES.items():
        split[part] = names[start : start + size]
        start += size
    return split
