"""Why is a photo not taken? All rules in order, and `Intake`, which applies them.

The first rule that a file breaks is the reason why it is not taken:

1. The inbox exists, on the same disk as before. Otherwise work pauses: `scanner.Inbox` and
   `mount_guard` raise InboxError.
2. It is a regular file with the suffix of a picture, its name is not on the list of ignored names,
   and it is at most 64 folders deep. Refused in `tree`: ``ignored``, ``not_regular_file``,
   ``unsupported_format``, ``unreadable``.
3. It has settled: unchanged for `watch.settle_seconds`, not being downloaded, not open for writing
   (`settling`), with its end (`settling`), and its side files and masks have settled too. Until
   then it waits, in `scanner`, without a reason code. Refused there: ``hardlinked``, ``truncated``
   (an empty file), ``unreadable``, and ``ignored`` for side files and masks.
4. It can be read and decoded within `limits`. Fails in `examiner`: ``too_large``, ``vanished``,
   ``unreadable``, and the codes of `pipeline.imaging.sandbox`: ``unsupported_format``,
   ``truncated``, ``too_many_pixels``, ``too_many_frames``, ``animated``, ``decode_crash``,
   ``decode_timeout``, ``out_of_memory``, ``not_regular_file``. The failure counts for this version
   of the file; after a failure in `examiner.PASSING` it is examined again.
5. Its side files and masks are valid: here and in `masks`, ``sidecar_invalid``. Its side files or a
   match rule give it a style: here, ``no_match``.

Modules without a package are in `pipeline.inbox`. A photo that is taken may still have nothing to
do: `Planned.why` in `pipeline.jobs.plan` says why a pair of photo and style is not due. What each
code means: docs/reasons.md.

`run`, `run --dry-run` and `explain` all use `Intake`. It reads the ledger and writes nothing to it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.manifest import Manifest, Style
from pipeline.config.model import Config
from pipeline.config.regions.mask_files import mask_name
from pipeline.config.sidecar import Side, merge_side_files, side_files_of
from pipeline.errors import Failure, InputError, Reason
from pipeline.inbox.examiner import PASSING, Examination
from pipeline.inbox.masks import NONE, MaskBook, check_map
from pipeline.inbox.mount_guard import recognise
from pipeline.inbox.scanner import Found, Inbox, Refused, Scan
from pipeline.jobs.job import Photo
from pipeline.jobs.recipe import NO_MASKS, Masks, Recipe, Recipes
from pipeline.ledger.ledger import Ledger

_OWN = frozenset({Reason.SIDECAR_INVALID})  # failures that are not the examiner's
# Refusals that may end without a new version of the file: someone corrects a side file or a rule.
_MAY_END = frozenset({Reason.SIDECAR_INVALID, Reason.NO_MATCH})


@dataclass(frozen=True, slots=True)
class Accepted:
    """A version of a file that can be decoded: earlier refusals of it no longer count."""

    content: str
    version: str
    sha256: str


class Intake:
    """Reads the inbox and keeps what is known of each file.

    Args:
        config, manifest: What is wanted.
        ledger: Knows what was examined before a restart. It is only read.
    """

    def __init__(self, config: Config, manifest: Manifest, ledger: Ledger) -> None:
        self.config, self.manifest, self.ledger = config, manifest, ledger
        self.recipes = Recipes(config, manifest.styles)
        self.inbox = Inbox(config.inbox, config.watch.settle_seconds, config.watch.ignore)
        self.files: dict[str, Found] = {}  # those that have settled
        self.sides: dict[str, tuple[Path, str]] = {}
        self.masks = MaskBook()
        self._unusable: dict[str, str] = {}  # side files and masks, and why
        self._masked: dict[str, list[str]] = {}  # by photo: those of its masks
        self._digests: dict[tuple[str, str], str] = {}  # by (content, version)
        self._failed: dict[tuple[str, str], Failure] = {}
        self._refused: set[str] = set()  # photos refused for a reason that may end
        self._revision: tuple[int, int] | None = None
        self.recognised = False  # whether this is certainly the same inbox as before

    def scan(self, now: float, wall: float) -> Scan:
        """Read the inbox.

        Raises:
            InboxError: When the inbox is not there, or is another one than before.
        """
        scan = self.inbox.scan(now, wall)
        if not self.recognised:
            recognise(self.config.inbox, scan.names, self.ledger)
            self.recognised = bool(scan.settled)
        self.files = {found.content: found for found in scan.settled}
        self.sides = {name: (side.path, str(side.stamp)) for name, side in scan.sides.items()}
        self.masks.update(scan.masks.values())
        self._unusable, self._masked = dict(scan.unusable), {}
        for name in scan.unusable:
            if (mask := mask_name(name)) is not None:
                self._masked.setdefault(mask.photo, []).append(name)
        self._read_ledger()
        if scan.changed:
            # A file that comes back is examined like a new one.
            names = scan.present(content for content, _ in self._failed)
            self._failed = {key: why for key, why in self._failed.items() if key[0] in names}
        return scan

    def unexamined(self) -> list[Found]:
        """The settled photos and masks that were not examined yet."""
        photos = [found for found in self.files.values() if not self._is_examined(found)]
        return photos + self.masks.unexamined(self.files)

    def take_answer(self, answer: Examination) -> Accepted | Refused | None:
        """Keep the result of examining a file; None where the file has changed meanwhile."""
        found, version = answer.found, str(answer.found.stamp)
        key = (found.content, version)
        if answer.sha256:
            self._digests[key] = answer.sha256
            return Accepted(found.content, version, answer.sha256)
        if answer.failure is None:
            return None  # the next scan sees another version
        if answer.failure.code not in PASSING:
            self._failed[key] = answer.failure
        return Refused(found.content, found.path, answer.failure, "failed", version)

    def photos(self) -> tuple[list[Photo], list[Refused]]:
        """The photos examined so far, and those whose side file or mask is invalid."""
        photos, refused = [], []
        for found in self.files.values():
            digest = self._digests.get((found.content, str(found.stamp)))
            if digest is None:
                continue
            try:
                recipes = self._own_recipes(found)
            except _Pending:
                continue
            except InputError as error:
                failure = Failure(error.code, str(error))
                version = str(found.stamp)
                self._refused.add(found.content)
                refused.append(Refused(found.content, found.path, failure, "failed", version))
                continue
            photos.append(Photo(found.content, found.path, digest, recipes))
        return photos, refused

    def refuse_unmatched(self, content: str) -> Refused:
        """The refusal of a photo that gets no style."""
        failure = Failure(Reason.NO_MATCH, "no rule in match gives it a style")
        found = self.files[content]
        self._refused.add(content)
        return Refused(content, found.path, failure, "skipped", str(found.stamp))

    def accept_matched(self, contents: Iterable[str]) -> list[Accepted]:
        """Those of the photos that were refused before: they have styles now."""
        accepted = []
        for content in sorted(self._refused.intersection(contents)):
            photo = self.photo(content)
            if photo is not None:
                accepted.append(Accepted(content, self.version(content), photo.sha256))
            self._refused.discard(content)
        return accepted

    def version(self, content: str) -> str:
        """The version of a photo as of the last scan; "" where it has not settled or is gone."""
        found = self.files.get(content)
        return str(found.stamp) if found else ""

    def failure(self, content: str) -> Failure | None:
        """Why the present version of a file failed when it was examined; None if it did not."""
        return self._failed.get((content, self.version(content)))

    def photo(self, content: str) -> Photo | None:
        """One photo, if it has settled, was examined and has valid side files."""
        found = self.files.get(content)
        digest = self._digests.get((content, str(found.stamp))) if found else None
        if found is None or digest is None:
            return None
        try:
            return Photo(content, found.path, digest, self._own_recipes(found))
        except (InputError, _Pending):
            return None

    def doubt(self, content: str) -> None:
        """Examine a photo again, although its stamp is the same: a job found another content."""
        self._digests.pop((content, self.version(content)), None)

    def doubt_mask(self, path: Path) -> None:
        """Examine a mask again, if the file is one: a job found another content."""
        self.masks.doubt(path)

    def take_mask_answer(self, answer: Examination) -> bool:
        """Keep the result of examining a mask; False where the file has changed meanwhile."""
        return self.masks.take_answer(answer)

    def masked_regions(self, content: str) -> frozenset[str]:
        """The regions of a photo that masks beside it show."""
        return frozenset(self.masks.regions(content))

    def recipe_of(self, style: Style) -> Recipe | None:
        """The recipe of a style for photos without files of their own; None if it is unreadable."""
        return self.recipes.recipe_if_readable(style)

    @property
    def missing_files(self) -> str:
        """Which styles wait for files that are gone; "" where none does."""
        return self.recipes.trouble

    @property
    def waiting_styles(self) -> Collection[str]:
        """The names of these styles."""
        return self.recipes.troubles

    def _is_examined(self, found: Found) -> bool:
        key = (found.content, str(found.stamp))
        return key in self._digests or key in self._failed

    def _own_recipes(self, found: Found) -> dict[str, Recipe | None] | None:
        """The recipes of a photo that has side files or masks, by style; None where it has none.

        Raises:
            InputError: One of them is invalid.
            _Pending: A mask is not examined yet.
        """
        content, side = found.content, None
        if self._unusable:
            self._check_usable(content)
        masks = self.masks.of_photo(found)
        if masks is None:
            raise _Pending
        if self.sides:
            beside = self.masks.regions(content)
            side = merge_side_files(content, self.sides, self.manifest, self.config, beside)
        if side is None and masks is NONE:
            return None
        recipes = own_recipes(content, side, self.manifest, self.recipes, masks.masks)
        if masks.map is not None:
            check_map(masks.map, recipes, side, self.manifest)
        return recipes

    def _check_usable(self, content: str) -> None:
        """Check that each side file and mask of a photo is a file that can be read.

        Raises:
            InputError: One is a link, a folder or the like: painted without it, the photo would
                not be what was asked for.
        """
        for name in (*side_files_of(content), *self._masked.get(content, ())):
            if why := self._unusable.get(name):
                hint = "put a copy of the file there, or remove it"
                raise InputError(why, where=name, hint=hint, code=Reason.SIDECAR_INVALID)

    def _read_ledger(self) -> None:
        """Read what the ledger knows, again when another process (`retry`) has written to it."""
        revision = self.ledger.revision()
        if self._revision is not None and revision[0] == self._revision[0]:
            return
        self._revision = revision
        # Known digests stay: a refusal may have replaced a digest in the ledger.
        self._digests |= self.ledger.files.hashes()
        refusals = self.ledger.files.refusals()
        self._refused |= {r.content for r in refusals if r.failure and r.failure.code in _MAY_END}
        self._failed = {
            (seen.content, seen.stamp): seen.failure
            for seen in refusals
            if seen.status == "failed" and seen.failure and seen.failure.code not in _OWN | PASSING
        }


class _Pending(Exception):
    """A mask of a photo is not examined yet."""


def own_recipes(
    content: str,
    side: Side | None,
    manifest: Manifest,
    recipes: Recipes,
    masks: Masks = NO_MASKS,
) -> dict[str, Recipe | None]:
    """The recipes of a photo that has side files or masks, by style."""
    chosen: Iterable[str] = side.styles if side and side.styles else ()
    chosen = chosen or (style.name for style in manifest.styles_for(content))
    return {
        name: recipes.recipe_if_readable(manifest.styles[name], side, masks)
        for name in dict.fromkeys(chosen)
    }
