"""Which files belong together, by name: RGB with its height, or a DSM with a DTM; labels set aside.

A file's role is a word at the end or the beginning of its name, set off by `_`, `-` or `.`, or its whole name, in any case:
`tile_rgb.tif`, `RGB-tile.tif`, `rgb.tif`. Where the name has none, the nearest folder named for a role gives it:
`images/tile.tif` with `heights/tile.tif`. What is left of the name, and the folder without role folders, is the key that
brings files together; files of one folder first, then of sibling folders. A name without any role stands for RGB where
heights carry one (`tile.tif` with `tile_ndsm.tif`), or for a file that holds all bands.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from posixpath import basename, dirname
from typing import Literal

Role = Literal["rgb", "height", "dsm", "dtm", "plain"]
"""`plain`: the name says nothing."""

RASTER_SUFFIXES = (".tif", ".tiff", ".gtiff", ".png", ".jpg", ".jpeg", ".jp2", ".webp", ".h5", ".hdf5")
DOCUMENT_SUFFIXES = (".pdf",)
ARCHIVE_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".zip")
OTHER_ARCHIVES = (".7z", ".bz2", ".gz", ".lz4", ".rar", ".tbz", ".tbz2", ".txz", ".xz", ".zst")

_WORDS: dict[str, str] = {
    **dict.fromkeys(("rgb", "img"), "rgb"),
    **dict.fromkeys(("ndsm", "chm", "agl", "height"), "height"),
    "dsm": "dsm",
    "dtm": "dtm",
    **dict.fromkeys(("label", "labels", "gt", "cls", "mask"), "label"),
}
_FOLDERS: dict[str, str] = {
    **_WORDS,
    **dict.fromkeys(("images", "image"), "rgb"),
    "heights": "height",
    **dict.fromkeys(("classes", "masks", "annotations"), "label"),
}
_ANY = "|".join(sorted(_WORDS, key=len, reverse=True))
_TAIL_WORD = re.compile(rf"(?:^|[_\-.])(?P<word>{_ANY})$", re.IGNORECASE)
_HEAD_WORD = re.compile(rf"^(?P<word>{_ANY})[_\-.](?P<key>.+)$", re.IGNORECASE)
_GAMUS_TAIL = re.compile(r"^(?P<key>.*?)(?P<word>IMG|RGB|AGL|CLS)$")  # `XAGL.h5`: base names end in what separates


@dataclass(frozen=True, slots=True)
class Name:
    """What the name of one file says."""

    path: str
    role: str
    """A Role, or "label"."""
    folder: str
    """Its own folder."""
    family: str
    """Its folder with the nearest role folder blanked: the same for sibling folders."""
    key: str
    """The rest of its name, case folded."""


@dataclass(frozen=True, slots=True)
class Group:
    """Files that make one image: paths by role."""

    rgb: str
    height: str | None = None
    dsm: str | None = None
    dtm: str | None = None


@dataclass(frozen=True, slots=True)
class Misfit:
    """A file that no image can be made of, and why."""

    path: str
    state: Literal["skipped", "failed"]
    reason: str


def skip_reason(path: str) -> tuple[str, str] | None:
    """(kind, reason) where a file met in a folder or archive is passed over by its name, else None."""
    name = basename(path)
    if name.startswith(".") or any(part.startswith(".") or part == "__MACOSX" for part in dirname(path).split("/")):
        return "hidden", "a hidden file"
    suffix = _suffix(name)
    if suffix in DOCUMENT_SUFFIXES:
        return "document", f"a document ({suffix}): this job reads rasters"
    if suffix not in RASTER_SUFFIXES:
        return "format", f"not a raster format that is read ({suffix or 'no suffix'})"
    if read_name(path).role == "label":
        return "label", "labels, by its name: neither RGB nor height"
    return None


def unread(path: str, *, documents: bool) -> bool:
    """Whether a file is passed over by its name: for rasters, or (`documents`) for pages, where no name says labels."""
    passed_over = skip_reason(path)
    return passed_over is not None and not (documents and passed_over[0] in ("document", "label"))


def is_other_archive(path: str) -> bool:
    """Whether a name says an archive, or a compressed file, of a kind that is not read: it may hold images."""
    return path.lower().endswith(OTHER_ARCHIVES) and not is_archive(path)


def is_archive(path: str) -> bool:
    """Whether a name says tar, tar.gz or zip."""
    return path.lower().endswith(ARCHIVE_SUFFIXES)


def read_name(path: str) -> Name:
    """Role, folder, family and key of a file, from its path alone."""
    folder, stem = dirname(path), basename(path)
    stem = stem[: len(stem) - len(_suffix(stem))]
    family, folder_role = _family(folder)
    role, key = _role(stem, path)
    return Name(path, role or folder_role or "plain", folder, family, key.casefold())


def image_path(rgb: str) -> str:
    """The path of an image, from that of its RGB file: without suffix, and without the role word where something is left."""
    folder, stem = dirname(rgb), basename(rgb)
    stem = stem[: len(stem) - len(_suffix(stem))]
    _, key = _role(stem, rgb)
    return "/".join(part for part in (folder, key) if part) or stem


def pair(paths: Iterable[str]) -> tuple[list[Group], list[Misfit]]:
    """Groups in the order of their RGB file, and the files that fit nowhere. Labels must have been taken out before.

    A file alone with role "rgb" or "plain" becomes a group without height: whether it holds height itself, its bands say.
    """
    names = [read_name(path) for path in paths]
    groups: list[Group] = []
    misfits: list[Misfit] = []
    left = _collect(names, "folder", groups, misfits, last=False)
    _collect(left, "family", groups, misfits, last=True)
    order = {name.path: i for i, name in enumerate(names)}
    groups.sort(key=lambda group: order[group.rgb])
    misfits.sort(key=lambda misfit: order[misfit.path])
    return groups, misfits


def _collect(names: list[Name], place: str, groups: list[Group], misfits: list[Misfit], *, last: bool) -> list[Name]:
    """Make the groups that files of one place give; returns the files left over (none when `last`)."""
    by_key: dict[tuple[str, str], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    members: dict[tuple[str, str], list[Name]] = defaultdict(list)
    for name in names:
        at = (getattr(name, place), name.key)
        by_key[at][name.role].append(name.path)
        members[at].append(name)
    left: list[Name] = []
    for at, roles in by_key.items():
        rgbs = roles["rgb"] or roles["plain"]
        heights, dsms, dtms = roles["height"], roles["dsm"], roles["dtm"]
        complete = len(heights) == 1 or (not heights and len(dsms) == len(dtms) == 1)
        if len(rgbs) == 1 and complete:
            group = Group(rgbs[0], heights[0]) if heights else Group(rgbs[0], None, dsms[0], dtms[0])
            groups.append(group)
            used = {group.rgb, group.height, group.dsm, group.dtm}
            for name in members[at]:
                if name.path in used:
                    continue
                if name.role == "plain":
                    groups.append(Group(name.path))
                else:
                    reason = f"not needed: {group.rgb} has its height from {group.height or group.dsm}"
                    misfits.append(Misfit(name.path, "skipped", reason))
        elif not last:
            left.extend(members[at])
        else:
            _explain(roles, groups, misfits)
    return left


def _explain(roles: dict[str, list[str]], groups: list[Group], misfits: list[Misfit]) -> None:
    """Files of one key that do not make a whole: lone RGB goes on alone, the rest is told what is missing."""
    rgbs = roles["rgb"] or roles["plain"]
    others = [path for role in ("height", "dsm", "dtm") for path in roles[role]]
    spare = roles["plain"] if roles["rgb"] else []
    if not others:
        if len(rgbs) == 1 or not roles["rgb"]:
            groups.extend(Group(path) for path in rgbs)
        else:
            misfits.extend(
                Misfit(path, "failed", f"ambiguous: {', '.join(rgbs)} have the same key; rename one") for path in rgbs
            )
        groups.extend(Group(path) for path in spare)
        return
    if not rgbs:
        reason = "no RGB beside it: expected the same name with `rgb` in place of its role word"
    elif len(rgbs) > 1 or max(len(roles[role]) for role in ("height", "dsm", "dtm")) > 1:
        reason = f"ambiguous: {', '.join([*rgbs, *others])} have the same key; rename or move all but one of each role"
    else:
        there, missing = ("DSM", "dtm") if roles["dsm"] else ("DTM", "dsm")
        reason = f"a {there} alone does not give height above ground: add the same name with `{missing}`, or an `ndsm`"
    misfits.extend(Misfit(path, "failed", reason) for path in [*rgbs, *others, *spare])


def _suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix}".lower() if dot and stem else ""


def _role(stem: str, path: str) -> tuple[str | None, str]:
    """(role word's role, what is left of the stem)."""
    tail = _TAIL_WORD.search(stem)
    if tail:
        return _WORDS[tail["word"].casefold()], stem[: tail.start()]
    tokens = re.split(r"[_\-.]", stem.casefold())
    if tokens[0].startswith("labels") or not {"label", "labels"}.isdisjoint(tokens):
        return "label", stem
    head = _HEAD_WORD.match(stem)
    if head:
        return _WORDS[head["word"].casefold()], head["key"]
    if path.lower().endswith((".h5", ".hdf5")):
        gamus = _GAMUS_TAIL.match(stem)
        if gamus:
            return _WORDS[gamus["word"].casefold()], gamus["key"].rstrip("_-.")
    return None, stem


def _family(folder: str) -> tuple[str, str | None]:
    parts = folder.split("/")
    for index in range(len(parts) - 1, -1, -1):
        role = _FOLDERS.get(parts[index].casefold())
        if role:
            return "/".join([*parts[:index], "*", *parts[index + 1 :]]), role
    return folder, None
