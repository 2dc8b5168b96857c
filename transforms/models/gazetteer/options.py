"""What a person may say about a gazetteer."""

import dataclasses

from schemas.errors import ConfigError

CASES = ("exact", "fold", "smart")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GazetteerOptions:
    """Dictionaries, and how their names are looked for.

    Attributes:
      file: dictionaries: files, folders, patterns or URLs; of two entries for one name the first holds.
      case: `exact`, as written; `fold`, whatever the case (Unicode case folding); `smart`, whatever the case for names
        in lower case, and as written for others.
      words: a name begins and ends where words do; in scripts without spaces, anywhere between characters.
      min_length: names with fewer characters are left out.
    """

    file: tuple[str, ...] = ()
    case: str = "smart"
    words: bool = True
    min_length: int = 1

    def __post_init__(self) -> None:
        if self.case not in CASES:
            raise ConfigError(f"expected case of a gazetteer to be one of {CASES}, found {self.case!r}")
        if self.min_length < 1:
            raise ConfigError(f"expected min_length of a gazetteer of 1 or more, found {self.min_length}")
