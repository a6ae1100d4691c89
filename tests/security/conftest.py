"""What the security tests share: no test may dial beyond loopback, and every dial is seen."""

from tests.sending.conftest import authority, dialled

__all__ = ["authority", "dialled"]
