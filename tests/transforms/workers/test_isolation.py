import pyarrow as pa
import pytest

from schemas.documents import DOCUMENT_FIELDS
from schemas.errors import ModelError
from tests.transforms.workers.dangerous import DangerousTaggerConfig
from transforms.models.annotator import Annotator, EntityConfig
from transforms.workers.isolation import IsolatedAnnotator


def _documents(*texts):
    columns = {
        "id": [str(at) for at in range(len(texts))],
        "row": list(range(len(texts))),
        "text": list(texts),
    }
    return pa.table([pa.array(columns[f.name], f.type) for f in DOCUMENT_FIELDS], schema=pa.schema(DOCUMENT_FIELDS))


@pytest.fixture
def annotate():
    """Annotates texts in isolation; the config of the tagger and the timeout may be given."""
    opened = []

    def run(*texts, timeout_s=60.0, **config):
        isolated = IsolatedAnnotator(DangerousTaggerConfig(**config), EntityConfig(), model="m", timeout_s=timeout_s)
        opened.append(isolated)
        return isolated.annotate(_documents(*texts), source="in.txt")

    yield run
    for isolated in opened:
        isolated.close()


def test_annotate_gives_what_an_annotator_in_this_process_gives(annotate):
    texts = ["Anna", "", "so does Anna", "nobody"]
    tagger = DangerousTaggerConfig().build(None)
    expected = Annotator(tagger, EntityConfig(), model="m").annotate(_documents(*texts), source="in.txt")
    found = annotate(*texts)
    assert found.annotations.equals(expected.annotations)
    assert (found.tally.documents, found.tally.entities) == (expected.tally.documents, expected.tally.entities)


@pytest.mark.parametrize(
    ("word", "code"), [("Crash", "crash"), ("Device", "crash"), ("Hang", "timeout"), ("Huge", "too_large")]
)
def test_a_document_that_harms_its_process_is_a_dead_letter_and_its_neighbours_are_kept(annotate, word, code):
    part = annotate("Anna", f"secret {word}", "Anna again", timeout_s=3.0 if word == "Hang" else 60.0)
    assert [row["row"] for row in part.annotations.to_pylist()] == [0, 2]
    (letter,) = part.rejects
    assert (letter["row"], letter["error"], letter["stage"]) == (1, code, "annotate")
    assert "secret" not in str(letter)
    assert (part.tally.documents, part.tally.dead_rows, part.tally.dead) == (2, 1, {code: 1})


def test_an_error_that_nobody_expected_is_told_by_its_type_and_place(annotate, capfd):
    part = annotate("Anna", "secret Surprise", "Anna again")
    assert [row["row"] for row in part.annotations.to_pylist()] == [0, 2]
    (letter,) = part.rejects
    assert letter["error"] == "crash"
    assert "ended by ValueError at workers/dangerous.py:" in letter["message"]
    assert "secret" not in f"{letter}{capfd.readouterr()}"


def test_annotate_gives_up_when_every_document_crashes(annotate):
    with pytest.raises(ModelError, match="SIGKILL on 10 documents in a row"):
        annotate(*["Crash"] * 12)


def test_annotate_gives_up_when_the_model_does_not_load(annotate):
    with pytest.raises(ModelError, match="load in a process of its own, found its end by exit status 3"):
        annotate("Anna", loads=False)


def test_annotate_hands_on_what_is_wrong_with_the_model(annotate):
    with pytest.raises(ModelError, match="found nonsense"):
        annotate("Nonsense")
