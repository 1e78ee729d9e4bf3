"""How dates are written where Django writes them: lists and records of the admin."""
