"""A tiny training in a process of its own, which kills itself when it is told to.

    python -m tests.training.killed BASE DATA WORK WEIGHTS KILL_AT SPEC...

BASE is an encoder, DATA a folder with train.conll and dev.conll, WORK where states are kept. Once it has gone through,
the weights are written to WEIGHTS. KILL_AT is how many times the model is run for training in this process before it
gets SIGKILL, or 0. A SPEC is an objective, `crf` for that head, or a way of not forgetting; then BASE is a tagger.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import torch

from training.config import TrainConfig
from training.continual.continual import WAYS, Continual, parse_continual
from training.continual.past import Past
from training.encoders import load_model, open_encoder
from training.epochs import TrainingText
from training.examples import build_bio_tags, read_files
from training.heads import list_tags
from training.objectives.objectives import parse_objectives
from training.scorer import Scorer
from training.trainer import train

CONFIG = TrainConfig(
    learning_rate=5e-3,
    epochs=3,
    batch_size=4,
    gradient_accumulation=3,
    layer_decay=0.9,
    schedule="cosine",
    dropout=0.2,
    max_tokens=32,
    patience=3,
    chain_fraction=0.5,
)


def run(base: Path, data: Path, work: Path, weights: Path, kill_at: int, specs: list[str]) -> None:
    torch.set_num_threads(1)
    encoder = open_encoder(str(base))
    tag_set = build_bio_tags(["location", "person"])
    head = "crf" if "crf" in specs else "linear"
    ways = [spec for spec in specs if spec.partition(":")[0] in WAYS]
    objectives = parse_objectives([spec for spec in specs if spec not in ("crf", *ways)], head=head)
    known = list_tags(encoder.config)
    model = load_model(encoder, tag_set, dropout=CONFIG.dropout, seed=CONFIG.seed, head=head)
    train_files, dev_files = (read_files([str(data / f"{name}.conll")], flag="--train") for name in ("train", "dev"))
    scorer = Scorer(dev_files, tag_set, encoder.tokenizer, max_tokens=CONFIG.max_tokens)
    sentences = train_files[0].sentences
    old = [
        dataclasses.replace(one, spans=tuple(span for span in one.spans if span[2] == "person")) for one in sentences
    ]
    past = Past(
        model, known, tag_set, encoder.tokenizer, CONFIG.max_tokens, sentences, old, base, str(base), CONFIG.seed
    )
    continual = Continual(parse_continual(ways), past)
    runs = 0

    def count(module: object, inputs: object) -> None:
        nonlocal runs
        runs += model.training
        if runs == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    model.register_forward_pre_hook(count)
    text = TrainingText(continual.relabel(sentences), continual.draw, continual.terms)
    train(model, text, scorer, CONFIG, objectives, work)
    torch.save(dict(model.state_dict()), weights)


if __name__ == "__main__":
    run(*map(Path, sys.argv[1:5]), int(sys.argv[5]), sys.argv[6:])
