"""One grant a module; they never import each other."""
