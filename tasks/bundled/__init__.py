"""Small worlds worth learning: deterministic generators of rows in the schema of the real data sets.

Each module has ``rows(split, count, seed)``, which yields published-schema rows, ``gold(prompt, completion)``, which
judges any text by parsing the prompt back, and ``reference(prompt)``, a completion of gold 1; nothing is remembered
between them. What annotators choose in rows has faults; policies are compared with references.
"""
