"""Every format: what goes out comes back, and what tools document is read."""

import json
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ConfigError
from schemas.selections import LABELLED, SKIPPED, UNLABELLED
from tests.transforms.labelling.recipes import LABELS, SELECTION, documents, make_document
from transforms.corpora.files import stat_file
from transforms.labelling.checking import check_answers
from transforms.labelling.formats import FORMATS, AnswerFile, read_answers, recognise

EMOJI = "👍 Anna met Zoe\u0308\r\nin\t東京."
SPANS = [(2, 6, "PER"), (11, 15, "PER"), (20, 22, "LOC")]


def accept(name, content):
    """What an annotator sends back who changes nothing, from the file that went out."""
    if name == "label-studio":
        tasks = json.loads(content)
        for number, task in enumerate(tasks, 1):
            result = [{**item, "origin": "prediction"} for item in task["predictions"][0]["result"]]
            task["id"] = number
            task["annotations"] = [{"id": number, "completed_by": 7, "was_cancelled": False, "result": result}]
        return json.dumps(tasks).encode()
    if name == "prodigy":
        lines = [{**json.loads(line), "answer": "accept"} for line in content.decode().split("\n") if line]
        return "".join(json.dumps(line) + "\n" for line in lines).encode()
    return content


def read(path, content, *, format_="auto", unit=""):
    path.write_bytes(content)
    return read_answers(stat_file(str(path)), format_=format_, unit=unit)


def send(name, selected):
    """The file that carries the documents."""
    files = FORMATS[name].write(SELECTION, selected)
    return next(content for file, content in files.items() if not file.endswith(".xml"))


@pytest.mark.parametrize("name", FORMATS)
@given(selected=st.lists(documents(), min_size=1, max_size=3, unique_by=lambda document: document.digest))
def test_an_annotator_who_changes_nothing_gives_the_suggestions_back(name, selected, tmp_path_factory):
    content = accept(name, send(name, selected))
    file = read(tmp_path_factory.getbasetemp() / f"back-{name}", content)
    assert (file.format, file.refusals) == (name, ())
    checked = check_answers([file], {document.digest: document for document in selected}, LABELS)
    assert checked.refusals == ()
    assert {answer.digest: answer.spans for answer in checked.answers} == {
        document.digest: tuple(suggestion.span for suggestion in document.suggestions) for document in selected
    }
    assert not any(checked.counts[name] for name in ("trimmed", "repeated", "skipped", "superseded"))


@pytest.mark.parametrize("name", FORMATS)
def test_provenance_travels_with_the_text(name):
    document = make_document("Anna slept", (0, 4, "PER"), chosen_by="random", rank=3)
    content = send(name, [document]).decode()
    assert document.digest in content
    assert "random" in content
    assert "<b>" in content


def test_label_studio_counts_code_points_and_quotes_each_entity():
    (task,) = json.loads(send("label-studio", [make_document(EMOJI, *SPANS)]))
    values = [item["value"] for item in task["predictions"][0]["result"]]
    assert [(value["start"], value["end"], value["labels"]) for value in values] == [(s, e, [b]) for s, e, b in SPANS]
    assert [value["text"] for value in values] == [EMOJI[start:end] for start, end, _ in SPANS]
    assert task["predictions"][0]["model_version"] == "spanmill abababababababab"


def test_label_studio_gets_a_configuration_with_the_labels():
    content = FORMATS["label-studio"].write(SELECTION, [])["label-studio.xml"]
    root = ElementTree.fromstring(content)
    assert [element.get("value") for element in root.iter("Label")] == list(LABELS)
    (labels,), (text,) = root.iter("Labels"), root.iter("Text")
    assert (labels.get("name"), labels.get("toName"), text.get("name"), text.get("value")) == (
        "label",
        "text",
        "text",
        "$text",
    )


def test_doccano_counts_utf_16_code_units():
    (line,) = send("doccano", [make_document(EMOJI, *SPANS)]).decode().splitlines()
    shifted = [[start + 1, end + 1, label] for start, end, label in SPANS]
    assert json.loads(line)["label"] == shifted


def test_prodigy_counts_code_points_and_names_the_last_token():
    (line,) = send("prodigy", [make_document("Anna-Lena slept", (0, 9, "PER"))]).decode().splitlines()
    task = json.loads(line)
    assert [token["text"] for token in task["tokens"]] == ["Anna", "-", "Lena", "slept"]
    assert [token["ws"] for token in task["tokens"]] == [False, False, True, False]
    assert task["spans"] == [{"start": 0, "end": 9, "token_start": 0, "token_end": 2, "label": "PER"}]


