"""How much each parameter has to do with how good a trial is.

The correlation ratio of a parameter is the share of the values' variance that lies between groups
of trials with like settings of it, and not within them: how much of a trial's value that parameter
explains alone. What chance would explain is taken off (Kelley's epsilon squared,
https://doi.org/10.1073/pnas.21.9.554). Values count by their rank, so that one very bad trial does
not decide.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from intendant.cli.pages.scales import as_text, is_number

MIN_TRIALS = 10
_MAX_GROUPS = 12


def importances(
    params: Sequence[Mapping[str, object]], values: Sequence[float]
) -> dict[str, float]:
    """From 0 to 1 for each parameter that varies, the greatest first; {} for too few trials."""
    if len(values) < MIN_TRIALS:
        return {}
    ranks = _ranks(values)
    names = {name: None for each in params for name in each}
    found = {}
    for name in names:
        groups = _groups([each.get(name, _ABSENT) for each in params])
        if len(set(groups)) > 1:
            found[name] = _share_between(groups, ranks)
    return dict(sorted(found.items(), key=lambda pair: -pair[1]))


_ABSENT = object()


def _groups(settings: Sequence[object]) -> list[str]:
    """A group for each trial: like settings together, numbers that are many by their rank."""
    numbers = [setting for setting in settings if is_number(setting)]
    most = min(max(round(math.sqrt(len(settings))), 2), _MAX_GROUPS)
    if len(set(map(as_text, numbers))) <= most:
        return ["absent" if each is _ABSENT else as_text(each) for each in settings]
    ranks = iter(_ranks(numbers))
    return [
        f"{int(next(ranks) * most / len(numbers))} of {most}" if is_number(each) else
        "absent" if each is _ABSENT else as_text(each)
        for each in settings
    ]  # fmt: skip


def _share_between(groups: Sequence[str], ranks: Sequence[float]) -> float:
    count, sizes = len(ranks), Counter(groups)
    if len(sizes) >= count:
        return 0.0
    mean = sum(ranks) / count
    sums: Counter[str] = Counter()
    for group, rank in zip(groups, ranks, strict=True):
        sums[group] += rank  # type: ignore[assignment]  # a Counter adds any number
    total = sum((rank - mean) ** 2 for rank in ranks)
    between = sum(size * (sums[group] / size - mean) ** 2 for group, size in sizes.items())
    if total == 0:
        return 0.0
    by_chance = (len(sizes) - 1) * (total - between) / (count - len(sizes))
    return max((between - by_chance) / total, 0.0)


def _ranks(values: Sequence[float]) -> list[float]:
    """Of each value, from 0; equal ones share theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for at in order[start : end + 1]:
            ranks[at] = (start + end) / 2
        start = end + 1
    return ranks
