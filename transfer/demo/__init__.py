"""What the command `demo` alone is made of:
a page on this machine where a trained model can be tried."""
