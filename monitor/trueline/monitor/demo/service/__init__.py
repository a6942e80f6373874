"""The application that the demo watches: a chat-based expense tracker, as a team would write it."""
