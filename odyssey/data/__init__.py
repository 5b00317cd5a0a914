"""Data to learn from, and the loader that cuts it into batches.

==================  ==========================================================================
``load_digits``     1,797 handwritten digits, 8×8 pixels, in a fixed split
``spirals``         two interleaved spirals in the plane, as many points as you ask for
``DataLoader``      batches in a random order, with a state that can be saved in mid-epoch
==================  ==========================================================================
"""

from .digits import load_digits
from .loader import DataLoader
from .synthetic import spirals

__all__ = ["load_digits", "spirals", "DataLoader"]
