"""What a figure depends on: the processor and what it can do, versions, the day."""

import datetime
import importlib.metadata
import os
import platform

from transforms.models.processor import read_flags, read_processor

PACKAGES = (
    *("spanmill", "torch", "transformers", "tokenizers", "onnxruntime", "openvino", "nncf", "apache-beam"),
    *("pyarrow", "datasets", "spacy", "openmed"),
)
_EXTENSIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "bf16")


def describe_machine():
    """Facts by name."""
    flags = read_flags()
    return {
        "day": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "processor": _processor_name(),
        "cores": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "instructions": " ".join(flag for flag in _EXTENSIONS if flag in flags) or "none of note",
        "lacks": " ".join(flag for flag in _EXTENSIONS[:-2] if flag not in flags) or "none of note",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {version}" for name, version in _versions().items()),
    }


def has_bf16():
    """Whether the processor multiplies bf16; elsewhere it is emulated."""
    return bool(read_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def _processor_name():
    cpu = read_processor()
    name = cpu.get("model name") or platform.processor() or platform.machine()
    return f"{name}, family {cpu['cpu family']} model {cpu['model']}" if "cpu family" in cpu else name


def _versions():
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
