"""Slices into a pipeline: all of them, in order where they are not spread, and through a small graph."""

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from schemas.slices import FileRef, Slice
from schemas.tables import SliceTable
from transforms.plan import PlanSlices
from transforms.storage import shards
from transforms.storage.store import open_store
from transforms.storage.work import listed_work


def make_slices(n_slices):
    file = FileRef("https://host/a.txt?sig=secret", 10, "1")
    return SliceTable.of(Slice(file, "text", at, at + 1, at, 1, at) for at in range(n_slices))


@pytest.mark.parametrize("is_spread", [False, True])
def test_plan_slices_gives_every_slice_once_as_it_was_listed(tmp_path, is_spread, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_ROWS", 7)
    slices = make_slices(30)
    with (
        listed_work(open_store(str(tmp_path)), slices) as listed,
        beam.Pipeline("FnApiRunner") as pipeline,
    ):
        found = pipeline | PlanSlices(str(tmp_path), listed, is_spread=is_spread)
        numbers = found | beam.Map(lambda slice_: (slice_.number, slice_.file.uri))
        assert_that(numbers, equal_to([(slice_.number, slice_.file.uri) for slice_ in slices]))


def test_plan_slices_that_are_not_spread_come_in_order_and_one_by_one(tmp_path):
    with listed_work(open_store(str(tmp_path)), make_slices(50)) as listed:
        seen = tmp_path / "seen"
        seen.touch()
        with beam.Pipeline("FnApiRunner") as pipeline:
            found = pipeline | PlanSlices(str(tmp_path), listed, is_spread=False)
            found | beam.Map(lambda slice_: seen.write_text(f"{seen.read_text()} {slice_.number}"))
    assert seen.read_text().split() == [str(number) for number in range(50)]


@pytest.mark.parametrize("is_spread", [False, True])
def test_the_graph_does_not_grow_with_the_slices(tmp_path, is_spread):
    sizes = []
    for n_slices in (10, 20_000):
        with listed_work(open_store(str(tmp_path)), make_slices(n_slices)) as listed:
            pipeline = beam.Pipeline()
            pipeline | PlanSlices(str(tmp_path), listed, is_spread=is_spread)
            sizes.append(len(pipeline.to_runner_api().SerializeToString()))
    assert abs(sizes[1] - sizes[0]) < 100
    assert sizes[1] < 100_000
