"""What the first questions need, read as the service starts: indexes, and the text towers, which take seconds to load."""

from __future__ import annotations

import json
import logging
import time

from gridscribe.errors import GridscribeError
from gridscribe.service.state import State

log = logging.getLogger("gridscribe.service")
WORD = "water"


def warm(state: State) -> None:
    """Read them. What fails here is told in the log, and fails again for whoever asks."""
    begun = time.monotonic()
    told: dict[str, str] = {}
    for what, read in (("products", _rasters), ("documents", _documents)):
        try:
            told[what] = read(state)
        except GridscribeError as error:
            told[what] = type(error).__name__
    log.info(json.dumps({"warm": told, "seconds": round(time.monotonic() - begun, 2)}))


def _rasters(state: State) -> str:
    products = state.backend.products()
    for name, info in products.items():
        index = state.backend.index(name)
        if len(index) and info.alignment is not None and info.alignment.regions and index.regions.tables:
            list(state.client.match(WORD, top_k=1, product=name))
    return str(len(products))


def _documents(state: State) -> str:
    products = state.backend.documents.products()
    for name in products:
        state.backend.documents.index(name)
    return str(len(products))
