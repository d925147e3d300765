"""Which engine a command uses, from its flags."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backlight.errors import BadInputError
from backlight.progress import Progress, silent

if TYPE_CHECKING:
    from backlight.engines.work import Engine


@dataclass(frozen=True)
class EngineOptions:
    """The flags that say who does the work; none of them shows in the atlas.

    Attributes:
        engine: `local` or `ray`.
        address: Of the Ray cluster.
        stations: Processes, for Ray.
        cpus: Of each of them.
        gpus: Of each of them.
        ledger: Where the files of the scan are; None for beside the atlas, or for none at all.
        keep_ledger: Whether they stay.
    """

    engine: str
    address: str | None
    stations: int | None
    cpus: int
    gpus: float
    ledger: str | None
    keep_ledger: bool

    def check(self, has_ledger: bool = False) -> None:
        """Refuse flags of Ray without it, and what is to be kept where nothing is, unless there is a ledger anyway."""
        given = {"--address": self.address, "--stations": self.stations}
        named = [name for name, value in given.items() if value is not None]
        named += ["--cpus"] * (self.cpus != 1) + ["--gpus"] * (self.gpus != 0)
        if self.engine == "local" and named:
            raise BadInputError(f"{' and '.join(named)} says what Ray does; add --engine ray")
        if self.engine == "local" and self.keep_ledger and not (has_ledger or self.ledger):
            raise BadInputError(
                "--keep-ledger keeps what --ledger ADDRESS names; name it, or add --engine ray"
            )

    @contextmanager
    def started(self, default_ledger: str, progress: Progress = silent) -> Iterator[Engine | None]:
        """Hand out the engine, None for that of this process alone, and end it afterwards.

        Args:
            default_ledger: Where the files of the scan are unless another place was named.
            progress: Called with `cluster` before and after a cluster is begun, which takes seconds.
        """
        if self.engine == "local":
            from backlight.engines.gathering import LedgerEngine

            named = None if self.ledger is None else LedgerEngine(self.ledger, keeps_ledger=self.keep_ledger)
            yield named
            return
        from backlight.engines.ray import RayConfig, RayEngine

        config = RayConfig(self.address, self.stations, self.cpus, self.gpus)
        place: Path | str = self.ledger or default_ledger
        progress("cluster", 0, 1)
        with RayEngine(place, config, keeps_ledger=self.keep_ledger) as engine:
            progress("cluster", 1, 1)
            # Set after Ray's own handler, which would leave its processes to die by themselves. As Ctrl-C.
            before = signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                yield engine
            finally:
                signal.signal(signal.SIGTERM, before)
