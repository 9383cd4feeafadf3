"""Invoices and till receipts: articles, prices, sums that are right, and the facts that people ask of them."""

from __future__ import annotations

from .look import Look, fitted, paragraph
from .pictures import bar_code, colour, logo, signature, square_code, stamp
from .sheet import Sheet, Style
from .words import Wording, money


def invoice(sheet: Sheet, w: Wording, look: Look) -> None:
    """Seller, buyer, numbers and dates, a table of articles, subtotal, tax, total, terms of payment."""
    left, right, body, step = look.margin, sheet.width - look.margin, look.body, look.step
    step = min(step, 15)
    rng = sheet.rng
    bold = body.but(bold=True)
    y = look.margin + look.head.size
    if w.chance(0.7):
        logo(sheet, look, right - 54, look.margin - 10, 50)
    seller = fitted(sheet, w.firm(), look.head, right - left - 70)
    sheet.state("seller", seller, sheet.text(left, y, seller, look.head.but(colour=look.accent)))
    y += 1.2 * step
    for line in (*w.address(), w.phone(), w.site()):
        sheet.text(left, y, line, body)
        y += step
    y += 1.2 * step
    title = w.pick(("INVOICE", "Invoice", "TAX INVOICE", "Bill", "Credit note", "Statement of account"))
    sheet.state("title", title, sheet.text(left, y, title, look.head))
    top = y
    y += 2 * step
    sheet.text(left, y, w.pick(("Bill to:", "Customer", "Sold to")), bold)
    buyer = w.firm() if w.chance(0.5) else w.person()
    sheet.state("buyer", buyer, sheet.text(left, y + step, buyer, body))
    for i, line in enumerate(w.address()):
        sheet.text(left, y + (2 + i) * step, line, body)
    column = left + (right - left) * 0.56
    at = top + 1.2 * step
    for key, label, value in (
        ("invoice number", w.pick(("Invoice no.", "Number:", "Invoice #", "No.")), w.code()),
        ("date", w.pick(("Date", "Date:", "Invoice date")), w.date()),
        ("due date", w.pick(("Due date", "Payable by", "Due:")), w.date()),
        ("customer number", w.pick(("Customer no.", "Account:", "Client ID")), w.digits(w.whole(4, 8))),
    ):
        named = sheet.text(column, at, label, bold if look.amount_form % 2 else body)
        sheet.state(key, value, sheet.text(right, at, value, body, "right"), named)
        at += step * 1.15
    y = max(y + 5 * step, at + step)
    shares = 0.0, 0.52, 0.64, 0.82, 1.0
    edges = [left + share * (right - left) for share in shares]
    row = step * float(rng.uniform(1.15, 1.7))
    ruled, striped, inverse = w.chance(0.5), w.chance(0.4), w.chance(0.5)
    if inverse:
        sheet.box(left - 4, y - row * 0.75, right + 4, y + row * 0.3, look.accent, None)
    head = bold.but(colour=(255, 255, 255)) if inverse else bold
    for i, name in enumerate((w.pick(("Description", "Article", "Item")), w.pick(("Qty", "Units")), "Price", "Amount")):
        sheet.text(edges[0] if i == 0 else edges[i + 1], y, name, head, "left" if i == 0 else "right")
    start, total = y - row * 0.75, 0
    rows = min(w.whole(2, 16), max(2, int((sheet.height - look.margin - y - 11 * step) / row)))
    for number in range(rows):
        y += row
        if striped and number % 2 == 0:
            sheet.box(left - 4, y - row * 0.72, right + 4, y + row * 0.28, (236, 238, 242), None)
        count, price = w.whole(1, 40), w.whole(45, 29999)
        total += count * price
        sheet.text(edges[0], y, fitted(sheet, w.goods(), body, edges[1] - edges[0] - 22), body)
        sheet.text(edges[2], y, str(count), body, "right")
        sheet.text(edges[3], y, money(price, look.amount_form), body, "right")
        sheet.text(edges[4], y, money(count * price, look.amount_form), body, "right")
        if ruled:
            sheet.rule(left - 4, y + row * 0.28, right + 4, y + row * 0.28, 0.4)
    if ruled and w.chance(0.6):
        for x in (left - 4, *(edge + 6 for edge in edges[1:4]), right + 4):
            sheet.rule(x, start, x, y + row * 0.28, 0.4)
    y += row * 1.4
    rate = w.pick((5, 7, 10, 19, 20, 21))
    tax = round(total * rate / 100)
    label_x = left + (right - left) * 0.55
    for key, label, cents in (
        ("subtotal", w.pick(("Subtotal", "Net amount", "Sum")), total),
        ("tax", w.pick((f"VAT {rate}%", f"Tax ({rate}%)", f"Sales tax {rate} %")), tax),
        ("total amount", w.pick(("Total", "Total amount", "TOTAL DUE", "Amount due", "Grand total")), total + tax),
    ):
        style = bold if key == "total amount" else body
        if key == "total amount":
            sheet.rule(label_x, y - row * 0.8, right, y - row * 0.8, 1.0)
        named = sheet.text(label_x, y, label, style)
        value = money(cents, look.amount_form)
        symbol = sheet.measure(value, style) + 5
        sheet.state(key, value, sheet.text(right, y, value, style, "right"), named)
        if look.currency:
            sheet.text(right - symbol, y, look.currency, style, "right")
        y += row
    y += step
    if w.chance(0.7):
        y = paragraph(sheet, w, left, y, (right - left) * 0.7, w.paragraph(1, 3), body.but(size=body.size * 0.85), step,
                      bottom=sheet.height - look.margin)  # fmt: skip
    if w.chance(0.3) and y < sheet.height - 90:
        square_code(sheet, right - 62, sheet.height - look.margin - 50, 62)
    if w.chance(0.35):
        stamp(sheet, w, look, float(rng.uniform(left + 90, right - 120)), y - 4 * step)
    if w.chance(0.3) and y < sheet.height - 70:
        signature(sheet, look, left, y + 2 * step, 90)
    sheet.text(sheet.width / 2, sheet.height - 22, f"{seller} · IBAN {w.code()[:2]}{w.digits(2)} {w.digits(4)} {w.digits(4)}",
               body.but(size=7), "centre")  # fmt: skip


