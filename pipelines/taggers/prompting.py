"""From options to a language model that is asked for entities."""

import dataclasses
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from schemas.errors import ConfigError, FileError
from schemas.labels import OUTSIDE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from pipelines.runs.options import AnnotateOptions
    from transforms.models.backends import BackendConfig
    from transforms.models.language.language_model import LanguageModelConfig
    from transforms.models.prompt_tagger import PromptTaggerConfig, ShotConfig
    from transforms.prompts.examples import Example
    from transforms.prompts.writer import PromptWriter

_BATCH_TOKENS = 8192
_EXAMPLE_SLICE_BYTES = 16 << 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """A language model, what it is asked and where it is.

    Attributes:
      model: folder, hub name or GGUF file; at an endpoint, what the server calls it.
      labels: the labels to ask for.
      label_file: TOML file of descriptions by label; without `labels`, all of its labels are asked for.
      template: name of a template, or a file of one's own.
      shots: labelled examples in each prompt.
      examples: labelled files to take them from.
      choice: how they are chosen: fixed, random, bm25 or embeddings.
      seed: of the random choice.
      balanced: whether each label is to be shown before one is shown again.
      encoder: encoder for the choice by embeddings.
      constrained: whether answers are held to the grammar of their format.
      answer_tokens: most tokens of an answer.
      unparsable: what becomes of a document whose answer cannot be read: dead-letter or empty.
      answers: folder or URL where answers are kept; `answers` in --output where empty, `none` to keep none.
      endpoint: URL of a server that speaks chat completions; empty for a model in this process.
      context_tokens: most tokens of prompt and answer at the endpoint.
      tokenizer: tokenizer of the model at the endpoint; without one, tokens are bounded by bytes.
      grammars: how the endpoint takes grammars: json_schema, llama.cpp, vllm or none.
      concurrency: most requests under way at a time, in each process.
      requests_per_minute: most requests a minute, in each process; 0 for no limit.
      timeout: seconds that an answer may take.
      attempts: tries of a prompt.
      key_env: name of the environment variable with the key of the endpoint.
      prompt_price: price of a million tokens of prompts, for the report.
      answer_price: price of a million tokens of answers.
    """

    model: str = ""
    labels: tuple[str, ...] = ()
    label_file: str = ""
    template: str = "json"
    shots: int = 0
    examples: tuple[str, ...] = ()
    choice: str = "fixed"
    seed: int = 0
    balanced: bool = True
    encoder: str = ""
    constrained: bool = True
    answer_tokens: int = 256
    unparsable: str = "dead-letter"
    answers: str = ""
    endpoint: str = ""
    context_tokens: int = 4096
    tokenizer: str = ""
    grammars: str = "json_schema"
    concurrency: int = 8
    requests_per_minute: int = 0
    timeout: float = 120.0
    attempts: int = 4
    key_env: str = "SPANMILL_API_KEY"
    prompt_price: float = 0.0
    answer_price: float = 0.0


def configure_prompting(
    chosen: PromptOptions, options: "AnnotateOptions", backend: "BackendConfig"
) -> "PromptTaggerConfig":
    """Options to the config of a tagger that asks a language model.

    Args:
      chosen: the options of the tagger.
      options: the options of the job.
      backend: what runs a model in this process.

    Raises:
      CheckpointError: there is no such model, or it is unsafe or no language model.
      ConfigError: options do not go together, or a file is not as it should be.
    """
    from transforms.models.language.answer_cache import CachedModelConfig
    from transforms.models.language.usage import Prices
    from transforms.models.prompt_tagger import PromptTaggerConfig
    from transforms.prompts.templates import load_template
    from transforms.prompts.writer import PromptWriter

    writer = PromptWriter(
        template=load_template(chosen.template),
        labels=read_labels(chosen.labels, chosen.label_file),
        max_answer_tokens=chosen.answer_tokens,
        is_constrained=chosen.constrained,
    )
    shots = _read_shots(chosen, options, tuple(writer.labels))
    language = _find_language(chosen, options, backend, writer)
    if chosen.answers != "none":
        language = CachedModelConfig(language, chosen.answers or f"{options.output.rstrip('/')}/answers")
    return PromptTaggerConfig(
        language=language,
        writer=writer,
        shots=shots,
        unparsable=chosen.unparsable,
        prices=Prices(chosen.prompt_price, chosen.answer_price),
    )


