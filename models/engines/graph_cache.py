"""Converted networks kept on disk, so that a worker starts without torch and without converting again."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

GRAPH_VERSION = 1  # raised when the same package would be converted to another graph
_GRAPH = "graph.xml"

logger = logging.getLogger(__name__)


class Named(Protocol):
    """A package of any kind."""

    @property
    def digest(self) -> str:
        """What stands for all that is in it."""
        ...


def cache_root() -> Path:
    """`$GRIDSCRIBE_CACHE`, else `gridscribe` in `$XDG_CACHE_HOME` or `~/.cache`. Safe to delete at any time."""
    if own := os.environ.get("GRIDSCRIBE_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gridscribe"


def cached_graph(
    package: Named, window: int, version: str, convert: Callable[[Path], None], kind: str | None = None
) -> Path:
    """The folder's `graph.xml` for this package, size of window and OpenVINO `version`; `convert(path)` writes it where absent.

    `kind` tells graphs of one package apart. Processes may race: each writes its own folder and the first to rename it
    wins. The graph is the same for every precision, batch and number of threads.
    """
    facts = [GRAPH_VERSION, package.digest, window, version, *([kind] if kind else [])]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    folder = cache_root() / "graphs" / key
    if not (folder / _GRAPH).is_file():
        folder.parent.mkdir(parents=True, exist_ok=True)
        mine = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=folder.parent))
        try:
            convert(mine / _GRAPH)
            try:
                mine.rename(folder)
            except OSError:
                if not (folder / _GRAPH).is_file():
                    raise
                logger.debug("another process converted %s first", key)
        finally:
            shutil.rmtree(mine, ignore_errors=True)
    return folder / _GRAPH


def forget(graph: Path) -> None:
    """Remove a cached graph that turned out to be damaged."""
    logger.warning("the converted network in %s is damaged: converting again", graph.parent)
    shutil.rmtree(graph.parent, ignore_errors=True)
