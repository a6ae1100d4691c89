"""Lets the files of this folder share one world among their tests (tests/sharing.py)."""

from tests.sharing import shared, shared_url

__all__ = ["shared", "shared_url"]
