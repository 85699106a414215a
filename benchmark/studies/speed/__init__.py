"""``python -m benchmark bench``: how long an update of every method takes and how much memory it needs, beside what the
hardware allows (floors) and what people would use instead (peers). Models are made up; nothing is downloaded or read.

``plan`` says what is measured, ``child`` measures one thing in a process of its own, ``driver`` runs the children in
turn, ``analysis`` computes what follows from the figures, ``tables`` and ``charts`` show it.
"""
