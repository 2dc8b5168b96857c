"""M02, M11 to M13 and M45: workers that are killed, and documents that kill, hang, exhaust or break them."""

from collections.abc import Callable

from tests.faults.harness import Bench, Job, Row

_HARMED = ("a.txt", 37)


def kill_a_worker(bench: Bench) -> str:
    """M02."""
    job = bench.job("--workers=2")
    ended = job.run("kill_once_before_commit")
    assert ended.err.count("died (SIGKILL); another takes its place") == 1, ended.err
    job.check(ended)
    return f"replaced, complete in {ended.seconds:.1f} s"


def harm(how: str, code: str, said: str, *flags: str) -> Callable[[Bench], str]:
    """A row in which one document does something to its worker, and becomes a dead letter."""

    def check(bench: Bench) -> str:
        job = _mark(bench, *flags)
        ended = job.run(f"harm_by_text={how}")
        times = ended.err.count(said)
        assert times, ended.err
        # Alone a document is in another batch: scores may differ in their last digits.
        job.check(ended, dead={_HARMED: code}, score_tolerance=1e-5)
        return f"{times} workers replaced, the document dead: {code}"

    return check


def kill_by_document_and_file(bench: Bench) -> str:
    """M11: by a document, and by a file that cannot be read without dying of it."""
    observed = harm("kill", "crash", "died (SIGKILL)")(bench)
    corpus = bench.folder / "corpus"
    (corpus / "deadly.txt").write_text("Anna\nlives\n")
    job = bench.job("--workers=1", "--bad-files=dead-letter", source=corpus, output="file")
    ended = job.run("kill_at_reading=deadly.txt")
    assert (ended.status, ended.err.count("died (SIGKILL)")) == (0, 4), ended.err
    (letter,) = job.letters()
    assert (letter["source"], letter["error"], letter["stage"]) == ("deadly.txt", "file_unreadable", "read")
    assert len(job.rows()) == len(bench.workshop.keys)
    strict = bench.job("--workers=1", source=corpus, output="strict").run("kill_at_reading=deadly.txt")
    assert strict.status == 1
    assert "deadly.txt' ended the process that did it, 4 times" in strict.err
    return f"{observed}; a file too: dead letter"


def _mark(bench: Bench, *flags: str) -> Job:
    """A job over the corpus with one document that does harm."""
    corpus = bench.copy_corpus()
    name, row = _HARMED
    lines = (corpus / name).read_text().splitlines()
    lines[row] = "Harm"
    (corpus / name).write_text("\n".join(lines) + "\n")
    return bench.job("--workers=1", *flags, source=corpus)


ROWS = (
    Row(id="M02", injected="a worker killed at a commit", check=kill_a_worker, mutants=("workers_not_replaced",)),
    Row(
        id="M11",
        injected="a document, a file that kills its worker",
        check=kill_by_document_and_file,
        mutants=("nobody_isolated",),
    ),
    Row(
        id="M12",
        injected="a document that hangs",
        check=harm("hang", "timeout", "was silent for", "--timeout-per-document=3"),
        mutants=("silence_unheard",),
    ),
    Row(
        id="M13",
        injected="a document that takes all memory",
        check=harm("exhaust", "too_large", "could not go on (memory ran out"),
        mutants=("nobody_isolated",),
    ),
    Row(
        id="M45",
        injected="a document that breaks the device",
        check=harm("device", "crash", "could not go on (the device failed"),
        mutants=("nobody_isolated",),
    ),
)
