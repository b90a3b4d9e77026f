"""The networks that are trained, and how a trained model is saved."""
