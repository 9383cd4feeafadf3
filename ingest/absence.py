"""Whether an RGB image that came without height has none, or has one that is lost: broken, refused, or out of sight.

Only where height is truly absent may a model that can do without it predict. A height that was met and cannot be used stays
a failure, with its name: results from half of the input would look like any others.
"""

from __future__ import annotations

from posixpath import normpath

from gridscribe.ingest.pairing import RASTER_SUFFIXES, read_name

_ROLES = ("height", "dsm", "dtm")


class LostHeights:
    """Files that say by their names that they are heights, and that pairing never saw: of a format that is not read,
    refused in their archive, listed and not there."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}

    def note(self, source: str) -> None:
        """Remember `source`, the full name of a file that is not used, if it is called like a height."""
        place = _place(source)
        # `x_ndsm.tif.gz`: what it holds is named under what it is packed in
        inner = place.rpartition(".")[0]
        for path in (place, inner) if inner.lower().endswith(RASTER_SUFFIXES) else (place,):
            name = read_name(path)
            if name.role in _ROLES:
                self._names.setdefault((name.family, name.key), source)

    def of(self, source: str) -> str | None:
        """The full name of the lost height that would have paired with the RGB file `source`, if there is one."""
        name = read_name(_place(source))
        return self._names.get((name.family, name.key))


def must_have(source: str, *, georeferenced: bool, among_roles: bool, lost: LostHeights, gap: str | None) -> str | None:
    """Why the RGB file of this full name may not go without height though the model can; None where it may.

    `among_roles`: files beside it have a role in their names. `gap`: what of its place could not be listed. A picture that
    has neither a role in its name nor a place on Earth, among files that do have roles, is a preview or a photo, no tile.
    """
    height = lost.of(source)
    if height is not None:
        return f"by its name {height} is the height of it, and cannot be used"
    if gap is not None:
        return f"it may lie in what could not be listed of {gap}"
    if among_roles and not georeferenced and read_name(_place(source)).role == "plain":
        return (
            "without it, a picture that is not georeferenced and has no role in its name is not taken for an image among "
            "files that have one: add `_rgb` to its name if it is an image"
        )
    return None


def _place(source: str) -> str:
    """A full name such that one place has one: lists name local files in roundabout ways."""
    local = source.removeprefix("file://")
    return local if "://" in local else normpath(local)
