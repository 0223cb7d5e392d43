"""What goes on, for people and machines: view, terminal, metrics, journal, health, hooks."""
