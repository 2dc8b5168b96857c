"""`spanmill registry` from the first checkpoint to a rollback, with tiny models that really learn and forget."""

import json

import pytest

from pipelines.__main__ import main
from tests.pipelines.conftest import read_rows, run_folder
from tests.pipelines.learners import GATES, NEW, OLD, make_tagger, write_conll


@pytest.fixture(scope="module")
def taggers(tmp_path_factory):
    """The first champion, one that learned more, and one that learned that and forgot the rest."""
    folder = tmp_path_factory.mktemp("taggers")
    # What nobody told it about is learned as no entity.
    unlabelled = [(words, ["O"] * len(words)) for words, _ in OLD]
    return {
        "first": make_tagger(folder / "first", OLD),
        "good": make_tagger(folder / "good", [*OLD, *NEW]),
        "forgetful": make_tagger(folder / "forgetful", [*unlabelled, *NEW]),
    }


@pytest.fixture
def gates(tmp_path):
    old, new = write_conll(tmp_path / "old.conll", OLD), write_conll(tmp_path / "new.conll", NEW)
    path = tmp_path / "gates.toml"
    path.write_text(GATES.format(old=old, new=new))
    return path


@pytest.fixture
def registry(tmp_path, capsys):
    """Runs a verb and returns its exit status, what it printed and what it said."""

    def run(verb, *arguments):
        status = main(["registry", verb, *map(str, arguments), "--registry", str(tmp_path / "registry")])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_a_candidate_that_forgets_is_refused_a_good_one_promoted_and_a_rollback_restores(registry, taggers, gates):
    digests = {name: registry("add", folder)[1].strip() for name, folder in taggers.items()}
    first, good, forgetful = digests["first"], digests["good"], digests["forgetful"]

    assert registry("promote", first, "--gates", gates)[0] == 0
    assert "none  retain: there is no champion to compare with" in registry("show", first)[1]
    status, out, err = registry("promote", forgetful[:12], "--gates", gates)
    assert status == 3
    assert f"refused {forgetful[:16]} (refusal 1): retain old person" in err
    assert "FAIL  retain old person: person on old changes by -100.00 points" in out
    assert json.loads(registry("list", "--json")[1])["champion"] == first

    status, out, _ = registry("promote", good, "--gates", gates)
    assert (status, f"{good[:16]} is champion, by entry 2" in out) == (0, True)
    assert registry("promote", good, "--gates", gates)[1] == f"nothing to do: {good[:16]} is champion\n"

    assert registry("rollback")[0] == 0
    found = json.loads(registry("list", "--json")[1])
    assert found["champion"] == first
    assert [entry["kind"] for entry in found["history"]] == ["promotion", "promotion", "rollback"]
    (refusal,) = found["refusals"]
    assert refusal["verdict"]["champion"] == first
    assert [gate["name"] for gate in refusal["verdict"]["gates"] if not gate["passed"]] == ["retain old person"]
    assert found["history"][1]["verdict"]["sets"][0]["name"] == "old"

    out = registry("list")[1]
    assert all(state in out for state in ("champion before", "refused", "rollback"))
    shown = registry("show", forgetful)[1]
    assert f"refused on {refusal['at']} beside champion {first[:12]}" in shown
    assert first in registry("show")[1]


def test_force_promotes_past_the_gates_and_says_so_wherever_it_is_looked_at(registry, taggers, gates):
    first, forgetful = (registry("add", taggers[name])[1].strip() for name in ("first", "forgetful"))
    registry("promote", first, "--force", "the first one")

    status, _, err = registry("promote", forgetful, "--gates", gates, "--force", "it is urgent")

    assert (status, "PROMOTED BY FORCE, past its gates: it is urgent" in err) == (0, True)
    assert "BY FORCE: it is urgent" in registry("list")[1]
    assert "BY FORCE: it is urgent" in registry("show")[1]
    entry = json.loads(registry("list", "--json")[1])["history"][1]
    assert (entry["forced"], entry["verdict"]["gates"][0]["passed"]) == ("it is urgent", False)


def test_gc_keeps_the_champion_and_says_what_went(registry, taggers):
    first, good = (registry("add", taggers[name])[1].strip() for name in ("first", "good"))
    registry("promote", first, "--force", "test")

    assert registry("gc", "--keep-days", 0, "--dry-run")[1:] == (f"{good}\n", "would remove 1 checkpoints\n")
    assert registry("gc", "--keep-days", 0)[1:] == (f"{good}\n", "removed 1 checkpoints\n")
    assert [one["digest"] for one in json.loads(registry("list", "--json")[1])["checkpoints"]] == [first]


