"""From the files of the inbox to photos that can be planned, each examined once and for all."""

from collections.abc import Iterable
from pathlib import Path

from pipeline.config.manifest import Manifest
from pipeline.config.model import Config
from pipeline.config.sidecar import Side, wishes
from pipeline.errors import Failure, InputError, Reason
from pipeline.inbox.examiner import PASSING, Examined, Examiner
from pipeline.inbox.mount_guard import recognise, remember
from pipeline.inbox.scanner import Found, Inbox, Refused, Scan
from pipeline.jobs.job import Photo
from pipeline.jobs.recipe import Recipe, Recipes
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import SeenFile
from pipeline.system.file_version import Stamp

_OWN = frozenset({Reason.SIDECAR_INVALID})  # failures that are not the examiner's
# Refusals that end without a new version of the file: a side file or a rule was mended.
_MAY_END = frozenset({Reason.SIDECAR_INVALID, Reason.NO_MATCH})


class Intake:
    """Looks at the inbox and keeps what is known of each file.

    Args:
        config, manifest: What is wanted.
        ledger: Remembers across restarts what was examined.
        examiner: Looks into files that are new.
    """

    def __init__(
        self, config: Config, manifest: Manifest, ledger: Ledger, examiner: Examiner
    ) -> None:
        self.config, self.manifest, self.ledger = config, manifest, ledger
        self.recipes = Recipes(config)
        self.inbox = Inbox(config.inbox, config.watch.settle_seconds, config.watch.ignore)
        self.examiner = examiner
        self.files: dict[str, Found] = {}  # still now
        self.sides: dict[str, tuple[Path, str]] = {}
        self._digests: dict[tuple[str, str], str] = {}
        self._failed: dict[tuple[str, str], Failure] = {}
        self._told: set[str] = set()  # photos refused for a reason that may end
        self._revision: tuple[int, int] | None = None
        self._recognised = False
        self.left: list[SeenFile] = []  # refused files that the last scan did not find any more

    def scan(self, now: float, wall: float) -> Scan:
        """Read the inbox; what is new goes to the examiner.

        Raises:
            InboxError: When the inbox is not there, or not the one it was.
        """
        self.left = []
        scan = self.inbox.scan(now, wall)
        self._recognise(scan)
        self.files = {found.content: found for found in scan.still}
        self.sides = {name: (side.path, str(side.stamp)) for name, side in scan.sides.items()}
        self._recall()
        for found in scan.still:
            key = (found.content, str(found.stamp))
            if key not in self._digests and key not in self._failed:
                self.examiner.ask(found)
        return scan

    def learn(self, answer: Examined) -> Refused | None:
        """Take in what the examiner found; gives back the file if it is to be refused."""
        found, version = answer.found, str(answer.found.stamp)
        key = (found.content, version)
        if answer.sha256:
            self._digests[key] = answer.sha256
            self.ledger.files.record_hash(found.content, version, answer.sha256)
            return None
        if answer.failure is None:
            return None  # changed meanwhile: the next scan sees another version
        if answer.failure.code not in PASSING:
            self._failed[key] = answer.failure
        return Refused(found.content, found.path, answer.failure, "failed", version)

    def photos(self) -> tuple[list[Photo], list[Refused]]:
        """The photos examined so far, and files whose side file is wrong."""
        photos, refused = [], []
        for found in self.files.values():
            digest = self._digests.get((found.content, str(found.stamp)))
            if digest is None:
                continue
            try:
                recipes = self._own_recipes(found.content)
            except InputError as error:
                failure = Failure(error.code, str(error))
                version = str(found.stamp)
                refused.append(Refused(found.content, found.path, failure, "failed", version))
                continue
            photos.append(Photo(found.content, found.path, digest, recipes))
        return photos, refused

    def version(self, content: str) -> str:
        """The version of a photo as it was examined; "" where it is not still or not there."""
        found = self.files.get(content)
        return str(found.stamp) if found else ""

    def photo(self, content: str) -> Photo | None:
        """One photo, if it is still and examined and its side files are right."""
        found = self.files.get(content)
        digest = self._digests.get((content, str(found.stamp))) if found else None
        if found is None or digest is None:
            return None
        try:
            return Photo(content, found.path, digest, self._own_recipes(content))
        except InputError:
            return None

    def doubt(self, content: str) -> None:
        """A job found something else in a photo: it is examined again, whatever its stamp says."""
        self._digests.pop((content, self.version(content)), None)

    def refused(self, refused: Refused) -> None:
        """The books hold a refusal now."""
        if refused.failure.code in _MAY_END:
            self._told.add(refused.content)

    def accepted(self, contents: Iterable[str]) -> None:
        """These photos have styles: what was held against them is forgotten."""
        for content in self._told.intersection(contents):
            photo = self.photo(content)
            if photo is not None:
                self.ledger.files.record_hash(content, self.version(content), photo.sha256)
            self._told.discard(content)

    def standing(self, content: str) -> str:
        """The version that lies under a photo's name at this moment; "" where nothing does."""
        try:
            return str(Stamp.of((self.config.inbox / content).lstat()))
        except OSError:
            return ""

    def _own_recipes(self, content: str) -> dict[str, Recipe | None] | None:
        side = None
        if self.sides:
            side = wishes(content, self.sides, self.manifest, self.config)
        return None if side is None else own_recipes(content, side, self.manifest, self.recipes)

    def _recognise(self, scan: Scan) -> None:
        """Once it is certain that this is the inbox, what is gone from it is gone."""
        if not self._recognised:
            recognise(self.config.inbox, scan.names, self.ledger)
            if scan.still:
                remember(self.config.inbox, self.ledger)
                self._recognised = True
        if scan.changed and scan.whole:
            self.ledger.close_missing(scan.names)
            self.left = self.ledger.files.forget_refusals(scan.names)
            if self.left:
                self._revision = None  # to be read anew

    def _recall(self) -> None:
        """What the ledger knows; read again when another process (`retry`) has written to it."""
        revision = self.ledger.revision()
        if self._revision is not None and revision[0] == self._revision[0]:
            return
        self._revision = revision
        # What is known already stays: a refusal may have taken a digest's place in the ledger.
        self._digests |= self.ledger.files.hashes()
        refusals = self.ledger.files.refusals()
        self._told |= {r.content for r in refusals if r.failure and r.failure.code in _MAY_END}
        self._failed = {
            (seen.content, seen.stamp): seen.failure
            for seen in refusals
            if seen.status == "failed" and seen.failure and seen.failure.code not in _OWN | PASSING
        }


def own_recipes(
    content: str, side: Side, manifest: Manifest, recipes: Recipes
) -> dict[str, Recipe | None]:
    """The recipes of a photo that side files speak about, by style."""
    chosen: Iterable[str] = side.styles or (s.name for s in manifest.styles_for(content))
    return {name: recipes.usable(manifest.styles[name], side) for name in dict.fromkeys(chosen)}
