"""The evaluate job: the same numbers from CoNLL files and from runs, equal to seqeval's, whoever computes them."""

import json
import random
import warnings

import jsonschema
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from seqeval.metrics import accuracy_score
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as default_scores
from seqeval.metrics.v1 import precision_recall_fscore_support as strict_scores
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES

from pipelines.__main__ import main
from tests.conftest import ROOT
from tests.pipelines.conftest import read_report, read_rows, run_folder

SCHEMES = {"IOB1": (IOB1, "BI"), "BIO": (IOB2, "BI"), "BIOES": (IOBES, "BIES"), "BILOU": (BILOU, "BILU")}
WORDS = ("Anna", "lives", "in", "Berlin", "while", "nobody", "knows", "Bob")
SCHEMA = json.loads((ROOT / "schemas/evaluation.schema.json").read_text())


@pytest.fixture
def evaluate(tmp_path):
    """Runs the job and returns its exit status."""

    def run(*arguments, output="evaluation"):
        words = ["evaluate", "--output", str(tmp_path / output), "--no-progress", "--replicates", "50"]
        return main([*words, *map(str, arguments)])

    return run


@pytest.fixture
def report(tmp_path):
    """Reads a report, which follows the published schema."""

    def read(output="evaluation"):
        content = json.loads((tmp_path / output / "report.json").read_text())
        jsonschema.validate(content, SCHEMA)
        return content

    return read


def _random_sentences(scheme, seed, n_sentences=80):
    """Words with gold and predicted tags, illegal ones among them."""
    rng = random.Random(seed)
    tags = ["O", "O", *(f"{prefix}-{label}" for prefix in SCHEMES[scheme][1] for label in ("PER", "creative-work"))]
    sentences = []
    for _ in range(n_sentences):
        gold = rng.choices(tags, k=rng.randint(1, 9))
        predicted = [rng.choice(tags) if rng.random() < 0.3 else tag for tag in gold]
        sentences.append(([rng.choice(WORDS) for _ in gold], gold, predicted))
    return sentences


def _write_conll(path, sentences, *columns):
    lines = [
        "\n".join("\t".join(cells) for cells in zip(*(s[c] for c in (0, *columns)), strict=True)) for s in sentences
    ]
    path.write_text("\n\n".join(lines) + "\n")
    return path