def read_labels(labels: Sequence[str], label_file: str) -> dict[str, str]:
    """Labels and what a file says about them to descriptions by label, in the order given.

    Args:
      labels: names, also several with commas between them; empty for all of the file.
      label_file: TOML file with a description for each label; empty for none.

    Raises:
      ConfigError: there is no label, one comes twice, or the file is not as it should be.
    """
    names = [name.strip() for text in labels for name in text.split(",") if name.strip()]
    described: Mapping[str, object] = {}
    if label_file:
        try:
            described = tomllib.loads(Path(label_file).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"cannot read --label-file {label_file!r}: {error}") from error
        for name, text in described.items():
            if not isinstance(text, str):
                raise ConfigError(f'expected LABEL = "description" in {label_file!r}, found {name} = {text!r}')
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"expected each label once in --labels, found {twice} twice")
    if names and (unknown := [name for name in described if name not in names]):
        raise ConfigError(f"expected only the labels {names} in {label_file!r}, found {unknown}; add them to --labels")
    if not names and not described:
        raise ConfigError("expected --labels or --label-file with what to look for, found neither")
    for name in names or described:
        if name == OUTSIDE or re.search(r"[;|\n\t]", name):
            raise ConfigError(f"expected labels with commas between them, other than {OUTSIDE!r}, found {name!r}")
    return {name: str(described.get(name, "")) for name in names or described}


def _read_shots(chosen: PromptOptions, options: "AnnotateOptions", labels: Sequence[str]) -> "ShotConfig":
    from transforms.models.prompt_tagger import ShotConfig

    if chosen.examples and not chosen.shots:
        raise ConfigError("expected --shots of 1 or more with --examples, found 0")
    if not chosen.shots and (chosen.choice != "fixed" or chosen.encoder):
        raise ConfigError("expected --shots of 1 or more with choice or encoder in --tagger prompt, found 0")
    if (chosen.choice == "embeddings") != bool(chosen.encoder):
        raise ConfigError("expected encoder=MODEL and choice=embeddings in --tagger prompt, found one of them")
    return ShotConfig(
        examples=tuple(_read_examples(chosen.examples, options, labels)) if chosen.examples else (),
        n=chosen.shots,
        choice=chosen.choice,
        seed=chosen.seed,
        is_balanced=chosen.balanced,
        encoder=chosen.encoder,
    )


def _read_examples(patterns: Sequence[str], options: "AnnotateOptions", labels: Sequence[str]) -> "Iterator[Example]":
    """Labelled documents of files, with the entities of the labels that are asked for."""
    from transforms.corpora.documents import CorpusConfig
    from transforms.corpora.files import list_files
    from transforms.corpora.formats import cut_files, read_parts
    from transforms.prompts.examples import Example

    corpus = CorpusConfig(
        text_column=options.text_column, gold_column=options.gold_column, tokens_column=options.tokens_column
    )
    found: set[str] = set()
    try:
        for slice_ in cut_files(list_files(patterns), corpus, _EXAMPLE_SLICE_BYTES):
            for part in read_parts(slice_, corpus):
                if "gold" not in part.documents.column_names:
                    raise ConfigError(
                        f"expected entities in {slice_.file.source!r} of --examples, found none; give CoNLL files, or "
                        "the column of entities as --gold-column"
                    )
                for row in part.documents.select(["text", "gold"]).to_pylist():
                    spans = [(span["start"], span["end"], span["label"]) for span in row["gold"] or ()]
                    found.update(label for *_, label in spans)
                    yield Example(row["text"] or "", tuple(span for span in spans if span[2] in labels))
    except FileError as error:
        raise ConfigError(f"cannot read --examples: {error}") from error
    if not found & set(labels):
        raise ConfigError(
            f"expected examples with some of the labels {list(labels)}, found {sorted(found)}; "
            "name labels as they are there"
        )


def _find_language(
    chosen: PromptOptions, options: "AnnotateOptions", backend: "BackendConfig", writer: "PromptWriter"
) -> "LanguageModelConfig":
    if not chosen.endpoint:
        if chosen.model in ("", "default"):
            raise ConfigError("expected --model with a language model for --tagger prompt, found none")
        from transforms.models.language.local import find_language_model

        return find_language_model(chosen.model, backend=backend, batch_tokens=options.batch_tokens or _BATCH_TOKENS)
    from transforms.models.language.endpoint import EndpointConfig

    endpoint = EndpointConfig(
        url=chosen.endpoint,
        model="" if chosen.model == "default" else chosen.model,
        concurrency=chosen.concurrency,
        requests_per_minute=chosen.requests_per_minute,
        timeout_s=chosen.timeout,
        max_attempts=chosen.attempts,
        api_key_env=chosen.key_env,
        max_tokens=chosen.context_tokens,
        tokenizer=chosen.tokenizer,
        grammars=chosen.grammars,  # type: ignore[arg-type]
    )
    kind = writer.grammar_kind
    if chosen.grammars != "none" and kind and kind not in endpoint.grammar_kinds:
        raise ConfigError(
            f"expected grammars=llama.cpp or vllm for template {writer.template.name!r} at an endpoint, found "
            f"{chosen.grammars}, which takes {sorted(endpoint.grammar_kinds)}; or set constrained=false"
        )
    return endpoint
