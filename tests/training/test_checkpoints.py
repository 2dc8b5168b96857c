import dataclasses
import json
from shutil import copyfile

import numpy as np
import pytest
import torch
from transformers import AutoModelForTokenClassification, AutoTokenizer

from schemas.checkpoints import CARD_NAME, CheckpointCard, DataFile, FileScore
from schemas.errors import CheckpointError, ConfigError, ModelError
from schemas.scores import LabelScore
from training.checkpoints import (
    check_output,
    is_publishing,
    load_verified,
    publish_checkpoint,
    render_readme,
    write_model,
)
from training.encoders import load_model, open_encoder
from training.examples import LabelledSentence, build_bio_tags, cut_windows
from training.scorer import predict

TAGS = build_bio_tags(["LOC", "PER"])
MICRO = LabelScore(label="micro", precision=0.5, recall=1.0, f1=2 / 3, support=4)
CARD = CheckpointCard(
    base="tiny",
    base_digest="0" * 64,
    method="full",
    labels=("LOC", "PER"),
    tags=TAGS.tags,
    label_map={"group": "ORG"},
    data=(DataFile(role="dev", name="a/b.conll", digest="1" * 64, sentences=2, words=9, entities={"LOC": 4}),),
    options={"seed": 0},
    steps=8,
    best_step=4,
    trained_parameters=10,
    parameters=10,
    scores=(FileScore(role="dev", name="a/b.conll", before=(), after=(MICRO,)),),
    weights_digest="2" * 64,
    versions={"torch": "2"},
)


@pytest.fixture
def tagger(base):
    encoder = open_encoder(str(base))
    model = load_model(encoder, TAGS, dropout=0.1, seed=0)
    sentences = [LabelledSentence(("anna", "went", "underway", "to", "rome"), ())]
    return model, encoder.tokenizer, cut_windows(sentences, TAGS, encoder.tokenizer, max_tokens=32)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_write_model_reloads_to_the_same_predictions(tagger, tmp_path, dtype):
    model, tokenizer, windows = tagger
    before = predict(model, windows, tokenizer)
    write_model(model, tokenizer, tmp_path, dtype=dtype)
    again = AutoModelForTokenClassification.from_pretrained(tmp_path)
    assert again.dtype == getattr(torch, dtype)
    assert again.config.id2label == dict(enumerate(TAGS.tags))
    found = predict(again.float(), windows, AutoTokenizer.from_pretrained(tmp_path))
    assert found == pytest.approx(before, abs=5e-3)
    assert np.array_equal(predict(model, windows, tokenizer), before)


def test_write_model_leaves_a_tokenizer_without_presets(tagger, tmp_path):
    model, tokenizer, _ = tagger
    write_model(model, tokenizer, tmp_path, dtype="float16")
    written = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert written["truncation"] is None
    assert written["padding"] is None
    assert "max_length" not in json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))


def test_load_verified_refuses_other_weights(tagger, tmp_path):
    model, tokenizer, windows = tagger
    write_model(model, tokenizer, tmp_path, dtype="float16")
    load_verified(model, tokenizer, windows, tmp_path, dtype="float16")
    torch.nn.init.normal_(model.classifier.weight)
    with pytest.raises(ModelError, match="expected logits of the saved checkpoint within"):
        load_verified(model, tokenizer, windows, tmp_path, dtype="float16")


@pytest.fixture
def aside(tmp_path):
    folder = tmp_path / "out" / ".training" / "seed=0" / "checkpoint"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def test_publish_checkpoint_leaves_everything_with_its_card_alone(aside, tmp_path):
    texts = {"history.json": "{}"}
    publish_checkpoint(aside, tmp_path / "out" / ".training", CARD, command="spanmill train", texts=texts)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.safetensors", "card.json", "README.md", "history.json"}
    assert CheckpointCard.from_json((tmp_path / "out" / CARD_NAME).read_text(encoding="utf-8")) == CARD


def test_a_checkpoint_whose_publishing_was_killed_is_published_again(aside, tmp_path, monkeypatch):
    output, work = tmp_path / "out", tmp_path / "out" / ".training"

    def die(source, target):
        raise KeyboardInterrupt

    (aside / "config.json").write_text("{}")
    for at in range(2):
        copied = []

        def copy(source, target, at=at, copied=copied):
            copied.append(source)
            return die(source, target) if len(copied) > at else copyfile(source, target)

        with monkeypatch.context() as patch:
            patch.setattr("training.checkpoints.shutil.copyfile", copy)
            with pytest.raises(KeyboardInterrupt):
                publish_checkpoint(aside, work, CARD, command="spanmill train")
        check_output(output, work_name=".training")
        assert is_publishing(work)
        assert not (output / "model.safetensors").exists()
    publish_checkpoint(aside, work, CARD, command="spanmill train")
    assert (output / "model.safetensors").read_bytes() == b"weights"
    assert not work.exists()
    assert not is_publishing(work)


def test_render_readme_names_data_scores_and_command():
    text = render_readme(CARD, "model", "spanmill train --seed 0")
    assert "| `a/b.conll` | dev  |         2 |     9 | LOC 4    |" in text
    assert "| micro |      50.0 |  100.0 | 66.7 |         - |        4 |" in text
    assert "group → ORG" in text
    assert "spanmill train --seed 0" in text


def test_render_readme_shows_intervals_where_there_are_some():
    score = FileScore(role="dev", name="a/b.conll", before=(MICRO,), after=(MICRO,), intervals={"micro": (0.4, 0.75)})
    text = render_readme(dataclasses.replace(CARD, scores=(score,)), "model", "spanmill train")
    assert "| micro |      50.0 |  100.0 | 66.7 |  40.0-75.0 |      66.7 |        4 |" in text
    assert "chance of 95 %" in text
    assert "chance of 95 %" not in render_readme(CARD, "model", "spanmill train")


def test_from_json_reads_cards_with_intervals_and_older_ones_without():
    intervals = {"intervals": {"micro": (0.4, 0.75)}, "intervals_before": {"micro": (0.0, 0.1)}}
    score = FileScore(role="dev", name="a/b.conll", before=(MICRO,), after=(MICRO,), **intervals)
    card = dataclasses.replace(CARD, scores=(score,))
    assert CheckpointCard.from_json(card.to_json()) == card
    value = json.loads(CARD.to_json())
    for old in value["scores"]:
        del old["intervals"], old["intervals_before"]
    assert CheckpointCard.from_json(json.dumps(value)) == CARD


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"card_version": 1}', '{"card_version": 2}'])
def test_from_json_refuses_what_is_no_card(text):
    with pytest.raises(CheckpointError, match="card"):
        CheckpointCard.from_json(text)


def test_check_output_allows_unfinished_training_only(tmp_path):
    check_output(tmp_path / "new", work_name=".training")
    (tmp_path / ".training").mkdir()
    check_output(tmp_path, work_name=".training")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"found \['model.safetensors'\]"):
        check_output(tmp_path, work_name=".training")


def test_check_output_refuses_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="found a file"):
        check_output(tmp_path / "out", work_name=".training")
