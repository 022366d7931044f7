"""How many things one principal has going at the same time, in this process."""


class Slots:
    """Args: limit: at once, for each who asks. Nothing is kept of those who have none."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def take(self, who: str) -> bool:
        """Whether `who` got one; it must be given back on every way out."""
        taken = self._taken.get(who, 0)
        if taken >= self.limit:
            return False
        self._taken[who] = taken + 1
        return True

    def give(self, who: str) -> None:
        taken = self._taken[who] - 1
        if taken:
            self._taken[who] = taken
        else:
            del self._taken[who]
