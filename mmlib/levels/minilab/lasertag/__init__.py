"""The rules of the lasertag levels: bodies, gadgets, bots, items, a match."""
