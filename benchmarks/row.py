"""One line of the table: what is measured, against what, and how well it has to do."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

REPEATS = 5

Contest = tuple[Callable[[], float], Callable[[], float] | None]
"""Each call measures once: ours, then the peer; None for a peer that can't be had here."""


class NotToBeHad(Exception):
    """A row can't be measured on this machine; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Aim:
    """A figure to reach; `is_met` gets ours and the peer's, and says None where it can't be judged.

    An aim that compares can't be judged without the peer.
    """

    text: str
    is_met: Callable[[float, float | None], bool | None]


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of ours, what it is compared with, and how to get both.

    `contest` is entered once, with an empty folder, and gives the two measurements.
    """

    name: str
    unit: str
    peer_name: str
    contest: Callable[[Path], AbstractContextManager[Contest]]
    aim: Aim | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a row gave: medians, and how they spread; no figure of what was not there.

    `min` and `max` are of ours.
    """

    name: str
    unit: str
    ours: float | None
    peer: float | None
    peer_name: str
    ratio: float | None
    min: float | None
    max: float | None
    peer_min: float | None
    peer_max: float | None
    repeats: int
    aim: str | None
    aim_met: bool | None


def measure(row: Row, folder: Path, *, repeats: int = REPEATS) -> Result:
    """Ours and the peer in turn, so that a noisy minute hits both; one round before does not count.

    The round before pays for what happens only once: imports, first connections, cold files.
    """
    try:
        ours, peers = _measured(row, folder, repeats)
    except NotToBeHad as missing:
        return not_measured(row, str(missing))
    our_median = statistics.median(ours)
    peer_median = statistics.median(peers) if peers else None
    return Result(
        name=row.name,
        unit=row.unit,
        ours=our_median,
        peer=peer_median,
        peer_name=row.peer_name if peers else f"{row.peer_name}: not to be had here",
        ratio=our_median / peer_median if peer_median else None,
        min=min(ours),
        max=max(ours),
        peer_min=min(peers, default=None),
        peer_max=max(peers, default=None),
        repeats=repeats,
        aim=None if row.aim is None else row.aim.text,
        aim_met=None if row.aim is None else row.aim.is_met(our_median, peer_median),
    )


def _measured(row: Row, folder: Path, repeats: int) -> tuple[list[float], list[float]]:
    """So many figures of ours and of the peer, or none of a peer that is not there."""
    ours, peers = [], []
    with row.contest(folder) as (measure_ours, measure_peer):
        for _ in range(1 + repeats):
            ours.append(measure_ours())
            if measure_peer is not None:
                peers.append(measure_peer())
    return ours[1:], peers[1:]


def not_measured(row: Row, why: str) -> Result:
    """The row without figures."""
    return Result(
        name=row.name, unit=row.unit, ours=None, peer=None,
        peer_name=f"{row.peer_name}; not measured: {why}", ratio=None, min=None, max=None,
        peer_min=None, peer_max=None,
        repeats=0, aim=None if row.aim is None else row.aim.text, aim_met=None,
    )  # fmt: skip


def at_most(limit: float, unit: str) -> Aim:
    """Ours is small enough."""
    return Aim(f"≤ {limit:g} {unit}", lambda ours, _: ours <= limit)


def at_least(limit: float, unit: str) -> Aim:
    """Ours is large enough."""
    return Aim(f"≥ {limit:g} {unit}", lambda ours, _: ours >= limit)


def at_most_times_peer(factor: float) -> Aim:
    """Ours costs at most so many times what the peer costs."""
    return _compared(f"≤ {factor:g} x peer", lambda ours, peer: ours <= factor * peer)


def at_least_times_peer(factor: float) -> Aim:
    """Ours does at least this share of what the peer does."""
    return _compared(f"≥ {factor:g} x peer", lambda ours, peer: ours >= factor * peer)


def at_least_where_peer(limit: float, *, peer_limit: float, share: float) -> Aim:
    """Ours does so much where the peer does at least that much, else this share of the peer."""
    return _compared(
        f"≥ {limit:g} where peer ≥ {peer_limit:g}, else ≥ {share:g} x peer",
        lambda ours, peer: ours >= (limit if peer >= peer_limit else share * peer),
    )


def _compared(text: str, is_met: Callable[[float, float], bool]) -> Aim:
    return Aim(text, lambda ours, peer: None if peer is None else is_met(ours, peer))


def median_of(samples: Iterable[float]) -> float:
    """The middle of the samples."""
    return statistics.median(samples)


def p99_of(samples: Iterable[float]) -> float:
    """What 99 of 100 samples stay below."""
    return statistics.quantiles(samples, n=100, method="inclusive")[98]
