"""What is said of two classifiers on the same texts is what was seen."""

import pytest

from schemas.errors import ConfigError
from tests.conftest import write_checkpoint
from transforms.export.parity import Comparison, Labelled
from transforms.models.backends import BackendConfig
from transforms.models.catalog import load_classifier
from transforms.models.checkpoint import find_checkpoint, read_tokenizer
from transforms.text.windows import WindowConfig

WINDOWS = WindowConfig(max_tokens=64, overlap_tokens=16)
TEXTS = [" ".join(["Anna", "lives", "in", "Berlin", f"x{n}"][: n % 6] * (1 + n % 40)) for n in range(1200)]


@pytest.fixture(scope="module")
def compare(tiny_checkpoint, tmp_path_factory):
    """Compares the tiny checkpoint with another of the given seed."""

    def run(documents, *, seed, names=()):
        other = write_checkpoint(tmp_path_factory.mktemp("other") / "model", seed=seed)
        found = [find_checkpoint(str(folder)) for folder in (tiny_checkpoint, other)]
        classifiers = [load_classifier(checkpoint, BackendConfig()) for checkpoint in found]
        comparison = Comparison(read_tokenizer(found[0].folder), *classifiers, WINDOWS)
        told = []
        parity = comparison.run(iter(documents), source="a.txt", names=dict(names), tell=told.append)
        assert told[-1] == parity.documents
        return parity

    return run


def test_a_checkpoint_agrees_with_itself(compare):
    parity = compare(map(Labelled, TEXTS), seed=0)
    assert (parity.documents, parity.source) == (len(TEXTS), "a.txt")
    assert parity.tokens > len(TEXTS)
    assert (parity.equal_tags, parity.equal_entities, parity.largest_difference) == (1, 1, 0)
    assert (parity.agreement_f1, parity.checkpoint_f1, parity.lost_f1) == (100, None, 0)


def test_another_model_is_told_by_everything(compare):
    parity = compare(map(Labelled, TEXTS[:50]), seed=1)
    assert 0 < parity.equal_tags < 1
    assert 0 < parity.equal_entities < 1
    assert parity.largest_difference > 0.1
    assert parity.lost_f1 == 100 - parity.agreement_f1 > 1


def test_scores_are_against_gold_where_there_is_some(compare, tiny_checkpoint):
    from transforms.models.catalog import configure_tagger
    from transforms.tags.entities import DecodingConfig

    config = configure_tagger(
        find_checkpoint(str(tiny_checkpoint)),
        backend=BackendConfig(),
        windows=WINDOWS,
        decoding=DecodingConfig(),
        batch_tokens=2048,
    )
    tagger = config.build(config.load())
    tagging = tagger.tag(TEXTS[:50])
    gold = [[] for _ in range(50)]
    for document, start, end, label in zip(
        tagging.document.tolist(), tagging.start.tolist(), tagging.end.tolist(), tagging.label.tolist(), strict=True
    ):
        gold[document].append((start, end, tagger.labels[label]))
    documents = [Labelled(text, tuple(spans)) for text, spans in zip(TEXTS[:50], gold, strict=True)]
    parity = compare([*documents, Labelled("Anna")], seed=1)
    assert parity.checkpoint_f1 == 100
    assert parity.engine_f1 == pytest.approx(100 - parity.lost_f1)
    assert parity.engine_f1 < 100
    everything_left_out = dict.fromkeys(tagger.labels, "O")
    with pytest.raises(ConfigError, match="expected gold spans"):
        compare(documents, seed=1, names=everything_left_out)


def test_nothing_to_compare_is_refused(compare):
    with pytest.raises(ConfigError, match="expected text"):
        compare([Labelled(""), Labelled(" ")], seed=0)
