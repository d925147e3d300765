"""`backlight merge`: from the parts that others have scanned to the atlas."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from backlight.cli import flags
from backlight.cli.build import carry_out
from backlight.cli.engines import EngineOptions
from backlight.errors import BadInputError
from backlight.storage import check_place
from backlight.text import counted


def merge(
    plan: flags.PlanArgument,
    ledger: flags.LedgerAddress = None,
    engine: flags.EngineName = "local",
    address: flags.ClusterAddress = None,
    stations: flags.Stations = None,
    cpus: flags.StationCpus = 1,
    gpus: flags.StationGpus = 0.0,
    keep_ledger: flags.KeepLedger = False,
) -> None:
    """Merge the scanned parts of a plan, and build the atlas.

    An interrupted run resumes when you rerun the command.
    """
    chosen = EngineOptions(engine, address, stations, cpus, gpus, ledger, keep_ledger)
    chosen.check(has_ledger=True)
    from backlight.cli.planning import read_planned
    from backlight.engines.plan import Shard

    made, found = read_planned(plan, ledger)
    output, n_images = check_place(Path(made.options.output), "atlas"), made.plan.n_images
    if not output.exists():
        row = found.row(Shard(0, n_images), n_images)
        missing = [shard for shard, is_there in row if not is_there]
        if missing:
            n_missing = sum(map(len, missing))
            raise BadInputError(
                f"{counted(n_missing, 'image')} of {n_images} {'is' if n_missing == 1 else 'are'} not scanned "
                f"yet, the first of them number {missing[0].start}; run the parts that are missing, or "
                f"`backlight scan-shard {plan} 1/1`, which scans what is left"
            )
    carry_out(made, replace(chosen, ledger=found.folder.address))
