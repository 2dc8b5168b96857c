import dataclasses
import threading

import pyarrow as pa
import pytest

from schemas.errors import ConfigError, ConflictError, StorageError
from tests.transforms.lake.conftest import make_publication

pytest.importorskip("pyiceberg")

from transforms.lake.iceberg import Outcome, open_catalog, publish_run

NAME = "lake.entities"


def _rows(catalog):
    return sorted(catalog.load_table(NAME).scan().to_arrow().to_pylist(), key=lambda row: (row["run"], row["row"]))


def _forbid(monkeypatch, catalog, *names):
    """Makes a catalog refuse some operations, as one does for a person without the rights."""
    from pyiceberg.exceptions import ForbiddenError

    def refuse(*_, **__):
        raise ForbiddenError("403")

    for name in names:
        monkeypatch.setattr(catalog, name, refuse)


def _operations(catalog):
    return [snapshot.summary.operation.value for snapshot in catalog.load_table(NAME).snapshots()]


def test_a_run_is_one_snapshot_with_all_of_its_rows(catalog):
    run = make_publication()
    assert publish_run(catalog, NAME, run) is Outcome.PUBLISHED
    rows = _rows(catalog)
    assert [(row["run"], row["corpus"]) for row in rows] == [(run.run, run.corpus)] * 5
    written = pa.Table.from_batches(run.read()).to_pylist()
    assert [{key: row[key] for key in written[0]} for row in rows] == written
    (snapshot,) = catalog.load_table(NAME).snapshots()
    assert snapshot.summary["spanmill.run"] == run.run
    assert snapshot.summary["spanmill.digest"] == run.digest


def test_the_same_run_again_changes_nothing(catalog):
    publish_run(catalog, NAME, make_publication())
    before = catalog.load_table(NAME).metadata_location
    assert publish_run(catalog, NAME, make_publication()) is Outcome.UNCHANGED
    assert catalog.load_table(NAME).metadata_location == before


def test_a_run_that_has_grown_takes_the_place_of_what_it_was_and_of_nothing_else(catalog):
    publish_run(catalog, NAME, make_publication("a" * 16, n_rows=2))
    publish_run(catalog, NAME, make_publication("b" * 16, n_rows=3))
    assert publish_run(catalog, NAME, make_publication("a" * 16, n_rows=4, digest="2")) is Outcome.REPLACED
    assert [(row["run"][0], row["row"], row["digest"]) for row in _rows(catalog)] == [
        *(("a", at, "2") for at in range(4)),
        *(("b", at, "1") for at in range(3)),
    ]
    assert _operations(catalog)[-2:] == ["delete", "append"]


def test_runs_with_the_same_settings_over_other_input_lie_beside_each_other(catalog):
    publish_run(catalog, NAME, make_publication(corpus="c" * 16, digest="1"))
    assert publish_run(catalog, NAME, make_publication(corpus="d" * 16, digest="2")) is Outcome.PUBLISHED
    assert len(_rows(catalog)) == 10


def test_of_two_that_publish_one_run_at_once_one_wins(catalog, catalog_properties):
    other = open_catalog("test", catalog_properties)
    outcomes = []
    slow = make_publication(before_end=lambda: outcomes.append(publish_run(other, NAME, make_publication())))
    outcomes.append(publish_run(catalog, NAME, slow))
    assert outcomes == [Outcome.PUBLISHED, Outcome.UNCHANGED]
    assert len(_rows(catalog)) == 5
    other.close()


def test_one_that_another_run_overtook_is_published_nevertheless(catalog, catalog_properties):
    other = open_catalog("test", catalog_properties)
    overtaking = iter([lambda: publish_run(other, NAME, make_publication("b" * 16))])
    slow = make_publication("a" * 16, before_end=lambda: next(overtaking, lambda: None)())
    assert publish_run(catalog, NAME, slow) is Outcome.PUBLISHED
    assert [row["run"][0] for row in _rows(catalog)] == ["a"] * 5 + ["b"] * 5
    other.close()


