"""Annotate as a step of other pipelines: rows in, rows and dead letters out, on the path of the job."""

import pickle
import re
import typing

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import FixedWindows, GlobalWindows, IntervalWindow, TimestampedValue

from schemas.errors import CheckpointError, ConfigError
from tests.training.recipes import make_adapter, make_encoder
from transforms.annotate_rows import Annotate, AnnotateYaml, DeadRow, Entity
from transforms.models.annotator import Annotator, EntityConfig
from transforms.models.catalog import find_tagger

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

TEXT = "Angela Merkel visited Paris."
FOUND = [("Angela Merkel", "PER"), ("Paris", "LOC")]


class Document(typing.NamedTuple):
    id: int
    text: str


class TakesBatches(beam.DoFn):
    """Like the file sinks that Beam makes of data frames."""

    def process_batch(self, batch: list[typing.Any]) -> typing.Iterator[list[typing.Any]]:
        yield batch

    def infer_output_type(self, _):
        return typing.Any


def _spans(entities):
    return [(e["text"], e["label"]) if isinstance(e, dict) else (e.text, e.label) for e in entities]


def _rows():
    """Rows with a schema in a pipeline that is not run."""
    return beam.Pipeline() | beam.Create([Document(7, TEXT)]).with_output_types(Document)


@pytest.fixture
def pipeline():
    with beam.Pipeline("FnApiRunner") as built:
        yield built


def test_dicts_come_out_as_dicts_with_all_their_keys(pipeline):
    rows = pipeline | beam.Create([{"id": 7, "text": TEXT, "tags": ["x"]}, {"id": 8, "text": None, "tags": []}])
    found = rows | Annotate()
    keys = found.annotated | beam.Map(lambda row: (row["id"], row["tags"], _spans(row["entities"]), row["windows"]))
    assert_that(keys, equal_to([(7, ["x"], FOUND, 1), (8, [], [], 0)]))
    assert_that(found.dead, equal_to([]), label="dead")


def test_rows_with_a_schema_come_out_with_a_schema(pipeline):
    rows = pipeline | beam.Create([Document(7, TEXT)]).with_output_types(Document)
    found = rows | Annotate(keep_columns=["id"])
    fields = dict(found.annotated.element_type._fields)
    assert list(fields) == ["id", "entities", "windows", "tokens", "model"]
    assert (fields["id"], fields["tokens"]) == (int, int)
    # Reshuffle sends them through their coder.
    values = found.annotated | beam.Reshuffle() | beam.Map(lambda row: (row.id, _spans(row.entities), row.tokens))
    assert_that(values, equal_to([(7, FOUND, 6)]))


def test_texts_alone_are_documents(pipeline):
    found = pipeline | beam.Create([TEXT]) | Annotate(text_column="body")
    assert_that(found.annotated | beam.Map(lambda row: (row.body, _spans(row.entities))), equal_to([(TEXT, FOUND)]))


def test_a_null_among_texts_alone_is_an_empty_text(pipeline):
    found = pipeline | beam.Create([TEXT, None]) | Annotate(text_column="body")
    # Reshuffle sends them through the coder of their type.
    values = found.annotated | beam.Reshuffle() | beam.Map(lambda row: (row.body, _spans(row.entities), row.windows))
    assert_that(values, equal_to([(TEXT, FOUND, 1), (None, [], 0)]))
    assert dict(found.annotated.element_type._fields)["body"] == typing.Optional[str]  # noqa: UP045


def test_entities_are_those_of_the_annotator(pipeline):
    texts = [f"{TEXT} {number} Obama met Siemens in Berlin." * (number % 3) for number in range(40)]
    tagger = find_tagger()
    config = EntityConfig(threshold=0.6, label_thresholds=(("ORG", 0.9),), offset_unit="utf8")
    table = pa.table(
        {"id": [str(at) for at in range(40)], "row": range(40), "text": pa.array(texts, pa.large_string())}
    )
    part = Annotator(tagger.build(tagger.load()), config, model=tagger.digest).annotate(table, source="")
    expected = list(zip(part.annotations["row"].to_pylist(), part.annotations["entities"].to_pylist(), strict=True))
    rows = pipeline | beam.Create([{"id": at, "text": text} for at, text in enumerate(texts)])
    found = rows | Annotate(tagger, entities=config)
    assert_that(found.annotated | beam.Map(lambda row: (row["id"], row["entities"])), equal_to(expected))


