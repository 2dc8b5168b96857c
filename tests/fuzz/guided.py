"""Coverage-guided fuzzing of readers and decoders with atheris, for as long as asked.

    python -m tests.fuzz.guided --seconds 60 [--corpus FOLDER]

Tables are left to hypothesis, for what reads them is not in Python. Where atheris is not installed, that is said and
nothing is done. An input that breaks a property is kept as `crash-<digest>` in the folder where the command was given,
and fails it.
"""

import argparse
import importlib.util
import multiprocessing
import sys
import tempfile
from pathlib import Path

_MOST_BYTES = 4096


def main() -> int:
    """Fuzzes until the time is over, and returns the status of the fuzzer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=None, help="a folder of inputs to begin with, which grows")
    options = parser.parse_args()
    if not is_installed("atheris"):
        print("left out coverage-guided fuzzing: atheris is not installed; pip install atheris", file=sys.stderr)
        return 0
    with tempfile.TemporaryDirectory(prefix="spanmill-") as folder:
        # The fuzzer ends its process when the time is over, whatever there is to clean up.
        process = multiprocessing.get_context("spawn").Process(target=_fuzz, args=(Path(folder), options))
        process.start()
        process.join()
    return process.exitcode


def is_installed(name: str) -> bool:
    """Whether there is a package of that name."""
    return importlib.util.find_spec(name) is not None


def _fuzz(folder: Path, options: argparse.Namespace) -> None:
    import atheris

    with atheris.instrument_imports(include=["schemas", "transforms"]):
        from tests.fuzz import properties
    corpus = options.corpus or folder / "corpus"
    corpus.mkdir(exist_ok=True)
    _write_seeds(corpus)
    target = _Target(properties, folder)
    arguments = [f"-max_total_time={options.seconds}", f"-max_len={_MOST_BYTES}", "-timeout=30", "-verbosity=0"]
    arguments = [sys.argv[0], *arguments, str(corpus)]
    atheris.Setup(arguments, lambda content: target.run(atheris.FuzzedDataProvider(content)))
    atheris.Fuzz()


class _Target:
    """Bytes from the fuzzer to one of the properties."""

    def __init__(self, properties, folder: Path) -> None:
        self._properties = properties
        self._folder = folder

    def run(self, source) -> None:
        """The last byte chooses the property, the others are what it is tried on."""
        properties = self._properties
        kinds = [self._read_lines, self._read_conll, self._read_archive, self._read_tags, self._decode]
        kinds[source.ConsumeIntInRange(0, len(kinds) - 1)](properties, source)

    def _read_lines(self, properties, source) -> None:
        name = ("a.txt", "a.jsonl")[source.ConsumeBool()]
        properties.check_lines(self._folder / name, _rest(source))

    def _read_conll(self, properties, source) -> None:
        properties.read_file(self._folder / "a.conll", _rest(source))

    def _read_archive(self, properties, source) -> None:
        codec = sorted(properties.COMPRESS)[source.ConsumeIntInRange(0, 3)]
        at, piece = source.ConsumeIntInRange(0, _MOST_BYTES), source.ConsumeBytes(4)
        content = _rest(source)
        packed = properties.COMPRESS[codec](content)
        damaged = packed[:at] + piece + packed[at + len(piece) :] if at % 2 else packed[:at]
        properties.check_compressed(self._folder / f"a.txt.{codec}", content, damaged)

    def _read_tags(self, properties, source) -> None:
        scheme = sorted(properties.TAG_LISTS)[source.ConsumeIntInRange(0, 5)]
        properties.check_tags(_rest(source).decode(errors="replace").split(" "), scheme)

    def _decode(self, properties, source) -> None:
        import numpy as np

        scheme = sorted(properties.TAG_LISTS)[source.ConsumeIntInRange(0, 5)]
        lengths = [source.ConsumeIntInRange(0, 12) for _ in range(source.ConsumeIntInRange(0, 4))]
        shape = (sum(lengths), len(properties.TAG_LISTS[scheme]))
        values = [source.ConsumeProbability() for _ in range(shape[0] * shape[1])]
        probabilities = np.array(values, dtype=np.float32).reshape(shape)
        properties.check_decoding(scheme, probabilities, np.cumsum([0, *lengths], dtype=np.int64))


def _write_seeds(folder: Path) -> None:
    """Puts a good file of each format into a folder, with the bytes at its end that lead it to its reader."""
    seeds = {
        "text": b"Anna\r\nBerlin\n\x00\x00",
        "jsonl": b'{"text": "Anna", "id": 1}\n{"text": null}\n\x01\x00',
        "conll": b"# newdoc id = a\n# text = Anna\n1\tAnna\tB-PER\n\nBerlin B-LOC\n\x01",
        "archive": b"Anna\nBerlin\n" * 8 + b"\x10\x00\x00\x02",
        "tags": b"B-A I-A O S-B x\x00\x03",
    }
    for name, content in seeds.items():
        Path(folder, name).write_bytes(content)


def _rest(source) -> bytes:
    return source.ConsumeBytes(source.remaining_bytes())


if __name__ == "__main__":
    sys.exit(main())
