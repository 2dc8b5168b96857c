"""What suffixes of names promise; the streams are tested where files are opened."""

from transforms.corpora.compression import compression_of, suffix_of


def test_compression_of_ignores_case():
    assert [compression_of(name) for name in ("a.GZ", "a.zst", "a.txt", "gz")] == ["gzip", "zstd", "", ""]


def test_suffix_of_looks_through_compression():
    assert [suffix_of(name) for name in ("s3://b/a.JSONL.gz", "a.txt", "a.gz", "a.b/c")] == [".jsonl", ".txt", "", ""]


def test_suffixes_are_found_before_the_query_of_a_signed_address():
    uri = "https://host/a.jsonl.gz?sig=secret.txt"
    assert (compression_of(uri), suffix_of(uri)) == ("gzip", ".jsonl")