def test_bad_rows_are_dead_letters_without_their_text_and_cost_no_neighbour(pipeline):
    rows = pipeline | beam.Create(
        [{"id": 1, "text": TEXT}, {"id": 2, "text": b"\xff!"}, {"id": 3}, {"id": 4, "text": 5}, {"text": "x" * 99}]
    )
    found = rows | Annotate(entities=EntityConfig(max_document_bytes=50))
    assert_that(found.annotated | beam.Map(lambda row: row["id"]), equal_to([1]), label="annotated")
    letters = found.dead | beam.Map(lambda row: (row.id, row.stage, row.error, row.size_bytes))
    assert_that(
        letters,
        equal_to(
            [
                ("2", "read", "bad_utf8", 2),
                ("3", "read", "missing_text", None),
                ("4", "read", "bad_text", None),
                (None, "annotate", "too_large", 99),
            ]
        ),
        label="dead",
    )


def test_rows_stay_in_their_windows(pipeline):
    stamped = pipeline | beam.Create([3, 12]) | beam.Map(lambda t: TimestampedValue({"id": t, "text": TEXT}, t))
    found = stamped | beam.WindowInto(FixedWindows(10)) | Annotate()
    placed = found.annotated | beam.Map(
        lambda row, at=beam.DoFn.TimestampParam, window=beam.DoFn.WindowParam: (row["id"], at.micros, window)
    )
    expected = [(3, 3_000_000, IntervalWindow(0, 10)), (12, 12_000_000, IntervalWindow(10, 20))]
    assert_that(placed | "Leave windows" >> beam.WindowInto(GlobalWindows()), equal_to(expected))


def test_a_step_that_takes_batches_gets_every_row(pipeline):
    rows = pipeline | beam.Create([{"id": at, "text": TEXT} for at in range(5)])
    batched = (rows | Annotate()).annotated | beam.ParDo(TakesBatches())
    assert_that(batched | beam.Map(lambda row: row["id"]), equal_to(list(range(5))))


def test_the_model_is_loaded_once_per_process():
    flags = ["--runner=FnApiRunner", "--direct_num_workers=2", "--direct_running_mode=multi_threading"]
    built = beam.Pipeline(argv=flags)
    rows = built | beam.Create([{"id": at, "text": TEXT} for at in range(20)]) | beam.Reshuffle()
    _ = rows | Annotate()
    result = built.run()
    result.wait_until_finish()
    counters = result.metrics().query(MetricsFilter().with_namespace("Annotate"))["counters"]
    assert {counter.key.metric.name: counter.committed for counter in counters} == {"documents": 20, "model-loads": 1}


def test_an_adapter_is_annotated_with_where_its_base_has_moved(tmp_path):
    base = make_encoder(tmp_path / "base")
    make_adapter(base, tmp_path / "adapter", "lora:rank=4")
    before = find_tagger(str(tmp_path / "adapter")).digest
    moved = str(base.rename(tmp_path / "moved"))
    with pytest.raises(CheckpointError, match=r"give its folder, URL or hub name as base"):
        _rows() | Annotate(str(tmp_path / "adapter"))
    assert find_tagger(str(tmp_path / "adapter"), base=moved).digest == before
    found = _rows() | AnnotateYaml(str(tmp_path / "adapter"), base=moved)
    assert found.element_type is not None


def test_transform_travels_without_weights():
    assert len(pickle.dumps(Annotate(find_tagger()))) < 10_000


