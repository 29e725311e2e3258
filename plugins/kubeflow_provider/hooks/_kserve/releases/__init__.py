"""How versions of a model are released with KServe: on top of what any InferenceService needs."""
