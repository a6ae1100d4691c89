"""`oneprotect measure-portal`: what the pages and the live streams cost, with very many rows.

A web process of its own over a scratch database that is filled set by set; the front door is
`measurement.run`.
"""
