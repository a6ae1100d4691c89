"""The declarative base, the column types that differ between the two engines, and ids."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from advanced_alchemy.base import DefaultBase
from sqlalchemy import BigInteger, DateTime, Dialect, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator, TypeEngine
from uuid_utils import uuid7

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Base(DefaultBase):
    """Every table; its key leads with `tenant_id`, so that tables can be distributed by tenant."""

    __abstract__ = True


class Instant(TypeDecorator[datetime]):
    """A moment in UTC: `timestamptz` on PostgreSQL, integer milliseconds on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return to_millis(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if dialect.name != "sqlite":
            return value.astimezone(UTC)  # type: ignore[no-any-return]  # a driver's datetime
        return from_millis(value)


class JsonText(TypeDecorator[Any]):
    """A small JSON value: `jsonb` on PostgreSQL, text on SQLite; written and read by msgspec."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(JSONB())
        return dialect.type_descriptor(Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return msgspec.json.encode(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        if value is None or dialect.name == "postgresql":
            return value
        return msgspec.json.decode(value)


def id_column() -> String:
    """Return the type of an id: compared byte by byte, so its order is its time on both engines."""
    return String(40).with_variant(String(40, collation="C"), "postgresql")


def new_id(prefix: str) -> str:
    """Return a fresh id such as `evt_0192…`: UUIDv7 (RFC 9562), sortable by time, never guessable.

    Ids made by one process rise strictly, also within a millisecond.
    """
    return f"{prefix}_{uuid7().hex}"


def id_floor(prefix: str, moment: datetime) -> str:
    """Return the smallest id of that kind made at `moment` or later: the bound of a time range."""
    return f"{prefix}_{max(0, to_millis(moment)):012x}"


def moment_of(made_id: str) -> datetime:
    """Return when an id was made."""
    return from_millis(int(made_id.partition("_")[2][:12], 16))


def utcnow() -> datetime:
    """Return now in whole milliseconds, which both engines keep unchanged."""
    return from_millis(to_millis(datetime.now(UTC)))


def to_millis(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def from_millis(millis: int) -> datetime:
    return EPOCH + timedelta(milliseconds=millis)
