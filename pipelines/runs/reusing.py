"""`spanmill annotate --reuse RUN`: what of an earlier run holds for a new one, and where its texts are."""

import hashlib
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from pipelines.runs.opening import Run, find_differences, open_run
from schemas.errors import ConfigError

if TYPE_CHECKING:
    from schemas.receipts import Tally
    from transforms.models.tagger import TaggerConfig
    from transforms.reuse.recall import RecallConfig
    from transforms.storage.store import Store

_LEAVE = "leave --reuse out"


class EarlierRun(NamedTuple):
    """A run whose annotations hold for texts of a new one.

    Attributes:
      run: the run.
      changes: settings that its entities are decided anew by, as {name, a, b}.
    """

    run: Run
    changes: tuple[Mapping[str, Any], ...]

    @property
    def shown(self) -> str:
        """Where it lies, as it may be written."""
        from schemas.slices import display_uri

        return display_uri(self.run.root)

    @property
    def has_probabilities(self) -> bool:
        """Whether it kept the probabilities of tokens, from which everything is decided."""
        return _has_probabilities(self.run.settings)


def open_earlier(name: str, settings: Mapping[str, Any], labels: tuple[str, ...]) -> EarlierRun | None:
    """Opens the run that a new one reuses, finished or not; none without a name.

    Args:
      name: folder or URL of the run.
      settings: those of the new run.
      labels: labels of its tagger.

    Raises:
      ConfigError: there is no such run, or what it found does not hold under the settings.
    """
    from schemas.manifest import dump_json

    if not name:
        return None
    run = open_run(name, flag="--reuse")
    new = json.loads(dump_json(settings))
    if run.is_flat:
        raise ConfigError(
            f"expected --reuse of a run with --layout document, found flat, in which documents without entities have "
            f"no row; {_LEAVE}"
        )
    has_probabilities = _has_probabilities(run.settings)
    if _has_probabilities(new) and not has_probabilities:
        raise ConfigError(f"expected --reuse of a run with --keep-probabilities too, found one without; {_LEAVE}")
    decoding = _check_tagger(run.settings, new, has_probabilities=has_probabilities)
    if not has_probabilities:
        _check_scores(run.settings["entities"], new["entities"], labels)
    return EarlierRun(run, (*decoding, *_find_changes(run.settings["entities"], new["entities"])))


def index_earlier(earlier: EarlierRun, tagger: "TaggerConfig", store: "Store", root: str) -> "RecallConfig":
    """Writes where the texts of an earlier run are into a new one, for its workers to read.

    Args:
      earlier: the earlier run.
      tagger: of both.
      store: the new run's.
      root: where that lies.
    """
    from transforms.models.catalog import CheckpointTaggerConfig
    from transforms.reuse.earlier import Written, read_digests
    from transforms.reuse.index import write_index
    from transforms.reuse.recall import RecallConfig
    from transforms.storage.commits import COMMITS
    from transforms.storage.plans import count_plans

    run, entities = earlier.run, earlier.run.settings["entities"]
    decided = tagger if earlier.has_probabilities and isinstance(tagger, CheckpointTaggerConfig) else None
    committed = [name for name in run.store.list(COMMITS) if len(name) == 20]
    key = hashlib.sha256("\n".join([earlier.shown, *committed]).encode()).hexdigest()[:20]
    damaged: list[str] = []
    digests = read_digests(run.store, committed, damaged.append)
    shards = write_index(store, f"{count_plans(store):04d}-reuse-{key}", digests)
    if damaged:
        print(
            f"spanmill: nothing is reused of {len(damaged):,} of {len(committed):,} slices of {earlier.shown}, whose "
            "annotations are not as they were committed; spanmill verify tells which",
            file=sys.stderr,
        )
    return RecallConfig(
        run=run.root,
        shown=earlier.shown,
        into=root,
        shards=shards,
        written=Written(
            run.taggers,
            has_below=bool(entities["keep_below"]),
            is_routed=run.settings["tagger"]["tagger"] == "routed",
            has_probabilities=decided is not None,
        ),
        unit=run.unit,
        # Probabilities are of before the calibrator.
        is_calibrated="calibrator" in entities and decided is None,
        labels=tagger.labels,
        tagger=decided,
    )


def read_tally(earlier: EarlierRun) -> "Tally | None":
    """What an earlier run has counted in all, for what it would have taken again; None where it was not finished."""
    from schemas.receipts import Tally
    from transforms.storage.manifests import MANIFEST

    try:
        return Tally.from_json(json.loads(earlier.run.store.read(MANIFEST))["tally"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _has_probabilities(settings: Mapping[str, Any]) -> bool:
    return bool(settings["output"].get("probabilities"))


def _check_tagger(old: Mapping[str, Any], new: Mapping[str, Any], *, has_probabilities: bool) -> list[dict[str, Any]]:
    """What the new run decodes otherwise; other differences of taggers are refused, and this too without probabilities.

    Raises:
      ConfigError: naming the first difference that is refused.
    """
    decisive = ("schema_version", "tagger")
    differences = find_differences(*({key: each.get(key) for key in decisive} for each in (old, new)))
    decoding = [each for each in differences if has_probabilities and each["name"].startswith("tagger.decoding.")]
    if refused := [each for each in differences if each not in decoding]:
        first = refused[0]
        raise ConfigError(
            f"expected --reuse of a run with the same tagger, found {first['name']} {first['a']!r} there and "
            f"{first['b']!r} here ({len(refused)} in all); its texts have to be read anew: {_LEAVE}"
        )
    return decoding


def _check_scores(old: Mapping[str, Any], new: Mapping[str, Any], labels: tuple[str, ...]) -> None:
    """Refuses settings under which entities are wanted that the earlier run did not keep.

    Raises:
      ConfigError: naming the label, or the calibrator.
    """
    before, after = (entities.get("calibrator", "") for entities in (old, new))
    if before not in ("", after):
        raise ConfigError(
            f"expected --reuse of a run with the same --calibrator or none, found {before[:16]} there and "
            f"{after[:16] or 'none'} here; scores cannot be taken back through it: {_LEAVE}"
        )
    for label in labels:
        kept, wanted = _floor(old, label), _floor(new, label)
        # Scores under which nothing was kept say nothing of those that have passed through a calibrator.
        if wanted < kept or (before != after and kept > 0):
            raise ConfigError(
                f"expected --reuse of a run that kept what is wanted, found entities of {label!r} kept from score "
                f"{kept:g} on there, and {'calibrated anew' if before != after else f'wanted from {wanted:g} on'} "
                f"here; {_LEAVE}, or raise the threshold without --keep-below (a run with --keep-below can be decided "
                "anew by any)"
            )


def _floor(entities: Mapping[str, Any], label: str) -> float:
    """The score from which on entities of a label are written, above or below their threshold."""
    if entities["keep_below"]:
        return 0.0
    by_label = {**entities.get("thresholds", {}), **dict(entities["label_thresholds"])}
    threshold = by_label.get(label, entities["threshold"])
    return float("inf") if threshold is None else float(threshold)


def _find_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
    neutral = ("max_document_bytes",)
    return [change for change in find_differences(old, new) if change["name"] not in neutral]