def receipt(sheet: Sheet, w: Wording, look: Look) -> None:
    """A narrow strip from a till: shop, articles with prices, total, payment, a bar code. Cut where the text ends."""
    rng = sheet.rng
    size = float(rng.uniform(7.5, 9.5))
    grey = int(rng.integers(10, 90))
    body: Style = look.body.but(size=size, colour=(grey, grey, min(255, grey + int(rng.integers(0, 40)))))
    left, right, middle = 12.0, sheet.width - 12, sheet.width / 2
    step, form = size * float(rng.uniform(1.25, 1.6)), look.amount_form
    y = 30.0
    if w.chance(0.4):
        logo(sheet, look, middle - 16, y - 12, 32)
        y += 36
    shop = fitted(sheet, w.firm().upper(), body.but(bold=True, size=size * 1.4), right - left)
    sheet.state("seller", shop, sheet.text(middle, y, shop, body.but(bold=True, size=size * 1.4), "centre"))
    for line in (*w.address(), f"Tel {w.phone()}"):
        y += step
        sheet.text(middle, y, fitted(sheet, line, body, right - left), body, "centre")
    y += 1.6 * step
    date, time = f"{w.whole(1, 28):02}/{w.whole(1, 12):02}/{w.whole(2001, 2031)}", w.time()
    sheet.state("date", date, sheet.text(left, y, date, body))
    sheet.state("time", time, sheet.text(right, y, time, body, "right"))
    y += step
    key = sheet.text(left, y, w.pick(("Receipt", "Bon", "Ticket")), body)
    number = w.digits(w.whole(4, 7))
    sheet.state("receipt number", number, sheet.text(right, y, number, body, "right"), key)
    _dashes(sheet, w, body, left, right, y + step)
    y += 2.2 * step
    total = 0
    for _ in range(w.whole(2, 18)):
        cents = w.whole(20, 4999)
        count = w.whole(2, 6) if w.chance(0.2) else 1
        total += cents * count
        amount = money(cents * count, form)
        room = right - left - sheet.measure(amount, body) - 10
        name = w.goods()
        sheet.text(left, y, fitted(sheet, name.upper() if look.leading > 1.35 else name, body, room), body)
        sheet.text(right, y, amount, body, "right")
        if count > 1:
            y += step
            sheet.text(left + 10, y, f"{count} x {money(cents, form)}", body)
        y += step
    _dashes(sheet, w, body, left, right, y)
    y += 1.6 * step
    large = body.but(bold=True, size=size * float(rng.uniform(1.1, 1.5)))
    named = sheet.text(left, y, w.pick(("TOTAL", "Total", "SUM", "To pay", "AMOUNT")), large)
    value = money(total, form)
    sheet.state("total amount", value, sheet.text(right, y, value, large, "right"), named)
    y += 1.6 * step
    given = total if w.chance(0.5) else -(-total // 1000) * 1000
    for key_name, label, cents in (
        ("paid", w.pick(("CARD", "Cash", "VISA", "Given")), given),
        ("change", "Change", given - total),
        ("tax", w.pick(("incl. VAT", "Tax", "VAT 20%")), round(total / 6)),
    ):
        key = sheet.text(left, y, label, body)
        value = money(cents, form)
        sheet.state(key_name, value, sheet.text(right, y, value, body, "right"), key)
        y += step
    y += step
    if w.chance(0.6):
        bar_code(sheet, w, look, left + 14, y, right - left - 28, 30)
        y += 52
    thanks = w.pick(("Thank you for your visit!", "Thank you", "Please come again", "Goods may be returned in 30 days"))
    sheet.text(middle, y, fitted(sheet, thanks, body, right - left), body, "centre")
    if w.chance(0.4):
        y += step
        sheet.text(middle, y, fitted(sheet, w.site(), body, right - left), body, "centre")
    if w.chance(0.15):
        sheet.draw.line(
            sheet.px(left, y * 0.4, right, y * 0.4 + 14), colour(rng, 0, 200), max(1, round(2 * sheet.scale))
        )


def _dashes(sheet: Sheet, w: Wording, body: Style, left: float, right: float, y: float) -> None:
    """A dividing line: drawn, dotted, or (text, as tills print it) of dashes."""
    if w.chance(0.3):
        sheet.text(left, y, "-" * max(3, int((right - left) / sheet.measure("-", body))), body)
    elif w.chance(0.5):
        sheet.rule(left, y - 3, right, y - 3)
    else:
        x = left
        while x < right:
            sheet.rule(x, y - 3, x + 3, y - 3)
            x += 6
