"""Ways to break spanmill on purpose, each a mistake that somebody could make; the matrix must notice every one."""

import contextlib
import dataclasses
import io
import os
import sys
import threading
import types
import zlib
from pathlib import Path

from tests.faults.injection.hooks import Patches, wrap


def no_commit_record(posix, _):
    """Commits are believed, not written."""
    wrap(
        posix.PosixStore,
        "put_if_absent",
        lambda put, self, name, content: name.startswith("_commits/") or put(self, name, content),
    )


def marker_files(commits, _):
    """Output is written under its final name, and the record only marks it as done."""

    def around(begin, self, store, attempt, final, schema, format_):
        store.delete(final)
        begin(self, store, final, final, schema, format_)

    wrap(commits._FileWriter, "__init__", around)


def attempts_without_token(commits, _):
    """Attempts are named by their slice alone, so that one stands in the way of the next."""

    def around(begin, self, store, attempt, *rest):
        folder, _, name = attempt.partition("/")
        begin(self, store, f"{folder}/{name.partition('-')[0]}{Path(name).suffix}", *rest)

    wrap(commits._FileWriter, "__init__", around)


def commits_overwritten(posix, _):
    """The last commit wins."""

    def around(_, self, name, content):
        self.put(name, content)
        return True

    wrap(posix.PosixStore, "put_if_absent", around)


def commits_believed(posix, _):
    """A commit that lost is taken for one that won."""

    def around(put, self, name, content):
        is_won = put(self, name, content)
        return is_won or name.startswith("_commits/")

    wrap(posix.PosixStore, "put_if_absent", around)


def success_first(commands, _):
    """`_SUCCESS` is written when a run begins."""

    def around(record, store, *rest):
        record(store, *rest)
        store.put("_SUCCESS", b"")

    wrap(commands, "record_command", around)


def receipts_trusted(runs, _):
    """A commit record is taken for the files that it names."""
    runs._settle = lambda store, slice_: runs.read_receipt(store, slice_.slice_id)


def commits_forgotten(runs, _):
    """Everything is planned again, done or not."""
    wrap(runs, "pending_slices", lambda _, store, slices: slices)


def commits_unread(read, _):
    """What is committed is read and annotated again."""
    read.read_receipt = lambda store, slice_id: None


def publish_errors_swallowed(posix, _):
    """A file that cannot be published is passed over."""

    def around(publish, *arguments):
        with contextlib.suppress(Exception):
            publish(*arguments)

    wrap(posix.PosixStore, "publish", around)


def no_fsync(posix, _):
    """Nothing is written through to the disk."""
    posix.os = types.SimpleNamespace(**{**vars(os), "fsync": lambda handle: None})


def folders_unsynced(posix, _):
    """Names are not written through to the disk."""
    posix._sync_folder = lambda folder: None


def strangers_ignored(posix, _):
    """Whatever lies in `data` is taken for output."""
    wrap(posix.PosixStore, "list", lambda list_, self, folder: [] if folder == "data" else list_(self, folder))


def errors_are_wins(objects, _):
    """An answer that was lost is taken for a yes."""

    def around(put, *arguments):
        try:
            return put(*arguments)
        except objects.StorageError:
            return True

    wrap(objects.ObjectStore, "put_if_absent", around)


def lost_answers_are_losses(objects, _):
    """An answer that was lost is taken for a no."""

    def around(_, self, name, content):
        try:
            self._fs.pipe_file(self._path(name), content, mode="create")
        except OSError:
            return False
        return True

    wrap(objects.ObjectStore, "put_if_absent", around)


def sizes_verified(verification, _):
    """Files are verified by their size alone."""
    verification._check_file = lambda store, name, file, slice_id: iter(
        [] if store.size(name) == file["size_bytes"] else ["lost or cut"]
    )


def signals_unheard(signals, _):
    """Nobody listens to signals."""
    wrap(signals, "stopping_on_signals", lambda _, advice, **options: contextlib.nullcontext())


def model_not_in_fingerprint(catalog, _):
    """Runs of different models are taken for one."""

    def around(describe, self):
        return {**describe(self), "model": ""}

    wrap(catalog.CheckpointTaggerConfig, "describe", around)


def slice_size_ignored(runs, _):
    """A run with another plan goes on as if it had none."""

    def around(_, store, settings, files, cut, *, slice_bytes, changes):
        size = slice_bytes(files) if callable(slice_bytes) else slice_bytes
        slices = (dataclasses.replace(slice_, number=at) for at, slice_ in enumerate(cut(files, size)))
        return runs.RunState(runs.FileTable.of(files), runs.SliceTable.of(slices), size, 1)

    wrap(runs, "plan_run", around)


