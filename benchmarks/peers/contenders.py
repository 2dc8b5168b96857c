"""The table of contenders: what each is called, what it needs and how it is started."""

import dataclasses
import importlib
import importlib.util
import sys
from typing import Any

from benchmarks.peers.spacy_pipe import PACKAGES, find_package


@dataclasses.dataclass(frozen=True, eq=False)
class Contender:
    """Something that annotates a file in a process of its own.

    Attributes:
      name: as flags name it.
      title: as tables name it.
      module: the file beside this one that runs it; empty for our own command line.
      settings: what that file's `run` is told.
      needs: packages without which it is left out.
      flags: flags of `spanmill annotate`, for our own.
      cores: the cores that it is held to; empty for all.
    """

    name: str
    title: str
    module: str = ""
    settings: dict[str, Any] = dataclasses.field(default_factory=dict)
    needs: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    cores: tuple[int, ...] = ()

    @property
    def is_ceiling(self):
        """Whether it is a bare forward pass, which takes its own time."""
        return self.module == "ceiling"

    @property
    def is_ours(self):
        """Whether it is our own command line."""
        return not self.module

    @property
    def engine(self):
        """Backend and precision of our own contenders and their ceilings; None for peers."""
        backend = self.settings.get("backend")
        return (backend, self.settings["precision"]) if backend else None

    def command(self, source, target, model):
        """The command line that annotates the file `source` into the folder `target`."""
        files = ["--input", str(source), "--output", str(target), "--model", str(model)]
        if self.module:
            return [sys.executable, "-m", "benchmarks.peers", self.name, *files]
        backend, precision = self.engine
        return [
            *(sys.executable, "-m", "pipelines", "annotate", "--no-progress", *files),
            *("--backend", backend, "--precision", precision, *self.flags),
        ]

    def with_flags(self, title, *flags, cores=()):
        """The same with more flags and perhaps fewer cores, under another title."""
        name = " ".join((self.name, *flags))
        return dataclasses.replace(self, name=name, title=title, flags=(*self.flags, *flags), cores=cores)


ENGINES = (
    ("torch", "fp32"),
    ("torch", "bf16"),
    ("onnx", "fp32"),
    ("onnx", "int8"),
    ("openvino", "fp32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
)
_LIBRARIES = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
_TITLES = {"torch": "PyTorch", "onnx": "ONNX Runtime", "openvino": "OpenVINO"}


def _ours(backend, precision, module="", name="spanmill"):
    title = f"{name}, {_TITLES[backend]} {precision}"
    settings = {"backend": backend, "precision": precision}
    return Contender(f"{name}-{backend}-{precision}", title, module, settings, (_LIBRARIES[backend],))


OURS = tuple(_ours(*engine) for engine in ENGINES)
CEILINGS = tuple(_ours(*engine, module="ceiling", name="ceiling") for engine in ENGINES)
PEERS = (
    *(
        Contender(
            f"pipeline-fp32-{n}", f"transformers pipeline, fp32, batch {n}", "transformers_pipeline", {"batch_size": n}
        )
        for n in (1, 8, 32)
    ),
    Contender(
        "pipeline-bf16-1",
        "transformers pipeline, bf16, batch 1",
        "transformers_pipeline",
        {"batch_size": 1, "dtype": "bfloat16"},
    ),
    Contender("loop-128", "loop padded to 128, batches of 16", "padded_loop", {"max_length": 128}),
    Contender("loop-512", "loop padded to 512, batches of 16", "padded_loop", {"max_length": 512}),
    Contender("beam", "plain Beam RunInference, 1 worker", "run_inference"),
    Contender("datasets", "datasets.map, batches of 32", "dataset_map", needs=("datasets",)),
    Contender("openmed", "OpenMed batch processor", "openmed_batch", needs=("openmed",)),
    Contender("spacy", "spaCy en_core_web_sm, only NER", "spacy_pipe", needs=("spacy", find_package() or PACKAGES[0])),
)
MATRIX = Contender("matrix", "matrix products", "matrix")
CONTENDERS = {each.name: each for each in (*OURS, *CEILINGS, *PEERS, MATRIX)}


def run_contender(name, source, target, model):
    """Runs a contender of this package in this process and returns what it has to say."""
    contender = CONTENDERS[name]
    return importlib.import_module(f"benchmarks.peers.{contender.module}").run(
        source, target, model, **contender.settings
    )


def missing_packages(contender):
    """The packages that a contender needs and that are not installed."""
    return [name for name in contender.needs if importlib.util.find_spec(name) is None]
