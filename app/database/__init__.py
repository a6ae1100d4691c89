"""The database: what every table shares, and the only place that opens and commits transactions."""

from app.database.base import Base, Instant, JsonText, new_id, utcnow
from app.database.engine import Database, insert_if_absent

__all__ = ["Base", "Database", "Instant", "JsonText", "insert_if_absent", "new_id", "utcnow"]
