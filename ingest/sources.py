"""`Source`: where the bytes of one file lie. A plain value that a plan stores and a worker opens."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of one file: a file, an object, or a member of an archive.

    `offset` is set where the bytes lie unpacked inside the object at `uri` (plain tar, stored zip) and can be read in
    place; a `member` without `offset` has to be decompressed first.
    """

    uri: str
    """Absolute file path, or `s3://`, `gs://`, `az://`, `http(s)://` URI; the archive's for its members."""
    member: str | None = None
    """Path inside the archive."""
    offset: int | None = None
    """First byte inside the object at `uri`."""
    size: int | None = None
    """Bytes of the file itself, uncompressed."""
    etag: str | None = None
    """Version of the object at `uri`: the store's etag, or "mtime_ns-size" of a local file. Detects change; is no identity."""

    @property
    def name(self) -> str:
        """What a message shows: the URI (without the query of an http one, which may carry a signature), or
        `archive!/member`."""
        uri = self.uri.partition("?")[0] if self.uri.startswith(("http://", "https://")) else self.uri
        return uri if self.member is None else f"{uri}!/{self.member}"

    @property
    def remote(self) -> bool:
        """Whether the bytes are reached over a network."""
        return "://" in self.uri

    @property
    def packed(self) -> bool:
        """Whether the bytes have to be decompressed before they can be read by range."""
        return self.member is not None and self.offset is None

    def to_json(self) -> dict[str, Any]:
        """Plain data; `Source.from_json` reads it."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Source:
        """The inverse of `to_json`."""
        return cls(data["uri"], data.get("member"), data.get("offset"), data.get("size"), data.get("etag"))
