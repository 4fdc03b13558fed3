"""How a governor comes to life."""
