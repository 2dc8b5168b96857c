"""The distill job: a run's confident spans in, a student beside its teacher out."""

import json

import pytest

from pipelines import train
from pipelines.__main__ import main
from schemas.checkpoints import CheckpointCard
from tests.pipelines.conftest import run_folder
from tests.pipelines.handmade import span, write_run, write_texts
from tests.training.recipes import PEOPLE, PLACES
from transforms.models.checkpoint import digest_file

FAST = ("--epochs", "12", "--learning-rate", "5e-3", "--batch-size", "8", "--max-tokens", "32", "--patience", "12")


def sentence(at):
    verb = "went to" if at % 2 else "saw the"
    return f"{PEOPLE[at % 3]} {verb} {PLACES[at // 3 % 3]}, {'the river ' * (at // 18)}."


def spans(text, score=0.95):
    person, place = (next(name for name in names if name in text) for names in (PEOPLE, PLACES))
    begin = text.index(place)
    return [span(0, len(person), "PER", score), span(begin, begin + len(place), "LOC", score)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A teacher's run over eighty documents, and one over nine gold documents in which it misses every place."""
    folder = tmp_path_factory.mktemp("runs")
    texts = {str(at): sentence(at) for at in range(54)}
    found = {id_: spans(text) for id_, text in texts.items()}
    texts |= {f"doubt {at}": sentence(at) for at in range(6)}
    found |= {f"doubt {at}": spans(sentence(at), 0.5 if at % 2 else 0.75) for at in range(6)}
    texts |= {f"empty {at}": f"the river {'un ' * at}." for at in range(20)}
    texts |= {"blank": " "}
    write_run(folder / "teacher", write_texts(folder / "in.jsonl", texts), found)
    gold = {f"g{at}": sentence(at + 72) for at in range(9)}
    with (folder / "gold.jsonl").open("w") as lines:
        for id_, text in gold.items():
            row = {"id": id_, "text": text, "gold": [[s["start"], s["end"], s["label"]] for s in spans(text)]}
            lines.write(json.dumps(row) + "\n")
    write_run(folder / "on_gold", folder / "gold.jsonl", {id_: spans(text)[:1] for id_, text in gold.items()})
    return folder


def distill(runs, base, output, *more, run="teacher"):
    return main(["distill", str(runs / run), "--base", str(base), "--output", str(output), *FAST, *map(str, more)])


def test_a_student_learns_from_confident_documents_and_is_compared_with_its_teacher(base, runs, tmp_path, capsys):
    output = tmp_path / "out"
    more = ("--gold", runs / "gold.jsonl", "--gold-run", runs / "on_gold", "--no-progress", "--replicates", "50")
    assert distill(runs, base, output, "--share-empty", "0.1", *more) == 0
    printed = capsys.readouterr().out
    assert "documents: doubtful 6, empty 15, used 59, without words 1" in printed
    data = (output / "data" / "train.conll").read_text()
    assert data.startswith("# newdoc id = 0\nanna\tB-PER\nsaw\tO\nthe\tO\nrome\tB-LOC\n,\tO\n.\tO\n\n# newdoc id = 1\n")
    assert data.count("# newdoc") == 59
    assert data.count("# newdoc id = empty") == 5
    assert "doubt" not in data

    card = CheckpointCard.from_json((output / "student" / "card.json").read_text())
    teacher = card.options["teacher"]
    assert teacher == json.loads((output / "data" / "train.json").read_text())
    assert teacher["run"] == run_folder(runs / "teacher").name
    assert (teacher["model"], teacher["confidence"], teacher["documents"]) == ("0" * 64, 0.9, 59)
    assert {file.role for file in card.data} == {"train", "dev"}
    readme = (output / "student" / "README.md").read_text()
    assert "in 59 documents of which no span\nscored under 0.9." in readme

    report = json.loads((output / "comparison" / "comparison.json").read_text())["gold"]
    assert report["counts"]["documents"] == 9
    assert report["micro"]["a"]["recall"] == 0.5
    assert report["micro"]["b"]["f1"] > report["micro"]["a"]["f1"]
    assert report["micro"]["b"]["f1"] > 0.9
    assert json.loads((output / "comparison" / "comparison.json").read_text())["verdict"] in printed


def test_doubtful_spans_may_be_taken_for_text(base, runs, tmp_path, capsys):
    more = ("--doubtful", "as-text", "--share-empty", "1", "--epochs", "1")
    assert distill(runs, base, tmp_path / "out", *more) == 0
    assert "documents: used 80, without words 1" in capsys.readouterr().out
    data = (tmp_path / "out" / "data" / "train.conll").read_text()
    assert "# newdoc id = doubt 0\nanna\tO\nsaw\tO\nthe\tO\nrome\tO\n" in data
    readme = (tmp_path / "out" / "student" / "README.md").read_text()
    assert "80 documents whose spans are\ntext where they score under 0.9." in readme


def test_training_that_was_stopped_goes_on_and_a_student_is_not_taught_twice(base, runs, tmp_path, monkeypatch, capsys):
    output = tmp_path / "out"
    monkeypatch.setattr(train, "_publish", _stop)
    with pytest.raises(KeyboardInterrupt):
        distill(runs, base, output, "--epochs", "1")
    monkeypatch.undo()
    assert distill(runs, base, output, "--epochs", "1") == 2
    assert "add --resume" in capsys.readouterr().err
    assert distill(runs, base, output, "--epochs", "1", "--resume") == 0
    before = (output / "student" / "model.safetensors").stat().st_mtime_ns
    assert distill(runs, base, output, "--epochs", "1", "--resume") == 0
    assert (output / "student" / "model.safetensors").stat().st_mtime_ns == before
    assert distill(runs, base, output, "--epochs", "1") == 2
    assert "expected a new --output, found a student" in capsys.readouterr().err


def _stop(*_):
    raise KeyboardInterrupt


def test_texts_of_the_gold_documents_are_not_trained_on(base, runs, tmp_path, capsys):
    texts = {str(at): sentence(at) for at in range(54)}
    write_run(
        tmp_path / "seen",
        write_texts(tmp_path / "seen.jsonl", {"0": sentence(0), "x": sentence(60)}),
        {},
    )
    (tmp_path / "gold.jsonl").write_text(json.dumps({"id": "0", "text": texts["0"], "gold": [[0, 4, "PER"]]}) + "\n")
    more = ("--gold", tmp_path / "gold.jsonl", "--gold-run", tmp_path / "seen", "--no-progress", "--epochs", "1")
    assert distill(runs, base, tmp_path / "out", *more) == 0
    assert "held out for gold 2" in capsys.readouterr().out
    assert "newdoc id = 0\n" not in (tmp_path / "out" / "data" / "train.conll").read_text()


def test_what_train_takes_is_passed_on(base, runs, tmp_path):
    dev = tmp_path / "dev.conll"
    dev.write_text("anna\tB-who\nsaw\tO\nthe\tO\nrome\tO\n\n")
    more = ("--dev", dev, "--method", "lora:rank=2", "--epochs", "1", "--map", "PER=who", "LOC=O")
    assert distill(runs, base, tmp_path / "out", *more) == 0
    card = CheckpointCard.from_json((tmp_path / "out" / "student" / "card.json").read_text())
    assert (card.method, card.labels) == ("lora", ("who",))
    assert [file.name.rpartition("/")[2] for file in card.data] == ["train.conll", "dev.conll"]
    assert card.options["teacher"]["label_map"] == {"PER": "who", "LOC": "O"}


def test_the_teacher_of_continual_distillation_is_a_model(tiny_checkpoint, runs, tmp_path):
    more = ("--continual", "distillation", "--teacher", tiny_checkpoint, "--epochs", "1")
    assert distill(runs, tiny_checkpoint, tmp_path / "out", *more) == 0
    card = CheckpointCard.from_json((tmp_path / "out" / "student" / "card.json").read_text())
    assert card.options["past"]["teacher"] == digest_file(tiny_checkpoint / "model.safetensors")
    assert card.options["teacher"]["run"] == run_folder(runs / "teacher").name


def test_texts_that_are_gone_are_not_made_up(base, tmp_path, capsys):
    source = write_texts(tmp_path / "in.jsonl", {"a": sentence(0)})
    write_run(tmp_path / "teacher", source, {"a": spans(sentence(0))})
    source.unlink()
    assert distill(tmp_path, base, tmp_path / "out") == 2
    assert "found none (without text 1); lower --confidence, or bring its input back" in capsys.readouterr().err
    assert not (tmp_path / "out" / "data" / "train.conll").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--confidence", "1.5"], "expected --confidence between 0 and 1, found 1.5"),
        (["--share-empty", "-1"], "expected --share-empty between 0 and 1, found -1.0"),
        (["--gold", "x.conll"], "expected --gold with --gold-run, the teacher's run over the gold files, found --gold"),
        (["--gold-run", "x"], "found --gold-run alone"),
        (["--confidence", "0.96", "--share-empty", "0"], "expected documents of"),
        (["--map", "PRE=person"], "expected --map from labels of the taggers, ['LOC', 'ORG', 'PER'], found 'PRE'"),
        (["--map", "PER=a b"], "expected labels without white space to train on, found 'a b'; rename it, as in"),
        (["--method", "nosuch"], "expected --method to name one of"),
        (["--base", "/nosuch/model"], "/nosuch/model"),
    ],
)
def test_distill_answers_wrong_input_with_one_line(base, runs, tmp_path, capsys, more, message):
    assert distill(runs, base, tmp_path / "out", *more) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (tmp_path / "out" / "student").exists()


def test_several_taggers_are_to_be_combined_first(base, runs, tmp_path, capsys):
    write_run(tmp_path / "both", runs / "in.jsonl", {"a": {"0": []}, "b": {"0": []}})
    assert distill(tmp_path, base, tmp_path / "out", run="both") == 2
    assert "found those of ['a', 'b']; make one of them with spanmill combine" in capsys.readouterr().err
