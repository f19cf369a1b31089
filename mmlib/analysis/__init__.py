"""From runs to statistics, curves, normalised scores, and verdicts on the paper's claims."""
