"""The device path: static KV, captured passes, and a window that is drafted, verified and accepted without the host."""
