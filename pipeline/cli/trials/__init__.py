"""The commands that help to choose a painting and its options: `try` and `tune`."""