def test_conll_has_a_sentence_per_line_and_cuts_words_at_entities():
    document = make_document("Anna's\nBerliner Str.", (0, 4, "PER"), (7, 13, "LOC"))
    assert send("conll", [document]).decode() == (
        f"# newdoc id = {document.digest}\n"
        f"# document = {json.dumps(document.id)}\n"
        '# chosen_by = "uncertainty"\n# rank = 1\n# ranked_by = 0.25\n'
        "# text = Anna's\nAnna\tB-PER\n'\tO\ns\tO\n\n"
        "# text = Berliner Str.\nBerlin\tB-LOC\ner\tO\nStr\tO\n.\tO\n\n"
    )


def test_conll_keeps_an_entity_together_that_goes_over_a_line():
    document = make_document("New\nYork", (0, 8, "LOC"))
    assert send("conll", [document]).decode().endswith("New\tB-LOC\nYork\tI-LOC\n\n")


# Written by hand after https://labelstud.io/guide/task_format and https://labelstud.io/guide/export.
LABEL_STUDIO_JSON = [
    {
        "id": 1,
        "data": {"text": "Anna met Bob", "digest": ""},
        "annotations": [
            {
                "id": 1001,
                "completed_by": {"id": 10, "email": "anna@example.org", "first_name": "", "last_name": ""},
                "result": [
                    {
                        "value": {"start": 0, "end": 4, "text": "Anna", "labels": ["PER"]},
                        "id": "Dx_aB91ISN",
                        "from_name": "label",
                        "to_name": "text",
                        "type": "labels",
                        "origin": "manual",
                    },
                    {"from_name": "topic", "to_name": "text", "type": "choices", "value": {"choices": ["news"]}},
                    {"from_id": "Dx_aB91ISN", "to_id": "Dx_aB91ISN", "type": "relation", "direction": "right"},
                ],
                "was_cancelled": False,
                "ground_truth": False,
                "created_at": "2021-03-09T22:16:08.728353Z",
                "updated_at": "2021-03-09T22:17:08.728378Z",
                "lead_time": 4.288,
            },
            {"id": 1002, "completed_by": 11, "result": [], "was_cancelled": True, "created_at": "2021-03-10T00:00:00Z"},
        ],
        "predictions": [],
    },
    {"id": 2, "data": {"text": "nobody"}, "annotations": [], "predictions": []},
]
LABEL_STUDIO_JSON_MIN = [
    {
        "id": 1,
        "text": "Anna met Bob",
        "label": [{"start": 9, "end": 12, "text": "Bob", "labels": ["PER"]}],
        "annotator": 10,
        "annotation_id": 1001,
        "created_at": "2021-03-09T22:16:08.728353Z",
        "updated_at": "2021-03-09T22:16:08.728378Z",
        "lead_time": 4.288,
    }
]
# Written by hand after the exports that doccano's sources describe (data_export) and its issues show.
DOCCANO = (
    '{"id": 7, "text": "Anna met Bob", "digest": "", "label": [[0, 4, "PER"]], "Comments": []}\n'
    '{"id": 8, "text": "Bob", "entities": [{"id": 3, "label": "PER", "start_offset": 0, "end_offset": 3}],'
    ' "relations": [], "Comments": []}\n'
    '{"id": 9, "text": "Eva", "labels": [[0, 3, "PER"]], "annotation_approver": "admin"}\n'
)
# Written by hand after https://prodi.gy/docs/api-interfaces and what db-out prints in https://support.prodi.gy.
PRODIGY = (
    '{"text": "Hello Apple", "_input_hash": 1, "_task_hash": 2, "_is_binary": false,'
    ' "tokens": [{"text": "Hello", "start": 0, "end": 5, "id": 0, "ws": true},'
    ' {"text": "Apple", "start": 6, "end": 11, "id": 1, "ws": false}], "_view_id": "ner_manual",'
    ' "spans": [{"start": 6, "end": 11, "token_start": 1, "token_end": 1, "label": "ORG"}],'
    ' "answer": "accept", "_timestamp": 1614546928, "_annotator_id": "set-anna", "_session_id": "set-anna"}\n'
    '{"text": "Hello", "answer": "ignore", "_session_id": "set-ben"}\n'
    '{"text": "Apple", "spans": [{"start": 0, "end": 5, "label": "ORG", "answer": "reject"}], "answer": "accept"}\n'
    '{"text": "new"}\n'
)


def test_label_studio_json_is_read(tmp_path):
    file = read(tmp_path / "project-1.json", json.dumps(LABEL_STUDIO_JSON).encode())
    assert file.format == "label-studio"
    assert [(answer.state, answer.annotator, answer.spans) for answer in file.answers] == [
        (LABELLED, "anna@example.org", ((0, 4, "PER"),)),
        (SKIPPED, "11", ()),
        (UNLABELLED, "", ()),
    ]
    assert file.answers[0].labelled_at == "2021-03-09T22:17:08.728378Z"
    assert file.answers[0].place == "task 1"


