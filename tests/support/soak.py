"""Drops, changes and broken files while the daemon is killed again and again; then the reckoning.

python soak.py FOLDER SECONDS SEED      prints what was done and what was found amiss
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.jobs.job import JobState
from pipeline.ledger.ledger import Ledger
from pipeline.outbox.publisher import Outbox
from pipeline.system.file_version import hash_file
from support import ROOT, SUPPORT, TESTS
from support.fake_work import photo
from support.stock import amiss_among_versions, pictures, plain_picture, swap

CONFIG = """
styles: {mosaic: {image: "builtin:mosaic"}, waves: {image: waves.bmp}}
weights: vgg.pth
watch: {settle_seconds: 0.3, scan_seconds: 1}
limits: {free_bytes: 0}
"""


OURS = ["waves.bmp", "vgg.pth"]  # what the styles are made of; the second for both of them


class Soak:
    """A project folder, its daemon, and a person with bad habits."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.inbox, self.outbox = root, root / "inbox", Outbox(root / "outbox")
        self.inbox.mkdir(parents=True)
        for number, name in enumerate(OURS):
            plain_picture(root / name, number)
        (root / "config.yaml").write_text(CONFIG)
        self.rng = random.Random(seed)
        self.count = 0
        self.done: Counter[str] = Counter()
        self.peak_kb: list[int] = []

    @contextmanager
    def daemon(self, command: str, paint_seconds: float) -> Iterator[subprocess.Popen[bytes]]:
        """Runs while the context lasts, and no longer."""
        paths = os.pathsep.join([str(TESTS), str(ROOT)])
        with (self.root / "daemon.log").open("ab") as log:
            daemon = subprocess.Popen(
                [sys.executable, SUPPORT / "soak_daemon.py", command, self.root / "config.yaml"],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=os.environ | {"PYTHONPATH": paths, "PAINT_SECONDS": str(paint_seconds)},
            )
        try:
            yield daemon
        finally:
            daemon.kill()
            daemon.wait()

    def for_a_while(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self.daemon("watch", 0.2) as daemon:
                end = time.monotonic() + self.rng.uniform(0.5, 6.0)
                while time.monotonic() < min(end, until):
                    self.act()
                    time.sleep(self.rng.uniform(0.05, 0.4))  # a person's pace
                self.peak_kb.append(peak(daemon.pid))
                daemon.send_signal(signal.SIGTERM if self.rng.random() < 0.2 else signal.SIGKILL)
                self.done["terms" if daemon.wait(timeout=120) in (0, 1) else "kills"] += 1

    def act(self) -> None:
        name = self.rng.choice(
            ["drop", "drop", "drop", "rename in", "append", "replace", "delete", "broken", "poison",
             "folder", "painting"]
        )  # fmt: skip
        self.done[name] += 1
        getattr(self, name.replace(" ", "_"))()

    def fresh(self, name: str = "") -> Path:
        self.count += 1
        return photo(self.inbox / f"{self.count:05}{name}.png", seed=self.count)

    def drop(self) -> None:
        self.fresh()

    def rename_in(self) -> None:
        self.count += 1
        photo(self.root / "new.png", self.count).rename(self.inbox / f"{self.count:05}.png")

    def append(self) -> None:
        whole = self.fresh().read_bytes()
        path = self.inbox / f"{self.count:05}-slow.png"
        self.count += 1
        with path.open("wb") as file:
            for part in range(3):
                file.write(whole[len(whole) * part // 3 : len(whole) * (part + 1) // 3])
                file.flush()
                time.sleep(0.1)  # a slow copy

    def some(self) -> Path | None:
        found = sorted(self.inbox.rglob("*.png"))
        return self.rng.choice(found) if found else None

    def replace(self) -> None:
        path = self.some()
        if path is not None:
            self.count += 1
            photo(self.root / "new.png", self.count).rename(path)

    def delete(self) -> None:
        path = self.some()
        if path is not None:
            path.unlink()

    def broken(self) -> None:
        path = self.fresh("-broken")
        path.write_bytes(path.read_bytes()[:-30])

    def poison(self) -> None:
        if self.done["poison"] <= 2:
            self.fresh("-poison")

    def folder(self) -> None:
        self.count += 1
        album = self.root / f"album-{self.count}"
        photo(album / "in.png", self.count)
        album.rename(self.inbox / album.name)

    def painting(self) -> None:
        """A painting, or weights, of the same size and under the same time."""
        self.count += 1
        other = plain_picture(self.root / "new.bmp", 1000 + self.count)
        swap(self.root / self.rng.choice(OURS), other)

    # --- the reckoning ------------------------------------------------------------------

    def amiss(self, seconds: float) -> list[str]:
        # Quick now: drops came faster than a daemon that is always killed could paint.
        with self.daemon("run", 0.01) as daemon:
            code = daemon.wait(timeout=300 + 2 * seconds)
        found = [] if code in (0, 1) else [f"the last run ended with {code}"]
        lines = self.lines(found)
        found += self.pictures_amiss()
        seen = {line["content"] for line in lines}
        for path in self.inbox.rglob("*.png"):
            content = str(path.relative_to(self.inbox))
            if content not in seen:
                found.append(f"no line for {content}")
        doubled = Counter(line["job"] for line in lines if line["status"] == "done")
        found += [f"done {n} times: {job}" for job, n in doubled.items() if n > 1]
        if (self.outbox.root / ".staging").exists():
            found.append("staging is left")
        return found

    def lines(self, found: list[str]) -> list[dict]:
        lines = []
        for text in (self.outbox.root / "runs.jsonl").read_text().splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                found.append(f"torn line: {text[:80]}")
        self.done["lines"] = len(lines)
        return lines

    def pictures_amiss(self) -> list[str]:
        found = []
        with Ledger(self.root / ".state/jobs.sqlite3", read_only=True) as ledger:
            pairs = ledger.pairs()
            failed = {r.content for r in ledger.files.refusals() if r.status == "failed"}
            found += amiss_among_versions(self.outbox, ledger)
        ours = sorted(o.path for pair in pairs for o in pair.outputs)
        if pictures(self.outbox) != ours or len(set(ours)) != len(ours):
            found.append("the outbox holds other pictures than the ledger")
        by_pair = {(pair.content, pair.style): pair for pair in pairs}
        for path in self.inbox.rglob("*.png"):
            content = str(path.relative_to(self.inbox))
            sha = hashlib.sha256(path.read_bytes()).hexdigest()
            for style in ("mosaic", "waves") if content not in failed else ():
                pair = by_pair.get((content, style))
                wanted = JobState.FAILED if "poison" in content else JobState.DONE
                if pair is None or pair.sha256 != sha:
                    found.append(f"not made: {content} x {style}")
                elif pair.state is JobState.SKIPPED:
                    self.done["twins"] += 1
                elif pair.state is not wanted:
                    found.append(f"{content} x {style} is {pair.state}: {pair.failure}")
                elif wanted is JobState.DONE:
                    found += self.texts_amiss(pair, sha)
        self.done["pairs"] = len(pairs)
        return found

    def texts_amiss(self, pair, sha: str) -> list[str]:
        texts = [(self.outbox.root / output.path).read_text() for output in pair.outputs]
        whole = len(texts) == 2 and all(t.endswith("END") and sha in t for t in texts)
        # What the engine read is what lies there now: nothing was painted from an older file.
        lying = [hash_file(self.root / name) for name in OURS[pair.style != "waves" :]]
        used = all(digest in text for digest in lying for text in texts)
        found = [] if whole else [f"wrong pictures: {pair.target}"]
        return found if used else [*found, f"painted from another file: {pair.target}"]


def peak(process: int) -> int:
    """kB of memory at most so far; 0 where it is unknown."""
    try:
        return int(Path(f"/proc/{process}/status").read_text().split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):
        return 0


def soak(root: Path, seconds: float, seed: int) -> dict:
    """Live for a while, then reckon."""
    life = Soak(root, seed)
    life.for_a_while(seconds)
    amiss = life.amiss(seconds)
    return {
        "seed": seed,
        "seconds": seconds,
        "peak_kb": max(life.peak_kb),
        **life.done,
        "amiss": amiss,
    }


if __name__ == "__main__":
    report = soak(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
    print(json.dumps(report, indent=2))
    sys.exit(bool(report["amiss"]))
