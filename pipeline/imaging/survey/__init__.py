"""Files looked through before Pillow decodes them: damage, pages, stated colours, metadata."""
