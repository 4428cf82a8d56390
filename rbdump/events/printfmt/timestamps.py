# SPDX-License-Identifier: Apache-2.0
"""``%pt``: dates and times, as rtc_str(), time64_str() and timespec64_str() of lib/vsprintf.c spell them."""

from __future__ import annotations

from typing import Literal

__all__ = ["rtc_time", "time64"]

Order = Literal["little", "big"]


def _spell(date: tuple[int, int, int], clock: tuple[int, int, int], options: str) -> str:
    parts = []
    if options[:1] != "t":
        parts.append(f"{_u64(date[0]):04d}-{_u64(date[1]):02d}-{_u64(date[2]):02d}")
    if options[:1] != "d":
        parts.append(":".join(f"{_u64(part):02d}" for part in clock))
    return (" " if "s" in options else "T").join(parts)


def _u64(value: int) -> int:
    """As number() takes it, which is told of no sign."""
    return value & (1 << 64) - 1


def rtc_time(raw: bytes, options: str, order: Order) -> str:
    """``%ptR`` of a struct rtc_time; ``r`` leaves year and month as they are stored."""
    second, minute, hour, day, month, year = (
        int.from_bytes(raw[at : at + 4], order, signed=True) for at in range(0, 24, 4)
    )
    raw_values = "r" in options
    date = (year + (0 if raw_values else 1900), month + (0 if raw_values else 1), day)
    return _spell(date, (hour, minute, second), options)


def time64(raw: bytes, options: str, order: Order, with_nanoseconds: bool) -> str:
    """``%ptT`` of a time64_t, ``%ptS`` of a struct timespec64: UTC, or ``p``, plain seconds, and its nanoseconds."""
    seconds = int.from_bytes(raw[:8], order, signed=True)
    if not with_nanoseconds:
        return _date(seconds, options)
    spelled = str(_u64(seconds)) if options[:1] == "p" else _date(seconds, options)
    return f"{spelled}.{int.from_bytes(raw[8:16], order) & 0xFFFFFFFF:09d}"


def _date(seconds: int, options: str) -> str:
    """In the proleptic Gregorian calendar."""
    days, rest = divmod(seconds, 86400)
    # civil date from the days since 1970-01-01: eras of 400 years that begin on 1 March
    era, day_of_era = divmod(days + 719468, 146097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36524 - day_of_era // 146096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    shifted = (5 * day_of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    year = year_of_era + 400 * era + (month <= 2)
    shown_year, shown_month = (year - 1900, month - 1) if "r" in options else (year, month)
    date = (shown_year, shown_month, day_of_year - (153 * shifted + 2) // 5 + 1)
    return _spell(date, (rest // 3600, rest // 60 % 60, rest % 60), options)
