"""Contestants of a benchmark take turns, each in a process of its own.

What one library does to its process shall neither help nor hinder another: `odyssey`, for one, makes the C library keep
the memory of freed arrays. So each contestant works as it would for its users, and all meet the same machine within
the same second.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from time import perf_counter
from typing import Any

VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # read when the libraries are loaded

Work = Callable[[], Any]
Maker = Callable[[], Work]  # a function of a module, or a `functools.partial` of one: it travels to the other process


def serve(pipe: Any, make: Maker) -> None:
    """The life of a contestant: it works as often as it is told to, and tells how many milliseconds a piece took."""
    work = make()
    pipe.send(None)
    while pieces := pipe.recv():
        for _ in range(pieces):  # after a pause it takes up to some tenths of a second until the pace is steady again
            work()
        start = perf_counter()
        for _ in range(pieces):
            work()
        pipe.send((perf_counter() - start) * 1e3 / pieces)


def in_turns(makers: dict[str, Maker], rounds: int, turn: float = 200, threads: int = 1) -> dict[str, list[float]]:
    """Milliseconds that a piece of work took in each of the `rounds`, for each contestant.

    A turn is as many pieces as fit into about `turn` milliseconds, at least one; as many go before it and do not count.
    Each round begins with another contestant. Raises RuntimeError if one ends on its own.
    """
    context, before = get_context("spawn"), {name: os.environ.get(name) for name in VARIABLES}
    times: dict[str, list[float]] = {name: [] for name in makers}
    pipes, processes, names = {}, [], list(makers)
    try:
        os.environ.update(dict.fromkeys(VARIABLES, str(threads)))
        for name, make in makers.items():
            pipes[name], far = context.Pipe()
            processes.append(context.Process(target=serve, args=(far, make), daemon=True))
            processes[-1].start()
            far.close()
        for name in names:
            pipes[name].recv()  # it is ready
        pieces = dict.fromkeys(names, 1)
        for i in range(rounds + 2):
            for name in names[i % len(names) :] + names[: i % len(names)]:
                pipes[name].send(pieces[name])
                found = pipes[name].recv()
                if i < 2:  # the first rounds warm up, and show how long a piece takes
                    pieces[name] = max(1, round(turn / found))
                else:
                    times[name].append(found)
    except (EOFError, OSError) as error:
        raise RuntimeError(f"in_turns: {name} has ended on its own; its error stands above") from error
    finally:
        for key, value in before.items():
            os.environ.pop(key, None) if value is None else os.environ.update({key: value})
        for pipe in pipes.values():
            with suppress(OSError):  # it may have ended already
                pipe.send(0)
            pipe.close()
        for process in processes:
            process.join()
    return times
