"""Forms: boxes, lines and combs to fill in, ticks and crosses, entries by hand or typewriter."""

from __future__ import annotations

from .look import WHITE, Look, fitted, paragraph
from .pictures import bar_code, logo, place_photograph, signature, stamp
from .sheet import Sheet, Style
from .words import Wording

_FIELDS = (
    ("name", ("Name", "Full name", "Surname, first name", "Applicant")),
    ("date of birth", ("Date of birth", "Born on", "Birth date")),
    ("address", ("Address", "Street and number", "Home address")),
    ("town", ("Town", "Postcode, town", "City")),
    ("telephone", ("Telephone", "Phone", "Tel. (day)")),
    ("occupation", ("Occupation", "Profession")),
    ("reference", ("Reference", "Policy no.", "File number", "Member no.")),
    ("employer", ("Employer", "Company")),
    ("amount", ("Amount", "Sum claimed", "Monthly income")),
    ("date of event", ("Date of event", "Valid from", "Start date")),
    ("remarks", ("Remarks", "Reason", "Notes")),
)


def form(sheet: Sheet, w: Wording, look: Look) -> None:
    """A form in numbered parts, filled in or partly empty."""
    left, right = look.margin * 0.8, sheet.width - look.margin * 0.8
    bottom = sheet.height - look.margin
    label = look.body.but(size=max(6.5, look.body.size * 0.8))
    y = look.margin
    if w.chance(0.6):
        logo(sheet, look, left, y - 16, 36)
    if w.chance(0.5):
        bar_code(sheet, w, look, right - 110, y - 20, 110, 22)
    title = fitted(sheet, w.heading(2, 4), look.head, right - left - 180)
    sheet.state("title", title, sheet.text(left + 48, y + 8, title, look.head))
    y += 34
    y = paragraph(
        sheet, w, left, y, right - left, w.paragraph(1, 2), label, label.size * 1.3, bottom=bottom, lively=False
    )
    filled = 0.0 if w.chance(0.12) else float(sheet.rng.uniform(0.6, 1.0))
    entry = look.hand(sheet, 13) if w.chance(0.72) else look.body.but(size=10, colour=look.ink)
    shape = w.pick(("boxes", "lines", "comb", "cells"))
    order = [_FIELDS[i] for i in sheet.rng.permutation(len(_FIELDS))]
    part = 1
    y += 8
    while order and y < bottom - 130:
        band = w.chance(0.6)
        name = f"{part}. {fitted(sheet, w.heading(1, 4), look.body.but(bold=True), right - left - 60)}"
        if band:
            sheet.box(left, y, right, y + 16, look.accent, None)
        sheet.text(
            left + 5, y + 12, name, look.body.but(size=10, bold=True, colour=WHITE if band else look.body.colour)
        )
        y += 22
        for _ in range(w.whole(1, 4)):
            if not order or y > bottom - 110:
                break
            pair = [order.pop() for _ in range(min(len(order), w.whole(1, 2)))]
            wide = (right - left - 10 * (len(pair) - 1)) / len(pair)
            for i, (key, labels) in enumerate(pair):
                x = left + i * (wide + 10)
                _entry(sheet, w, key, w.pick(labels), x, y, wide, label, entry, shape, w.chance(filled))
            y += 40
        y = _ticks(sheet, w, look, left, right, y + 4, label)
        part += 1
    if w.chance(0.25):
        place_photograph(sheet, right - 80, y - 4, 72, 88)
    date = w.date()
    y = bottom - 24
    sheet.rule(left, y, left + 150, y)
    named = sheet.text(left, y + label.size * 1.2, w.pick(("Place, date", "Date", "Dated")), label)
    if w.chance(filled):
        sheet.state("date", date, sheet.text(left + 4, y - 4, date, entry), named)
    sheet.rule(right - 190, y, right - 20, y)
    sheet.text(right - 190, y + label.size * 1.2, w.pick(("Signature", "Signature of applicant", "Signed")), label)
    if w.chance(filled):
        signature(sheet, look, right - 170, y - 6, 110)
    if w.chance(0.3):
        stamp(sheet, w, look, left + 260, bottom - 70)
    sheet.text(right, sheet.height - 18, f"Form {w.code()} ({w.whole(1990, 2031)})", label.but(size=6.5), "right")


