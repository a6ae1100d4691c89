"""The trail of configuration changes: append-only, chained by hashes, one chain per tenant."""

from app.audit.models import Action, Actor, Target
from app.audit.trail import record

__all__ = ["Action", "Actor", "Target", "record"]
