"""A gazetteer as a tagger: what travels, and what comes of it."""

import pickle
import subprocess
import sys

import pyarrow as pa
import pytest

from schemas.errors import ConfigError
from schemas.specs import parse_spec
from transforms.models.annotator import Annotator, EntityConfig
from transforms.models.gazetteer.options import GazetteerOptions
from transforms.models.gazetteer.tagger import configure_gazetteer


@pytest.fixture
def names(tmp_path):
    path = tmp_path / "names.csv"
    path.write_text("name,label\nAnna,PER\nBerlin,LOC\n")
    return path


def _configure(*files, **options):
    return configure_gazetteer(GazetteerOptions(file=tuple(map(str, files)), **options))


def test_texts_in_entities_out(names):
    config = pickle.loads(pickle.dumps(_configure(names)))
    found = config.build(config.load()).begin(["Anna lives in Berlin.", "", "Anna"])()
    assert found.document.tolist() == [0, 0, 2]
    assert found.start.tolist() == [0, 14, 0]
    assert found.end.tolist() == [4, 20, 4]
    assert [config.labels[label] for label in found.label] == ["PER", "LOC", "PER"]
    assert found.score.tolist() == [1, 1, 1]
    assert found.tokens.tolist() == [4, 0, 1]
    assert found.windows.tolist() == [1, 1, 1]
    assert not found.failures


def test_no_texts_give_no_entities(names):
    config = _configure(names)
    found = config.build(config.load()).tag([])
    assert len(found.document) == len(found.tokens) == 0


def test_an_annotator_writes_what_it_finds(names):
    config = _configure(names)
    documents = pa.table({"id": ["d"], "row": [0], "text": ["In Berlin: Anna"]})
    part = Annotator(config.build(config.load()), EntityConfig(), model=config.digest).annotate(documents, source="f")
    assert [(entity["text"], entity["label"]) for entity in part.annotations.column("entities")[0].as_py()] == [
        ("Berlin", "LOC"),
        ("Anna", "PER"),
    ]


def test_the_digest_is_that_of_names_labels_and_options(names, tmp_path):
    same = tmp_path / "other.jsonl"
    same.write_text('{"name": "Berlin", "label": "LOC"}\n{"name": "Anna", "label": "PER"}\n')
    other = tmp_path / "other.csv"
    other.write_text("Anna,PER\nBerlin,ORG\n")
    one = _configure(names)
    assert _configure(same).digest == one.digest
    assert len({one.digest, _configure(other).digest, _configure(names, words=False).digest}) == 3
    assert _configure(names, case="fold").digest != one.digest


def test_what_was_left_out_is_described(names, tmp_path):
    more = tmp_path / "more.csv"
    more.write_text("Berlin,PER\nBo,PER\n")
    described = _configure(names, more, min_length=3).describe()
    assert described["tagger"] == "gazetteer"
    assert (described["names"], described["conflicts"], described["short"]) == (2, 1, 1)
    assert described["labels"] == ["LOC", "PER"]


def test_files_that_changed_since_the_run_was_planned_are_refused(names):
    config = _configure(names)
    names.write_text("name,label\nAnna,PER\nBerlin,ORG\n")
    with pytest.raises(ConfigError, match="they changed since the run was planned"):
        config.load()


def test_a_spec_says_it_all(names):
    spec = f"gazetteer:file={names}+{names},case=fold,words=false,min-length=2"
    _, options = parse_spec(spec, {"gazetteer": GazetteerOptions}, flag="--tagger")
    assert options == GazetteerOptions(file=(str(names), str(names)), case="fold", words=False, min_length=2)


def test_it_needs_no_torch(names):
    script = (
        "import sys\n"
        "from transforms.models.gazetteer.options import GazetteerOptions\n"
        "from transforms.models.gazetteer.tagger import configure_gazetteer\n"
        f"config = configure_gazetteer(GazetteerOptions(file=({str(names)!r},)))\n"
        "config.build(config.load()).tag(['Anna'])\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"
