"""Image ids: a readable slug of the path and eight hex digits of what the file is.

Identity is made of content, never of the clock: a copy or a clone of the input elsewhere has the same ids. Files up to
`Limits.full_digest` are hashed whole. Larger ones are hashed by samples: size, the first and last MiB, and 64 evenly spread
blocks of 64 KiB; the first MiB of a TIFF usually holds the stored sizes of all its blocks, which change with compressed
content. An edit in place of a large uncompressed file can escape that (its version, `Source.etag`, still guards a running job).
Remote objects are identified by their etag, which the store changes with their content; members of remote archives by
their bytes again, but whole only up to `Limits.full_digest_remote`, so that a large one has another id than its local copy.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

from gridscribe.ingest.bytesio import Ranges
from gridscribe.ingest.limits import KIB, MIB

SAMPLE_EDGE, SAMPLE_BLOCK, SAMPLES = 1 * MIB, 64 * KIB, 64
READ = 4 * MIB


def content_digest(ranges: Ranges, full: int, *, head: bytes = b"") -> str:
    """Hex sha256 of a file of at most `full` bytes, or of samples of a larger one. `head`: its first bytes, if at hand."""
    size = ranges.size
    if size <= len(head):
        return hashlib.sha256(head[:size]).hexdigest()
    digest = hashlib.sha256()
    if size <= full:
        for start in range(0, size, READ):
            digest.update(ranges.fetch(start, min(READ, size - start)))
        return digest.hexdigest()
    # samples must not overlap into a full read of something small: edges shrink with the limit
    edge = min(SAMPLE_EDGE, max(1, full // 2))
    count = SAMPLES if full >= SAMPLES * SAMPLE_BLOCK else max(1, full // (4 * SAMPLE_BLOCK))
    digest.update(f"samples of {size} bytes:".encode())
    digest.update(ranges.fetch(0, edge))
    span = size - 2 * edge
    for index in range(count):
        start = edge + span * index // count
        digest.update(ranges.fetch(start, min(SAMPLE_BLOCK, size - edge - start)))
    digest.update(ranges.fetch(size - edge, edge))
    return digest.hexdigest()


def slug(path: str, longest: int = 80) -> str:
    """Lower-case ASCII letters, digits, `_` and `-` of a path; its tail where it is longer than `longest`."""
    text = re.sub(r"[^a-z0-9_]+", "-", path.lower()).strip("-_")
    return text[-longest:].strip("-_") or "image"


def image_id(path: str, parts: Sequence[tuple[str, int, str]]) -> str:
    """Id of the image at `path` (below the input root, or in its archive) made of `parts`: (role, bytes, digest) of its files."""
    identity = json.dumps([path, *map(list, parts)], ensure_ascii=True, separators=(",", ":"))
    return f"{slug(path)}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