def _entry(
    sheet: Sheet, w: Wording, key: str, label: str, x: float, y: float, width: float, small: Style, entry: Style, shape: str,
    filled: bool,
) -> None:  # fmt: skip
    """One field: its label, its frame, and in it the entry, which sits as badly as entries do."""
    named = sheet.text(x, y + small.size, label, small)
    top, base = y + small.size * 1.35, y + 33
    if shape == "boxes":
        sheet.box(x, top, x + width, base + 2, WHITE if w.chance(0.5) else None)
    elif shape == "cells":
        sheet.box(x, y - 2, x + width, base + 3, None, width=0.5)
    elif shape == "comb":
        count = int(width / 14)
        for i in range(count + 1):
            sheet.rule(x + i * 14, base - 6, x + i * 14, base + 2, 0.5)
        sheet.rule(x, base + 2, x + count * 14, base + 2, 0.5)
    else:
        at = x
        while at < x + width:
            sheet.rule(at, base + 1, at + 1.2, base + 1, 0.6)
            at += 3
    if not filled:
        return
    value = _value(w, key)
    if entry.hand is not None:
        value = "".join(c for c in value if entry.hand.can_write(c) or c == " ")
    value = fitted(sheet, value, entry, width - 8)
    if not value:
        return
    drop, shift = float(sheet.rng.normal(0, 1.2)), float(sheet.rng.uniform(3, 9))
    if shape == "comb" and entry.hand is None and len(value.replace(" ", "")) < width / 14:
        words = sheet.text(x + 4, base - 1, value, entry, gap=14)
    else:
        words = sheet.text(x + shift, base - 2 + drop, value, entry)
    sheet.state(key, " ".join(sheet.words[n].text for n in words), words, named)


def _value(w: Wording, key: str) -> str:
    makers = {
        "name": w.person,
        "date of birth": w.date,
        "address": w.street,
        "town": lambda: f"{w.postcode()} {w.place()}",
        "telephone": w.phone,
        "occupation": lambda: (
            f"{w.pick(('chief', 'senior', 'assistant', ''))} {w.noun()} {w.pick(('clerk', 'teacher'))}"
        ),
        "reference": w.code,
        "employer": w.firm,
        "amount": lambda: f"{w.whole(100, 99999):,}.{w.digits(2)}",
        "date of event": w.date,
        "remarks": lambda: w.sentence(3, 8),
    }
    return makers[key]()


def _ticks(sheet: Sheet, w: Wording, look: Look, left: float, right: float, y: float, small: Style) -> float:
    """A question with boxes to tick; some are ticked, crossed or filled. Returns where the next part may start."""
    question = f"{w.sentence(3, 6)}"
    sheet.text(left, y + small.size, fitted(sheet, question, small, right - left), small)
    y += small.size * 1.8
    x = left
    for _ in range(w.whole(2, 5)):
        text = w.pick(("yes", "no", w.noun(), w.adjective(), f"{w.whole(1, 12)} {w.noun()}"))
        wide = sheet.measure(text, small) + 34
        if x + wide > right:
            break
        edge = small.size
        if look.amount_form == 1:
            sheet.draw.ellipse(sheet.px(x, y, x + edge, y + edge), None, small.colour, max(1, round(0.8 * sheet.scale)))
        else:
            sheet.box(x, y, x + edge, y + edge)
        if w.chance(0.4):
            pen = max(1, round(1.2 * sheet.scale))
            way, o = w.whole(0, 2), float(sheet.rng.normal(0, 1))
            if way == 0:
                for line in ((x - 1, y + o, x + edge + 2, y + edge + 1), (x + edge + 1, y - 1, x - 1, y + edge + o)):
                    sheet.draw.line(sheet.px(*line), look.ink, pen)
            elif way == 1:
                tick = x + 1, y + edge * 0.5, x + edge * 0.4, y + edge, x + edge * 1.3, y - edge * 0.4 + o
                sheet.draw.line(sheet.px(*tick), look.ink, pen, "curve")
            else:
                sheet.box(x + 1.5, y + 1.5, x + edge - 1.5, y + edge - 1.5, look.ink, None)
        sheet.text(x + edge + 5, y + edge * 0.9, text, small)
        x += wide
    return y + small.size * 2.2
