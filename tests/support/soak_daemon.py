"""The real daemon, but for the engine: `soak_daemon.py watch|run CONFIG [json|dashboard]`."""

import sys
from functools import partial
from pathlib import Path

from pipeline.config import loading
from pipeline.daemon import run as running
from pipeline.system.stdout import open_standard_streams
from pipeline.workers.executor import WorkerSettings
from support.fake_work import paint


def main(command: str, config: str, shown: str = "json") -> int:
    open_standard_streams()  # as the program itself does
    running.WorkerSettings = partial(WorkerSettings, do=paint)
    loaded = loading.load(Path(config))
    return running.run(loaded, as_json=shown == "json", keep_going=command == "watch")


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
