"""Tables of results.json, as Markdown: means over seeds, paired differences between networks, and the ablations.

    python examples/zf_cifar10/table.py [--write]

With `--write` they take the place of those in README.md, between `<!-- table: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from measures import RESULTS
from networks import SHAPES
from numpy.typing import NDArray
from scipy import stats
from training import COMPARED

from backlight.studies.intervals import P_LIMIT, Interval, false_discoveries, mean_interval

README = Path(__file__).parent / "README.md"
PAIRS = (("zf", "alexnet"), ("zf_clipped", "zf"))
Row = dict[str, Any]


@dataclass(frozen=True)
class Measure:
    """A line of the tables.

    Attributes:
        title: What it is called there.
        of: Its value in a row of the results.
        digits: Decimals.
        percent: Whether it is a share, shown in percent.
    """

    title: str
    of: Callable[[Row], float | None]
    digits: int = 1
    percent: bool = False

    def values(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        """Return the value of each row; NaN where there is none."""
        return np.array([np.nan if (own := self.of(row)) is None else own for row in rows], np.float64)

    def text(self, value: float, sign: bool = False) -> str:
        """Return a value as the tables show it."""
        shown = f"{100 * value if self.percent else value:{'+' if sign else ''}.{self.digits}f}"
        return shown.replace("-", "−")


def _share(*path: str) -> Callable[[Row], float | None]:
    def of(row: Row) -> float | None:
        value: Any = row
        for key in path:
            value = value[key]
        return None if value is None else float(value)

    return of


def _dead(*layers: str) -> Callable[[Row], float]:
    return lambda row: float(sum(row["dead"][layer][0] for layer in layers))


def _dominance(row: Row) -> float:
    return float(row["rms"]["conv1"]["largest"] / row["rms"]["conv1"]["median"])


def _at_limit(*layers: str) -> Callable[[Row], float]:
    return lambda row: float(sum(row["rms"][layer]["at_limit"] for layer in layers))


MEASURES = (
    Measure("test images classified right, %", _share("accuracy"), 1, True),
    Measure("training images classified right, %", _share("train_accuracy"), 1, True),
    Measure("dead maps, layer 1 (of 32)", _dead("relu1")),
    Measure("dead maps, layers 2 to 5 (of 320)", _dead("relu2", "relu3", "relu4", "relu5")),
    Measure("dead units, layers 6 and 7 (of 512)", _dead("relu6", "relu7")),
    Measure("energy of first filters: low, %", _share("energy", "low"), 1, True),
    Measure("middle, %", _share("energy", "mid"), 1, True),
    Measure("high, %", _share("energy", "high"), 1, True),
    Measure("first filters strongest at low frequencies (of 32)", _share("peaks", "low")),
    Measure("at middle ones", _share("peaks", "mid")),
    Measure("at high ones", _share("peaks", "high")),
    Measure("energy folded by the first stride, %", _share("folded"), 1, True),
    Measure("grid of the own stride in projections of layer 2", _share("grid"), 2),
    Measure("grid of 4 pixels there", _share("grid_of_4"), 2),
    Measure("largest RMS of a first filter over the median", _dominance, 2),
    Measure("first filters of an RMS of 0.1 or more (of 32)", _at_limit("conv1")),
    Measure("filters of layers 2 to 5 (of 320)", _at_limit("conv2", "conv3", "conv4", "conv5")),
)


def chosen(rows: Sequence[Row], network: str, trained: bool = True) -> list[Row]:
    """Return a network's rows after training, or before it, in the order of seeds."""
    own = [row for row in rows if row["network"] == network and (row["epoch"] > 0) == trained]
    return sorted(own, key=lambda row: row["seed"])


def paired(measure: Measure, rows: Sequence[Row], network: str, base: str) -> NDArray[np.float64]:
    """Return a network's value less the base's, for each seed that both have."""
    own, other = ({row["seed"]: row for row in chosen(rows, name)} for name in (network, base))
    seeds = sorted(own.keys() & other.keys())
    return measure.values([own[s] for s in seeds]) - measure.values([other[s] for s in seeds])


def networks_table(rows: Sequence[Row]) -> str:
    """Return all measures: the mean over seeds and, behind ±, their standard deviation."""
    columns = {f"{name}, untrained": chosen(rows, name, False) for name in COMPARED[:2]}
    columns |= {name: chosen(rows, name) for name in COMPARED}
    header = ["", *(f"{title} ({len(own)})" for title, own in columns.items())]
    body = [[m.title, *(spread(m, m.values(own)) for own in columns.values())] for m in MEASURES]
    return markdown(header, body)


