"""Figures and presets as data, and the runs that they need, planned, made and watched."""
