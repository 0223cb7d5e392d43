"""`run` and `watch`: config, lock, ledger, processes and dashboard around the service's ticks."""

import json
import signal
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import Config, load_config
from pipeline.dashboard import Dashboard
from pipeline.errors import ConfigError, InputError
from pipeline.executors import LocalExecutor, Place
from pipeline.inbox import Inbox, Scan
from pipeline.intake import own_recipes
from pipeline.jobs import Photo, Planned, plan_jobs
from pipeline.ledger import Ledger
from pipeline.lock import Card, instance_lock
from pipeline.manifest import Manifest, load_manifest
from pipeline.recipes import Recipes
from pipeline.service import Service
from pipeline.sidecar import wishes
from pipeline.stamp import hash_file
from pipeline.view import View
from pipeline.watcher import Watcher

TICK_SECONDS = 0.25
LEDGER = "jobs.sqlite3"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A checked config, its manifest and where it came from."""

    path: Path
    config: Config
    manifest: Manifest


def load(path: Path) -> Loaded:
    """Read and check everything that a config names."""
    config = load_config(path)
    return Loaded(path, config, load_manifest(config, path))


def run(loaded: Loaded, *, as_json: bool, keep_going: bool, limit: int | None = None) -> int:
    """Work; returns the exit code."""
    config = loaded.config
    if not config.inbox.is_dir():
        mend = "make it, or name another folder"
        raise ConfigError("no such folder", where=f"inbox: {config.inbox}", mend=mend)
    devices = _devices(config)
    view = View(
        inbox=str(config.inbox),
        outbox=str(config.outbox),
        device=", ".join(devices),
        preset=config.preset,
        started_at=time.time(),
        message="watching" if keep_going else "",
    )
    with (
        instance_lock(config.state, "watch" if keep_going else "run") as card,
        Ledger(config.state / LEDGER) as ledger,
        _executor(devices, config) as executor,
        _signals() as asked,
        Dashboard(silent=as_json) as dashboard,
    ):
        tell = _printer(as_json)
        service = Service(
            config, loaded.manifest, ledger, executor, view, tell, limit, patient=keep_going
        )
        with closing(service):
            service.start()
            loop = _Loop(service, loaded, asked, dashboard, card)
            loop.watch() if keep_going else loop.until_idle()
            service.finish()
        view.message = _last_word(service, view, asked)
        dashboard.update(view, time.time())
    if as_json:
        _print_line({"event": "run_ended", **_counts(view)})
    return _exit_code(view, asked, keep_going)


class _Loop:
    """Ticks until there is nothing to do, or until a signal."""

    def __init__(
        self, service: Service, loaded: Loaded, asked: "Asked", dashboard: Dashboard, card: Card
    ) -> None:
        self.service, self.loaded, self.asked, self.dashboard = service, loaded, asked, dashboard
        self.card = card
        self.stamp = _stamp(loaded.path)

    def until_idle(self) -> None:
        self._tick()
        while not self.asked.signal and not self.service.idle:
            self._tick()
            self._rest()
        self._wind_down()

    def watch(self) -> None:
        watcher = Watcher(self.service.config.inbox)
        try:
            while not self.asked.signal:
                self._reload()
                watcher.tend(time.monotonic())
                self.service.polling = watcher.polling
                self.card.tell(watching=watcher.mode)
                if watcher.woken(0):
                    self.service.wake()
                self._tick()
                self._rest()
        finally:
            watcher.stop()
        self._wind_down()

    def _tick(self) -> None:
        self.service.tick(time.monotonic(), time.time(), TICK_SECONDS)
        paused = self.service.paused
        self.card.tell(paused=paused.why if paused else None)
        self.dashboard.update(self.service.view, time.time())

    def _rest(self) -> None:
        # With a job running the tick itself waits for the worker's next word.
        if not self.service.executor.running():
            self.asked.wait(TICK_SECONDS)

    def _wind_down(self) -> None:
        if not self.asked.signal:
            return
        self.service.view.message = "stopping; once more to stop at once"
        self.service.stop()
        while self.service.executor.running() and self.asked.signal < 2:
            self._tick()

    def _reload(self) -> None:
        """A changed config counts from the next look; a wrong one is told and not taken."""
        stamp = _stamp(self.loaded.path)
        if stamp == self.stamp:
            return
        self.stamp = stamp
        try:
            loaded = load(self.loaded.path)
            fixed = ("inbox", "outbox", "state", "device")
            if any(getattr(loaded.config, f) != getattr(self.loaded.config, f) for f in fixed):
                self.dashboard.line("folders and devices change at the next start")
                return
        except ConfigError as error:
            self.dashboard.line(f"config not taken up: {error}")
            return
        self.loaded = loaded
        self.service.configure(loaded.config, loaded.manifest)
        self.dashboard.line("config taken up")


# --- signals --------------------------------------------------------------------------------


class Asked:
    """How often we were asked to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal = 0
        self.number = 0

    def __call__(self, number: int, _frame: object) -> None:
        self.signal += 1
        self.number = number

    def wait(self, seconds: float) -> None:
        """Rest, but not through a signal."""
        if not self.signal:
            time.sleep(seconds)


