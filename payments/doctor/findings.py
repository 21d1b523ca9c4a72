"""What the doctor says of one thing, and of all things together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from payments.enums import Health


# The worst first: what needs a person stands on top.
ORDER = (Health.BROKEN, Health.LOOK, Health.UNKNOWN, Health.FINE)


class Who(StrEnum):
    """Who has to act."""

    OWNER = "owner"
    OPERATOR = "operator"
    SAFARICOM = "safaricom"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    `words` says how it stands and `remedy` what to do, to a shop's owner; `letter` is
    the text to send where Safaricom must act. None of them holds a secret.
    """

    key: str
    name: str
    health: Health
    words: str
    remedy: str = ""
    who: Who = Who.OWNER
    letter: str = ""

    def stored(self) -> dict[str, str]:
        """Return it as JSON keeps it."""
        return {name: str(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Report:
    """All findings about one account, or about the installation."""

    findings: tuple[Finding, ...]

    @property
    def health(self) -> Health:
        """The worst that is certain; what cannot be known makes nothing worse."""
        found = {one.health for one in self.findings}
        for health in (Health.BROKEN, Health.LOOK):
            if health in found:
                return health
        return Health.FINE

    @property
    def worst_first(self) -> tuple[Finding, ...]:
        """The findings as a page shows them."""
        return tuple(sorted(self.findings, key=lambda one: ORDER.index(one.health)))

    def count(self, health: Health) -> int:
        """How many findings there are of a kind."""
        return sum(one.health == health for one in self.findings)

    def stored(self) -> list[dict[str, str]]:
        """Return it as JSON keeps it."""
        return [one.stored() for one in self.findings]


def restored(rows: Iterable[Mapping[str, str]]) -> Report:
    """Return a report as it was kept."""
    return Report(tuple(_restored(row) for row in rows))


def _restored(row: Mapping[str, str]) -> Finding:
    texts = {name: row[name] for name in ("key", "name", "words", "remedy", "letter")}
    return Finding(health=Health(row["health"]), who=Who(row["who"]), **texts)
