import json
import sys

import pytest
from transformers import AutoModelForTokenClassification, Trainer

from pipelines.__main__ import main
from schemas.checkpoints import CheckpointCard, History
from tests.training.recipes import make_labelled_file
from training.scores import micro_f1
from transforms.models.backends import BackendConfig
from transforms.models.catalog import configure_tagger
from transforms.models.checkpoint import find_checkpoint
from transforms.tags.entities import DecodingConfig
from transforms.text.windows import WindowConfig

MAP = ("--map", "person=PER", "location=LOC")
FAST = ("--epochs", "8", "--learning-rate", "5e-3", "--batch-size", "8", "--max-tokens", "32", "--patience", "8")


@pytest.fixture
def files(tmp_path):
    for name, n_sentences, shift in (
        ("train.txt", 54, 0),
        ("dev.conll", 9, 1),
        ("more.conll", 6, 2),
        ("test.txt", 7, 3),
    ):
        make_labelled_file(tmp_path / name, n_sentences=n_sentences, shift=shift)
    return tmp_path


def _arguments(base, files, *more):
    paths = {
        flag: str(files / name) for flag, name in (("train", "train.txt"), ("dev", "dev.conll"), ("output", "out"))
    }
    return [
        "train",
        *(word for flag, path in paths.items() for word in (f"--{flag}", path)),
        "--base",
        str(base),
        *more,
    ]