@contextmanager
def _signals() -> Iterator[Asked]:
    asked = Asked()
    before = {s: signal.signal(s, asked) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _executor(devices: list[str], config: Config) -> Iterator[LocalExecutor]:
    executor = LocalExecutor(devices, Place(config.limits, config.state))
    try:
        yield executor
    finally:
        executor.close(force=bool(executor.running()))


def _devices(config: Config) -> list[str]:
    return [config.device] if isinstance(config.device, str) else list(config.device)


# --- dry run --------------------------------------------------------------------------------


def dry_run(loaded: Loaded, as_json: bool) -> int:
    """Print what would be done and why, one line per pair; write nothing."""
    for pair in planned(loaded):
        if as_json:
            _print_line({"content": pair.content, "style": pair.style, "why": pair.why})
        else:
            verb = "make" if pair.due else "skip"
            print(f"{verb}  {pair.content}  {pair.style or '-'}  {pair.why}")
    return 0


def planned(loaded: Loaded) -> list[Planned]:
    """The plan as `run` would make it now, taking every file to be still."""
    config = loaded.config
    scan = Inbox(config.inbox, 0.0, config.watch.ignore).scan(time.monotonic(), time.time())
    with Ledger(config.state / LEDGER, read_only=True) as ledger:
        recipes = Recipes(config)
        photos = _photos(loaded, scan, ledger, recipes)
        return plan_jobs(photos, loaded.manifest, recipes.of, ledger.known(), ledger.finished())


def _photos(loaded: Loaded, scan: Scan, ledger: Ledger, recipes: Recipes) -> list[Photo]:
    """Photos that can be read and whose side files are right, examined before or not."""
    failed = {(r.content, r.stamp) for r in ledger.refusals() if r.status == "failed"}
    sides = {name: (side.path, str(side.stamp)) for name, side in scan.sides.items()}
    photos = []
    for file in scan.still:
        version = str(file.stamp)
        if (file.content, version) in failed:
            continue
        try:
            digest = ledger.cached_hash(file.content, version) or hash_file(file.path)
            side = wishes(file.content, sides, loaded.manifest, loaded.config.limits)
        except InputError:
            continue
        own = own_recipes(file.content, side, loaded.manifest, recipes) if side else None
        if digest:
            photos.append(Photo(file.content, file.path, digest, own))
    return photos


# --- words ----------------------------------------------------------------------------------


def _last_word(service: Service, view: View, asked: Asked) -> str:
    if asked.signal:
        return "stopped"
    if view.ended:
        return ""
    failed = sum(1 for pair in service.ledger.pairs() if pair.state == "failed")
    failed += sum(1 for file in service.ledger.refusals() if file.status == "failed")
    earlier = f"; {failed} failed earlier (see `status`, `retry`)" if failed else ""
    return f"nothing to do: the outbox is up to date{earlier}"


def _exit_code(view: View, asked: Asked, keep_going: bool) -> int:
    if asked.signal and not (keep_going and asked.number == signal.SIGTERM):
        return 130
    return 1 if view.failed else 0


def _printer(as_json: bool) -> Any:
    return _print_line if as_json else lambda _: None


def _print_line(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def _counts(view: View) -> dict[str, int]:
    return {"done": view.done, "failed": view.failed, "skipped": view.skipped}


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