def changes_unseen(read, _):
    """Input is taken for what it was when it was listed."""
    read.check_unchanged = lambda file: None


def removals_unseen(runs, _):
    """Inputs that are gone or changed are no matter."""
    runs._check_inputs = lambda known, files, *, allow_removed: None


def model_loaded_first(annotate, _):
    """The model is loaded before anything is looked at."""

    def around(plan, options, *rest):
        from transforms.models.backends import BackendConfig
        from transforms.models.catalog import configure_tagger
        from transforms.models.checkpoint import find_checkpoint
        from transforms.tags.entities import DecodingConfig
        from transforms.text.windows import WindowConfig

        configure_tagger(
            find_checkpoint(options.model),
            backend=BackendConfig(threads=1),
            windows=WindowConfig(),
            decoding=DecodingConfig(),
            batch_tokens=512,
        ).load()
        return plan(options, *rest)

    wrap(annotate, "_plan", around)


def broken_files_skipped(formats, _):
    """A file that cannot be read has no documents."""

    def around(survey, file, config, slice_bytes):
        try:
            return survey(file, config, slice_bytes)
        except formats.FileError:
            return formats.Survey(file, (), has_gold=False, slices=())

    wrap(formats, "survey_file", around)


def checksums_unread(parquet, _):
    """Pages are not held against their checksums."""

    @contextlib.contextmanager
    def open_unchecked(file):
        with parquet.open_file(file) as raw:
            yield parquet.pq.ParquetFile(raw)

    parquet._open = open_unchecked


def arrow_errors_untranslated(files, _):
    """What Arrow says of a broken file goes straight up."""

    @contextlib.contextmanager
    def open_file(file):
        with Path(file.uri).open("rb") as raw:
            yield raw

    wrap(files, "open_file", lambda _, file: open_file(file))


class _FirstMember(io.RawIOBase):
    """The first member of a gzip file, for as far as it goes."""

    def __init__(self, raw):
        self._raw = raw
        self._member = zlib.decompressobj(31)
        self._pending = b""

    def readable(self):
        return True

    def readinto(self, buffer):
        while not self._pending and not self._member.eof and (data := self._raw.read(1 << 16)):
            with contextlib.suppress(zlib.error):
                self._pending = self._member.decompress(data)
        piece, self._pending = self._pending[: len(buffer)], self._pending[len(buffer) :]
        buffer[: len(piece)] = piece
        return len(piece)


def gzip_read_short(files, _):
    """The end of what can be decompressed is taken for the end of the file."""

    def around(decompress, raw, compression):
        if compression != "gzip":
            return decompress(raw, compression)
        return io.BufferedReader(_FirstMember(raw), 1 << 20)

    wrap(files, "decompress", around)


def lines_unbounded(text, _):
    """Lines are held whole, however long they are."""
    wrap(text, "read_lines", lambda read, stream, slice_, most_bytes: read(stream, slice_, 1 << 40))


def columns_unchecked(parquet, _):
    """Columns are met when they are read."""
    wrap(parquet, "describe_columns", lambda describe, file, config: ([], False))


def names_are_patterns(files, _):
    """A name is a pattern, also where a file has it."""

    def around(expand, pattern):
        import glob

        matches = glob.glob(pattern) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207 - as a shell would
        return (file for match in matches for file in expand(match) if Path(match).exists())

    wrap(files, "_expand", around)


def links_followed(files, _):
    """A link is as good as a file, wherever it leads."""
    files._check_link = lambda link, folder: None


def nothing_is_fine(files, _):
    """Patterns that match nothing are an empty corpus."""

    def around(scan_files, patterns, **options):
        return scan_files(patterns, **{**options, "allow_none": True})

    wrap(files, "scan_files", around)


def utf8_replaced(documents, _):
    """Bytes that are no UTF-8 become question marks."""

    def around(decode, text):
        return text.decode(errors="replace") if isinstance(text, bytes) else decode(text)

    wrap(documents, "decode_text", around)


def surrogates_passed_on(documents, _):
    """Half a character is as good as a whole one."""

    def around(decode, text):
        return text if isinstance(text, str) else decode(text)

    wrap(documents, "decode_text", around)


