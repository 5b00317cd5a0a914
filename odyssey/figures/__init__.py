"""What the chapters share: one colour for each optimizer, figures with a slider, and numbers for the prose.

Matplotlib and IPython are imported only when something is drawn or glued; the package itself needs NumPy alone.
"""

from .frames import OPTIMIZER_COLORS, frames
from .glue import glue

__all__ = ["OPTIMIZER_COLORS", "frames", "glue"]
