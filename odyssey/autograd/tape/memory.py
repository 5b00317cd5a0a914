"""Memory that comes back at once, instead of page by page."""

from __future__ import annotations

import sys

import numpy as np


def keep_freed_memory() -> None:
    """Let the process keep the memory of freed arrays for the next ones (the C library glibc).

    Else the C library of Linux returns large arrays to the system, which hands the same pages out
    again one by one, each filled with zeros first. Once it has seen an array of at most 32 MiB
    freed, it keeps freed arrays up to that size, and twice as much behind the last array in use
    (mallopt(3), under M_MMAP_THRESHOLD). So one is made and freed. Nothing is written to it: it
    takes no page.
    """
    if sys.platform == "linux":
        np.empty(31 << 20, np.uint8)
