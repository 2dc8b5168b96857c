import errno
import gzip
import json
import os
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.__main__ import main
from schemas.errors import FileError
from tests.pipelines.conftest import read_dead, read_report, read_rows, run_folder, snapshot
from transforms.storage.manifests import read_inputs, read_outputs
from transforms.storage.store import open_store


def test_annotate_accounts_for_every_line(annotate, corpus, tmp_path):
    assert annotate(source=corpus) == 0
    rows = read_rows(tmp_path / "out")
    lines = [
        (str(path), at, line)
        for path in sorted(corpus.iterdir())
        for at, line in enumerate(path.read_text().splitlines())
    ]
    assert [(row["source"], row["row"]) for row in rows] == [(source, at) for source, at, _ in lines]
    for row, (_, _, line) in zip(rows, lines, strict=True):
        assert all(line[entity["start"] : entity["end"]] == entity["text"] for entity in row["entities"])
    assert any(row["entities"] for row in rows)


def test_annotate_writes_what_people_and_machines_look_for(annotate, corpus, tmp_path):
    annotate(source=corpus)
    run = run_folder(tmp_path / "out")
    names = {path.relative_to(run).parts[0] for path in run.rglob("*")}
    assert names >= {"_plan.json", "_commits", "_claims", "data", "report", "_MANIFEST.json", "_SUCCESS"}
    assert not list((run / "_attempts").iterdir())
    manifest = json.loads((run / "_MANIFEST.json").read_text())
    store = open_store(str(run))
    assert sum(read_outputs(store).column("rows").to_pylist()) == 120
    assert read_inputs(store).column("rows").to_pylist() == [40, 40, 40]
    footer = pq.read_schema(next(run.glob("data/*.parquet"))).metadata
    assert footer[b"spanmill.model"].decode() == manifest["settings"]["tagger"]["model"]
    assert b"transformers" in footer[b"spanmill.versions"]


def test_annotate_again_does_nothing_and_changes_no_byte(annotate, corpus, tmp_path, monkeypatch):
    annotate(source=corpus)
    before = snapshot(tmp_path / "out")
    monkeypatch.setattr("pipelines.annotate._annotate", None)
    assert annotate(source=corpus) == 0
    assert snapshot(tmp_path / "out") == before


def test_annotate_after_adding_a_file_does_only_that_file(annotate, corpus, tmp_path):
    annotate(source=corpus)
    before = snapshot(tmp_path / "out")
    (corpus / "d.txt").write_text("Anna lives in Berlin\n")
    assert annotate(source=corpus) == 0
    after = snapshot(tmp_path / "out")
    data = {name for name in before if "/data/" in name or "/_commits/" in name}
    assert all(after[name] == before[name] for name in data)
    assert len({name for name in after if "/data/" in name}) == 4
    assert len(read_rows(tmp_path / "out")) == 121
    assert (run_folder(tmp_path / "out") / "_plan.0002.json").exists()
    assert (run_folder(tmp_path / "out") / "_SUCCESS").exists()


def test_annotate_keeps_runs_of_different_models_apart(annotate, corpus, tmp_path, tiny_checkpoint):
    from tests.conftest import write_checkpoint

    annotate(source=corpus)
    before = snapshot(tmp_path / "out")
    assert annotate(source=corpus, model=write_checkpoint(tmp_path / "other", seed=1)) == 0
    after = snapshot(tmp_path / "out")
    assert len(list((tmp_path / "out").glob("run=*"))) == 2
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("option", ["--batch-tokens=64", "--threads=1"])
def test_annotate_does_not_count_speed_options_as_another_run(annotate, corpus, tmp_path, option):
    annotate(source=corpus)
    before = snapshot(tmp_path / "out")
    assert annotate(option, source=corpus) == 0
    assert snapshot(tmp_path / "out") == before


def test_annotate_finds_the_same_with_any_slices_and_batches(annotate, corpus, tmp_path):
    annotate(source=corpus)
    annotate("--slice-size=300", "--batch-tokens=128", source=corpus, output="small")
    assert len(list(run_folder(tmp_path / "small").glob("data/*"))) > 3

    def simplified(output):
        return [
            (row["id"], [(e["start"], e["end"], e["label"]) for e in row["entities"]])
            for row in read_rows(tmp_path / output)
        ]

    assert simplified("small") == simplified("out")


