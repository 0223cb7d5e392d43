"""The mask files of the inbox: which photo each belongs to, and what examining it has shown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config.manifest import Manifest
from pipeline.config.regions.mask_files import MAP, mask_name
from pipeline.config.regions.options import check_colors, merge_regions, unknown_colors
from pipeline.config.sidecar import Side
from pipeline.errors import InputError, Reason
from pipeline.inbox.examiner import Examination
from pipeline.inbox.scanner import Found
from pipeline.jobs.recipe import NO_MASKS, MaskFile, Masks

MOST_SHOWN = 4  # unknown colours of a map in one message


@dataclass(frozen=True, slots=True)
class PhotoMasks:
    """The examined masks of one photo, for its recipes; ``map`` is that of several regions."""

    masks: Masks = NO_MASKS
    map: Examination | None = None


NONE = PhotoMasks()


class MaskBook:
    """All mask files that have settled. A mask is examined together with its photo."""

    def __init__(self) -> None:
        self._of_photo: dict[str, dict[str, Found]] = {}  # by photo and region
        self._known: dict[tuple[str, str, str], Examination] = {}

    def update(self, masks: Iterable[Found]) -> None:
        """Take the mask files of a scan."""
        self._of_photo, names = {}, set()
        for found in masks:
            names.add(found.content)
            if (name := mask_name(found.content)) is not None:
                self._of_photo.setdefault(name.photo, {})[name.region] = found
        self._known = {key: seen for key, seen in self._known.items() if key[0] in names}

    def regions(self, photo: str) -> set[str]:
        """The regions that have a mask file beside a photo; `MAP` for a map of several."""
        return set(self._of_photo.get(photo, ()))

    def unexamined(self, photos: Mapping[str, Found]) -> list[Found]:
        """The masks of these photos that were not examined yet, each with its photo."""
        return [
            replace(mask, photo=photos[photo])
            for photo, masks in self._of_photo.items()
            if photo in photos
            for mask in masks.values()
            if _key(mask, photos[photo]) not in self._known
        ]

    def take_answer(self, answer: Examination) -> bool:
        """Keep the result of examining a mask; False where it has changed meanwhile."""
        if answer.found.photo is None or not (answer.sha256 or answer.failure):
            return False
        self._known[_key(answer.found, answer.found.photo)] = answer
        return True

    def doubt(self, path: Path) -> None:
        """Examine a mask again, although its stamp is the same: a job found another content."""
        self._known = {k: v for k, v in self._known.items() if v.found.path != path}

    def of_photo(self, photo: Found) -> PhotoMasks | None:
        """The masks of a photo; None while one is not examined yet.

        Raises:
            InputError: One cannot be used: ``sidecar_invalid``.
        """
        files = self._of_photo.get(photo.content)
        if files is None:
            return NONE
        found = {region: self._known.get(_key(mask, photo)) for region, mask in files.items()}
        examined = {region: answer for region, answer in found.items() if answer is not None}
        if len(examined) < len(found):
            return None
        for _, answer in sorted(examined.items()):
            if answer.failure is not None:
                what = answer.failure.message
                hint = "" if what.endswith(")") else "correct or remove the mask"  # it has one
                where, code = answer.found.content, Reason.SIDECAR_INVALID
                raise InputError(what, where=where, hint=hint, code=code)
        named = {r: MaskFile(a.found.path, a.sha256) for r, a in examined.items()}
        whole = named.pop(MAP, None)
        return PhotoMasks(Masks(named, whole), examined.get(MAP))


def check_map(found: Examination, styles: Iterable[str], side: Side | None, all_: Manifest) -> None:
    """Check that every colour of a map belongs to a region in at least one style of its photo.

    Raises:
        InputError: ``sidecar_invalid``.
    """
    over = side.regions if side else {}
    layers = [merge_regions(all_.styles[name].regions, over) for name in styles]
    where, code = found.found.content, Reason.SIDECAR_INVALID
    try:
        for regions in layers:
            check_colors(regions)
    except ValueError as error:
        raise InputError(str(error), where=where, code=code) from None
    unknown = list(found.colors)
    for regions in layers:
        unknown = unknown_colors(unknown, regions)
    if unknown and layers:
        listed = [f"{color} ({share:.0%} of the picture)" for color, share in unknown[:MOST_SHOWN]]
        more = len(unknown) - len(listed)
        words = ", ".join(listed) + (f" and {more} more" if more else "")
        what = f"no region has the colour {words}"
        hint = f'write regions: {{NAME: {{color: "{unknown[0][0]}"}}}}, or paint it black'
        raise InputError(what, where=where, hint=hint, code=code)


def _key(mask: Found, photo: Found) -> tuple[str, str, str]:
    return mask.content, str(mask.stamp), str(photo.stamp)