def differences_table(rows: Sequence[Row]) -> str:
    """Return paired differences with 95 % intervals; bold are those that hold among all that are looked at."""
    differences = [[paired(m, rows, *pair) for pair in PAIRS] for m in MEASURES]
    p_values = np.array([[p_value(own) for own in line] for line in differences])
    holds = false_discoveries(p_values) <= P_LIMIT
    header = ["", *(f"{network} less {base}" for network, base in PAIRS)]
    body = [
        [m.title, *(_emphasised(interval(m, own), bold) for own, bold in zip(line, bolds, strict=True))]
        for m, line, bolds in zip(MEASURES, differences, holds, strict=True)
    ]
    return markdown(header, body)


def ablations_table(rows: Sequence[Row]) -> str:
    """Return the errors of Table 3: training, test, and how much more of the test images than the whole network."""
    test, train = (Measure("", _share(key), 1, True) for key in ("accuracy", "train_accuracy"))
    body = []
    for name in (name for name in SHAPES if name != "zf_clipped" and chosen(rows, name)):
        own, base = chosen(rows, name), name.split("_")[0]
        errors = [spread(measure, 1 - measure.values(own)) for measure in (train, test)]
        more = "" if name == base else interval(test, -paired(test, rows, name, base))
        body.append([name.replace("_", " "), str(len(own)), *errors, more])
    return markdown(
        ["network", "seeds", "training error, %", "test error, %", "test error more than whole"], body
    )


def epochs_table(rows: Sequence[Row]) -> str:
    """Return the share of test images classified right after each checkpoint, the mean over seeds, in percent."""
    epochs = sorted({int(at) for row in rows for at in row["accuracies"]})
    body = []
    for name in COMPARED:
        values = np.array([[row["accuracies"][str(at)] for at in epochs] for row in chosen(rows, name)])
        body.append([name, *(f"{100 * own:.1f}" for own in (values.mean(0) if len(values) else ()))])
    return markdown(["epoch", *map(str, epochs)], body)


TABLES = {
    "networks": networks_table,
    "differences": differences_table,
    "ablations": ablations_table,
    "epochs": epochs_table,
}


def spread(measure: Measure, values: NDArray[np.float64]) -> str:
    """Return the mean and standard deviation of values; the mean alone of one."""
    known = values[~np.isnan(values)]
    if not len(known):
        return "–"
    mean = measure.text(float(known.mean()))
    return mean if len(known) == 1 else f"{mean} ± {measure.text(float(known.std(ddof=1)))}"


def interval(measure: Measure, differences: NDArray[np.float64]) -> str:
    """Return the mean of differences and its 95 % interval."""
    found: Interval = mean_interval(differences)
    if found.mean is None:
        return "–"
    mean = measure.text(found.mean, sign=True)
    if found.low is None or found.high is None:
        return mean
    return f"{mean} ({measure.text(found.low, sign=True)} to {measure.text(found.high, sign=True)})"


def p_value(differences: NDArray[np.float64]) -> float:
    """Return how likely differences as large as these are by chance (t test); 1 where there are none at all."""
    known = differences[~np.isnan(differences)]
    if not np.any(known):
        return 1.0
    return float(stats.ttest_1samp(known, 0).pvalue) if len(known) > 1 else float("nan")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown, the first column aligned left, the others right."""
    lines = [f"| {' | '.join(header)} |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def fill(text: str, rows: Sequence[Row]) -> str:
    """Return a page with its tables filled in."""
    marked = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
    return marked.sub(lambda found: f"{found[1]}{TABLES[found[2]](rows)}\n{found[3]}", text)


def _emphasised(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text


def main() -> None:
    """Read the command line, and print or write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="file of the rows")
    parser.add_argument("--write", action="store_true", help="into README.md")
    asked = parser.parse_args()
    rows = json.loads(asked.results.read_text())
    if asked.write:
        README.write_text(fill(README.read_text("utf-8"), rows), "utf-8")
    else:
        print("\n\n".join(f"{name}\n\n{table(rows)}" for name, table in TABLES.items()))


if __name__ == "__main__":
    main()