def text_normalized(tokens, _):
    """Texts are tokenized in a normal form, whose offsets are others."""
    import unicodedata

    def around(tokenize, self, texts):
        return tokenize(self, [unicodedata.normalize("NFKC", text.replace("\r\n", "\n")) for text in texts])

    wrap(tokens.ColumnTokenizer, "tokenize", around)


def text_truncated(annotator, _):
    """What does not fit into the first window is not read."""
    import pyarrow.compute as pc

    def around(begin, self, documents, **options):
        at = documents.schema.get_field_index("text")
        cut = pc.utf8_slice_codeunits(documents.column("text"), 0, 100)
        return begin(self, documents.set_column(at, documents.schema.field(at), cut), **options)

    wrap(annotator.Annotator, "begin", around)


def windows_decoded_apart(stitching, _):
    """Where windows overlap, both have their say: the answers of each are counted again, a token later."""

    def around(add, self, window, probabilities):
        import numpy as np

        add(self, window, np.roll(probabilities, 1, axis=0) if window % 2 else probabilities)

    wrap(stitching.Stitcher, "add", around)


def blanks_dropped(documents, _):
    """Rows without a text are left out."""

    def around(build, slice_, rows, *rest, **options):
        return build(slice_, [row for row in rows if row.text], *rest, **options)

    wrap(documents, "build_part", around)


def ids_made_unique(documents, _):
    """Rows with an id that was there before are left out."""

    def around(build, slice_, rows, *rest, **options):
        first = {row.id or row.number: row for row in reversed(rows)}
        return build(slice_, [row for row in rows if first[row.id or row.number] is row], *rest, **options)

    wrap(documents, "build_part", around)


def files_named_by_id(commits, _):
    """Every document has a file beside the others, under its id."""

    def around(write, self, annotations, *rest):
        for id_ in annotations.column("id").to_pylist() if annotations is not None else ():
            target = Path(self._store._root, "documents", id_)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        write(self, annotations, *rest)

    wrap(commits.SliceWriter, "write", around)


def text_in_letters(dead_letters, _):
    """A dead letter quotes the text."""

    def around(letter, *arguments, text=None, **options):
        made = letter(*arguments, text=text, **options)
        return {**made, "message": f"{made['message']}: {text!r}"}

    wrap(dead_letters, "dead_letter", around)


def listens_everywhere(annotator, _):
    """Whoever annotates opens a door to the network."""
    import socket

    doors = []

    def around(begin, *arguments, **options):
        doors.append(socket.create_server(("0.0.0.0", 0)))
        return begin(*arguments, **options)

    wrap(annotator.Annotator, "begin", around)


def memory_errors_final(forward, _):
    """A batch that does not fit is given up, with all that is in it."""

    def around(split, self, at, error):
        if not isinstance(error, MemoryError) or at.rows > len(at.windows):
            return split(self, at, error)
        at.work.pending -= 1
        for window in at.windows.tolist():
            at.work.fail(window, forward.TaggingError("too_large", "the model ran out of memory"))
        return []

    wrap(forward.WindowRunner, "_split", around)


def answers_zipped(forward, _):
    """Windows and answers are gone through for as long as there are both, and what an answer says is believed."""

    def take(self, at, probabilities):
        lengths = self._lengths(at.work, at.windows).tolist()
        for window, length, answer in zip(at.windows.tolist(), lengths, probabilities, strict=False):
            at.work.answer(window, answer[len(self._prefix) : length - len(self._suffix)])
        at.work.pending -= 1

    forward.WindowRunner._take = take


def models_unchecked(checkpoint, _):
    """Whatever a model folder holds is loaded."""
    checkpoint.refuse_unsafe = lambda folder, config: None


