"""`spanmill train` on top of a tagger, so that it knows more and no less."""

import json

import pytest
from transformers import Trainer

from pipelines.__main__ import main
from schemas.checkpoints import CheckpointCard
from tests.training.recipes import make_labelled_file
from training.continual.fisher import FISHER_NAME, find_fisher
from training.continual.memory import BUFFER_NAME
from training.encoders import digest_weights, load_tagger, open_encoder
from training.examples import build_bio_tags, map_labels, read_files
from training.heads import list_tags
from training.scorer import Scorer
from transforms.models.checkpoint import digest_file, find_checkpoint
from transforms.models.embeddings import SentenceEncoder
from transforms.models.routing.centroids import load_centroid, mean_direction

FAST = ("--epochs", "6", "--learning-rate", "5e-3", "--batch-size", "8", "--max-tokens", "32", "--patience", "6")
SUM = ("replay:share=0.4", "l2:strength=0.01", "ewc:strength=2.0", "distillation")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Files with both labels, of which a training keeps one."""
    folder = tmp_path_factory.mktemp("data")
    make_labelled_file(folder / "train.txt", n_sentences=36)
    make_labelled_file(folder / "dev.conll", n_sentences=9, shift=1)
    return folder


def _arguments(data, base, output, *more):
    paths = {"--train": data / "train.txt", "--dev": data / "dev.conll", "--base": base, "--output": output}
    return ["train", *(str(word) for pair in paths.items() for word in pair), *FAST, *more]


@pytest.fixture(scope="module")
def champion(base, data, tmp_path_factory):
    """A tagger that has learned persons, with a memory of it."""
    output = tmp_path_factory.mktemp("champion") / "people"
    more = ("--map", "location=O", "--remember", "fisher:samples=20", "buffer:size=9,choice=balanced")
    assert main(_arguments(data, base, output, *more)) == 0
    return output


def _card(folder):
    return CheckpointCard.from_json((folder / "card.json").read_text(encoding="utf-8"))


def _score(folder, data, label):
    """F1 on one label of the dev file, of which all others are dropped."""
    encoder = open_encoder(str(folder))
    other = {"person": "location", "location": "person"}[label]
    files = map_labels(read_files([str(data / "dev.conll")], flag="--dev"), {other: "O"})
    tag_set = build_bio_tags(sorted(tag[2:] for tag in list_tags(encoder.config) if tag[:2] == "B-"))
    scorer = Scorer(files, tag_set, encoder.tokenizer, max_tokens=32, counted=[label])
    return scorer.measure_f1(load_tagger(encoder))[0]


def test_a_champion_remembers_what_it_was_trained_on(champion, data):
    tags, fisher = find_fisher(champion)
    assert tags == ("O", "B-person", "I-person")
    assert fisher["classifier.weight"].sum() > 0
    (buffer,) = read_files([str(champion / BUFFER_NAME)], flag="--old")
    assert len(buffer.sentences) == 9
    assert set(buffer.entities) == {"person"}
    card, readme = _card(champion), (champion / "README.md").read_text(encoding="utf-8")
    assert card.options["past"]["remember"] == ["fisher:samples=20", "buffer:size=9,choice=balanced"]
    assert card.weights_digest == digest_weights(str(champion))
    assert "It holds sentences of the training files" in readme


def test_all_ways_together_learn_what_is_new_and_keep_what_is_old(champion, data, tmp_path):
    # The map is for new files: old ones keep their persons.
    more = ("--map", "person=O", "--continual", *SUM, "--remember", "fisher:decay=0.5", "buffer")
    n_people = read_files([str(champion / BUFFER_NAME)], flag="--old")[0].entities["person"]
    assert _score(champion, data, "person") > 0.9
    assert main(_arguments(data, champion, tmp_path / "kept", *more)) == 0
    assert _card(tmp_path / "kept").labels == ("location", "person")
    assert _score(tmp_path / "kept", data, "location") > 0.9
    assert _score(tmp_path / "kept", data, "person") > 0.75

    past = _card(tmp_path / "kept").options["past"]
    assert past["continual"] == [*SUM]
    assert [file["name"] for file in past["old"]] == ["memory/replay.conll"]
    assert past["teacher"] == digest_weights(str(champion))
    assert len(past["fisher"]) == 64
    (buffer,) = read_files([str(tmp_path / "kept" / BUFFER_NAME)], flag="--old")
    assert buffer.entities == {"person": n_people, "location": 36}
    assert "Trained so as not to forget" in (tmp_path / "kept" / "README.md").read_text(encoding="utf-8")


def test_plain_training_forgets_and_growth_keeps_the_rows(champion, data, tmp_path):
    more = ("--map", "person=O", "--keep-labels")
    assert main(_arguments(data, champion, tmp_path / "naive", *more)) == 0
    assert _card(tmp_path / "naive").labels == ("location", "person")
    assert _score(tmp_path / "naive", data, "location") > 0.9
    assert _score(tmp_path / "naive", data, "person") < 0.5
    assert main(_arguments(data, champion, tmp_path / "anew", "--map", "person=O")) == 0
    assert _card(tmp_path / "anew").labels == ("location",)


def test_a_teacher_may_be_another_tagger_than_the_base(champion, base, data, tmp_path):
    assert main(_arguments(data, base, tmp_path / "places", "--map", "person=O", "--epochs", "2")) == 0
    # Nobody has labelled the persons that are trained on; dev files have both, so that the epoch is chosen by both.
    train = (data / "train.txt").read_text(encoding="utf-8").replace("B-person", "O")
    (tmp_path / "train.txt").write_text(train, encoding="utf-8")
    (tmp_path / "dev.conll").write_text((data / "dev.conll").read_text(encoding="utf-8"), encoding="utf-8")
    more = ("--continual", "distillation:temperature=1", "--teacher", str(champion))
    assert main(_arguments(tmp_path, tmp_path / "places", tmp_path / "both", *more)) == 0
    assert _card(tmp_path / "both").options["past"]["teacher"] == digest_weights(str(champion))
    assert _score(tmp_path / "both", data, "location") > 0.9
    assert _score(tmp_path / "both", data, "person") > 0.9


def test_entities_that_the_files_were_not_labelled_with_are_no_errors(champion, data, tmp_path):
    more = ("--map", "person=O", "--continual", "distillation", "--epochs", "1", "--learning-rate", "1e-9")
    assert main(_arguments(data, champion, tmp_path / "still", *more)) == 0
    # The model still finds persons, as it did; the dev file has none, and its score is about locations alone.
    assert {row.label for row in _card(tmp_path / "still").scores[0].after} == {"location", "micro"}


@pytest.mark.timeout(300)
def test_interrupted_training_goes_on_with_the_same_past_only(champion, data, tmp_path, monkeypatch, capsys):
    more = ("--map", "person=O", "--continual", *SUM, "--epochs", "2")
    assert main(_arguments(data, champion, tmp_path / "whole", *more)) == 0
    saved = Trainer._save_checkpoint

    def die(self, *arguments):
        saved(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "_save_checkpoint", die)
        main(_arguments(data, champion, tmp_path / "cut", *more))
    state = json.loads((tmp_path / "cut" / ".training" / "training.json").read_text(encoding="utf-8"))
    assert state["past"]["continual"] == [*SUM]
    capsys.readouterr()
    changed = [word.replace("share=0.4", "share=0.5") for word in more]
    assert main([*_arguments(data, champion, tmp_path / "cut", *changed), "--resume"]) == 2
    assert "found other values of ['past']" in capsys.readouterr().err
    assert main([*_arguments(data, champion, tmp_path / "cut", *more), "--resume"]) == 0
    assert digest_weights(str(tmp_path / "cut")) == digest_weights(str(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--continual", "replay"), "expected a tagger as --base, found 'tiny', which has no labels yet"),
        (("--keep-labels",), "expected a tagger as --base, found 'tiny', which has no labels yet"),
        (("--remember", "fisher", "--method", "lora"), "expected --method full or --merge with --remember fisher"),
        (("--remember", "centroid:encoder=./nowhere"), "expected a model folder at './nowhere', found none"),
        (("--registry", "somewhere"), "expected registry:champion or registry:DIGEST as --base or --teacher with"),
        (("--base", "registry:champion"), "expected --registry with --base registry:champion, found none"),
        (
            ("--remember", "everything"),
            "expected --remember to name one of ['buffer', 'centroid', 'fisher'], found 'everything'",
        ),
    ],
)
def test_a_base_without_labels_has_nothing_to_forget(base, data, tmp_path, capsys, more, message):
    assert main(_arguments(data, base, tmp_path / "out", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_old_files_may_be_given_and_have_the_labels_of_the_base(champion, data, tmp_path, capsys):
    old = make_labelled_file(tmp_path / "old.conll", n_sentences=4)
    arguments = _arguments(
        data, champion, tmp_path / "out", "--epochs", "1", "--continual", "replay", "--old", str(old)
    )
    assert main([*arguments, "--map", "person=O"]) == 2
    assert "expected labels of --base, ['person'], in --old" in capsys.readouterr().err
    old.write_text(old.read_text(encoding="utf-8").replace("B-location", "O"), encoding="utf-8")
    assert main([*arguments, "--map", "person=O"]) == 0
    assert _card(tmp_path / "out").options["past"]["old"][0]["name"].endswith("/old.conll")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--continual", "ewc", "--method", "lora"), "expected --method full|frozen|bitfit with --continual ewc"),
        (("--continual", "l2:strength=0"), "expected strength of --continual l2 above 0"),
        (("--continual", "distillation", "--teacher", "nowhere"), "cannot open base model 'nowhere'"),
    ],
)
def test_ways_that_cannot_work_are_refused(champion, data, tmp_path, capsys, more, message):
    assert main(_arguments(data, champion, tmp_path / "out", *more)) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_fisher_information_of_other_weights_is_refused(champion, data, tmp_path, capsys):
    assert main(_arguments(data, champion, tmp_path / "next", "--keep-labels", "--epochs", "1")) == 0
    (tmp_path / "next" / "memory").mkdir()
    (tmp_path / "next" / FISHER_NAME).write_bytes((champion / FISHER_NAME).read_bytes())
    assert main(_arguments(data, tmp_path / "next", tmp_path / "out", "--continual", "ewc")) == 2
    assert "remove it and give --old files" in capsys.readouterr().err


@pytest.fixture
def registry(champion, tmp_path):
    """A registry whose champion is the tagger, and the digest of that."""
    folder = tmp_path / "registry"
    assert main(["registry", "add", str(champion), "--registry", str(folder)]) == 0
    digest = find_checkpoint(str(champion)).digest
    assert main(["registry", "promote", digest, "--force", "test", "--registry", str(folder)]) == 0
    return folder, digest


def test_the_champion_of_a_registry_brings_its_memory(registry, champion, data, tmp_path):
    folder, digest = registry
    more = ("--registry", str(folder), "--map", "person=O", "--continual", "replay", "ewc", "distillation")
    assert main(_arguments(data, "registry:champion", tmp_path / "next", *more, "--epochs", "1")) == 0

    card = _card(tmp_path / "next")
    assert (card.base, card.base_digest) == (f"registry:{digest}", digest_weights(str(champion)))
    assert card.options["registry"] == {"base": digest}
    assert card.labels == ("location", "person")
    past = card.options["past"]
    assert [file["name"] for file in past["old"]] == ["memory/replay.conll"]
    assert past["fisher"] == digest_file(champion / FISHER_NAME)
    assert f"--base registry:{digest}" in (tmp_path / "next" / "README.md").read_text(encoding="utf-8")


def test_a_teacher_may_come_from_a_registry_too(registry, champion, data, tmp_path):
    folder, digest = registry
    more = ("--registry", str(folder), "--teacher", f"registry:{digest[:12]}", "--continual", "distillation")
    assert main(_arguments(data, champion, tmp_path / "next", *more, "--map", "person=O", "--epochs", "1")) == 0
    card = _card(tmp_path / "next")
    assert card.options["registry"] == {"teacher": digest}
    assert card.options["past"]["teacher"] == digest_weights(str(champion))


def test_a_memory_that_was_changed_in_the_registry_is_not_trained_on(registry, data, tmp_path, capsys):
    folder, digest = registry
    (folder / "checkpoints" / digest / BUFFER_NAME).write_text("otto\tB-person\n", encoding="utf-8")
    more = ("--registry", str(folder), "--continual", "replay")
    assert main(_arguments(data, "registry:champion", tmp_path / "next", *more)) == 2
    assert "expected 'memory/replay.conll' of checkpoint" in capsys.readouterr().err
    assert not (tmp_path / "next").exists()


def test_an_adapter_keeps_what_its_training_texts_are_like(champion, base, data, tmp_path):
    more = ("--method", "lora:rank=2", "--epochs", "1", "--map", "person=O", "--keep-labels", "--remember")
    assert main(_arguments(data, champion, tmp_path / "own", *more, "centroid")) == 0
    assert main(_arguments(data, champion, tmp_path / "told", *more, f"centroid:encoder={base}")) == 0

    texts = [" ".join(one.words) for one in read_files([str(data / "train.txt")], flag="--train")[0].sentences]
    for name, encoder, shown in (("own", champion, ""), ("told", base, str(base))):
        found = load_centroid(tmp_path / name)
        assert found.vector == pytest.approx(mean_direction(SentenceEncoder(str(encoder)).encode(texts)), abs=1e-5)
        assert (found.encoder_digest, found.encoder) == (digest_weights(str(encoder)), shown)
        past = _card(tmp_path / name).options["past"]
        assert past["centroid"] == found.encoder_digest
        assert str(base) not in json.dumps(past["remember"])
