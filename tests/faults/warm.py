"""Imported by the server that runs are forked from: all that takes seconds to import, and nothing that runs."""

import importlib
import pkgutil

from pipelines.console.options import quiet_beam

quiet_beam()

# RunInference takes seconds to import, and no job uses it.
_LEFT_OUT = ("transforms.handler",)
_FOREIGN = (
    "apache_beam.runners.portability.fn_api_runner.fn_runner",
    "jinja2",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "torch",
)

for _name in _FOREIGN:
    importlib.import_module(_name)
for _package in map(importlib.import_module, ("schemas", "transforms", "pipelines")):
    for _module in pkgutil.walk_packages(_package.__path__, f"{_package.__name__}."):
        if _module.name not in _LEFT_OUT:
            importlib.import_module(_module.name)
