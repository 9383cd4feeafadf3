"""Papers in columns with figures, and pages that are one table."""

from __future__ import annotations

from .look import WHITE, Look, Set, fitted, paragraph
from .pictures import chart, place_photograph, scribble
from .sheet import Sheet
from .words import Wording


def paper(sheet: Sheet, w: Wording, look: Look) -> None:
    """Title, authors, abstract, then two (or one, or three) columns of sections, figures, tables, formulae, notes."""
    left, right, bottom = look.margin, sheet.width - look.margin, sheet.height - look.margin
    body = look.body.but(size=min(look.body.size, 10))
    step = body.size * min(look.leading, 1.35)
    y = look.margin
    if w.chance(0.5):
        running = body.but(size=7, italic=True)
        sheet.text(left, y - 20, fitted(sheet, w.heading(3, 6), running, right - left - 40), running)
        sheet.state("page number", number := str(w.whole(1, 900)), sheet.text(right, y - 20, number, running, "right"))
    if w.chance(0.75):
        title = look.head.but(size=min(look.head.size, 20))
        text = fitted(sheet, w.heading(3, 8), title, right - left)
        sheet.state("title", text, sheet.text(sheet.width / 2, y + 14, text, title, "centre"))
        authors = ", ".join(w.person() for _ in range(w.whole(1, 4)))
        authors = fitted(sheet, authors, body, right - left)
        sheet.state("authors", authors, sheet.text(sheet.width / 2, y + 34, authors, body, "centre"))
        y += 56
        if w.chance(0.7):
            sheet.text(sheet.width / 2, y, "Abstract", body.but(bold=True), "centre")
            style = body.but(italic=w.chance(0.4))
            y = paragraph(sheet, w, left + 30, y + step, right - left - 60, w.paragraph(3, 5), style, step,
                          bottom=bottom * 0.45, align="justified", lively=False)  # fmt: skip
        y += step
    columns = w.pick((1, 2, 2, 2, 3))
    gutter = 18.0
    wide = (right - left - gutter * (columns - 1)) / columns
    align: Set = w.pick(("justified", "justified", "left"))
    section, ruled = 1, w.chance(0.15)
    for column in range(columns):
        x, at = left + column * (wide + gutter), y
        if ruled and column:
            sheet.rule(x - gutter / 2, y - step, x - gutter / 2, bottom, 0.5)
        while at < bottom - step:
            draw = w.rng.random()
            room = bottom - at
            if draw < 0.12 and room > 170:
                at = _figure(sheet, w, look, x, at, wide, float(w.rng.uniform(80, 140)), section)
            elif draw < 0.2 and room > 110:
                at = _grid(sheet, w, look, x, at + step, wide, min(8, int(room / 16) - 2), 4) + step
            elif draw < 0.28 and room > 3 * step:
                terms = f"{w.pick('abcfgxyz')} = {w.whole(2, 9)}{w.pick('xyz')} + {w.pick('αβγλ')}"
                formula = fitted(sheet, f"{terms} ({section}.{w.whole(1, 9)})", body.but(italic=True), wide)
                sheet.text(x + wide / 2, at + step * 0.5, formula, body.but(italic=True), "centre")
                at += 2 * step
            elif draw < 0.45 and room > 4 * step:
                heading = fitted(sheet, f"{section} {w.heading(1, 4)}", body.but(bold=True, size=body.size * 1.1), wide)
                sheet.text(x, at + step * 0.5, heading, body.but(bold=True, size=body.size * 1.1))
                section += 1
                at += 2 * step
            else:
                at = paragraph(
                    sheet, w, x, at, wide, w.paragraph(2, 6), body, step, bottom=bottom, align=align, indent=10
                )
    if w.chance(0.3):
        scribble(sheet, float(w.rng.uniform(4, 20)), float(w.rng.uniform(200, 500)), 20, 40)
    if w.chance(0.25):
        note = look.hand(sheet, 9)
        words = " ".join(w.noun() for _ in range(2))
        sheet.text(right - 60, 24, words, note)
    if w.chance(0.6):
        sheet.text(sheet.width / 2, sheet.height - 24, str(w.whole(1, 600)), body, "centre")


def _figure(
    sheet: Sheet, w: Wording, look: Look, x: float, y: float, width: float, height: float, number: int
) -> float:
    if w.chance(0.5):
        place_photograph(sheet, x, y - 6, width, height)
    else:
        chart(sheet, w, look, x, y, width, height)
    small = look.body.but(size=7.5)
    text = f"Figure {number}. {w.sentence(5, 14)}"
    return paragraph(sheet, w, x, y + height + 8, width, text, small, 10, bottom=sheet.height, lively=False) + 8


