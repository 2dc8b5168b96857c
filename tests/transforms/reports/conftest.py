"""A made-up run and documents of it, for everything that shows them, and a reader of pages."""

from html.parser import HTMLParser

from schemas.receipts import LENGTH_BINS, Tally
from transforms.reports.excerpts import Sample

HOSTILE = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onload='x", "{{ 7 * 7 }}", "$x^2$")
VOID = {"meta", "link", "br", "img", "input", "hr"}

RUN = {
    "fingerprint": "3f9ac2417be0d51c",
    "settings": {"decoder": "viterbi", "windows": {"max_tokens": 256, "overlap_tokens": 64}, "thresholds": {}},
    "versions": {"spanmill": "0.1.0", "torch": "2.13.0"},
    "model": {"name": "small-en", "digest": "sha256:ab12"},
    "inputs": [{"uri": "corpus/a.parquet", "size_bytes": 1_500_000, "rows": 900}],
    "seconds": 20.0,
    "documents_this_start": 400,
    "tokens_this_start": 50_000,
}

TALLY = Tally(
    documents=900,
    dead={"ParseError": 1, "TokenizationError": 4},
    dead_rows=100,
    entities={"LOC": 500, "PER": 1500},
    below={"LOC": 30},
    scores={"PER": [0] * 19 + [1500], "LOC": [0] * 10 + [53] * 10},
    lengths=(0, 0, 100, 800, *[0] * (LENGTH_BINS - 4)),
    characters=500_000,
    tokens=100_000,
    windows=1_100,
    computed_tokens=125_000,
    seconds={"write": 10.0, "forward": 75.0, "read": 15.0},
    counts={"mentions/exact": 1_234, "mentions/not-found": 56},
    matches={"PER": [3, 1, 0], "LOC": [0, 0, 2]},
)


def make_sample(
    text: str, *entities: tuple[str, str], gold: tuple[tuple[str, str], ...] | None = None, **names
) -> Sample:
    return Sample(
        **{"id": "doc", "source": "corpus/a.parquet", "row": 3} | names,
        text=text,
        entities=[make_span(text, *entity) | {"score": 0.987} for entity in entities],
        gold=None if gold is None else [make_span(text, *entity) for entity in gold],
    )


def make_span(text: str, part: str, label: str) -> dict:
    return {"start": text.index(part), "end": text.index(part) + len(part), "label": label}


class Page(HTMLParser):
    """Reads a page and notes whatever does not belong."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.comments: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        assert len(attrs) == len(dict(attrs)), "an attribute twice"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    def handle_comment(self, data):
        self.comments.append(data)

    def find(self, tag: str, class_: str = "") -> list[dict[str, str | None]]:
        return [
            attrs for name, attrs in self.tags if name == tag and class_ in [*(attrs.get("class") or "").split(), ""]
        ]
