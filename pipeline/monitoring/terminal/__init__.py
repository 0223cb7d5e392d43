"""The console dashboard: `frame` lays it out, `dashboard` runs it, `screen` draws on a terminal."""
