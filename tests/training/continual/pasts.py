"""A past to build ways from, on a tiny tagger."""

from pathlib import Path

import torch

from tests.training.recipes import make_encoder
from training.checkpoints import write_model
from training.continual.past import Past
from training.encoders import load_model, open_encoder
from training.examples import IGNORED, LabelledSentence, build_bio_tags, cut_windows
from training.objectives.cross_entropy import CrossEntropyConfig
from training.objectives.cross_entropy import build as build_cross_entropy
from training.objectives.steps import Setting, Step
from training.scorer import build_collator, build_features

KNOWN = build_bio_tags(["location"])
TAGS = build_bio_tags(["location", "person"])
OLD = (
    LabelledSentence(("anna", "saw", "the", "oslo", "."), ((3, 4, "location"),)),
    LabelledSentence(("otto", "went", "to", "rome"), ((3, 4, "location"),)),
    LabelledSentence(("the", "river"), ()),
)
NEW = (
    LabelledSentence(("mia", "went", "to", "lima", "."), ((0, 1, "person"),)),
    LabelledSentence(("otto", "saw"), ((0, 1, "person"),)),
)


def make_champion(folder: Path) -> Path:
    """A tagger of locations, written with a head of random rows that are far apart."""
    encoder = open_encoder(str(make_encoder(folder / "tiny")))
    model = load_model(encoder, KNOWN, dropout=0.0, seed=0)
    torch.manual_seed(1)
    with torch.no_grad():
        model.classifier.weight.normal_(std=1.0)
    write_model(model, encoder.tokenizer, folder / "champion", dtype="float32")
    return folder / "champion"


def make_past(champion: Path, *, sentences=NEW, old=OLD, tag_set=TAGS) -> Past:
    """What ways are built from when a champion learns persons."""
    encoder = open_encoder(str(champion))
    model = load_model(encoder, tag_set, dropout=0.0, seed=0)
    return Past(model, KNOWN.tags, tag_set, encoder.tokenizer, 32, sentences, old, champion, str(champion), 0)


def make_step(past: Past, sentences=NEW, n_targets=None) -> Step:
    """A batch of sentences on its way through the model."""
    windows = cut_windows(sentences, past.tag_set, past.tokenizer, max_tokens=32)
    batch = dict(build_collator(past.tokenizer)(build_features(windows)))
    targets = batch.pop("labels")
    task = build_cross_entropy(CrossEntropyConfig(), Setting(()))
    return Step(past.model, batch, targets, n_targets or (targets != IGNORED).sum(), task)


def move_all(model, by: float) -> None:
    """Adds a number to every weight."""
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(by)
