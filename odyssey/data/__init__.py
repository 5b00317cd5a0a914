"""Data to learn from, and the loader that cuts it into batches.

==================  ==========================================================================
``load_digits``     1,797 handwritten digits, 8×8 pixels, in a fixed split
``load_names``      5,163 first names of the 1990 US census, in a fixed split
``NAME_ALPHABET``   the 26 letters that these names are made of
``spirals``         two interleaved spirals in the plane, as many points as you ask for
``DataLoader``      batches in a random order, with a state that can be saved in mid-epoch
==================  ==========================================================================
"""

from .digits import load_digits
from .loader import DataLoader
from .names import NAME_ALPHABET, load_names
from .synthetic import spirals

__all__ = ["load_digits", "load_names", "NAME_ALPHABET", "spirals", "DataLoader"]
