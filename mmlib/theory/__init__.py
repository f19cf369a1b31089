"""The appendices, measured on finite worlds and on the agents' own network."""
