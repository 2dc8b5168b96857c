"""M26 to M35: files that are cut, flipped, inflated, oddly named, or not what they seem."""

import bz2
import gzip
import json
import lzma
import os
import random
import resource
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from schemas.errors import ConfigError, FileError
from tests.faults.children import Ended
from tests.faults.harness import Bench, Job, Row
from tests.transforms.corpora.test_files import ODD_NAMES
from transforms.corpora.documents import CorpusConfig
from transforms.corpora.files import stat_file
from transforms.corpora.formats import read_parts, survey_file

COMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
_LINES = b"Anna lives in Berlin\n" * 200


def cut_parquet(bench: Bench) -> str:
    """M26."""
    whole = (bench.workshop.corpus / "c.parquet").read_bytes()
    broken = {"empty.parquet": b"", "footerless.parquet": whole[: len(whole) // 2]}
    _check_broken_files(bench, broken)
    return "strict: exit 2 names the file; else a dead letter, exit 3"


def cut_compressed(bench: Bench) -> str:
    """M29."""
    contents = {suffix: compress(_LINES) for suffix, compress in COMPRESS.items()}
    _check_broken_files(bench, {f"cut.txt.{name}": content[: len(content) // 2] for name, content in contents.items()})
    return f"{', '.join(COMPRESS)}: file errors, nothing read short"


def _check_broken_files(bench: Bench, broken: Mapping[str, bytes]) -> None:
    """Broken files beside good ones: named one by one in a strict run, dead letters in another."""
    corpus = bench.copy_corpus()
    for name, content in broken.items():
        (corpus / name).write_bytes(content)
        strict = bench.job(source=corpus, output=f"strict-{name}").run()
        assert (strict.status, strict.count("load")) == (2, 0), f"{name} was read: {strict.err}"
        assert name in strict.reason()
        (corpus / name).unlink()
    for name, content in broken.items():
        (corpus / name).write_bytes(content)
    job = bench.job("--bad-files=dead-letter", source=corpus)
    ended = job.run()
    assert ended.status == 3
    assert {(letter["source"], letter["error"]) for letter in job.letters()} == {
        (name, "file_unreadable") for name in broken
    }
    assert job.rows() == bench.workshop.golden
    _check_again(job, ended)


def _check_again(job: Job, ended: Ended) -> None:
    """The same command again does nothing, also where a letter is about a whole file."""
    assert job.is_complete()
    again = job.run()
    assert (again.status, again.count("pass")) == (ended.status, 0)


def flip_a_page(bench: Bench) -> str:
    """M27: one bit of a text in the file, once with checksums of its pages and once without."""
    table = pa.table({"text": [f"Anna lives in Berlin {at:05}" for at in range(100)]})
    found = {}
    for has_checksums in (True, False):
        source = bench.folder / f"checksums-{has_checksums}.parquet"
        options = {"write_page_checksum": has_checksums, "compression": "none", "use_dictionary": False}
        pq.write_table(table, source, row_group_size=20, **options)
        content = bytearray(source.read_bytes())
        content[content.index(b"00050") - 2] ^= 1
        source.write_bytes(bytes(content))
        job = bench.job("--slice-size=1", source=source, output=source.stem)
        found[has_checksums] = job.run()
        if has_checksums:
            assert found[True].status == 1, "a flipped page was annotated"
            assert source.name in found[True].reason()
            job.check_unfinished()
        else:
            job.check(found[False], keys=[(source.name, at) for at in range(100)])
    return "with CRC: exit 1 names the file; without: cannot be known"


def corrupt_parquet(bench: Bench) -> str:
    """M28."""
    ended = bench.call(read_corrupted_files, bench.workshop.corpus / "c.parquet", bench.folder)
    assert ended.status == 0, ended.last_words()
    told = json.loads(ended.out)
    grown = told.pop("peak") - bench.workshop.undisturbed.total("peak") >> 10
    assert grown < 300, f"memory grew by {grown} MiB"
    ends = ", ".join(f"{told[end]} {end}" for end in sorted(told))
    assert told.keys() <= {"read whole", "refused"}, ends
    return f"{ends}, no other end"


def read_corrupted_files(whole: Path, folder: Path) -> None:
    """Reads a Parquet file with a bit flipped here or there, in processes that may die of it, and tells the ends."""
    rng = random.Random(0)
    content = whole.read_bytes()
    footer = int.from_bytes(content[-8:-4], "little") + 8
    places = [*range(len(content) - footer, len(content)), *rng.sample(range(4, len(content) - footer), 200)]
    # The highest bit makes text in the footer none.
    bits = [(at, bit) for at in places for bit in (1 << rng.randrange(7), 0x80)]
    path, report = folder / "corrupted.parquet", folder / "ends"
    report.touch()
    while (n_done := report.read_text().count("\n")) < len(bits):
        if (pid := os.fork()) == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            for at, bit in bits[n_done:]:
                corrupted = bytearray(content)
                corrupted[at] ^= bit
                path.write_bytes(bytes(corrupted))
                with report.open("a") as lines:
                    lines.write(_read_whole(path) + "\n")
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status:
            with report.open("a") as lines:
                lines.write("killed the process\n")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps({**Counter(report.read_text().splitlines()), "peak": peak}))


def _read_whole(path: Path) -> str:
    """How it ends to read a file as the stage does that reads slices."""
    try:
        for slice_ in survey_file(stat_file(str(path)), CorpusConfig(), 1500).slices:
            parts = list(read_parts(slice_, CorpusConfig()))
            if sum(part.documents.num_rows + len(part.rejects) for part in parts) != slice_.rows:
                return "refused"
    except (ConfigError, FileError):
        return "refused"
    except Exception as error:  # noqa: BLE001 - which one it is, is what is asked
        return f"raised {type(error).__name__}"
    return "read whole"


def mix_gzip_members(bench: Bench) -> str:
    """M30."""
    member = gzip.compress(_LINES)
    flipped = bytearray(member)
    flipped[-6] ^= 1
    _check_broken_files(bench, {"crc.txt.gz": bytes(flipped), "junk.txt.gz": member + b"junk"})
    source = bench.folder / "both.txt.gz"
    source.write_bytes(member + member)
    job = bench.job(source=source, output="both")
    job.check(job.run(), keys=[(source.name, at) for at in range(400)])
    return "bad CRC and junk: file errors; two members: both read"


def inflate(bench: Bench) -> str:
    """M31: zeros without a line end, and a column of one value that a dictionary holds once."""
    base = bench.workshop.undisturbed.total("peak")
    zeros = bench.folder / "zeros.txt.gz"
    with gzip.open(zeros, "wb", compresslevel=9) as file:
        for _ in range(256):
            file.write(bytes(1 << 20))
    text = " ".join(["Anna lives in Berlin"] * 48)
    column = pa.DictionaryArray.from_arrays(pa.array([0] * _REPEATS, pa.int32()), pa.array([text]))
    repeated = bench.folder / "repeated.parquet"
    pq.write_table(pa.table({"text": column}), repeated)
    grown = {}
    for source, n_rows in ((zeros, 1), (repeated, _REPEATS)):
        job = bench.job("--slice-size=0", "--max-failed-fraction=1", source=source, output=source.stem)
        ended = job.run("answer_by_rule=0")
        assert ended.status == 0, ended.last_words()
        grown[source.stem] = (ended.total("peak") - base) >> 10
        assert len(job.rows()) + len(job.letters()) == n_rows
        if source is zeros:
            assert [letter["error"] for letter in job.letters()] == ["too_large"]
    assert max(grown.values()) < 300, f"memory grew by {grown} MiB"
    sizes = f"{zeros.stat().st_size >> 10} and {repeated.stat().st_size >> 10} KiB"
    return f"files of {sizes}: too_large and read, +{grown['zeros.txt']} and +{grown['repeated']} MiB"


_REPEATS = 20_000


def drift(bench: Bench) -> str:
    """M32: the same texts in types that are as good, and files that are not."""
    texts = ["Anna lives in Berlin", None, "Bob", "Berlin"]
    strings = pa.array(texts)
    accepted = {
        "string": strings,
        "large": strings.cast(pa.large_string()),
        "dictionary": strings.dictionary_encode(),
        "view": strings.cast(pa.string_view()),
        "binary": strings.cast(pa.binary()),
    }
    found = []
    for name, column in accepted.items():
        source = bench.folder / f"{name}.parquet"
        pq.write_table(pa.table({"text": column}), source)
        job = bench.job(source=source, output=name)
        job.check(job.run(), keys=[(source.name, at) for at in range(4)])
        found.append([(row["digest"], row["entities"], row["tokens"]) for row in job.rows().values()])
    assert all(each == found[0] for each in found), "the same texts were annotated in other ways"
    nested = pa.array([{"inner": "Anna"}])
    refused = {"missing": {"body": strings}, "number": {"text": [1, 2]}, "nested": {"text": nested}}
    for name, columns in refused.items():
        pq.write_table(pa.table(columns), bench.folder / f"{name}.parquet")
        ended = bench.job(source=bench.folder / f"{name}.parquet", output=name).run()
        assert (ended.status, ended.count("load")) == (2, 0), f"{name}: {ended.status} {ended.err}"
        assert "'text'" in ended.reason()
        assert f"{name}.parquet" in ended.reason()
    return f"{len(accepted)} types equal, {len(refused)} refused at plan time with file and column"


def name_oddly(bench: Bench) -> str:
    """M33: by name and by folder; a file that a name would match as a pattern lies beside them."""
    (folder := bench.folder / "odd").mkdir()
    for at, name in enumerate(ODD_NAMES):
        (folder / name).write_text("Anna\n" * (at + 1))
    (bench.folder / "odd" / "q1.txt").write_text("another\n")
    keys = [(name, row) for at, name in enumerate(ODD_NAMES) for row in range(at + 1)]
    by_name = bench.job(source=[folder / name for name in ODD_NAMES], output="by-name")
    by_name.check(by_name.run(), keys=keys)
    by_folder = bench.job(source=folder, output="by-folder")
    by_folder.check(by_folder.run(), keys=[*keys, ("q1.txt", 0)])
    return f"{len(ODD_NAMES)} names read, each document under its file"


def link_out(bench: Bench) -> str:
    """M34."""
    corpus = bench.copy_corpus()
    (corpus / "loop").symlink_to(corpus)
    job = bench.job(source=corpus)
    job.check(job.run())
    (secret := bench.folder / "secret.txt").write_text("Anna\n")
    (corpus / "link.txt").symlink_to(secret)
    ended = bench.job(source=corpus, output="escaped").run()
    assert (ended.status, ended.count("load")) == (2, 0), "a link led out of the input folder"
    assert "link.txt" in ended.reason()
    return "loop passed over, escape refused with exit 2"


def read_nothing(bench: Bench) -> str:
    """M35."""
    (bench.folder / "none").mkdir()
    ended = bench.job(source=bench.folder / "none", output="none-out").run()
    assert ended.status == 2, "no files were taken for an empty corpus"
    assert "check --input" in ended.reason()
    for name, table in _empty_tables():
        source = bench.folder / name
        with pq.ParquetWriter(source, table.schema) as writer:
            writer.write_table(table.slice(0, 0))
            if table.num_rows:
                writer.write_table(table)
                writer.write_table(table.slice(0, 0))
        job = bench.job(source=source, output=source.stem)
        job.check(job.run(), keys=[(name, at) for at in range(table.num_rows)])
    (bench.folder / "empty.txt").touch()
    job = bench.job(source=bench.folder / "empty.txt", output="text")
    job.check(job.run(), keys=[])
    return "no files: exit 2; no rows: an empty run; empty row groups: passed"


def _empty_tables() -> Iterable[tuple[str, pa.Table]]:
    schema = pa.schema([pa.field("text", pa.string())])
    yield "no-rows.parquet", schema.empty_table()
    yield "empty-groups.parquet", pa.table({"text": ["Anna", "Berlin"]}, schema=schema)


ROWS = (
    Row(
        id="M26",
        injected="Parquet of no bytes, without footer",
        check=cut_parquet,
        mutants=("broken_files_skipped",),
        is_fast=True,
    ),
    Row(id="M27", injected="a flipped data page", check=flip_a_page, mutants=("checksums_unread",)),
    Row(id="M28", injected="bits of Parquet flipped", check=corrupt_parquet, mutants=("arrow_errors_untranslated",)),
    Row(
        id="M29",
        injected="gz, zst, bz2, xz cut at half",
        check=cut_compressed,
        mutants=("gzip_read_short", "broken_files_skipped"),
        is_fast=True,
    ),
    Row(id="M30", injected="bad CRC, junk, two members", check=mix_gzip_members, mutants=("gzip_read_short",)),
    Row(id="M31", injected="bombs: zeros, dictionaries", check=inflate, mutants=("lines_unbounded",)),
    Row(id="M32", injected="columns of other types", check=drift, mutants=("columns_unchecked",)),
    Row(id="M33", injected="odd file names", check=name_oddly, mutants=("names_are_patterns",)),
    Row(id="M34", injected="links out and round", check=link_out, mutants=("links_followed",)),
    Row(id="M35", injected="no files, no rows", check=read_nothing, mutants=("nothing_is_fine",)),
)
