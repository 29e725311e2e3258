"""How a search for better settings is asked for, and what it has found."""
