"""Folders of paintings: each picture in one is a style, named by its file."""
