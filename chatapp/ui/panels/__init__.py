"""The cards of the side panel: projections of records, and the sampling controls."""
