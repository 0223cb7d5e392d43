"""Checks files before Pillow decodes them: damage, pages, stated colours, metadata."""
