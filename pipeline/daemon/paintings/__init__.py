"""Paintings that come and go while the program runs, and the pictures of those that are gone."""
