"""The table at the end: what each fault cost on each engine."""

from dataclasses import dataclass

from tests.chaos.ledger import Reckoning

HEAD = ("fault", "engine", "accepted", "delivered", "lost", "duplicates", "recovery s")
rows: list["Row"] = []


@dataclass
class Row:
    fault: str
    engine: str
    sum: Reckoning
    recovery_s: float | None

    @property
    def cells(self) -> tuple[str, ...]:
        recovery = "-" if self.recovery_s is None else f"{self.recovery_s:.1f}"
        counts = (self.sum.accepted, self.sum.delivered, self.sum.lost, self.sum.duplicates)
        return (self.fault, self.engine, *map(str, counts), recovery)


def add(fault: str, engine: str, total: Reckoning, recovery_s: float | None = None) -> None:
    rows.append(Row(fault, engine, total, recovery_s))


def lines() -> list[str]:
    """Return the table, a line each, numbers to the right."""
    table = [HEAD, *(row.cells for row in rows)]
    widths = [max(len(line[at]) for line in table) for at in range(len(HEAD))]
    return ["  ".join(_cell(line[at], at, widths[at]) for at in range(len(HEAD)))
            for line in table]  # fmt: skip


def _cell(value: str, at: int, width: int) -> str:
    return value.ljust(width) if at < 2 else value.rjust(width)