def _assert_equal_to_seqeval(report, gold, predicted, scheme):
    strict = {"zero_division": 0, "scheme": SCHEMES[scheme][0]}
    for mode, score, options in (("default", default_scores, {"zero_division": 0}), ("strict", strict_scores, strict)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = {
                average: score(gold, predicted, average=average, **options)
                for average in ("micro", "macro", "weighted")
            }
            by_label = score(gold, predicted, average=None, **options)
        found = report["exact"][mode]
        for average, values in expected.items():
            assert _values(found[average]) == tuple(values)
        assert [_values(found["labels"][label]) for label in sorted(found["labels"])] == list(
            zip(*by_label, strict=True)
        )


def _values(scores):
    return tuple(scores[name] for name in ("precision", "recall", "f1", "support"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_two_files_score_as_seqeval_scores_them(evaluate, report, tmp_path, scheme):
    sentences = _random_sentences(scheme, seed=len(scheme))
    gold = _write_conll(tmp_path / "gold.conll", sentences, 1)
    predicted = _write_conll(tmp_path / "predicted.conll", sentences, 2)
    assert evaluate("--gold", gold, "--predicted", predicted, "--scheme", scheme) == 0
    _, *tags = zip(*sentences, strict=True)
    gold_tags, predicted_tags = map(list, tags)
    _assert_equal_to_seqeval(report(), gold_tags, predicted_tags, scheme)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert report()["tokens"]["accuracy"] == accuracy_score(gold_tags, predicted_tags)


def test_each_side_may_follow_a_scheme_of_its_own(evaluate, report, tmp_path):
    words = ["Ada", "Lovelace", "met", "Bob"]
    gold = _write_conll(tmp_path / "gold.conll", [(words, ["I-PER", "I-PER", "O", "I-PER"])], 1)
    spans = {"BIO": ["B-PER", "I-PER", "O", "B-PER"], "BILOU": ["B-PER", "L-PER", "O", "U-PER"]}
    for scheme, tags in spans.items():
        predicted = _write_conll(tmp_path / f"{scheme}.conll", [(words, tags)], 1)
        assert evaluate("--gold", gold, "--predicted", predicted, "--scheme", "IOB1", "--predicted-scheme", scheme) == 0
        assert report()["exact"]["strict"]["micro"]["f1"] == 1
    assert evaluate("--gold", tmp_path / "BIO.conll", "--predicted", tmp_path / "BILOU.conll") == 0
    assert report()["exact"]["strict"]["micro"]["f1"] == 1
    assert report()["settings"]["predicted scheme"] == "BILOU"


def test_one_file_with_both_columns_scores_as_two_files(evaluate, report, tmp_path):
    sentences = _random_sentences("BIO", seed=1)
    gold = _write_conll(tmp_path / "gold.conll", sentences, 1)
    both = _write_conll(tmp_path / "both.conll", sentences, 1, 2)
    predicted = _write_conll(tmp_path / "predicted.conll", sentences, 2)
    assert evaluate("--gold", gold, "--predicted", predicted, output="two") == 0
    assert evaluate("--gold", both, output="one") == 0
    assert report("one")["exact"] == report("two")["exact"]
    assert report("one")["partial"] == report("two")["partial"]


def _write_gold(path, seed=0, n_sentences=60):
    """Gold tags over the words that the tiny model was made for."""
    rng = random.Random(seed)
    sentences = []
    for at in range(n_sentences):
        words = [WORDS[(at * 5 + k) % len(WORDS)] for k in range(1 + at % 12)]
        tags = [rng.choice(("B-PER", "I-PER", "B-LOC")) if word[0].isupper() else "O" for word in words]
        sentences.append((words, tags))
    return _write_conll(path, sentences, 1), sentences


def _project(rows, sentences):
    """Predicted tags over the gold words, as a run's spans touch them."""
    tags = []
    for row, (words, _) in zip(rows, sentences, strict=True):
        own, start, places = ["O"] * len(words), 0, []
        for word in words:
            places.append((start, start + len(word)))
            start += len(word) + 1
        taken = -1
        for entity in row["entities"]:
            touched = [k for k, (a, b) in enumerate(places) if a < entity["end"] and b > entity["start"]]
            if touched[0] > taken:
                own[touched[0] : touched[-1] + 1] = [f"I-{entity['label']}"] * len(touched)
                own[touched[0]] = f"B-{entity['label']}"
                taken = touched[-1]
        tags.append(own)
    return tags


def test_a_run_scores_as_its_tags_over_the_gold_tokens_do(annotate, evaluate, report, tmp_path):
    gold, sentences = _write_gold(tmp_path / "gold.conll")
    assert annotate(source=gold) == 0
    predicted = _project(read_rows(tmp_path / "out"), sentences)
    assert evaluate("--gold", gold, "--predicted", tmp_path / "out", "--boundaries", "tokens", output="run") == 0
    pairs = [(words, tags, own) for (words, tags), own in zip(sentences, predicted, strict=True)]
    written = _write_conll(tmp_path / "predicted.conll", pairs, 2)
    assert evaluate("--gold", gold, "--predicted", written, output="files") == 0
    _assert_equal_to_seqeval(report("run"), [tags for _, tags in sentences], predicted, "BIO")
    for name in ("exact", "partial", "surface", "confusion", "errors", "tokens"):
        assert report("run")[name] == report("files")[name]
    assert report("run")["exact"]["default"]["micro"]["support"] > 0
    assert report("run")["counts"]["predicted_entities"] > 0


def test_annotate_and_evaluate_tell_the_same_of_a_run(annotate, evaluate, report, tmp_path):
    gold, _ = _write_gold(tmp_path / "gold.conll")
    annotate(source=gold)
    assert evaluate("--gold", gold, "--predicted", run_folder(tmp_path / "out")) == 0
    own, found = read_report(tmp_path / "out")["scores"], report()["exact"]["default"]
    assert _values(own["micro"]) == _values(found["micro"])
    assert {row["label"]: _values(row) for row in own["labels"]} == {
        label: _values(row) for label, row in found["labels"].items()
    }


def test_numbers_do_not_depend_on_workers_slices_or_files(annotate, evaluate, report, tmp_path):
    whole, sentences = _write_gold(tmp_path / "whole.conll")
    rows = [
        {"id": f"d{at}", "text": " ".join(words), "gold": [], "tokens": list(words), "tags": list(tags)}
        for at, (words, tags) in enumerate(sentences)
    ]
    for name, part in (("a", rows[:20]), ("b", rows[20:])):
        pq.write_table(pa.Table.from_pylist(part), tmp_path / f"{name}.parquet", row_group_size=5)
    annotate(source=tmp_path / "*.parquet")
    options = ["--gold", tmp_path / "*.parquet", "--gold-column", "tags", "--tokens-column", "tokens"]
    options += ["--predicted", tmp_path / "out"]
    workers = ["--direct_num_workers", "2", "--direct_running_mode", "multi_processing"]
    assert evaluate(*options, output="one") == 0
    assert evaluate(*options, "--slice-size", "200", *workers, output="two") == 0
    pair = ["--gold", whole, "--predicted", whole]
    assert evaluate(*pair, output="files1") == 0
    assert evaluate(*pair, *workers, output="files2") == 0
    for one, other in (("one", "two"), ("files1", "files2")):
        reports = [{key: value for key, value in report(name).items() if key != "seconds"} for name in (one, other)]
        assert reports[0] == reports[1]
    assert report("one")["counts"]["tokens"] == report("files1")["counts"]["tokens"]
    assert report("one")["counts"]["invalid_sequences"] == {
        "gold": report("files1")["counts"]["invalid_sequences"]["gold"],
        "predicted": 0,
    }


def test_what_finds_no_partner_is_told(annotate, evaluate, report, tmp_path, capsys):
    rows = [{"id": name, "text": "Anna lives in Berlin", "gold": [[0, 4, "PER"]]} for name in "abcd"]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:3]))
    (tmp_path / "gold.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows[1:], rows[3]]))
    annotate(source=tmp_path / "in.jsonl")
    assert evaluate("--gold", tmp_path / "gold.jsonl", "--predicted", tmp_path / "out") == 0
    found = report()
    assert found["listed"]["unmatched_predicted"] == ["a"]
    assert found["listed"]["unmatched_gold"] == ["d", "d"]
    assert found["listed"]["duplicate_ids"] == ["d"]
    assert found["counts"]["documents"] == 4


def test_documents_that_never_meet_or_have_no_labels_are_no_evaluation(annotate, evaluate, tmp_path, capsys):
    row = {"id": "a", "text": "Anna", "gold": [[0, 4, "PER"]]}
    for name, change in (("in", {}), ("other", {"id": "b"}), ("bare", {"gold": None})):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({**row, **change}) + "\n")
    annotate(source=tmp_path / "in.jsonl")
    assert evaluate("--gold", tmp_path / "other.jsonl", "--predicted", tmp_path / "out") == 2
    assert "found none: gold has 'b', the run 'a'; set --id-column" in capsys.readouterr().err
    assert evaluate("--gold", tmp_path / "bare.jsonl", "--predicted", tmp_path / "out") == 2
    assert "expected labelled documents in --gold, found none" in capsys.readouterr().err
    assert not list((tmp_path / "evaluation").iterdir())


