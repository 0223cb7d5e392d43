"""Runs jobs on this machine: the device slots as one executor."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path

from pipeline.errors import ConfigError, PlaceError
from pipeline.jobs.job import Job
from pipeline.system.cores import count_usable_cores
from pipeline.workers.device_slot import END_SECONDS, Slot, SlotJob
from pipeline.workers.messages import Event, GivenBack, WorkerSettings

# Several jobs share an accelerator if this part of its free memory holds all of them.
SHARED_MEMORY = 0.8
JOB_BYTES = 3 << 29  # per process on an accelerator: its context, VGG-19, workspaces
PIXEL_BYTES = 4 << 10  # per pixel: features up to relu5_1, their gradients, L-BFGS's history
SHARED_SIDE = 1024  # px; one larger picture keeps an accelerator busy
MAX_SHARERS = 4


class LocalExecutor:
    """Slots on this machine, each a process bound to a device; started when first needed.

    Args:
        devices: Names of devices; each entry is a slot. ``auto`` becomes a slot for each device, as
            soon as the first process has found them.
        place: Limits and state folder of the processes.
        clock: Monotonic seconds.
        side: Long side in px of the largest pictures to come; None: not known.
        share: Slots for each entry of ``devices``, or ``auto``: one for each that is named, and
            as many as its memory allows on each accelerator that was found.
        slot: The class of the slots.
    """

    def __init__(
        self,
        devices: Sequence[str],
        place: WorkerSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
        side: int | None = None,
        share: int | str = 1,
        slot: type[Slot] = Slot,
    ) -> None:
        self._place = place or WorkerSettings()
        self._clock, self._side, self._share = clock, side, share
        self._slot = slot
        self.device_slots: list[Slot] = []
        self._back: list[Event] = []  # jobs given back before a process had them
        self._failed_on: dict[str, int] = {}  # the slot that a job failed on, to prefer another
        self._idle: set[int] = set()  # slots that were idle at the last poll
        copies = share if isinstance(share, int) else 1
        every = [device for device in devices for _ in range(copies)]
        cpus = sum(device == "cpu" for device in every)
        self._threads = max(1, count_usable_cores() // max(1, cpus))
        for device in every:
            self._add(device)

    def _add(self, device: str) -> None:
        number = len(self.device_slots)
        self.device_slots.append(
            self._slot(number, device, self._threads, self._place, self._clock)
        )

    def confirm(self, seconds: float) -> None:
        """Start all processes and wait until each has tried its device.

        Raises:
            ConfigError: No device can be used.
        """
        for slot in self.device_slots:
            slot.start()
        until = self._clock() + seconds
        try:
            while (
                not all(s.found or s.refused for s in self.device_slots) and self._clock() < until
            ):
                self._back = self.poll(0.1)
        except PlaceError as error:
            raise ConfigError(error.what, where=error.where, hint=error.hint) from None

    # --- what the service asks ----------------------------------------------------------

    @property
    def slots(self) -> int:
        """How many jobs run at once."""
        return sum(not slot.refused for slot in self.device_slots)

    @property
    def trouble(self) -> str:
        """Devices that cannot be used, and why."""
        return "; ".join(dict.fromkeys(slot.refused for slot in self.device_slots if slot.refused))

    def free(self) -> int:
        """How many jobs can be submitted: two per slot, one running and one in advance."""
        return sum(slot.capacity for slot in self.device_slots)

    def running(self) -> list[tuple[str, Job]]:
        """Device and job of all submitted jobs, those taken in advance last."""
        taken = [
            (slot, slot_job) for slot in self.device_slots for slot_job in enumerate(slot.jobs)
        ]
        taken.sort(key=lambda one: one[1][0])
        return [(slot.device, slot_job.job) for slot, (_, slot_job) in taken]

    def submit(self, job: Job, staging: Path) -> None:
        """Give a job to the slot that can start it first, preferably one that has its files."""
        failed_on = self._failed_on.get(job.id)

        def cost(slot: Slot) -> tuple[bool, int, bool, int, int]:
            doubtful, elsewhere = bool(slot.refused), slot.number == failed_on
            return doubtful, len(slot.jobs), elsewhere, slot.cache_rank(job), slot.number

        min((slot for slot in self.device_slots if slot.capacity), key=cost).take(job, staging)

    def poll(self, timeout: float) -> list[Event]:
        """Return new events; wait up to ``timeout`` seconds for the first."""
        live = {slot.pipe: slot for slot in self.device_slots if slot.pipe is not None}
        busy = any(slot.jobs for slot in self.device_slots) or not all(
            s.found for s in live.values()
        )
        if busy and not self._back:
            wait(list(live), timeout)
        events, self._back = self._back, []
        for slot in list(self.device_slots):
            moving = {slot_job.job.id: slot_job for slot_job in slot.jobs if slot_job.recalled}
            for event in [*slot.drain(), *slot.watch()]:
                if (
                    isinstance(event, GivenBack)
                    and event.job.id in moving
                    and not event.changed  # otherwise no slot can run it
                ):
                    self._resubmit(moving[event.job.id])
                else:
                    events.append(self._note_result(event, slot))
            self._add_found_devices(slot)
        self._use_idle_slots()
        if not events and self.device_slots and all(slot.unavailable for slot in self.device_slots):
            raise PlaceError(self.trouble, where="device", hint="`doctor` lists the devices")
        return events

    def renew(self) -> None:
        """Retry devices that could not be used."""
        for slot in self.device_slots:
            slot.renew()

    def interrupt(self) -> None:
        """Request all jobs back."""
        for slot in self.device_slots:
            for slot_job in slot.jobs:
                slot_job.recalled = False
            self._back += slot.interrupt()

    def close(self, force: bool = False) -> None:
        """End all processes; with ``force``, kill them at once."""
        for slot in self.device_slots:
            slot.request_end(force)
        until = time.monotonic() + END_SECONDS  # for all of them together
        for slot in self.device_slots:
            slot.await_end(max(0.0, until - time.monotonic()))

    # --- keeping slots busy -------------------------------------------------------------

    def _note_result(self, event: Event, slot: Slot) -> Event:
        if isinstance(event, GivenBack):
            return event
        status = getattr(event, "status", "")
        if status == "failed":
            self._failed_on[event.job.id] = slot.number  # type: ignore[union-attr]
        elif status:
            self._failed_on.pop(event.job.id, None)  # type: ignore[union-attr]
        return event

    def _add_found_devices(self, slot: Slot) -> None:
        """Once the first process has found devices, add a slot for each, or several if they fit."""
        if slot.device != "auto" or not slot.found:
            return
        slot.device = slot.found[0][0]
        names = [
            name
            for name, free in slot.found
            for _ in range(count_sharers(free, self._side) if self._share == "auto" else 1)
        ]
        for name in names[1:]:
            self._add(name)

    def _use_idle_slots(self) -> None:
        """Move jobs that wait behind others to slots that were idle."""
        idle = {slot.number for slot in self.device_slots if not slot.jobs and not slot.refused}
        for number in idle & self._idle:
            waiting = (
                slot_job for slot in self.device_slots if (slot_job := slot.recall_waiting_job())
            )
            slot_job = next(waiting, None)
            if slot_job is None:
                break
            if not slot_job.sent:
                self._take_from_owner(slot_job)
                self.device_slots[number].take(slot_job.job, slot_job.staging)
        self._idle = idle

    def _take_from_owner(self, slot_job: SlotJob) -> None:
        for slot in self.device_slots:
            with suppress(ValueError):
                slot.jobs.remove(slot_job)

    def _resubmit(self, slot_job: SlotJob) -> None:
        if self.free():
            self.submit(slot_job.job, slot_job.staging)
        else:
            self._back.append(GivenBack(slot_job.job))


def count_sharers(free_bytes: int, side: int | None) -> int:
    """How many jobs share an accelerator: as many as its free memory holds, at most MAX_SHARERS.

    Args:
        free_bytes: Free memory; 0: not known, so one job.
        side: Long side of the pictures in px; None or large: one job.
    """
    if side is None or side > SHARED_SIDE:
        return 1
    each = JOB_BYTES + side * side * PIXEL_BYTES
    return max(1, min(MAX_SHARERS, int(SHARED_MEMORY * free_bytes / each)))
