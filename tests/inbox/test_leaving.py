"""A photo leaves the inbox, whatever happens meanwhile: only the version that was processed leaves.

A test comes between the program and each of its system calls in turn: another photo takes the name,
a program writes into the file, the process is killed, the call fails. In each life this happens
once, at one call.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from support.studio import CONFIG
from support.system_calls import before_call

from pipeline.config.loading import load_config
from pipeline.errors import Failure, Reason
from pipeline.inbox.originals import AGAIN_SECONDS, Ending, Originals, version_at
from pipeline.inbox.tree import InboxTree
from pipeline.jobs.job import JobState, Output
from pipeline.ledger.ledger import Ledger
from pipeline.ledger.records import Pair
from pipeline.system.file_version import hash_file

MEMORY = Path("/dev/shm")
ARCHIVES = ("archive", "archive far", "archive again", "archive beside")
WAYS = (*ARCHIVES, "delete", "quarantine", "quarantine far", "refused", "refused far")
PHOTO, OTHER, PICTURE = b"the photo", b"another", b"its picture"


class Killed(BaseException):
    """Stands for the end of the process at this very point."""


class Leaving:
    """A project in which the photo `sub/a.png` is about to leave the inbox."""

    def __init__(self, root: Path, far: Path, way: str, ledger: Ledger) -> None:
        self.way, self.ledger, how = way, ledger, way.partition(" ")[0]
        self.inbox, self.target = root / "inbox", (far if "far" in way else root) / "target"
        self.path = self.inbox / "sub/a.png"
        self.path.parent.mkdir(parents=True)
        self.path.write_bytes(PHOTO)
        (root / "outbox").mkdir()
        (root / "outbox/a.png").write_bytes(PICTURE)
        after, failed = (how, "leave") if how in ("archive", "delete") else ("keep", "quarantine")
        key = "quarantine" if failed == "quarantine" else "archive"
        keys = f"after: {after}\nfailed: {failed}\n{key}: {self.target}\n"
        (root / "config.yaml").write_text(CONFIG + keys)
        self.sha256 = "" if how == "refused" else str(hash_file(self.path))
        self.picture = Output("stylized", "a.png", str(hash_file(root / "outbox/a.png")), 11, 1, 1)
        if way in ("archive again", "archive beside"):
            (self.target / "sub").mkdir(parents=True)
            held = PHOTO if way == "archive again" else bytes(len(PHOTO))
            (self.target / "sub/a.png").write_bytes(held)
        self.originals = Originals(load_config(root / "config.yaml"), ledger)

    def ending(self) -> Ending:
        version, how = version_at(self.path), self.way.partition(" ")[0]
        pair = Pair("sub/a.png", "s", "j", self.sha256, "r", JobState.DONE, 1, "a", (self.picture,),
                    {}, 0.0, "", None, 0.0)  # fmt: skip
        failure = Failure(Reason.TRUNCATED, "broken")
        rest = ((pair,), None) if how in ("archive", "delete") else ((), failure)
        return Ending("sub/a.png", version, self.sha256, *rest)

    def finish(self) -> None:
        self.originals.finish(self.ending())

    def finish_with(self, number: int, act: Callable[[], None]) -> list[str]:
        """Finish it, and act just before one of its system calls; returns the calls made so far."""
        ending = self.ending()
        with before_call(number, act) as made, suppress(Killed):
            self.originals.finish(ending)
        return made

    def look_again(self) -> None:
        """What the service does at its next look at the inbox."""
        tree = InboxTree(self.inbox)
        list(tree.walk())
        assert self.originals.put_back(tree.left)

    def files(self, where: Path) -> list[tuple[str, bytes]]:
        """Names and contents of all files but notes."""
        found = (path for path in where.rglob("*") if path.is_file())
        return [(p.name, p.read_bytes()) for p in found if not p.name.endswith(".json")]

    def contents(self, *places: Path) -> list[bytes]:
        return [content for place in places for _, content in self.files(place)]

    def assert_has_left(self, number: int) -> None:
        assert self.files(self.inbox) == [], number
        count = self.contents(self.target).count(PHOTO)
        assert count == (self.way != "delete"), (number, self.files(self.target))


@pytest.fixture
def far():
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(params=WAYS)
def lives(request, tmp_path, far, monkeypatch) -> Iterator[Callable[[], Iterator[Leaving]]]:
    """A new project for each system call that is made while its photo leaves."""
    with Ledger(tmp_path / "jobs.sqlite3") as ledger:

        def all_lives() -> Iterator[tuple[int, Leaving]]:
            for number in count(1):
                root, there = tmp_path / str(number), far / str(number)
                root.mkdir()
                there.mkdir()
                yield number, Leaving(root, there, request.param, ledger)
                shutil.rmtree(root)

        yield all_lives


def replace_photo(leaving: Leaving) -> None:
    new = leaving.inbox.parent / "new.png"
    new.write_bytes(OTHER)
    new.rename(leaving.path)


def write_into_photo(leaving: Leaving) -> None:
    leaving.path.write_bytes(OTHER)


@pytest.mark.parametrize("change", [replace_photo, write_into_photo])
@pytest.mark.slow
def test_a_photo_that_comes_while_its_predecessor_leaves_is_in_the_inbox_under_its_name(
    lives, change
):
    for number, leaving in lives():
        made = leaving.finish_with(number, partial(change, leaving))
        if len(made) < number:
            break
        leaving.look_again()
        assert leaving.files(leaving.inbox) == [("a.png", OTHER)], (number, made[number - 1])
        assert OTHER not in leaving.contents(leaving.target), number
    assert number > 10


def test_a_program_that_has_the_photo_open_for_writing_keeps_it_in_the_inbox(lives):
    _, leaving = next(lives())
    with leaving.path.open("r+b"):
        leaving.finish()
        assert leaving.files(leaving.inbox) == [("a.png", PHOTO)]
        assert leaving.originals.trouble == ""


@pytest.mark.slow
def test_a_photo_whose_leaving_is_killed_anywhere_is_whole_and_leaves_at_the_next_start(lives):
    def kill():
        raise Killed

    for number, leaving in lives():
        made = leaving.finish_with(number, kill)
        everywhere = leaving.contents(leaving.inbox, leaving.target)
        assert PHOTO in everywhere or leaving.way == "delete", number
        leaving.look_again()
        if leaving.path.exists():
            leaving.finish()
        leaving.assert_has_left(number)
        if len(made) < number:
            break


@pytest.mark.parametrize("number_of_error", [errno.ENOSPC, errno.EROFS, errno.EIO])
@pytest.mark.slow
def test_a_call_that_fails_leaves_no_empty_file_is_reported_and_tried_again(lives, number_of_error):
    def fail():
        raise OSError(number_of_error, os.strerror(number_of_error))

    for number, leaving in lives():
        originals = leaving.originals
        made = leaving.finish_with(number, fail)
        if len(made) < number:
            break
        seen = [(n, content) for n, content in leaving.files(leaving.target) if n[0] != "."]
        assert b"" not in dict(seen).values(), (number, made[number - 1])
        leaving.look_again()
        if leaving.path.exists():
            assert originals.trouble, (number, made[number - 1])
        originals.retry(AGAIN_SECONDS)
        if leaving.path.exists():  # it came back as a new version, which is found like any other
            leaving.finish()
        leaving.assert_has_left(number)
        assert not [name for name, _ in leaving.files(leaving.target) if name[0] == "."], number
        assert originals.trouble == ""


@pytest.mark.slow
def test_it_is_the_same_on_a_disk_without_hard_links(lives, monkeypatch):
    def no_links(*_, **__):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", no_links)
    test_a_photo_that_comes_while_its_predecessor_leaves_is_in_the_inbox_under_its_name(
        lives, replace_photo
    )