def test_annotate_makes_dead_letters_and_keeps_neighbours(annotate, tmp_path, capsys):
    source = tmp_path / "bad.txt"
    source.write_bytes(b"Anna\n\xff\xfe Anna\nBerlin\n")
    assert annotate(source=source) == 3
    assert [row["row"] for row in read_rows(tmp_path / "out")] == [0, 2]
    (letter,) = read_dead(tmp_path / "out")
    assert (letter["row"], letter["error"], letter["stage"]) == (1, "bad_utf8", "read")
    told = capsys.readouterr().err
    assert "spanmill: 33.3 % of the documents failed, more than --max-failed-fraction 0.01 allows; see " in told
    assert "could not be read" not in told
    assert annotate("--max-failed-fraction=0.5", source=source) == 0


def test_annotate_copies_columns_and_ids_of_a_table(annotate, tmp_path):
    table = pa.table({"uid": ["x", "y"], "body": ["Anna", None], "year": pa.array([1999, 2001], pa.int16())})
    pq.write_table(table, tmp_path / "in.parquet")
    options = ["--text-column=body", "--id-column=uid", "--keep-columns", "year", "uid"]
    assert annotate(*options, source=tmp_path / "in.parquet") == 0
    rows = read_rows(tmp_path / "out")
    assert [(row["id"], row["year"], row["uid"]) for row in rows] == [("x", 1999, "x"), ("y", 2001, "y")]


