"""What was measured, as ratios and as text."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One ratio over all repetitions, and the absolute value it comes from."""

    part: str
    name: str
    server: str
    median: float
    lowest: float
    highest: float
    absolute: float
    unit: str


def figure(
    part: str,
    name: str,
    server: str,
    ratios: Sequence[float],
    absolutes: Sequence[float],
    unit: str,
) -> Figure:
    """Return the median of the repetitions' ratios, their range, and the absolute."""
    return Figure(
        part=part,
        name=name,
        server=server,
        median=statistics.median(ratios),
        lowest=min(ratios),
        highest=max(ratios),
        absolute=statistics.median(absolutes),
        unit=unit,
    )


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def text(figures: Sequence[Figure]) -> str:
    """Return the table: ratios first, absolute values in brackets."""
    lines: list[str] = []
    for part in dict.fromkeys(one.part for one in figures):
        lines += ["", part]
        for one in (one for one in figures if one.part == part):
            ratio = f"{one.median:8.3f}  ({one.lowest:.3f} .. {one.highest:.3f})"
            value = f"[{one.absolute:,.1f} {one.unit}]"
            lines.append(f"  {one.name:42} {one.server:9} {ratio:30} {value}")
    return "\n".join(lines)


def as_rows(figures: Sequence[Figure]) -> list[dict[str, object]]:
    """Return the figures for a JSON file."""
    return [asdict(one) for one in figures]
