"""Figures 1 and 2, laid out from the table of methods and drawn."""