def test_many_at_once_leave_every_row_once(catalog, catalog_properties):
    publish_run(catalog, NAME, make_publication("0" * 16))
    barrier, outcomes = threading.Barrier(4), []

    def publish(run):
        mine = open_catalog("test", catalog_properties)
        barrier.wait()
        outcomes.append((run, publish_run(mine, NAME, make_publication(run * 16))))
        mine.close()

    threads = [threading.Thread(target=publish, args=(run,)) for run in "aabb"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted((run, outcome.value) for run, outcome in outcomes) == [
        ("a", "published"),
        ("a", "unchanged"),
        ("b", "published"),
        ("b", "unchanged"),
    ]
    assert [row["run"][0] for row in _rows(catalog)] == ["0"] * 5 + ["a"] * 5 + ["b"] * 5


def test_one_that_is_always_overtaken_gives_up(catalog, catalog_properties):
    other = open_catalog("test", catalog_properties)
    runs = iter("0123456789bcdef")
    slow = make_publication(before_end=lambda: publish_run(other, NAME, make_publication(next(runs) * 16)))
    with pytest.raises(ConflictError, match="found others faster"):
        publish_run(catalog, NAME, slow)
    assert not [row for row in _rows(catalog) if row["run"] == "a" * 16]
    other.close()


def test_rows_that_do_not_add_up_are_not_published(catalog):
    with pytest.raises(StorageError, match="expected 6 rows in the files of the run, found 5"):
        publish_run(catalog, NAME, dataclasses.replace(make_publication(), rows=6))
    assert catalog.load_table(NAME).current_snapshot() is None


def test_an_answer_that_is_lost_is_looked_up(catalog, monkeypatch):
    from pyiceberg.exceptions import CommitStateUnknownException
    from pyiceberg.table import Transaction

    commit = Transaction.commit_transaction

    def lose_answer(transaction):
        commit(transaction)
        raise CommitStateUnknownException("timeout")

    monkeypatch.setattr(Transaction, "commit_transaction", lose_answer)
    assert publish_run(catalog, NAME, make_publication()) is Outcome.PUBLISHED
    assert len(_rows(catalog)) == 5


def test_a_commit_of_which_nobody_knows_is_no_success(catalog, monkeypatch):
    from pyiceberg.exceptions import CommitStateUnknownException
    from pyiceberg.table import Transaction

    def lose(_):
        raise CommitStateUnknownException("timeout")

    monkeypatch.setattr(Transaction, "commit_transaction", lose)
    with pytest.raises(StorageError, match="publish again"):
        publish_run(catalog, NAME, make_publication())


def test_who_may_write_to_a_table_need_not_be_allowed_to_make_one(catalog, monkeypatch):
    publish_run(catalog, NAME, make_publication("a" * 16))
    _forbid(monkeypatch, catalog, "create_namespace", "create_table")
    assert publish_run(catalog, NAME, make_publication("b" * 16)) is Outcome.PUBLISHED


def test_who_may_make_tables_need_not_be_allowed_to_make_a_namespace_that_is_there(catalog, monkeypatch):
    catalog.create_namespace("lake")
    _forbid(monkeypatch, catalog, "create_namespace")
    assert publish_run(catalog, NAME, make_publication()) is Outcome.PUBLISHED


def test_who_may_not_make_the_table_that_is_missing_is_told_so(catalog, monkeypatch):
    _forbid(monkeypatch, catalog, "create_namespace")
    with pytest.raises(ConfigError, match=r"cannot open --table 'lake\.entities': 403"):
        publish_run(catalog, NAME, make_publication())


def test_a_file_of_the_run_that_cannot_be_read_is_no_fault_of_the_table(catalog):
    def read():
        yield from make_publication().read()
        raise StorageError("cannot read 'data/x.parquet'")

    with pytest.raises(StorageError, match=r"^cannot read 'data/x\.parquet'$"):
        publish_run(catalog, NAME, dataclasses.replace(make_publication(), read=read))
    assert catalog.load_table(NAME).current_snapshot() is None


def test_columns_that_a_later_run_keeps_are_added(catalog):
    publish_run(catalog, NAME, make_publication("a" * 16))
    publish_run(catalog, NAME, make_publication("b" * 16, kept=[("year", pa.int16())]))
    assert [row["year"] for row in _rows(catalog)] == [None] * 5 + list(range(5))
    publish_run(catalog, NAME, make_publication("d" * 16))
    assert len(_rows(catalog)) == 15


def test_a_column_that_changes_its_type_is_refused(catalog):
    publish_run(catalog, NAME, make_publication("a" * 16, kept=[("year", pa.int32())]))
    with pytest.raises(ConfigError, match="expected rows that fit the columns of --table"):
        publish_run(catalog, NAME, make_publication("b" * 16, kept=[("year", pa.binary())]))


def test_a_kept_column_with_the_name_of_one_of_the_table_is_refused(catalog):
    with pytest.raises(ConfigError, match=r"found \['run'\]"):
        publish_run(catalog, NAME, make_publication(kept=[("run", pa.int32())]))


def test_a_catalog_that_nobody_knows_is_refused_in_one_line():
    with pytest.raises(ConfigError, match="cannot open --catalog 'nowhere'") as caught:
        open_catalog("nowhere", {})
    assert "\n" not in str(caught.value)
