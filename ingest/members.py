"""What is refused of an archive whatever its format: paths that leave it, and everything that is not a plain file."""

from __future__ import annotations

import re


def refuse_path(path: str) -> str | None:
    """Why a member of this path is refused, None where it is harmless. Nothing is ever written to a member's path; a path
    that tries to leave the archive still says that the archive is hostile or broken."""
    if not path or "\0" in path:
        return "its path is empty or holds a zero byte"
    if path.startswith(("/", "\\")) or re.match(r"^[A-Za-z]:", path):
        return f"its path {path!r} is absolute"
    if ".." in re.split(r"[/\\]", path):
        return f"its path {path!r} leaves the archive"
    return None


def clean_path(path: str) -> str:
    """A member's path with `./`, `//` and backslashes (of archives made on Windows) taken out."""
    return "/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", "."))
