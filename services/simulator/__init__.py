"""Simulated hospitals that know the truth from their own script, not from the product's rules."""
