"""Candidates that were refused stay, with the reason."""

import threading

from tests.training.registry.recipes import make_verdict
from training.registry.records import read_refusals
from training.registry.refusals import refuse_checkpoint


def test_a_refusal_keeps_the_reason(store):
    verdict = make_verdict(champion="c", passed=False)

    refusal = refuse_checkpoint(store, "abcd", verdict, command="promote")

    assert store.list("refusals") == ["abcd-1.json"]
    assert read_refusals(store) == [refusal]
    assert [gate.name for gate in refusal.verdict.failed] == ["retain news PER"]


def test_asked_again_the_same_there_is_one_and_beside_another_champion_another(store):
    first = refuse_checkpoint(store, "abcd", make_verdict(champion="c", passed=False), command="promote")

    assert refuse_checkpoint(store, "abcd", make_verdict(champion="c", passed=False), command="promote") == first
    second = refuse_checkpoint(store, "abcd", make_verdict(champion="d", passed=False), command="promote")
    third = refuse_checkpoint(
        store, "abcd", make_verdict(champion="d", passed=False, gates_digest="h"), command="promote"
    )

    assert [refusal.number for refusal in (first, second, third)] == [1, 2, 3]
    assert read_refusals(store) == [first, second, third]


def test_refusals_at_once_get_numbers_of_their_own(posix_store):
    def refuse(champion):
        refuse_checkpoint(posix_store, "abcd", make_verdict(champion=champion, passed=False), command="promote")

    threads = [threading.Thread(target=refuse, args=[f"c{at}"]) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(refusal.verdict.champion for refusal in read_refusals(posix_store)) == [f"c{at}" for at in range(8)]
    assert [refusal.number for refusal in read_refusals(posix_store)] == list(range(1, 9))
