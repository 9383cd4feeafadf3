"""What a service is told when it starts, checked."""

from __future__ import annotations

from dataclasses import dataclass

from gridscribe.errors import UsageError

LEAST_TOKEN = 16
"""Characters; a shorter token can be guessed."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One service."""

    output: str
    """URI of what is served."""
    alignment: str | None = None
    """Where alignment and document packages are read from, in place of what products say."""
    token: str | None = None
    """What requests must bear; None lets everybody ask."""
    origins: tuple[str, ...] = ()
    """Web pages of which origins may ask (CORS); `*` for all."""
    max_body: int = 64 << 20
    """Bytes of the largest request."""
    max_points: int = 1_000_000
    """Points of one question."""
    max_pixels: int = 1 << 26
    """Pixels of one answer."""
    timeout: float = 60.0
    """Seconds after which a question is given up."""
    threads: int = 8
    """Questions worked on at once that read much; as many again for pixels."""
    refresh: float = 30.0
    """Seconds after which it is looked anew what is committed."""
    pictures: bool = True
    """Whether the jobs' own inputs are shown (imagery and pages)."""

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < LEAST_TOKEN or not self.token.isascii() or " " in self.token):
            raise UsageError(
                f"the token has {len(self.token)} characters: at least {LEAST_TOKEN} ASCII ones without spaces are needed, "
                "such as `openssl rand -hex 32` makes"
            )
        for name, least in (("max_body", 1024), ("max_points", 1), ("max_pixels", 1), ("timeout", 0.1), ("threads", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"{name}={getattr(self, name)}: must be at least {least}")
        for origin in self.origins:
            if origin != "*" and not origin.startswith(("http://", "https://")):
                raise UsageError(f"origin {origin!r}: expected http(s)://host[:port], or *")