def test_main_trains_and_writes_a_checkpoint(base, files, capsys):
    more = ("--dev", str(files / "more.conll"), "--test", str(files / "test.txt"), "--dtype", "float16")
    assert main(_arguments(base, files, *MAP, *FAST, *more)) == 0
    output = files / "out"
    names = {path.name for path in output.iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert names >= {"card.json", "README.md"}
    assert ".training" not in names

    card = CheckpointCard.from_json((output / "card.json").read_text(encoding="utf-8"))
    assert card.tags == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert [(score.role, score.name.rpartition("/")[2]) for score in card.scores] == [
        ("dev", "dev.conll"),
        ("dev", "more.conll"),
        ("test", "test.txt"),
    ]
    assert all(micro_f1(score.after) > max(0.9, micro_f1(score.before)) for score in card.scores)
    assert card.data[0].entities == {"LOC": 54, "PER": 54}
    assert AutoModelForTokenClassification.from_pretrained(output).config.label2id["B-PER"] == 3

    printed = capsys.readouterr().out
    assert "test.txt (test)" in printed
    assert f"checkpoint: {output}" in printed


def test_main_leaves_a_report_of_what_training_did(base, files):
    assert main(_arguments(base, files, *FAST, "--epochs", "2", "--test", str(files / "test.txt"))) == 0
    report = json.loads((files / "out" / "report.json").read_text(encoding="utf-8"))
    card = CheckpointCard.from_json((files / "out" / "card.json").read_text(encoding="utf-8"))
    assert [(row["step"], row["epoch"]) for row in report["history"]] == [(7, 1.0), (14, 2.0)]
    assert all(row["loss"] > 0 and row["seconds"] > 0 for row in report["history"])
    best = next(row for row in report["history"] if row["step"] == card.best_step)
    assert best["f1"] == micro_f1(card.scores[0].after)
    assert list(best["f1_by_file"].values()) == [best["f1"]]
    assert [file["role"] for file in report["files"]] == ["dev", "test"]
    assert report["files"][1]["after"]["micro"]["f1"] == micro_f1(card.scores[1].after)
    assert report["trained_parameters"] == report["parameters"] == card.parameters
    assert report["memory"]["process_bytes"] > 1 << 20

    low, high = card.scores[0].intervals["micro"]
    assert low <= micro_f1(card.scores[0].after) <= high
    assert "95 % of F1" in (files / "out" / "README.md").read_text(encoding="utf-8")
    page = (files / "out" / "report.html").read_text(encoding="utf-8")
    assert "chart-curves" in page
    assert "anna" not in page


def test_main_splits_the_training_files(base, files, capsys):
    arguments = _arguments(base, files, *MAP, *FAST, "--epochs", "1")
    del arguments[arguments.index("--dev") : arguments.index("--dev") + 2]
    make_labelled_file(files / "train.txt", n_sentences=36)
    assert main([*arguments, "--split", "0.6/0.2/0.2"]) == 0
    assert "sentences: train " in capsys.readouterr().out
    card = CheckpointCard.from_json((files / "out" / "card.json").read_text(encoding="utf-8"))
    parts = {file.role: file for file in card.data}
    assert {role: file.name.rpartition("/")[2] for role, file in parts.items()} == {
        role: f"train.txt#{role}" for role in ("train", "dev", "test")
    }
    assert len({file.digest for file in card.data}) == 3
    assert card.options["split"]["given"] == [0.6, 0.2, 0.2]
    assert card.options["split"]["sentences"] == [parts[role].sentences for role in ("train", "dev", "test")]
    assert sum(file.sentences for file in card.data) == 36
    assert [score.role for score in card.scores] == ["dev", "test"]
    assert "--split 0.6/0.2/0.2" in (files / "out" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ((), "expected --dev or --split, found neither"),
        (("--split", "0.9/0.2"), "expected --split with shares that sum to 1"),
        (("--split", "0.8/0.1/0.1", "--dev", "{dev}"), "expected --dev or --split, found both"),
        (("--split", "0.99/0.01"), "none for dev"),
    ],
)
def test_main_refuses_a_wrong_split_in_one_line(base, files, more, message, capsys):
    arguments = _arguments(base, files, "--max-tokens", "32")
    del arguments[arguments.index("--dev") : arguments.index("--dev") + 2]
    assert main([*arguments, *(word.format(dev=files / "dev.conll") for word in more)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (files / "out").exists()


def test_main_writes_no_path_of_this_machine(base, files):
    assert main(_arguments(base, files, *FAST, "--epochs", "1")) == 0
    for path in (files / "out").iterdir():
        assert str(files.parent).encode() not in path.read_bytes(), path.name
        assert str(base.parent).encode() not in path.read_bytes(), path.name


def test_main_resumes_with_the_same_number_of_steps(base, files, monkeypatch, capsys):
    save = Trainer._save_checkpoint

    def save_and_die(self, model, trial):
        save(self, model, trial)
        raise KeyboardInterrupt

    arguments = _arguments(base, files, *FAST, "--epochs", "3")
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_save_checkpoint", save_and_die)
        with pytest.raises(KeyboardInterrupt):
            main(arguments)
    assert main(arguments) == 2
    assert main([*arguments, "--resume", "--seed", "7"]) == 2
    messages = capsys.readouterr().err
    assert "add --resume or remove it" in messages
    assert "other values of ['seed']" in messages
    assert main([*arguments, "--base", str(files / "out"), "--output", str(files / "other")]) == 2
    assert "found the unfinished training 'out'; finish it with train --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert "nothing to resume" not in capsys.readouterr().out
    assert json.loads((files / "out" / "card.json").read_text(encoding="utf-8"))["steps"] == 3 * 7


def test_main_says_so_where_there_is_nothing_to_resume(base, files, capsys):
    assert main(_arguments(base, files, *FAST, "--epochs", "1", "--resume")) == 0
    assert f"nothing to resume in {str(files / 'out')!r}, beginning" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--map", "people=PER"), "expected --map from labels of the files, ['location', 'person'], found ['people']"),
        (("--map", "person"), "expected --map KEY=VALUE, found 'person'"),
        (("--map", "person=O", "location=O"), "expected entities in the training files"),
        (("--test", "missing.conll"), "check --test"),
        (("--epochs", "0"), "expected --epochs above 0, found 0"),
        (("--max-tokens", "33"), "expected --max-tokens of at most 32 for 'tiny', found 33"),
        (("--runner", "DirectRunner"), "unknown flag '--runner'"),
        (("--base", "no/such/model/here"), "no/such/model/here"),
        (("--method", "magic"), "expected --method to name one of"),
        (("--dtype", "int8"), "invalid choice: 'int8'"),
        (("--objective", "fgm", "pgd"), "expected one --objective of ['fgm', 'pgd', 'freelb'] at most"),
        (("--head", "crf", "--objective", "focal"), "expected no --objective focal with --head crf"),
        (("--seeds", "1", "1"), "expected different --seeds of at least 0 and below 4294967296, found [1, 1]"),
        (("--seeds", "1", "2", "--seed", "3"), "expected --seed or --seeds, found both; add 3 to --seeds"),
        (("--seeds", "1", "4294967296"), "below 4294967296, found [1, 4294967296]"),
        (("--crf-learning-rate", "0.1"), "expected --head crf with --crf-learning-rate, found linear"),
        (("--old", "{old}"), "expected --continual or --remember with --old, found neither"),
        (("--teacher", "nowhere"), "expected --continual distillation with --teacher, found none"),
        (("--dev", "{empty}"), "expected entities to choose the best epoch by, found none in"),
        (("--search", "missing.toml"), "cannot read --search 'missing.toml'"),
    ],
)
def test_main_refuses_wrong_options_in_one_line(base, files, more, message, capsys):
    (files / "empty.conll").write_text("Nobody O\nslept O\n", encoding="utf-8")
    paths = {"old": files / "more.conll", "empty": files / "empty.conll"}
    assert main(_arguments(base, files, "--max-tokens", "32", *(word.format(**paths) for word in more))) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (files / "out").exists()


