"""The rules of the navigation levels: generated maps, apples, goals, restarts."""
