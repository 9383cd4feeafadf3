"""What is said of generated objects: other words for the same, sentences of several, and phrases kept for the examination.

Captions of scenes are few and regular, and a text tower that starts from nothing knows a word from its captions alone. So words
are exchanged for others of the same meaning, and one phrase in `KEPT_BACK` that says more than a category ("yellow lorry",
"terracotta gabled roof") is never said in training in those words: the parts are known, the combination is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np

Rng = np.random.Generator

OTHER_WORDS: dict[str, tuple[str, ...]] = {
    "swimming pool": ("pool",),
    "house": ("home", "dwelling"),
    "block of flats": ("apartment building",),
    "large hall": ("warehouse", "industrial hall"),
    "shed": ("garden shed", "hut"),
    "lorry": ("truck",),
    "car": ("automobile",),
    "deciduous tree": ("broadleaf tree",),
    "leafless tree": ("bare tree",),
    "conifer": ("evergreen tree",),
    "medium-sized ": ("",),
    "zebra crossing": ("pedestrian crossing", "crosswalk"),
    "solar panels": ("photovoltaic panels",),
    "shipping container": ("cargo container",),
    "parking lot": ("car park",),
    "main road": ("wide road",),
    "street": ("road",),
    "unpaved track": ("dirt road",),
    "scrub": ("bushes",),
    "stacked goods": ("stored materials",),
    "heap of soil or rubble": ("pile of earth",),
    "crop field": ("farmland",),
    "ploughed field": ("bare field",),
    "railway": ("train line",),
    "terracotta": ("red tiled",),
    "metal": ("sheet metal",),
    "bare ground": ("bare soil",),
    "grass": ("lawn", "meadow"),
}
SIZES = ("small ", "medium-sized ", "tall ")
"""Words that a caption may begin with, and that leave it true when they are left out."""
KEPT_BACK = 6
SENTENCES = ("a satellite image of {}", "a satellite photo of {}", "an aerial view of {}", "{}")
_UNCOUNTED = (
    "nothing",
    "solar panels",
    "photovoltaic panels",
    "stacked goods",
    "stored materials",
    "bushes",
    "scrub",
    "farmland",
    "bare ground",
    "bare soil",
    "grass",
)

_VOWELS = ("a", "e", "i", "o", "un", "L-")  # "a U-shaped house", "an L-shaped house"


def wordings(phrase: str) -> list[str]:
    """Every way of saying `phrase`, itself first: each of `OTHER_WORDS` that it holds, kept or exchanged."""
    found = [word for word in OTHER_WORDS if f" {word.strip()} " in f" {phrase} "]
    found = [word for word in found if not any(word != longer and word in longer for longer in found)]
    ways = []
    for chosen in product(*((word, *OTHER_WORDS[word]) for word in found)):
        said = phrase
        for word, other in zip(found, chosen, strict=True):
            said = said.replace(word, other, 1)
        ways.append(said)
    return ways


@lru_cache(maxsize=1 << 14)
def true_of(caption: str | None, category: str) -> frozenset[str]:
    """Every phrase that is true of an object: its category and its caption, this also without its size, in any wording."""
    said = {category}
    if caption is not None:
        said |= {caption, *(caption.removeprefix(size) for size in SIZES)}
    return frozenset(way for one in said for way in wordings(one))


def kept_back(phrase: str, category: str) -> bool:
    """Whether `phrase` is left out of training: one in `KEPT_BACK` of those that say more than a category, by their digest."""
    if phrase in wordings(category):
        return False
    return int(hashlib.sha256(phrase.encode()).hexdigest()[:8], 16) % KEPT_BACK == 0


def said_of(caption: str | None, category: str, rng: Rng) -> str:
    """A phrase for an object: mostly its caption, else its category, in any wording that is not kept back."""
    about = caption if caption is not None and rng.random() < 0.8 else category
    ways = [way for way in wordings(about) if not kept_back(way, category)]
    if not ways:
        ways = wordings(category)
    return ways[0] if rng.random() < 0.5 else ways[int(rng.integers(len(ways)))]


def sentence(phrases: Sequence[str], rng: Rng) -> str:
    """One sentence that names the phrases, in their order: "an aerial view of a pond, a shed and bushes"."""
    named = [with_article(phrase) for phrase in phrases]
    joined = " and ".join([", ".join(named[:-1]), named[-1]]) if len(named) > 1 else named[0]
    return SENTENCES[int(rng.integers(len(SENTENCES)))].format(joined)


def with_article(phrase: str) -> str:
    """`a` or `an` before what can be counted."""
    if phrase.startswith(_UNCOUNTED):
        return phrase
    return f"{'an' if phrase.startswith(_VOWELS) else 'a'} {phrase}"
