"""The gRPC service of the Open Inference Protocol (V2), with the limits and the answers of its HTTP form."""