@pytest.mark.parametrize(("more", "tokens"), [((), 32), (("--method", "prompt:tokens=20"), 12)])
def test_main_trains_on_windows_of_what_the_base_reads_unless_told(base, files, more, tokens, capsys):
    assert main(_arguments(base, files, "--epochs", "1", "--batch-size", "8", *more)) == 0
    card = CheckpointCard.from_json((files / "out" / "card.json").read_text(encoding="utf-8"))
    assert card.options["max_tokens"] == tokens
    assert main(_arguments(base, files, "--epochs", "1", *more, "--max-tokens", "256", "--output", "other")) == 2
    assert f"expected --max-tokens of at most {tokens} for 'tiny'" in capsys.readouterr().err


def test_main_refuses_files_without_tags(base, files, capsys):
    (files / "plain.txt").write_text("Anna\nslept\n", encoding="utf-8")
    assert main(_arguments(base, files, "--dev", str(files / "plain.txt"))) == 2
    assert "expected a word and its tag" in capsys.readouterr().err


def test_main_refuses_to_score_on_what_it_trains_on(base, files, capsys):
    assert main(_arguments(base, files, "--test", str(files / "train.txt"))) == 2
    assert "found ['" in capsys.readouterr().err


def test_main_refuses_an_output_with_content(base, files, capsys):
    (files / "out").mkdir()
    (files / "out" / "model.safetensors").write_bytes(b"precious")
    assert main(_arguments(base, files)) == 2
    assert "expected a new or empty --output" in capsys.readouterr().err
    assert (files / "out" / "model.safetensors").read_bytes() == b"precious"


