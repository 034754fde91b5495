"""The Allen Brain Observatory's files: what a session reads of them, by AllenSDK and by a reader of our own."""
