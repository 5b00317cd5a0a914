"""Two processors for one step: pieces of work, shared between threads."""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

# A second thread costs about 0.1 ms to start: below this many numbers it is not worth it.
WORTH_SHARING = 500_000


def processors() -> int:
    """How many threads a step may use: 2, or 1 if the system or OMP_NUM_THREADS grants no more.

    NumPy lets another thread run only while one of its calls is under way, so that a third thread
    would mostly wait. In a browser there are no threads.
    """
    if sys.platform == "emscripten":
        return 1
    granted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    wanted = os.environ.get("OMP_NUM_THREADS", "2")
    return max(1, min(2, granted or 1, int(wanted) if wanted.isdecimal() else 2))


def share(pieces: list[Any], work: Callable[[Any, int], None], threads: int) -> None:
    """Call ``work(piece, thread)`` for every piece, in `threads` threads, numbered from 0.

    Each thread takes the next piece when it has done one. What one of them raises is raised here,
    after all have ended.
    """
    waiting: deque[Any] = deque(pieces)
    errors: list[BaseException] = []

    def run(thread: int) -> None:
        while waiting and not errors:
            try:
                piece = waiting.popleft()
            except IndexError:  # another thread has just taken the last one
                return
            try:
                work(piece, thread)
            except BaseException as error:
                errors.append(error)

    # A thread of its own each time, not a pool: a pool does not survive a fork. The context takes
    # np.errstate along.
    others = [
        threading.Thread(target=copy_context().run, args=(run, n)) for n in range(1, threads)
    ]
    for other in others:
        other.start()
    run(0)
    for other in others:
        other.join()
    if errors:
        raise errors[0]
