"""The network edge: what may be reached, what is sent, what came back. No database, no tenants."""
