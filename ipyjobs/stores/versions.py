"""The versions that a store's tables have had."""

HEAD = "0001"
"""The version of `tables`: the newest file of `migrations`."""
KNOWN = ("0001",)
"""All that this ipyjobs can read or bring up to date."""
