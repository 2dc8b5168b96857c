"""Candidates as a run gives them."""

import hashlib

from transforms.selection.candidates import Candidate
from transforms.selection.setting import Setting
from transforms.storage.annotations import AnnotatedDocument


def make_candidate(name, *scores, below=(), label="PER", surfaces=(), readings=(frozenset(),), tokens=10):
    """A candidate with an entity for each score; its text is its name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    names = [*surfaces, *["x"] * len(scores)]
    found, rest = (
        tuple(
            {"start": at, "end": at + 1, "label": label, "score": score, "text": names[at]}
            for at, score in enumerate(values)
        )
        for values in (scores, below)
    )
    return Candidate(0, AnnotatedDocument(name, "in", 0, digest, found, rest), tokens, readings)


def make_setting(*, threshold=0.0, thresholds=None, surfaces=None, n_readings=1):
    return Setting(thresholds=thresholds or {}, threshold=threshold, surfaces=surfaces, n_readings=n_readings)
