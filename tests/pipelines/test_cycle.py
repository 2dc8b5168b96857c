"""`spanmill cycle`: what is new is annotated, what was labelled is learned, and who is killed on the way goes on."""

import gzip
import json
import os
import shutil

import pytest

import training.cycles
from pipelines.__main__ import main
from tests.conftest import ROOT
from tests.pipelines.conftest import snapshot
from tests.pipelines.cycles import (
    UNLABELLED,
    champion_of,
    copy_busy_world,
    copy_world,
    cycle,
    describe,
    make_world,
    outcomes_of,
    read_history,
    results_of,
    write_config,
    write_labels,
    write_texts,
)
from tests.pipelines.learners import NEW, write_conll
from tests.training.registry.recipes import KilledError

SKIPPED = {"adapt": "skipped", "promote": "skipped", "reannotate": "skipped"}
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def prepared(base, tmp_path_factory):
    """A world with a champion."""
    return make_world(tmp_path_factory.mktemp("worlds") / "prepared", base)


@pytest.fixture
def world(prepared, tmp_path):
    """One of its own for each test."""
    return copy_world(prepared, tmp_path / "world")


def run_names(world, number):
    return sorted(path.name for path in (world / "entities" / f"cycle={number:08d}").glob("run=*"))


def test_a_model_is_kept_current(world, capsys):
    write_config(world, reannotate="all")
    write_texts(world, "a")
    first = champion_of(world)
    assert cycle(world) == 0
    assert outcomes_of(world, 1) == {"annotate": "done", "drift": "skipped", **SKIPPED}

    before = snapshot(world)
    capsys.readouterr()
    assert cycle(world) == 0
    assert capsys.readouterr().out == (
        "nothing to do: none of 1 input files and 0 labelled files is new since cycle 1\n"
    )
    assert snapshot(world) == before

    write_texts(world, "b")
    write_labels(world, "monday", NEW)
    assert cycle(world) == 0
    second = champion_of(world)
    results = results_of(world, 2)
    assert [file["uri"] for file in results["begin"]["inputs"]] == [str(world / "incoming/b.txt")]
    assert [file["source"] for file in results["begin"]["labels"]] == [str(world / "labels/monday/train.conll")]
    assert outcomes_of(world, 2) == {
        "annotate": "done",
        "drift": "done",
        "adapt": "done",
        "promote": "promoted",
        "reannotate": "done",
    }
    assert (results["annotate"]["values"]["model"], results["reannotate"]["values"]["model"]) == (first, second)
    assert second == results["adapt"]["values"]["candidate"] != first
    assert f"spanmill registry rollback --registry {world / 'registry'} {first}" in results["promote"]["sentence"]
    assert [len(run_names(world, number)) for number in (1, 2)] == [2, 2]
    assert (world / "state/cycles/00000002/drift/drift.html").exists()
    # What the champion remembers came with it into the registry, and its successor remembers more.
    card = json.loads((world / "registry/checkpoints" / second / "card.json").read_text())
    assert [file["name"] for file in card["options"]["past"]["old"]] == ["memory/replay.conll"]
    assert (world / "registry/checkpoints" / second / "memory/replay.conll").exists()

    assert cycle(world) == 0
    assert "since cycle 2" in capsys.readouterr().out

    # The registry has copies of its own, so that candidates of finished cycles may be deleted.
    shutil.rmtree(world / "state/work/cycle=00000002")
    write_config(world, reannotate="all", continual="[]\nkeep-labels = true")
    write_labels(world, "tuesday", [*UNLABELLED, *NEW])
    assert cycle(world) == 3
    assert outcomes_of(world, 3)["promote"] == "refused"
    assert "retain old person" in results_of(world, 3)["promote"]["sentence"]
    assert champion_of(world) == second
    (refusal,) = (world / "registry/refusals").iterdir()
    assert json.loads(refusal.read_text())["digest"] == results_of(world, 3)["adapt"]["values"]["candidate"]
    assert cycle(world) == 0
    assert len(read_history(world)) == 2


def test_killed_before_and_after_every_record_it_ends_in_the_same_state(prepared, tmp_path, monkeypatch):
    world = copy_busy_world(prepared, tmp_path / "world", reannotate="latest")
    assert cycle(world) == 0
    whole = describe(world)
    n_steps = len(outcomes_of(world, 2))
    world.rename(tmp_path / "whole")
    copy_busy_world(prepared, world, reannotate="latest")
    n_deaths = 0

    def mortal(function, *, dies_after):
        def act(*arguments):
            if dies_after:
                function(*arguments)
            raise KilledError

        return act

    names = ["begin_cycle", *["record_result"] * n_steps]
    for name in names:
        for dies_after in (False, True):
            with monkeypatch.context() as patch, pytest.raises(KilledError):
                patch.setattr(training.cycles, name, mortal(getattr(training.cycles, name), dies_after=dies_after))
                cycle(world)
            n_deaths += 1
    assert n_deaths == 12
    assert cycle(world) == 0
    assert describe(world) == whole


