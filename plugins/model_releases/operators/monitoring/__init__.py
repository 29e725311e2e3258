"""What is found out about a model's users after its release."""
