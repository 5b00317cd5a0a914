"""What all checks share: they print whether an answer is right, and if not, what is wrong with it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any


class NotYet(Exception):
    """Raised inside a check: the answer is wrong, and the message says how."""


def exercise(check: Callable[[Any], str]) -> Callable[[Any], bool]:
    """Turn a function that raises `NotYet` or returns a word of praise into one that prints and gives a bool.

    Whatever the reader's own code raises is reported too, instead of ending in a traceback.
    """

    @functools.wraps(check)
    def run(answer: Any) -> bool:
        try:
            praise = check(answer)
        except NotYet as hint:
            print(f"Not yet: {hint}")
            return False
        except Exception as error:
            print(f"Not yet: your code raised {type(error).__name__}: {error}")
            return False
        print(f"Correct: {praise}")
        return True

    return run
