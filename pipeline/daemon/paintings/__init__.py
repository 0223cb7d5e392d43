"""Paintings that come and go while the program runs, and what becomes of their pictures."""
