"""What the audit of dependencies lets pass."""

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def audit():
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _package(*vulnerabilities):
    keys = ("id", "aliases", "fix_versions")
    return {"name": "a", "version": "1", "vulns": [dict(zip(keys, each, strict=True)) for each in vulnerabilities]}


def test_a_vulnerability_that_is_mended_elsewhere_has_to_go(audit):
    must, may = audit.judge([_package(("PYSEC-1", [], ["2", "3"])), {"name": "b", "version": "1", "vulns": []}], {})
    assert (must, may) == (["a 1: PYSEC-1, mended in 2, 3"], [])


def test_a_vulnerability_that_nothing_mends_is_told_of(audit):
    assert audit.judge([_package(("PYSEC-1", [], []))], {}) == ([], ["a 1: PYSEC-1, not mended yet"])


@pytest.mark.parametrize("id_", ["PYSEC-1", "CVE-1"])
def test_a_vulnerability_with_a_reason_is_let_pass_by_any_of_its_names(audit, id_):
    accepted = audit.read_accepted(f"# a comment\n\n{id_} only a server is affected\n")
    packages = [_package(("PYSEC-1", ["CVE-1"], ["2"]), ("PYSEC-2", [], ["2"]))]
    assert audit.judge(packages, accepted) == (
        ["a 1: PYSEC-2, mended in 2"],
        ["a 1: PYSEC-1, accepted: only a server is affected"],
    )


def test_an_accepted_vulnerability_without_a_reason_is_refused(audit):
    with pytest.raises(ValueError, match=r"expected a reason after each id .* found none after 'PYSEC-1'"):
        audit.read_accepted("PYSEC-1\n")


def test_the_list_that_is_kept_here_can_be_read(audit):
    assert all(audit.read_accepted(audit.ACCEPTED.read_text()).values())


def test_an_audit_without_a_network_says_so_and_passes(audit, monkeypatch, capsys):
    monkeypatch.setattr(audit, "_DATABASE", "http://127.0.0.1:9")
    monkeypatch.setattr(audit.subprocess, "run", None)
    assert audit.main() == 0
    assert capsys.readouterr().err.startswith("not audited: http://127.0.0.1:9 cannot be reached (")


@pytest.fixture
def answer(audit, monkeypatch):
    """Lets pip-audit answer with packages, over a network that is there."""

    def set_answer(*packages):
        done = SimpleNamespace(stdout=json.dumps({"dependencies": packages}), stderr="")
        monkeypatch.setattr(audit, "find_obstacle", lambda url: "")
        monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)

    return set_answer


UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


def test_an_audit_tells_what_was_looked_up_and_what_was_not(audit, answer, capsys):
    answer(_package(), UNKNOWN)
    assert audit.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        "not in the database: c",
        "audited 1 packages: 0 vulnerabilities to mend",
    ]


def test_an_audit_that_could_look_up_nothing_does_not_call_it_clean(audit, answer, capsys):
    answer(UNKNOWN)
    assert audit.main() == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "not audited: https://pypi.org has none of the 1 packages\n")


def test_an_audit_fails_for_what_has_to_be_mended(audit, answer, capsys):
    answer(_package(("PYSEC-1", [], ["2"])))
    assert audit.main() == 1
    assert "a 1: PYSEC-1, mended in 2" in capsys.readouterr().out


def test_an_audit_that_breaks_fails(audit, monkeypatch, capsys):
    monkeypatch.setattr(audit, "find_obstacle", lambda url: "")
    monkeypatch.setattr(
        audit.subprocess, "run", lambda *_, **__: SimpleNamespace(stdout="", stderr="a\nno such flag\n")
    )
    assert audit.main() == 1
    assert capsys.readouterr().err == "pip-audit failed: no such flag\n"
