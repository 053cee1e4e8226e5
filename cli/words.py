"""Times and durations as people say them. Pure."""

from datetime import UTC, datetime


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`, `3 d 4 h`; a dash when unknown."""
    if seconds is None:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def moment(text: str | None) -> datetime | None:
    """A time as the API writes it."""
    return datetime.fromisoformat(text) if text else None


def age(then: datetime | None, now: datetime | None = None) -> str:
    """How long ago something was."""
    if then is None:
        return "–"
    return duration(max(0.0, ((now or datetime.now(UTC)) - then).total_seconds()))


def local(then: datetime | None) -> str:
    """A time on this machine's clock."""
    return then.astimezone().strftime("%Y-%m-%d %H:%M:%S") if then else "–"


def number(value: float | None) -> str:
    """A score with four digits, as short as it can be."""
    return "–" if value is None else f"{value:.4g}"
