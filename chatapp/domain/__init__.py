"""Pure values of the application: standard library only, no Qt, no torch, no files, no clocks."""
