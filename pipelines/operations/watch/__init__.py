"""The hourly look at live traffic."""