def test_what_is_wrong_is_said_when_the_transform_is_applied(tmp_path):
    built = beam.Pipeline("FnApiRunner")
    rows = built | beam.Create([Document(1, TEXT)]).with_output_types(Document)
    with pytest.raises(ConfigError, match=r"expected a column 'texts' with the text, found .* did you mean 'text'"):
        rows | "a" >> Annotate(text_column="texts")
    with pytest.raises(CheckpointError):
        rows | "b" >> Annotate(str(tmp_path))
    with pytest.raises(ConfigError, match="threshold"):
        rows | "c" >> Annotate(entities=EntityConfig(label_thresholds=(("DRAGON", 0.5),)))
    clash = built | "d" >> beam.Create([beam.Row(text=TEXT, tokens=3)])
    with pytest.raises(ConfigError, match=r"own, found \['tokens'\]"):
        clash | "e" >> Annotate()
    assert (clash | "f" >> Annotate(keep_columns=["text"])).annotated.element_type is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: EntityConfig(threshold=2),
        lambda: EntityConfig(offset_unit="bytes"),
        lambda: EntityConfig(max_document_bytes=0),
        lambda: find_tagger("./nowhere"),
        lambda: find_tagger(device="tpu"),
        lambda: find_tagger(precision="int3"),
        lambda: find_tagger(threads=-1),
        lambda: find_tagger(batch_tokens=-5),
        lambda: _rows() | AnnotateYaml(batch_tokens=-5),
        lambda: _rows() | Annotate(entities=EntityConfig(label_thresholds=(("DRAGON", 0.5),))),
    ],
)
def test_messages_name_no_flag_of_the_command_line(make):
    with pytest.raises(ConfigError, match=r"expected .* found") as error:
        make()
    assert " --" not in str(error.value).partition("make one with spanmill export")[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Annotate(model=3), "expected model to be text or TaggerConfig, found 3"),
        (lambda: Annotate(text_column=None), "expected text_column to be text, found None"),
        (lambda: Annotate(keep_columns="id"), "expected keep_columns to be a list of text or none, found 'id'"),
        (lambda: Annotate(entities={"threshold": 1}), "expected entities to be EntityConfig, found {'threshold': 1}"),
        (lambda: EntityConfig(threshold="high"), "expected threshold to be a number, found 'high'"),
        (lambda: EntityConfig(label_thresholds={"PER": 0.5}), "to be a list of (text, a number), found {'PER': 0.5}"),
        (lambda: find_tagger(3), "expected model to be text, found 3"),
        (lambda: find_tagger(batch_tokens="many"), "expected batch_tokens to be a whole number, found 'many'"),
        (lambda: find_tagger(device=0), "expected device to be text, found 0"),
        (lambda: AnnotateYaml(batch_tokens="many"), "expected batch_tokens to be a whole number, found 'many'"),
        (lambda: AnnotateYaml(label_thresholds={"PER": "high"}), "a mapping of text to a number or none, found"),
    ],
)
def test_values_of_another_type_are_refused_when_the_transform_is_made(make, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        make()


def test_a_column_to_keep_that_rows_with_a_schema_lack_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"of \['id', 'text'\] in keep_columns, found \['idd'\]; did you mean 'id'\?"):
        _rows() | Annotate(keep_columns=["text", "idd"])


def test_an_id_column_that_rows_with_a_schema_lack_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"column 'idd' with the id, found \['id', 'text'\]; did you mean 'id'\?"):
        _rows() | Annotate(id_column="idd")


def test_rows_need_no_id_unless_a_column_is_named(pipeline):
    bad = {"text": b"\xff"}
    dicts = pipeline | "Dicts" >> beam.Create([{**bad, "id": 1}, {**bad, "name": "b"}])
    rows = pipeline | "Rows" >> beam.Create([beam.Row(**bad)])
    unnamed = dicts | "Unnamed" >> Annotate()
    named = dicts | "Named" >> Annotate(id_column="name")
    without = rows | "Without" >> Annotate()
    for found, expected in ((unnamed, ["1", None]), (named, [None, "b"]), (without, [None])):
        ids = found.dead | f"Ids {expected}" >> beam.Map(lambda letter: letter.id)
        assert_that(ids, equal_to(expected), label=str(expected))


def test_types_of_entities_and_letters_are_those_that_files_have():
    from schemas.annotations import ENTITY_TYPE
    from schemas.dead_letters import DEAD_LETTER_SCHEMA

    assert Entity._fields == tuple(field.name for field in ENTITY_TYPE)
    assert set(DeadRow._fields) == set(DEAD_LETTER_SCHEMA.names) - {"source", "row"}
