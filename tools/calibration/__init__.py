"""MiniLab against DeepMind Lab, quantity by quantity: `python -m tools.calibration`."""
