"""Where things are: regions of photo and paintings, and which place learns from which."""
