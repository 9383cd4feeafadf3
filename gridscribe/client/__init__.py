"""Questions about pixels: `Client`, and the values that it answers with."""

from __future__ import annotations

from gridscribe.client.client import Client
from gridscribe.client.found import Heatmap, Label, Match, Region, TextMask
from gridscribe.client.page import Page, PageToken
from gridscribe.client.page_search import PageMatch
from gridscribe.client.pixel import Mask, Pixel
from gridscribe.client.prototypes import Prototypes

__all__ = [
    "Client", "Heatmap", "Label", "Mask", "Match", "Page", "PageMatch", "PageToken", "Pixel", "Prototypes", "Region", "TextMask",
]  # fmt: skip
