"""Words, sentences, names, numbers, dates, amounts and addresses, drawn from a generator: the wording of all documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

import numpy as np

from gridscribe.byte_pairs import byte_pairs

from . import stems

T = TypeVar("T")
WordSource = Literal["stems", "vocabulary"]
WORD_SOURCES = "stems", "vocabulary"


@dataclass
class Wording:
    """Draws wording from `rng`; `script` names an alphabet of `stems.SCRIPTS` for running text, None is English.

    Of `source` "vocabulary", two words of running text in three are out of the tokenizer's own, so that a model meets most of
    its whole-word tokens; "stems" are a few hundred of our own, which make sentences that read like some.
    """

    rng: np.random.Generator
    script: str | None = None
    source: WordSource = "stems"

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[int(self.rng.integers(len(options)))]

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return bool(self.rng.random() < p)

    def whole(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def word(self) -> str:
        """One word of running text, lower case: an inflected stem, now and then an invented word."""
        if self.script is not None:
            letters = stems.SCRIPTS[self.script]
            return "".join(self.pick(letters) for _ in range(self.whole(2, 9)))
        if self.source == "vocabulary" and self.chance(2 / 3):
            return self.pick(vocabulary()) + (self.pick(stems.ENDINGS) if self.chance(0.15) else "")
        draw = self.rng.random()
        if draw < 0.30:
            return self.noun()
        if draw < 0.46:
            return self.verb()
        if draw < 0.58:
            return self.adjective()
        if draw < 0.76:
            return self.pick(stems.CONNECTIVES)
        if draw < 0.94:
            return self.pick(stems.DETERMINERS)
        return self.syllables(self.whole(2, 3))

    def noun(self) -> str:
        """A noun, singular or plural, sometimes a compound."""
        noun = self.pick(stems.NOUNS)
        if self.chance(0.06):
            return f"{noun}-{self.pick(stems.NOUNS)}"
        if not self.chance(0.35):
            return noun
        if noun.endswith("y") and noun[-2] not in "aeiou":
            return noun[:-1] + "ies"
        return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")

    def verb(self) -> str:
        """A verb with one of its regular endings, sometimes a prefix."""
        verb = self.pick(stems.VERBS)
        verb = self.pick(("re", "un", "over")) + verb if self.chance(0.06) else verb
        base = verb[:-1] if verb.endswith("e") else verb
        return self.pick((verb, verb, verb + "s", base + "ing", base + "ed", base + "er", base + "able"))

    def adjective(self) -> str:
        """An adjective, or the adverb or noun made from it."""
        adjective = self.pick(stems.ADJECTIVES)
        return self.pick((adjective, adjective, adjective, adjective + "ly", adjective + "ness", "un" + adjective))

    def syllables(self, count: int) -> str:
        """An invented word of `count` syllables, lower case."""
        parts = [
            self.pick(stems.ONSETS) + self.pick(stems.VOWELS) + (self.pick(stems.CODAS) if self.chance(0.4) else "")
            for _ in range(count)
        ]
        return "".join(parts)

    def sentence(self, low: int = 6, high: int = 20) -> str:
        """A sentence of `low` to `high` words, with capitals, commas, figures and a full stop."""
        words = [self.word() for _ in range(self.whole(low, high))]
        for i in range(1, len(words) - 1):
            draw = self.rng.random()
            if draw < 0.06:
                words[i] += ","
            elif draw < 0.08:
                words[i] = f"({words[i]})"
            elif draw < 0.095:
                words[i] += self.pick((";", ":", " \u2013", " \u2014"))
            elif draw < 0.115:
                words[i] = self.number()
            elif draw < 0.125:
                words[i] = self.surname()
            elif draw < 0.132:
                words[i] += self.pick(("'s", "'ll", "'ve", "\u2019s"))
            elif draw < 0.139:
                words[i] = f"{self.whole(1, 100)}%"
            elif draw < 0.145:
                words[i] = f'"{words[i]}"'
            elif draw < 0.149:
                words[i] = words[i].upper()
        words[0] = words[0][:1].upper() + words[0][1:]
        return " ".join(words) + self.pick((".",) * 9 + ("?", "!", ":"))

    def paragraph(self, low: int = 2, high: int = 6) -> str:
        """`low` to `high` sentences."""
        return " ".join(self.sentence() for _ in range(self.whole(low, high)))

    def heading(self, low: int = 1, high: int = 5) -> str:
        """A title of a few words, capitalised one way or another."""
        text = " ".join(self.word() for _ in range(self.whole(low, high)))
        return self.pick((text.capitalize(), text.title(), text.upper(), text.capitalize()))

    def surname(self) -> str:
        """An invented family name."""
        name = self.syllables(1) + (self.pick(stems.SURNAME_ENDS) if self.chance(0.7) else self.syllables(1))
        return ("Mc" if self.chance(0.04) else "") + name.capitalize()

    def person(self) -> str:
        """A name in full, with initials or a title at times."""
        given = self.pick(stems.GIVEN)
        form = self.whole(0, 5)
        middle = f" {self.pick(stems.GIVEN)[0]}." if self.chance(0.2) else ""
        if form == 0:
            return f"{given[0]}. {self.surname()}"
        if form == 1:
            return f"{self.pick(('Dr', 'Mr', 'Mrs', 'Ms', 'Prof.'))} {given}{middle} {self.surname()}"
        return f"{given}{middle} {self.surname()}"

    def place(self) -> str:
        """The name of a town, hill or village."""
        name = (self.syllables(1) + self.pick(stems.PLACE_ENDS)).capitalize()
        draw = self.rng.random()
        if draw < 0.15:
            return f"{self.pick(('Upper', 'Lower', 'Great', 'Little', 'New', 'Old', 'St', 'East'))} {name}"
        if draw < 0.22:
            return f"{name}-{self.pick(('on', 'under', 'by'))}-{self.syllables(1).capitalize()}"
        return name

    def firm(self) -> str:
        """The name of a company."""
        name = self.pick((self.surname(), self.place(), self.syllables(2).capitalize(), self.pick(stems.GOODS).title()))
        second = f" {self.pick(stems.NOUNS).title()}" if self.chance(0.5) else ""
        return f"{name}{second} {self.pick(stems.FIRMS)}"

    def street(self) -> str:
        """A street with a house number."""
        letter = self.pick(("", "", "", "A", "b", "/2"))
        return f"{self.whole(1, 399)}{letter} {self.syllables(2).capitalize()} {self.pick(stems.STREETS)}"

    def postcode(self) -> str:
        """A postcode in one of several countries' forms."""
        a, b = (chr(65 + self.whole(0, 25)) for _ in range(2))
        return self.pick(
            (
                f"{self.whole(10000, 99999)}",
                f"{a}{b}{self.whole(1, 99)} {self.whole(1, 9)}{b}{a}",
                f"{self.digits(4)} {a}{b}",
            )
        )

    def address(self) -> list[str]:
        """Street, and postcode with town: two lines."""
        return [self.street(), self.pick((f"{self.postcode()} {self.place()}", f"{self.place()}, {self.postcode()}"))]

    def digits(self, count: int) -> str:
        """That many digits."""
        return "".join(str(self.whole(0, 9)) for _ in range(count))

    def number(self) -> str:
        """A figure as it stands in running text."""
        return self.pick(
            (self.digits(1), str(self.whole(10, 99)), f"{self.whole(100, 99999):,}", f"{self.whole(1, 99)}.5")
        )

    def code(self) -> str:
        """A reference: letters, digits, dashes or slashes."""
        letters = "".join(chr(65 + self.whole(0, 25)) for _ in range(self.whole(1, 3)))
        return self.pick(
            (
                f"{letters}-{self.digits(self.whole(3, 6))}",
                f"{self.whole(2009, 2031)}/{self.digits(4)}",
                f"{letters}{self.digits(5)}",
                f"{self.digits(3)}-{self.digits(3)}-{letters}",
                f"#{self.digits(self.whole(4, 7))}",
            )
        )

    def phone(self) -> str:
        """A telephone number."""
        return self.pick(
            (f"+{self.whole(20, 99)} {self.digits(3)} {self.digits(6)}", f"({self.digits(3)}) {self.digits(3)}-{self.digits(4)}",
             f"0{self.digits(3)} {self.digits(5)}")
        )  # fmt: skip

    def site(self) -> str:
        """A web or mail address that exists nowhere."""
        name = self.syllables(2)
        return self.pick(
            (f"www.{name}.example", f"{self.pick(stems.NOUNS)}@{name}.example", f"https://{name}.example/{self.noun()}")
        )

    def date(self) -> str:
        """A date in one of many forms."""
        day, month, year = self.whole(1, 28), self.whole(1, 12), self.whole(1996, 2031)
        name = stems.MONTHS[month - 1]
        return self.pick(
            (
                f"{day} {name} {year}",
                f"{name} {day}, {year}",
                f"{day:02}.{month:02}.{year}",
                f"{day:02}/{month:02}/{year % 100:02}",
                f"{year}-{month:02}-{day:02}",
                f"{self.pick(stems.DAYS)}, {day} {name} {year}",
                f"{day}-{name[:3]}-{year}",
            )
        )

    def time(self) -> str:
        """A time of day."""
        return f"{self.whole(0, 23):02}:{self.whole(0, 59):02}"

    def goods(self) -> str:
        """An article for sale."""
        size = self.pick(
            (
                "",
                "",
                f" {self.whole(1, 90)} mm",
                f" {self.whole(1, 20)}x{self.whole(2, 50)}",
                f" {self.whole(50, 950)} g",
            )
        )
        return f"{self.pick(stems.ADJECTIVES)} {self.pick(stems.GOODS)}{size}".capitalize()


def money(cents: int, form: int = 0) -> str:
    """An amount of hundredths written one of four ways: 1,234.50, 1.234,50, 1 234.50, 1234.50."""
    text = f"{cents / 100:,.2f}"
    if form == 1:
        return text.translate(str.maketrans(",.", ".,"))
    return text.replace(",", ("", "", " ", "")[form]) if form else text


@cache
def vocabulary() -> tuple[str, ...]:
    """The whole words of three plain letters or more that the tokenizer has a token for, in the order of their ids."""
    whole = (spelt.removesuffix("</w>") for spelt in byte_pairs().encoder if spelt.endswith("</w>"))
    return tuple(word for word in whole if len(word) > 2 and word.isascii() and word.isalpha())
