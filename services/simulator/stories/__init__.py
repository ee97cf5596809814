"""The stories that simulated people live through, each with what should come of it."""
