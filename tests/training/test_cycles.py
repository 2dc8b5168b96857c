"""What cycles have done is written once, and what is new is told from it."""

import dataclasses

import pytest

from schemas.cycles import STEPS, Beginning, Cycle, LabelRef, StepResult
from schemas.errors import StorageError
from schemas.registry import CheckpointRecord
from schemas.slices import FileRef
from training.cycles import (
    abandon_cycle,
    begin_cycle,
    find_labels,
    find_models,
    find_new_inputs,
    read_cycles,
    record_result,
)

MONDAY, TUESDAY, WEDNESDAY = (LabelRef(f"/labels/{day}.conll", f"digest-{day}") for day in ("mon", "tue", "wed"))


def make_beginning(number=1, *, champion="c0", inputs=(), labels=()):
    return Beginning(
        number=number, champion=champion, entries=1, inputs=tuple(inputs), labels=tuple(labels), at="2026-01-01"
    )


def make_result(step, outcome="done", **values):
    return StepResult(step=step, outcome=outcome, status=0, sentence="", at="2026-01-01", values=values)


def make_cycle(number, *, outcome="promoted", candidate="", runs=None, model="", **beginning):
    """A finished cycle."""
    values = {
        "annotate": {"run": f"run-{number}"} if beginning.get("inputs") else {},
        "adapt": {"candidate": candidate} if candidate else {},
        "reannotate": {"runs": runs or {}, "model": model},
    }
    results = {step: make_result(step, **values.get(step, {})) for step in STEPS}
    results["promote"] = make_result("promote", outcome)
    return Cycle(beginning=make_beginning(number, **beginning), results=results)


def make_record(digest, *trained):
    card = {"data": [{"role": "train", "digest": one.digest} for one in trained], "base_digest": ""}
    return CheckpointRecord(
        digest=digest, copy=0, kind="model", weights_digest="", base="", files={}, card=card, at="", command=""
    )


def make_file(name, version="1"):
    return FileRef(f"/in/{name}", 10, version)


def test_a_cycle_is_read_as_it_was_begun_and_done(store):
    beginning = make_beginning(inputs=[make_file("a")], labels=[MONDAY])
    begin_cycle(store, beginning)
    result = record_result(store, 1, make_result("annotate", run="out/run=1", model="c0"))

    (cycle,) = read_cycles(store)

    assert cycle == Cycle(beginning=beginning, results={"annotate": result})
    assert (cycle.run, cycle.is_finished) == ("out/run=1", False)


def test_a_password_of_an_input_is_not_written(posix_store):
    secret = FileRef("ftp://me:secret@host/a.txt", 10, "1")
    begin_cycle(posix_store, make_beginning(inputs=[secret]))

    assert all(b"secret@" not in posix_store.read(name) for name in posix_store.walk())
    assert find_new_inputs(read_cycles(posix_store), [secret]) == (secret,)
    record_result(posix_store, 1, make_result("annotate"))
    assert find_new_inputs(read_cycles(posix_store), [secret]) == ()


def test_who_begins_or_ends_first_has_decided(store):
    first = begin_cycle(store, make_beginning(champion="c1"))
    assert begin_cycle(store, make_beginning(champion="c2")) == first
    mine = record_result(store, 1, make_result("adapt", candidate="x"))
    assert record_result(store, 1, make_result("adapt", candidate="y")) == mine


def test_a_cycle_is_finished_by_its_last_step_or_by_being_given_up(posix_store):
    begin_cycle(posix_store, make_beginning(1))
    for step in STEPS:
        assert not read_cycles(posix_store)[0].is_finished
        record_result(posix_store, 1, make_result(step))
    assert read_cycles(posix_store)[0].is_finished
    begin_cycle(posix_store, make_beginning(2))
    abandon_cycle(posix_store, 2, "why")
    assert [cycle.abandoned for cycle in read_cycles(posix_store)] == ["", "why"]
    assert read_cycles(posix_store)[1].is_finished


def test_a_cycle_that_is_missing_or_damaged_is_told(posix_store):
    begin_cycle(posix_store, make_beginning(1))
    begin_cycle(posix_store, make_beginning(2))
    posix_store.put("cycles/00000002/adapt.json", b'{"step": "adapt"}')
    with pytest.raises(StorageError, match="expected the result of a step of a cycle, found something else"):
        read_cycles(posix_store)
    posix_store.delete("cycles/00000002/adapt.json")
    posix_store.delete("cycles/00000001/begin.json")
    with pytest.raises(StorageError, match=r"lost 'cycles/00000001/begin.json'"):
        read_cycles(posix_store)


def test_a_file_is_new_until_it_is_annotated_and_when_it_changed():
    begun = Cycle(beginning=make_beginning(1, inputs=[make_file("a")]), results={})
    done = make_cycle(1, inputs=[make_file("a")])
    assert find_new_inputs([begun], [make_file("a")]) == (make_file("a"),)
    assert find_new_inputs([done], [make_file("a"), make_file("b")]) == (make_file("b"),)
    assert find_new_inputs([done], [make_file("a", "2")]) == (make_file("a", "2"),)


def test_labels_are_learned_once():
    first = make_cycle(1, champion="c0", candidate="c1", labels=[MONDAY])
    assert find_labels([], [MONDAY], "c0", {}) == (MONDAY,)
    assert find_labels([first], [MONDAY], "c1", {}) == ()
    assert find_labels([first], [MONDAY, TUESDAY], "c1", {}) == (TUESDAY,)
    second = make_cycle(2, champion="c1", candidate="c2", labels=[TUESDAY])
    assert find_labels([first, second], [MONDAY, TUESDAY, WEDNESDAY], "c2", {}) == (WEDNESDAY,)


def test_labels_that_a_champion_was_trained_on_by_hand_are_none_to_learn():
    records = {"c0": make_record("c0", MONDAY)}
    assert find_labels([], [MONDAY], "c0", records) == ()
    assert find_labels([], [MONDAY, TUESDAY], "c0", records) == (TUESDAY,)


def test_labels_of_a_refused_or_rolled_back_candidate_come_along_with_the_next():
    refused = make_cycle(1, outcome="refused", candidate="c1", labels=[MONDAY])
    assert find_labels([refused], [MONDAY], "c0", {}) == ()
    assert find_labels([refused], [MONDAY, TUESDAY], "c0", {}) == (MONDAY, TUESDAY)
    promoted = make_cycle(1, candidate="c1", labels=[MONDAY])
    assert find_labels([promoted], [MONDAY, TUESDAY], "c0", {}) == (MONDAY, TUESDAY)


def test_labels_of_a_cycle_that_was_given_up_are_tried_again():
    given_up = dataclasses.replace(make_cycle(1, outcome="skipped", labels=[MONDAY]), abandoned="why")
    assert find_labels([given_up], [MONDAY], "c0", {}) == (MONDAY,)


def test_a_file_under_two_names_is_learned_once():
    again = dataclasses.replace(MONDAY, source="/labels/again.conll")
    assert len(find_labels([], [MONDAY, again], "c0", {})) == 1


def test_the_model_of_a_cycle_is_the_one_that_annotated_it_last():
    cycles = [
        make_cycle(1, champion="c0", inputs=[make_file("a")]),
        make_cycle(2, champion="c0", inputs=[make_file("b")], runs={"1": "run", "2": ""}, model="c1"),
        make_cycle(3, champion="c1"),
        make_cycle(4, champion="c2", inputs=[make_file("c")]),
    ]
    assert find_models(cycles) == {1: "c1", 2: "c1", 4: "c2"}
