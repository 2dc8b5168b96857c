"""Checkpoints into a registry: whole or not at all, once, and the same whoever was cut off on the way."""

import itertools
import threading

import pytest

from schemas.errors import CheckpointError, ConfigError, PipelineError, StorageError
from tests.training.recipes import make_adapter, make_encoder
from tests.training.registry.recipes import KilledError, MortalStore, WatchedStore, add_folder, read_files, write_folder
from training.registry.checkpoints import add_checkpoint
from training.registry.garbage import Keeping, collect_garbage
from training.registry.history import read_history
from training.registry.records import CHECKPOINTS, read_record, read_records
from transforms.models.checkpoint import digest_file, digest_folder, find_checkpoint
from transforms.storage.objects import ObjectStore
from transforms.storage.posix import PosixStore


def test_every_file_that_makes_the_model_is_copied_and_nothing_else(store, tmp_path):
    folder = write_folder(tmp_path / "m")
    (folder / "optimizer.pt").write_bytes(b"pickle")
    (folder / "notes.txt").write_text("x")

    record = add_folder(store, folder)

    names = {"config.json", "tokenizer.json", "model.safetensors"}
    assert set(record.files) == names
    inside = {name.rpartition("/")[2] for name in store.walk() if name.startswith(CHECKPOINTS)}
    assert inside == names | {"_begun.json"}
    assert store.read(f"{CHECKPOINTS}/{record.digest}/model.safetensors") == (folder / "model.safetensors").read_bytes()


def test_the_record_is_written_last(posix_store, tmp_path):
    folder = write_folder(tmp_path / "m")
    seen = {}
    watched = WatchedStore(posix_store, "records/", before=lambda: seen.update(read_files(posix_store)))

    record = add_folder(watched, folder)

    assert {f"{CHECKPOINTS}/{record.digest}/{name}" for name in record.files} <= seen.keys()


def test_adding_twice_changes_nothing(store, add):
    first = add(store, "a")
    before = read_files(store)

    assert add(store, "a") == first
    assert read_files(store) == before


@pytest.mark.usefixtures("still_clock")
@pytest.mark.parametrize("dies_after", [False, True])
def test_whoever_is_killed_at_any_step_leaves_what_another_makes_whole(store, tmp_path, dies_after):
    folder, base = write_folder(tmp_path / "m", "m"), write_folder(tmp_path / "b", "b")
    golden = PosixStore(str(tmp_path / "golden"))
    add_folder(golden, folder, base=base)
    # A request takes longer than a call: in the bucket, some of the steps.
    stride = 1 if isinstance(store, PosixStore) else 11
    for life in itertools.count(step=stride):
        beside = open_beside(store, tmp_path, life)
        try:
            add_folder(MortalStore(beside, life, dies_after=dies_after), folder, base=base)
        except KilledError:
            if record := read_record(beside, digest_folder(folder)):
                assert all(beside.size(f"{CHECKPOINTS}/{record.digest}/{name}") for name in record.files)
        else:
            break
        add_folder(beside, folder, base=base)
        assert read_files(beside) == read_files(golden), f"killed at operation {life}"
    assert life > 20


def open_beside(store, tmp_path, number):
    """Another store of the same kind."""
    if isinstance(store, PosixStore):
        return PosixStore(str(tmp_path / f"{number}"))
    return ObjectStore(store._fs, f"{store._root}-{number}")


