"""Files and the slices they are cut into."""

import dataclasses
import hashlib
import json
import re


def display_uri(uri: str) -> str:
    """The URI without user and password, and without the query of a signed web address.

    >>> display_uri("ftp://me:secret@host/a.txt"), display_uri("https://host/a.txt?sig=secret")
    ('ftp://host/a.txt', 'https://host/a.txt')
    """
    if "@" not in uri and "?" not in uri:
        # Nothing to hide, as in nearly every one of a million.
        return uri
    return re.sub(r"(https?://[^?]*)\?.*", r"\1", re.sub(r"://[^/]*@", "://", uri), flags=re.DOTALL)


def display_text(text: str) -> str:
    """Somebody else's words in one line, with every URI among them as it may be shown.

    >>> display_text("403, url='https://host/a.txt?sig=secret'")
    "403, url='https://host/a.txt"
    """
    return " ".join(display_uri(word) for word in text.split())


@dataclasses.dataclass(frozen=True, slots=True)
class FileRef:
    """An input file as it was when it was listed.

    Attributes:
      uri: path or URL.
      size_bytes: size at listing.
      version: what changes when the content does: etag, generation or modification time.
      lacks_secret: whether the URI was read back from where no password and no query is kept, and had one.
    """

    uri: str
    size_bytes: int
    version: str
    lacks_secret: bool = dataclasses.field(default=False, compare=False, repr=False)

    @property
    def source(self) -> str:
        """The URI as it may be shown and written."""
        return display_uri(self.uri)

    def without_secret(self) -> "FileRef":
        """The file as it may be written."""
        return dataclasses.replace(self, uri=self.source, lacks_secret=self.lacks_secret or self.source != self.uri)


@dataclasses.dataclass(frozen=True, slots=True)
class Slice:
    """A run of documents of one file, the unit of work and of commit.

    Attributes:
      file: the file it belongs to.
      format: parquet, jsonl, text or conll.
      start: first row group (parquet), byte of the decompressed stream (jsonl, text), or row (conll).
      end: one past the last of the same.
      first_row: position in the file of the first document.
      rows: how many documents it holds; 0 for a file that cannot be read.
      number: position in the plan, part of the output name.
      error: why the file cannot be read, found while planning; the slice becomes a dead letter.
      text_bytes: about how many bytes of text it holds, where its start and end do not tell; 0 where nobody knows.
    """

    file: FileRef
    format: str
    start: int
    end: int
    first_row: int
    rows: int
    number: int = 0
    error: str = ""
    text_bytes: int = dataclasses.field(default=0, compare=False)

    @property
    def slice_id(self) -> str:
        """Twenty hex digits that change with the file's content or the cut, and not with a password."""
        identity = [self.file.source, self.file.size_bytes, self.file.version, self.format, self.start, self.end]
        return hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:20]

    @property
    def name(self) -> str:
        """Base name of the slice's output files."""
        return f"part-{self.number:05d}-{self.slice_id}"
