"""How many actions a person needs for an instance: by clicks, with proposals, and with the loop."""
