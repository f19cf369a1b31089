"""For notebooks: the inspector, live training, the browser of runs."""
