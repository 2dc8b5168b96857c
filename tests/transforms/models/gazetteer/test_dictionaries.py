"""Dictionary files and what is wrong with them."""

import gzip
import json

import fsspec
import pytest

from schemas.errors import ConfigError
from transforms.models.gazetteer.dictionaries import read_dictionary
from transforms.models.gazetteer.options import GazetteerOptions


def _read(*files, **options):
    return read_dictionary(GazetteerOptions(file=tuple(map(str, files)), **options))


def _write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


WANTED = {"Anna Berg": "PER", "Berlin": "LOC"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "Anna Berg,PER\nBerlin,LOC\n"),
        ("a.csv", "id,Label,name\n1,PER,Anna Berg\n2,LOC,Berlin\n"),
        ("a.csv", '\ufeffname,label\r\n\r\n"Anna  Berg", PER\r\n"Berlin\n",LOC'),
        ("a.tsv", "name\tlabel\nAnna Berg\tPER\nBerlin\tLOC\n"),
        ("a.jsonl", '{"label": "PER", "name": "Anna Berg", "born": 1970}\n\n{"name": "Berlin", "label": "LOC"}'),
        ("a.csv.gz", gzip.compress(b"name,label\nAnna Berg,PER\nBerlin,LOC\n", mtime=0)),
    ],
)
def test_names_and_labels_come_from_csv_tsv_and_json_lines_plain_or_compressed(tmp_path, name, content):
    assert _read(_write(tmp_path / name, content)).exact == WANTED


def test_a_file_may_be_a_url():
    with fsspec.open("memory://names/a.jsonl", "w") as file:
        file.write("\n".join(json.dumps({"name": name, "label": label}) for name, label in WANTED.items()))
    assert _read("memory://names/a.jsonl").exact == WANTED


def test_names_in_lower_case_are_folded_and_others_kept_when_the_case_is_smart(tmp_path):
    file = _write(tmp_path / "a.csv", "asthma,DIS\nß-amyloid,DIS\nmRNA,GENE\n北京,LOC\n7,NUM\n")
    found = _read(file)
    assert set(found.folded) == {"asthma", "ss-amyloid"}
    assert set(found.exact) == {"mRNA", "北京", "7"}
    assert not _read(file, case="exact").folded
    assert not _read(file, case="fold").exact


def test_of_two_labels_for_a_name_the_first_in_the_order_given_holds_and_the_others_are_counted(tmp_path):
    first = _write(tmp_path / "z.csv", "Paris,LOC\nParis,PER\nParis,LOC\n")
    second = _write(tmp_path / "a.csv", "Paris,ORG\nPARIS,ORG\n")
    found = _read(first, second)
    assert (found.exact, found.conflicts) == ({"Paris": "LOC", "PARIS": "ORG"}, 2)
    assert _read(second, first).exact["Paris"] == "ORG"
    assert _read(first, second, case="fold").conflicts == 3


def test_short_names_are_left_out_and_counted(tmp_path):
    found = _read(_write(tmp_path / "a.csv", "C,LANG\nGo,LANG\nRust,LANG\n"), min_length=3)
    assert (found.exact, found.short) == ({"Rust": "LANG"}, 2)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "name,label\nAnna,PER\nBerlin\n", "expected 2 columns, found 1 in 'PATH' line 3"),
        ("a.csv", "name,label\nAnna,PER\n ,LOC\n", "expected a name, found an empty one in 'PATH' line 3"),
        ("a.csv", "Anna,PER\nBerlin,\n", "expected a label, found an empty one in 'PATH' line 2"),
        ("a.csv", "Anna,PER\n" + '"Berlin,LOC\n', "expected CSV, found none (unexpected end of data) in 'PATH' line 2"),
        ("a.csv", "Anna,PER,1\n", "found 3 columns and no such header in 'PATH' line 1"),
        ("a.csv", b"Anna,PER\nZo\xeb,PER\n", "expected UTF-8, found other bytes in 'PATH' line 2"),
        ("a.csv", "Anna,PER\nB\x02,LOC\n", "expected a name of printable characters"),
        ("a.jsonl", '{"name": "Anna", "label": "PER"}\n{"name"\n', "found no JSON in 'PATH' line 2"),
        ("a.jsonl", '["Anna", "PER"]', "found another value in 'PATH' line 1"),
        ("a.jsonl", '{"name": "Anna"}', "expected a string as label, found none in 'PATH' line 1"),
        ("a.jsonl", '{"name": 7, "label": "N"}', "expected a string as name, found int in 'PATH' line 1"),
        ("a.jsonl", '{"name": "\\ud800", "label": "N"}', "half a surrogate pair in 'PATH' line 1"),
        ("a.csv.gz", gzip.compress(b"Anna,PER\n" * 99, mtime=0)[:-9], "cannot read 'PATH' to its end"),
        ("a.txt", "Anna", "expected a dictionary of names with suffix .csv, .tsv, .jsonl, .ndjson, found 'PATH'"),
        ("a.csv", "", "expected names in ['PATH'], found none"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_line(tmp_path, name, content, message):
    path = _write(tmp_path / name, content)
    with pytest.raises(ConfigError) as refusal:
        _read(path)
    assert message.replace("PATH", str(path)) in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected input files at .*absent.csv"):
        _read(tmp_path / "absent.csv")
    with pytest.raises(ConfigError, match="set file=FILE"):
        _read()


def test_names_that_are_all_too_short_are_said_to_be(tmp_path):
    with pytest.raises(ConfigError, match="found 1 that are shorter than min_length 9"):
        _read(_write(tmp_path / "a.csv", "Anna,PER\n"), min_length=9)


@pytest.mark.parametrize("options", [{"case": "lower"}, {"min_length": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match="of a gazetteer"):
        GazetteerOptions(**options)
