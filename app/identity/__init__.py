"""Who is asking, and what may they do: tenants, members, tokens, portal sessions, permissions."""
