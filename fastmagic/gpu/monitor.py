"""The monitor that training uses: one thread that reads the sensors while a block of code runs.

Training must never notice it. The thread opens, reads and closes the sensors by itself, so that a
driver that hangs holds up nobody; what goes wrong in it ends as `Monitor.trouble`; it is a daemon
and is also stopped when the interpreter ends. A forked process (a DataLoader worker) has no
such thread, and there everything here does nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from fastmagic import faces
from fastmagic.gpu.host import SHM
from fastmagic.gpu.samples import Samples, read_csv
from fastmagic.gpu.sensors import HostReadings, Sample, Sensors
from fastmagic.others import Others, Watch

FAST = 0.25  # s; the driver averages the utilisation over 1/6 to 1 s: more often shows nothing new
SLOW = 1.0  # s
SAVE_EVERY = 60.0  # s
PATIENCE = 10.0  # s


@dataclass(frozen=True)
class GpuSummary:
    """One GPU over the whole time; None for what it did not tell.

    Attributes
    ----------
    name, uuid
        As NVML calls it.
    memory_total, memory_peak
        MiB; the peak is of all processes on the card.
    utilisation_mean
        Per cent of the time in which a kernel ran.
    temperature_peak
        Degrees Celsius.
    power_mean
        Watts.
    lost_after_s
        Seconds after which the GPU was lost; None where it was not.
    """

    name: str | None
    uuid: str | None
    memory_total: int | None
    memory_peak: int | None
    utilisation_mean: float | None
    temperature_peak: int | None
    power_mean: float | None
    lost_after_s: float | None = None


@dataclass(frozen=True)
class MonitorSummary:
    """What the monitor saw; None for what the system does not tell.

    Attributes
    ----------
    seconds
        How long it watched.
    samples
        How many samples it took.
    gpus
        One for each GPU that it watched.
    ram_peak, ram_limit
        MiB in use under the container's limit where there is one, else of the machine.
    rss_peak
        MiB that this process held, without DataLoader's workers (`ram_peak` has them).
    shm_peak, shm_size
        MiB of /dev/shm.
    note
        Why no GPU was watched, and what went wrong in the monitor itself; empty where nothing did.
    others
        What other programs took of the processor; None where that is not known.
    """

    seconds: float
    samples: int
    gpus: tuple[GpuSummary, ...] = ()
    ram_peak: int | None = None
    ram_limit: int | None = None
    rss_peak: int | None = None
    shm_peak: int | None = None
    shm_size: int | None = None
    note: str = ""
    others: Others | None = None

    def sentences(self) -> tuple[str, ...]:
        """Say it in plain lines for a report.

        Examples
        --------
        >>> t4 = GpuSummary("Tesla T4", None, 15360, 5222, 38.2, 71, 58.4)
        >>> for line in MonitorSummary(60, 240, (t4,), 9830, 13005, 3277).sentences():
        ...     print(line)
        Tesla T4: busy 38 % of the time, at most 5.1 of 15.0 GiB in use, 71 °C, 58 W on average.
        Memory: at most 9.6 of 12.7 GiB in use, 3.2 GiB by this process itself.
        """
        several = len(self.gpus) > 1
        lines = [_gpu_words(n if several else None, gpu) for n, gpu in enumerate(self.gpus)]
        if self.ram_peak is not None:
            rss = self.rss_peak
            own = "" if rss is None else f", {faces.mib(rss)} by this process itself"
            lines.append(
                f"Memory: at most {faces.mib_of(self.ram_peak, self.ram_limit)} in use{own}."
            )
        if self.shm_peak and self.shm_size:
            shm = faces.mib_of(self.shm_peak, self.shm_size)
            lines.append(f"Shared memory ({SHM}): at most {shm} in use.")
        if self.others is not None:
            lines.append(self.others.words("meanwhile"))
        return tuple(line for line in (*lines, self.note) if line)


class Monitor:
    """Watches GPUs and host while its block runs.

    Parameters
    ----------
    csv
        A file for the samples, written now and then and at the end. Rows that it has already, of a
        process that was killed, are kept.
    nvml
        The `pynvml` module; imported by default.
    host
        How the host is asked; this one by default.
    tell
        Is told in words of each GPU that was lost; always by the thread that leaves the block.
    clock, wall
        Seconds that never go back, and the date as a POSIX timestamp.
    fast, slow
        Seconds between readings: of utilisation and GPU memory, and of the rest.
    save_every
        Seconds between two writes of `csv`.
    patience
        Seconds that the end of the block waits for a thread that is held up by the driver.

    Attributes
    ----------
    trouble
        What went wrong in the monitor itself; empty where nothing did.
    samples
        The store; None before the sensors are open. Look at it when the block has ended.
    cpu_seconds
        What the thread itself has used; known when the block has ended.

    Examples
    --------
    >>> with Monitor() as monitor:
    ...     total = sum(range(1000))
    >>> summary = monitor.summary()
    >>> summary.samples > 0, summary.ram_peak > 0, monitor.trouble
    (True, True, '')
    """

    def __init__(
        self,
        csv: Path | None = None,
        *,
        nvml: Any = None,
        host: HostReadings | None = None,
        tell: Callable[[str], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        fast: float = FAST,
        slow: float = SLOW,
        save_every: float = SAVE_EVERY,
        patience: float = PATIENCE,
    ) -> None:
        self.trouble = ""
        self.samples: Samples | None = None
        self.cpu_seconds = 0.0  # that the thread itself has used
        self._csv, self._nvml, self._host, self._tell = csv, nvml, host, tell
        self._clock, self._wall = clock, wall
        self._fast, self._slow, self._save_every = fast, slow, save_every
        self._patience = patience
        self._sensors: Sensors | None = None
        self._latest = Sample()
        self._ram: int | None = None  # the host's memory is read less often
        self._lost: dict[int, float] = {}
        self._told: set[int] = set()
        self._began = self._ended = 0.0
        self._process = -1
        self._others: Others | None = None
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="fastmagic-monitor", daemon=True)

    def __enter__(self) -> Monitor:
        if self._process != -1:
            raise RuntimeError("A monitor watches one block; make another one for another block.")
        self._began, self._process = self._clock(), os.getpid()
        atexit.register(self.stop)
        try:
            self._thread.start()
        except RuntimeError as error:  # no thread can be had
            self.trouble = f"The monitor did not start ({error})."
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
        if self._here:
            self._tell_of_the_lost()

    def stop(self) -> None:
        """End the sampling and write the file; harmless when repeated, and in a forked process."""
        if not self._here:
            return
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(self._patience)
        if self._thread.is_alive():
            self.trouble = "The monitor hung: the driver or the disk did not answer."
        self._ended = self._ended or self._clock()
        atexit.unregister(self.stop)

    def summary(self) -> MonitorSummary:
        """Sum up what was seen so far."""
        # In a forked process the lock may be held by a thread that is not there.
        with self._lock if self._here else contextlib.nullcontext():
            sensors, samples = self._sensors, self.samples
            seconds = round((self._ended or self._clock()) - self._began, 3)
            if sensors is None or samples is None:
                return MonitorSummary(seconds, 0, note=self.trouble)
            return MonitorSummary(
                seconds=seconds,
                samples=samples.count,
                gpus=tuple(self._gpu(n, sensors, samples) for n in range(len(sensors.cards))),
                ram_peak=_whole(samples.peak("ram_mib")),
                ram_limit=sensors.ram_limit,
                rss_peak=_whole(samples.peak("rss_mib")),
                shm_peak=_whole(samples.peak("shm_mib")),
                shm_size=sensors.shm_size,
                note=" ".join(words for words in (sensors.note, self.trouble) if words),
                others=self._others,
            )

    def now(self) -> str:
        """Say in a few words what of the memory is in use at present, each GPU's and the host's.

        Examples
        --------
        >>> Monitor().now()
        ''
        """
        sensors, latest = self._sensors, self._latest
        if sensors is None:
            return ""
        words = []
        for number, (card, gpu) in enumerate(zip(sensors.cards, latest.gpus, strict=False)):
            name = f"GPU {number}" if len(sensors.cards) > 1 else "GPU"
            if gpu.memory is not None:
                words.append(f"{name} {faces.mib_of(gpu.memory, card.memory_total)}")
        if self._ram is not None:
            words.append(f"host {faces.mib_of(self._ram, sensors.ram_limit)}")
        return ", ".join(words)

    @property
    def _here(self) -> bool:
        return self._process == os.getpid()

    def _gpu(self, number: int, sensors: Sensors, samples: Samples) -> GpuSummary:
        card, of = sensors.cards[number], f"gpu{number}_"
        busy, power = samples.mean(of + "utilisation"), samples.mean(of + "power_w")
        return GpuSummary(
            name=card.name,
            uuid=card.uuid,
            memory_total=card.memory_total,
            memory_peak=_whole(samples.peak(of + "memory_mib")),
            utilisation_mean=None if busy is None else round(busy, 1),
            temperature_peak=_whole(samples.peak(of + "temperature_c")),
            power_mean=None if power is None else round(power, 1),
            lost_after_s=self._lost.get(number),
        )

    def _tell_of_the_lost(self) -> None:
        sensors = self._sensors
        for number, seconds in self._lost.items():
            if sensors is None or self._tell is None or number in self._told:
                continue
            self._told.add(number)
            name = sensors.cards[number].name or "GPU"
            self._tell(f"GPU {number} ({name}) was lost after {faces.duration(seconds)}")

    def _run(self) -> None:
        """Be the thread: nothing that happens in here reaches the training."""
        try:
            with contextlib.closing(Sensors(self._nvml, self._host)) as sensors:
                samples = self._make_store(sensors)
                with self._lock:
                    self._sensors, self.samples = sensors, samples
                watch = Watch()
                self._watch(sensors, samples)
                self._others = watch.others()
        except Exception as error:
            self.trouble = f"The monitor ended early ({type(error).__name__}: {error})."
        self.cpu_seconds = time.thread_time()

    def _make_store(self, sensors: Sensors) -> Samples:
        gpus = len(sensors.cards)
        if self._csv is None:
            return Samples(gpus)
        try:
            gpus_before, rows = read_csv(self._csv)
        except ValueError as error:
            self.trouble = f"The samples of before were put aside: {error}."
            self._csv.replace(self._csv.with_name(self._csv.name + ".unreadable"))
            return Samples(gpus)
        samples = Samples(max(gpus, gpus_before))
        samples.restore(rows)
        return samples

    def _watch(self, sensors: Sensors, samples: Samples) -> None:
        now = self._clock()
        slow_at, save_at = now, now + self._save_every
        pause = self._fast if sensors.cards else self._slow
        while not self._stopped.is_set():
            slow = now >= slow_at
            self._take(sensors, samples, slow)
            if slow:
                slow_at = max(slow_at + self._slow, now)
            if now >= save_at:
                save_at = now + self._save_every
                self._save(samples)
            self._stopped.wait(max(now + pause - self._clock(), 0))
            now = self._clock()
        self._take(sensors, samples, slow=True)
        self._save(samples)

    def _take(self, sensors: Sensors, samples: Samples, slow: bool) -> None:
        sample, seconds = sensors.read(slow), self._clock() - self._began
        self._latest, self._ram = sample, sample.ram_used or self._ram
        with self._lock:
            samples.add(seconds, sample, self._wall())
            for number in sample.lost:
                self._lost[number] = round(seconds, 1)

    def _save(self, samples: Samples) -> None:
        if self._csv is None:
            return
        try:
            samples.write_csv(self._csv)
        except OSError as error:  # a full disk may have room again later
            self.trouble = f"The samples could not be written ({error.strerror or error})."


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _gpu_words(number: int | None, gpu: GpuSummary) -> str:
    name = gpu.name or "GPU"
    words = []
    if gpu.utilisation_mean is not None:
        words.append(f"busy {gpu.utilisation_mean:.0f} % of the time")
    if gpu.memory_peak is not None:
        words.append(f"at most {faces.mib_of(gpu.memory_peak, gpu.memory_total)} in use")
    if gpu.temperature_peak is not None:
        words.append(f"{gpu.temperature_peak} °C")
    if gpu.power_mean is not None:
        words.append(f"{gpu.power_mean:.0f} W on average")
    if gpu.lost_after_s is not None:
        words.append(f"lost after {faces.duration(gpu.lost_after_s)}")
    told = ", ".join(words) or "it tells nothing of itself"
    return f"{name if number is None else f'GPU {number}, {name}'}: {told}."
