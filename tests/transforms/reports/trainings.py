"""Made-up reports of trainings, made by the code that makes real ones, from a few sentences."""

import random
from typing import Any

from training.evaluations import compare_tags
from training.examples import LabelledFile, LabelledSentence

LABELS = ("LOC", "ORG", "PER")


def make_training(labels: tuple[str, ...] = LABELS, *, names: tuple[str, ...] = ("a/dev.conll", "b/test.conll")) -> Any:
    """A report with every part filled, two epochs, the first file to choose on and the others to test on."""
    files = [
        {"role": "test" if at else "dev", **compare_tags(file, _tag(file, labels, 0.1), _tag(file, labels, 0.8))}
        for at, file in enumerate(_make_file(name, labels) for name in names)
    ]
    return {
        "report_version": 1,
        "kind": "training",
        "name": "my-model",
        "command": "spanmill train \\\n  --train a/train.conll",
        "split": {},
        "seconds": 321.0,
        "base": "my-encoder",
        "method": "full",
        "steps": 40,
        "best_step": 20,
        "label_map": {},
        "parameters": 1000,
        "trained_parameters": 400,
        "labels": list(labels),
        "history": [
            {
                "step": 20 * at,
                "epoch": float(at),
                "loss": 0.9 / at,
                "learning_rate": 5e-5 / at,
                "f1": 0.8 - at / 10,
                "f1_by_file": {names[0]: 0.8 - at / 10},
                "seconds": 12.5,
            }
            for at in (1, 2)
        ],
        "files": files,
        "data": [
            {
                "role": "train",
                "name": "a/train.conll",
                "digest": "f" * 64,
                "sentences": 100,
                "words": 900,
                "entities": dict.fromkeys(labels, 30),
            }
        ],
        "options": {"epochs": 5, "seed": 0, "rates": [0.5, 0.25]},
        "memory": {"process_bytes": 1_500_000_000, "device_bytes": None},
        "versions": {"spanmill": "0.1.0", "torch": "2.13.0"},
    }


def _make_file(name: str, labels: tuple[str, ...]) -> LabelledFile:
    words = ("Ada", "saw", "Rome", "again")
    spans = [((0, 1, labels[at % len(labels)]), (2, 3, labels[(at + 1) % len(labels)])) for at in range(60)]
    return LabelledFile(name, "0" * 64, tuple(LabelledSentence(words, own) for own in spans))


def _tag(file: LabelledFile, labels: tuple[str, ...], share: float) -> list[list[str]]:
    """Tags of a model that is right about a share of the words and guesses the others."""
    draw = random.Random(7)
    guesses = ["O", *(f"B-{label}" for label in labels)]
    return [
        [tag if draw.random() < share else draw.choice(guesses) for tag in sentence.tags] for sentence in file.sentences
    ]
