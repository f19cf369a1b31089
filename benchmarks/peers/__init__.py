"""mmlib beside its peers: the same level, the same network, the same cores, each in training.

`choices` lists who is measured and with what; every other module that it names is a script that trains for a few
seconds and prints one line of JSON. `python -m benchmarks.peers` runs them in turn.
"""
