"""What every program needs: files, mounts, clock, cores, text."""
