"""Faults on real processes; a package, so that one installation per engine serves all of it."""
