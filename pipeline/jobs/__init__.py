"""Job, recipe, plan, provenance, retry policy, checkpoints: plain frozen data."""
