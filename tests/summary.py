"""What a run tells at its end: sections of lines, gathered from every process that ran tests."""

sections: dict[str, list[str]] = {}


def tell(section: str, *lines: str) -> None:
    """Have the lines printed once when the run is over, however often they are told."""
    told = sections.setdefault(section, [])
    told += [line for line in lines if line not in told]
