"""Every bound that ingest puts on what it is given: sizes of headers, blocks, scratch, caches. One frozen value."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True)
class Limits:
    """What ingest reads, allocates and writes to scratch at most. All sizes are bytes."""

    max_members: int = 2_000_000
    """Members of one archive, or files below one folder or prefix."""
    max_scratch: int = 8 * GIB
    """Decompressed bytes that one process holds in scratch at a time (a tar.gz, compressed zip members)."""
    documents: bool = False
    """Whether a tar.gz is unpacked for its documents, or for its rasters alone."""
    max_stream: int = 64 * GIB
    """Decompressed bytes that one tar.gz may run to, members that are passed over included."""
    max_ratio: float = 200.0
    """Decompressed over compressed size of a member above `ratio_floor`: more is refused as a decompression bomb."""
    ratio_floor: int = 64 * MIB
    """Members up to this decompressed size are not judged by their ratio (a blank tile compresses a thousandfold)."""
    max_block: int = 512 * MIB
    """Decoded size of the smallest piece that a file can be read by: a TIFF tile or strip, an HDF5 chunk, a whole PNG."""
    max_index: int = 64 * MIB
    """Size of a TIFF's directories with their tables of tile places."""
    max_document: int = 256 * MIB
    """Size of a list of URIs or a STAC document."""
    cache_block: int = 64 * KIB
    """Remote objects are fetched by multiples of this."""
    cache_bytes: int = 32 * MIB
    """What one opened remote file keeps in memory."""
    read_ahead: int = 8 * MIB
    """Longest fetch when a remote file is read in sequence."""
    gdal_cache: int = 40 * MIB
    """GDAL's block cache, for the whole process."""
    gdal_cache_strips: int = 192 * MIB
    """What it may grow by for images stored in full-width strips."""
    full_digest: int = 64 * MIB
    """Files up to this size are identified by all their bytes; larger ones by samples (see `ingest.identity`)."""
    full_digest_remote: int = 1 * MIB
    """The same for members of remote archives, whose bytes would have to be fetched for it."""

    def to_json(self) -> dict[str, Any]:
        """Plain data; `Limits(**data)` reads it."""
        return asdict(self)
