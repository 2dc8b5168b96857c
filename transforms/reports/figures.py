"""Numbers as people read them."""

from collections.abc import Sequence


def format_share(share: float | None) -> str:
    """A share in, a percentage out that never rounds something to nothing.

    >>> format_share(0.1234), format_share(0.00001), format_share(0.0), format_share(None)
    ('12.3 %', '< 0.1 %', '0.0 %', '–')
    """
    if share is None:
        return "–"
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %"


def format_rate(rate: float | None) -> str:
    """Something per second in, a readable number out.

    >>> format_rate(12345.6), format_rate(3.21), format_rate(None)
    ('12,346', '3.2', '–')
    """
    if rate is None:
        return "–"
    return f"{rate:,.0f}" if rate >= 100 else f"{rate:,.1f}"


def format_duration(seconds: float) -> str:
    """Seconds in, a readable time out.

    >>> format_duration(0.25), format_duration(61.7), format_duration(7384)
    ('0.25 s', '1 min 02 s', '2 h 03 min')
    """
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60:,} h {minutes % 60:02d} min"


def format_size(size_bytes: int) -> str:
    """Bytes in, a readable size out.

    >>> format_size(512), format_size(1_500_000), format_size(999_999_999_999)
    ('512 B', '1.5 MB', '1,000.0 GB')
    """
    if size_bytes < 1000:
        return f"{size_bytes} B"
    unit, scale = next((pair for pair in (("kB", 1e3), ("MB", 1e6)) if size_bytes < 1000 * pair[1]), ("GB", 1e9))
    return f"{size_bytes / scale:,.1f} {unit}"


def format_score(score: float | None) -> str:
    """A score from 0 to 1 in, the same out of 100; only what is perfect is 100, only what is nothing is 0.

    >>> format_score(0.8523), format_score(0.99999), format_score(1), format_score(None)
    ('85.2', '99.9', '100.0', '–')
    """
    if score is None:
        return "–"
    return f"{min(max(100 * score, 0.1), 99.9) if 0 < score < 1 else 100 * score:.1f}"


def format_interval(interval: Sequence[float] | None) -> str:
    """The bounds of a score in, the same out of 100; nothing for nothing.

    >>> format_interval([0.81, 0.8836]), format_interval(None)
    ('81.0–88.4', '')
    """
    return "–".join(map(format_score, interval or ()))
