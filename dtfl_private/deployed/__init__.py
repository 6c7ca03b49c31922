"""The same training over a real network: server and clients as processes that speak the messages of the protocol."""
