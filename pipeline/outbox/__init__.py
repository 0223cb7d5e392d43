"""Names, publishing, run log, thumbnails."""