def test_label_studio_json_min_is_read(tmp_path):
    file = read(tmp_path / "min.json", json.dumps(LABEL_STUDIO_JSON_MIN).encode())
    assert file.format == "label-studio"
    assert [(answer.annotator, answer.spans) for answer in file.answers] == [("10", ((9, 12, "PER"),))]


def test_label_studio_of_old_versions_counts_utf_16_and_is_told_by_its_quotes(tmp_path):
    # As in issue 1347 of its repository.
    value = {"start": 13, "end": 23, "text": "annotation", "labels": ["ORG"]}
    task = {"data": {"text": "💩This is an annotation."}, "annotations": [{"result": [{"value": value}]}]}
    (answer,) = read(tmp_path / "a.json", json.dumps([task]).encode()).answers
    assert answer.spans == ((12, 22, "ORG"),)


def test_label_studio_quotes_lose_white_space(tmp_path):
    # As in issue 3078 of its repository, and a line end as it is quoted.
    text = "Text: Berlin,  Germany\nand"
    values = [
        {"start": 6, "end": 22, "text": "Berlin, Germany", "labels": ["LOC"]},
        {"start": 15, "end": 26, "text": "Germany\\nand", "labels": ["ORG"]},
    ]
    for value in values:
        task = {"data": {"text": text}, "annotations": [{"result": [{"value": value}]}]}
        (answer,) = read(tmp_path / "a.json", json.dumps([task]).encode()).answers
        assert answer.spans == ((value["start"], value["end"], value["labels"][0]),)


def test_label_studio_that_quotes_another_text_is_refused(tmp_path):
    value = {"start": 0, "end": 4, "text": "Hans", "labels": ["PER"]}
    task = {"data": {"text": "Anna slept"}, "annotations": [{"result": [{"value": value}]}]}
    file = read(tmp_path / "a.json", json.dumps([task]).encode())
    assert [refusal.reason for refusal in file.refusals] == ["other_quotes"]
    assert "Hans" not in file.refusals[0].message


def test_doccano_is_read(tmp_path):
    file = read(tmp_path / "ben.jsonl", DOCCANO.encode())
    assert file.format == "doccano"
    assert [(answer.annotator, answer.spans) for answer in file.answers] == [
        ("ben", ((0, 4, "PER"),)),
        ("ben", ((0, 3, "PER"),)),
        ("admin", ((0, 3, "PER"),)),
    ]


def test_doccano_offsets_within_a_character_are_refused_and_their_unit_can_be_told(tmp_path):
    record = json.dumps({"text": "😀 Anna", "label": [[1, 5, "PER"]]}).encode()
    file = read(tmp_path / "a.jsonl", record)
    assert [(refusal.reason, refusal.place) for refusal in file.refusals] == [("bad_offsets", "record 1")]
    (answer,) = read(tmp_path / "a.jsonl", record, unit="codepoint").answers
    assert answer.spans == ((1, 5, "PER"),)


def test_prodigy_is_read(tmp_path):
    file = read(tmp_path / "set.jsonl", PRODIGY.encode(), format_="prodigy")
    assert [(answer.state, answer.annotator, answer.spans) for answer in file.answers] == [
        (LABELLED, "set-anna", ((6, 11, "ORG"),)),
        (SKIPPED, "set-ben", ()),
        (LABELLED, "set", ()),
        (UNLABELLED, "set", ()),
    ]
    assert file.answers[0].labelled_at == "2021-02-28T21:15:28+00:00"
    assert recognise(PRODIGY.encode(), "set.jsonl") == "prodigy"


