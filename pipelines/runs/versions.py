"""Versions of what shapes output, for reports and manifests."""

import contextlib
import importlib.metadata
import platform


def versions() -> dict[str, str]:
    """Versions of spanmill, Python and the libraries that shape output, of those that are installed."""
    names = ("spanmill", "apache-beam", "pyarrow", "tokenizers", "torch", "transformers", "onnxruntime", "openvino")
    found = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