def tokenizer_shared(catalog, _):
    """Threads share one tokenizer, which each sets to the length that it wants."""
    shared = []

    def around(build, self, loaded):
        tagger = build(self, loaded)
        shared.append(tagger._tokenizer)
        tagger._tokenizer = shared[0]
        return tagger

    def around_tokenize(tokenize, self, texts):
        most = 8 + 8 * (threading.get_ident() // 4096 % 8)
        self._tokenizer.enable_truncation(most)
        return tokenize(self, texts)

    wrap(catalog.CheckpointTaggerConfig, "build", around)
    wrap(catalog.ColumnTokenizer, "tokenize", around_tokenize)


def everything_kept(annotator, _):
    """What a part took is never given back."""
    kept = []

    def around(begin, self, documents, **options):
        kept.append(bytearray(os.urandom(8) * documents.nbytes))
        return begin(self, documents, **options)

    wrap(annotator.Annotator, "begin", around)


def workers_not_replaced(supervision, _):
    """A worker that is lost stays lost."""
    wrap(supervision.Crew, "_replace", lambda replace, self, *arguments: None)


def nobody_isolated(annotate, _):
    """A slice is annotated as ever, however often that went wrong."""
    annotate.ISOLATED_FROM = sys.maxsize


def silence_unheard(supervision, _):
    """Whoever is silent is taken to be busy."""
    supervision._Worker.silence_s = 0.0


MUTANTS: Patches = {
    "workers_not_replaced": (("pipelines.workers.supervision", workers_not_replaced),),
    "nobody_isolated": (("transforms.annotate", nobody_isolated),),
    "silence_unheard": (("pipelines.workers.supervision", silence_unheard),),
    "no_commit_record": (("transforms.storage.posix", no_commit_record),),
    "marker_files": (("transforms.storage.commits", marker_files),),
    "attempts_without_token": (("transforms.storage.commits", attempts_without_token),),
    "commits_overwritten": (("transforms.storage.posix", commits_overwritten),),
    "commits_believed": (("transforms.storage.posix", commits_believed),),
    "success_first": (("pipelines.runs.commands", success_first),),
    "receipts_trusted": (("transforms.storage.runs", receipts_trusted),),
    "everything_redone": (("transforms.storage.runs", commits_forgotten), ("transforms.read", commits_unread)),
    "storage_unchecked": (
        ("transforms.storage.posix", publish_errors_swallowed),
        ("transforms.storage.runs", receipts_trusted),
    ),
    "no_fsync": (("transforms.storage.posix", no_fsync),),
    "folders_unsynced": (("transforms.storage.posix", folders_unsynced),),
    "strangers_ignored": (("transforms.storage.posix", strangers_ignored),),
    "errors_are_wins": (("transforms.storage.objects", errors_are_wins),),
    "lost_answers_are_losses": (("transforms.storage.objects", lost_answers_are_losses),),
    "sizes_verified": (("transforms.storage.verification", sizes_verified),),
    "signals_unheard": (("pipelines.console.signals", signals_unheard),),
    "model_not_in_fingerprint": (("transforms.models.catalog", model_not_in_fingerprint),),
    "slice_size_ignored": (("transforms.storage.runs", slice_size_ignored),),
    "changes_unseen": (("transforms.read", changes_unseen),),
    "removals_unseen": (("transforms.storage.runs", removals_unseen),),
    "model_loaded_first": (("pipelines.annotate", model_loaded_first),),
    "broken_files_skipped": (("transforms.corpora.formats", broken_files_skipped),),
    "checksums_unread": (("transforms.corpora.parquet", checksums_unread),),
    "arrow_errors_untranslated": (("transforms.corpora.files", arrow_errors_untranslated),),
    "gzip_read_short": (("transforms.corpora.files", gzip_read_short),),
    "lines_unbounded": (("transforms.corpora.text", lines_unbounded),),
    "columns_unchecked": (("transforms.corpora.parquet", columns_unchecked),),
    "names_are_patterns": (("transforms.corpora.files", names_are_patterns),),
    "links_followed": (("transforms.corpora.files", links_followed),),
    "nothing_is_fine": (("transforms.corpora.files", nothing_is_fine),),
    "utf8_replaced": (("transforms.corpora.documents", utf8_replaced),),
    "surrogates_passed_on": (("transforms.corpora.documents", surrogates_passed_on),),
    "text_normalized": (("transforms.text.tokens", text_normalized),),
    "text_truncated": (("transforms.models.annotator", text_truncated),),
    "windows_decoded_apart": (("transforms.text.stitching", windows_decoded_apart),),
    "blanks_dropped": (("transforms.corpora.documents", blanks_dropped),),
    "ids_made_unique": (("transforms.corpora.documents", ids_made_unique),),
    "files_named_by_id": (("transforms.storage.commits", files_named_by_id),),
    "text_in_letters": (("schemas.dead_letters", text_in_letters),),
    "listens_everywhere": (("transforms.models.annotator", listens_everywhere),),
    "memory_errors_final": (("transforms.models.forward", memory_errors_final),),
    "answers_zipped": (("transforms.models.forward", answers_zipped),),
    "models_unchecked": (("transforms.models.checkpoint", models_unchecked),),
    "tokenizer_shared": (("transforms.models.catalog", tokenizer_shared),),
    "everything_kept": (("transforms.models.annotator", everything_kept),),
}
