"""What the running system says of itself: logs and metrics, never a secret or a payload."""
