"""Following one machine, changing it, and the connection that this goes over."""
