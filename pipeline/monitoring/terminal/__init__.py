"""The console dashboard."""
