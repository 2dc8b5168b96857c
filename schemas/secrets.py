"""What a run does not keep of the URLs of its input, carried past the disk in the memory of who was told it."""

import dataclasses
from collections.abc import Iterable, Mapping

from schemas.slices import FileRef


@dataclasses.dataclass(frozen=True)
class Secrets:
    """Passwords and queries of URLs.

    Attributes:
      hosts: a URL up to its path without user and password, and with both, for hosts with one user.
      files: the same of whole URLs, for all others.
    """

    hosts: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    files: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, files: Iterable[FileRef]) -> "Secrets":
        """Those that files were given with; a million files of one user make one entry."""
        hosts: dict[str, str] = {}
        others: dict[str, str] = {}
        for file in files:
            if file.uri == file.source:
                continue
            shown, given = _host(file.source), _host(file.uri)
            has_user_only = file.source[len(shown) :] == file.uri[len(given) :]
            if not has_user_only or hosts.setdefault(shown, given) != given:
                others[file.source] = file.uri
        return cls(hosts, others)

    def restore(self, file: FileRef) -> FileRef:
        """A file as it was given, from how a run keeps it; as it is kept where nothing is known of it."""
        if not file.lacks_secret:
            return file
        shown = _host(file.uri)
        uri = self.files.get(file.uri) or self.hosts.get(shown, shown) + file.uri[len(shown) :]
        return file if uri == file.uri else dataclasses.replace(file, uri=uri, lacks_secret=False)


def _host(uri: str) -> str:
    """A URL up to its path."""
    scheme, mark, rest = uri.partition("://")
    return f"{scheme}{mark}{rest.partition('/')[0]}"
