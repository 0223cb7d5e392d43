"""How far a picture goes from the photo to the painting: strength, strokes and colours."""
