"""Window policies: who decides how many tokens the next verify step holds."""
