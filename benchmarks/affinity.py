"""How often a job finds its photo in the cache: `python -m benchmarks.affinity`.

The lab book has its figures (docs/development/lab-book.md).

The real service, queue and processes; the work is a photo cached as the worker caches it, and a
wait of random length.
"""

import random
import threading
import time
from collections import Counter
from functools import lru_cache, partial
from typing import Any

from PIL import Image

from benchmarks.scale import _folder, _painted
from pipeline.config.loading import load_config
from pipeline.config.manifest import load_manifest
from pipeline.daemon.service import Service
from pipeline.jobs.job import Job, JobResult, Workspace
from pipeline.ledger.ledger import Ledger
from pipeline.monitoring.view import View
from pipeline.workers.executor import WorkerSettings
from pipeline.workers.local import LocalExecutor

FOLDERS, PHOTOS = 3, 20
SECONDS = 0.1, 0.3
CONFIG = """
styles:
  mosaic: {image: "builtin:mosaic"}
  waves: {image: "builtin:woodcut_waves"}
  hatching: {image: "builtin:ink_hatching"}
watch: {settle_seconds: 0}
limits: {free_bytes: 0}
"""
_LOADING = threading.Lock()
_painted_last = [""]


@lru_cache(maxsize=2)  # as the worker's decoded photos are; its features are of one photo
def _photo(_sha256: str) -> None: ...


def remembering(job: Job, workspace: Workspace, _progress: Any, _stop: Any, turn: Any) -> JobResult:
    """Where the worker would find the photo decoded, and at the device its features."""
    with _LOADING:
        before = _photo.cache_info().hits
        _photo(job.sha256)
        decoded = _photo.cache_info().hits > before
    with turn:
        features, _painted_last[0] = job.sha256 == _painted_last[0], job.sha256
        time.sleep(random.uniform(*SECONDS))
    with (workspace.staging.parent.parent.parent / "found").open("a") as file:
        file.write(f"decoded:{decoded} features:{features}\n")
    return _painted(job, workspace.staging)


remembering.takes_turns = True  # type: ignore[attr-defined]


def found(slots: int) -> Counter[str]:
    """How often what was in the cache, with so many slots."""
    with _folder() as root:
        for number in range(FOLDERS * PHOTOS):
            path = root / "inbox" / str(number % FOLDERS) / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (number, 0, 0)).save(path)
        (root / "config.yaml").write_text(CONFIG)
        config = load_config(root / "config.yaml")
        executor = LocalExecutor(
            ["cpu"] * slots, WorkerSettings(state=config.state, do=remembering)
        )
        try:
            with Ledger(config.state / "jobs.sqlite3") as ledger:
                manifest = load_manifest(config)
                service = Service(config, manifest, ledger, executor, View())
                _work(service)
        finally:
            executor.close(force=True)
        return Counter((root / "found").read_text().split())


def _work(service: Service) -> None:
    tick = partial(service.tick, timeout=0.1)
    service.start()
    tick(time.monotonic(), time.time())
    while not service.idle:
        tick(time.monotonic(), time.time())
    service.finish()
    service.close()


if __name__ == "__main__":
    for slots in (1, 2, 4):
        count = found(slots)
        jobs = count["decoded:True"] + count["decoded:False"]
        shares = ", ".join(
            f"{kind} {count[f'{kind}:True'] / jobs:.1%}" for kind in ("decoded", "features")
        )
        print(f"{slots} slots: {shares} of {jobs} jobs", flush=True)