def test_labels_that_never_meet_are_no_evaluation(evaluate, tmp_path, capsys):
    gold, predicted = tmp_path / "gold.conll", tmp_path / "predicted.conll"
    gold.write_text("Anna B-person\nslept O\n")
    predicted.write_text("Anna B-PER\nslept O\n")
    assert evaluate("--gold", gold, "--predicted", predicted) == 2
    assert "found ['person'] in gold and ['PER'] predicted; set --map" in capsys.readouterr().err
    assert evaluate("--gold", gold, "--predicted", predicted, "--map", "person=PER") == 0


def test_columns_that_are_no_tags_are_refused(evaluate, tmp_path, capsys):
    gold = tmp_path / "gold.conll"
    gold.write_text("1\tAnna\tB-PER\t-\tann\n2\tslept\tO\t-\tann\n")
    assert evaluate("--gold", gold) == 2
    assert "expected tags such as B-PER in --gold, found ['-']; name their column" in capsys.readouterr().err


def test_files_are_paired_in_the_order_given(evaluate, report, tmp_path):
    for name in ("a", "b", "y", "z"):
        (tmp_path / f"{name}.conll").write_text(f"{'Anna' if name in 'az' else 'Bob'} B-PER\n")
    gold, predicted = [[tmp_path / f"{name}.conll" for name in pair] for pair in ("zy", "ab")]
    assert evaluate("--gold", *gold, "--predicted", *predicted) == 0
    assert report()["counts"]["documents"] == 2