def test_help_needs_no_torch(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    assert "--warmup-ratio" in capsys.readouterr().out


def test_main_trains_once_per_seed_and_keeps_the_best(base, files, capsys):
    more = ("--epochs", "2", "--seeds", "5", "6", "7", "--test", str(files / "test.txt"))
    assert main(_arguments(base, files, *FAST, *more)) == 0
    output = files / "out"
    card = CheckpointCard.from_json((output / "card.json").read_text(encoding="utf-8"))
    assert [seed.seed for seed in card.seeds] == [5, 6, 7]
    best = max(card.seeds, key=lambda seed: seed.f1[0])
    assert card.options["seed"] == best.seed
    assert tuple(micro_f1(score.after) for score in card.scores) == best.f1
    history = History.from_json((output / "history.json").read_text(encoding="utf-8"))
    assert [(curve.seed, len(curve.epochs)) for curve in history.curves] == [(5, 2), (6, 2), (7, 2)]
    assert "| file " in (output / "README.md").read_text(encoding="utf-8")
    assert "3 seeds" in capsys.readouterr().out


def test_a_seed_among_others_gives_the_weights_that_it_gives_alone(base, files):
    short = (*FAST, "--epochs", "1")
    assert main(_arguments(base, files, *short, "--seeds", "6", "5")) == 0
    seed = json.loads((files / "out" / "card.json").read_text(encoding="utf-8"))["options"]["seed"]
    assert main(_arguments(base, files, *short, "--seed", str(seed), "--output", str(files / "one"))) == 0
    one, other = ((files / name / "model.safetensors").read_bytes() for name in ("one", "out"))
    assert one == other


@pytest.fixture
def search(files):
    (files / "search.toml").write_text(
        '[grid]\nlearning-rate = [1e-6, 5e-3]\nobjective = [[], ["focal"]]\n', encoding="utf-8"
    )
    return ("--epochs", "2", "--search", str(files / "search.toml"))


def test_main_searches_and_publishes_the_best_trial(base, files, search):
    assert main(_arguments(base, files, *FAST, *search)) == 0
    output = files / "out"
    trials = [json.loads(line) for line in (output / "trials.jsonl").read_text(encoding="utf-8").splitlines()]
    card = CheckpointCard.from_json((output / "card.json").read_text(encoding="utf-8"))
    best = max(trials, key=lambda trial: trial["f1"])
    assert (len(trials), card.trials) == (4, 4)
    assert card.options["learning_rate"] == best["options"]["learning-rate"] == 5e-3
    assert micro_f1(card.scores[0].after) == best["f1"]
    readme = (output / "README.md").read_text(encoding="utf-8")
    assert "best of 4 trials" in readme
    assert "--learning-rate 0.005" in readme
    assert not (output / ".training").exists()


def test_main_goes_on_with_a_search_and_repeats_no_trial(base, files, search, monkeypatch):
    started = []

    def count(self, *arguments, **options):
        started.append(self.args.learning_rate)
        if len(started) == 3:
            raise KeyboardInterrupt
        return begin(self, *arguments, **options)

    begin = Trainer.train
    monkeypatch.setattr(Trainer, "train", count)
    with pytest.raises(KeyboardInterrupt):
        main(_arguments(base, files, *FAST, *search))
    assert main(_arguments(base, files, *FAST, *search, "--resume")) == 0
    assert started == [1e-6, 1e-6, 5e-3, 5e-3, 5e-3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning-rat = [1e-3]", "unknown key 'learning-rat' in"),
        ("learning-rate = [1e-3, -1.0]", "expected --learning-rate above 0, found -1.0"),
        ("base = ['other']", "expected options of training in"),
        ("objective = [['magic']]", "expected --objective to name one of"),
    ],
)
def test_main_refuses_a_search_of_wrong_options_before_it_trains(base, files, text, message, capsys):
    (files / "search.toml").write_text("[grid]\n" + text, encoding="utf-8")
    assert main(_arguments(base, files, "--max-tokens", "32", "--search", str(files / "search.toml"))) == 2
    assert message in capsys.readouterr().err
    assert not (files / "out").exists()


def test_main_trains_a_crf_with_which_annotate_decodes(base, files):
    assert main(_arguments(base, files, *FAST, "--head", "crf", "--dtype", "float16")) == 0
    output = files / "out"
    checkpoint = find_checkpoint(str(output))
    assert checkpoint.tag_set.transitions is not None
    assert "conditional random field" in (output / "README.md").read_text(encoding="utf-8")
    card = CheckpointCard.from_json((output / "card.json").read_text(encoding="utf-8"))
    assert micro_f1(card.scores[0].after) > 0.9
    tagger = configure_tagger(
        checkpoint,
        backend=BackendConfig(),
        windows=WindowConfig(),
        decoding=DecodingConfig(),
        batch_tokens=512,
    )
    found = tagger.build(tagger.load()).tag(["anna went to rome ."])
    assert [(int(start), int(end)) for start, end in zip(found.start, found.end, strict=True)] == [(0, 4), (13, 17)]
