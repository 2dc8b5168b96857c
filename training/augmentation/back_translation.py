"""Sentences are translated to another language and back, which says them in other words.

    Anna slept in Rome  --forward-->  Anna hat in Rom geschlafen  --backward-->  Anna was asleep in Rome

Back-translation of Sennrich et al. (2016) as paraphrase, for entities as in Yaseen & Langer (2021), "Data Augmentation
for Low-Resource Named Entity Recognition Using Backtranslation". The models read the sentence as it is, mentions
included, for they know names and have never seen placeholders; a mention is then looked for word by word in what
comes back. Only where each is there again, as often as before and to the letter, is the sentence kept, so that a label
can be lost with its sentence but hardly be wrong. What is dropped is counted.

Translating is slow and always gives the same, so it is done once, before training. What has been translated stays in
the folder of unfinished training.
"""

import dataclasses
import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from schemas.errors import CheckpointError, ConfigError
from training.augmentation.copies import Copies, CopiesConfig, Material, order_sentences, path_option
from training.examples import LabelledSentence, split_sentences
from transforms.models.checkpoint import digest_folder
from transforms.text.tokens import ColumnTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_LOG = logging.getLogger(__name__)


class Translator(Protocol):
    """Says texts in other words."""

    def translate(self, texts: Sequence[str]) -> list[str | None]:
        """Texts to texts, in order; None for one that is longer than it reads."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackTranslationConfig(CopiesConfig):
    """Which models translate, and how; `share` is that of the sentences to translate, and fewer come back usable.

    Attributes:
      forward: folder of a sequence-to-sequence model to another language.
      backward: folder of one from there back.
      forward_prefix: what the first model wants before each text, such as `translate English to German:`.
      backward_prefix: the same for the second.
      beams: beams of the search; 1 takes the likeliest word each time.
      batch_size: sentences translated at once.
      max_tokens: most pieces of a translation; one that is longer is dropped, for it has lost its end.
    """

    forward: str = path_option()
    backward: str = path_option()
    forward_prefix: str = ""
    backward_prefix: str = ""
    beams: int = 1
    batch_size: int = 16
    max_tokens: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.share > 1:
            raise ConfigError(f"expected share of --augment back-translation of at most 1, found {self.share}")
        for name in ("beams", "batch_size", "max_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"expected {name} of --augment back-translation above 0, found {getattr(self, name)}")
        if missing := [name for name in ("forward", "backward") if not getattr(self, name)]:
            raise ConfigError(f"expected {missing[0]}=DIR in --augment back-translation, found none")


class RoundTrip:
    """Two models, there and back.

    Args:
      config: the folders and how to translate.

    Raises:
      CheckpointError: a model cannot be loaded.
    """

    def __init__(self, config: BackTranslationConfig) -> None:
        self._there = _OneWay(Path(config.forward), config.forward_prefix, config)
        self._back = _OneWay(Path(config.backward), config.backward_prefix, config)

    def translate(self, texts: Sequence[str]) -> list[str | None]:
        """Texts in their own language again; None where one was longer than a model reads or may write."""
        abroad = self._there.translate(texts)
        home = iter(self._back.translate([text for text in abroad if text is not None]))
        return [None if text is None else next(home) for text in abroad]


def check(config: BackTranslationConfig, tokenizer: object) -> None:  # noqa: ARG001
    """Refuses folders that hold no sequence-to-sequence model in safetensors.

    Raises:
      ConfigError: naming the folder and what is missing.
    """
    for name in ("forward", "backward"):
        folder = Path(getattr(config, name))
        where = f"{name} of --augment back-translation, {folder.name!r}"
        if not (folder / "config.json").is_file():
            raise ConfigError(f"expected a model folder with config.json as {where}, found none")
        if not list(folder.glob("*.safetensors")):
            raise ConfigError(f"expected weights in safetensors in {where}, found none")
        try:
            is_seq2seq = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("is_encoder_decoder")
        except (ValueError, AttributeError):
            is_seq2seq = None
        if not is_seq2seq:
            raise ConfigError(f"expected a sequence-to-sequence model as {where}, found another kind")


def prepare(config: BackTranslationConfig, material: Material) -> Copies:
    """The same paraphrases in every pass."""
    copies, counts = paraphrase(RoundTrip, config, material)
    return Copies(lambda _epoch: copies, counts)


def paraphrase(
    load: Callable[[BackTranslationConfig], Translator], config: BackTranslationConfig, material: Material
) -> tuple[list[LabelledSentence], Mapping[str, int]]:
    """Translates some of the sentences and finds their mentions again.

    Args:
      load: config to translator; called only when something is not translated yet.
      config: how to translate.
      material: the sentences, and the folder for what has been translated.

    Returns:
      The new sentences, and how many were translated, kept, and dropped for which reason.
    """
    n_wanted = round(config.share * len(material.sentences))
    order = order_sentences(len(material.sentences), f"{material.seed}/back-translation")
    chosen = sorted(islice(order, n_wanted), key=lambda number: (-len(material.sentences[number].words), number))
    texts = [" ".join(material.sentences[number].words) for number in chosen]
    kept: list[LabelledSentence] = []
    fates: Counter[str] = Counter(dict.fromkeys(("kept", "mention_lost", "unchanged", "too_long"), 0))
    for number, text in zip(chosen, _translate_all(texts, load, config, material.work), strict=True):
        fate, sentence = realign(material.sentences[number], text, material.splitter)
        fates[fate] += 1
        kept += [sentence] if sentence else []
    counts = {"translated": len(chosen), **fates}
    _LOG.info("back-translation: %s", ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in counts.items()))
    return kept, counts


def realign(
    sentence: LabelledSentence, text: str | None, splitter: ColumnTokenizer
) -> tuple[str, LabelledSentence | None]:
    """A sentence and what came back for it, to its fate and, if that is `kept`, the new sentence.

    The words of each mention must stand in the new text as often as there are such mentions, all with one label, and
    must not have stood elsewhere in the old one; then it is certain what is what, in whatever order.
    """
    if not text or not text.split():
        return "too_long" if text is None else "mention_lost" if sentence.spans else "unchanged", None
    (new,) = split_sentences([LabelledSentence(tuple(text.split()), ())], splitter)
    if new.words == sentence.words:
        return "unchanged", None
    labels: dict[tuple[str, ...], list[str]] = {}
    for first, last, label in sentence.spans:
        labels.setdefault(sentence.words[first:last], []).append(label)
    spans: list[tuple[int, int, str]] = []
    for words, own in labels.items():
        places = list(_find_words(words, new.words))
        n_before = sum(1 for _ in _find_words(words, sentence.words))
        if len(set(own)) > 1 or not len(places) == len(own) == n_before:
            return "mention_lost", None
        spans += [(place, place + len(words), own[0]) for place in places]
    spans.sort()
    if any(last > first for (_, last, _), (first, _, _) in pairwise(spans)):
        return "mention_lost", None
    return "kept", dataclasses.replace(new, spans=tuple(spans))


class _OneWay:
    """One model, on the accelerator if there is one."""

    def __init__(self, folder: Path, prefix: str, config: BackTranslationConfig) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        self._prefix, self._config = prefix, config
        try:
            self._tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model: PreTrainedModel = AutoModelForSeq2SeqLM.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            raise CheckpointError(
                f"cannot open model {folder.name!r} of --augment back-translation: {' '.join(str(error).split())}"
            ) from error
        self._model: Any = model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
        n_positions = getattr(model.config, "max_position_embeddings", None) or self._tokenizer.model_max_length
        self._limit_tokens = min(self._tokenizer.model_max_length, n_positions)

    def translate(self, texts: Sequence[str]) -> list[str | None]:
        """Texts of any number in one batch; None for one too long to read or to write."""
        import torch

        prefixed = [f"{self._prefix} {text}".lstrip() for text in texts]
        encoded = [self._tokenizer(text, verbose=False)["input_ids"] for text in prefixed]
        fitting = [at for at, ids in enumerate(encoded) if len(ids) <= self._limit_tokens]
        found: list[str | None] = [None] * len(texts)
        if not fitting:
            return found
        batch = self._tokenizer([prefixed[at] for at in fitting], padding=True, return_tensors="pt")
        with torch.inference_mode():
            written = self._model.generate(
                input_ids=batch["input_ids"].to(self._model.device),
                attention_mask=batch["attention_mask"].to(self._model.device),
                max_new_tokens=self._config.max_tokens,
                num_beams=self._config.beams,
                do_sample=False,
            )
        end = self._model.generation_config.eos_token_id
        ends = set(end if isinstance(end, list) else [end])
        for at, ids in zip(fitting, written.tolist(), strict=True):
            if ends & set(ids[1:]):
                found[at] = str(self._tokenizer.decode(ids, skip_special_tokens=True))
        return found


def _translate_all(
    texts: Sequence[str], load: Callable[[BackTranslationConfig], Translator], config: BackTranslationConfig, work: Path
) -> Iterator[str | None]:
    """Translations in order; batches that an earlier try finished are read, not made again."""
    path = work / f"translations-{_digest_models(config)[:16]}.jsonl"
    done = _read_translations(path)
    translator: Translator | None = None
    for begin in range(0, len(texts), config.batch_size):
        batch = texts[begin : begin + config.batch_size]
        key = _digest("\n".join(batch))
        if key not in done:
            translator = translator or load(config)
            done[key] = translator.translate(batch)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                # Begun on a new line, for a kill may have cut off the one before.
                file.write("\n" + json.dumps({"batch": key, "texts": done[key]}))
        yield from done[key]


def _read_translations(path: Path) -> dict[str, list[str | None]]:
    found: dict[str, list[str | None]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                record = json.loads(line or "{}")
            except ValueError:
                continue
            if record:
                found[record["batch"]] = record["texts"]
    return found


def _digest_models(config: BackTranslationConfig) -> str:
    folders = {name: digest_folder(Path(getattr(config, name))) for name in ("forward", "backward")}
    return _digest(json.dumps({**dataclasses.asdict(config), "share": None, **folders}, sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _find_words(words: Sequence[str], where: Sequence[str]) -> Iterator[int]:
    """Places at which words stand one after the other."""
    n = len(words)
    return (at for at in range(len(where) - n + 1) if tuple(where[at : at + n]) == tuple(words))
