"""Gates from a file to a verdict on a candidate: test sets read, both models run, every gate asked."""

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.console.options import read_values
from pipelines.labelled.gold import GoldOptions, configure_corpus, find_scheme, map_labels
from schemas.errors import ConfigError, FileError
from schemas.registry import CheckpointRecord, Verdict

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.gates.gates import Gates
    from training.gates.measurements import GoldSet
    from training.registry.references import PinnedModel
    from transforms.models.tagger import Tagger

_SLICE_BYTES = 64 << 20
_SPEED_CHARACTERS = 1 << 15
_LEAST_DOCUMENTS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatesFile:
    """What a file of gates says.

    Attributes:
      gates: the gates.
      sets: the test sets.
      digest: SHA-256 of the file, hex.
    """

    gates: "Gates"
    sets: tuple["GoldSet", ...]
    digest: str


def read_gates(name: str, *, flag: str = "--gates") -> GatesFile:
    """A TOML file to gates and test sets, which are read.

    Args:
      name: the file.
      flag: where its name came from, for messages.

    Raises:
      ConfigError: the file cannot be read, a key is wrong, a test set is, or a gate would have nothing to judge.
    """
    from training.gates.gates import parse_gates

    text = _read(name, flag)
    try:
        content = tomllib.loads(text.decode("utf-8"))
    except ValueError as error:
        raise ConfigError(f"cannot read {flag} {name!r}: {error}") from error
    sets = content.pop("sets", None)
    if not isinstance(sets, dict) or not sets:
        raise ConfigError(f"expected a table [sets] of test sets by name in {name!r}, found none")
    gates = parse_gates(content, where=name)
    read = tuple(_read_set(key, value, name) for key, value in sets.items())
    gates.check({item.name: item.support for item in read})
    return GatesFile(gates=gates, sets=read, digest=hashlib.sha256(text).hexdigest())


def digest_gates(name: str) -> str:
    """SHA-256 of a file of gates, hex, as verdicts have it.

    Raises:
      ConfigError: the file cannot be read.
    """
    return hashlib.sha256(_read(name, "--gates")).hexdigest()


def check_unseen(file: GatesFile, record: CheckpointRecord) -> None:
    """Makes sure that a candidate was not trained on a test set, as far as its card tells.

    Raises:
      ConfigError: it was.
    """
    seen = {data["digest"] for data in (record.card or {}).get("data", ()) if data["role"] == "train"}
    for item in file.sets:
        if seen & {item.digest, *item.files}:
            raise ConfigError(
                f"expected test sets that checkpoint {record.digest[:16]} was not trained on, found {item.name!r}, "
                "which is among its training files; name other gold files"
            )


def judge_candidate(
    file: GatesFile,
    candidate: "PinnedModel",
    champion: "PinnedModel | None",
    *,
    device: str,
    tell: Callable[[str], None],
) -> Verdict:
    """Runs candidate and champion on the test sets and asks every gate.

    Args:
      file: gates and test sets.
      candidate: the candidate.
      champion: the champion; None where there is none.
      device: cpu or cuda.
      tell: called with what is being done.

    Raises:
      ConfigError: a model or the device is not there.
    """
    from training.gates.measurements import Measurements, measure_ratios, measure_set

    taggers = [_load_tagger(model, device) if model else None for model in (candidate, champion)]
    first, second = taggers
    assert first is not None
    measured = {}
    for item in file.sets:
        tell(f"scoring on {item.name}, {item.gold.num_rows:,} documents")
        measured[item.name] = measure_set(item, first, second)
    ratios: tuple[float, ...] = ()
    if second and file.gates.need_speed:
        tell("measuring speed")
        ratios = measure_ratios(_choose_texts(file.sets), first, second)
    found = file.gates.judge(Measurements(sets=measured, ratios=ratios)) if second else file.gates.welcome()
    return Verdict(
        champion=champion.digest if champion else "",
        gates_digest=file.digest,
        gates=found,
        sets=tuple(item.score() for item in measured.values()),
    )


def _read(name: str, flag: str) -> bytes:
    try:
        return Path(name).read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {flag} {name!r}: {error.strerror}") from error


def _read_set(name: str, value: Any, where: str) -> "GoldSet":
    """A test set: a file, several, or a table with the options that `evaluate` has for gold."""
    import pyarrow as pa

    from training.gates.measurements import GoldSet
    from transforms.corpora.files import digest_file, list_files
    from transforms.corpora.formats import cut_files
    from transforms.pairing.joined import GOLD_SCHEMA, JoinConfig
    from transforms.pairing.rows import read_gold_rows
    from transforms.pairing.tagged import TagConfig

    content: Mapping[str, Any] = value if isinstance(value, dict) else {"gold": value}
    options = GoldOptions(**read_values(content, GoldOptions, where=f"[sets] {name} of {where}"))
    if not options.gold:
        raise ConfigError(f"expected gold of test set {name!r} in {where!r}, found none")
    files = list_files(options.gold, flag=f"[sets] {name}")
    corpus = configure_corpus(options, files)
    tags = TagConfig(scheme=find_scheme(options, files), predicted_scheme="BIO", label_map=map_labels(options))
    try:
        digests = [digest_file(file) for file in files]
        tables = [
            table for slice_ in cut_files(files, corpus, _SLICE_BYTES) for table in read_gold_rows(slice_, corpus, ())
        ]
    except FileError as error:
        raise ConfigError(f"cannot read test set {name!r}: {error}; mend the file") from error
    gold = pa.concat_tables(tables) if tables else GOLD_SCHEMA.empty_table()
    gold = gold.filter(gold.column("gold").is_valid())
    if gold.num_rows < _LEAST_DOCUMENTS:
        raise ConfigError(
            f"expected {_LEAST_DOCUMENTS} labelled documents or more in test set {name!r}, found {gold.num_rows}"
        )
    # One file is known as cards of trainings know it.
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    return GoldSet(name=name, digest=digest, gold=gold, config=JoinConfig(tags=tags), files=tuple(digests))


def _load_tagger(model: "PinnedModel", device: str) -> "Tagger":
    """A checkpoint in PyTorch, with the usual windows and decoding."""
    from transforms.models.backends import BackendConfig, check_device, default_batch_tokens
    from transforms.models.catalog import configure_tagger
    from transforms.models.checkpoint import find_checkpoint
    from transforms.tags.entities import DecodingConfig
    from transforms.text.windows import WindowConfig

    backend = BackendConfig(device=device)
    check_device(backend)
    config = configure_tagger(
        find_checkpoint(model.model, base=model.base),
        backend=backend,
        windows=WindowConfig(),
        decoding=DecodingConfig(),
        batch_tokens=default_batch_tokens(device),
    )
    return config.build(config.load())


def _choose_texts(sets: "Sequence[GoldSet]") -> list[str]:
    """Texts of all test sets, a part of each, as many as tell the speed of a model."""
    chosen = []
    for item in sets:
        left = _SPEED_CHARACTERS // len(sets)
        for text in item.gold.column("text").to_pylist():
            if left <= 0:
                break
            chosen.append(text[:left])
            left -= len(text)
    return chosen
