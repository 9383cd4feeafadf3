"""Questions about pixels: `Client`, and the values that it answers with."""

from __future__ import annotations

from gridscribe.client.client import Client
from gridscribe.client.found import Heatmap, Label, Match, Region, TextMask
from gridscribe.client.frames import geodataframe
from gridscribe.client.matches import Matches, PageMatches
from gridscribe.client.page import Page, PageToken
from gridscribe.client.page_search import PageMatch
from gridscribe.client.pixel import Mask, Pixel
from gridscribe.client.prototypes import Prototypes

__all__ = [
    "Client", "Heatmap", "Label", "Mask", "Match", "Matches", "Page", "PageMatch", "PageMatches", "PageToken", "Pixel",
    "Prototypes", "Region", "TextMask", "geodataframe",
]  # fmt: skip
