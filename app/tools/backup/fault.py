"""Why a backup or a restore was not made, in one line."""


class BackupError(Exception):
    """Nothing was changed; the text says what stood in the way."""


def require_known(revision: str, known: frozenset[str]) -> str:
    """Return the revision; BackupError when only a newer version of this program knows it."""
    if revision not in known:
        raise BackupError(
            f"the backup has schema {revision}, which this version does not know;"
            " restore it with the version that made it, or a newer one"
        )
    return revision
