"""Plans that grow, storage that is compared with them, and the end of a run."""

import json
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.errors import ConfigError, ManifestError, StorageError
from schemas.slices import FileRef, Slice
from transforms.storage import commits
from transforms.storage.commits import read_receipt
from transforms.storage.plans import read_plans
from transforms.storage.runs import (
    InputChanges,
    choose_slice_bytes,
    complete_run,
    find_run,
    is_complete,
    pending_slices,
    plan_run,
    read_receipts,
    reconcile,
)
from transforms.storage.store import open_store

A, B, C = (FileRef(f"/in/{name}.jsonl", 100, "1") for name in "abc")


def names(store):
    """Files of a run without those that its plans name."""
    return sorted(name for name in store.walk() if not name.startswith("_plans/"))


class CountingCut:
    """Two slices for each file; remembers for which it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, files, slice_bytes):
        self.asked.append(([file.uri for file in files], slice_bytes))
        return [Slice(file, "jsonl", start, start + 50, start, 2) for file in files for start in (0, 50)]


@pytest.fixture
def cut():
    return CountingCut()


def plan(store, files, cut, *, slice_bytes=50, allow_removed=False):
    changes = InputChanges(allow_removed=allow_removed)
    return plan_run(store, {"model": "m"}, files, cut, slice_bytes=slice_bytes, changes=changes)


def test_plan_run_numbers_the_slices_of_every_file(store, cut):
    state = plan(store, [A, B], cut)
    assert [(slice_.number, slice_.file, slice_.start) for slice_ in state.slices] == [
        (0, A, 0),
        (1, A, 50),
        (2, B, 0),
        (3, B, 50),
    ]
    assert (list(state.files), state.slice_bytes) == ([A, B], 50)


def test_plan_run_again_changes_nothing_and_cuts_nothing(store, cut):
    first = plan(store, [A, B], cut)
    before = store.read("_plan.json")
    assert plan(store, [A, B], cut) == first
    assert (store.read("_plan.json"), names(store), len(cut.asked)) == (before, ["_plan.json"], 1)


def test_plan_run_records_settings_and_files(memory_store, cut):
    plan(memory_store, [A], cut)
    value = json.loads(memory_store.read("_plan.json"))
    assert (value["settings"], value["slice_bytes"]) == ({"model": "m"}, 50)
    assert (value["n_files"], value["n_slices"], value["n_documents"]) == (1, 2, 4)
    assert list(read_plans(memory_store)[0].files) == [A]


def test_plan_run_adds_a_plan_for_new_files_only(store, cut):
    plan(store, [B], cut)
    state = plan(store, [A, B, C], cut)
    assert list(read_plans(store)[1].files) == [A, C]
    assert [(slice_.number, slice_.file) for slice_ in state.slices[2:]] == [(2, A), (3, A), (4, C), (5, C)]
    assert cut.asked[1] == ([A.uri, C.uri], 50)
    assert plan(store, [A, B, C], cut).slices == state.slices


def test_plan_run_for_new_files_takes_the_success_back(memory_store, cut):
    plan(memory_store, [A], cut)
    memory_store.put("_SUCCESS", b"")
    plan(memory_store, [A], cut)
    assert memory_store.size("_SUCCESS") == 0
    plan(memory_store, [A, B], cut)
    assert memory_store.size("_SUCCESS") is None


def test_plan_run_of_a_file_without_slices_knows_it_again(memory_store):
    for _ in range(2):
        state = plan(memory_store, [A], lambda files, size: [])
        assert (list(state.files), list(state.slices)) == ([A], [])
    assert names(memory_store) == ["_plan.json"]


@pytest.mark.parametrize("changed", [FileRef(A.uri, 100, "2"), FileRef(A.uri, 101, "1")])
@pytest.mark.parametrize("allow_removed", [False, True])
def test_plan_run_refuses_a_changed_file(memory_store, cut, changed, allow_removed):
    plan(memory_store, [A, B], cut)
    with pytest.raises(ConfigError, match=r"input '/in/a.jsonl' as this run read it, found it changed \(1 in all\)"):
        plan(memory_store, [changed, B], cut, allow_removed=allow_removed)


def test_plan_run_refuses_a_removed_file(memory_store, cut):
    plan(memory_store, [A, B], cut)
    with pytest.raises(ConfigError, match=r"input '/in/a.jsonl', which this run has read, found it gone"):
        plan(memory_store, [B], cut)


def test_plan_run_keeps_a_removed_file_when_it_may(memory_store, cut):
    first = plan(memory_store, [A, B], cut)
    assert plan(memory_store, [B], cut, allow_removed=True) == first


def test_plan_run_refuses_another_slice_size(memory_store, cut):
    plan(memory_store, [A], cut)
    with pytest.raises(ConfigError, match="expected --slice-size 50 as this run was planned with, found 60"):
        plan(memory_store, [A], cut, slice_bytes=60)


@pytest.mark.parametrize("slice_bytes", [0, 50])
def test_plan_run_keeps_the_slice_size_of_the_first_plan(memory_store, cut, slice_bytes):
    plan(memory_store, [A], cut)
    assert plan(memory_store, [A, B], cut, slice_bytes=slice_bytes).slice_bytes == 50
    assert cut.asked[1] == ([B.uri], 50)


def test_plan_run_of_racing_drivers_agrees(store):
    barrier = threading.Barrier(2)

    def race(_):
        barrier.wait()
        return plan(store, [A, B], CountingCut())

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(race, range(2))
    assert one == other
    assert names(store) == ["_plan.json"]


def test_plan_run_that_is_overtaken_takes_over_the_others_plan(store, cut, monkeypatch):
    put_if_absent = store.put_if_absent

    def put_late(name, content):
        monkeypatch.setattr(store, "put_if_absent", put_if_absent)
        plan(store, [A], CountingCut())
        return put_if_absent(name, content)

    monkeypatch.setattr(store, "put_if_absent", put_late)
    state = plan(store, [A, B], cut)
    assert [(slice_.number, slice_.file) for slice_ in state.slices] == [(0, A), (1, A), (2, B), (3, B)]
    assert names(store) == ["_plan.0002.json", "_plan.json"]


def test_read_plans_gives_every_plan_in_order(store, cut):
    assert read_plans(store) == []
    plan(store, [B], cut)
    plan(store, [A, B], cut)
    assert [list(plan.files) for plan in read_plans(store)] == [[B], [A]]


def signed(secret, version="1", name="a"):
    return FileRef(f"https://host/{name}.jsonl?sig={secret}", 100, version)


def test_plan_run_writes_no_secret_and_gives_it_back_to_slices(store, cut):
    state = plan(store, [signed("secret")], cut)
    assert not any(b"secret" in store.read(name).replace(b"lacks_secret", b"") for name in store.walk())
    assert not any("sig=" in file.uri for file in read_plans(store)[0].files)
    assert {file.uri for file in (*state.files, *(s.file for s in state.slices))} == {"https://host/a.jsonl?sig=secret"}


def test_plan_run_with_another_secret_plans_nothing_and_reads_with_the_new_one(store, cut):
    first = plan(store, [signed("one")], cut)
    again = plan(store, [signed("two")], cut)
    assert [slice_.slice_id for slice_ in again.slices] == [slice_.slice_id for slice_ in first.slices]
    assert {slice_.file.uri for slice_ in again.slices} == {"https://host/a.jsonl?sig=two"}
    assert (len(cut.asked), names(store)) == (1, ["_plan.json"])


def test_plan_run_beside_new_files_keeps_the_secrets_of_all(memory_store, cut):
    plan(memory_store, [signed("one")], cut)
    state = plan(memory_store, [signed("two"), signed("three", name="b")], cut)
    uris = ["https://host/a.jsonl?sig=two", "https://host/b.jsonl?sig=three"]
    assert [file.uri for file in state.files] == uris
    assert [slice_.file.uri for slice_ in state.slices] == [uris[0], uris[0], uris[1], uris[1]]


def test_plan_run_refuses_a_changed_file_whatever_its_secret(memory_store, cut):
    plan(memory_store, [signed("one")], cut)
    with pytest.raises(ConfigError, match=r"input 'https://host/a.jsonl' as this run read it, found it changed"):
        plan(memory_store, [signed("one", version="2")], cut)


def test_plan_run_plans_a_replaced_file_anew_whatever_its_secret(memory_store, cut):
    plan(memory_store, [signed("one")], cut)
    changes = InputChanges(replaced={"https://host/a.jsonl"})
    files = [signed("two", version="2")]
    state = plan_run(memory_store, {"model": "m"}, files, cut, slice_bytes=50, changes=changes)
    assert {(slice_.file.uri, slice_.file.version) for slice_ in state.slices} == {(files[0].uri, "2")}


def test_plan_run_refuses_files_that_differ_in_their_secrets_only(memory_store, cut):
    with pytest.raises(ConfigError, match=r"found 2 as 'https://host/a.jsonl'; annotate each") as caught:
        plan(memory_store, [A, signed("one"), signed("two")], cut)
    assert "sig=" not in str(caught.value)
    assert list(memory_store.walk()) == []


def test_read_plans_refuses_one_of_another_version(memory_store):
    memory_store.put("_plan.json", json.dumps({"settings": {}, "slice_bytes": 1, "files": [], "slices": []}).encode())
    with pytest.raises(ConfigError, match="of version 2, found version 1, which another spanmill wrote"):
        read_plans(memory_store)


@pytest.fixture(params=["posix", "memory", "s3"])
def output(request, tmp_path, monkeypatch):
    """An output folder on each kind of store that is named by a path or URL."""
    name = uuid.uuid4().hex
    if request.param == "s3":
        monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3_endpoint"))
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    return {"posix": str(tmp_path / name), "memory": f"memory://{name}", "s3": f"s3://bucket/{name}"}[request.param]


def test_find_run_takes_a_run_or_the_folder_above_it(output, cut):
    plan(open_store(f"{output}/run=1"), [A], cut)
    open_store(f"{output}/run=unplanned").put("_claims/x", b"")
    open_store(f"{output}/other").put("_plan.json", b"{}")
    for root in (f"{output}/run=1", f"{output}/run=1/", output, f"{output}/"):
        assert find_run(root) == f"{output}/run=1"


def test_find_run_names_the_runs_when_there_are_several(output, cut):
    for name in ("run=1", "run=2"):
        plan(open_store(f"{output}/{name}"), [A], cut)
    with pytest.raises(ConfigError, match="found 2: 'run=1', 'run=2'; name one"):
        find_run(output)
    assert find_run(f"{output}/run=2") == f"{output}/run=2"


def test_find_run_finds_none_in_files_and_where_there_is_nothing(output, tmp_path):
    (tmp_path / "a.conll").write_text("Anna B-PER\n")
    roots = (output, str(tmp_path / "a.conll"), str(tmp_path / "*.conll"), "https://example.invalid/a.conll")
    assert [find_run(root) for root in roots] == ["", "", "", ""]


@pytest.mark.parametrize(
    ("total", "slice_bytes"), [(0, 512 << 10), (256 << 20, 1 << 20), (1 << 40, 64 << 20), (201_326_593, 786_432)]
)
def test_choose_slice_bytes_gives_some_hundred_slices_within_bounds(total, slice_bytes):
    assert choose_slice_bytes([FileRef("a", total // 2, ""), FileRef("b", total - total // 2, "")]) == slice_bytes


def test_choose_slice_bytes_gives_each_worker_some_tens_of_slices():
    files = [FileRef("a", 64 << 30, "")]
    assert choose_slice_bytes(files, n_workers=64) == (64 << 30) // (64 * 32)
    assert choose_slice_bytes(files, n_workers=8) == choose_slice_bytes(files) == 64 << 20
    assert choose_slice_bytes(files, n_workers=1_000_000) == 512 << 10


def test_plan_run_has_the_slice_size_chosen_for_the_first_plan_only(memory_store, cut):
    asked = []

    def choose(files):
        asked.append(len(files))
        return 70

    for files in ([A], [A, B]):
        state = plan(memory_store, files, cut, slice_bytes=choose)
    assert (state.slice_bytes, asked) == (70, [1])


def test_pending_slices_gives_the_largest_first_and_ties_by_number(memory_store):
    slices = [Slice(A, "jsonl", 0, end, 0, 1, number) for number, end in enumerate((10, 30, 20, 31, 30))]
    slices[4] = Slice(B, "jsonl", 0, 30, 0, 1, 4)
    assert [slice_.number for slice_ in pending_slices(memory_store, slices)] == [3, 1, 4, 2, 0]


def test_pending_slices_orders_parquet_by_rows(memory_store):
    slices = [Slice(A, "parquet", 0, 9, 0, 5, 0), Slice(A, "parquet", 9, 10, 5, 50, 1)]
    assert [slice_.number for slice_ in pending_slices(memory_store, slices)] == [1, 0]


def test_pending_slices_holds_parquet_against_text_by_bytes(memory_store):
    slices = [
        Slice(A, "jsonl", 0, 500, 0, 1, 0),
        Slice(A, "parquet", 0, 1, 0, 5, 1, text_bytes=900),
        Slice(A, "jsonl", 0, 1000, 0, 1, 2),
    ]
    assert [slice_.number for slice_ in pending_slices(memory_store, slices)] == [2, 1, 0]


def test_pending_slices_leaves_out_the_committed(store, make_slice, make_writer):
    slices = [make_slice(number=number) for number in range(3)]
    make_writer(store, slices[1]).commit()
    assert pending_slices(store, slices) == [slices[0], slices[2]]


def test_is_complete_wants_success_and_every_slice(memory_store, make_slice, make_writer, make_manifest):
    slices = [make_slice(number=number) for number in range(2)]
    make_writer(memory_store, slices[0]).commit()
    assert not is_complete(memory_store, slices[:1])
    complete_run(memory_store, make_manifest())
    assert is_complete(memory_store, slices[:1])
    assert not is_complete(memory_store, slices)


def settle(store, slices):
    """Slices with their receipts, as `reconcile` gives them."""
    taken = []
    reconcile(store, slices, lambda *pair: taken.append(pair))
    return taken


def test_reconcile_gives_every_receipt_in_order(store, make_slice, make_writer):
    slices = [make_slice(number=number) for number in range(3)]
    receipts = [make_writer(store, slice_).commit() for slice_ in slices]
    assert settle(store, slices) == list(zip(slices, receipts, strict=True))


def test_reconcile_gives_every_file_that_was_written(store, make_slice, make_writer):
    slices = [make_slice(number=number) for number in range(3)]
    receipts = [make_writer(store, slice_).commit() for slice_ in slices]
    written = [file for receipt in receipts for file in receipt.files]
    rows = reconcile(store, slices).table.to_pylist()
    assert [row["name"] for row in rows] == [file["final"] for file in written]
    assert [row["sha256"] for row in rows] == [file["sha256"] for file in written]


def test_read_receipts_looks_at_nothing_but_the_records(store, make_slice, make_writer):
    slices = [make_slice(number=number) for number in range(3)]
    receipts = [make_writer(store, slice_).commit() for slice_ in slices[:2]]
    for receipt in receipts:
        store.delete(receipt.files[0]["final"])
    assert list(read_receipts(store, slices[:2])) == receipts
    with pytest.raises(ManifestError, match=f"expected a receipt of slice {slices[2].slice_id}, found none"):
        list(read_receipts(store, slices))


def test_reconcile_of_no_slices_is_empty(store):
    assert settle(store, []) == []


def test_reconcile_counts_what_is_missing(memory_store, make_slice, make_writer):
    slices = [make_slice(number=number) for number in range(3)]
    make_writer(memory_store, slices[0]).commit()
    with pytest.raises(ManifestError, match="expected 3 committed slices, found 2 missing; run the command again"):
        reconcile(memory_store, slices)


def test_reconcile_names_what_nobody_planned(memory_store, make_slice, make_writer):
    slices = [make_slice(number=number) for number in range(2)]
    for slice_ in slices:
        make_writer(memory_store, slice_).commit()
    with pytest.raises(ManifestError, match=f"expected only planned slices in _commits, found .'{slices[1].slice_id}'"):
        reconcile(memory_store, slices[:1])


def test_reconcile_ignores_litter_beside_commits_and_attempts(store, make_slice, make_writer):
    slice_ = make_slice()
    receipt = make_writer(store, slice_).commit()
    for name in (f"_commits/{slice_.slice_id}.tmp", "_commits/notes.txt", "_attempts/whatever", "_claims/x", "_tmp"):
        store.put(name, b"litter")
    assert settle(store, [slice_]) == [(slice_, receipt)]


@pytest.mark.parametrize("name", ["data/stray.parquet", "dead/stray.parquet", "data/part-00007-0.parquet"])
def test_reconcile_names_a_foreign_file(store, make_slice, make_writer, name):
    slice_ = make_slice()
    make_writer(store, slice_).commit()
    store.put(name, b"foreign")
    folder, _, stray = name.partition("/")
    with pytest.raises(ManifestError, match=f"expected only files of this run in '{folder}', found .'{stray}'"):
        reconcile(store, [slice_])


def test_reconcile_names_a_file_of_the_wrong_size(store, make_slice, make_writer):
    slice_ = make_slice()
    (file,) = make_writer(store, slice_).commit().files
    store.put(file["final"], b"short")
    with pytest.raises(ManifestError, match=f"expected {file['size_bytes']} bytes in '{file['final']}', found 5"):
        reconcile(store, [slice_])


def test_reconcile_of_a_lost_file_fails_loudly(store, make_slice, make_writer):
    slice_ = make_slice()
    (file,) = make_writer(store, slice_).commit().files
    store.delete(file["final"])
    with pytest.raises(StorageError, match="lost 'data/"):
        reconcile(store, [slice_])


def test_reconcile_publishes_what_a_crash_left(store, make_slice, make_writer, monkeypatch):
    slice_ = make_slice()
    with monkeypatch.context() as patch:
        patch.setattr(commits, "publish_slice", lambda store, receipt: None)
        make_writer(store, slice_).commit()
    assert store.list("data") == []
    reconcile(store, [slice_])
    assert store.list("data") == [f"{slice_.name}.parquet"]


def test_complete_run_writes_the_manifest_before_the_success(store, make_manifest, monkeypatch):
    put, written = store.put, []

    def put_noted(name, content):
        written.append(name)
        put(name, content)

    monkeypatch.setattr(store, "put", put_noted)
    complete_run(store, make_manifest())
    assert written == ["_MANIFEST.json", "_SUCCESS"]
    assert json.loads(store.read("_MANIFEST.json"))["fingerprint"] == "f" * 16


def test_complete_run_sweeps_the_attempts_of_committed_slices_only(store, make_slice, make_writer, make_manifest):
    done, open_ = make_slice(), make_slice(number=1)
    make_writer(store, done).commit()
    names = [f"{done.slice_id}-left.parquet", f"{done.slice_id}-left.dead.parquet"]
    for name in (*names, f"{open_.slice_id}-working.parquet", "stranger"):
        store.put(f"_attempts/{name}", b"x")
    complete_run(store, make_manifest())
    assert store.list("_attempts") == sorted([f"{open_.slice_id}-working.parquet", "stranger"])


def test_complete_run_leaves_data_and_receipts_alone(store, make_slice, make_writer, make_manifest):
    slice_ = make_slice()
    receipt = make_writer(store, slice_).commit()
    before = store.read(receipt.files[0]["final"])
    complete_run(store, make_manifest())
    assert store.read(receipt.files[0]["final"]) == before
    assert read_receipt(store, slice_.slice_id) == receipt
