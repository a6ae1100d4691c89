"""The settings, read once from the environment; a wrong one stops the start with one line."""

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from app.crypto import parse_key
from app.errors import SettingsError
from app.sending.url_safety import EgressAllow

PREFIX: Final = "ONEPROTECT_"
MAX_RETRIES: Final = 50
WEEK_S: Final = 604_800
MAX_AUDIT_DAYS: Final = 36_500
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
#: OpenTelemetry's own variables; one that names a collector switches tracing on.
OTLP_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
DEFAULT_RETRY_SCHEDULE: Final = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


class Env(StrEnum):
    """Where this installation runs; it decides how strict the rules are."""

    LOCAL = "local"  # one developer's machine: demo data, plain http allowed
    DEV = "dev"  # a shared development installation: no demo data, plain http allowed
    STAGING = "staging"  # as production
    PRODUCTION = "production"

    @property
    def relaxed(self) -> bool:
        return self in {Env.LOCAL, Env.DEV}


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every knob of the product. Times in seconds unless the name says otherwise."""

    env: Env = Env.LOCAL
    database_url: str = "sqlite:///.data/oneprotect.db"
    queue_url: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    secret_keys: tuple[str, ...] = ()
    egress_allow: str = ""
    egress_proxy: str = ""
    require_https: bool = False
    retry_schedule: tuple[int, ...] = DEFAULT_RETRY_SCHEDULE
    delivery_timeout: float = 15.0
    max_in_flight: int = 200
    max_in_flight_per_destination: int = 16
    retention_days: int = 90
    audit_retention_days: int = 2_555
    log_level: str = "info"
    metrics: bool = True
    metrics_port: int = 0
    tracing: bool = False
    tracing_ratio: float = 0.01
    oidc_issuer: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    oidc_audience: str = ""
    oidc_role_claim: str = "role"
    oidc_tenant_claim: str = "tenant"
    local_accounts: bool = True

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read `ONEPROTECT_*`; raise SettingsError for the first wrong value or unknown name."""
        given = {
            name.removeprefix(PREFIX): value.strip()
            for name, value in environ.items()
            if name.startswith(PREFIX) and value.strip()
        }
        known = set(READERS)
        if unknown := sorted(n for n in given if n not in known and not n.startswith("TEST_")):
            raise SettingsError(
                f"{PREFIX}{unknown[0]} is not a setting; known are: {', '.join(sorted(known))}"
            )
        values = {
            name.lower(): READERS[name](name, given[name]) for name in sorted(known & set(given))
        }
        values.setdefault("tracing", any(environ.get(name) for name in OTLP_ENDPOINTS))
        if "AUDIT_RETENTION_DAYS" not in given:
            longest = max(cls().audit_retention_days, values.get("retention_days", 0))
            values["audit_retention_days"] = longest
        settings = cls(**values)
        if "REQUIRE_HTTPS" not in given:
            settings = msgspec.structs.replace(settings, require_https=not settings.env.relaxed)
        _check_together(settings)
        return settings

    @property
    def sqlite_path(self) -> Path | None:
        """The database file, or None on PostgreSQL."""
        if not self.database_url.startswith("sqlite:///"):
            return None
        return Path(self.database_url.removeprefix("sqlite:///"))

    @property
    def broker_url(self) -> str:
        return self.queue_url or self.database_url

    @property
    def data_dir(self) -> Path:
        """Where generated local files live: beside the database file."""
        return self.sqlite_path.parent if self.sqlite_path else Path(".data")

    @property
    def secure_cookies(self) -> bool:
        return not self.env.relaxed


def _check_together(settings: Settings) -> None:
    if settings.audit_retention_days < settings.retention_days:
        raise _fault(
            "AUDIT_RETENTION_DAYS",
            f"is {settings.audit_retention_days}, less than {PREFIX}RETENTION_DAYS",
            f"a whole number from {settings.retention_days} to {MAX_AUDIT_DAYS}",
        )
    _check_sign_on(settings)
    if settings.env.relaxed:
        return
    outside = f"when {PREFIX}ENV is {settings.env}"
    if not settings.secret_keys:
        raise _fault("SECRET_KEYS", f"must be set {outside}", KEY_FORMAT)
    if not settings.require_https:
        raise _fault("REQUIRE_HTTPS", f"cannot be false {outside}", "true")


