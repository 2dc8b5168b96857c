import sys

from tests.fuzz import guided


def test_fuzzing_by_coverage_is_left_out_where_atheris_is_missing(monkeypatch, capsys):
    monkeypatch.setattr(guided, "is_installed", lambda name: False)
    monkeypatch.setattr(sys, "argv", ["guided", "--seconds", "1"])
    assert guided.main() == 0
    assert capsys.readouterr().err == (
        "left out coverage-guided fuzzing: atheris is not installed; pip install atheris\n"
    )
