"""The commands, one module each: ``register`` adds its parser, the rest carries it out.

Nothing heavy is imported before it is needed.
"""
