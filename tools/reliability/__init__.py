"""Faults tried for real on small runs: `python -m tools.reliability`."""