@pytest.mark.parametrize("name", ["in.parquet", "in.jsonl"])
def test_annotate_keeps_the_text_and_gold_beside_the_entities(annotate, tmp_path, name):
    rows = [{"text": "Anna lives in Berlin", "gold": "x", "tags": "y"}, {"text": None, "gold": None, "tags": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet")
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert annotate("--keep-columns", "text", "gold", "tags", source=tmp_path / name) == 0
    written = read_rows(tmp_path / "out")
    assert [{key: row[key] for key in rows[0]} for row in written] == rows
    assert all(row["text"][e["start"] : e["end"]] == e["text"] for row in written for e in row["entities"])
    assert read_report(tmp_path / "out")["scores"] is None


def test_annotate_scores_against_gold(annotate, tmp_path):
    (tmp_path / "gold.conll").write_text("Anna B-PER\nslept O\n\nBerlin B-LOC\n")
    assert annotate(source=tmp_path / "gold.conll") == 0
    labels = {row["label"]: row["support"] for row in read_report(tmp_path / "out")["scores"]["labels"]}
    assert {label: n for label, n in labels.items() if n} == {"LOC": 1, "PER": 1}


def test_annotate_writes_json_lines(annotate, corpus, tmp_path):
    annotate(source=corpus)
    annotate("--output-format=jsonl", source=corpus, output="lines")
    paths = run_folder(tmp_path / "lines").glob("data/*.jsonl")
    records = [json.loads(line) for path in paths for line in path.read_text().splitlines()]

    def surfaces(rows):
        return {row["id"]: [(e["start"], e["end"], e["label"], e["text"]) for e in row["entities"]] for row in rows}

    assert surfaces(records) == surfaces(read_rows(tmp_path / "out"))


def test_annotate_writes_a_row_per_entity(annotate, corpus, tmp_path):
    annotate(source=corpus)
    annotate("--layout=flat", source=corpus, output="flat")
    flat = read_rows(tmp_path / "flat")
    nested = [(row["id"], e["start"], e["text"]) for row in read_rows(tmp_path / "out") for e in row["entities"]]
    assert sorted((row["id"], row["start"], row["text"]) for row in flat) == sorted(nested)


def test_annotate_shows_documents_with_their_text_in_the_report(annotate, corpus, tmp_path):
    annotate(source=corpus)
    html = (run_folder(tmp_path / "out") / "report/report.html").read_text()
    assert "lives" in html
    annotate("--report-documents=0", "--threshold=0.01", source=corpus, output="silent")
    assert "lives" not in (run_folder(tmp_path / "silent") / "report/report.html").read_text()


def test_annotate_does_not_read_its_own_output(annotate, corpus):
    assert annotate(source=corpus, output="corpus/out") == 0
    assert annotate(source=corpus, output="corpus/out") == 0


def test_annotate_loads_the_model_once_for_all_slices(annotate, corpus, monkeypatch):
    from transforms.models import torch_classifier

    loads = []
    original = torch_classifier.load_network
    monkeypatch.setattr(
        torch_classifier, "load_network", lambda *args, **more: loads.append(1) or original(*args, **more)
    )
    assert annotate("--slice-size=300", source=corpus) == 0
    assert loads == [1]


def test_annotate_takes_an_empty_file(annotate, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    assert annotate(source=tmp_path / "empty.txt") == 0
    assert read_report(tmp_path / "out")["documents"] == 0


def test_annotate_goes_on_after_a_failed_start(annotate, corpus, tmp_path, monkeypatch):
    from transforms.storage.commits import SliceWriter

    original = SliceWriter.commit
    done = []

    def commit_twice(writer):
        if len(done) == 2:
            raise OSError("power cut")
        done.append(1)
        return original(writer)

    monkeypatch.setattr(SliceWriter, "commit", commit_twice)
    assert annotate(source=corpus) == 1
    assert not (run_folder(tmp_path / "out") / "_SUCCESS").exists()
    monkeypatch.setattr(SliceWriter, "commit", original)
    assert annotate(source=corpus) == 0
    assert len(read_rows(tmp_path / "out")) == 120


def test_annotate_reports_why_a_run_failed_in_one_line(annotate, corpus, monkeypatch, capsys):
    def fail(*_):
        raise OSError(errno.ENOSPC, "Anna lives in Berlin")

    monkeypatch.setattr("transforms.storage.commits.SliceWriter.commit", fail)
    assert annotate(source=corpus) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("spanmill: stopped by OSError (No space left on device) at pipelines/test_annotate.py:")
    assert error.endswith("(after 0 of 3 slices; the same command goes on from there)")
    assert "\n" not in error


def test_annotate_says_what_to_do_about_a_file_that_breaks_on_the_way(annotate, corpus, monkeypatch, capsys):
    def fail(file):
        raise FileError("file_missing", f"cannot find {file.source!r} any more")

    monkeypatch.setattr("transforms.read.check_unchanged", fail)
    assert annotate(source=corpus) == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("spanmill: cannot find ")
    assert error.endswith("(after 0 of 3 slices; mend the file, or set --bad-files dead-letter)")
    assert "\n" not in error


def test_annotate_publishes_what_was_committed_but_not_published(annotate, corpus, tmp_path):
    annotate(source=corpus)
    run = run_folder(tmp_path / "out")
    before = read_rows(tmp_path / "out")
    for path in run.glob("_commits/*"):
        (file,) = json.loads(path.read_text())["files"]
        shutil.move(run / file["final"], run / file["attempt"])
    (run / "_SUCCESS").unlink()
    assert annotate(source=corpus) == 0
    assert read_rows(tmp_path / "out") == before


def test_annotate_refuses_success_beside_a_foreign_file(annotate, corpus, tmp_path, capsys):
    annotate(source=corpus)
    run = run_folder(tmp_path / "out")
    (run / "_SUCCESS").unlink()
    (run / "data/stray.parquet").write_text("?")
    assert annotate(source=corpus) == 1
    assert "stray.parquet" in capsys.readouterr().err
    assert not (run / "_SUCCESS").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "{tmp}/nothing/*.txt"], "check --input"),
        (["--input", "{tmp}/in.parquet", "--text-column", "body"], "'body'"),
        (["--input", "{tmp}/broken.parquet"], "cannot read"),
        (["--input", "{tmp}/cut.txt.gz"], "cannot read"),
        (["--input", "{tmp}/a.txt", "--model", "{tmp}/no-model"], "check the model (--model)"),
        (["--input", "{tmp}/a.txt", "--threshold", "2"], "threshold"),
        (["--input", "{tmp}/a.txt", "--label-threshold", "ORG"], "--label-threshold"),
        (["--input", "{tmp}/a.txt", "--label-threshold", "DOG=0.5"], "'DOG'"),
        (["--input", "{tmp}/a.txt", "--window-tokens", "16", "--overlap-tokens", "9"], "--overlap-tokens"),
        (["--input", "{tmp}/a.txt", "--output", "{tmp}/a.txt"], "--output"),
        (["--input", "{tmp}/a.txt", "--treshold", "0.5"], "'--threshold'"),
        (["--input", "{tmp}/a.txt", "--device", "tpu"], "'tpu'"),
        (["--input", "{tmp}/a.xyz"], "set --format"),
        (["--input", "{tmp}/a.txt", "--output", ""], "--output"),
        (["--input", "{tmp}/a.txt", "--runner", "Nonsense"], "Nonsense"),
        (["--input", "{tmp}/a.txt", "--direct_num_workers", "many"], "many"),
        (["--input", "{tmp}/a.txt", "--batch-tokens=-5"], "expected 0 or more padded tokens in a batch, found -5"),
        (["--input", "{tmp}/a.txt", "--threads", "99999"], "expected threads between 0 and 256, found 99999"),
        (["--input", "{tmp}/in.parquet", "--keep-columns", "text", "text"], "once"),
        (["--input", "{tmp}/in.parquet", "--conll-columns", "0;3"], "expected --conll-columns auto or two positions"),
        (["--input", "{tmp}/wide.txt"], "expected UTF-8, found UTF-16 in"),
        (["--input", "{tmp}/in.parquet", "--keep-columns", "id", "model"], "['id', 'model']"),
        (["--input", "{tmp}/in.parquet", "--keep-columns", "text", "--layout", "flat"], "['text']; the flat layout"),
        (
            ["--input", "{tmp}/in.parquet", "--keep-columns", "tagger", "--layout", "flat"],
            "['tagger']; the flat",
        ),
        (["--input", "{tmp}/a.txt", "--model", "{tmp}/cut"], "cannot read model.safetensors"),
        (["--input", "{tmp}/a.txt", "--model", "{tmp}/untokenized"], "tokenizer"),
        ([], "--input"),
    ],
)
def test_annotate_answers_wrong_options_with_one_line_before_any_model_is_loaded(
    arguments, message, tmp_path, tiny_checkpoint, monkeypatch, capsys
):
    (tmp_path / "a.txt").write_text("Anna\n")
    (tmp_path / "a.xyz").write_text("Anna\n")
    (tmp_path / "wide.txt").write_text("Anna\n", encoding="utf-16")
    pq.write_table(pa.table({"text": ["Anna"]}), tmp_path / "in.parquet")
    (tmp_path / "broken.parquet").write_bytes((tmp_path / "in.parquet").read_bytes()[:-9])
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"Anna\n" * 1000)[:-20])
    shutil.copytree(tiny_checkpoint, tmp_path / "cut")
    os.truncate(tmp_path / "cut/model.safetensors", 1000)
    shutil.copytree(tiny_checkpoint, tmp_path / "untokenized")
    (tmp_path / "untokenized/tokenizer.json").write_text("{}")
    monkeypatch.setattr("transforms.models.torch_classifier.load_network", None)
    defaults = [] if "--model" in arguments else ["--model", str(tiny_checkpoint)]
    defaults += [] if "--output" in arguments else ["--output", str(tmp_path / "out")]
    status = main(["annotate", *defaults, *(word.format(tmp=tmp_path) for word in arguments)])
    error = capsys.readouterr().err.strip()
    assert status == 2
    assert message in error
    assert "\n" not in error