def _check_sign_on(settings: Settings) -> None:
    issuer, client, audience = (
        settings.oidc_issuer, settings.oidc_client_id, settings.oidc_audience,
    )  # fmt: skip
    if not issuer and (client or audience):
        name = "OIDC_CLIENT_ID" if client else "OIDC_AUDIENCE"
        raise _fault("OIDC_ISSUER", f"must be set when {PREFIX}{name} is", "https://…")
    if issuer and not (client or audience):
        allowed = "the portal's client id, unless the API alone takes its tokens (OIDC_AUDIENCE)"
        raise _fault("OIDC_CLIENT_ID", f"must be set when {PREFIX}OIDC_ISSUER is", allowed)
    if issuer.startswith("http://") and not settings.env.relaxed:
        fault = f"cannot be plain http when {PREFIX}ENV is {settings.env}"
        raise _fault("OIDC_ISSUER", fault, "https://…")
    if not settings.local_accounts and not client:
        fault = f"cannot be false without {PREFIX}OIDC_CLIENT_ID: nobody could sign in"
        raise _fault("LOCAL_ACCOUNTS", fault, "true")


KEY_FORMAT: Final = "comma list of keys, each 32 random bytes as base64 (openssl rand -base64 32)"


def _fault(name: str, fault: str, allowed: str) -> SettingsError:
    return SettingsError(f"{PREFIX}{name} {fault}; allowed: {allowed}")


def _number(low: float, high: float, *, whole: bool = True) -> Callable[[str, str], float]:
    word = "a whole number" if whole else "a number"

    def read(name: str, text: str) -> float:
        fault = _fault(name, f"is {text!r}", f"{word} from {low:g} to {high:g}")
        try:
            value = int(text) if whole else float(text)
        except ValueError:
            raise fault from None
        if not low <= value <= high:
            raise fault
        return value

    return read


def _env(name: str, text: str) -> Env:
    try:
        return Env(text)
    except ValueError:
        raise _fault(name, f"is {text!r}", ", ".join(Env)) from None


def _one_of(*words: str) -> Callable[[str, str], str]:
    def read(name: str, text: str) -> str:
        if text.lower() not in words:
            raise _fault(name, f"is {text!r}", ", ".join(words))
        return text.lower()

    return read