def test_a_run_keeps_the_champion_that_it_began_with(registry, taggers, annotate, tmp_path):
    first, good = (registry("add", taggers[name])[1].strip() for name in ("first", "good"))
    text = tmp_path / "text.txt"
    text.write_text("anna saw the river .\nrome saw the river .\n")
    registry("promote", first, "--force", "test")

    def run(reference):
        return annotate("--registry", tmp_path / "registry", source=text, model=reference)

    assert run("registry:champion") == 0
    assert {row["model"] for row in read_rows(tmp_path / "out")} == {first}
    command = json.loads((run_folder(tmp_path / "out") / "_command.json").read_text())["options"]
    assert command["model"] == str(tmp_path / "registry" / "checkpoints" / first)

    registry("promote", good, "--force", "test")
    assert main(["verify", str(run_folder(tmp_path / "out")), "--repair"]) == 0
    assert run(f"registry:{first[:10]}") == 0
    assert len(list((tmp_path / "out").glob("run=*"))) == 1
    assert run("registry:champion") == 0
    assert len(list((tmp_path / "out").glob("run=*"))) == 2


def test_a_champion_whose_files_were_changed_is_not_run(registry, taggers, annotate, tmp_path, capsys):
    first = registry("add", taggers["first"])[1].strip()
    registry("promote", first, "--force", "test")
    config = tmp_path / "registry" / "checkpoints" / first / "config.json"
    config.write_text(config.read_text() + " ")

    (tmp_path / "text.txt").write_text("anna\n")
    assert annotate("--registry", tmp_path / "registry", source=tmp_path / "text.txt", model="registry:champion") == 2
    assert f"expected checkpoint {first[:16]} in its folder of the registry, found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "expected a verb of"),
        (["list", "--registry", "REGISTRY"], "expected a registry at"),
        (["promote", "abcd", "--registry", "REGISTRY"], "expected --gates to judge the candidate by, found none"),
        (["promote", "--registry", "REGISTRY"], "expected CHECKPOINT, found none; see spanmill registry promote"),
    ],
)
def test_wrong_words_get_one_line(arguments, message, tmp_path, capsys):
    assert main(["registry", *(word.replace("REGISTRY", str(tmp_path / "r")) for word in arguments)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "registry:champion"], "expected --registry with --model registry:champion"),
        (["--model", "registry:champion", "--registry", "REGISTRY"], "expected a champion in registry"),
        (["--registry", "REGISTRY"], "expected --model registry:champion or registry:DIGEST with --registry"),
    ],
)
def test_a_reference_that_leads_nowhere_gets_one_line(arguments, message, tmp_path, capsys):
    words = [word.replace("REGISTRY", str(tmp_path / "r")) for word in arguments]
    assert main(["annotate", "--input", "x", "--output", str(tmp_path / "o"), *words]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "cannot read --gates"),
        ("[improve]\nset = 'a'\n", "expected a table [sets]"),
        ("[sets]\nold = '{old}'\n", "expected a gate of"),
        ("[sets]\nold = 'nowhere.conll'\n[calibration]\n", "expected input files at 'nowhere.conll'"),
        ("[sets.old]\ngould = '{old}'\n[calibration]\n", "unknown key 'gould'"),
    ],
)
def test_what_is_wrong_with_gates_gets_one_line(text, message, registry, taggers, gates, tmp_path):
    first = registry("add", taggers["first"])[1].strip()
    gates.write_text(text.format(old=tmp_path / "old.conll"))

    status, _, err = registry("promote", first, "--gates", gates)

    assert (status, message in err) == (2, True), err


@pytest.mark.parametrize(
    "words",
    [
        ["registry", "list"],
        ["registry", "promote", "0123abcd", "--force", "it is urgent"],
        ["registry", "rollback"],
        ["registry", "gc"],
        ["annotate", "--input", "a.txt", "--output", "out", "--model", "registry:champion"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_registry_that_does_not_answer_is_told_in_one_line(words, dead_s3, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("Anna\n")

    assert main([*words, "--registry", "s3://bucket/models"]) == 1

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spanmill: cannot reach 's3://bucket/models': ")
    assert dead_s3 in line


def test_a_bucket_that_is_not_there_is_told_in_one_line(live_s3, tiny_checkpoint, capsys):
    place = ["--registry", "s3://no-bucket/models"]
    assert main(["registry", "list", *place]) == 2
    assert "expected a registry at 's3://no-bucket/models', found no checkpoint" in capsys.readouterr().err
    assert main(["registry", "add", str(tiny_checkpoint), *place]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spanmill: cannot reach 's3://no-bucket/models': ")


def test_an_output_that_does_not_answer_is_told_in_one_line(dead_s3, tiny_checkpoint, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("Anna\n")
    words = ["--input", str(tmp_path / "a.txt"), "--model", str(tiny_checkpoint), "--no-progress"]

    assert main(["annotate", *words, "--output", "s3://bucket/out"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("spanmill: cannot write to --output 's3://bucket/out': ")
    assert dead_s3 in line
