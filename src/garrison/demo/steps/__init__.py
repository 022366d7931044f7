"""The steps of `garrison demo`, grouped by what they show."""
