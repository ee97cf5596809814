"""HTTP: JSON API, health and the server-rendered worklist."""
