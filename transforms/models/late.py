"""A tagger that is built when it is first asked, so that a run that has nothing to ask loads no model."""

from collections.abc import Callable, Sequence

from transforms.models.tagger import Tagger, TaggerConfig, Tagging


class LateTagger:
    """Stands for a tagger.

    Args:
      config: what is known of it before it is built.
      build: builds it.
    """

    def __init__(self, config: TaggerConfig, build: Callable[[], Tagger]) -> None:
        self.labels = config.labels
        self.names = tuple(config.describe().get("members", ("",)))
        self._build = build
        self._tagger: Tagger | None = None

    def tag(self, texts: Sequence[str]) -> Tagging:
        """Texts in, entities out."""
        return self.begin(texts)()

    def begin(self, texts: Sequence[str]) -> Callable[[], Tagging]:
        """Starts on texts; see `Tagger.begin`."""
        if self._tagger is None:
            self._tagger = self._build()
        return self._tagger.begin(texts)
