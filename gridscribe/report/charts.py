"""Charts as inline SVG that follows the page's colours, each with its figures in words for those who do not see it."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from gridscribe.progress import duration
from gridscribe.report.markup import Markup, tag
from gridscribe.report.pace import Pace

WIDTH, HEIGHT = 960.0, 230.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 8.0, 12.0, 46.0
PAUSE = 28.0  # width of a pause between two stretches
LABEL = 120.0  # width that a label of time needs


def pace_chart(pace: Pace, title: str, unit: str) -> Markup:
    """Bars of the rate over time, stretch after stretch; pauses are cut short and marked. `pace` has a stretch at least."""
    stretches = pace.stretches
    top = _ceiling(max(rate for stretch in stretches for rate in stretch.rates))
    minutes = [stretch.minutes * len(stretch.amounts) for stretch in stretches]
    free = WIDTH - LEFT - RIGHT - PAUSE * (len(stretches) - 1)
    parts = _scale(top, unit)
    x, labelled = LEFT, -LABEL
    for k, stretch in enumerate(stretches):
        width = free * minutes[k] / sum(minutes)
        bar = width / len(stretch.amounts)
        for number, rate in enumerate(stretch.rates):
            since = stretch.start + timedelta(minutes=number * stretch.minutes)
            height = (HEIGHT - TOP - BOTTOM) * rate / top
            told = tag("title", f"{clock(since)}, {duration(stretch.minutes * 60)}: {amount(rate)} {unit}")
            place = {"x": x + number * bar, "y": HEIGHT - BOTTOM - height, "height": height}
            shape = tag("rect", class_="bar", width=max(0.5, bar - (1 if bar > 4 else 0)), **place)
            parts.append(tag("g", told, shape))
        if x - labelled >= LABEL and x + LABEL <= WIDTH - RIGHT:
            parts.append(tag("text", clock(stretch.start), x=x, y=HEIGHT - 26, class_="label"))
            labelled = x
        x += width
        if k + 1 < len(stretches):
            pause = (stretches[k + 1].start - stretch.end).total_seconds()
            middle = x + PAUSE / 2
            told = tag("title", f"a pause of {duration(pause)}")
            line = tag("line", x1=middle, x2=middle, y1=TOP, y2=HEIGHT - BOTTOM, class_="pause")
            parts.append(tag("g", told, line))
            x += PAUSE
    if x - labelled >= 2 * LABEL:
        end = tag("text", clock(stretches[-1].end), x=x, y=HEIGHT - 26, class_="label", text_anchor="end")
        parts.append(end)
    worked = duration(sum(minutes) * 60)
    parts.append(
        tag("text", f"UTC; {pace.commits:,} commits in {worked} of work", x=LEFT, y=HEIGHT - 8, class_="label")
    )
    mean = 0.0 if pace.mean is None else pace.mean
    words = f"{title}: {amount(mean)} {unit} on average over {worked}, at most {amount(top_rate(pace))}."
    return tag(
        "svg", tag("title", words), *parts, viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}", role="img", aria_label=words,
        class_="chart",
    )  # fmt: skip


def share_bar(share: float, color: str) -> Markup:
    """A bar of a share of 0 to 1, beside whose number it stands."""
    inner = tag("span", style=f"width:{100 * share:.2f}%;background:{color}")
    return tag("div", inner, class_="share", aria_hidden="true")


def parts_bar(parts: list[tuple[str, int]]) -> Markup:
    """A bar cut in proportion to the counts of (class of style, count)."""
    total = sum(count for _, count in parts)
    pieces = (tag("span", class_=name, style=f"flex:{count / total:.6f} 0 0") for name, count in parts if count)
    return tag("div", *pieces, class_="parts", aria_hidden="true")


def top_rate(pace: Pace) -> float:
    """The highest rate of a bin."""
    return max(rate for stretch in pace.stretches for rate in stretch.rates)


def clock(time: datetime) -> str:
    """`2026-11-29 16:24:03`."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def amount(value: float) -> str:
    """A number to three digits or so, with thousands set apart."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _scale(top: float, unit: str) -> list[Markup]:
    parts = []
    for k in range(5):
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * k / 4
        parts.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
        parts.append(tag("text", amount(top * k / 4), x=LEFT - 8, y=y + 4, class_="label", text_anchor="end"))
    middle = TOP + (HEIGHT - TOP - BOTTOM) / 2
    turned = f"rotate(-90 12 {middle:g})"
    parts.append(tag("text", unit, x=12, y=middle, transform=turned, text_anchor="middle", class_="label"))
    return parts


def _ceiling(value: float) -> float:
    """The least of 1, 2, 4, 5, 8 times a power of ten that is no less, so that its quarters are short numbers."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value * (1 - 1e-9))
