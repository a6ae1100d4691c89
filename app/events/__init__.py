"""Facts that the platform tells: kept once, byte for byte as they are signed and sent."""