def test_two_who_add_the_same_at_once_leave_it_once(store, tmp_path):
    folders = [write_folder(tmp_path / f"m{at}", "same") for at in range(4)]
    found, failed = [], []

    def add_one(folder):
        try:
            found.append(add_folder(store, folder))
        except PipelineError as error:
            failed.append(error)

    threads = [threading.Thread(target=add_one, args=[folder]) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (failed, len(set(map(repr, found)))) == ([], 1)
    assert add_folder(store, folders[0]) == found[0]
    assert not any("_attempts" in name for name in store.walk())


def test_a_model_that_changes_while_it_is_added_is_refused(posix_store, tmp_path):
    folder = write_folder(tmp_path / "m", "a")
    change = WatchedStore(posix_store, f"{CHECKPOINTS}/", after=lambda: write_folder(folder, "b"))

    with pytest.raises(StorageError, match=r"expected 'model.safetensors' of model 'm' .* found other content"):
        add_folder(change, folder)
    assert read_records(posix_store, ()) == {}


def test_of_two_cards_for_the_same_weights_the_first_is_kept(posix_store, tmp_path, base):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        make_adapter(base, folder, "bitfit")
    (second / "card.json").write_text((second / "card.json").read_text().replace('"steps": 0', '"steps": 7'))

    record = add_checkpoint(posix_store, str(first), command="add")

    assert add_checkpoint(posix_store, str(second), command="add") == record
    assert record.card["steps"] == 0


def test_an_adapter_brings_its_base_and_keeps_its_digest(posix_store, tmp_path, base):
    make_adapter(base, tmp_path / "adapter", "lora:rank=2")

    record = add_checkpoint(posix_store, str(tmp_path / "adapter"), command="add")

    records = read_records(posix_store, ())
    assert record.digest == find_checkpoint(str(tmp_path / "adapter")).digest
    assert (record.kind, records[record.base].kind) == ("adapter", "base")
    assert records[record.base].weights_digest == record.parent_weights


def test_what_a_checkpoint_keeps_for_the_next_training_comes_along(store, tmp_path):
    plain, folder = write_folder(tmp_path / "plain"), write_folder(tmp_path / "m")
    write_memory(folder, "anna B-PER")

    record = add_folder(store, folder)

    assert record.digest == digest_folder(plain)
    assert record.files["memory/replay.conll"] == digest_file(folder / "memory" / "replay.conll")
    assert store.read(f"{CHECKPOINTS}/{record.digest}/memory/replay.conll") == b"anna B-PER"
    assert add_folder(store, folder) == add_folder(store, plain) == record


def test_of_two_memories_for_the_same_weights_the_first_is_kept_and_the_other_refused(store, tmp_path):
    first, other, plain = (write_folder(tmp_path / name) for name in ("first", "other", "plain"))
    write_memory(first, "anna B-PER")
    write_memory(other, "otto B-PER")
    record = add_folder(store, first)

    with pytest.raises(ConfigError, match=r"expected 'memory/replay.conll' of model 'other' as the registry has it"):
        add_folder(store, other)
    assert add_folder(store, plain) == record
    assert store.read(f"{CHECKPOINTS}/{record.digest}/memory/replay.conll") == b"anna B-PER"


def test_a_copy_that_was_cut_off_keeps_the_memory_that_it_has(posix_store, tmp_path):
    first, other = write_folder(tmp_path / "first"), write_folder(tmp_path / "other")
    write_memory(first, "anna B-PER")
    write_memory(other, "otto B-PER")
    dying = WatchedStore(posix_store, f"{CHECKPOINTS}/{digest_folder(first)}/memory", after=die)
    with pytest.raises(KilledError):
        add_folder(dying, first)

    with pytest.raises(ConfigError, match="as the registry has it for the same weights, found other content"):
        add_folder(posix_store, other)
    record = add_folder(posix_store, first)
    assert posix_store.read(f"{CHECKPOINTS}/{record.digest}/memory/replay.conll") == b"anna B-PER"


@pytest.mark.parametrize("name", ["a b", ".hidden", "folder", "link"])
def test_a_memory_of_other_than_plain_files_is_refused(posix_store, tmp_path, name):
    folder = write_folder(tmp_path / "m")
    write_memory(folder, "x")
    path = folder / "memory" / name
    if name == "folder":
        path.mkdir()
    elif name == "link":
        path.symlink_to(tmp_path)
    else:
        path.write_text("x")

    with pytest.raises(CheckpointError, match=f"expected plain files .* in memory of model 'm', found '{name}'"):
        add_folder(posix_store, folder)
    assert read_records(posix_store, ()) == {}


@pytest.mark.usefixtures("still_clock")
def test_a_memory_is_collected_with_its_checkpoint(store, tmp_path):
    folder = write_folder(tmp_path / "m")
    write_memory(folder, "x")
    record = add_folder(store, folder)
    collect_garbage(store, Keeping(days=0), command="gc")
    assert not any(record.digest in name for name in store.walk() if not name.startswith("history/"))


def write_memory(folder, text):
    (folder / "memory").mkdir()
    (folder / "memory" / "replay.conll").write_text(text)


def die():
    raise KilledError


def test_an_unsafe_model_is_refused_before_anything_is_copied(posix_store, tmp_path):
    folder = make_encoder(tmp_path / "m")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(CheckpointError, match=r"expected \*.safetensors .* found \['pytorch_model.bin'\]"):
        add_checkpoint(posix_store, str(folder), command="add")
    assert list(posix_store.walk()) == []


@pytest.mark.usefixtures("still_clock")
def test_what_was_collected_and_is_added_again_is_another_copy(store, add):
    first = add(store, "a")
    collect_garbage(store, Keeping(days=0), command="gc")
    assert not any(first.digest in name for name in store.walk() if not name.startswith("history/"))

    second = add(store, "a")

    assert (second.digest, second.name) == (first.digest, f"{first.digest}.1")
    collect_garbage(store, Keeping(days=1), command="gc", now=second.at)
    assert read_records(store, read_history(store)) == {first.digest: second}


@pytest.mark.usefixtures("still_clock")
def test_an_adapter_whose_base_is_collected_while_it_is_added_gets_the_base_again(posix_store, add):
    base = add(posix_store, "base")

    def collect():
        collect_garbage(posix_store, Keeping(days=0), command="gc")

    watched = WatchedStore(posix_store, "records/", before=collect)
    adapter = add(watched, "adapter", base="base")

    records = read_records(posix_store, read_history(posix_store))
    assert records[adapter.base].name == f"{base.digest}.1"
