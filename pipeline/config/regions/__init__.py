"""Regions of a photo: their options, and the names of their mask files."""
