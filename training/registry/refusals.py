"""Candidates that were not promoted: they stay, with the reason."""

from schemas.registry import Refusal, Verdict
from training.registry.history import new_token
from training.registry.records import REFUSALS, read_refusals, tell_time, write_once
from transforms.storage.store import Store


def refuse_checkpoint(store: Store, digest: str, verdict: Verdict, *, command: str) -> Refusal:
    """Keeps that a candidate was refused.

    One that was refused before by the same gates, on the same test sets and against the same champion stays refused as
    it was: whoever was cut off and asks again leaves one refusal.

    Args:
      store: the registry's store.
      digest: the candidate.
      verdict: how it was judged.
      command: the command that had it judged.
    """
    while True:
        earlier = [refusal for refusal in read_refusals(store) if refusal.digest == digest]
        if earlier and _describe(earlier[-1].verdict) == _describe(verdict):
            return earlier[-1]
        number = earlier[-1].number + 1 if earlier else 1
        refusal = Refusal(
            digest=digest, number=number, verdict=verdict, at=tell_time(), command=command, token=new_token()
        )
        if write_once(store, f"{REFUSALS}/{digest}-{number}.json", refusal):
            return refusal


def _describe(verdict: Verdict) -> tuple[str, str, list[tuple[str, str]]]:
    return verdict.champion, verdict.gates_digest, [(item.name, item.digest) for item in verdict.sets]
