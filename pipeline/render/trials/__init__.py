"""Small pictures to choose by: one photo in many styles, ranked, and pairs of options."""
