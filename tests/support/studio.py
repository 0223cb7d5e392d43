"""A service with real files, ledger and planner, whose executor and clock tests move by hand."""

import subprocess
from contextlib import suppress
from pathlib import Path

from pipeline.config.loading import load_config
from pipeline.config.manifest import load_manifest
from pipeline.daemon.instance import OutboxLock
from pipeline.daemon.service import Service
from pipeline.jobs.job import JobState
from pipeline.ledger.ledger import Ledger
from pipeline.monitoring.view import View
from pipeline.outbox.publisher import Outbox
from support.fake_work import FakeExecutor, done, photo
from support.kept_decoders import KeptDecoder
from support.stock import pictures, read_log

STYLES = 'styles:\n  mosaic: {image: "builtin:mosaic"}\n'


CONFIG = STYLES + "watch: {settle_seconds: 0}\nlimits: {free_bytes: 0}\n"


class Studio:
    """A project folder with its service; time goes on by a second a tick."""

    def __init__(self, root: Path, config: str = CONFIG, slots: int = 1) -> None:
        self.root, self.slots = root, slots
        self.lock: OutboxLock | None = None  # on the outbox, from the next `again`
        self.now, self.wall = 1000.0, 2e9
        self.inbox, self.outbox = root / "inbox", Outbox(root / "outbox")
        self.inbox.mkdir(exist_ok=True)
        self.configure(config)
        self.open()

    def configure(self, text: str) -> None:
        path = self.root / "config.yaml"
        path.write_text(text)
        self.config = load_config(path)
        self.manifest = load_manifest(self.config, path)

    def open(self) -> None:
        path = self.root / ".state" / "jobs.sqlite3"
        self.ledger = Ledger(path, clock=lambda: self.wall, busy_seconds=0.0)
        self.executor, self.view = FakeExecutor(self.slots), View()
        self.lines: list[dict] = []
        self.service = Service(
            self.config, self.manifest, self.ledger, self.executor, self.view,
            self.lines.append, patient=True, lock=self.lock,
        )  # fmt: skip
        self.service.examiner._decoder = KeptDecoder(self.config.limits, preallocated=0)
        self.service.start()

    def close(self) -> None:
        self.service.close()
        self.ledger.close()

    def again(self) -> None:
        """The process is gone with all it held in memory, and is started again."""
        self.close()
        self.open()

    def tick(self, seconds: float = 1.0) -> None:
        self.now += seconds
        self.wall += seconds
        self.service.wake()
        self.service.tick(self.now, self.wall)
        if self.service.outcomes.checks.waiting and not self.executor.broken:
            for _ in range(2):  # a check begins, and ends at once
                self.service.tick(self.now, self.wall)
        hook = self.service.hooks.running
        if hook is not None:  # a real process: what the clock says has gone by, it has had
            with suppress(subprocess.TimeoutExpired):
                hook.wait(seconds)

    def examined(self) -> None:
        """The examiner works in a thread: wait until it has seen all that it was given."""
        while self.service.examiner.pending and not self.service.fault_pause:
            self.tick(0.0)

    def until_running(self, count: int = 1) -> None:
        for _ in range(2000):
            self.tick(0.01)
            if len(self.executor.jobs) >= count:
                return
        raise AssertionError(f"nothing runs: {self.view.message} {self.lines}")

    def until_idle(self, how=done) -> None:
        for _ in range(3000):
            self.tick(0.01)
            while self.executor.jobs:
                self.executor.end(how)
            if not self.executor.events and self.service.idle:
                self.service.finish()
                return
        raise AssertionError(f"never idle: {self.view.message}")

    def fail(self, code) -> None:
        """The running job fails for good: as often as it is tried."""
        job = self.executor.fail(code)
        for _ in range(1000):
            self.tick(0.5)
            if self.ledger.pair(job.content, job.style).state is JobState.FAILED:
                return
            while self.executor.jobs:
                again = self.executor.jobs[0][0].id == job.id
                self.executor.fail(code) if again else self.executor.end()
        raise AssertionError(f"it does not fail: {self.view.message}")

    def put(self, name: str, seed: int = 0) -> Path:
        return photo(self.inbox / name, seed)

    def states(self) -> dict[str, str]:
        return {pair.content: pair.state.value for pair in self.ledger.pairs()}

    def codes(self) -> dict[str, str]:
        log = read_log(self.outbox)
        return {line["content"]: line["error"]["code"] for line in log if line["error"]}

    def good_one_survives(self) -> None:
        """A good photo, dropped now, is painted as if nothing had happened."""
        self.put("zz-good.png", seed=4711)
        self.until_idle()
        assert self.states()["zz-good.png"] == "done"
        assert "zz-good--mosaic.png" in pictures(self.outbox)
