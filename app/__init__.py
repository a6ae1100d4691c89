"""OneProtect Webhooks: platform events, delivered durably into the tenants' own systems.

An event is written with one delivery per matching destination in a single transaction (events,
deliveries.fanout); workers claim due deliveries in fair, leased batches, sign and send them
through the guarded transport (sending), and record every attempt (deliveries.engine). Two faces
look at the same rows: api (JSON, tokens) and portal (HTML, cookies).
"""

__version__ = "0.1.0"
