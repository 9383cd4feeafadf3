"""Letters (printed, typed or by hand) and notices (posters and slides: large, coloured, inverse and turned text)."""

from __future__ import annotations

from .look import WHITE, Look, Set, fitted, paragraph
from .pictures import bar_code, colour, logo, place_photograph, scribble, signature, square_code, stamp
from .sheet import Sheet
from .words import Wording


def letter(sheet: Sheet, w: Wording, look: Look) -> None:
    """Letterhead, addresses, date, subject, paragraphs, farewell, signature, a footer."""
    left, right, step = look.margin, sheet.width - look.margin, look.step
    body, bottom = look.body, sheet.height - look.margin
    y = look.margin + look.head.size
    sender = w.firm()
    if w.chance(0.6):
        logo(sheet, look, right - 46 if w.chance(0.5) else left, look.margin - 14, 40)
        head = look.head.but(colour=look.accent)
        words = sheet.text(sheet.width / 2, y, fitted(sheet, sender, head, right - left - 110), head, "centre")
        sheet.state("sender", " ".join(sheet.words[n].text for n in words), words)
        small = body.but(size=body.size * 0.75)
        sheet.text(sheet.width / 2, y + step, "  ".join([*w.address(), w.phone()]), small, "centre")
        sheet.rule(left, y + 1.6 * step, right, y + 1.6 * step, 1.0, look.accent)
        y += 3.5 * step
    else:
        sheet.state("sender", sender, sheet.text(left, y, sender, body))
        y += step
        for line in w.address():
            sheet.text(left, y, line, body)
            y += step
        y += step
    person = w.person()
    words = sheet.text(left, y, person, body)
    sheet.state("recipient", person, words)
    for line in w.address():
        y += step
        sheet.text(left, y, line, body)
    date = w.date()
    y += 1.5 * step
    key = sheet.text(right - 190, y, "Date:", body) if w.chance(0.4) else []
    sheet.state("date", date, sheet.text(right, y, date, body, "right"), key)
    if w.chance(0.6):
        y += step
        key = sheet.text(left, y, w.pick(("Our ref:", "Reference", "Ref.", "File no.")), body)
        code = w.code()
        sheet.state("reference", code, sheet.text(left + 90, y, code, body), key)
    y += 2 * step
    subject = fitted(sheet, w.heading(3, 8), body.but(bold=True), right - left)
    sheet.state("subject", subject, sheet.text(left, y, subject, body.but(bold=True)))
    y += 1.8 * step
    by_hand = w.chance(0.18)
    sheet.text(left, y, f"Dear {person},", body)
    y += 1.6 * step
    align: Set = w.pick(("left", "left", "justified"))
    if by_hand:
        hand = look.hand(sheet, body.size * float(sheet.rng.uniform(1.0, 1.4)))
        while y < bottom - 6 * step:
            line = fitted(sheet, w.sentence(8, 14), hand, (right - left) * 0.85).encode("ascii", "ignore").decode()
            sheet.text(left, y, "".join(c for c in line if c not in '"%;'), hand)
            y += hand.size * 1.7
    else:
        for _ in range(w.whole(1, 7)):
            if y > bottom - 8 * step:
                break
            y = paragraph(
                sheet, w, left, y, right - left, w.paragraph(), body, step, bottom=bottom - 7 * step, align=align
            )
            y += step * 0.7
    y += step
    close = left if w.chance(0.7) else sheet.width / 2
    sheet.text(close, y, w.pick(("Yours sincerely,", "Yours faithfully,", "With best wishes,", "Regards,")), body)
    signature(sheet, look, close + 4, y + 2.2 * step, float(sheet.rng.uniform(60, 120)))
    signer = w.person()
    sheet.state("signed by", signer, sheet.text(close, y + 4 * step, signer, body))
    if w.chance(0.5):
        sheet.text(sheet.width / 2, sheet.height - 20, f"{w.site()} · {w.phone()}", body.but(size=7), "centre")
    if w.chance(0.25):
        stamp(sheet, w, look, right - 90, look.margin + 120)


