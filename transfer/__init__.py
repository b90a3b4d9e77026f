"""What the stages share: one module an idea, cut by who uses it, since DVC tracks files."""
