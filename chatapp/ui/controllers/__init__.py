"""Qt objects between the widgets and the ports: they own the state of a chat, never a pixel."""
