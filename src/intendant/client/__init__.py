"""How programs and the command line talk to the daemon; starts without pydantic."""
