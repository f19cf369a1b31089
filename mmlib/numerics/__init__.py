"""Arithmetic under the method: log-probabilities, products in bfloat16, passes over memory that are compiled."""
