"""The settings: the contract's defaults, and for every wrong value one line that helps."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.errors import SettingsError
from app.settings import READERS, Env, Settings

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(32, 64))).decode()

#: Contract, section 2: name, default, and a value of its own with what is read from it.
TABLE: list[tuple[str, Any, str, Any]] = [
    ("ENV", Env.LOCAL, "dev", Env.DEV),
    ("DATABASE_URL", "sqlite:///.data/oneprotect.db", "postgresql://u:p@h:5432/d", ...),
    ("QUEUE_URL", "", "redis://localhost:6379/0", ...),
    ("HOST", "127.0.0.1", "0.0.0.0", ...),
    ("PORT", 8000, "80", 80),
    ("SECRET_KEYS", (), f" {KEY} , {OTHER_KEY} ", (KEY, OTHER_KEY)),
    ("EGRESS_ALLOW", "", "receiver.internal:9100,10.0.0.0/8:443", ...),
    ("EGRESS_PROXY", "", "http://proxy.internal:3128", ...),
    ("REQUIRE_HTTPS", False, "true", True),
    ("RETRY_SCHEDULE", (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400), "0, 60", (0, 60)),
    ("DELIVERY_TIMEOUT", 15.0, "2.5", 2.5),
    ("MAX_IN_FLIGHT", 200, "500", 500),
    ("MAX_IN_FLIGHT_PER_DESTINATION", 16, "4", 4),
    ("RETENTION_DAYS", 90, "7", 7),
    ("AUDIT_RETENTION_DAYS", 2_555, "400", 400),
    ("LOG_LEVEL", "info", "DEBUG", "debug"),
    ("METRICS", True, "false", False),
    ("METRICS_PORT", 0, "9464", 9464),
    ("TRACING", False, "true", True),
    ("TRACING_RATIO", 0.01, "1", 1.0),
    ("OIDC_ISSUER", "", "https://login.example.com/realm", ...),
    ("OIDC_CLIENT_ID", "", "oneprotect", ...),
    ("OIDC_CLIENT_SECRET", "", "hush", ...),
    ("OIDC_AUDIENCE", "", "api", ...),
    ("OIDC_ROLE_CLAIM", "role", "realm_access.roles", ...),
    ("OIDC_TENANT_CLAIM", "tenant", "https://corp.example/tenant", ...),
    ("LOCAL_ACCOUNTS", True, "false", False),
]
#: What a setting needs beside it.
BESIDE = {
    "OIDC_ISSUER": {"OIDC_CLIENT_ID": "x"},
    "OIDC_CLIENT_ID": {"OIDC_ISSUER": "https://login.example.com"},
    "OIDC_AUDIENCE": {"OIDC_ISSUER": "https://login.example.com"},
    "LOCAL_ACCOUNTS": {"OIDC_ISSUER": "https://login.example.com", "OIDC_CLIENT_ID": "x"},
}

#: Name, wrong value, what the line has to say.
WRONG: list[tuple[str, str, str]] = [
    ("ENV", "prod", "is 'prod'; allowed: local, dev, staging, production"),
    ("ENV", "LOCAL", "allowed: local, dev, staging, production"),
    ("DATABASE_URL", "mysql://h/d", "starts with 'mysql'; allowed: sqlite://…, postgresql://…"),
    ("DATABASE_URL", "hunter2-hidden", "is not a URL; allowed: sqlite://…, postgresql://…"),
    ("DATABASE_URL", "sqlite://", "names no file; allowed: sqlite:///path/to/file.db"),
    ("DATABASE_URL", "sqlite:///", "names no file"),
    ("DATABASE_URL", "sqlite:///x.db?mode=memory", "names no file"),
    ("DATABASE_URL", "postgresql:///d", "names no host; allowed: postgresql://user:password@host"),
    ("DATABASE_URL", "postgresql://u:hidden@h:99999/d", "names no host"),
    ("DATABASE_URL", "postgresql://u:hidden@[::1/d", "names no host"),
    ("DATABASE_URL", "postgres://h/d", "starts with 'postgres'"),
    ("QUEUE_URL", "amqp://u:hidden@h", "starts with 'amqp'; allowed: sqlite://…, postgresql://…"),
    ("QUEUE_URL", "redis://", "names no host"),
    ("HOST", "http://127.0.0.1", "is 'http://127.0.0.1'; allowed: a host name or an address"),
    ("HOST", "a b", "allowed: a host name or an address, such as 127.0.0.1"),
    ("PORT", "0", "is '0'; allowed: a whole number from 1 to 65535"),
    ("PORT", "65536", "allowed: a whole number from 1 to 65535"),
    ("PORT", "http", "allowed: a whole number from 1 to 65535"),
    ("PORT", "80.0", "allowed: a whole number from 1 to 65535"),
    ("PORT", "9" * 5000, "allowed: a whole number from 1 to 65535"),
    ("SECRET_KEYS", "hidden", "key 1 is not base64; allowed: comma list of keys, each 32 random"),
    ("SECRET_KEYS", "schlüssel-hidden", "key 1 is not base64"),
    ("SECRET_KEYS", f"{KEY},aGlkZGVu", "key 2 has 6 bytes, not 32"),
    ("SECRET_KEYS", ",", "holds no key; allowed: comma list of keys"),
    ("EGRESS_ALLOW", "localhost", "allowed: comma list of host:port or CIDR[:port]"),
    ("EGRESS_ALLOW", "10.0.0.0/99", "allowed: comma list of host:port or CIDR[:port]"),
    ("EGRESS_ALLOW", "169.254.169.254:80", "allowed: comma list of host:port or CIDR[:port]"),
    ("EGRESS_PROXY", "proxy:3128", "is not a URL; allowed: http://…, https://…"),
    ("EGRESS_PROXY", "socks5://u:hidden@h", "starts with 'socks5'; allowed: http://…, https://…"),
    ("REQUIRE_HTTPS", "maybe", "is 'maybe'; allowed: true, false"),
    ("RETRY_SCHEDULE", "5,ten", "is '5,ten'; allowed: up to 50 comma-separated whole seconds"),
    ("RETRY_SCHEDULE", "5,,10", "0 to 604800"),
    ("RETRY_SCHEDULE", "-1", "0 to 604800"),
    ("RETRY_SCHEDULE", "604801", "0 to 604800"),
    ("RETRY_SCHEDULE", "1.5", "0 to 604800"),
    ("RETRY_SCHEDULE", "9" * 5000, "0 to 604800"),
    ("RETRY_SCHEDULE", ",".join(["1"] * 51), "up to 50 comma-separated whole seconds"),
    ("DELIVERY_TIMEOUT", "0", "is '0'; allowed: a number from 0.1 to 300"),
    ("DELIVERY_TIMEOUT", "nan", "allowed: a number from 0.1 to 300"),
    ("DELIVERY_TIMEOUT", "inf", "allowed: a number from 0.1 to 300"),
    ("DELIVERY_TIMEOUT", "15s", "allowed: a number from 0.1 to 300"),
    ("MAX_IN_FLIGHT", "0", "allowed: a whole number from 1 to 10000"),
    ("MAX_IN_FLIGHT", "many", "allowed: a whole number from 1 to 10000"),
    ("MAX_IN_FLIGHT_PER_DESTINATION", "1001", "allowed: a whole number from 1 to 1000"),
    ("RETENTION_DAYS", "0", "allowed: a whole number from 1 to 3650"),
    ("RETENTION_DAYS", "forever", "allowed: a whole number from 1 to 3650"),
    ("AUDIT_RETENTION_DAYS", "89", "is 89, less than ONEPROTECT_RETENTION_DAYS; allowed: a whole"),
    ("AUDIT_RETENTION_DAYS", "0", "allowed: a whole number from 1 to 36500"),
    ("LOG_LEVEL", "loud", "is 'loud'; allowed: debug, info, warning, error"),
    ("METRICS", "perhaps", "allowed: true, false"),
    ("METRICS_PORT", "0", "allowed: a whole number from 1 to 65535"),
    ("TRACING", "2", "allowed: true, false"),
    ("TRACING_RATIO", "1.1", "allowed: a number from 0 to 1"),
    ("OIDC_ISSUER", "login.example.com", "is not a URL; allowed: https://…, http://…"),
    ("OIDC_ISSUER", "https://u:hidden@login.example.com", "has more than host and path"),
    ("OIDC_ISSUER", "https://login.example.com/?hidden=1", "has more than host and path"),
    ("OIDC_ISSUER", "https://", "names no host"),
    ("LOCAL_ACCOUNTS", "off", "is 'off'; allowed: true, false"),
]


def read(**values: str) -> Settings:
    return Settings.from_env({f"ONEPROTECT_{name}": value for name, value in values.items()})


def refusal(**values: str) -> str:
    with pytest.raises(SettingsError) as caught:
        read(**values)
    return str(caught.value)


def test_the_table_of_the_contract_names_every_setting() -> None:
    assert [name for name, *_ in TABLE] == list(READERS)
    assert [name.lower() for name, *_ in TABLE] == list(Settings.__struct_fields__)


@pytest.mark.parametrize(("name", "default", "text", "value"), TABLE)
def test_a_setting_has_the_contracts_default_and_is_read(
    name: str, default: Any, text: str, value: Any
) -> None:
    wanted = text if value is ... else value

    assert default == getattr(read(), name.lower())
    assert wanted == getattr(read(**{name: text} | BESIDE.get(name, {})), name.lower())
    assert default == getattr(read(**{name: "  "}), name.lower())


@pytest.mark.parametrize(("name", "text", "said"), WRONG)
def test_a_wrong_value_is_one_line_with_the_name_the_fault_and_what_is_allowed(
    name: str, text: str, said: str
) -> None:
    line = refusal(**{name: text})

    assert line.startswith(f"ONEPROTECT_{name} ")
    assert said in line
    assert "\n" not in line
    assert "allowed: " in line
    assert "hidden" not in line


def test_a_line_stays_one_even_when_the_value_has_many() -> None:
    assert "\n" not in refusal(ENV="a\nb")
    assert "\n" not in refusal(HOST="a\nb")


def test_every_setting_that_has_rules_stands_in_the_table_of_wrong_values() -> None:
    free = {  # any text is one
        "OIDC_CLIENT_ID", "OIDC_CLIENT_SECRET", "OIDC_AUDIENCE", "OIDC_ROLE_CLAIM",
        "OIDC_TENANT_CLAIM",
    }  # fmt: skip

    assert set(READERS) - {name for name, *_ in WRONG} == free


def test_an_unknown_setting_is_refused_beside_those_that_exist() -> None:
    line = refusal(DATABASE="sqlite:///x.db")

    assert line.startswith("ONEPROTECT_DATABASE is not a setting; known are: AUDIT_")


def test_other_variables_of_the_environment_are_nobodys_business() -> None:
    environ = {"PATH": "/bin", "HTTP_PROXY": "http://x", "ONEPROTECTION": "x", "DATABASE_URL": "y",
               "ONEPROTECT_TEST_DATABASE_URL": "postgresql://h/d"}  # fmt: skip

    assert Settings() == Settings.from_env(environ)


@pytest.mark.parametrize(
    ("env", "strict"), [("local", False), ("dev", False), ("staging", True), ("production", True)]
)
def test_outside_local_and_dev_https_is_required_and_cookies_are_secure(
    env: str, strict: bool
) -> None:
    settings = read(ENV=env, SECRET_KEYS=KEY)

    assert (strict, strict) == (settings.require_https, settings.secure_cookies)


@pytest.mark.parametrize("env", ["staging", "production"])
def test_outside_local_and_dev_the_keys_must_be_given_and_https_cannot_be_waived(env: str) -> None:
    keys = refusal(ENV=env)
    https = refusal(ENV=env, SECRET_KEYS=KEY, REQUIRE_HTTPS="false")

    assert keys.startswith(f"ONEPROTECT_SECRET_KEYS must be set when ONEPROTECT_ENV is {env}; ")
    assert (
        f"ONEPROTECT_REQUIRE_HTTPS cannot be false when ONEPROTECT_ENV is {env}; allowed: true"
        == (https)
    )


def test_single_sign_on_is_configured_whole_or_not_at_all() -> None:
    issuer = "https://login.example.com"
    assert "ONEPROTECT_OIDC_ISSUER must be set when" in refusal(OIDC_CLIENT_ID="x")
    assert "ONEPROTECT_OIDC_ISSUER must be set when" in refusal(OIDC_AUDIENCE="x")
    assert "ONEPROTECT_OIDC_CLIENT_ID must be set when" in refusal(OIDC_ISSUER=issuer)
    plain = {"OIDC_ISSUER": "http://login.example.com", "OIDC_CLIENT_ID": "x"}
    assert "cannot be plain http" in refusal(ENV="production", SECRET_KEYS=KEY, **plain)
    assert "http://login.example.com" == read(**plain).oidc_issuer


def test_passwords_can_only_be_switched_off_where_people_come_in_otherwise() -> None:
    for more in ({}, {"OIDC_ISSUER": "https://login.example.com", "OIDC_AUDIENCE": "api"}):
        line = refusal(LOCAL_ACCOUNTS="false", **more)
        assert line.startswith("ONEPROTECT_LOCAL_ACCOUNTS cannot be false without")


def test_https_may_be_required_where_it_need_not_be() -> None:
    assert read(ENV="local", REQUIRE_HTTPS="yes").require_https


def test_the_broker_is_the_database_unless_told_otherwise() -> None:
    database = "postgresql://u@h/d"

    assert database == read(DATABASE_URL=database).broker_url
    assert "redis://h" == read(DATABASE_URL=database, QUEUE_URL="redis://h").broker_url


def test_local_files_lie_beside_the_database_file() -> None:
    assert Path("/srv/op") == read(DATABASE_URL="sqlite:////srv/op/x.db").data_dir
    assert Path("/srv/op/x.db") == read(DATABASE_URL="sqlite:////srv/op/x.db").sqlite_path
    assert read(DATABASE_URL="postgresql://h/d").sqlite_path is None


def test_settings_cannot_be_changed_once_they_are_read() -> None:
    with pytest.raises(AttributeError):
        read().port = 1  # type: ignore[misc]
    assert 9 == msgspec.structs.replace(read(), port=9).port


def test_the_trail_is_kept_at_least_as_long_as_the_data() -> None:
    assert 3_000 == read(RETENTION_DAYS="3000").audit_retention_days
    assert "ONEPROTECT_AUDIT_RETENTION_DAYS is 100" in refusal(
        RETENTION_DAYS="101", AUDIT_RETENTION_DAYS="100"
    )


@pytest.mark.parametrize(
    "name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
)
def test_opentelemetrys_own_variable_switches_tracing_on_and_ours_decides(name: str) -> None:
    given = {name: "http://127.0.0.1:4318"}

    assert Settings.from_env(given).tracing
    assert not Settings.from_env(given | {"ONEPROTECT_TRACING": "false"}).tracing