def test_a_candidate_that_was_rolled_back_meanwhile_is_not_promoted_again(world, monkeypatch):
    write_texts(world, "a")
    write_labels(world, "monday", NEW)
    first = champion_of(world)
    record = training.cycles.record_result

    def die_at_promote(store, number, result):
        if result.step == "promote":
            raise KilledError
        return record(store, number, result)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(training.cycles, "record_result", die_at_promote)
        cycle(world)
    assert main(["registry", "rollback", first, "--registry", str(world / "registry")]) == 0

    assert cycle(world) == 0

    assert outcomes_of(world, 1)["promote"] == "promoted"
    assert champion_of(world) == first
    assert [entry["kind"] for entry in read_history(world)] == ["promotion", "promotion", "rollback"]


def test_a_cycle_takes_the_labels_of_a_refused_one_along(world):
    write_config(world, continual="[]\nkeep-labels = true")
    write_texts(world, "a")
    write_labels(world, "monday", [*UNLABELLED, *NEW])
    assert cycle(world) == 3
    write_config(world)
    write_labels(world, "tuesday", NEW)
    cycle(world)
    names = [file["source"].split("/")[-2] for file in results_of(world, 2)["begin"]["labels"]]
    assert names == ["monday", "tuesday"]


def test_a_cycle_that_is_at_work_keeps_another_out(world, capsys):
    import fcntl

    write_texts(world, "a")
    (world / "state/work").mkdir(parents=True)
    with (world / "state/work/lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert cycle(world) == 1
    assert "expected no other spanmill cycle at work" in capsys.readouterr().err
    assert cycle(world) == 0


def test_a_cycle_whose_input_is_gone_says_so_and_can_be_given_up(world, monkeypatch, capsys):
    write_texts(world, "a")
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr("pipelines.annotate.annotate_corpus", _die)
        cycle(world)
    (world / "incoming/a.txt").unlink()
    write_texts(world, "b")
    assert cycle(world) == 2
    assert "as cycle 1 found it, found it gone or changed" in capsys.readouterr().err

    assert cycle(world, "--abandon", "the file was withdrawn") == 0
    assert cycle(world) == 0
    assert [file["uri"] for file in results_of(world, 2)["begin"]["inputs"]] == [str(world / "incoming/b.txt")]
    assert cycle(world, "--abandon", "again") == 2


def _die(*arguments, **options):
    raise KilledError


def test_a_file_that_changed_is_new(world):
    write_texts(world, "a")
    assert cycle(world) == 0
    write_texts(world, "a", "otto went to oslo .")
    os.utime(world / "incoming/a.txt", (2, 2))
    assert cycle(world) == 0
    assert len(run_names(world, 1)) == len(run_names(world, 2)) == 1


def test_a_rollback_is_annotated_again_where_that_is_asked_for(world):
    write_texts(world, "a")
    first = champion_of(world)
    assert cycle(world) == 0
    write_labels(world, "monday", NEW)
    assert cycle(world) == 0
    second = champion_of(world)
    assert cycle(world) == 0
    assert len(run_names(world, 1)) == 1
    write_config(world, reannotate="all")
    assert cycle(world) == 0
    assert results_of(world, 3)["reannotate"]["values"]["model"] == second
    assert main(["registry", "rollback", first, "--registry", str(world / "registry")]) == 0
    assert cycle(world) == 0
    assert results_of(world, 4)["reannotate"]["values"]["model"] == first
    assert len(run_names(world, 1)) == 2
    assert cycle(world) == 0
    assert not results_of(world, 5)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda world: None, "expected input files at"),
        (lambda world: write_labels(world, "odd", [(["anna"], ["B-animal"])]), "expected labels"),
        (
            lambda world: write_labels(world, "seen", NEW[:24]),
            "that are not trained on, found 'new'",
        ),
        (lambda world: write_again(world, NEW[:24]), "that are not trained on, found 'new'"),
        (lambda world: split_test_set(world), "that are not trained on, found 'new'"),
    ],
)
def test_what_could_not_come_to_an_end_is_not_begun(spoil, message, world, capsys):
    if message != "expected input files at":
        write_texts(world, "a")
    spoil(world)
    assert cycle(world) == 2
    assert message in capsys.readouterr().err
    assert not (world / "state/cycles").exists()


def write_again(world, sentences):
    """A test set with other bytes."""
    write_labels(world, "seen", sentences)
    path = world / "labels/seen/train.conll"
    path.write_text("\n" + path.read_text() + "\n\n")


def split_test_set(world):
    """One of the files of a test set of two."""
    write_conll(world / "more.conll", NEW[24:])
    gates = (world / "gates.toml").read_text()
    (world / "gates.toml").write_text(gates.replace('gold = ["', f'gold = ["{world / "more.conll"}", "'))
    write_labels(world, "seen", NEW[24:])


