"""How often drift is told where there is none, and how often where there is: by simulated days with fixed seeds.

``python -m benchmarks.drift_rates`` prints the tables of docs/drift.md; ``--days N`` makes them coarser.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from include.contracts.monitoring.drift_settings import DriftConfig
from include.monitoring.columns import Row
from include.monitoring.comparison import compare, pairs_of

DAYS = 400
#: Rows of the reference.
_REFERENCE_ROWS = 2000

Random: TypeAlias = np.random.Generator


@dataclass(frozen=True, slots=True)
class Traffic:
    """What users send and what is answered.

    :param longer: how many times as long the texts are.
    :param sure: the confidences are those of Beta(this, 2).
    :param bad: share of the label ``bad``.
    :param foreign: share of the texts in another script.
    :param unknown: share of the texts with words that the tokenizer does not have.
    """

    longer: float = 1.0
    sure: float = 8.0
    bad: float = 0.4
    foreign: float = 0.02
    unknown: float = 0.3

    def rows(self, random: Random, count: int) -> list[Row]:
        """Return rows whose features depend on each other as they do in texts."""
        characters = np.round(np.exp(random.normal(4.2, 0.7, count)) * self.longer)
        words = np.round(characters / 5.5 + random.normal(0, 1, count)).clip(1)
        confidence = random.beta(self.sure, 2, count)
        bad = random.random(count) < self.bad
        script = np.where(random.random(count) < self.foreign, "Cyrillic", "Latin")
        unknown = np.where(random.random(count) < self.unknown, random.exponential(0.05, count), 0.0)
        digits = np.where(random.random(count) < 0.2, random.exponential(0.03, count), 0.0)
        return [
            Row(
                {
                    "characters": float(characters[row]),
                    "words": float(words[row]),
                    "script": str(script[row]),
                    "digit_share": float(digits[row]),
                    "unknown_share": float(unknown[row]),
                    "predicted label": "bad" if bad[row] else "good",
                    "confidence": float(confidence[row]),
                }
            )
            for row in range(count)
        ]


#: Drift, by name: what a person would want to be told of, and what not.
SHIFTS: Mapping[str, Traffic] = {
    "texts a tenth longer": Traffic(longer=1.1),
    "texts a third longer": Traffic(longer=1.33),
    "texts half as long again": Traffic(longer=1.5),
    "texts twice as long": Traffic(longer=2.0),
    "confidence 0.80 to 0.75": Traffic(sure=6.0),
    "confidence 0.80 to 0.70": Traffic(sure=4.7),
    "label `bad` 40 % to 50 %": Traffic(bad=0.5),
    "label `bad` 40 % to 60 %": Traffic(bad=0.6),
    "label `bad` 40 % to 70 %": Traffic(bad=0.7),
    "another script, 2 % to 30 %": Traffic(foreign=0.3),
    "unknown words in 30 % to 60 % of the texts": Traffic(unknown=0.6),
}


def alarms(
    traffic: Traffic, settings: DriftConfig, *, requests: int, days: int, seed: int, reference: Traffic | None = None
) -> float:
    """Return the share of days on which drift of any feature is told; each has a reference of its own."""
    random = np.random.default_rng(seed)
    told = 0
    for _ in range(days):
        before = (reference or Traffic()).rows(random, _REFERENCE_ROWS)
        found = compare(pairs_of([before], traffic.rows(random, requests)), settings)
        told += any(each.is_drift for each in found)
    return told / days


def false_alarms(days: int, *, rates: Sequence[float] = (0.01, 0.05), requests: int = 500) -> Iterator[tuple[str, ...]]:
    """Yield what is tolerated, the rate that is set and the share of days with a false alarm."""
    for tolerated in (0.0, 0.1):
        for rate in rates:
            settings = DriftConfig(false_alarm_rate=rate, tolerated_distance=tolerated)
            found = alarms(Traffic(), settings, requests=requests, days=days, seed=1)
            yield "nothing shifted", f"{tolerated:g}", f"{rate:g}", f"{found:.4f}"
    for rate in rates:
        # The worst that must not be told: a label's share has moved by just what is tolerated.
        settings = DriftConfig(false_alarm_rate=rate, tolerated_distance=0.1)
        found = alarms(Traffic(bad=0.5), settings, requests=requests, days=days, seed=2)
        yield "a label moved by 0.1", "0.1", f"{rate:g}", f"{found:.4f}"


def power(days: int) -> Iterator[tuple[str, ...]]:
    """Yield a shift and the share of days on which it is told, of 200, 500 and 2000 requests."""
    settings = DriftConfig()
    for name, traffic in SHIFTS.items():
        shares = (alarms(traffic, settings, requests=count, days=days, seed=3) for count in (200, 500, 2000))
        yield name, *(f"{share:.2f}" for share in shares)


def _print(head: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    days = parser.parse_args().days
    _print(("traffic", "tolerated", "rate that is set", "days with a false alarm"), false_alarms(days))
    print()
    _print(("shift", "200 requests", "500", "2000"), power(max(1, days // 8)))


if __name__ == "__main__":
    main()
