"""Mask files beside a photo: ``cat.jpg.mask.sky.png``, and the map ``cat.jpg.regions.png``.

White is inside the region, black outside. Like side files they are untrusted, and never photos.
"""

import re
from dataclasses import dataclass

from pipeline.config.file_kinds import PHOTOS
from pipeline.config.regions.options import AUTOMATIC, NAME

MAP = ""  # in place of a region's name: the file is a map of several regions

_SUFFIX = "(?:" + "|".join(sorted(re.escape(suffix) for suffix in PHOTOS)) + ")"
_BESIDE = re.compile(
    rf"(?P<photo>.+?{_SUFFIX})\.(?:mask(?:\.(?P<region>.*))?|(?P<map>regions))(?P<suffix>{_SUFFIX})",
    re.IGNORECASE | re.DOTALL,
)
_SHORT = re.compile(
    rf"(?P<stem>.+)\.mask\.(?P<region>{'|'.join(AUTOMATIC)}){_SUFFIX}", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class MaskName:
    """What the name of a mask file says.

    Attributes:
        photo: Its photo, relative to the inbox.
        region: Its region; `MAP`: it is a map of several.
        problem: Why it cannot be used, continuing "is"; "" where it can.
    """

    photo: str
    region: str
    problem: str = ""

    @property
    def words(self) -> str:
        """What the file is; continues "is"."""
        name = self.photo.rpartition("/")[2]
        kind = "the map of regions" if self.region == MAP else f"the mask of region {self.region}"
        return self.problem or f"{kind} of {name}, not a photo"


def mask_name(content: str) -> MaskName | None:
    """What a path in the inbox says about itself as a mask file; None: it is none by its name."""
    lower = content[-255:].lower()
    if ".mask." not in lower and ".regions." not in lower:
        return None  # almost all files: a scan asks for ten thousand
    folder, slash, name = content.rpartition("/")
    if (found := _BESIDE.fullmatch(name)) is not None:
        photo = folder + slash + found["photo"]
        region = MAP if found["map"] else found["region"] or ""
        return MaskName(photo, region, _problem(found["photo"], region, found))
    if (found := _SHORT.fullmatch(name)) is not None:
        better = f"{found['stem']}.jpg.mask.{found['region'].lower()}.png"
        problem = f"a mask without the suffix of its photo in its name: name it as in {better}"
        return MaskName(content, found["region"], problem)
    return None


def _problem(photo: str, region: str, found: re.Match[str]) -> str:
    if not found["map"] and not re.fullmatch(NAME, region):
        what = f"{region!r} is no name of a region" if region else "the region is missing"
        return f"a mask, but {what}: name it as in {photo}.mask.sky.png, with letters, digits, - _"
    if found["suffix"].lower() != ".png":
        kind = "regions" if found["map"] else f"mask.{region}"
        return f"a mask that is no PNG: save it as {photo}.{kind}.png"
    return ""
