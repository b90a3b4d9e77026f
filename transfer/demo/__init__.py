"""The command `demo`: a page on this machine where a trained model can be tried."""
