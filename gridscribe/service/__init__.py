"""The HTTP service: what a `Client` answers, tiles to look at, and the viewer (`gridscribe serve`).

It reads one output and writes nothing, so it may be killed at any moment, and run as often as is needed behind a balancer. What
can be asked about is what is committed there, and the jobs' own inputs as pictures; no request names anything else to read.
"""
