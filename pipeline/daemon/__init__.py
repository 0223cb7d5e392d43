"""`run` and `watch`: service, planner, queue, bookkeeping, schedule gate, instance lock."""
