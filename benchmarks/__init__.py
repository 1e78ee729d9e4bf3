"""What docs promise about speed, measured: one script per promise, one JSON line each."""
