"""What goes on, for people and machines: view, terminal, live file, metrics, journal, health, hooks."""
