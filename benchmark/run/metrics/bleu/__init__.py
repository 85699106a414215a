"""One `evaluate` module; the folder and the file share the name because `evaluate.load(folder)` asks for it."""
