"""The steps from one version of a store's tables to the next; each is run once."""
