"""How weights change; no transform imports this package."""
