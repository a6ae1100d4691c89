"""How much a worker claims at a time, and what a claim tells of what it left. No I/O here."""

import math
from collections import Counter
from enum import Enum, auto

from app.deliveries.store import LANES_PER_CLAIM, Claim, ClaimRequest


class Found(Enum):
    """What a claim tells of what it left."""

    MORE = auto()  # there may be more at once
    CAPPED = auto()  # more is due to destinations that have all they may have in our hands
    ALL = auto()  # nothing else is due


def found(request: ClaimRequest, claim: Claim) -> Found:
    """Judge from what a claim was given and what it came back with."""
    if claim.leases and request.after:
        return Found.MORE  # a walk that began behind some lanes says nothing of those
    lanes = Counter(lease.destination_id for lease in claim.leases)
    share = min(request.per_lane, math.ceil(request.limit / max(1, len(lanes))))
    if len(lanes) >= LANES_PER_CLAIM or len(claim.leases) >= request.limit:
        return Found.MORE
    if claim.size >= request.max_bytes:
        return Found.MORE
    held = lanes + Counter(request.busy)
    if any(n >= request.per_lane for n in held.values()):
        return Found.CAPPED
    return Found.MORE if any(n >= share for n in lanes.values()) else Found.ALL
