"""Two photos' whole way, killed with SIGKILL at every step. Run by test_crash_points.py.

An audit hook sees every opening, linking, renaming, removing and making of files, and a trace on
the database every SQL statement, COMMIT among them; the process kills itself at the Nth of these.
Every third time the next process is killed too, on its way to recover. Once one may live,
all must be as if nothing had happened.

A life that is not killed comes first, and looks at the disk at each step. Where a step finds every
byte as the step before found it (it came after a SELECT, say), a kill leaves what a kill at the
step before leaves, and the next process cannot tell the two apart: one kill stands for both.

    python crash_points.py FOLDER SCENARIO   prints {"points": N, "kills": N, "failures": [...]}
"""

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipeline.jobs.job import Job, JobState
from pipeline.ledger.ledger import Ledger
from pipeline.outbox.publisher import Outbox
from support.stock import (
    amiss_among_versions,
    books,
    bring_back,
    make,
    make_job,
    pictures,
    read_log,
    recover,
)

STEPS = {"open", "os.link", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.scandir"}
FOREIGN = "a~2--mosaic.png"


def jobs(seed: int):
    """Both share a stem, and under the second choice of name lies another program's file."""
    return [make_job(name, seed=seed) for name in ("a.jpg", "a.png")]


def draft_of(job: Job) -> Job | None:
    """The draft of a job, in the scenario with drafts."""
    if sys.argv[2] != "draft":
        return None
    return replace(job, recipe=job.recipe.draft, full=job.recipe)


# Instead of a seed: the pictures of the life before come back, or no rule wants any.
RESTORED, PRUNED = -1, -2


def one_life(root: Path, seed: int) -> None:
    """What a service does from its start to its clean end."""
    outbox = Outbox(root / "outbox")
    outbox.prepare()
    with Ledger(root / "state" / "jobs.sqlite3") as ledger:
        recover(ledger, outbox)
        if seed == RESTORED:
            first = {job.id for job in jobs(0)}
            for version in ledger.history.earlier():
                if version.job in first:
                    bring_back(ledger, outbox, version)
            outbox.sweep()
            return
        if seed == PRUNED:
            accounts = books(ledger, outbox)
            for pair in ledger.pairs():
                if pair.outputs:
                    accounts.remove_unwanted(pair, 0.0)
            accounts.flush(0.0, force=True)
            return
        for job in jobs(seed):
            known = ledger.known().get((job.content, job.style))
            ended = known.job if known and known.state is JobState.DONE else ""
            draft = draft_of(job)
            if draft and not (known and known.pictured):
                make(ledger, outbox, draft, mark=f"{os.getpid()}")
            if ended != job.id:
                make(ledger, outbox, job, mark=f"{os.getpid()}")
    outbox.sweep()


def in_a_child(life: Callable[[], None]) -> int:
    """The status with which a process ends that lives so."""
    child = os.fork()
    if child == 0:
        try:
            life()
        except BaseException:
            traceback.print_exc()
            os._exit(3)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def killed_at(step: int, root: Path, seed: int) -> bool:
    """Live in a child that dies at a step; False if it came to its end before."""
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def life() -> None:
        at_each_step(count)
        one_life(root, seed)

    status = in_a_child(life)
    assert not os.WIFEXITED(status) or os.WEXITSTATUS(status) == 0, f"step {step}: it failed"
    return os.WIFSIGNALED(status)


def at_each_step(do: Callable[[], None]) -> None:
    connect = sqlite3.connect

    def traced(*args: object, **options: object) -> sqlite3.Connection:
        db = connect(*args, **options)
        db.set_trace_callback(lambda _: do())
        return db

    sqlite3.connect = traced
    sys.addaudithook(lambda event, _: do() if event in STEPS else None)


def steps_of(root: Path, seed: int) -> tuple[int, list[int]]:
    """How many steps a life has, and which of them find the disk in a new state."""
    found = root.parent / "steps"
    seen: list[str] = []
    looking = False

    def look() -> None:
        nonlocal looking
        if not looking:  # looking opens files, too
            looking = True
            seen.append(disk(root))
            looking = False

    def life() -> None:
        at_each_step(look)
        one_life(root, seed)
        looked = list(seen)
        found.write_text(json.dumps(looked))

    assert in_a_child(life) == 0, "the life that is not killed failed"
    states = json.loads(found.read_text())
    new = [step for step, state in enumerate(states, 1) if states[step - 2 : step - 1] != [state]]
    return len(states), new


def disk(root: Path) -> str:
    """All that a process finds which comes after: names, bytes, links, times.

    The index of the write-ahead log is left out: the first to open the database makes it again.
    """
    state, first = hashlib.sha1(usedforsecurity=False), {}
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = os.path.join(folder, name)  # noqa: PTH118  # thousands of times
            about = os.lstat(path)
            same = first.setdefault(about.st_ino, path)
            state.update(f"{path}|{same}|{about.st_mode}|{about.st_mtime_ns}|".encode())
            if not name.endswith("-shm"):
                with open(path, "rb") as file:  # noqa: PTH123
                    state.update(file.read())
        state.update(f"{folder}|{os.lstat(folder).st_mtime_ns}|".encode())
    return state.hexdigest()


def half_written(root: Path) -> list[str]:
    outbox = Outbox(root / "outbox")
    texts = {name: (outbox.root / name).read_text() for name in pictures(outbox)}
    return [name for name, text in texts.items() if name != FOREIGN and not text.endswith("END")]


def wrong(root: Path, seeds: list[int]) -> list[str]:
    """What a person would find amiss in the folders after all."""
    outbox = Outbox(root / "outbox")
    found = []
    with Ledger(root / "state" / "jobs.sqlite3", read_only=True) as ledger:
        pairs = ledger.pairs()
    want = {job.id for job in jobs(max(seeds[-1], 0))}
    state = JobState.SKIPPED if seeds[-1] == PRUNED else JobState.DONE
    if {pair.job for pair in pairs if pair.state is state} != want:
        found.append(f"not {state}: {pairs}")
    ours = sorted(output.path for pair in pairs for output in pair.outputs)
    count = 0 if seeds[-1] == PRUNED else 2 * len(pairs)
    if pictures(outbox) != sorted([*ours, FOREIGN]) or len(ours) != count:
        found.append(f"pictures: {pictures(outbox)}")
    for pair in pairs:
        marks = {(outbox.root / o.path).read_text().split()[1] for o in pair.outputs}
        if len(marks) > 1:
            found.append(f"pictures of two renderings: {pair.target}")
    if (outbox.root / FOREIGN).read_text() != "not ours":
        found.append("another program's file was touched")
    found += amiss_among_lives(root, seeds)
    pruned = Counter(line["job"] for line in read_log(outbox) if line["event"] == "job_pruned")
    if pruned != Counter(want if seeds[-1] == PRUNED else ()):
        found.append(f"run log: {pruned}")
    lines = Counter(line["job"] for line in read_log(outbox) if line["status"] == "done")
    made = [job for seed in seeds if seed != PRUNED for job in jobs(max(seed, 0))]
    made += [draft for job in made if (draft := draft_of(job))]
    if lines != Counter(job.id for job in made):
        found.append(f"run log: {lines}")
    if (outbox.root / ".staging").exists():
        found.append("staging is left")
    if list(outbox.root.rglob(".*.part")):
        found.append("half a copy is left")
    return found


def amiss_among_lives(root: Path, seeds: list[int]) -> list[str]:
    """Of each life but the last there is one whole set a pair, and no file besides."""
    outbox = Outbox(root / "outbox")
    with Ledger(root / "state" / "jobs.sqlite3", read_only=True) as ledger:
        kept = ledger.history.earlier()
    replaced = {RESTORED: [1]}.get(seeds[-1], seeds[:-1])
    found = []
    if Counter(version.job for version in kept) != Counter(
        job.id for seed in replaced for job in jobs(seed)
    ):
        found.append(f"versions: {kept}")
    with Ledger(root / "state" / "jobs.sqlite3", read_only=True) as ledger:
        return found + amiss_among_versions(outbox, ledger)


def far_apart() -> None:
    """Staging and the final names on two disks, as far as links go."""
    near = os.link

    def link(source, name, *, src_dir_fd=None, dst_dir_fd=None, **options):
        apart = src_dir_fd is None or str(source)[:1] != "."  # not a copy beside its name
        if apart and dst_dir_fd is not None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        near(source, name, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **options)

    os.link = link


def prepare(root: Path, scenario: str) -> list[int]:
    """The folders before the life that will be cut short; returns the recipes of all lives."""
    (root / "outbox").mkdir(parents=True)
    (root / "outbox" / FOREIGN).write_text("not ours")
    if scenario.startswith("far"):
        far_apart()
    pruned = {"prune": [0, PRUNED], "far prune": [0, PRUNED]}
    lives = {"again": [0, 1], "far again": [0, 1], "back": [0, 1, RESTORED], **pruned}
    seeds = lives.get(scenario, [0])
    for seed in seeds[:-1]:
        one_life(root, seed)  # their pictures stand, and the last life replaces them
    return seeds


def main() -> None:
    folder, scenario = Path(sys.argv[1]), sys.argv[2]
    before, root = folder / "before", folder / "root"
    seeds = prepare(before, scenario)
    shutil.copytree(before, folder / "first")
    one_life(folder / "first", seeds[-1])  # it imports what the others then need not open
    shutil.copytree(before, root)
    points, new = steps_of(root, seeds[-1])
    shutil.rmtree(root)
    rng = random.Random(7)
    failures = []
    for number, step in enumerate(new, 1):
        shutil.copytree(before, root)
        assert killed_at(step, root, seeds[-1]), f"step {step}: it came to its end"
        amiss = half_written(root)
        if number % 3 == 0:
            killed_at(rng.randrange(1, 60), root, seeds[-1])
            amiss += half_written(root)
        one_life(root, seeds[-1])
        failures += [f"step {step}: {what}" for what in amiss + wrong(root, seeds)]
        shutil.rmtree(root)
    print(json.dumps({"points": points, "kills": len(new), "failures": failures}))


if __name__ == "__main__":
    main()
