"""`watch` as far as it takes up a changed config and changed folders of paintings."""

from pipeline.config.loading import load
from pipeline.daemon.instance import InstanceRecord
from pipeline.daemon.observers import Observers
from pipeline.daemon.run import Loop
from pipeline.daemon.signals import StopRequests
from pipeline.monitoring.terminal.dashboard import Dashboard
from support.studio import Studio


class WatchLoop:
    """The part of `watch` that takes up a changed config; time is an argument."""

    def __init__(self, studio: Studio) -> None:
        self.studio, self.path, self.now = studio, studio.root / "config.yaml", 0.0
        loaded = load(self.path)
        self.record = InstanceRecord(studio.root / ".state" / "instance.json", "watch")
        observers = Observers(loaded.config, self.record, "watch")
        dashboard = Dashboard(self, silent=False, plain=self)  # type: ignore[arg-type]
        self.said: list[str] = []
        self.loop = Loop(studio.service, loaded, StopRequests(), dashboard, self.record, observers)

    encoding = "utf-8"

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        self.said.append(text)
        return len(text)

    def flush(self) -> None: ...

    def edit(self, text: str) -> str:
        """Write another config; gives back what is said of it."""
        new = self.path.with_name("new.yaml")
        new.write_bytes(text.encode("utf-8", "surrogatepass"))
        new.rename(self.path)
        return self.look(0.25)

    def look(self, seconds: float) -> str:
        """What is said at the next look; by the wall clock every file was written just now."""
        before, self.now = len(self.said), self.now + seconds
        self.loop.reload_config(self.now, 0.0)
        return "".join(self.said[before:])
