"""Known secrets, and the search for them in every dress that a leak could give them."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote


@dataclass(frozen=True)
class Needle:
    """A secret that must be nowhere; `raw` is its bytes, whatever text carries them."""

    name: str
    raw: bytes
    dresses: tuple[bytes, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "dresses", tuple(sorted(_dresses(self.raw))))

    def is_in(self, haystack: bytes) -> bool:
        return any(dress in haystack for dress in self.dresses)


def _dresses(raw: bytes) -> set[bytes]:
    """As it is, in hex, percent-encoded, and in base64 wherever it begins and with what padding."""
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), quote(raw, safe="").encode()}
    for lead in range(3):
        # Only whole quanta: what stands beside it in a longer text changes the others.
        inner = raw[(-lead) % 3 :]
        inner = inner[: len(inner) // 3 * 3]
        plain = base64.b64encode(inner)
        found |= {plain, plain.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


class Haystack:
    """Everything that was seen, by the place where it was seen."""

    def __init__(self) -> None:
        self._seen: list[tuple[str, bytes]] = []

    def add(self, place: str, content: bytes | str) -> None:
        self._seen.append((place, content.encode() if isinstance(content, str) else content))

    def __len__(self) -> int:
        return len(self._seen)

    @property
    def size(self) -> int:
        return sum(len(content) for _, content in self._seen)

    def leaks(self, needles: Iterable[Needle]) -> set[tuple[str, str]]:
        """Return (needle, place) of every hit."""
        return {
            (needle.name, place)
            for needle in needles
            for place, content in self._seen
            if needle.is_in(content)
        }
