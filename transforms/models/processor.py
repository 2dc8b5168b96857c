"""What the processor is and which instructions it has, where the system tells (Linux)."""

from pathlib import Path


def read_processor() -> dict[str, str]:
    """Facts about the first core by name; none where the system does not tell."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def read_flags() -> frozenset[str]:
    """Names of its instructions."""
    facts = read_processor()
    return frozenset((facts.get("flags") or facts.get("Features") or "").split())
