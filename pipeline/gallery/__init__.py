"""The gallery page: writer, entries, assets, server."""
