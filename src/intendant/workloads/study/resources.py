"""What trials need and what there is: none starts that does not fit (T5)."""

from __future__ import annotations

from collections.abc import Mapping

_ROUNDING = 1e-9


class Resources:
    """So many trials at once, so much of each resource."""

    def __init__(
        self, need: Mapping[str, float], available: Mapping[str, float], at_once: int | None
    ) -> None:
        self._need = {name: amount for name, amount in need.items() if amount > 0}
        self._available = dict(available)
        self._at_once = at_once
        self.taken = 0

    def fits(self) -> bool:
        """Whether one more trial could start."""
        more = self.taken + 1
        if self._at_once is not None and more > self._at_once:
            return False
        return all(
            # So many times a tenth is not exactly one.
            amount * more <= self._available.get(name, 0.0) + _ROUNDING
            for name, amount in self._need.items()
        )

    def take(self) -> None:
        """One more trial starts."""
        self.taken += 1

    def give_back(self) -> None:
        """One has ended, or is paused."""
        self.taken -= 1