def test_an_evaluation_leaves_no_artefacts_of_another(annotate, evaluate, tmp_path):
    gold, _ = _write_gold(tmp_path / "gold.conll")
    annotate(source=gold)
    options = ["--gold", gold, "--predicted", tmp_path / "out"]
    assert evaluate(*options, "--wanted-precision", "0.1") == 0
    assert evaluate(*options) == 0
    names = {path.name for path in (tmp_path / "evaluation").iterdir()}
    assert names == {"report.json", "report.html", "report.md"}


def test_dead_documents_count_as_missed(annotate, evaluate, report, tmp_path):
    rows = [{"id": name, "text": f"Anna {name * 40}", "gold": [[0, 4, "PER"]]} for name in "ab"]
    rows[1]["text"] = "Anna"
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert annotate("--max-document-bytes", "20", source=tmp_path / "in.jsonl") == 3
    assert evaluate("--gold", tmp_path / "in.jsonl", "--predicted", tmp_path / "out") == 0
    assert report()["listed"]["dead_documents"] == ["a"]
    assert report()["exact"]["default"]["micro"]["support"] == 2


def test_texts_that_differ_in_white_space_are_joined_on_demand(annotate, evaluate, report, tmp_path, capsys):
    row = {"id": "a", "text": "Anna lives in\nBerlin", "gold": [[14, 20, "LOC"]]}
    (tmp_path / "in.jsonl").write_text(json.dumps({"id": "a", "text": "Anna  lives in Berlin"}) + "\n")
    (tmp_path / "gold.jsonl").write_text(json.dumps(row) + "\n")
    annotate(source=tmp_path / "in.jsonl")
    options = ["--gold", tmp_path / "gold.jsonl", "--predicted", tmp_path / "out"]
    assert evaluate(*options) == 2
    assert "--reread-inputs" in capsys.readouterr().err
    assert evaluate(*options, "--reread-inputs") == 0
    assert report()["counts"]["documents"] == 1


def test_scores_are_broken_down_by_kept_columns_and_training_mentions(annotate, evaluate, report, tmp_path):
    rows = [
        {"id": f"{at}", "text": "Anna lives in Berlin", "gold": [[0, 4, "PER"]], "genre": "news", "place": f"p{at % 2}"}
        for at in range(6)
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "train.conll").write_text("Anna B-PER\n")
    annotate("--keep-columns", "place", source=tmp_path / "in.jsonl")
    options = ["--gold", tmp_path / "in.jsonl", "--predicted", tmp_path / "out", "--by", "genre", "place"]
    assert evaluate(*options, "--train", tmp_path / "train.conll") == 0
    breakdowns = report()["breakdowns"]
    assert [(row["value"], row["support"]) for row in breakdowns["genre"]] == [("news", 6)]
    assert [(row["value"], row["support"]) for row in breakdowns["place"]] == [("p0", 3), ("p1", 3)]
    assert {row["value"]: row["support"] for row in breakdowns["in the training data"]}["seen"] == 6


