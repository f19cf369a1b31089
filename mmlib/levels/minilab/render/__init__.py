"""What an agent sees, and the view from above."""
