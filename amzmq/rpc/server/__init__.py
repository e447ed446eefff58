"""Serving machines: the Mux, a Server for each client, the feed, who may do what."""
