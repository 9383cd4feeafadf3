"""The BPE tokens of a word, and which of its characters each stands for: those of open_clip's `SimpleTokenizer`."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from gridscribe.byte_pairs import byte_pairs


class Piece(NamedTuple):
    """One BPE token of a word; `start` and `end` are characters, fractions where a character's bytes are split."""

    id: int
    start: float
    end: float


@cache
def pieces(word: str) -> tuple[Piece, ...]:
    """The tokens that `SimpleTokenizer().encode(word)` gives, with the characters of `word` that each stands for.

    A word holds no white space. The pieces partition [0, len(word)]: each starts where the one before ends. A token is a
    run of UTF-8 bytes; where it begins or ends inside a character, the character's width is shared in proportion to the
    bytes. Raises ValueError where the tokenizer's cleaning changes more of the word than its case (so that characters
    would not match), and for an empty word.
    """
    made = byte_pairs()
    cleaned = made.clean_fn(word)
    spelled = word.replace("\u2019", "'").lower()  # the one repair of ftfy that keeps a character a character
    if not word or cleaned != spelled or len(cleaned) != len(word):
        raise ValueError(f"{word!r} is read by the tokenizer as {cleaned!r}: its characters do not match one to one")
    place: list[float] = []  # of each byte boundary, in characters
    for number, character in enumerate(cleaned):
        size = len(character.encode())
        place += [number + i / size for i in range(size)]
    place.append(float(len(cleaned)))
    found: list[Piece] = []
    byte = 0
    for part in made.pat.findall(cleaned):
        spelt = "".join(made.byte_encoder[b] for b in part.encode())
        for token in made.bpe(spelt).split(" "):
            size = len(token.removesuffix("</w>"))
            found.append(Piece(made.encoder[token], place[byte], place[byte + size]))
            byte += size
    return tuple(found)
