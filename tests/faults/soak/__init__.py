"""The soak: random faults, drawn from a seed, on real processes, and a check of the recorded history."""
