"""The stage `report`: the HTML page, the model card and their charts."""
