"""The disk refuses any one write to the jobs database: nothing is lost, nothing is done twice."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support.fake_work import done
from support.stock import pictures, read_log
from support.studio import STYLES, Studio

from pipeline.daemon.fault_pauses import AGAIN_SECONDS
from pipeline.errors import DiskFullError, Reason
from pipeline.ledger.database import Database

CONFIG = STYLES + "watch: {settle_seconds: 0}\nlimits: {free_bytes: 0}\n"
RULES = 'match: [{inbox: "*.png", styles: [mosaic]}]\n'
_OF_NO_RUN = ("ts", "run", "seconds", "attempt")


class Disk:
    """Takes every write but one: that is refused, before it begins or as it is committed."""

    def __init__(self, refused: int = -1, late: bool = False) -> None:
        self.writes, self.refused, self.late = 0, refused, late

    @contextmanager
    def counting(self) -> Iterator[None]:
        write = Database.write

        @contextmanager
        def counted(database: Database, *, synced: bool = True) -> Iterator[None]:
            number, self.writes = self.writes, self.writes + 1
            if number == self.refused and not self.late:
                raise DiskFullError("the disk is full")
            with write(database, synced=synced):
                yield
                if number == self.refused:
                    raise DiskFullError("the disk is full")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Database, "write", counted)
            yield


def until_idle(studio: Studio) -> None:
    for _ in range(400):
        studio.tick(0.01)
        if studio.service.fault_pause:
            studio.tick(AGAIN_SECONDS)
        while studio.executor.jobs:
            bad = "failing" in studio.executor.jobs[0][0].content
            studio.executor.fail(Reason.ENGINE_ERROR) if bad else studio.executor.end(done)
        if not studio.executor.events and studio.service.idle:
            with suppress(DiskFullError):  # reported; what is left is written by the next start
                studio.service.finish()
                if not studio.service.fault_pause:
                    return
    raise AssertionError(f"never idle: {studio.view.message}")


def live(root: Path, options: str, disk: Disk) -> dict[str, object]:
    """Photos of each kind, some taken away, a rule that changes; and all that came of it."""
    root.mkdir()
    studio = Studio(root, CONFIG + RULES + options)
    try:
        with disk.counting():
            drop_and_remove(studio, options)
        log = [
            {name: value for name, value in line.items() if name not in _OF_NO_RUN}
            for line in read_log(studio.outbox)
        ]
        pairs = studio.ledger.pairs()
        return {
            "log": sorted(map(str, log)),
            "pictures": pictures(studio.outbox),
            "pairs": sorted(str((p.content, p.state, p.closed, p.failure)) for p in pairs),
            "refused": sorted(str((r.content, r.failure)) for r in studio.ledger.files.refusals()),
            "files": sorted(
                str(path.relative_to(root))
                for folder in ("inbox", "archive", "quarantine")
                for path in (root / folder).rglob("*")
                if path.is_file()
            ),
        }
    finally:
        studio.close()


def drop_and_remove(studio: Studio, options: str) -> None:
    studio.put("good.png", 1)
    studio.put("good again.png", 1)
    studio.put("sub/no rule.png", 2)
    studio.put("failing.png", 3)
    studio.put("broken.png", 4).write_bytes(b"\x89PNG\r\n\x1a\nno more")
    (studio.inbox / "words.txt").write_text("no picture")
    until_idle(studio)
    for name in ("good.png", "failing.png", "broken.png", "words.txt"):
        (studio.inbox / name).unlink(missing_ok=True)
    studio.put("good.png", 5)  # the name once more, for another photo
    until_idle(studio)
    for rules in (options, "after: archive\n"):  # what is done is archived, too
        studio.configure(CONFIG + rules)
        studio.service.configure(studio.config, studio.manifest)
        until_idle(studio)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "late"),
    [("", False), ("after: archive\nfailed: quarantine\n", True)],
    ids=["kept, before the write", "moved, at the commit"],
)
def test_a_write_that_a_full_disk_refuses_is_made_after_the_pause(tmp_path, options, late):
    whole = Disk()
    expected = live(tmp_path / "whole", options, whole)
    assert whole.writes > 20
    wrong = {}
    for refused in range(whole.writes):
        found = live(tmp_path / f"refused-{refused}", options, Disk(refused, late))
        if found != expected:
            wrong[refused] = [name for name in expected if found[name] != expected[name]]
    assert not wrong
