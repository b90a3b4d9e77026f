"""What the stage `report` is made of."""
