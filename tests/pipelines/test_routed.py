"""`spanmill annotate --route`: one of several adapters for each document, by a rule or by the nearest centroid."""

import json

import pytest

from pipelines.__main__ import main
from tests.pipelines.conftest import read_report, read_rows, run_folder, snapshot
from tests.training.recipes import TAG_SET, make_adapter, make_encoder
from training.continual.memory import CentroidConfig, digest_encoder
from training.encoders import load_model, open_encoder
from transforms.models.embeddings import SentenceEncoder
from transforms.models.routing.centroids import Centroid, mean_direction, save_centroid

PEOPLE, PLACES = ["anna saw otto", "otto saw mia", "mia saw anna"], ["rome - oslo", "oslo - lima", "lima - rome"]
TEXTS = [text for pair in zip(PEOPLE, PLACES, strict=True) for text in pair]
pytestmark = pytest.mark.timeout(600)
RULES = "default = 'people'\n[rules]\nplaces = '-'\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A tagger, two adapters on it, and one of another base; with centroids by an encoder that is none of these."""
    folder = tmp_path_factory.mktemp("models")
    encoder = make_encoder(folder / "encoder", seed=3)
    for name, seed in (("base", 0), ("other", 1)):
        bare = open_encoder(str(make_encoder(folder / f"bare-{name}", seed=seed)))
        load_model(bare, TAG_SET, dropout=0.0, seed=seed).save_pretrained(folder / name)
        bare.tokenizer.save_pretrained(folder / name)
    make_adapter(folder / "base", folder / "people", "lora:rank=2", seed=6)
    make_adapter(folder / "base", folder / "places", "adapter:size=4", seed=5)
    make_adapter(folder / "other", folder / "strange", "bitfit")
    digest = digest_encoder(CentroidConfig(encoder=str(encoder)), folder)
    read = SentenceEncoder(str(encoder)).encode
    for name, texts in (("people", PEOPLE), ("places", PLACES)):
        save_centroid(Centroid(mean_direction(read(texts)), digest, str(encoder)), folder / name)
    (folder / "texts.jsonl").write_text("".join(json.dumps({"id": t, "text": t}) + "\n" for t in TEXTS))
    (folder / "routes.toml").write_text(RULES)
    return folder


def _annotate(models, output, *more, status=0):
    words = ["--input", models / "texts.jsonl", "--output", output, "--no-progress", "--max-restarts", "0", *more]
    assert main(["annotate", *map(str, words)]) == status
    return output


def _route(models, spec):
    return ("--adapter", models / "people", models / "places", "--route", spec)


def _found(row):
    return [(e["start"], e["end"], e["label"], round(e["score"], 4)) for e in row["entities"]]


@pytest.mark.parametrize("way", ["rule:file={}/routes.toml", "nearest"])
def test_each_document_has_what_its_adapter_finds_alone(models, tmp_path, way, capsys):
    output = _annotate(models, tmp_path / "out", *_route(models, way.format(models)))

    rows = {row["id"]: row for row in read_rows(output)}
    assert {text: row["adapter"] for text, row in rows.items()} == {
        **dict.fromkeys(PEOPLE, "people"),
        **dict.fromkeys(PLACES, "places"),
    }
    for name in ("people", "places"):
        alone = read_rows(_annotate(models, tmp_path / name, "--model", models / name))
        own = [row for row in alone if rows[row["id"]]["adapter"] == name]
        assert [_found(rows[row["id"]]) for row in own] == [_found(row) for row in own]
        assert any(map(_found, own))
    counts = read_report(output)["counts"]
    assert (counts["routed/people"], counts["routed/places"]) == (3, 3)
    assert "routed/people" in capsys.readouterr().out


def test_the_base_takes_documents_too_where_it_is_given(models, tmp_path):
    (tmp_path / "routes.toml").write_text("default = 'base'\n[rules]\nplaces = '-'\npeople = 'anna'\n")
    route = _route(models, f"rule:file={tmp_path}/routes.toml")
    output = _annotate(models, tmp_path / "out", "--model", models / "base", *route)

    rows = {row["id"]: row for row in read_rows(output)}
    assert rows["otto saw mia"]["adapter"] == "base"
    alone = read_rows(_annotate(models, tmp_path / "alone", "--model", models / "base"))
    assert _found(rows["otto saw mia"]) == next(_found(row) for row in alone if row["id"] == "otto saw mia")


def test_a_run_is_known_by_its_adapters_and_by_who_chooses(models, tmp_path):
    route = _route(models, f"rule:file={models}/routes.toml")
    output = _annotate(models, tmp_path / "out", *route)
    before = snapshot(output)
    _annotate(models, output, *route)
    assert snapshot(output) == before

    (tmp_path / "routes.toml").write_text(RULES.replace("'-'", "'lima'"))
    _annotate(models, output, *_route(models, f"rule:file={tmp_path}/routes.toml"))
    _annotate(models, output, *_route(models, "nearest"))
    assert len(list(output.glob("run=*"))) == 3


def test_its_run_is_read_like_that_of_one_tagger(models, tmp_path, capsys):
    output = _annotate(models, tmp_path / "out", *_route(models, "nearest"), "--keep-below", "--threshold", "0.5")
    gold = tmp_path / "gold.jsonl"
    gold.write_text("".join(json.dumps({"id": text, "text": text, "gold": []}) + "\n" for text in TEXTS))
    words = ["--gold", gold, "--gold-column", "gold", "--predicted", output, "--output", tmp_path / "scores"]
    assert main(["evaluate", *map(str, words), "--no-progress"]) == 0
    assert main(["verify", str(run_folder(output))]) == 0
    words = ["select", output, "--n", "3", "--by", "uncertainty", "--output", tmp_path / "chosen", "--no-progress"]
    assert main(list(map(str, words))) == 0
    settings = json.loads((run_folder(output) / "_MANIFEST.json").read_text())["settings"]["tagger"]
    assert set(settings["adapters"]) == {"people", "places"}
    assert settings["route"]["router"] == "nearest"


