"""The jobs database: what was seen, tried and done."""
