"""Is a good optimizer worth more than a clever architecture? A grid of runs, and its statistics.

``python -m odyssey.train.key_insight`` computes the grid anew.
"""

from .grid import Run
from .results import Results, load_results
from .runs import Outcome, train
from .statistics import Interval, Part, bootstrap, decompose, t_interval, t_quantile

__all__ = [
    "Interval",
    "Outcome",
    "Part",
    "Results",
    "Run",
    "bootstrap",
    "decompose",
    "load_results",
    "t_interval",
    "t_quantile",
    "train",
]
