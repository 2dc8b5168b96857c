"""Entities equal those of transformers' token-classification pipeline wherever a document fits one window."""

import warnings

import pytest

from tests.conftest import ROOT
from transforms.models.backends import BackendConfig
from transforms.models.catalog import configure_tagger
from transforms.models.checkpoint import find_checkpoint
from transforms.tags.entities import DecodingConfig
from transforms.text.windows import WindowConfig

MODEL = ROOT / "assets/model"


@pytest.fixture(scope="module")
def sentences():
    """Every sentence of the sample corpus."""
    import pyarrow.parquet as pq

    texts = pq.read_table(ROOT / "assets/corpus/uner-ewt-dev.parquet").column("text").to_pylist()
    return [line for text in texts for line in text.split("\n") if line]


@pytest.fixture(scope="module")
def pipeline():
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    model = transformers.AutoModelForTokenClassification.from_pretrained(MODEL, dtype="float32")
    return transformers.pipeline("token-classification", model=model, tokenizer=tokenizer, device="cpu")


def _tag(texts, aggregation):
    config = configure_tagger(
        find_checkpoint(str(MODEL)),
        backend=BackendConfig(),
        windows=WindowConfig(),
        decoding=DecodingConfig(decoder="argmax", aggregation=aggregation),
        batch_tokens=2048,
    )
    tagger = config.build(config.load())
    tagging = tagger.tag(texts)
    found = [[] for _ in texts]
    columns = (tagging.document, tagging.start, tagging.end, tagging.label, tagging.score)
    for document, start, end, label, score in zip(*(column.tolist() for column in columns), strict=True):
        found[document].append((start, end, tagger.labels[label], score))
    return found, tagging.windows


def _compare(texts, pipeline, aggregation):
    ours, windows = _tag(texts, aggregation)
    # What does not fit one window, the pipeline truncates.
    fitting = [(text, found) for text, found, n in zip(texts, ours, windows, strict=True) if n <= 1]
    assert len(fitting) > 0.98 * len(texts)
    for text, found in fitting:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = pipeline(text, aggregation_strategy=aggregation)
        assert [(e["start"], e["end"], e["entity_group"]) for e in expected] == [span[:3] for span in found], text
        assert [span[3] for span in found] == pytest.approx([float(e["score"]) for e in expected], abs=1e-4)
    assert sum(map(len, ours)) > len(texts) // 4


@pytest.mark.parametrize("aggregation", ["simple", "first", "average", "max"])
def test_entities_equal_those_of_the_pipeline_of_transformers(sentences, pipeline, aggregation):
    _compare(sentences[:150], pipeline, aggregation)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("aggregation", ["simple", "first"])
def test_entities_equal_those_of_the_pipeline_on_every_sentence(sentences, pipeline, aggregation):
    assert len(sentences) > 1900
    _compare(sentences, pipeline, aggregation)


def test_a_sentence_is_found_at_every_offset_of_a_long_text_once():
    filler = ["the", "weather", "was", "fine", "and", "nothing", "happened", "that", "day", "."]
    planted = "Angela Merkel met reporters in Paris ."
    n_words = 700
    words = [filler[at % len(filler)] for at in range(n_words)]
    # Steps of seven meet every position relative to the windows' edges, since the overlap is longer.
    places = range(0, n_words + 1, 7)
    texts = [" ".join([*words[:at], planted, *words[at:]]) for at in places]
    for at, found in zip(places, _tag(texts, "first")[0], strict=True):
        text = texts[at // 7]
        spans = [(text[start:end], label) for start, end, label, _ in found]
        assert spans == [("Angela Merkel", "PER"), ("Paris", "LOC")], at
