"""Roles and what each may do: the one table that both faces ask."""

from enum import StrEnum
from typing import Final

import msgspec

from app.audit.models import Actor


class Permission(StrEnum):
    """`resource:verb`, in alphabetical order."""

    AUDIT_READ = "audit:read"  # read and export the history of configuration changes
    DELIVERY_CHANGE = "delivery:change"  # retry, cancel, replay
    DELIVERY_READ = "delivery:read"  # deliveries and attempts
    DESTINATION_CHANGE = "destination:change"  # create, change, delete, enable, rotate, test
    DESTINATION_READ = "destination:read"  # destinations and their health
    EVENT_PUBLISH = "event:publish"
    EVENT_READ = "event:read"  # that an event exists: type, time, size
    EVENT_TYPE_CHANGE = "event_type:change"  # describe types, and hold events against schemas
    EVENT_TYPE_READ = "event_type:read"  # which types there are, and what they look like
    PAYLOAD_READ = "payload:read"  # what an event says
    SELF_READ = "self:read"  # who am I
    TENANT_MANAGE = "tenant:manage"  # tokens and members


class Role(StrEnum):
    """Who someone is inside a tenant; `platform` stands outside all tenants."""

    TENANT_ADMIN = "tenant_admin"  # sets things up
    OPERATOR = "operator"  # watches delivery health, changes nothing
    AUDITOR = "auditor"  # reads the history of changes, changes nothing
    PLATFORM = "platform"  # the product that publishes events for every tenant

    @property
    def label(self) -> str:
        return self.value.replace("_", " ").capitalize()


P = Permission
_WATCH: Final = frozenset(
    {P.DELIVERY_READ, P.DESTINATION_READ, P.EVENT_READ, P.EVENT_TYPE_READ, P.SELF_READ}
)

RIGHTS: Final[dict[Role, frozenset[Permission]]] = {
    Role.TENANT_ADMIN: _WATCH
    | {P.DELIVERY_CHANGE, P.DESTINATION_CHANGE, P.EVENT_PUBLISH, P.PAYLOAD_READ, P.TENANT_MANAGE}
    | {P.AUDIT_READ, P.EVENT_TYPE_CHANGE},
    Role.OPERATOR: _WATCH | {P.PAYLOAD_READ},
    Role.AUDITOR: _WATCH | {P.AUDIT_READ},
    Role.PLATFORM: frozenset(
        {P.EVENT_PUBLISH, P.EVENT_TYPE_CHANGE, P.EVENT_TYPE_READ, P.SELF_READ}
    ),
}

TENANT_ROLES: Final = (Role.TENANT_ADMIN, Role.OPERATOR, Role.AUDITOR)


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever a request comes from, proven by a token or a session."""

    tenant_id: str
    tenant_name: str
    role: Role
    actor: Actor

    def may(self, permission: Permission) -> bool:
        return permission in RIGHTS[self.role]
