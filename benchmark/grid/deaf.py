"""Imported by the server that forks the jobs' processes, and nowhere else: signals sent to the whole group reach the
command, which asks its jobs to end; without the server it could not wait for them."""

import signal

from benchmark.core.stopping import SIGNALS

for number in SIGNALS:
    signal.signal(number, signal.SIG_IGN)
