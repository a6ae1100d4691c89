"""The demo tenants, users and tokens of a local installation, and the refusal of them elsewhere."""

from typing import Final

from sqlalchemy import select

from app.audit.models import SYSTEM
from app.crypto import token_hash
from app.database import Database
from app.errors import SettingsError
from app.identity import service
from app.identity.models import PLATFORM, ApiToken, Member
from app.identity.permissions import Role
from app.settings import Env, Settings

DEMO_PASSWORD: Final = "oneprotect-local"
DEMO_TENANTS: Final = {"acme": "Acme Corp", "globex": "Globex"}
DEMO_USERS: Final = (
    ("acme", "admin@acme.example", Role.TENANT_ADMIN),
    ("acme", "operator@acme.example", Role.OPERATOR),
    ("acme", "auditor@acme.example", Role.AUDITOR),
    ("globex", "admin@globex.example", Role.TENANT_ADMIN),
)
DEMO_TOKENS: Final = (
    ("acme", "op_local_acme_admin", Role.TENANT_ADMIN),
    ("acme", "op_local_acme_operator", Role.OPERATOR),
    ("acme", "op_local_acme_auditor", Role.AUDITOR),
    ("globex", "op_local_globex_admin", Role.TENANT_ADMIN),
    (PLATFORM, "op_local_platform", Role.PLATFORM),
)


async def seed(database: Database) -> bool:
    """Fill an empty database, all or nothing; False when it already holds a tenant."""
    async with database.transaction() as session:
        if not await service.is_empty(session):
            return False
        for tenant_id, name in DEMO_TENANTS.items():
            await service.create_tenant(session, tenant_id=tenant_id, name=name, actor=SYSTEM)
        for tenant_id, email, role in DEMO_USERS:
            await service.create_member(
                session,
                tenant_id=tenant_id,
                email=email,
                name=email.partition("@")[0].capitalize(),
                role=role,
                password=DEMO_PASSWORD,
                actor=SYSTEM,
            )
        for tenant_id, text, role in DEMO_TOKENS:
            await service.create_token(
                session,
                tenant_id=tenant_id,
                name=f"Demo {role.label.lower()}",
                role=role,
                actor=SYSTEM,
                text=text,
            )
    return True


async def refuse_outside_local(settings: Settings, database: Database) -> None:
    """Raise SettingsError when demo data, whose passwords anyone can read, would be served."""
    if settings.env is Env.LOCAL:
        return
    hashes = [token_hash(text) for _, text, _ in DEMO_TOKENS]
    emails = [email for _, email, _ in DEMO_USERS]
    async with database.reading() as session:
        token = await session.execute(select(ApiToken.id).where(ApiToken.token_hash.in_(hashes)))
        member = await session.execute(select(Member.id).where(Member.email.in_(emails)))
        if token.first() or member.first():
            raise SettingsError(
                f"ONEPROTECT_ENV is '{settings.env}' but the database holds demo data, whose"
                " passwords are public; allowed: local, or a database without it"
            )