def table(sheet: Sheet, w: Wording, look: Look) -> None:
    """A title, one large table (ruled, striped or bare) of names and figures, a sum row, notes."""
    left, right = look.margin * 0.7, sheet.width - look.margin * 0.7
    y = look.margin + 6
    head = look.head.but(size=min(look.head.size, 18))
    title = fitted(sheet, w.heading(2, 6), head, right - left)
    sheet.state("title", title, sheet.text(left, y, title, head))
    sub = f"{w.pick(('Status', 'As of', 'Printed', 'Period to'))} {w.date()}"
    sheet.text(left, y + 16, fitted(sheet, sub, look.body, right - left), look.body)
    y += 44
    columns = w.whole(3, 9 if sheet.width > sheet.height else 7)
    rows = min(w.whole(6, 45), int((sheet.height - y - 80) / 15))
    y = _grid(sheet, w, look, left, y, right - left, rows, columns, sums=True)
    if w.chance(0.6):
        paragraph(
            sheet,
            w,
            left,
            y + 18,
            right - left,
            w.paragraph(1, 2),
            look.body.but(size=7.5),
            10,
            bottom=sheet.height - 20,
        )
    if w.chance(0.5):
        sheet.text(right, sheet.height - 18, f"{w.whole(1, 9)} / {w.whole(9, 40)}", look.body.but(size=8), "right")


def _grid(
    sheet: Sheet, w: Wording, look: Look, x: float, y: float, width: float, rows: int, columns: int, *, sums: bool = False
) -> float:  # fmt: skip
    """A table from baseline `y` on; with `sums`, the last row adds up the columns of figures. Returns its lower edge."""
    size = min(look.body.size, 10.0, max(5.5, width / columns / 7))
    style, bold = look.body.but(size=size), look.body.but(size=size, bold=True)
    row = size * float(w.rng.uniform(1.35, 1.9))
    first = width * (0.34 if columns < 6 else 0.24)
    edges = [x, *(x + first + (width - first) * i / (columns - 1) for i in range(columns))]
    ruled, upright, striped, inverse = w.chance(0.6), w.chance(0.45), w.chance(0.35), w.chance(0.35)
    top = y - row * 0.75
    if inverse:
        sheet.box(x, top, x + width, top + row, look.accent, None)
    kinds = [w.pick(("count", "decimal", "decimal", "date", "code", "word", "tick")) for _ in range(columns - 1)]
    if sums:
        kinds[-1] = "decimal"
    names = [w.adjective().capitalize(), *(w.noun().capitalize() for _ in range(columns - 1))]
    slanted = columns > 6 and w.chance(0.3)
    for i, name in enumerate(names):
        room = edges[i + 1] - edges[i] - 6
        heading = bold.but(colour=WHITE) if inverse else bold
        while sheet.measure(name, heading) > room and len(name) > 3:
            name = name[:-2] + "."
        if slanted and i and not inverse:
            sheet.turned(edges[i] + 8, y, name, heading, -20)
        else:
            sheet.text(edges[i] + 3, y, name, heading)
    totals = [0] * (columns - 1)
    for number in range(rows):
        y += row
        if striped and number % 2:
            sheet.box(x, y - row * 0.75, x + width, y + row * 0.25, (230, 235, 240), None)
        name = w.pick((w.goods(), w.place(), w.person(), w.noun().capitalize()))
        sheet.text(x + 3, y, fitted(sheet, name, style, first - 8), style)
        for i, kind in enumerate(kinds):
            _cell(sheet, w, look, kind, edges[i + 1], edges[i + 2], y, totals, i)
        if ruled:
            sheet.rule(x, y + row * 0.25, x + width, y + row * 0.25, 0.4)
    if sums:
        y += row
        sheet.rule(x, y - row * 0.75, x + width, y - row * 0.75, 1.0)
        named = sheet.text(x + 3, y, w.pick(("Total", "Sum", "All")), bold)
        for i, kind in enumerate(kinds):
            if kind == "decimal":
                text = f"{totals[i] / 10:,.1f}"
                words = sheet.text(edges[i + 2] - 4, y, text, bold, "right")
                if i == len(kinds) - 1:
                    sheet.state("total amount", text, words, named)
    low = y + row * 0.25
    if upright:
        for edge in (*edges[:-1], x + width):
            sheet.rule(edge, top, edge, low, 0.4)
    sheet.rule(x, top, x + width, top, 0.9)
    sheet.rule(x, low, x + width, low, 0.9)
    return low


def _cell(
    sheet: Sheet, w: Wording, look: Look, kind: str, left: float, right: float, y: float, totals: list[int], i: int
) -> None:  # fmt: skip
    style = look.body.but(size=min(look.body.size, 10.0, max(5.0, (right - left) / 8)))
    if kind == "decimal":
        value = w.whole(-99, 9999) if w.chance(0.1) else w.whole(1, 99999)
        totals[i] += value
        red = value < 0
        sheet.text(right - 4, y, f"{value / 10:,.1f}", style.but(colour=(190, 20, 20)) if red else style, "right")
    elif kind == "count":
        sheet.text(right - 4, y, str(w.whole(0, 999)), style, "right")
    elif kind == "date":
        text = f"{w.whole(1, 28):02}.{w.whole(1, 12):02}.{w.whole(0, 99):02}"
        sheet.text(left + 3, y, text, style)
    elif kind == "code":
        sheet.text(left + 3, y, w.code()[: max(3, int((right - left) / style.size / 0.7))], style)
    elif kind == "word":
        word = w.noun()
        while sheet.measure(word, style) > right - left - 6 and len(word) > 2:
            word = word[:-1]
        sheet.text(left + 3, y, word, style)
    elif w.chance(0.5):
        middle, s = (left + right) / 2, style.size * 0.35
        sheet.draw.line(
            sheet.px(middle - s, y - s, middle - s / 3, y, middle + s, y - 2 * s),
            (20, 110, 40),
            max(1, round(sheet.scale)),
        )
