"""Where jobs run: device slots (processes), or a Ray cluster."""
