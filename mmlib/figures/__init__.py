"""Pictures, tables and films of what was analysed, in one style."""
