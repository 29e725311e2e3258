"""Steps that make a candidate, where its pipeline does not do it by itself."""
