"""How a pass spends its time: waiting for pictures, or working with them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from fastmagic.speed.brought import OnItsWay, marked


class Pace:
    """Tells waiting from working, on a device that is done when the step is.

    Parameters
    ----------
    clock
        Seconds that only grow.

    Attributes
    ----------
    waiting, working
        Seconds so far.

    Examples
    --------
    >>> seconds = iter([0.0, 2.0, 5.0, 6.0])
    >>> pace = Pace(lambda: next(seconds))
    >>> pace.asks()
    >>> pace.begins()  # the loader took two seconds
    >>> pace.ends()  # the step took three
    >>> pace.begins()
    >>> pace.waiting, pace.working
    (3.0, 3.0)
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.waiting = self.working = self._since = 0.0

    def asks(self) -> None:
        """From now on the network waits for the loader."""
        self._since = self._clock()

    def begins(self) -> None:
        """The loader has given what it had to give."""
        now = self._clock()
        self._waited(now - self._since)
        self._since = now

    def ends(self) -> None:
        """The network is done with a batch, and waits again."""
        now = self._clock()
        self.working += now - self._since
        self._since = now

    def _waited(self, seconds: float) -> None:
        """The loader has taken so long."""
        self.waiting += seconds

    def send(self, loss: Any) -> None:
        """Have a step's loss brought here, where that takes a while."""

    def told(self, loss: Any) -> Any:
        """Give a step's loss, here where it was sent for."""
        return loss


class OfGPU(Pace):
    """The same on a GPU, which still computes what it was told when the next batch is asked for.

    Parameters
    ----------
    device
        The GPU.
    clock
        Seconds that only grow.
    mark
        Gives what tells when a device will have done all that it was told until now.
    """

    def __init__(
        self,
        device: Any,
        clock: Callable[[], float] = time.perf_counter,
        mark: Callable[[Any], Any] = marked,
    ) -> None:
        super().__init__(clock)
        self._device, self._mark = device, mark
        self._done: Any = None  # when the GPU has come to the end of the last step
        self._gap: tuple[Any, Any, float] | None = None  # from there to the next one
        self._coming: OnItsWay | None = None

    def ends(self) -> None:
        """The network is done with a batch, as far as the processor is concerned."""
        super().ends()
        self._settle()
        self._done = self._mark(self._device)

    def _waited(self, seconds: float) -> None:
        if self._done is None:
            super()._waited(seconds)
            return
        self._gap = self._done, self._mark(self._device), seconds

    def _settle(self) -> None:
        """Part the last gap, now that the GPU is past it: it had something to do until `done`."""
        if self._gap is None:
            return
        (done, begun, seconds), self._gap = self._gap, None
        idle = done.elapsed_time(begun) / 1000 if begun.query() else 0.0
        self.waiting += min(idle, seconds)
        self.working += max(0.0, seconds - idle)

    def send(self, loss: Any) -> None:
        """Have a step's loss brought here while the GPU goes on."""
        plain = getattr(loss, "ndim", 1) == 0 and loss.is_cuda
        self._coming = OnItsWay(loss, self._mark) if plain else None

    def told(self, loss: Any) -> Any:
        """Give a step's loss, unless a callback has made it another one."""
        coming, self._coming = self._coming, None
        return coming.here() if coming is not None and coming.tensor is loss else loss


def pace_of(device: Any) -> Pace:
    """Give what tells waiting from working where a network trains."""
    return OfGPU(device) if device.type == "cuda" else Pace()