def replace_in(name, old, new):
    def spoil(world):
        content = (world / name).read_text()
        assert old in content
        (world / name).write_text(content.replace(old, new))

    return spoil


@pytest.mark.parametrize("has_labels", [False, True])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda world: (world / "gates.toml").unlink(), ["cannot read gates of [promote] in ", "gates.toml"]),
        (lambda world: (world / "gates.toml").write_text("[sets"), ["cannot read gates of [promote] in "]),
        (replace_in("gates.toml", "retain", "retian"), ["did you mean 'retain'"]),
        (lambda world: (world / "dev.conll").unlink(), ["dev.conll", "check dev of [adapt] in "]),
        (replace_in("cycle.toml", "epochs", 'test = ["none/*.conll"]\nepochs'), ["check test of [adapt] in "]),
        (replace_in("cycle.toml", '"first"', '"frist"'), ["as reference of [drift] in ", "'frist'"]),
        (replace_in("cycle.toml", "replicates", 'threshold = ["scores=1"]\nreplicates'), ["--threshold scores="]),
    ],
)
def test_a_config_that_is_wrong_is_told_before_a_cycle_begins(spoil, words, has_labels, world, capsys):
    write_texts(world, "a")
    if has_labels:
        write_labels(world, "monday", NEW)
    spoil(world)
    assert cycle(world) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert [word for word in words if word not in line] == []
    assert not (world / "state/cycles").exists()


def write_cut_short(world):
    content = gzip.compress(b"anna went to rome .\n" * 500)
    (world / "incoming/cut.txt.gz").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("cut.txt.gz", write_cut_short, "mend or remove the file, or set bad-files of [annotate] in "),
        ("a.parquet", lambda world: (world / "incoming/a.parquet").write_bytes(b"PAR1"), "mend or remove the file"),
        ("a.pdf", lambda world: (world / "incoming/a.pdf").write_bytes(b"%PDF"), "a.pdf"),
    ],
)
def test_an_input_that_cannot_be_read_stops_no_later_cycle(name, write, message, world, capsys):
    write_texts(world, "a")
    write(world)
    assert cycle(world) == 2
    error = capsys.readouterr().err
    assert message in error
    assert name in error
    assert not (world / "state/cycles").exists()

    (world / "incoming" / name).unlink()
    assert cycle(world) == 0


def test_an_input_that_becomes_a_dead_letter_stops_no_cycle(world):
    replace_in("cycle.toml", "max-restarts", 'bad-files = "dead-letter"\nmax-restarts')(world)
    write_texts(world, "a")
    write_cut_short(world)
    assert cycle(world) in (0, 3)
    assert outcomes_of(world, 1)["annotate"] == "done"
    write_texts(world, "b")
    cycle(world)
    assert [file["uri"] for file in results_of(world, 2)["begin"]["inputs"]] == [str(world / "incoming/b.txt")]


def test_sentences_that_are_trained_and_tested_on_are_told(world, capsys):
    write_labels(world, "monday", [*NEW[:20], (["anna", "saw", "oslo"], ["B-person", "O", "B-location"])])
    write_texts(world, "a")
    assert cycle(world) in (0, 3)
    assert f"20 of 21 sentences of {str(world / 'labels/monday/train.conll')!r} stand in test set 'new' too" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("key", ["state", "registry"])
def test_a_bucket_that_does_not_answer_is_told_in_one_line(key, dead_s3, world, capsys):
    write_texts(world, "a")
    url = f's3://bucket/{key}"\nwork = "{world / "work"}"'
    replace_in("cycle.toml", f'{key} = "{world / key}"', f'{key} = "{url}')(world)
    assert cycle(world) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"spanmill: cannot reach 's3://bucket/{key}': ")
    assert dead_s3 in line


def test_the_example_of_the_docs_works(prepared, tmp_path, monkeypatch):
    folder = copy_world(prepared, tmp_path / "world")
    for name in ("cycle.toml", "gates.toml"):
        (folder / name).write_text((ROOT / "deploy" / name).read_text())
    config = (folder / "cycle.toml").read_text()
    assert config.count("[adapt]\n") == 1
    # The tiny model reads 32 tokens, and the registry of this world has a name.
    small = "[adapt]\nmax-tokens = 16\nbatch-size = 8\nlearning-rate = 5e-3\npatience = 6\n"
    (folder / "cycle.toml").write_text(config.replace("[adapt]\n", small).replace('"models"', '"registry"'))
    for name, source in (("dev/all", "dev"), ("test/old", "old"), ("test/new", "new")):
        (folder / f"{name}.conll").parent.mkdir(exist_ok=True)
        (folder / f"{source}.conll").rename(folder / f"{name}.conll")
    write_texts(folder, "a")
    write_labels(folder, "monday", NEW)
    monkeypatch.chdir(folder)
    assert main(["cycle", "--config", "cycle.toml"]) == 0
    assert results_of(folder, 1, "cycle")["promote"]["outcome"] == "promoted"
