"""From spans to tags."""

from collections.abc import Iterable

from schemas.errors import ConfigError

# The prefixes of a single, a first, an inner and a last unit.
_WORDS = {"BIO": "BBII", "BIOES": "SBIE", "BILOU": "UBIL", "BMES": "SBME", "IO": "IIII"}
_LETTERS = {name: tuple(letters) for name, letters in _WORDS.items()}


def encode_tags(spans: Iterable[tuple[int, int, str]], n_units: int, *, scheme: str = "BIO") -> list[str]:
    """Spans over units to one tag per unit.

    Args:
      spans: (first, last, label) with `last` exclusive; they must not overlap.
      n_units: length of the sequence.
      scheme: BIO, IOB1, BIOES, BILOU, BMES or IO.

    >>> encode_tags([(0, 2, "PER"), (3, 4, "LOC")], 4, scheme="BIOES")
    ['B-PER', 'E-PER', 'O', 'S-LOC']
    """
    if scheme != "IOB1" and scheme not in _LETTERS:
        raise ConfigError(f"expected a scheme of {['IOB1', *_LETTERS]}, found {scheme!r}")
    tags = ["O"] * n_units
    previous_last, previous_label = -1, ""
    for first, last, label in sorted(spans):
        if not 0 <= first < last <= n_units or first < previous_last:
            raise ConfigError(f"expected disjoint spans within 0..{n_units}, found ({first}, {last}, {label!r})")
        if scheme == "IOB1":
            touches = first == previous_last and label == previous_label
            single = begin = "B" if touches else "I"
            inside = end = "I"
        else:
            single, begin, inside, end = _LETTERS[scheme]
        if last - first == 1:
            tags[first] = f"{single}-{label}"
        else:
            tags[first:last] = [f"{begin}-{label}", *[f"{inside}-{label}"] * (last - first - 2), f"{end}-{label}"]
        previous_last, previous_label = last, label
    return tags
