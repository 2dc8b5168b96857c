"""Patches that wait for their module, so that production code needs no failpoints.

    SPANMILL_BROKEN=put_over/meter/kill_before_commit=3      names of patches, each with an argument or none

They are put on in that order, the last around the others. What a patch has to tell goes into the file SPANMILL_METER;
what happens only once leaves a mark in the folder SPANMILL_MARKS.
"""

import functools
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

Patch = Callable[[ModuleType, str], None]
Patches = dict[str, tuple[tuple[str, Patch], ...]]
"""Name to the modules that it patches, and how."""

_OURS = ("schemas", "transforms", "training", "pipelines")


def install() -> None:
    """Puts on the patches that the environment names."""
    from tests.faults.injection import faults, meter, mutants

    known: Patches = {**mutants.MUTANTS, **meter.METER, **faults.FAULTS}
    waiting: dict[str, list[Callable[[ModuleType], None]]] = {}
    for spec in filter(None, os.environ["SPANMILL_BROKEN"].split("/")):
        name, _, argument = spec.partition("=")
        for module, patch in known[name]:
            applied = functools.partial(_apply, patch, argument)
            if module in sys.modules:
                applied(sys.modules[module])
            else:
                waiting.setdefault(module, []).append(applied)
    sys.meta_path.insert(0, _PostImport(waiting))


def wrap(owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Puts `around(real, *arguments)` in place of a function, also where modules of ours have imported it by name."""
    real = getattr(owner, name)

    @functools.wraps(real)
    def wrapped(*arguments: Any, **options: Any) -> Any:
        return around(real, *arguments, **options)

    setattr(owner, name, wrapped)
    for module in [module for name_, module in sys.modules.items() if name_.partition(".")[0] in _OURS]:
        if getattr(module, name, None) is real:
            setattr(module, name, wrapped)


def tell(*words: object) -> None:
    """Adds a line to the meter, whole, whoever else writes."""
    handle = os.open(os.environ["SPANMILL_METER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (" ".join(map(str, words)) + "\n").encode())
    os.close(handle)


def is_first(mark: str) -> bool:
    """Whether this is the first time that a mark is asked for, over all processes."""
    try:
        os.close(os.open(Path(os.environ["SPANMILL_MARKS"], mark), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def _apply(patch: Patch, argument: str, module: ModuleType) -> None:
    patch(module, argument)


class _PostImport(importlib.abc.MetaPathFinder):
    """Finds modules as ever, and patches those that are waited for once they are imported."""

    def __init__(self, waiting: dict[str, list[Callable[[ModuleType], None]]]) -> None:
        self._waiting = waiting

    def find_spec(self, name: str, path: object = None, target: object = None) -> Any:
        if (patches := self._waiting.pop(name, None)) is None:
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_patch(module: ModuleType) -> None:
            execute(module)
            for patch in patches:
                patch(module)

        spec.loader.exec_module = execute_and_patch
        return spec
