"""A project to deploy: an authority, certificates of server and clients, a configuration, and what starts them."""
