"""Small worlds worth learning: deterministic generators of rows in the schema of the real data sets.

Each module has ``rows(split, count, seed)``, which yields published-schema rows, and ``gold(prompt,
completion)``, which judges any text by parsing the prompt back; nothing is remembered between the two.
"""