def notice(sheet: Sheet, w: Wording, look: Look) -> None:
    """A poster or slide: coloured ground, pictures, panels with inverse text, turned labels, a list."""
    rng = sheet.rng
    width, height = sheet.width, sheet.height
    dark = w.chance(0.4)
    ground = colour(rng, 0, 90) if dark else colour(rng, 190, 256)
    sheet.box(0, 0, width, height, ground, None)
    ink = colour(rng, 200, 256) if dark else colour(rng, 0, 80)
    body = look.body.but(colour=ink, size=float(rng.uniform(11, 18)))
    margin = look.margin
    title = look.head.but(size=float(rng.uniform(26, 52)), colour=ink)
    band = float(rng.uniform(70, 130))
    if w.chance(0.5):
        sheet.box(0, 0, width, band, look.accent, None)
        title = title.but(colour=WHITE)
    text = fitted(sheet, w.heading(2, 5), title, width - 2 * margin)
    sheet.state("title", text, sheet.text(width / 2, band * 0.68, text, title, "centre"))
    y = band + 24
    if w.chance(0.75):
        tall = height * float(rng.uniform(0.2, 0.38))
        wide = (width - 2 * margin) * float(rng.uniform(0.5, 1.0))
        place_photograph(sheet, margin, y, wide, tall)
        if w.chance(0.6):  # a caption on the picture itself
            over = body.but(colour=WHITE if w.chance(0.6) else (255, 230, 60), bold=True, size=body.size * 1.2)
            sheet.text(margin + 10, y + tall - 12, fitted(sheet, w.heading(2, 5), over, wide - 20), over)
        if wide < (width - 2 * margin) * 0.8:
            column = body.but(size=body.size * 0.8)
            paragraph(sheet, w, margin + wide + 14, y + column.size, width - 2 * margin - wide - 14, w.paragraph(), column,
                      column.size * 1.4, bottom=y + tall)  # fmt: skip
        y += tall + 30
    for _ in range(w.whole(2, 7)):
        if y > height - 170:
            break
        shape = sheet.px(margin, y - body.size * 0.6, margin + body.size * 0.5, y - body.size * 0.1)
        (sheet.draw.ellipse if w.chance(0.5) else sheet.draw.rectangle)(shape, look.accent)
        y = paragraph(
            sheet,
            w,
            margin + 18,
            y,
            width - 2 * margin - 18,
            w.sentence(4, 14),
            body,
            body.size * 1.35,
            bottom=height - 150,
        )
        y += body.size * 0.5
    panel = height - 120
    fill = colour(rng, 0, 130)
    sheet.draw.rounded_rectangle(sheet.px(margin, panel, width - margin, panel + 70), 8 * sheet.scale, fill)
    light = look.body.but(size=14, colour=colour(rng, 215, 256), bold=w.chance(0.5))
    date = f"{w.date()}"
    sheet.state("date", date, sheet.text(width / 2, panel + 28, date, light, "centre"))
    where = fitted(sheet, f"{w.place()}, {w.street()} \u2013 {w.time()}", light, width - 2 * margin - 12)
    sheet.state("place", where, sheet.text(width / 2, panel + 52, where, light, "centre"))
    if w.chance(0.6):
        label = look.head.but(size=15, colour=look.accent)
        sheet.turned(margin * 0.5, height * 0.75, fitted(sheet, w.heading(1, 3), label, height * 0.4), label, -90)
    if w.chance(0.5):
        price = look.head.but(size=20, bold=True, colour=WHITE)
        x, at, reach = width - 84, band + 60, 44
        sheet.draw.ellipse(sheet.px(x - reach, at - reach, x + reach, at + reach), (210, 40, 40))
        amount = f"{look.currency}{w.whole(2, 99)}.{w.pick(('00', '50', '99'))}"
        sheet.state("price", amount, sheet.turned(x, at + 6, amount, price, float(rng.uniform(-25, 25)), "centre"))
    if w.chance(0.4):
        square_code(sheet, width - margin - 60, panel - 72, 60)
    elif w.chance(0.4):
        bar_code(sheet, w, look, width - margin - 100, panel - 50, 100, 30)
    if w.chance(0.3):
        scribble(sheet, margin, panel - 40, 90, 24)