def test_annotate_turns_a_broken_file_into_a_dead_letter_on_request(annotate, corpus, tmp_path, capsys):
    (corpus / "cut.txt.gz").write_bytes(gzip.compress(b"Anna\n" * 1000)[:-20])
    assert annotate("--bad-files=dead-letter", source=corpus) == 3
    assert len(read_rows(tmp_path / "out")) == 120
    (letter,) = read_dead(tmp_path / "out")
    assert (letter["error"], letter["row"]) == ("file_unreadable", None)
    assert letter["source"].endswith("cut.txt.gz")
    told = capsys.readouterr().err
    assert "spanmill: 1 input file could not be read, which only --max-failed-fraction 1 allows; see " in told
    assert "of the documents" not in told


def test_annotate_refuses_an_input_that_changed(annotate, corpus, capsys):
    annotate(source=corpus)
    (corpus / "a.txt").write_text("other\n")
    assert annotate(source=corpus) == 2
    assert "choose another --output" in capsys.readouterr().err


def test_annotate_keeps_annotations_of_removed_inputs_on_request(annotate, corpus, tmp_path):
    annotate(source=corpus)
    (corpus / "a.txt").unlink()
    assert annotate(source=corpus) == 2
    assert annotate("--allow-removed-inputs", source=corpus) == 0
    assert len(read_rows(tmp_path / "out")) == 120


