"""The tariff language: documents, what they say, and the calendars they follow."""
