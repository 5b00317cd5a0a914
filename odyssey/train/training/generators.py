"""The random generators of a run: found, stored, and put back where they were shared."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...nn import Module

# Kinds whose state can be stored: all of NumPy's.
GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")


def plain(value: Any) -> Any:
    """A generator's state with lists for arrays and Python's numbers for NumPy's."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


class Place(NamedTuple):
    """Where a random generator was found: an attribute of a module or of the loader."""

    owner: Any
    attribute: str
    generator: np.random.Generator


def generators(model: Module, loader: Any) -> dict[str, Place]:
    """The random generators of all modules and of the loader, by path: ``model.0.rng``."""
    owners = [(f"model.{path}" if path else "model", m) for path, m in model.named_modules()]
    found = {}
    for path, owner in owners + ([] if loader is None else [("loader", loader)]):
        for name, value in vars(owner).items():
            if isinstance(value, np.random.Generator):
                found[f"{path}.{name}"] = Place(owner, name, value)
    return found


def generator_states(places: dict[str, Place]) -> list[dict[str, Any]]:
    """One entry for each generator, with the names of all places that share it."""
    found: dict[int, dict[str, Any]] = {}
    for name, place in places.items():
        state = plain(place.generator.bit_generator.state)
        if state["bit_generator"] not in GENERATORS:
            raise TypeError(f"save_checkpoint: {name} is of kind {state['bit_generator']}, which "
                            f"is not one of {', '.join(GENERATORS)}")  # fmt: skip
        entry = found.setdefault(id(place.generator), {"names": [], "state": state})
        entry["names"].append(name)
    return list(found.values())


def new_generator(state: Any) -> np.random.Generator:
    """A generator in the given state; KeyError or ValueError if it is none."""
    kind = state["bit_generator"]
    if kind not in GENERATORS:
        raise ValueError(f"unknown kind of generator {kind!r}")
    generator = np.random.Generator(getattr(np.random, kind)())
    generator.bit_generator.state = state
    return generator


class Restored(NamedTuple):
    """A generator, the state that it will get, and the places that will share it."""

    generator: np.random.Generator
    state: dict[str, Any]
    places: list[Place]


def plan_generators(saved: Any, places: dict[str, Place]) -> list[Restored]:
    """Which generator will stand where. Changes nothing.

    Places that shared one will share one, others not, however the model was built this time. A
    generator that stands in one of its places already is kept, so that the reader's own
    variable goes on being it; the loader's always is.
    """
    names = {name for entry in saved for name in entry["names"]}
    wrong = sorted(n for n in names ^ set(places) if n in places or n.startswith("model."))
    if wrong:
        one = "the file" if wrong[0] in places else "the model"
        raise ValueError(f"{one} has no random generator {wrong[0]}; build the same model")
    taken = {id(p.generator) for name, p in places.items() if name.startswith("loader.")}
    plan = []
    for entry in saved:
        state, here = entry["state"], [n for n in entry["names"] if n in places]
        chosen = new_generator(state)
        for name in sorted(here):  # the loader's first
            old, fixed = places[name].generator, name.startswith("loader.")
            if type(old.bit_generator) is not type(chosen.bit_generator):
                if fixed:
                    got = type(old.bit_generator).__name__
                    raise ValueError(f"{name} is of kind {got}, in the file of kind "
                                     f"{state['bit_generator']}; make it of that kind")  # fmt: skip
            elif fixed or id(old) not in taken:
                chosen = old
                break
        taken.add(id(chosen))
        plan.append(Restored(chosen, state, [places[n] for n in here]))
    return plan
