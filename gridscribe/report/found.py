"""The sections of how fast results came, and of what they say: areas of classes, or tokens of pages."""

from __future__ import annotations

from collections.abc import Iterator

from gridscribe.report.charts import amount, clock, pace_chart, share_bar
from gridscribe.report.facts import Facts
from gridscribe.report.markup import Markup, join, table, tag
from gridscribe.report.pace import Pace


def pace_section(facts: Facts) -> Iterator[Markup]:
    """Charts of throughput, of each stage one."""
    first = "Pages" if facts.documents else "Masks"
    yield from _pace(facts.pace, first, rate_unit(facts))
    if facts.region_pace.stretches or facts.region_pace.untimed:
        yield from _pace(facts.region_pace, "Regions", "megapixels/min")
    words = (
        "From the times at which commits came to lie in the store, and the time of planning where it is within an hour before "
        "the first. An item counts when it is committed, so work on it began earlier; pauses of more than an hour are cut out."
    )
    yield tag("p", words, class_="soft")


def _pace(pace: Pace, title: str, unit: str) -> Iterator[Markup]:
    yield tag("h3", title)
    if not pace.stretches:
        yield tag(
            "p",
            f"{pace.untimed:,} commits: too few to tell how fast they were made."
            if pace.untimed
            else "Nothing is committed.",
        )
        return
    yield pace_chart(pace, title, unit)
    rows = [
        (clock(s.start), clock(s.end), amount(sum(s.amounts)), amount(sum(s.amounts) / s.minutes / len(s.amounts)))
        for s in pace.stretches
    ]
    if len(rows) > 1:
        head = ("From (UTC)", "To", unit.partition("/")[0], unit)
        yield table("Stretches of work", head, rows, numbers=(2, 3))


def areas_section(facts: Facts) -> list[Markup]:
    """Pixels, shares and square metres of each class, and what these numbers were taken from."""
    tally = facts.tally
    if not tally.counted:
        return [tag("p", "No committed item states its pixels of each class.")]
    colors = {one["name"]: "#{:02x}{:02x}{:02x}".format(*one["color"]) for one in facts.product.get("classes", [])}
    valid = sum(tally.class_pixels.values())
    rows: list[tuple[str, ...]] = []
    for name, pixels in sorted(tally.class_pixels.items(), key=lambda pair: -pair[1]):
        color = colors.get(name, "#888888")
        share = pixels / valid if valid else 0.0
        swatch = tag("span", class_="swatch", style=f"background:{color}")
        m2 = f"{tally.class_m2[name]:,.0f}" if tally.located else "not georeferenced"
        rows.append((join([swatch, name]), f"{pixels:,}", f"{share:.2%}", m2, share_bar(share, color)))
    total_m2 = f"{sum(tally.class_m2.values()):,.0f}" if tally.located else "not georeferenced"
    rows.append(("all classes", f"{valid:,}", "100%" if valid else "0%", total_m2, ""))
    rows.append(("no data", f"{tally.counted - valid:,}", "", "", ""))
    caption = f"Pixels of the masks of {len(tally.images):,} images, shares of those that have a class"
    out = [table(caption, ("Class", "Pixels", "Share", "Square metres", ""), rows, numbers=(1, 2, 3))]
    words = (
        "Pixels are those that commits state. Square metres are these times the area of a pixel on the WGS 84 ellipsoid, from "
        "the footprint of its image (a mean over an item's images, where an item holds several)."
    )
    if tally.located and tally.located < tally.counted:
        words += (
            f" {tally.located / tally.counted:.1%} of the pixels are georeferenced; the others count no square metres."
        )
    if tally.counted < tally.pixels:
        words += f" Items of {amount((tally.pixels - tally.counted) / 1e6)} megapixels do not state their classes."
    if len(facts.jobs) > 1:
        words += " All jobs of the product are counted; pixels that several of them committed count for each."
    return [*out, tag("p", words, class_="soft")]


def pages_section(facts: Facts) -> list[Markup]:
    """How many tokens were kept of how many."""
    tally = facts.tally
    share = f"{tally.tokens / tally.cells:.1%}" if tally.cells else "none"
    rows = [
        ("Pages committed", f"{len(tally.images):,}"),
        ("Tokens before pruning", f"{tally.cells:,}"),
        ("Tokens kept", f"{tally.tokens:,}"),
        ("Share kept", share),
    ]
    words = "Pages have no classes and lie nowhere on Earth; tokens are kept where the product's settings find text."
    return [
        table("Tokens, as commits and their tables of images state them", ("", "Number"), rows, numbers=(1,)),
        tag("p", words, class_="soft"),
    ]


def rate_unit(facts: Facts) -> str:
    """What throughput is counted in."""
    return "pages/min" if facts.documents else "megapixels/min"