def test_conll_of_another_scheme_is_read(tmp_path):
    document = make_document("Anna Lena met Bob")
    lines = f"# newdoc id = {document.digest}\nAnna B-PER\nLena E-PER\nmet O\nBob S-PER\n"
    checked = check_answers([read(tmp_path / "eva.conll", lines.encode())], {document.digest: document}, LABELS)
    (answer,) = checked.answers
    assert (answer.annotator, answer.spans) == ("eva", ((0, 9, "PER"), (14, 17, "PER")))


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"text": "Anna", "label": [[0, 4]]}, "bad_span"),
        ({"text": "Anna", "label": [["0", "4", "PER"]]}, "bad_span"),
        ({"text": "Anna", "label": [[0, 4, 3]]}, "bad_span"),
        ({"text": "Anna", "label": [[True, 4, "PER"]]}, "bad_span"),
        ({"text": "Anna", "label": [[0, 5, "PER"]]}, "bad_offsets"),
        ({"text": "Anna", "label": [[-1, 3, "PER"]]}, "bad_offsets"),
        ({"text": None, "label": []}, "no_text"),
        ({"text": "\ud800", "label": []}, "no_text"),
        ({"label": []}, "no_text"),
    ],
)
def test_a_broken_record_is_refused_and_its_neighbours_are_not(record, reason, tmp_path):
    records = [{"text": "Bob", "label": [[0, 3, "PER"]]}, record, {"text": "Eva", "label": [[0.0, 3.0, "PER"]]}]
    file = read(tmp_path / "a.jsonl", json.dumps(records).encode())
    assert [refusal.reason for refusal in file.refusals] == [reason]
    assert [answer.spans for answer in file.answers] == [((0, 3, "PER"),)] * 2
    assert "Anna" not in file.refusals[0].message


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b'{"text": "Anna"', "found a break at line 1, column 16: Expecting ',' delimiter; export it again"),
        (b'{"text": "Anna"}\n\n{"text": "Be', "found a break at line 3, column 10: Unterminated string starting at"),
        (b'[\n{"text": "Anna"},', "found a break at line 2, column 18: "),
        (b'\xef\xbb\xbf{"text": "Anna"}\n{"text": "\xff"}', "found a bad byte at 30, in line 2"),
        (b"Anna\tB-PER\nsle\xffpt\tO\n", "found a bad byte at 14, in line 2"),
        (b"[1, 2]", "found int"),
        (b'[{"sentence": "Anna"}]', "found ['sentence']"),
        (b"[]", "found no records"),
        (b"PK\x03\x04\xff\xfe", "found an archive; unpack it first"),
        (b"Anna\tB-PER\tx\nslept\tO\n", "expected 3 columns"),
    ],
)
def test_a_file_that_is_none_is_refused(content, found, tmp_path):
    with pytest.raises(ConfigError) as error:
        read(tmp_path / "a", content)
    assert found in str(error.value)
    assert "Anna" not in str(error.value)


def test_the_first_record_that_tells_the_format_decides(tmp_path):
    records = [{"text": "Bob"}, {"text": "Anna", "label": [[0, 4, "PER"]]}]
    file = read(tmp_path / "a.jsonl", json.dumps(records).encode())
    assert (file.format, [refusal.reason for refusal in file.refusals]) == ("doccano", ["bad_span"])


def test_conll_without_the_digest_of_a_document_says_what_is_missing(tmp_path):
    file = read(tmp_path / "a.conll", b"Anna\tB-PER\nslept\tO\n")
    assert [refusal.reason for refusal in file.refusals] == ["no_digest"]
    assert "expected '# newdoc id = ' with the digest" in file.refusals[0].message


REGION = {"start": 0, "end": 4, "text": "Anna"}


@pytest.mark.parametrize(
    "bare",
    [
        {"type": "labels", "value": REGION},
        {"type": "labels", "value": {**REGION, "labels": []}},
        {"value": REGION},
        {"type": "hypertextlabels", "value": {**REGION, "hypertextlabels": ["PER"]}},
    ],
)
def test_label_studio_regions_without_a_label_are_refused_with_their_number(bare, tmp_path):
    result = [bare, {"type": "labels", "value": {"start": 5, "end": 8, "text": "Bob", "labels": ["PER"]}}, bare]
    tasks = [{"data": {"text": "Anna Bob"}, "annotations": [{"result": result}]}]
    (refusal,) = read(tmp_path / "a.json", json.dumps(tasks).encode()).refusals
    assert (refusal.reason, refusal.place) == ("no_label", "task 1")
    assert refusal.message == (
        "expected a label on each marked region, found 2 without; label or remove it in the tool"
    )


def test_label_studio_json_min_regions_without_a_label_are_refused(tmp_path):
    task = {"text": "Anna Bob", "label": [REGION], "annotator": 1, "annotation_id": 2}
    (refusal,) = read(tmp_path / "a.json", json.dumps([task]).encode()).refusals
    assert refusal.reason == "no_label"


def test_label_studio_relations_and_what_is_said_about_a_region_are_no_regions(tmp_path):
    result = [
        {"type": "labels", "value": {**REGION, "labels": ["PER"]}},
        {"type": "choices", "value": {**REGION, "choices": ["sure"]}},
        {"type": "textarea", "value": {**REGION, "textarea": ["who is she"]}},
        {"type": "relation", "from_id": "a", "to_id": "b"},
        {"type": "choices", "value": {"choices": ["news"]}},
    ]
    tasks = [{"data": {"text": "Anna Bob"}, "annotations": [{"result": result}]}]
    (answer,) = read(tmp_path / "a.json", json.dumps(tasks).encode()).answers
    assert answer.spans == ((0, 4, "PER"),)


def test_a_file_of_answers_tells_what_it_was(tmp_path):
    file = read(tmp_path / "a.jsonl", DOCCANO.encode())
    assert isinstance(file, AnswerFile)
    assert (file.source, len(file.sha256)) == (str(tmp_path / "a.jsonl"), 64)