def test_annotate_reads_defaults_from_a_file_that_flags_override(annotate, corpus, tmp_path):
    (tmp_path / "job.toml").write_text('threshold = 0.3\nkeep_below = true\n[beam]\njob_name = "nightly"\n')
    annotate("--config", tmp_path / "job.toml", "--threshold=0.2", source=corpus)
    settings = read_report(tmp_path / "out")["settings"]["entities"]
    assert (settings["threshold"], settings["keep_below"]) == (0.2, True)


def test_annotate_names_the_key_that_is_nearest_to_an_unknown_one(annotate, corpus, tmp_path, capsys):
    (tmp_path / "job.toml").write_text("treshold = 0.3\n")
    assert annotate("--config", tmp_path / "job.toml", source=corpus) == 2
    assert "did you mean 'threshold'" in capsys.readouterr().err


def test_annotate_keeps_columns_in_the_flat_layout(annotate, tmp_path):
    table = pa.table({"text": ["Anna lives in Berlin", "Berlin"], "year": pa.array([1999, 2001], pa.int16())})
    pq.write_table(table, tmp_path / "in.parquet")
    annotate("--layout=flat", "--keep-columns", "year", source=tmp_path / "in.parquet")
    rows = read_rows(tmp_path / "out")
    assert rows
    assert {row["row"]: row["year"] for row in rows}.items() <= {0: 1999, 1: 2001}.items()


def test_annotate_takes_a_blank_json_line_for_a_document_without_text(annotate, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "Anna"}\n\n{"text": "Berlin"}\n\n')
    assert annotate(source=tmp_path / "in.jsonl") == 0
    assert [(row["row"], row["tokens"]) for row in read_rows(tmp_path / "out")] == [(0, 1), (1, 0), (2, 1), (3, 0)]


def test_annotate_leaves_documents_that_nobody_labelled_out_of_the_scores(annotate, tmp_path):
    (tmp_path / "in.jsonl").write_text('{"text": "Anna", "g": [[0, 4, "PER"]]}\n{"text": "Anna", "g": null}\n')
    annotate("--gold-column=g", source=tmp_path / "in.jsonl")
    matches = read_report(tmp_path / "out")["scores"]["matches"]
    assert sum(counts[0] + counts[2] for counts in matches.values()) == 1


def test_annotate_passes_over_links_to_folders_and_names_a_dangling_one(annotate, corpus, capsys):
    (corpus / "loop").symlink_to(corpus)
    assert annotate(source=corpus) == 0
    (corpus / "gone.txt").symlink_to(corpus / "nowhere.txt")
    assert annotate(source=corpus) == 2
    assert "gone.txt" in capsys.readouterr().err


@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]", b"\xff\xfe"])
def test_annotate_names_a_plan_that_it_cannot_read(annotate, corpus, tmp_path, damage, capsys):
    annotate(source=corpus)
    (run_folder(tmp_path / "out") / "_plan.json").write_bytes(damage)
    assert annotate(source=corpus) == 2
    assert "expected a plan in _plan.json" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["report/report.json", "_MANIFEST.json"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"[1]"])
def test_annotate_writes_a_report_anew_that_it_cannot_read(annotate, corpus, tmp_path, name, damage):
    annotate(source=corpus)
    run = run_folder(tmp_path / "out")
    before = json.loads((run / "report/report.json").read_text())
    (run / name).write_bytes(damage)
    assert annotate(source=corpus) == 0
    assert read_report(tmp_path / "out")["entities"] == before["entities"]
    assert json.loads((run / "_MANIFEST.json").read_text())["tally"]["documents"] == before["documents"]
