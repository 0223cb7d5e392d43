"""Checks that need the whole config."""
