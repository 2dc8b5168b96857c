"""What the soak makes of a job that it watched, and the stand-in that it runs."""

import numpy as np
import pyarrow.dataset as ds
import pytest

from benchmarks.peers import stand_in
from benchmarks.soak import Sample, Soak, tabulate, write_long, write_short


def _soak(*, seconds=lambda done: done / 100, mib=lambda done: 500.0, n_slices=20):
    committed = np.array([(seconds(done), 100) for done in range(100, 100 * n_slices + 1, 100)])
    samples = [Sample(at, mib(100 * number), 50, number) for number, (at, _) in enumerate(committed, 1)]
    return Soak(1 << 20, committed[-1, 0] + 5, samples, committed, write_s=2.0, tokens=99_000, workers=2)


def test_a_steady_job_has_no_slopes_and_equal_quarters():
    soak = _soak()
    assert soak.slope("mib") == pytest.approx(0, abs=1e-6)
    assert soak.quarters() == pytest.approx([10] * 4)


def test_a_leak_and_a_slowing_job_are_seen():
    soak = _soak(mib=lambda done: 500 + done / 100, seconds=lambda done: (done / 100) ** 2)
    assert soak.slope("mib") == pytest.approx(1000)
    assert soak.quarters()[-1] > 3 * soak.quarters()[0]


def test_the_share_of_writing_is_told_for_the_job_and_beside_a_model():
    soak = _soak()
    assert soak.write_share() == pytest.approx(1 / soak.wall_s)
    assert soak.write_share(tokens_per_s=1000) == pytest.approx(0.01)


def test_a_job_of_few_slices_is_too_short_to_tell():
    rows = dict(tabulate({"a": _soak(n_slices=3)}, 1000).rows)
    assert rows["last quarter over first"] == "too short"
    assert rows["growth of memory, MiB per 100,000 documents"] == "too short"
    assert rows["documents"] == "300"


def test_corpora_have_the_wanted_size(tmp_path):
    write_short(tmp_path / "short.txt", 12_345)
    assert (tmp_path / "short.txt").read_bytes().count(b"\n") == 12_345
    for n_bytes in (1, 100_000, 3_000_000):
        written = write_long(tmp_path / "long.txt", n_bytes)
        assert n_bytes <= written < n_bytes + 100_000
        assert (tmp_path / "long.txt").read_bytes().endswith(b"\n")


def test_the_stand_in_goes_the_way_of_a_model(tmp_path, tiny_checkpoint):
    (tmp_path / "a.txt").write_text("Anna Arendt met Bert Brecht in Berlin\nnobody\n")
    words = ["--input", tmp_path / "a.txt", "--output", tmp_path / "out", "--model", tiny_checkpoint, "--no-progress"]
    assert stand_in.main([str(word) for word in words]) == 0
    (run,) = (tmp_path / "out").glob("run=*")
    rows = ds.dataset(run / "data").to_table().sort_by("row").to_pylist()
    assert [[entity["text"] for entity in row["entities"]] for row in rows] == [["Anna Arendt", "Bert Brecht"], []]
    assert {row["model"] for row in rows} == {"stand-in"}