def test_calibrators_and_thresholds_are_written_for_annotate(annotate, evaluate, report, tmp_path):
    gold, _ = _write_gold(tmp_path / "gold.conll")
    annotate("--keep-below", source=gold)
    options = ["--gold", gold, "--predicted", tmp_path / "out"]
    assert evaluate(*options, "--calibrate", "isotonic", output="fit") == 0
    assert report("fit")["calibration"]["calibrator"]["kind"] == "isotonic"
    calibrator = tmp_path / "fit" / "calibrator.json"
    assert annotate("--keep-below", "--calibrator", calibrator, source=gold, output="calibrated") == 0
    options = ["--gold", gold, "--predicted", tmp_path / "calibrated"]
    assert evaluate(*options, "--wanted-precision", "0.2", output="chosen") == 0
    thresholds = tmp_path / "chosen" / "thresholds.json"
    assert annotate("--calibrator", calibrator, "--thresholds", thresholds, source=gold, output="last") == 0
    before, after = report("fit")["calibration"]["ece"], report("chosen")["calibration"]["ece"]
    assert after < before


def test_the_page_holds_no_script_whatever_the_data(evaluate, report, tmp_path):
    evil = "<script>alert(1)</script>"
    folder = tmp_path / "<b>x"
    folder.mkdir()
    gold, predicted = folder / "g.conll", folder / "p.conll"
    gold.write_text(f"{evil}\tB-{evil}\nb\tO\n")
    predicted.write_text(f"{evil}\tB-PER\nb\tB-{evil}\n")
    assert evaluate("--gold", gold, "--predicted", predicted) == 0
    page = (tmp_path / "evaluation" / "report.html").read_text()
    assert "<script" not in page
    assert "<b>x" not in page
    assert evil in report()["exact"]["default"]["labels"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gold", "nowhere.conll"], "expected input files at 'nowhere.conll', found none; check --gold"),
        (["--gold", "g.conll", "--predicted", "p.conll", "p.conll", "q.conll"], "expected as many --predicted files"),
        (["--gold", "g.conll", "--predicted", "p.jsonl"], "as --predicted, found jsonl"),
        (["--gold", "g.conll"], "expected 3 columns in"),
        (["--gold", "p.jsonl", "--predicted", "out", "--conll-columns", "0"], "expected --conll-columns auto or two"),
        (["--gold", "g.conll", "--predicted", "q.conll"], "expected token 'Anna' in 'q.conll' line 1"),
        (["--gold", "g.conll", "--predicted", "p.conll", "--replicates", "-1"], "expected --replicates of 0 or more"),
        (["--gold", "g.conll", "--predicted", "p.conll", "--scheme", "XYZ"], "expected --scheme auto or one of"),
        (
            ["--gold", "g.conll", "--predicted", "p.conll", "--calibrate", "isotonic"],
            "found CoNLL files, which hold no scores",
        ),
        (["--gold", "g.conll", "--predicted", "p.conll", "--map", "PER"], "expected --map KEY=VALUE, found 'PER'"),
        (["--gold", "g.conll", "--predicted", "p.conll", "--by", "genre"], "expected --by with gold in Parquet"),
    ],
)
def test_wrong_options_and_files_end_with_one_line(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.conll").write_text("Anna B-PER\n")
    (tmp_path / "p.conll").write_text("Anna B-PER\n")
    (tmp_path / "q.conll").write_text("Bob B-PER\nBob O\nBob O\n")
    (tmp_path / "p.jsonl").write_text("{}\n")
    assert main(["evaluate", "--output", "out", "--no-progress", *options]) == 2
    error = capsys.readouterr().err
    assert message.replace("'q.conll'", "") in error.replace(f"'{tmp_path}/q.conll'", "").replace(str(tmp_path), "")
    assert error.count("\n") == 1


def test_a_run_that_is_not_complete_is_refused(annotate, evaluate, tmp_path, capsys):
    gold, _ = _write_gold(tmp_path / "gold.conll")
    annotate(source=gold)
    (run_folder(tmp_path / "out") / "_SUCCESS").unlink()
    assert evaluate("--gold", gold, "--predicted", tmp_path / "out") == 2
    assert "expected a complete run" in capsys.readouterr().err


def test_a_flat_run_is_refused(annotate, evaluate, tmp_path, capsys):
    gold, _ = _write_gold(tmp_path / "gold.conll")
    annotate("--layout", "flat", source=gold)
    assert evaluate("--gold", gold, "--predicted", tmp_path / "out") == 2
    assert "expected a run with --layout document as --predicted, found flat" in capsys.readouterr().err