def _flag(name: str, text: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in words:
        raise _fault(name, f"is {text!r}", "true, false")
    return words[text.lower()]


def _url(*schemes: str) -> Callable[[str, str], str]:
    def read(name: str, text: str) -> str:
        # The value may carry a password: nothing but its scheme is ever repeated.
        found = re.match(r"([a-z][a-z0-9+]{1,20})://", text)
        scheme = found[1] if found else ""
        if scheme not in schemes:
            fault = f"starts with {scheme!r}" if found else "is not a URL"
            raise _fault(name, fault, ", ".join(f"{s}://…" for s in schemes))
        if scheme == "sqlite":
            if not re.fullmatch(r"sqlite:///[^?#]+", text):
                raise _fault(name, "names no file", "sqlite:///path/to/file.db")
        elif not _names_a_host(text):
            raise _fault(name, "names no host", f"{scheme}://user:password@host:port/name")
        return text

    return read


def _issuer(name: str, text: str) -> str:
    url = _url("https", "http")(name, text)
    if "@" in url or "?" in url or "#" in url:
        raise _fault(name, "has more than host and path", "https://host/path")
    return url


def _names_a_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.port != 0 and bool(parts.hostname or "host=" in parts.query)
    except ValueError:  # a port or an IPv6 address that is none
        return False


def _host(name: str, text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,253}", text):
        raise _fault(name, f"is {text!r}", "a host name or an address, such as 127.0.0.1")
    return text


def _schedule(name: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > MAX_RETRIES or not all(map(_is_delay, parts)):
        allowed = f"up to {MAX_RETRIES} comma-separated whole seconds, 0 to {WEEK_S}"
        raise _fault(name, f"is {text!r}", allowed)
    return tuple(int(part) for part in parts)


def _is_delay(text: str) -> bool:
    # Longer than any allowed number: int() itself refuses thousands of digits.
    return text.isdecimal() and len(text) <= len(str(WEEK_S)) and int(text) <= WEEK_S


def _keys(name: str, text: str) -> tuple[str, ...]:
    keys = tuple(part.strip() for part in text.split(",") if part.strip())
    for number, key in enumerate(keys, start=1):
        try:
            parse_key(key)
        except ValueError as fault:
            raise _fault(name, f"key {number} {fault}", KEY_FORMAT) from None
    if not keys:
        raise _fault(name, "holds no key", KEY_FORMAT)
    return keys


def _text(_name: str, text: str) -> str:
    return text


def _allow(name: str, text: str) -> str:
    try:
        EgressAllow.parse(text)
    except ValueError as fault:
        raise _fault(name, str(fault), "comma list of host:port or CIDR[:port]") from None
    return text


READERS: Final[Mapping[str, Callable[[str, str], Any]]] = {
    "ENV": _env,
    "DATABASE_URL": _url("sqlite", "postgresql"),
    "QUEUE_URL": _url("sqlite", "postgresql", "redis", "rediss"),
    "HOST": _host,
    "PORT": _number(1, 65_535),
    "SECRET_KEYS": _keys,
    "EGRESS_ALLOW": _allow,
    "EGRESS_PROXY": _url("http", "https"),
    "REQUIRE_HTTPS": _flag,
    "RETRY_SCHEDULE": _schedule,
    "DELIVERY_TIMEOUT": _number(0.1, 300, whole=False),
    "MAX_IN_FLIGHT": _number(1, 10_000),
    "MAX_IN_FLIGHT_PER_DESTINATION": _number(1, 1_000),
    "RETENTION_DAYS": _number(1, 3_650),
    "AUDIT_RETENTION_DAYS": _number(1, MAX_AUDIT_DAYS),
    "LOG_LEVEL": _one_of(*LOG_LEVELS),
    "METRICS": _flag,
    "METRICS_PORT": _number(1, 65_535),
    "TRACING": _flag,
    "TRACING_RATIO": _number(0, 1, whole=False),
    "OIDC_ISSUER": _issuer,
    "OIDC_CLIENT_ID": _text,
    "OIDC_CLIENT_SECRET": _text,
    "OIDC_AUDIENCE": _text,
    "OIDC_ROLE_CLAIM": _text,
    "OIDC_TENANT_CLAIM": _text,
    "LOCAL_ACCOUNTS": _flag,
}

#: What each setting means, for the README's table and `oneprotect settings`.
MEANINGS: Final[Mapping[str, str]] = {
    "ENV": "`local`, `dev`, `staging`, `production`; outside `local` and `dev` keys must be set,"
    " https is enforced, cookies are `Secure`; demo data is refused outside `local`",
    "DATABASE_URL": "or `postgresql://user:password@host/name`",
    "QUEUE_URL": "the SAQ broker: `sqlite:///…`, `postgresql://…` or `redis://…`",
    "HOST": "where the web process listens",
    "PORT": "its port",
    "SECRET_KEYS": "comma list of 32-byte keys in base64; the first encrypts, all decrypt",
    "EGRESS_ALLOW": "exact `host:port` or `CIDR[:port]` that may be reached although private;"
    " `up` adds its receiver",
    "EGRESS_PROXY": "an outbound proxy; `HTTP_PROXY` is never read",
    "REQUIRE_HTTPS": "refuse plain http destinations",
    "RETRY_SCHEDULE": "seconds between attempts, ±20 %",
    "DELIVERY_TIMEOUT": "seconds for one whole attempt",
    "MAX_IN_FLIGHT": "attempts at once in one worker",
    "MAX_IN_FLIGHT_PER_DESTINATION": "of them, to one destination",
    "RETENTION_DAYS": "how long events, deliveries and attempts are kept",
    "AUDIT_RETENTION_DAYS": "how long the audit trail is kept; not less than `RETENTION_DAYS`",
    "LOG_LEVEL": "`debug` (a line per attempt), `info`, `warning`, `error`",
    "METRICS": "count for Prometheus and answer `/metrics`",
    "METRICS_PORT": "where a worker answers `/metrics`, on `ONEPROTECT_HOST`",
    "TRACING": "OpenTelemetry traces, from publish to receipt",
    "TRACING_RATIO": "the share of publishes that are traced, unless the caller's trace decides",
    "OIDC_ISSUER": "the OpenID provider of single sign-on, https outside `local` and `dev`",
    "OIDC_CLIENT_ID": "this installation at the provider",
    "OIDC_CLIENT_SECRET": "its secret there",
    "OIDC_AUDIENCE": "what a bearer JWT of the API must be meant for",
    "OIDC_ROLE_CLAIM": "the claim that names a person's role, by name or path such as"
    " `realm_access.roles`",
    "OIDC_TENANT_CLAIM": "the claim that names a person's tenant, likewise",
    "LOCAL_ACCOUNTS": "whether people may sign in with a password of ours",
}
#: Defaults that hang on another setting, in words.
DERIVED: Final[Mapping[str, str]] = {
    "QUEUE_URL": "the database",
    "SECRET_KEYS": "made once in `local`",
    "REQUIRE_HTTPS": "true outside `local`, `dev`",
    "METRICS_PORT": "none",
    "TRACING": "true when `OTEL_EXPORTER_OTLP_ENDPOINT` is set",
}
#: Settings whose value nobody may see again.
SECRET: Final = frozenset({"SECRET_KEYS", "OIDC_CLIENT_SECRET"})