def test_documents_that_an_earlier_run_has_read_keep_their_adapter(models, tmp_path):
    route = _route(models, f"rule:file={models}/routes.toml")
    _annotate(models, tmp_path / "earlier", *route, "--offset-unit", "utf8")
    texts = [*reversed(TEXTS), "mia - rome", "mia saw otto"]
    (source := tmp_path / "more.jsonl").write_text("".join(json.dumps({"id": t, "text": t}) + "\n" for t in texts))
    words = ["--input", source, "--batch-tokens", "1", "--no-progress", "--max-restarts", "0", *route]
    for output, reuse in (("anew", []), ("reusing", ["--reuse", tmp_path / "earlier"])):
        assert main(["annotate", *map(str, [*words, "--output", tmp_path / output, *reuse])]) == 0
    report, anew = read_report(tmp_path / "reusing"), read_report(tmp_path / "anew")
    rows = read_rows(tmp_path / "reusing")
    assert [row["adapter"] for row in rows] == [row["adapter"] for row in read_rows(tmp_path / "anew")]
    assert [_found(row) for row in rows] == [_found(row) for row in read_rows(tmp_path / "anew")]
    assert report["reused"]["documents"] == len(TEXTS)
    assert report["counts"] == anew["counts"]


def test_adapters_of_a_registry_bring_base_and_centroid(models, tmp_path, capsys):
    digests = {}
    for name in ("people", "places"):
        assert main(["registry", "add", str(models / name), "--registry", str(tmp_path / "registry")]) == 0
        digests[name] = capsys.readouterr().out.strip()
    adapters = [f"{name}=registry:{digest[:12]}" for name, digest in digests.items()]
    route = ("--adapter", *adapters, "--route", "nearest", "--registry", tmp_path / "registry")
    output = _annotate(models, tmp_path / "out", *route)
    assert {row["adapter"] for row in read_rows(output)} == {"people", "places"}
    settings = json.loads((run_folder(output) / "_MANIFEST.json").read_text())["settings"]["tagger"]
    assert {name: one["model"] for name, one in settings["adapters"].items()} == digests


def test_the_flat_layout_tells_the_adapter_of_each_entity(models, tmp_path):
    route = _route(models, f"rule:file={models}/routes.toml")
    rows = read_rows(_annotate(models, tmp_path / "out", *route, "--layout", "flat"))
    assert {(row["adapter"], "-" in row["id"]) for row in rows} <= {("people", False), ("places", True)}
    assert rows


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--route", "nearest"], "expected --adapter with --route, which chooses among them, found none"),
        (["--adapter", "PEOPLE", "--route", "nearest"], "expected two or more to choose from with --route, found"),
        (["--adapter", "PEOPLE", "PLACES", "--route", "rules"], "expected --route to name one of"),
        (["--adapter", "PEOPLE", "PLACES", "--route", "rule"], "expected file=FILE.toml in --route rule, found none"),
        (
            ["--adapter", "PEOPLE", "PLACES", "--route", "rule:file=nowhere"],
            "cannot read file 'nowhere' of --route rule",
        ),
        (
            ["--adapter", "PEOPLE", "a=PLACES", "--route", "rule:file=RULES"],
            "expected only names of ['people', 'a'] in",
        ),
        (
            ["--adapter", "PEOPLE", "PLACES", "x=PLACES", "--route", "rule:file=RULES"],
            "expected a rule or the default for each of ['people', 'places', 'x'], found none for ['x']",
        ),
        (
            ["--adapter", "PEOPLE", "PLACES", "--route", "nearest:tokens=0"],
            "expected tokens of --route nearest above 0",
        ),
        (
            ["--adapter", "PEOPLE", "PLACES", "--route", "nearest:encoder=BASE"],
            "that made the centroids, found",
        ),
        (
            ["--model", "BASE", "--adapter", "PEOPLE", "PLACES", "--route", "nearest"],
            "expected memory/centroid.safetensors in model 'base', found none; train it with --remember centroid",
        ),
        (
            ["--model", "OTHER", "--base", "BASE", "--adapter", "PEOPLE", "--route", "rule:file=RULES"],
            "expected the base of the adapters, with weights",
        ),
        (["--model", "BASE", "--adapter", "base=PEOPLE", "--route", "rule:file=RULES"], "found ['base'] twice"),
        (
            ["--adapter", "PEOPLE", "PLACES", "--route", "nearest", "--keep-columns", "adapter"],
            "found 'adapter', which --route writes",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_before_anything_is_loaded(
    models, tmp_path, words, message, capsys, monkeypatch
):
    def load(*_):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("transforms.models.members.load_members", load)
    monkeypatch.setattr("transforms.models.routing.centroids.SentenceEncoder", load)
    paths = {name.upper(): str(models / name) for name in ("people", "places", "base", "other")}
    paths["RULES"] = str(models / "routes.toml")
    for name, path in paths.items():
        words = [word.replace(name, path) for word in words]
    _annotate(models, tmp_path / "out", *words, status=2)
    assert message in capsys.readouterr().err
