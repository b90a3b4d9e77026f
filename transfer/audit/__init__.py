"""What the stage `audit` is made of."""
