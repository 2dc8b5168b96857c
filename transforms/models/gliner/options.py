"""What a person may say about a GLiNER checkpoint."""

import dataclasses

from schemas.errors import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlinerOptions:
    """A GLiNER checkpoint, and how it is run.

    Attributes:
      model: folder, URL or hub name, with weights in safetensors.
      labels: the labels to ask for.
      label_file: TOML file of descriptions by label, which it is asked for in their place.
      floor: spans with a lower score are not told at all; what is written is for thresholds to say.
      window_words: most words that it reads at once; its own limit if that is less.
      overlap_words: words shared by neighbouring windows.
      batch_windows: windows in a forward pass.
    """

    model: str = ""
    labels: tuple[str, ...] = ()
    label_file: str = ""
    floor: float = 0.05
    window_words: int = 384
    overlap_words: int = 48
    batch_windows: int = 8

    def __post_init__(self) -> None:
        if not 0 < self.floor < 1:
            raise ConfigError(f"expected floor of gliner between 0 and 1, found {self.floor}")
        if self.window_words < 8:
            raise ConfigError(f"expected window_words of gliner of 8 or more, found {self.window_words}")
        if not 0 <= self.overlap_words * 2 <= self.window_words:
            raise ConfigError(
                f"expected overlap_words of gliner between 0 and half a window ({self.window_words // 2}), "
                f"found {self.overlap_words}"
            )
        if self.batch_windows < 1:
            raise ConfigError(f"expected batch_windows of gliner of 1 or more, found {self.batch_windows}")
