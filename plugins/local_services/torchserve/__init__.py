"""The parts of the TorchServe hook: the process, its management API, its archives and the record of what is live."""
